"""The manager: what it does around passes, and what it makes of passes that fail."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import pytest

from edpc.errors import GateError, ModelError, PassError, UsageError, VerifyError
from edpc.ir import Cost, Graph, Group, Operator, TensorType, Value, Work
from edpc.ir.text import parse_graph, print_graph
from edpc.pipeline.analyses import group_of, topological_index, users
from edpc.pipeline.base import Fact, Pass, PassContext
from edpc.pipeline.contract import drop_facts, facts_in
from edpc.pipeline.manager import Instrumentation, run_pipeline
from edpc.pipeline.reproducer import run_line
from edpc.pipeline.text import Fixpoint

TEXT = """
graph @net {
  %x = input() : fp32[4]
  %y = relu(%x) : fp32[4]
  %z = relu(%y) : fp32[4]
  %out = return(%z) : ()
}
"""
WORK = Work(0, 4, 0, (16,), (16,), "fp32")


def net() -> Graph:
    return parse_graph(TEXT)


@dataclass(frozen=True)
class Count(Pass):
    """Every relu carries one more in its attribute `count`, up to a limit."""

    name: ClassVar[str] = "count"
    preserves: ClassVar[frozenset[Fact]] = frozenset(Fact)

    upto: int = 1

    def run(self, graph: Graph, ctx: PassContext) -> bool:
        changed = False
        for name in graph.compute_order():
            count = graph.op(name).attribute("count", 0)
            if isinstance(count, int) and count < self.upto:
                graph.annotate(name, attributes=(("count", count + 1),))
                changed = True
        return changed


@dataclass(frozen=True)
class Annotate(Pass):
    """Every operator carries its work."""

    name: ClassVar[str] = "annotate"
    produces: ClassVar[frozenset[Fact]] = frozenset({Fact.WORK})

    def run(self, graph: Graph, ctx: PassContext) -> bool:
        for name in graph.compute_order():
            graph.annotate(name, work=WORK)
        return True


def scripted(action: Callable[[Graph, PassContext], object], **contract: frozenset[Fact]) -> Pass:
    """A pass that does this."""

    @dataclass(frozen=True)
    class Scripted(Pass):
        name: ClassVar[str] = "scripted"

        def run(self, graph: Graph, ctx: PassContext) -> bool:
            return action(graph, ctx)  # type: ignore[return-value]

    for key, value in contract.items():
        setattr(Scripted, key, value)
    return Scripted()


def raising(error: Exception) -> Pass:
    def fail(graph: Graph, ctx: PassContext) -> bool:
        graph.annotate("y", kind="half_done")
        raise error

    return scripted(fail)


# --- running -------------------------------------------------------------------------------------------------


def test_passes_run_in_order_and_statistics_tell() -> None:
    graph = net()
    statistics = run_pipeline(graph, [Count(2), Count(2), Count(2)])
    assert graph.op("y").attribute("count") == 2
    assert [(run.name, run.changed, run.operators, run.groups) for run in statistics.runs] == [
        ("count", True, 4, 0),
        ("count", True, 4, 0),
        ("count", False, 4, 0),
    ]
    assert statistics.seconds == sum(run.seconds + run.verify_seconds for run in statistics.runs) > 0.0
    assert [line.split()[0] for line in statistics.table().splitlines()] == ["pass", "count", "count", "count", "total"]


def test_a_pipeline_may_be_text() -> None:
    graph = net()
    assert run_pipeline(graph, "").runs == ()
    with pytest.raises(UsageError, match="there is no pass 'zzz'"):
        run_pipeline(graph, "zzz")


def test_nothing_runs_where_the_contract_does_not_hold() -> None:
    graph = net()
    with pytest.raises(UsageError, match="pass scripted needs the fact 'groups'"):
        run_pipeline(graph, [Count(), scripted(lambda g, c: False, requires=frozenset({Fact.GROUPS}))])
    assert graph == net()


def test_facts_are_found_in_the_graph_or_vouched_for() -> None:
    needs_work = scripted(lambda g, c: False, requires=frozenset({Fact.WORK}))
    needs_clean = scripted(lambda g, c: False, requires=frozenset({Fact.CLEAN}))
    graph = net()
    with pytest.raises(UsageError, match="needs the fact 'work'"):
        run_pipeline(graph, [needs_work])
    run_pipeline(graph, [Annotate(), needs_work])
    run_pipeline(graph, [needs_work])
    with pytest.raises(UsageError, match="needs the fact 'clean'"):
        run_pipeline(graph, [needs_clean])
    run_pipeline(graph, [needs_clean], have=frozenset({Fact.CLEAN}))


def annotated() -> Graph:
    """A graph that shows every fact."""
    return parse_graph(
        """
        graph @net {
          estimate<target="t", architecture="roofline", precision="fp32", energy_j=[1, 1], latency_s=[1, 1], edp_js=[1, 1],
                   assumed_fraction=0>
          %x = input() : fp32[4]
          %y = relu(%x) : fp32[4] work<macs=0, vector_ops=4, transcendentals=0, reads=[16], writes=[16], precision="fp32">
               cost<dram_j=1> share<events=1, flops=1, modifiers=1, modifier=1>
          group @g0 = separate(%y) <kernel_class="vector",
              kernel<cost<dram_j=1>, bound="memory", utilization=1, dram_accesses=2, launches=1>>
        }
        """
    )


def test_facts_that_a_change_made_stale_are_gone() -> None:
    graph = annotated()
    assert facts_in(graph) == {Fact.WORK, Fact.GROUPS, Fact.COST, Fact.SHARES}
    drop_facts(graph, {Fact.COST})
    assert facts_in(graph) == {Fact.WORK, Fact.GROUPS, Fact.SHARES}
    assert (graph.estimate, graph.groups[0].kernel, graph.op("y").cost) == (None, None, None)
    graph = annotated()
    change = scripted(lambda g, c: g.annotate("y", attributes=(("a", 1),)) or True, preserves=frozenset({Fact.WORK}))
    run_pipeline(graph, [change])
    assert facts_in(graph) == {Fact.WORK}
    graph = annotated()
    run_pipeline(graph, [scripted(lambda g, c: False)])
    assert graph == annotated()


def test_an_empty_graph_shows_every_fact_there_is_to_show() -> None:
    assert facts_in(Graph("empty")) == {Fact.WORK, Fact.GROUPS, Fact.COST, Fact.SHARES}


# --- fixpoints -----------------------------------------------------------------------------------------------


def test_a_fixpoint_runs_until_nothing_changes() -> None:
    graph = net()
    statistics = run_pipeline(graph, [Fixpoint((Count(3), Count(2)))])
    assert graph.op("y").attribute("count") == 3
    # Round 1: 1, 2. Round 2: 3, still. Round 3: nothing.
    assert [run.changed for run in statistics.runs] == [True, True, True, False, False, False]


def test_a_fixpoint_that_never_settles_is_an_error() -> None:
    def flip(graph: Graph, ctx: PassContext) -> bool:
        graph.annotate("y", attributes=() if graph.op("y").attributes else (("a", 1),))
        return True

    with pytest.raises(PassError) as failure:
        run_pipeline(net(), [Fixpoint((scripted(flip),), 5), Count()])
    assert str(failure.value).startswith("fixpoint{max=5}(scripted) still changes the graph in its last round")
    assert run_line(failure.value.reproducer or "") == ["-p", "fixpoint{max=5}(scripted),count"]


# --- analyses ------------------------------------------------------------------------------------------------


def test_analyses() -> None:
    graph = net()
    graph.groups = [Group("g0", "pointwise", "vector", ("y", "z"))]
    assert users(graph)["y"] == (("z", 0, 0),)
    assert users(graph)["out"] == ()
    assert topological_index(graph) == {"x": 0, "y": 1, "z": 2, "out": 3}
    assert group_of(graph) == {"y": graph.groups[0], "z": graph.groups[0]}


def test_analyses_are_kept_until_a_pass_changes_the_graph() -> None:
    seen: list[object] = []

    def look(graph: Graph, ctx: PassContext) -> bool:
        seen.append(ctx.analysis(graph, users))
        return False

    ctx = PassContext()
    run_pipeline(net(), [scripted(look), scripted(look), Count(), scripted(look), Count(), scripted(look)], ctx)
    first, second, third, fourth = seen
    assert first is second
    assert second is not third
    assert third is fourth  # the second Count changed nothing
    run_pipeline(net(), [scripted(look)], ctx)
    assert seen[-1] is not fourth  # another run may be about another graph


# --- failures ------------------------------------------------------------------------------------------------


def test_an_exception_in_a_pass_is_a_pass_error_with_a_reproducer() -> None:
    graph = net()
    with pytest.raises(PassError) as failure:
        run_pipeline(graph, [Count(), raising(KeyError("q")), Count(7)], PassContext(precision="bf16"))
    message = str(failure.value)
    assert re.fullmatch(r"pass scripted failed: KeyError: 'q' \(test_pipeline_manager.py:\d+\)", message)
    assert isinstance(failure.value.__cause__, KeyError)
    text = failure.value.reproducer or ""
    first, second, _ = text.split("\n", 2)
    assert first == "// RUN: edpc-opt %s --precision bf16 -p 'scripted,count{upto=7}'"
    assert second == f"// {message}"
    # The IR is that before the failing pass: counted once, and not half done.
    expected = net()
    run_pipeline(expected, [Count()])
    assert parse_graph(text) == expected


@pytest.mark.parametrize(
    "error", [RecursionError("too deep"), MemoryError(), PassError("inner"), VerifyError("inner"), ValueError("a\nb")]
)
def test_whatever_a_pass_raises_has_a_reproducer_in_one_sentence(error: Exception) -> None:
    with pytest.raises(PassError) as failure:
        run_pipeline(net(), [raising(error)])
    assert failure.value.reproducer is not None
    assert "\n" not in str(failure.value)
    assert parse_graph(failure.value.reproducer) == net()


@pytest.mark.parametrize("error", [UsageError("no target"), ModelError("bad node"), GateError("strict")])
def test_errors_of_the_user_pass_through_unchanged(error: Exception) -> None:
    with pytest.raises(type(error)) as failure:
        run_pipeline(net(), [raising(error)])
    assert failure.value is error


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (lambda g, c: g.annotate("y", inputs=()) or True, "pass scripted left an invalid graph: %y has 0 operands"),
        (lambda g, c: g.annotate("y", kind="gelu"), "pass scripted says that it changed nothing, and changed the graph"),
        (lambda g, c: setattr(g, "name", "other"), "pass scripted says that it changed nothing, and changed the graph"),
        (lambda g, c: g.rewire("z", [Value("x")]), "pass scripted says that it changed nothing, and changed the graph"),
        (lambda g, c: setattr(g, "groups", [Group("g", "r", "c", ("y", "z"))]), "pass scripted says that it changed nothing"),
    ],
)
def test_a_pass_that_breaks_the_graph_or_its_word_fails(action: Callable[[Graph, PassContext], object], message: str) -> None:
    with pytest.raises(PassError) as failure:
        run_pipeline(net(), [scripted(action)])
    assert str(failure.value).startswith(message)
    assert parse_graph(failure.value.reproducer or "") == net()


def test_a_pass_that_does_not_keep_its_promise_fails() -> None:
    with pytest.raises(PassError, match="pass scripted promises the fact 'work', and the graph lacks it"):
        run_pipeline(net(), [scripted(lambda g, c: False, produces=frozenset({Fact.WORK}))])


def test_kinds_are_checked_where_the_vocabulary_is_given() -> None:
    rename = scripted(lambda g, c: g.annotate("y", kind="rleu") or True)
    run_pipeline(net(), [rename])
    with pytest.raises(PassError, match="known-kind"):
        run_pipeline(net(), [rename], None, Instrumentation(kinds=frozenset({"relu"})))


def test_no_verify_lets_a_broken_graph_through() -> None:
    graph = net()
    run_pipeline(graph, [scripted(lambda g, c: g.annotate("y", inputs=()) or True)], None, Instrumentation(verify=False))
    assert graph.op("y").inputs == ()


def test_a_graph_beyond_printing_does_not_hide_the_failure() -> None:
    graph = net()
    graph.annotate("y", attributes=(("a", object()),))
    with pytest.raises(PassError, match="pass scripted failed: KeyError") as failure:
        run_pipeline(graph, [raising(KeyError("q"))], None, Instrumentation(verify=False))
    assert failure.value.reproducer is None


def test_flags_of_the_caller_stand_in_the_reproducer() -> None:
    flags = ("--target", "./my npu.py", "--set", "hbm.bandwidth=4.8TB/s")
    with pytest.raises(PassError) as failure:
        run_pipeline(net(), [raising(KeyError("q"))], None, Instrumentation(flags=flags))
    assert run_line(failure.value.reproducer or "") == [*flags, "-p", "scripted"]


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("", []),
        ("// RUN: edpc-opt %s\ngraph @g {}", []),
        ("// RUN: edpc-opt %s -p 'a{x=1,2},b' | filecheck %s", ["-p", "a{x=1,2},b"]),
        ("// RUN: not edpc-opt -p a %s 2>&1 | filecheck %s", ["-p", "a"]),
        ('// RUN: edpc-opt %s -p "a{t=\\"x | y\\"}" > out\n// RUN: edpc-opt %s -p b', ["-p", 'a{t="x | y"}']),
    ],
)
def test_run_lines(text: str, arguments: list[str]) -> None:
    assert run_line(text) == arguments


# --- printing ------------------------------------------------------------------------------------------------


def printed(**options: tuple[str, ...]) -> list[str]:
    """Headings of what a pipeline of a changing and an idle pass prints."""
    out: list[str] = []
    idle = scripted(lambda g, c: False)
    run_pipeline(net(), [Count(), idle], None, Instrumentation(write=out.append, **options))  # type: ignore[arg-type]
    assert all(parse_graph(text) for text in out)
    return [text.split("\n", 1)[0].strip("/ -") for text in out]


def test_ir_is_printed_around_passes() -> None:
    assert printed() == []
    assert printed(print_before=("scripted",)) == ["before scripted"]
    assert printed(print_before=("all",)) == ["before count", "before scripted"]
    assert printed(print_after=("count",)) == ["after count"]
    assert printed(print_after=("all",)) == ["after count", "after scripted"]
    assert printed(print_after=("changed",)) == ["after count"]
    assert printed(print_before=("count",), print_after=("scripted",)) == ["before count", "after scripted"]


def test_printing_around_a_pass_that_does_not_run_is_refused() -> None:
    with pytest.raises(UsageError, match="--print-ir-after: the pipeline does not run a pass 'cuont'; did you mean 'count'"):
        printed(print_after=("cuont",))
    with pytest.raises(UsageError, match="--print-ir-before: the pipeline does not run a pass 'changed'"):
        printed(print_before=("changed",))


def test_each_pass_leaves_a_numbered_file(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    run_pipeline(net(), [Count(2), Fixpoint((Count(2),))], None, Instrumentation(dump_to=folder))
    assert sorted(path.name for path in folder.iterdir()) == ["00-input.edp", "01-count.edp", "02-count.edp", "03-count.edp"]
    assert (folder / "00-input.edp").read_text() == print_graph(net())
    counts = [parse_graph((folder / f"0{i}-count.edp").read_text()).op("y").attribute("count") for i in (1, 2, 3)]
    assert counts == [1, 2, 2]


def test_a_folder_that_cannot_be_written_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="choose another folder for --dump-ir"):
        run_pipeline(net(), [Count()], None, Instrumentation(dump_to=tmp_path / "file" / "x"))


def test_the_same_input_gives_the_same_bytes() -> None:
    texts = set()
    for _ in range(3):
        graph = net()
        run_pipeline(graph, [Count(2), Annotate(), Fixpoint((Count(9),))])
        texts.add(print_graph(graph))
    assert len(texts) == 1


def test_a_pipeline_is_linear_in_the_operators() -> None:
    """20,000 operators, verified, with snapshots: seconds, not minutes, and no recursion."""
    graph = Graph("chain")
    kind = TensorType("fp32", (4,))
    graph.add("n0", Operator("input", (), (kind,)))
    for i in range(1, 20_000):
        graph.add(f"n{i}", Operator("relu", (kind,), (kind,), cost=Cost()), [Value(f"n{i - 1}")])
    statistics = run_pipeline(graph, [Count(), Annotate()])
    assert statistics.seconds < 10.0
    assert replace(graph.op("n7"), attributes=(), work=None) == Operator("relu", (kind,), (kind,), cost=Cost())
