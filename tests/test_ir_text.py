"""The text form: what it looks like, that it loses nothing, and how it refuses."""

from __future__ import annotations

import math
import random
import time
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import graphs

from edpc.errors import ModelError
from edpc.ir import (
    Contraction,
    Cost,
    Estimate,
    Graph,
    Group,
    Kernel,
    Location,
    ModelInfo,
    Operator,
    Refusal,
    Share,
    TensorType,
    Value,
    Work,
    attributes,
)
from edpc.ir.text import parse_graph, print_graph

BF16 = "bf16"


def mlp() -> Graph:
    """One matmul with every fact, then a split."""
    graph = Graph("mlp", ModelInfo("onnx", "mlp.onnx", 4, 128, ("folded 2 constants",)))
    x, w, y = TensorType(BF16, (4, 8)), TensorType(BF16, (8, 16)), TensorType(BF16, (4, 16))
    graph.add("x", Operator("input", (), (x,)))
    graph.add("w", Operator("parameter", (), (w,)))
    cost = Cost(compute_s=1e-6, dram_j=0.1)
    matmul = Operator(
        "matmul",
        (x, w),
        (y,),
        attributes(transpose_b=False, scale=1.0),
        Location("MatMul_3", "MatMul", "encoder.layer.0"),
        Work(512, 0, 0, (64, 256), (128,), BF16, (Contraction(1, 4, 16, 8),)),
        cost,
        Kernel(cost, "memory", 0.25, 2, 1),
        Share(0.5, 0.25, 0.25, 1.0),
    )
    graph.add("y", matmul, [Value("x"), Value("w")])
    half = TensorType(BF16, (4, None))
    graph.add("s", Operator("split", (y,), (half, half), attributes(axis=1)), [Value("y")])
    graph.add("out", Operator("return", (half,)), [Value("s", 1)])
    refusal = Refusal("epilogue", "s", "single-use", "two results leave the kernel")
    graph.groups = [
        Group("g0", "gemm-epilogue", "gemm", ("y",), (refusal,), Kernel(cost, "memory", 0.5, 2, 1)),
        Group("g1", "separate", "movement", ("s",)),
    ]
    graph.estimate = Estimate("tpu", "systolic-array", BF16, (0.1, 0.2), (1e-6, 2e-6), (1e-7, math.inf), 0.5)
    return graph


TEXT = """\
graph @mlp {
  info<format="onnx", source="mlp.onnx", batch=4, parameters=128, notes=["folded 2 constants"]>
  estimate<target="tpu", architecture="systolic-array", precision="bf16", energy_j=[0.1, 0.2], latency_s=[1e-06, 2e-06], \
edp_js=[1e-07, inf], assumed_fraction=0.5>
  %x = input() : bf16[4,8]
  %w = parameter() : bf16[8,16]
  %y = matmul(%x, %w) {scale = 1.0, transpose_b = false} : (bf16[4,8], bf16[8,16]) -> bf16[4,16] \
work<macs=512, vector_ops=0, transcendentals=0, reads=[64, 256], writes=[128], precision="bf16", \
contractions=[<batch=1, m=4, n=16, k=8>]> cost<compute_s=1e-06, dram_j=0.1> \
separate<cost<compute_s=1e-06, dram_j=0.1>, bound="memory", utilization=0.25, dram_accesses=2, launches=1> \
share<events=0.5, flops=0.25, modifiers=0.25, modifier=1.0> loc("MatMul_3", "MatMul", "encoder.layer.0")
  %s = split(%y) {axis = 1} : (bf16[4,16]) -> (bf16[4,?], bf16[4,?])
  %out = return(%s#1) : (bf16[4,?]) -> ()
  group @g0 = gemm-epilogue(%y) <kernel_class="gemm", refusals=[<rule="epilogue", operator="s", guard="single-use", \
reason="two results leave the kernel">], kernel<cost<compute_s=1e-06, dram_j=0.1>, bound="memory", utilization=0.5, \
dram_accesses=2, launches=1>>
  group @g1 = separate(%s) <kernel_class="movement">
}
"""


def test_it_looks_like_this() -> None:
    assert print_graph(mlp()) == TEXT
    assert parse_graph(TEXT) == mlp()


@given(graphs())
@settings(deadline=None, max_examples=60)
def test_reading_what_was_written_gives_the_same_graph(graph: Graph) -> None:
    text = print_graph(graph)
    again = parse_graph(text)
    assert again == graph
    # Equality of Python does not tell 1 from 1.0 or True, nor -0.0 from 0.0; the text does.
    assert print_graph(again) == text
    assert [repr(again.op(n)) for n in again.order()] == [repr(graph.op(n)) for n in graph.order()]
    assert text.isascii() or text.encode().decode() == text


@given(graphs(max_operators=4), st.integers())
@settings(deadline=None, max_examples=40)
def test_layout_means_nothing(graph: Graph, seed: int) -> None:
    """White space and comments may stand between tokens: the careful reader and the fast one agree."""
    rng = random.Random(seed)
    text = print_graph(graph)
    spread = []
    quoted = escaped = False
    for char in text:
        quoted ^= char == '"' and not escaped
        escaped = quoted and char == "\\" and not escaped
        spread.append(char)
        if not quoted and char in "<>(){} " and rng.random() < 0.5:
            spread.append(rng.choice(["\n", "\t ", " // %y = add() <\n"]))
    assert parse_graph("".join(spread)) == graph


@pytest.mark.parametrize(
    "value",
    [
        True,
        1,
        1.0,
        -0.0,
        math.inf,
        -math.inf,
        math.nan,
        5e-324,
        0.1 + 0.2,
        -(2**70),
        "",
        'a"\\\n\x00\x7f\u2028',
        (),
        (1,),
        (True,),
        ("",),
    ],
)
def test_attribute_values_survive(value: object) -> None:
    graph = Graph("g")
    graph.add("x", Operator("input", (), (TensorType(BF16, ()),), (("a", value),)))  # type: ignore[arg-type]
    found = parse_graph(print_graph(graph)).op("x").attribute("a")
    assert repr(found) == repr(value)


def test_hand_written_text_may_leave_out_operand_types() -> None:
    graph = parse_graph("// Layout is free.\ngraph @short { %x = input() : fp32[*] } // and types of operands follow")
    assert graph.op("x").outputs == (TensorType("fp32", None),)
    graph = parse_graph(
        "graph @g { %x = input() : fp32[] %s = split(%x) : (fp32[], fp32[]) %y = add(%s#1, %s) : fp32[] cost<compute_s=1> }"
    )
    assert graph.op("y").inputs == (TensorType("fp32", ()),) * 2
    assert graph.operands("y") == (Value("s", 1), Value("s", 0))
    assert graph.op("y").cost == Cost(compute_s=1.0)
    assert type(graph.op("y").cost.compute_s) is float  # type: ignore[union-attr]


def test_numpy_floats_print_as_floats() -> None:
    numpy = pytest.importorskip("numpy")
    graph = mlp()
    graph.annotate("y", cost=Cost(compute_s=numpy.float64(0.1)))
    assert "cost<compute_s=0.1>" in print_graph(graph)


HEAD = "graph @g {\n  %x = input() : fp32[2]\n  "


@pytest.mark.parametrize(
    ("text", "where", "message"),
    [
        ("", "1:1", "expected 'graph', found the end of the text"),
        ("graph g {", "1:7", "expected '@' and the graph's name, found \"g\""),
        ("graph @g", "1:9", "expected '{', found the end of the text"),
        ("graph @g { }\ngraph", "2:1", 'expected the end of the text, found "graph"'),
        (HEAD, "3:3", "expected an operator, a group or '}', found the end of the text"),
        (HEAD + "relu(%x)", "3:3", "expected an operator, a group or '}', found \"relu\""),
        (HEAD + "%x = relu(%x) : fp32[2] }", "3:3", "expected a new name, found %x, which is defined above"),
        (HEAD + "%y relu(%x) : fp32[2] }", "3:6", "expected '=', found \"relu\""),
        (HEAD + "%y = relu(%X) : fp32[2] }", "3:13", "expected an operator defined above, found %X, which is not"),
        (HEAD + "%y = relu(%xx) : fp32[2] }", "3:13", "which is not; did you mean %x?"),
        (HEAD + "%y = relu(%x#1) : fp32[2] }", "3:13", "expected a result of %x, which has 1, found #1"),
        (HEAD + "%y = relu(%x %x) : fp32[2] }", "3:16", "expected ')' or ',' and an operand, found \"%x\""),
        (HEAD + "%y = relu(%x) }", "3:17", "expected ':' and the types, found \"}\""),
        (HEAD + "%y = relu(%x) : fp32[a] }", "3:19", "expected a type or '(', as in bf16[4,?] or fp32[*], found \"fp32\""),
        (HEAD + "%y = relu(%x) : (fp32[2]) -> }", "3:32", "expected a type or '('"),
        (HEAD + "%y = relu(%x) {a} : fp32[2] }", "3:19", "expected '=', found \"}\""),
        (HEAD + "%y = relu(%x) {a = } : fp32[2] }", "3:22", "expected a number, a string, true, false or '[', found \"}\""),
        (HEAD + "%y = relu(%x) {a = [[1]]} : fp32[2] }", "3:23", 'expected a number, a string, true or false, found "["'),
        (HEAD + '%y = relu(%x) {a = "b} : fp32[2] }', "3:22", "expected a number, a string, true, false or '['"),
        (HEAD + '%y = relu(%x) {a = "\\q"} : fp32[2] }', "3:23", "expected one of \\n \\t \\r"),
        (HEAD + '%y = relu(%x) {a = "\\u{ffffff}"} : fp32[2] }', "3:23", "expected one of \\n \\t \\r"),
        (
            HEAD + "%y = relu(%x) : fp32[2] costs<> }",
            "3:27",
            "expected a fact (work, cost, separate, share), found 'costs', which is none",
        ),
        (HEAD + "%y = relu(%x) : fp32[2] cost<> cost<> }", "3:34", "found 'cost', which is there already"),
        (
            HEAD + "%y = relu(%x) : fp32[2] cost<compute=1> }",
            "3:32",
            "expected 'compute_s', found 'compute', which is no field of cost",
        ),
        (HEAD + "%y = relu(%x) : fp32[2] cost<zz=1> }", "3:32", "expected one of compute_s, memory_s"),
        (HEAD + "%y = relu(%x) : fp32[2] cost<dram_j=1, dram_j=2> }", "3:42", "expected each field once, found 'dram_j' again"),
        (HEAD + '%y = relu(%x) : fp32[2] cost<dram_j="1"> }', "3:39", 'expected a number, found "1"'),
        (HEAD + "%y = relu(%x) : fp32[2] cost<dram_j=1 }", "3:41", "expected ',' or '>', found \"}\""),
        (HEAD + "%y = relu(%x) : fp32[2] share<events=1> }", "3:32", "expected the field 'flops' of share, found none"),
        (HEAD + "%y = relu(%x) : fp32[2] work<macs=1.5> }", "3:37", 'expected an integer, found "1.5"'),
        (HEAD + '%y = relu(%x) : fp32[2] loc("a", "b", "c", "d", "e") }', "3:34", "expected ')', or up to three more strings"),
        (HEAD + "group @g0 = separate(%x) <> }", "3:28", "expected the field 'kernel_class' of group, found none"),
        (
            HEAD + 'group @g0 = r(%x) <kernel_class="a"> %y = relu(%x) : fp32[2] }',
            "3:40",
            "expected a group or '}', found \"%y\"",
        ),
        ("graph @g { estimate<energy_j=[1]> }", "1:30", "expected 2 values, found 1"),
        (HEAD + f"%y = relu(%x) {{a = {'9' * 5000}}} : fp32[2] }}", "3:22", "expected an integer of reasonable length"),
        (HEAD + f"%y = relu(%x) : fp32[{'9' * 5000}] }}", "3:24", "expected an integer of reasonable length"),
    ],
)
def test_refusals_say_where_and_what(text: str, where: str, message: str) -> None:
    with pytest.raises(ModelError) as refusal:
        parse_graph(text, "net.edp")
    assert str(refusal.value).startswith(f"net.edp:{where}: ")
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


def read_or_refuse(text: str) -> bool:
    """Whether the text is a graph; anything but a ModelError propagates."""
    try:
        parse_graph(text)
    except ModelError:
        return False
    return True


@given(st.text(max_size=40) | st.text(alphabet='graph@{}%x=()<>[]:,"\\/-# \n1', max_size=80))
def test_no_text_ends_in_anything_but_a_model_error(text: str) -> None:
    assert not read_or_refuse("graph" + text) or "{" in text
    read_or_refuse(HEAD + text)


@given(st.data())
@settings(deadline=None)
def test_no_mutilated_text_ends_in_anything_but_a_model_error(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(TEXT)))
    upto = data.draw(st.integers(at, min(len(TEXT), at + 20)))
    read_or_refuse(TEXT[:at] + data.draw(st.text(alphabet='%@{}[]<>(),="\\x1.#:', max_size=3)) + TEXT[upto:])


@pytest.mark.parametrize(
    "text",
    [
        '"' * 100_001,
        "graph @g {" + "//" * 100_000,
        "graph @" + "a/" * 100_000,
        "graph @g { info<notes=" + "[" * 100_000,
        "graph @g { %x = input() : " + "(" * 100_000,
        "graph @g { %x = input() : fp32[" + "1," * 100_000,
        "graph @g { estimate<" + "a=b" * 100_000,
        "graph @g { estimate<" + "a=1, " * 100_000,
        'graph @g { %x = input() {a = "' + "\\" * 100_001,
    ],
)
def test_hostile_text_is_refused_at_once(text: str) -> None:
    start = time.process_time()
    with pytest.raises(ModelError):
        parse_graph(text)
    assert time.process_time() - start < 1.0


def test_a_new_field_needs_no_new_grammar() -> None:
    """Every fact and every field of every record appears in the text of a graph whose fields all differ from their defaults."""
    graph = mlp()
    work = replace(graph.op("y").work, rows=3, cols=4, exact=False)  # type: ignore[type-var]
    graph.annotate("y", work=work)
    assert "rows=3, cols=4, exact=false" in print_graph(graph)
    assert parse_graph(print_graph(graph)) == graph


def chain(length: int) -> Graph:
    """A chain of operators with every fact."""
    graph = Graph("chain")
    kind = TensorType(BF16, (4, 16))
    graph.add("n0", Operator("input", (), (kind,)))
    payload = replace(mlp().op("y"), inputs=(kind,), outputs=(kind,))
    for i in range(1, length):
        graph.add(f"n{i}", replace(payload, cost=Cost(compute_s=i / 3, dram_j=i / 7)), [Value(f"n{i - 1}")])
    return graph


def test_time_is_linear_in_the_operators() -> None:
    def seconds(graph: Graph) -> float:
        start = time.process_time()
        parse_graph(print_graph(graph))
        return time.process_time() - start

    small, large = chain(2_000), chain(16_000)
    # Eight times the operators may take eight times the time, doubled for a busy machine; a square law would take 64 times.
    assert min(seconds(large), seconds(large)) < 16 * max(seconds(small), seconds(small))
