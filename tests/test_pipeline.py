"""Pipelines as text: what parses, what is refused, and that a pipeline whose contract does not hold never starts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edpc.errors import UsageError
from edpc.ir import Graph
from edpc.pipeline.base import Fact, Pass, PassContext
from edpc.pipeline.contract import check_contract
from edpc.pipeline.text import Fixpoint, parse_pipeline, passes_of, print_pipeline


@dataclass(frozen=True)
class Toy(Pass):
    """Nothing is true afterwards."""

    name: ClassVar[str] = "toy"

    size: int = 4
    rate: float = 0.5
    is_deep: bool = False
    label: str = ""
    kinds: tuple[str, ...] = ("add",)
    sizes: tuple[int, ...] = ()
    limit: int | None = None

    def run(self, graph: Graph, ctx: PassContext) -> bool:
        return False


@dataclass(frozen=True)
class Strict(Pass):
    """Nothing is true afterwards."""

    name: ClassVar[str] = "strict"

    size: int
    marks: tuple[str, ...] = field(default_factory=tuple)

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError("size is at least 1")

    def run(self, graph: Graph, ctx: PassContext) -> bool:
        return False


TOYS: dict[str, type[Pass]] = {"toy": Toy, "strict": Strict}


def parse(text: str) -> tuple[object, ...]:
    return parse_pipeline(text, TOYS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ()),
        (" \n ", ()),
        ("toy", (Toy(),)),
        ("toy{}", (Toy(),)),
        ("toy{size=8}", (Toy(size=8),)),
        ("toy{size=-8 rate=1e-3}", (Toy(size=-8, rate=1e-3),)),
        ("toy{is-deep=true}", (Toy(is_deep=True),)),
        ("toy{is_deep=on}", (Toy(is_deep=True),)),
        ("toy{kinds=}", (Toy(kinds=()),)),
        ("toy{kinds=conv sizes=1,2,3}", (Toy(kinds=("conv",), sizes=(1, 2, 3)),)),
        ('toy{label="a b, {c}" kinds="x y",z}', (Toy(label="a b, {c}", kinds=("x y", "z")),)),
        ("toy{limit=3},toy{limit=none}", (Toy(limit=3), Toy())),
        (" toy , strict{ size=1 } ", (Toy(), Strict(1))),
        ("fixpoint(toy)", (Fixpoint((Toy(),)),)),
        ("fixpoint{max=3}(toy{size=1},strict{size=2}),toy", (Fixpoint((Toy(size=1), Strict(2)), 3), Toy())),
    ],
)
def test_text_is_read_and_printed_back(text: str, expected: tuple[object, ...]) -> None:
    assert parse(text) == expected
    assert parse(print_pipeline(parse(text))) == expected  # type: ignore[arg-type]


def test_printed_text_leaves_out_defaults() -> None:
    elements = (Toy(size=8, rate=0.5, is_deep=True, kinds=(), label="a b"), Fixpoint((Toy(limit=0), Strict(3))))
    text = 'toy{size=8 is-deep=true label="a b" kinds=},fixpoint(toy{limit=0},strict{size=3})'
    assert print_pipeline(elements) == text
    assert parse(text) == elements


LABELS = st.text(alphabet=st.characters(codec="utf-8"), max_size=6)


@given(
    st.lists(
        st.builds(
            Toy,
            st.integers(),
            st.floats(allow_nan=False),
            st.booleans(),
            LABELS,
            st.lists(LABELS, max_size=3).map(tuple),
            st.lists(st.integers(), max_size=3).map(tuple),
            st.none() | st.integers(),
        ),
        max_size=3,
    )
)
def test_every_pipeline_survives_its_text(elements: list[Toy]) -> None:
    assert parse(print_pipeline(elements)) == tuple(elements)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("toi", "there is no pass 'toi'; did you mean 'toy'?"),
        ("annotate-costs", "there is no pass 'annotate-costs'; did you mean 'annotate-cost'?"),
        ("zzzzzz", "there is no pass 'zzzzzz'; see `edpc passes`"),
        ("toy{siz=1}", "pass toy has no option 'siz'; did you mean 'size'?"),
        ("toy{zzz=1}", "pass toy has no option 'zzz'; it has size, rate, is-deep, label, kinds, sizes, limit"),
        ("toy{size=1 size=2}", "pass toy: option 'size' is given twice"),
        ("toy{size=big}", "pass toy: option size is an integer, not 'big'"),
        ("toy{size=1.5}", "pass toy: option size is an integer, not '1.5'"),
        ("toy{size=1,2}", "pass toy: option size is an integer, not '1,2'"),
        ("toy{rate=fast}", "pass toy: option rate is a number, not 'fast'"),
        ("toy{is-deep=maybe}", "pass toy: option is-deep is true or false, not 'maybe'"),
        ("toy{sizes=1,x}", "pass toy: option sizes is a list, each an integer, separated by commas, not '1,x'"),
        ("strict", "pass strict needs the option 'size'"),
        ("strict{size=0}", "pass strict: size is at least 1"),
        ("toy,", "pipeline, column 5: expected the name of a pass, found the end"),
        (",toy", "pipeline, column 1: expected the name of a pass, found ',toy'"),
        ("toy toy", "pipeline, column 5: expected ',' or the end, found 'toy'"),
        ("toy{size}", "pipeline, column 5: expected option=value or '}', found 'size}'"),
        ("toy{size=1", "expected option=value or '}'"),
        ('toy{label="a}', "expected option=value or '}'"),
        ("fixpoint", "expected '(' and the passes of the fixpoint, found the end"),
        ("fixpoint()", "expected the name of a pass, found ')'"),
        ("fixpoint(toy", "expected ',' or ')', found the end"),
        ("fixpoint{max=0}(toy)", "pass fixpoint: option max is at least 1, not 0"),
        ("fixpoint{maxx=1}(toy)", "pass fixpoint has no option 'maxx'; did you mean 'max'?"),
        ("fixpoint(fixpoint(toy))", "a fixpoint holds passes, not another fixpoint"),
    ],
)
def test_refusals_are_one_sentence(text: str, message: str) -> None:
    with pytest.raises(UsageError) as refusal:
        parse(text)
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


@given(st.text(alphabet='toyfixpn{}(),=" \\1-x', max_size=60))
def test_no_text_ends_in_anything_but_a_usage_error(text: str) -> None:
    try:
        found = parse(text)
    except UsageError:
        return
    assert parse(print_pipeline(found)) == found  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text", ["fixpoint(" * 50_000, 'toy{label="' + "\\" * 100_001, "toy{kinds=" + "a," * 50_000, "toy," * 2_000 + "{"]
)
def test_hostile_text_is_refused_without_a_hang(text: str) -> None:
    with pytest.raises(UsageError):
        parse(text)


# --- contracts -----------------------------------------------------------------------------------------------


def contract(name: str, requires: str = "", produces: str = "", preserves: str = "") -> Pass:
    """A pass with this contract; facts by their first letters."""

    def facts(letters: str) -> frozenset[Fact]:
        return frozenset(fact for fact in Fact if fact.name[0] in letters)

    @dataclass(frozen=True)
    class Contract(Toy):
        pass

    Contract.name = name
    Contract.requires, Contract.produces, Contract.preserves = facts(requires), facts(produces), facts(preserves)
    return Contract()


WORK = contract("make-work", produces="W")
GROUPS = contract("make-groups", requires="W", produces="G", preserves="W")
WRECK = contract("wreck")


def test_the_contract_of_the_whole_pipeline_is_checked() -> None:
    check_contract([WORK, GROUPS], frozenset())
    check_contract([GROUPS], frozenset({Fact.WORK}))
    check_contract([Fixpoint((WORK, GROUPS)), GROUPS], frozenset())


@pytest.mark.parametrize(
    ("pipeline", "message"),
    [
        (
            [GROUPS, WORK],
            "pass make-groups needs the fact 'work', which nothing before it produces; put make-work before it",
        ),
        ([GROUPS], "pass make-groups needs the fact 'work', which nothing before it produces; put annotate-operators before it"),
        (
            [WORK, WRECK, GROUPS],
            "pass make-groups needs the fact 'work', which wreck drops before it; put make-work between them",
        ),
        # The first round finds the work; the second does not.
        (
            [WORK, Fixpoint((GROUPS, WRECK))],
            "pass make-groups needs the fact 'work', which wreck drops before it; put make-work between them",
        ),
    ],
)
def test_a_broken_contract_names_pass_fact_and_producer(pipeline: list[Pass], message: str) -> None:
    with pytest.raises(UsageError) as refusal:
        check_contract(pipeline, frozenset())
    assert str(refusal.value) == message


def test_a_fact_that_nobody_produces_is_said_to_be_that() -> None:
    with pytest.raises(UsageError, match="no known pass produces it"):
        check_contract([GROUPS], frozenset(), known={})


def test_facts_that_the_input_brought_may_be_dropped_too() -> None:
    with pytest.raises(UsageError, match="which wreck drops before it"):
        check_contract([WRECK, GROUPS], frozenset({Fact.WORK}))


def test_passes_of_a_pipeline_include_those_of_fixpoints() -> None:
    assert [each.name for each in passes_of(parse_pipeline("toy,fixpoint(toy,strict{size=1})", TOYS))] == ["toy", "toy", "strict"]
