"""Fused nodes of com.microsoft: what they are made of."""

import numpy as np
import pytest
from onnx import TensorProto
from onnx import helper as h

from tests.onnx_graphs import kinds, known, lowered, macs, only, tensor

MS = "com.microsoft"


def test_skip_layer_norm_answers_the_sum_too() -> None:
    node = h.make_node("SkipLayerNormalization", ["x", "s", "g", "b", "bias"], ["y", "", "", "sum"], domain=MS)
    given = {"x": [1, 8, 32], "s": [1, 8, 32]}
    graph = lowered([node], given, ["y", "sum"], [tensor(n, [32]) for n in ("g", "b", "bias")])
    assert kinds(graph) == ["add", "add", "layer_norm"]
    assert [str(t) for t in graph.op("return").inputs] == ["fp32[1,8,32]"] * 2
    assert only(graph, "layer_norm").attribute("axis") == 2


def test_skip_rms_norm() -> None:
    node = h.make_node("SkipSimplifiedLayerNormalization", ["x", "s", "g"], ["y"], domain=MS)
    graph = lowered([node], {"x": [1, 8, 32], "s": [1, 8, 32]}, ["y"], [tensor("g", [32])])
    assert kinds(graph) == ["add", "rms_norm"]


def test_embedding_with_normalisation() -> None:
    inputs = ["ids", "seg", "words", "places", "kinds", "g", "b"]
    node = h.make_node("EmbedLayerNormalization", inputs, ["y"], domain=MS)
    given = {"ids": (TensorProto.INT32, [2, 16]), "seg": (TensorProto.INT32, [2, 16])}
    tables = [
        tensor("words", [100, 32]),
        tensor("places", [64, 32]),
        tensor("kinds", [2, 32]),
        tensor("g", [32]),
        tensor("b", [32]),
    ]
    graph = lowered([node], given, ["y"], tables)
    assert kinds(graph) == ["gather", "slice", "add", "gather", "add", "layer_norm"]
    assert graph.info.parameters == 166 * 32 + 64


@pytest.mark.parametrize(
    ("operator", "inputs", "expected"),
    [
        ("BiasGelu", ["x", "b"], ["add", "gelu"]),
        ("FastGelu", ["x", "b"], ["add", "gelu"]),
        ("FastGelu", ["x"], ["gelu"]),
        ("QuickGelu", ["x"], ["quick_gelu"]),
        ("Gelu", ["x"], ["gelu"]),
        ("BiasSplitGelu", ["x", "b"], ["add", "split", "gelu", "mul"]),
        ("BiasAdd", ["x", "b", "x"], ["add", "add"]),
    ],
)
def test_activations_with_a_bias(operator: str, inputs: list[str], expected: list[str]) -> None:
    graph = lowered([h.make_node(operator, inputs, ["y"], domain=MS)], {"x": [2, 4, 32]}, ["y"], [tensor("b", [32])])
    assert kinds(graph) == expected
    if operator == "FastGelu":
        assert only(graph, "gelu").attribute("approximate") == "tanh"


def test_fused_convolution() -> None:
    node = h.make_node("FusedConv", ["x", "w", "b", "z"], ["y"], activation="Relu", pads=[1, 1, 1, 1], domain=MS)
    given = {"x": [1, 3, 8, 8], "z": [1, 4, 8, 8]}
    graph = lowered([node], given, ["y"], [tensor("w", [4, 3, 3, 3]), tensor("b", [4])])
    assert kinds(graph) == ["conv", "add", "relu"]
    assert macs(graph) == 4 * 64 * 27


def test_fused_gemm_and_matmul() -> None:
    node = h.make_node("FusedGemm", ["x", "w", "b"], ["y"], activation="Tanh", transB=1, domain=MS)
    graph = lowered([node], {"x": [4, 16]}, ["y"], [tensor("w", [8, 16]), tensor("b", [8])])
    assert kinds(graph) == ["matmul", "tanh"]
    assert macs(graph) == 4 * 16 * 8
    node = h.make_node("FusedMatMul", ["a", "b"], ["y"], transB=1, alpha=0.125, domain=MS)
    graph = lowered([node], {"a": [2, 4, 6, 8], "b": [2, 4, 5, 8]}, ["y"])
    assert (only(graph, "matmul").attribute("alpha"), only(graph, "matmul").attribute("transpose_b")) == (0.125, True)
    assert macs(graph) == 8 * 6 * 5 * 8


def test_group_norm_with_channels_last() -> None:
    node = h.make_node("GroupNorm", ["x", "g", "b"], ["y"], groups=4, activation=1, domain=MS)
    graph = lowered([node], {"x": [1, 8, 8, 16]}, ["y"], [tensor("g", [16]), tensor("b", [16])])
    assert kinds(graph) == ["reshape", "group_norm", "reshape", "silu"]
    assert only(graph, "group_norm").inputs[0].shape == (1, 16, 8, 8)


def test_blocked_layout_network() -> None:
    nodes = [
        h.make_node("ReorderInput", ["x"], ["xb"], domain=f"{MS}.nchwc"),
        h.make_node("Conv", ["xb", "w"], ["c"], activation="Relu", pads=[1, 1, 1, 1], domain=f"{MS}.nchwc"),
        h.make_node("MaxPool", ["c"], ["m"], kernel_shape=[2, 2], strides=[2, 2], domain=f"{MS}.nchwc"),
        h.make_node("ReorderOutput", ["m"], ["y"], channels=16, domain=f"{MS}.nchwc"),
    ]
    graph = lowered(nodes, {"x": [1, 16, 8, 8]}, ["y"], [tensor("w", [16, 16, 3, 3])])
    assert kinds(graph) == ["transpose", "conv", "relu", "max_pool", "transpose"]
    assert macs(graph) == 16 * 64 * 144


def test_mixture_of_experts_reads_only_the_experts_it_reaches() -> None:
    node = h.make_node("MoE", ["x", "r", "w1", "", "w2"], ["y"], k=2, activation_type="gelu", domain=MS)
    weights = [tensor("w1", [8, 64, 32]), tensor("w2", [8, 32, 64])]
    graph = lowered([node], {"x": [1, 6, 32], "r": [6, 8]}, ["y"], weights)
    # 6 tokens by 2 experts each: 12 rows through [32 -> 64 -> 32]
    assert macs(graph) == 12 * 32 * 64 * 2
    done = [kind for kind in kinds(graph) if kind != "reshape"]
    assert done == ["softmax", "top_k", "expert_matmul", "gelu", "expert_matmul", "mul", "reduce_sum"]
    assert graph.info.parameters == 2 * 8 * 64 * 32


def test_quantised_mixture_of_experts_unpacks_its_weights() -> None:
    inputs = ["x", "r", "w1", "s1", "", "w2", "s2"]
    node = h.make_node("QMoE", inputs, ["y"], k=1, activation_type="silu", expert_weight_bits=4, domain=MS)
    uint8 = TensorProto.UINT8
    weights = [tensor("w1", [4, 64, 16], uint8), tensor("s1", [4, 64]), tensor("w2", [4, 32, 32], uint8), tensor("s2", [4, 32])]
    graph = lowered([node], {"x": [5, 32], "r": [5, 4]}, ["y"], weights)
    assert macs(graph) == 5 * 32 * 64 * 2
    assert str(graph.op("w1").outputs[0]) == "int4[4,64,32]"
    assert graph.info.parameters == 2 * 4 * 64 * 32  # packed two to a byte; scales are no parameters of the model


def test_swiglu_experts_with_a_third_weight() -> None:
    node = h.make_node("MoE", ["x", "r", "w1", "", "w2", "", "w3"], ["y"], k=2, activation_type="silu", domain=MS)
    weights = [tensor("w1", [4, 64, 32]), tensor("w2", [4, 32, 64]), tensor("w3", [4, 64, 32])]
    graph = lowered([node], {"x": [8, 32], "r": [8, 4]}, ["y"], weights)
    assert macs(graph) == 16 * 32 * 64 * 3
    assert kinds(graph).count("silu") == 1


def test_causal_convolution_with_state() -> None:
    node = h.make_node("CausalConvWithState", ["x", "w", "b", "past"], ["y", "next"], activation="silu")
    graph = lowered(
        [node], {"x": [1, 16, 10], "past": [1, 16, 3]}, ["y", "next"], [tensor("w", [16, 1, 4]), tensor("b", [16])], opset=27
    )
    assert kinds(graph) == ["concat", "conv", "silu", "slice"]
    assert macs(graph) == 16 * 10 * 4


def test_an_activation_nobody_knows_is_noted() -> None:
    node = h.make_node("FusedConv", ["x", "w"], ["y"], activation="Wiggle", domain=MS, name="c")
    graph = lowered([node], {"x": [1, 3, 8, 8]}, ["y"], [tensor("w", [4, 3, 3, 3])])
    assert "c (com.microsoft.FusedConv): the fused activation Wiggle is not known and not counted" in graph.info.notes


def test_expand_that_changes_nothing_is_free() -> None:
    shape = known("shape", np.array([4, 8], np.int64))
    assert kinds(lowered([h.make_node("Expand", ["x", "shape"], ["y"])], {"x": [4, 8]}, ["y"], [shape])) == ["identity"]
    assert kinds(lowered([h.make_node("Expand", ["x", "shape"], ["y"])], {"x": [1, 8]}, ["y"], [shape])) == ["expand"]
