"""If, Loop, Scan and SequenceMap: bodies in place, with how often they run."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from onnx import helper as h

from edpc.ir import Graph
from edpc.operators import work
from tests.onnx_graphs import kinds, known, lowered, macs, shapes, tensor

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL


def info(name: str, shape: list[int], dtype: int = FLOAT) -> onnx.ValueInfoProto:
    return h.make_tensor_value_info(name, dtype, shape)


def runs(graph: Graph) -> dict[str, int]:
    """Executions by operator."""
    return {name: int(graph.op(name).attribute("executions", 1)) for name in graph.compute_order()}  # type: ignore[arg-type]


def conditional() -> onnx.NodeProto:
    cheap = h.make_graph([h.make_node("Relu", ["x"], ["t"], name="cheap")], "then", [], [info("t", [4, 8])])
    dear = h.make_graph([h.make_node("MatMul", ["x", "w"], ["e"], name="dear")], "else", [], [info("e", [4, 8])])
    return h.make_node("If", ["c"], ["y"], then_branch=cheap, else_branch=dear, name="choice")


def test_the_dearer_branch_is_taken() -> None:
    graph = lowered([conditional()], {"x": [4, 8], "c": (BOOL, [])}, ["y"], [tensor("w", [8, 8])])
    assert runs(graph) == {"cheap": 0, "dear": 1}
    assert macs(graph) == 4 * 8 * 8
    assert [value.node for value in graph.operands("return")] == ["dear"]
    (note,) = [note for note in graph.info.notes if note.startswith("choice")]
    assert "else_branch is counted as taken (256 MACs against 0), then_branch as never run" in note
    assert work(graph.op("cheap")).flops == 0


@pytest.mark.parametrize(("condition", "expected"), [(True, ["relu"]), (False, ["matmul"])])
def test_a_known_condition_decides(condition: bool, expected: list[str]) -> None:
    initializers = [tensor("w", [8, 8]), known("c", np.array(condition))]
    assert kinds(lowered([conditional()], {"x": [4, 8]}, ["y"], initializers)) == expected


def loop() -> onnx.NodeProto:
    """h = relu(h @ w) and a copy of every h."""
    body = h.make_graph(
        [
            h.make_node("MatMul", ["h", "w"], ["m"], name="step"),
            h.make_node("Relu", ["m"], ["next"], name="act"),
            h.make_node("Identity", ["next"], ["seen"], name="copy"),
            h.make_node("Identity", ["go"], ["still"], name="condition"),
        ],
        "body",
        [info("i", [], INT64), info("go", [], BOOL), info("h", [4, 8])],
        [info("still", [], BOOL), info("next", [4, 8]), info("seen", [4, 8])],
    )
    return h.make_node("Loop", ["trips", "", "x"], ["last", "all"], body=body, name="loop")


def test_a_loop_runs_its_body_as_often_as_it_says() -> None:
    initializers = [tensor("w", [8, 8]), known("trips", np.array(5, np.int64))]
    graph = lowered([loop()], {"x": [4, 8]}, ["last", "all"], initializers)
    assert macs(graph) == 5 * 4 * 8 * 8
    assert runs(graph)["step"] == runs(graph)["act"] == 5
    assert [str(t) for t in graph.op("return").inputs] == ["fp32[4,8]", "fp32[5,4,8]"]
    assert shapes(graph, "concat") == ["fp32[4,8] -> fp32[5,4,8]"]


def test_an_unknown_trip_count_is_one_and_said_so() -> None:
    graph = lowered([loop()], {"x": [4, 8], "trips": (INT64, [])}, ["last"], [tensor("w", [8, 8])])
    assert macs(graph) == 4 * 8 * 8
    assert any("--trip-count loop=N" in note for note in graph.info.notes)


def test_a_stated_trip_count() -> None:
    graph = lowered([loop()], {"x": [4, 8], "trips": (INT64, [])}, ["last"], [tensor("w", [8, 8])], trip_count={"loop": 7})
    assert macs(graph) == 7 * 4 * 8 * 8


def test_a_loop_that_never_runs_answers_what_it_was_given() -> None:
    initializers = [tensor("w", [8, 8]), known("trips", np.array(0, np.int64))]
    graph = lowered([loop()], {"x": [4, 8]}, ["last"], initializers)
    assert [value.node for value in graph.operands("return")] == ["x"]
    assert macs(graph) == 0


def test_loops_multiply() -> None:
    inner = loop()
    inner.input[2] = "o"
    del inner.output[1]
    body = h.make_graph(
        [inner],
        "outer",
        [info("j", [], INT64), info("on", [], BOOL), info("o", [4, 8])],
        [info("on", [], BOOL), info("last", [4, 8])],
    )
    del inner.attribute[0].g.output[2]
    outer = h.make_node("Loop", ["times", "", "x"], ["y"], body=body, name="outer")
    initializers = [tensor("w", [8, 8])] + [known(n, np.array(v, np.int64)) for n, v in (("trips", 5), ("times", 3))]
    graph = lowered([outer], {"x": [4, 8]}, ["y"], initializers)
    assert runs(graph)["step"] == 15
    assert macs(graph) == 15 * 4 * 8 * 8


def test_a_state_that_starts_from_a_known_tensor_is_not_taken_as_fixed() -> None:
    node = loop()
    node.input[2] = "h0"
    initializers = [tensor("w", [8, 8]), tensor("h0", [4, 8]), known("trips", np.array(5, np.int64))]
    graph = lowered([node], {"x": [4, 8]}, ["last"], initializers)
    assert macs(graph) == 5 * 4 * 8 * 8
    assert "fill" in kinds(graph)


def test_scan_reads_and_writes_a_slice_per_step() -> None:
    body = h.make_graph(
        [h.make_node("MatMul", ["slice", "w"], ["m"], name="step"), h.make_node("Add", ["sum", "m"], ["total"], name="add"),
         h.make_node("Identity", ["total"], ["seen"], name="copy")],
        "body",
        [info("sum", [4, 8]), info("slice", [4, 8])],
        [info("total", [4, 8]), info("seen", [4, 8])],
    )  # fmt: skip
    node = h.make_node("Scan", ["x", "steps"], ["last", "all"], body=body, num_scan_inputs=1, name="scan")
    graph = lowered([node], {"x": [4, 8], "steps": [6, 4, 8]}, ["last", "all"], [tensor("w", [8, 8])])
    assert macs(graph) == 6 * 4 * 8 * 8
    assert shapes(graph, "slice") == ["fp32[6,4,8] -> fp32[4,8]"]
    assert runs(graph)["scan.slice1"] == 6
    assert [str(t) for t in graph.op("return").inputs] == ["fp32[4,8]", "fp32[6,4,8]"]


def test_bodies_see_outer_values_and_share_weights() -> None:
    body = h.make_graph(
        [h.make_node("Add", ["s", "outside"], ["n"], name="inside")],
        "body",
        [info("i", [], INT64), info("go", [], BOOL), info("s", [4, 8])],
        [info("go", [], BOOL), info("n", [4, 8])],
    )
    nodes = [h.make_node("MatMul", ["x", "w"], ["outside"]), h.make_node("Loop", ["trips", "", "x"], ["y"], body=body, name="l")]
    graph = lowered(nodes, {"x": [4, 8]}, ["y"], [tensor("w", [8, 8]), known("trips", np.array(2, np.int64))])
    assert [value.node for value in graph.operands("inside")] == ["x", "outside"]
    assert graph.info.parameters == 64


def test_a_sequence_is_mapped_once_per_tensor_as_far_as_known() -> None:
    body = h.make_graph(
        [h.make_node("MatMul", ["e", "w"], ["f"], name="inside")], "body", [info("e", [4, 8])], [info("f", [4, 8])]
    )
    nodes = [
        h.make_node("SequenceConstruct", ["x", "x"], ["s"]),
        h.make_node("SequenceMap", ["s"], ["t"], body=body, name="map"),
        h.make_node("SequenceAt", ["t", "first"], ["y"]),
    ]
    initializers = [tensor("w", [8, 8]), known("first", np.array(0, np.int64))]
    graph = lowered(nodes, {"x": [4, 8]}, ["y"], initializers)
    assert "inside" in runs(graph)
    assert macs(graph) >= 4 * 8 * 8
