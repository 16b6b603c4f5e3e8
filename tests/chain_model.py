"""ONNX models made in tests: the chain MatMul, Add, Relu, and one with an operator nobody knows."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import TensorProto, helper


def chain(rows: int | str = 64) -> onnx.ModelProto:
    """`relu(x @ w + b)` with x fp32[rows,256] and w fp32[256,512]; weights are all zero."""
    weights = [("w", [256, 512]), ("b", [512])]
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["product"], "linear"),
        helper.make_node("Add", ["product", "b"], ["sum"], "bias"),
        helper.make_node("Relu", ["sum"], ["y"], "activation"),
    ]
    graph = helper.make_graph(
        nodes,
        "chain",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [rows, 256])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [rows, 512])],
        [
            helper.make_tensor(
                name, TensorProto.FLOAT, shape, bytes(4 * shape[0] * (shape[1] if len(shape) > 1 else 1)), raw=True
            )
            for name, shape in weights
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


def stranger() -> onnx.ModelProto:
    """A Relu and an operator of a domain that edpc has never heard of."""
    graph = helper.make_graph(
        [
            helper.make_node("Relu", ["x"], ["r"], "first"),
            helper.make_node("Fancy", ["r"], ["y"], "second", domain="my.domain"),
        ],
        "stranger",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [8, 8])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("my.domain", 1)])


def save(model: onnx.ModelProto, folder: Path, name: str) -> str:
    """Writes the model into the folder; answers its path."""
    path = folder / name
    path.write_bytes(model.SerializeToString())
    return str(path)
