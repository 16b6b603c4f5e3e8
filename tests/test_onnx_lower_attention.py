"""Composite attentions become visible QK^T, softmax and AV, with the multiply-accumulates that follow from their shapes."""

import numpy as np
import pytest
from onnx import TensorProto
from onnx import helper as h

from tests.onnx_graphs import kinds, known, lowered, macs, only, shapes, tensor

MS = "com.microsoft"


def test_standard_attention_of_flat_inputs() -> None:
    node = h.make_node("Attention", ["q", "k", "v"], ["y"], q_num_heads=4, kv_num_heads=4, name="attn")
    graph = lowered([node], {"q": [2, 10, 64], "k": [2, 12, 64], "v": [2, 12, 32]}, ["y"], opset=23)
    # heads 4, depth 16 (values 8): 2*4 products of [10, 16] by [16, 12] and of [10, 12] by [12, 8]
    assert shapes(graph, "matmul") == [
        "fp32[2,4,10,16], fp32[2,4,12,16] -> fp32[2,4,10,12]",
        "fp32[2,4,10,12], fp32[2,4,12,8] -> fp32[2,4,10,8]",
    ]
    assert macs(graph) == 8 * 10 * 12 * 16 + 8 * 10 * 12 * 8
    assert [k for k in kinds(graph) if k not in ("reshape", "transpose")] == ["matmul", "mul", "softmax", "matmul"]
    assert [str(graph.type_of(v)) for v in graph.operands("return")] == ["fp32[2,10,32]"]
    assert graph.op("attn.factor").attribute("value") == (0.25,)  # 1 / sqrt(16)
    assert [graph.op(n).attribute("transpose_b") for n in graph.order() if graph.op(n).kind == "matmul"] == [True, None]


def test_query_groups_fold_into_rows() -> None:
    node = h.make_node("Attention", ["q", "k", "v"], ["y"], is_causal=1)
    graph = lowered([node], {"q": [1, 8, 10, 16], "k": [1, 2, 10, 16], "v": [1, 2, 10, 16]}, ["y"], opset=23)
    # 8 query heads on 2 key heads: 4 * 10 rows per key head, keys are read once per group
    assert shapes(graph, "matmul")[0] == "fp32[1,2,40,16], fp32[1,2,10,16] -> fp32[1,2,40,10]"
    softmax = only(graph, "softmax")
    assert (softmax.attribute("causal"), softmax.attribute("query_group")) == (True, 4)
    assert macs(graph) == 2 * (8 * 10 * 10 * 16)


def test_cache_mask_and_soft_cap() -> None:
    inputs = ["q", "k", "v", "mask", "pk", "pv"]
    node = h.make_node("Attention", inputs, ["y", "key", "value"], softcap=30.0, scale=1.0)
    given = {
        "q": [1, 4, 1, 16],
        "k": [1, 4, 1, 16],
        "v": [1, 4, 1, 16],
        "mask": [1, 1, 1, 32],
        "pk": [1, 4, 31, 16],
        "pv": [1, 4, 31, 16],
    }
    graph = lowered([node], given, ["y", "key", "value"], opset=23)
    assert kinds(graph) == ["concat", "concat", "matmul", "div", "tanh", "mul", "add", "softmax", "matmul"]
    assert macs(graph) == 2 * 4 * 32 * 16
    assert [str(graph.type_of(v)) for v in graph.operands("return")[1:]] == ["fp32[1,4,32,16]"] * 2


def test_boolean_mask_selects_and_groups_see_it_per_head() -> None:
    node = h.make_node("Attention", ["q", "k", "v", "mask"], ["y"])
    given = {"q": [1, 4, 6, 8], "k": [1, 2, 6, 8], "v": [1, 2, 6, 8], "mask": (TensorProto.BOOL, [1, 4, 6, 6])}
    graph = lowered([node], given, ["y"], opset=23)
    assert shapes(graph, "where") == ["bool[1,2,2,6,6], fp32[1,2,2,6,6], fp32[] -> fp32[1,2,2,6,6]"]
    assert only(graph, "softmax").inputs[0].shape == (1, 2, 12, 6)


def test_window_of_standard_attention() -> None:
    node = h.make_node("Attention", ["q", "k", "v"], ["y"], is_causal=1, left_window_size=3)
    shape = [1, 2, 8, 4]
    softmax = only(lowered([node], {"q": shape, "k": shape, "v": shape}, ["y"], opset=25), "softmax")
    assert softmax.attribute("window") == 4  # three back and itself


def test_contrib_attention_projects_inside() -> None:
    node = h.make_node("Attention", ["x", "w", "b", "mask"], ["y"], num_heads=12, unidirectional=1, name="attn", domain=MS)
    given = {"x": [1, 128, 768], "mask": (TensorProto.INT32, [1, 128])}
    graph = lowered([node], given, ["y"], [tensor("w", [768, 2304]), tensor("b", [2304])])
    # projection 128 * 768 * 2304, then QK^T and AV: 12 heads * 128 * 128 * 64 each
    assert macs(graph) == 128 * 768 * 2304 + 2 * 12 * 128 * 128 * 64
    assert graph.info.parameters == 768 * 2304 + 2304
    assert shapes(graph, "where") == ["int32[1,1,1,128], fp32[1,12,128,128], fp32[] -> fp32[1,12,128,128]"]
    assert only(graph, "softmax").attribute("causal") is True
    assert [str(t) for t in graph.op("return").inputs] == ["fp32[1,128,768]"]


def test_contrib_attention_with_past() -> None:
    node = h.make_node("Attention", ["x", "w", "b", "", "past"], ["y", "present"], num_heads=2, domain=MS)
    given = {"x": [1, 1, 16], "past": [2, 1, 2, 7, 8]}
    graph = lowered([node], given, ["y", "present"], [tensor("w", [16, 48]), tensor("b", [48])])
    assert macs(graph) == 16 * 48 + 2 * 2 * 8 * 8
    assert [str(t) for t in graph.op("return").inputs] == ["fp32[1,1,16]", "fp32[2,1,2,8,8]"]


def test_quantised_attention_projects_in_int8() -> None:
    inputs = ["x", "w", "b", "xs", "ws", "", "xz", "wz"]
    node = h.make_node("QAttention", inputs, ["y"], num_heads=4, domain=MS)
    scalars = [known(n, np.float32(0.1).reshape(())) for n in ("xs", "ws")]
    zeros = [known(n, np.uint8(0).reshape(())) for n in ("xz", "wz")]
    weights = [tensor("w", [64, 192], TensorProto.UINT8), tensor("b", [192]), *scalars, *zeros]
    graph = lowered([node], {"x": (TensorProto.UINT8, [1, 16, 64])}, ["y"], weights)
    products = [graph.op(n) for n in graph.order() if graph.op(n).kind == "matmul"]
    assert [op.attribute("compute_precision") for op in products] == ["int8", None, None]
    assert str(products[0].outputs[0]) == "fp32[1,16,192]"
    assert graph.info.parameters == 64 * 192 + 192


@pytest.mark.parametrize(
    ("given", "inputs"),
    [
        ({"q": [2, 6, 32], "k": [2, 9, 32], "v": [2, 9, 32]}, ["q", "k", "v"]),
        ({"q": [2, 6, 4, 3, 8]}, ["q"]),
        ({"q": [2, 6, 32], "k": [2, 9, 4, 2, 8]}, ["q", "k"]),
        ({"q": [2, 6, 32], "k": [2, 4, 9, 8], "v": [2, 4, 9, 8]}, ["q", "k", "v"]),
    ],
)
def test_multi_head_attention_in_every_packing(given: dict[str, list[int]], inputs: list[str]) -> None:
    node = h.make_node("MultiHeadAttention", inputs, ["y"], num_heads=4, domain=MS)
    graph = lowered([node], given, ["y"])
    keys = 9 if len(inputs) > 1 else 6
    assert macs(graph) == 2 * (2 * 4 * 6 * keys * 8)
    assert [str(t) for t in graph.op("return").inputs] == ["fp32[2,6,32]"]


def test_multi_head_attention_with_bias_and_padding() -> None:
    node = h.make_node("MultiHeadAttention", ["q", "k", "v", "b", "pad"], ["y"], num_heads=4, domain=MS)
    given = {"q": [1, 6, 32], "k": [1, 6, 32], "v": [1, 6, 32], "pad": (TensorProto.INT32, [1, 6])}
    graph = lowered([node], given, ["y"], [tensor("b", [96])])
    assert kinds(graph).count("add") == 3
    assert graph.info.parameters == 96


def test_grouped_query_attention_with_a_shared_buffer() -> None:
    inputs = ["q", "k", "v", "pk", "pv", "lens", "total", "cos", "sin"]
    node = h.make_node("GroupQueryAttention", inputs, ["y", "key", "value"], num_heads=8, kv_num_heads=2, do_rotary=1, domain=MS)
    given = {"q": [1, 1, 128], "k": [1, 1, 32], "v": [1, 1, 32], "pk": [1, 2, 64, 16], "pv": [1, 2, 64, 16]}
    known_values = [
        known("lens", np.array([63], np.int32)),
        known("total", np.array(64, np.int32)),
        tensor("cos", [64, 8]),
        tensor("sin", [64, 8]),
    ]
    graph = lowered([node], given, ["y", "key", "value"], known_values)
    # 64 rows in the buffer, the new one among them: written in place, not appended
    assert kinds(graph).count("tensor_scatter") == 2
    assert macs(graph) == 2 * 8 * 64 * 16
    assert only(graph, "softmax").attribute("causal") is True
    assert only(graph, "softmax").attribute("query_group") == 4


def test_packed_grouped_query_attention_with_window() -> None:
    inputs = ["qkv", "", "", "", "", "lens", "total"]
    node = h.make_node("GroupQueryAttention", inputs, ["y"], num_heads=4, kv_num_heads=2, local_window_size=8, domain=MS)
    scalars = [known("lens", np.array([31], np.int32)), known("total", np.array(32, np.int32))]
    graph = lowered([node], {"qkv": [1, 32, 64]}, ["y"], scalars)
    # (4 + 2 * 2) heads of 8
    assert macs(graph) == 2 * 4 * 32 * 32 * 8
    assert only(graph, "softmax").attribute("window") == 8


@pytest.mark.parametrize(
    ("domain", "inputs", "given"),
    [
        ("", ["x", "cos", "sin", "pos"], {"x": [2, 4, 10, 16]}),
        ("", ["x", "cos", "sin", "pos"], {"x": [2, 10, 64]}),
        (MS, ["x", "pos", "cos", "sin"], {"x": [2, 10, 64]}),
        (MS, ["x", "pos", "cos", "sin"], {"x": [2, 4, 10, 16]}),
    ],
)
@pytest.mark.parametrize("interleaved", [0, 1])
def test_rotary_embedding(domain: str, inputs: list[str], given: dict[str, list[int]], interleaved: int) -> None:
    node = h.make_node("RotaryEmbedding", inputs, ["y"], domain=domain, interleaved=interleaved, num_heads=4)
    tables = [tensor("cos", [100, 8]), tensor("sin", [100, 8])]
    graph = lowered([node], given | {"pos": (TensorProto.INT64, [2, 10])}, ["y"], tables, opset=23)
    done = kinds(graph)
    assert [done.count(kind) for kind in ("mul", "add", "neg", "gather")] == [2, 1, 1, 2]
    assert graph.op("return").inputs[0].shape == tuple(given["x"])


def test_partial_rotary_embedding_leaves_the_rest() -> None:
    node = h.make_node("RotaryEmbedding", ["x", "cos", "sin", "pos"], ["y"], rotary_embedding_dim=8)
    tables = [tensor("cos", [100, 4]), tensor("sin", [100, 4])]
    graph = lowered([node], {"x": [1, 2, 10, 16], "pos": (TensorProto.INT64, [1, 10])}, ["y"], tables, opset=23)
    assert shapes(graph, "split")[0] == "fp32[1,2,10,16] -> fp32[1,2,10,8], fp32[1,2,10,8]"


def test_linear_attention_reads_writes_and_corrects_its_state() -> None:
    inputs = ["q", "k", "v", "state", "decay", "beta"]
    node = h.make_node("LinearAttention", inputs, ["y", "next"], q_num_heads=4, kv_num_heads=2, update_rule="gated_delta")
    given = {"q": [1, 6, 32], "k": [1, 6, 16], "v": [1, 6, 8], "state": [1, 2, 8, 4], "decay": [1, 6, 2], "beta": [1, 6, 2]}
    graph = lowered([node], given, ["y", "next"], opset=27)
    # per token: the state [8, 4] is corrected and written for 2 heads and read by 4
    assert macs(graph) == 6 * 8 * 4 * (2 + 2 + 4)
