"""Names, locations, sources and notes of a lowered model, and the dispatch by what is given."""

import io
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from onnx import helper as h

from edpc.errors import ModelError, UsageError
from edpc.frontends import load
from edpc.ir import Graph, Value
from edpc.ir.text import print_graph
from tests.onnx_graphs import kinds, known, lowered, model, only, shapes, tensor


def chain() -> onnx.ModelProto:
    nodes = [
        h.make_node("MatMul", ["x", "w"], ["h"], name="fc"),
        h.make_node("Add", ["h", "b"], ["s"], name="bias"),
        h.make_node("Relu", ["s"], ["y"], name="relu"),
    ]
    return model(nodes, {"x": [4, 64]}, ["y"], [tensor("w", [64, 32]), tensor("b", [32])])


def test_chain() -> None:
    graph = load(chain())
    assert kinds(graph) == ["matmul", "add", "relu"]
    assert list(graph.dag) == ["x", "w", "fc", "b", "bias", "relu", "return"]
    assert graph.operands("bias") == (Value("fc"), Value("b"))
    assert graph.info.parameters == 64 * 32 + 32
    assert (graph.info.format, graph.info.batch) == ("onnx", 4)


# --- names and locations ----------------------------------------------------------------------------------------


def test_node_names_are_kept_and_made_unique() -> None:
    nodes = [
        h.make_node("Relu", ["x"], ["a"], name="act"),
        h.make_node("Relu", ["a"], ["b"], name="act"),
        h.make_node("Relu", ["b"], ["c"]),
        h.make_node("Relu", ["c"], ["y"], name="x"),  # a node may be called what an input is called
    ]
    graph = lowered(nodes, {"x": [2]}, ["y"])
    assert graph.compute_order() == ["a", "b", "c", "x.1"]
    assert [graph.op(name).location.source_name for name in graph.compute_order()] == ["a", "b", "c", "x"]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("props", "name", "path"),
    [
        ({"pkg.torch.onnx.name_scopes": "['', 'encoder', 'encoder.layer.5', 'linear_35']"}, "n", "encoder.layer.5"),
        ({"pkg.torch.onnx.name_scopes": "['', 'linear_35']"}, "n", ""),
        (
            {"namespace": ": m.Bert/encoder: m.Encoder/encoder.layer.5: m.Layer/linear_35: aten.linear.default"},
            "n",
            "encoder.layer.5",
        ),
        ({"namespace": "add: aten.add"}, "n", ""),
        ({}, "/encoder/layer.0/attention/MatMul", "encoder.layer.0.attention"),
        ({}, "MatMul_3", ""),
        ({}, "node/MatMulAddFusion", ""),
    ],
)
def test_module_paths(props: dict[str, str], name: str, path: str) -> None:
    node = h.make_node("Relu", ["x"], ["y"], name=name)
    for key, value in props.items():
        node.metadata_props.add(key=key, value=value)
    location = only(lowered([node], {"x": [2]}, ["y"]), "relu").location
    assert location is not None
    assert (location.module_path, location.source_type) == (path, "Relu")


def test_operators_of_a_composite_keep_its_name() -> None:
    node = h.make_node("BiasGelu", ["x", "b"], ["y"], name="act", domain="com.microsoft")
    graph = lowered([node], {"x": [2, 8]}, ["y"], [tensor("b", [8])])
    assert {graph.op(name).location.source_name for name in graph.compute_order()} == {"act"}  # type: ignore[union-attr]
    assert {graph.op(name).location.source_type for name in graph.compute_order()} == {"com.microsoft.BiasGelu"}  # type: ignore[union-attr]


# --- sources ----------------------------------------------------------------------------------------------------


def test_scalars_and_index_tensors_are_constants() -> None:
    nodes = [h.make_node("Mul", ["x", "half"], ["h"]), h.make_node("Gather", ["h", "rows"], ["y"], axis=0)]
    initializers = [known("half", np.float32(0.5).reshape(())), known("rows", np.array([2, 0], np.int64))]
    graph = lowered(nodes, {"x": [4, 8]}, ["y"], initializers)
    assert graph.op("half").kind == graph.op("rows").kind == "constant"
    assert graph.op("half").attribute("value") == (0.5,)
    assert graph.op("rows").attribute("value") == (2, 0)
    assert graph.info.parameters == 0


def test_weights_made_by_the_graph_are_parameters() -> None:
    nodes = [
        h.make_node("ConstantOfShape", ["shape"], ["w"], name="make"),
        h.make_node("Transpose", ["w"], ["wt"], perm=[1, 0]),
        h.make_node("MatMul", ["x", "wt"], ["y"]),
    ]
    graph = lowered(nodes, {"x": [4, 64]}, ["y"], [known("shape", np.array([32, 64], np.int64))])
    assert kinds(graph) == ["matmul"]
    assert graph.op("wt").kind == "parameter"
    assert graph.info.parameters == 32 * 64


def test_a_tied_weight_counts_once_but_is_two_tensors() -> None:
    nodes = [
        h.make_node("Gather", ["table", "ids"], ["h"]),
        h.make_node("Transpose", ["table"], ["head"], perm=[1, 0]),
        h.make_node("MatMul", ["h", "head"], ["y"]),
    ]
    graph = lowered(nodes, {"ids": (TensorProto.INT64, [1, 6])}, ["y"], [tensor("table", [100, 16])])
    assert kinds(graph) == ["gather", "matmul"]
    assert [name for name in graph.order() if graph.op(name).kind == "parameter"] == ["table", "head"]
    assert graph.info.parameters == 100 * 16


def test_tables_computed_from_no_weight_are_constants() -> None:
    nodes = [
        h.make_node("Range", ["start", "limit", "step"], ["positions"]),
        h.make_node("Cos", ["positions"], ["cos"]),
        h.make_node("Mul", ["x", "cos"], ["y"]),
    ]
    scalars = [known(name, np.float32(value).reshape(())) for name, value in (("start", 0), ("limit", 2000), ("step", 1))]
    graph = lowered(nodes, {"x": [4, 2000]}, ["y"], scalars)
    assert graph.op("cos").kind == "constant"
    assert graph.info.parameters == 0


def test_random_numbers_are_drawn_at_run_time() -> None:
    node = h.make_node("RandomNormal", [], ["n"], shape=[4, 8])
    graph = lowered([node, h.make_node("Add", ["x", "n"], ["y"])], {"x": [4, 8]}, ["y"])
    assert kinds(graph) == ["random", "add"]


def test_a_result_that_is_known_beforehand_is_returned() -> None:
    graph = lowered([h.make_node("Relu", ["w"], ["y"])], {"x": [2]}, ["y"], [tensor("w", [8, 8])])
    assert kinds(graph) == []
    assert graph.operands("return") == (Value("y"),)
    assert graph.op("y").kind == "parameter"


# --- what is left out -------------------------------------------------------------------------------------------


def test_shape_arithmetic_is_folded_and_counted() -> None:
    nodes = [
        h.make_node("Shape", ["x"], ["shape"]),
        h.make_node("Gather", ["shape", "zero"], ["rows"]),
        h.make_node("Concat", ["rows", "rest"], ["target"], axis=0),
        h.make_node("Reshape", ["x", "target"], ["y"], name="flatten"),
    ]
    initializers = [known("zero", np.array([0], np.int64)), known("rest", np.array([-1], np.int64))]
    graph = lowered(nodes, {"x": [4, 8, 2]}, ["y"], initializers)
    assert shapes(graph, "reshape") == ["fp32[4,8,2] -> fp32[4,16]"]
    assert len(graph) == 3  # input, reshape, return
    assert graph.info.notes == ("shape-computing operators that were folded: 3",)


def test_dead_nodes_are_left_out_and_counted() -> None:
    nodes = [h.make_node("Relu", ["x"], ["y"]), h.make_node("Exp", ["x"], ["e"]), h.make_node("MatMul", ["e", "w"], ["d"])]
    graph = lowered(nodes, {"x": [4, 8]}, ["y"], [tensor("w", [8, 8])])
    assert kinds(graph) == ["relu"]
    assert graph.info.parameters == 0
    assert "operators left out because nobody reads their results: 2" in graph.info.notes


def test_unknown_operators_stay_visible() -> None:
    node = h.make_node("Frobnicate", ["x", "w"], ["y"], name="f", domain="acme")
    made = model([node], {"x": [4, 8]}, ["y"], [tensor("w", [8, 8])])
    made.opset_import.add(domain="acme", version=1)
    graph = load(made)
    op = only(graph, "unknown")
    assert op.location is not None
    assert op.location.source_type == "acme.Frobnicate"
    assert graph.operands("f") == (Value("x"), Value("w"))


# --- standard operators that are one of several kinds -----------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "perm", "kind"), [([1, 8, 1, 4], [0, 2, 1, 3], "reshape"), ([1, 8, 2, 4], [0, 2, 1, 3], "transpose")]
)
def test_a_transpose_that_moves_nothing_is_a_view(shape: list[int], perm: list[int], kind: str) -> None:
    assert kinds(lowered([h.make_node("Transpose", ["x"], ["y"], perm=perm)], {"x": shape}, ["y"])) == [kind]


@pytest.mark.parametrize(
    ("opset", "given", "expected"),
    [(21, {}, {"axis": 2}), (21, {"axis": 1}, {"axis": 1}), (11, {}, {"axes": (1, 2)}), (11, {"axis": 2}, {"axis": 2})],
)
def test_softmax_rows_by_opset(opset: int, given: dict[str, int], expected: dict[str, object]) -> None:
    graph = lowered([h.make_node("Softmax", ["x"], ["y"], **given)], {"x": [2, 3, 4]}, ["y"], opset=opset)
    assert dict(only(graph, "softmax").attributes) == expected


@pytest.mark.parametrize(
    ("mode", "size", "stride", "pads"),
    [
        # out = ceil(8 / 2) = 4, total = 3 * 2 + 3 - 8 = 1: at the end or at the beginning
        ("SAME_UPPER", 8, 2, (0, 0, 1, 1)),
        ("SAME_LOWER", 8, 2, (1, 1, 0, 0)),
        ("VALID", 8, 2, (0, 0, 0, 0)),
        ("NOTSET", 8, 2, (0, 0, 0, 0)),
    ],
)
def test_automatic_pads_are_resolved(mode: str, size: int, stride: int, pads: tuple[int, ...]) -> None:
    node = h.make_node("Conv", ["x", "w"], ["y"], auto_pad=mode, strides=[stride, stride])
    conv = only(lowered([node], {"x": [1, 3, size, size]}, ["y"], [tensor("w", [4, 3, 3, 3])]), "conv")
    assert conv.attribute("pads") == pads
    assert conv.attribute("groups") == 1


def test_reductions_know_their_axes() -> None:
    axes = known("axes", np.array([-1], np.int64))
    graph = lowered([h.make_node("ReduceMean", ["x", "axes"], ["y"], keepdims=0)], {"x": [2, 3, 4]}, ["y"], [axes])
    assert dict(only(graph, "reduce_mean").attributes) == {"axes": (2,), "keepdims": False}
    graph = lowered([h.make_node("ReduceMean", ["x"], ["y"], axes=[1])], {"x": [2, 3, 4]}, ["y"], opset=11)
    assert dict(only(graph, "reduce_mean").attributes) == {"axes": (1,), "keepdims": True}
    graph = lowered([h.make_node("ReduceSum", ["x"], ["y"], noop_with_empty_axes=1)], {"x": [2, 3, 4]}, ["y"])
    assert only(graph, "reduce_sum").attribute("axes") == ()


def test_dropout_is_nothing_at_inference() -> None:
    assert kinds(lowered([h.make_node("Dropout", ["x"], ["y"])], {"x": [4]}, ["y"])) == ["identity"]
    training = [known("ratio", np.float32(0.5).reshape(())), known("on", np.array(True))]
    graph = lowered([h.make_node("Dropout", ["x", "ratio", "on"], ["y", "mask"])], {"x": [4]}, ["y", "mask"], training)
    assert kinds(graph) == ["dropout"]


def test_recurrent_layer() -> None:
    node = h.make_node("LSTM", ["x", "w", "r", "b"], ["", "last"], hidden_size=32, direction="bidirectional")
    weights = [tensor("w", [2, 128, 16]), tensor("r", [2, 128, 32]), tensor("b", [2, 256])]
    op = only(lowered([node], {"x": [10, 3, 16]}, ["last"], weights), "lstm")
    assert (op.attribute("directions"), op.attribute("hidden_size"), op.attribute("layout")) == (2, 32, 0)
    assert [str(t) for t in op.outputs] == ["fp32[2,3,32]"]


# --- dispatch ---------------------------------------------------------------------------------------------------


def test_every_way_to_give_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = chain()
    path = tmp_path / "m.onnx"
    onnx.save(made, path)
    graph = load(path)
    assert graph.info.source == str(path)
    odd = tmp_path / "m.model"
    odd.write_bytes(path.read_bytes())
    text = tmp_path / "m.edp"
    text.write_text(print_graph(graph))
    assert load(text) == graph
    for source in (str(path), odd, path.read_bytes(), made):
        assert kinds(load(source)) == kinds(graph)
    copy = load(graph)
    assert copy == graph
    assert copy is not graph
    for data in (path.read_bytes(), text.read_bytes()):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        assert kinds(load("-")) == kinds(graph)


def test_objects_that_are_no_model_are_refused() -> None:
    with pytest.raises(UsageError, match="list is not supported"):
        load([1, 2])  # type: ignore[arg-type]


def test_files_that_are_no_model_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such file"):
        load(tmp_path / "absent.onnx")
    with pytest.raises(ModelError, match="cannot be read"):
        load(tmp_path / "absent.edp")
    odd = tmp_path / "notes.txt"
    odd.write_text("hello")
    with pytest.raises(ModelError, match="not an ONNX model"):
        load(odd)
    binary = tmp_path / "m.edp"
    binary.write_bytes(b"\xff\xfe")
    with pytest.raises(ModelError, match="not UTF-8"):
        load(binary)


def test_overrides_belong_to_onnx_models() -> None:
    with pytest.raises(UsageError, match="--batch"):
        load(Graph("g"), batch=4)


def test_batch_override() -> None:
    assert load(chain(), batch=8).info.batch == 8
