"""Quantised models: what a weight is stored in and what arithmetic is done in stay visible."""

import numpy as np
import pytest
from onnx import NodeProto, TensorProto
from onnx import helper as h

from edpc.ir import Graph, Value
from edpc.operators import work
from tests.onnx_graphs import kinds, known, lowered, macs, only, shapes, tensor

MS = "com.microsoft"
INT8, UINT8, INT32 = TensorProto.INT8, TensorProto.UINT8, TensorProto.INT32


def scale(*names: str) -> list[TensorProto]:
    return [known(name, np.float32(0.1).reshape(())) for name in names]


def zero(*names: str) -> list[TensorProto]:
    return [known(name, np.uint8(0).reshape(())) for name in names]


def precisions(graph: Graph) -> list[str]:
    """Arithmetic of every contraction."""
    return [work(graph.op(n)).precision for n in graph.compute_order() if work(graph.op(n)).macs]


def qdq(between: list[NodeProto], weight: str) -> list[NodeProto]:
    """x quantised and dequantised, a stored weight dequantised, some nodes in between, a convolution."""
    return [
        h.make_node("QuantizeLinear", ["x", "xs", "xz"], ["xq"]),
        h.make_node("DequantizeLinear", ["xq", "xs", "xz"], ["xd"]),
        h.make_node("DequantizeLinear", ["w", "ws"], ["wd"], name="dq"),
        *between,
        h.make_node("Conv", ["xd", weight], ["y"], name="conv"),
    ]


def test_a_stored_weight_keeps_its_dequantisation() -> None:
    weights = [tensor("w", [4, 3, 3, 3], INT8), *scale("xs", "ws"), *zero("xz")]
    graph = lowered(qdq([], "wd"), {"x": [1, 3, 8, 8]}, ["y"], weights)
    assert kinds(graph) == ["quantize", "dequantize", "dequantize", "conv"]
    assert graph.operands("conv")[1] == Value("dq")
    assert str(graph.op("w").outputs[0]) == "int8[4,3,3,3]"
    assert graph.info.parameters == 108


def test_layout_changes_of_a_stored_weight_are_done_beforehand() -> None:
    between = [h.make_node("Transpose", ["wd"], ["wt"], perm=[1, 0, 2, 3]), h.make_node("Identity", ["wt"], ["wi"])]
    weights = [tensor("w", [3, 4, 3, 3], INT8), *scale("xs", "ws"), *zero("xz")]
    graph = lowered(qdq(between, "wi"), {"x": [1, 3, 8, 8]}, ["y"], weights)
    assert kinds(graph) == ["quantize", "dequantize", "dequantize", "conv"]
    assert shapes(graph, "dequantize")[1] == "int8[4,3,3,3], fp32[] -> fp32[4,3,3,3]"


def test_a_dequantised_bias_is_a_parameter() -> None:
    nodes = [h.make_node("DequantizeLinear", ["b", "bs"], ["bd"]), h.make_node("Gemm", ["x", "w", "bd"], ["y"])]
    graph = lowered(nodes, {"x": [4, 16]}, ["y"], [tensor("w", [16, 8]), tensor("b", [8], INT32), *scale("bs")])
    assert kinds(graph) == ["matmul"]
    assert str(graph.op("bd").outputs[0]) == "fp32[8]"
    assert graph.info.parameters == 16 * 8 + 8


def test_integer_convolution_with_scales() -> None:
    inputs = ["x", "xs", "xz", "w", "ws", "wz", "ys", "yz", "b"]
    node = h.make_node("QLinearConv", inputs, ["y"], name="conv", pads=[1, 1, 1, 1])
    weights = [tensor("w", [4, 3, 3, 3], UINT8), tensor("b", [4], INT32), tensor("ws", [4]), *scale("xs", "ys")]
    graph = lowered([node], {"x": (UINT8, [1, 3, 8, 8])}, ["y"], [*weights, *zero("xz", "wz", "yz")])
    conv = only(graph, "conv")
    assert [str(t) for t in conv.inputs[:3]] == ["uint8[1,3,8,8]", "uint8[4,3,3,3]", "int32[4]"]
    assert len(conv.inputs) == 9
    assert (conv.attribute("bias"), conv.attribute("pads")) == (True, (1, 1, 1, 1))
    assert graph.op("ws").kind == "parameter"  # read like weights, but no parameters of the model
    assert graph.info.parameters == 108 + 4
    assert macs(graph) == 4 * 64 * 27


@pytest.mark.parametrize(
    ("operator", "domain", "inputs"),
    [
        ("MatMulInteger", "", ["xq", "w", "xz", "wz"]),
        ("QLinearMatMul", "", ["xq", "xs", "xz", "w", "ws", "wz", "ys", "yz"]),
        ("MatMulIntegerToFloat", MS, ["xq", "w", "xs", "ws", "xz", "wz", "b"]),
        ("QGemm", MS, ["xq", "xs", "xz", "w", "ws", "wz", "bi"]),
        ("DynamicQuantizeMatMul", MS, ["x", "w", "ws", "wz"]),
    ],
)
def test_integer_products(operator: str, domain: str, inputs: list[str]) -> None:
    node = h.make_node(operator, inputs, ["y"], domain=domain)
    weights = [tensor("w", [16, 8], UINT8), tensor("b", [8]), tensor("bi", [8], INT32)]
    weights += [*scale("xs", "ws", "ys"), *zero("xz", "wz", "yz")]
    graph = lowered([node], {"x": [4, 16], "xq": (UINT8, [4, 16])}, ["y"], weights)
    assert precisions(graph) == ["int8"]
    assert macs(graph) == 4 * 16 * 8
    assert only(graph, "matmul").attribute("addend") is (operator in ("MatMulIntegerToFloat", "QGemm"))


def test_integer_convolution_without_scales() -> None:
    node = h.make_node("ConvInteger", ["x", "w", "xz"], ["y"])
    graph = lowered([node], {"x": (UINT8, [1, 3, 8, 8])}, ["y"], [tensor("w", [4, 3, 3, 3], UINT8), *zero("xz")])
    assert precisions(graph) == ["int8"]
    assert only(graph, "conv").attribute("bias") is False
    assert str(only(graph, "conv").outputs[0]) == "int32[1,4,6,6]"


def test_weights_of_four_bits() -> None:
    node = h.make_node("MatMulNBits", ["x", "w", "s"], ["y"], K=64, N=32, bits=4, block_size=32, domain=MS)
    graph = lowered([node], {"x": [4, 64]}, ["y"], [tensor("w", [32, 2, 16], UINT8), tensor("s", [64])])
    product = only(graph, "matmul")
    assert [str(t) for t in product.inputs] == ["fp32[4,64]", "int4[64,32]", "fp32[64]"]
    assert graph.info.parameters == 64 * 32
    # 64 * 32 elements of half a byte
    assert work(product).reads[1] == 1024
    assert precisions(graph) == ["fp32"]


@pytest.mark.parametrize(("bits", "dtype"), [(2, "int2"), (3, "int4"), (8, "int8")])
def test_weights_of_other_widths(bits: int, dtype: str) -> None:
    node = h.make_node("MatMulNBits", ["x", "w", "s"], ["y"], K=64, N=32, bits=bits, block_size=32, domain=MS)
    graph = lowered([node], {"x": [4, 64]}, ["y"], [tensor("w", [32, 2, 4 * bits], UINT8), tensor("s", [64])])
    assert str(graph.op("w").outputs[0]) == f"{dtype}[64,32]"
    assert any("counted as" in note for note in graph.info.notes) is (bits == 3)


def test_four_bit_weights_with_int8_arithmetic_and_bias() -> None:
    inputs = ["x", "w", "s", "", "", "b"]
    node = h.make_node("MatMulNBits", inputs, ["y"], K=64, N=32, bits=4, block_size=32, accuracy_level=4, domain=MS)
    weights = [tensor("w", [32, 2, 16], UINT8), tensor("s", [64]), tensor("b", [32])]
    graph = lowered([node], {"x": [4, 64]}, ["y"], weights)
    assert precisions(graph) == ["int8"]
    assert only(graph, "matmul").attribute("addend") is True
    assert [str(t) for t in only(graph, "matmul").inputs[1:3]] == ["int4[64,32]", "fp32[32]"]


def test_packed_embedding() -> None:
    node = h.make_node("GatherBlockQuantized", ["t", "ids", "s"], ["y"], bits=4, block_size=16, domain=MS)
    given = {"ids": (TensorProto.INT64, [1, 6])}
    graph = lowered([node], given, ["y"], [tensor("t", [100, 16], UINT8), tensor("s", [100, 2])])
    assert kinds(graph) == ["gather", "dequantize"]
    assert str(graph.op("t").outputs[0]) == "int4[100,32]"


@pytest.mark.parametrize(
    ("operator", "inputs", "kind"),
    [
        ("QLinearAdd", ["x", "s", "z", "x2", "s", "z", "s", "z"], "add"),
        ("QLinearMul", ["x", "s", "z", "x2", "s", "z", "s", "z"], "mul"),
        ("QLinearSigmoid", ["x", "s", "z", "s", "z"], "sigmoid"),
        ("QLinearLeakyRelu", ["x", "s", "z", "s", "z"], "leaky_relu"),
        ("QLinearGlobalAveragePool", ["x", "s", "z", "s", "z"], "global_average_pool"),
        ("QLinearConcat", ["s", "z", "x", "s", "z", "x2", "s", "z"], "concat"),
    ],
)
def test_quantised_operators_on_integer_operands(operator: str, inputs: list[str], kind: str) -> None:
    options = {"axis": 1} if kind == "concat" else {}
    node = h.make_node(operator, inputs, ["y"], domain=MS, **options)
    shape = (UINT8, [1, 4, 8, 8])
    graph = lowered([node], {"x": shape, "x2": shape}, ["y"], [*scale("s"), *zero("z")])
    assert kinds(graph) == [kind]
    assert {t.dtype for t in only(graph, kind).inputs} == {"uint8"}


def test_dynamic_quantisation() -> None:
    node = h.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"])
    graph = lowered([node], {"x": [4, 16]}, ["q", "s", "z"])
    assert shapes(graph, "quantize_dynamic") == ["fp32[4,16] -> uint8[4,16], fp32[], uint8[]"]


def test_dynamically_quantised_lstm() -> None:
    inputs = ["x", "w", "r", "", "", "", "", "", "s", "z", "s", "z"]
    node = h.make_node("DynamicQuantizeLSTM", inputs, ["y"], hidden_size=8, domain=MS)
    weights = [tensor("w", [1, 16, 32], INT8), tensor("r", [1, 8, 32], INT8), *scale("s"), *zero("z")]
    graph = lowered([node], {"x": [10, 3, 16]}, ["y"], weights)
    # 10 steps of 3 sequences through four gates of 8: 16 inputs and 8 states each
    assert macs(graph) == 10 * 3 * 32 * (16 + 8)
    assert precisions(graph) == ["int8"]
    assert graph.info.parameters == 32 * 24
