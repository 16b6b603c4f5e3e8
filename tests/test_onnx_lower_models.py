"""Whole networks: exact multiply-accumulates and parameters."""

import time
from pathlib import Path

import onnx
import pytest

from edpc.frontends import load
from edpc.ir import Graph
from tests.onnx_graphs import checked, kinds, macs

SHARED = Path(__file__).parents[2] / "shared" / "models"
LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"

# Parameters: elements of the float and packed weights in the file, scales and zero points apart. Some exporters drop zero biases.
MODELS = {
    "resnet18": ({}, 1_814_073_344, 11_679_912),
    "resnet18_qdq_int8": ({}, 1_814_073_344, 11_679_912),
    "resnet18_qoperator_int8": ({}, 1_814_073_344, 11_679_912),
    "resnet50": ({}, 4_089_184_256, 25_503_912),
    "bert_base": ({}, 11_174_215_680, 109_398_528),
    "bert_base_dyn": ({"s43": 1, "s53": 128}, 11_174_215_680, 109_398_528),
    "gpt2_dyn": ({"s72": 1, "s70": 128}, 16_114_089_984, 124_320_000),
    "bert_tiny_fp16": ({}, 58_736_640, 4_382_976),
    "bert_tiny_opset17": ({}, 58_736_640, 4_382_976),
    "bert_tiny_opset23": ({}, 58_736_640, 4_382_976),
    "bert_tiny_dyn_int8": ({}, 58_736_640, 4_382_976),
    # the optimiser gathered the rows of the position table that 128 tokens need
    "bert_tiny_ort_extended": ({}, 58_736_640, 4_349_952),
    "llama_tiny": ({}, 1_453_326_336, 19_316_992),
    "llama_tiny_kv": ({}, 11_616_256, 19_284_544),
    "llama_tiny_matmulnbits4": ({}, 113_770_496, 1_990_912),
    # 8,030,261,248 and the 64 frequencies of the rotary embedding
    "llama3_8b": ({}, 964_891_246_592, 8_030_261_312),
}
LIGHT_MODELS = {
    "bvlc_alexnet": 654_560_384,
    "densenet121": 2_834_161_664,
    "inception_v1": 1_431_556_352,
    "inception_v2": 2_018_851_840,
    "resnet50": 4_089_184_256,
    "shufflenet": 124_664_528,
    "squeezenet": 349_151_936,
    "vgg19": 19_632_062_464,
    "zfnet512": 1_481_727_008,
}


def shared(name: str) -> Path:
    path = SHARED / f"{name}.onnx"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    return path


@pytest.mark.parametrize("name", MODELS)
def test_shared_model(name: str) -> None:
    dims, expected, parameters = MODELS[name]
    graph = load(shared(name), dims=dims)
    checked(graph)
    assert macs(graph) == expected
    assert graph.info.parameters == parameters
    assert "unknown" not in kinds(graph)
    assert all(t.is_static for node in graph.dag for t in graph.op(node).outputs)


@pytest.mark.parametrize("name", LIGHT_MODELS)
def test_light_model(name: str) -> None:
    graph = load(LIGHT / f"light_{name}.onnx")
    checked(graph)
    assert macs(graph) == LIGHT_MODELS[name]
    assert graph.info.parameters > 1_000_000  # made by ConstantOfShape, parameters all the same
    assert "unknown" not in kinds(graph)
    # Most of them spell their batch of one out in a Reshape.
    larger = load(LIGHT / f"light_{name}.onnx", batch=8)
    checked(larger)
    assert macs(larger) == 8 * macs(graph)
    assert kinds(larger) == kinds(graph)


def attention_stages(graph: Graph) -> list[str]:
    """Softmax and products of two activations, in order."""
    weights = {name for name in graph.dag if graph.op(name).kind == "parameter"}
    found = []
    for name in graph.compute_order():
        op = graph.op(name)
        if op.kind == "softmax" or (op.kind == "matmul" and not weights & {v.node for v in graph.operands(name)}):
            found.append(op.kind)
    return found


def test_attention_is_visible_in_every_export_of_one_network() -> None:
    """Two layers as separate nodes, as the Attention operator, and as the optimiser left them."""
    for name in ("bert_tiny_opset17", "bert_tiny_opset23", "bert_tiny_ort_extended"):
        assert attention_stages(load(shared(name))) == ["matmul", "softmax", "matmul"] * 2
    assert attention_stages(load(shared("bert_base"))) == ["matmul", "softmax", "matmul"] * 12


def test_module_paths_of_a_torch_export() -> None:
    graph = load(shared("bert_base"))
    paths = {op.location.module_path for op in map(graph.op, graph.compute_order()) if op.location is not None}
    assert "encoder.layer.11.attention.self" in paths
    assert "encoder.layer.0.intermediate.dense" in paths


def test_precision_of_quantised_models() -> None:
    """Weights stay int8 or int4 in memory; the float model has none of that."""
    dtypes = {
        name: {
            graph.op(n).outputs[0].dtype
            for n in graph.dag
            if graph.op(n).kind == "parameter" and graph.op(n).outputs[0].numel > 4096
        }
        for name, graph in (
            (n, load(shared(n))) for n in ("resnet18_qdq_int8", "resnet18_qoperator_int8", "llama_tiny_matmulnbits4")
        )
    }
    assert dtypes["resnet18_qdq_int8"] == {"int8"}
    assert dtypes["resnet18_qoperator_int8"] == {"int8"}
    assert dtypes["llama_tiny_matmulnbits4"] >= {"int4"}


def test_a_large_network_is_lowered_in_no_time() -> None:
    from edpc.frontends.onnx.lower import lower
    from edpc.frontends.onnx.reader import read_model
    from edpc.frontends.onnx.shapes import infer

    typed = infer(read_model(shared("llama3_8b")))
    start = time.process_time()
    lower(typed, "llama3_8b")
    assert time.process_time() - start < 2.0


def test_the_same_model_twice_is_the_same_graph() -> None:
    assert load(LIGHT / "light_squeezenet.onnx") == load(LIGHT / "light_squeezenet.onnx")
