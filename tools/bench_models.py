"""Models that the benchmark needs and nobody wants to keep: python -m tools.bench_models inline|chain PATH SIZE."""

from __future__ import annotations

import sys
from pathlib import Path

from onnx import TensorProto, helper


def inline_weights(path: str, tensors: int) -> None:
    """A chain of matrix products whose weights lie inside the file, 64 MiB each."""
    side = 4096
    raw = bytes(side * side * 4)
    weights = [helper.make_tensor(f"w{i}", TensorProto.FLOAT, [side, side], raw, raw=True) for i in range(tensors)]
    names = ["x", *(f"y{i}" for i in range(tensors))]
    nodes = [helper.make_node("MatMul", [names[i], f"w{i}"], [names[i + 1]], name=f"mm{i}") for i in range(tensors)]
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, side]) for n in (names[0], names[-1])]
    graph = helper.make_graph(nodes, "inline", ends[:1], ends[1:], weights)
    Path(path).write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString())


def chain_and_branch(path: str, operators: int) -> None:
    """Blocks of seven operators: matmul, bias, relu, then two branches that join in an addition."""
    weights = [
        helper.make_tensor("w", TensorProto.FLOAT, [64, 64], bytes(64 * 64 * 4), raw=True),
        helper.make_tensor("b", TensorProto.FLOAT, [64], bytes(64 * 4), raw=True),
    ]
    nodes, x = [], "x"
    steps = ("MatMul", "Add", "Relu", "Sigmoid", "Tanh", "Mul", "Add")
    for number in range(operators):
        step, out = number % 7, f"v{number}"
        reads = {
            0: [x, "w"],
            1: [x, "b"],
            2: [x],
            3: [x],
            4: [f"v{number - 2}"],
            5: [f"v{number - 2}", x],
            6: [x, f"v{number - 4}"],
        }
        nodes.append(helper.make_node(steps[step], reads[step], [out], name=f"n{number}"))
        x = out
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [32, 64]) for n in ("x", x)]
    graph = helper.make_graph(nodes, "chain", ends[:1], ends[1:], weights)
    Path(path).write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString())


if __name__ == "__main__":
    {"inline": inline_weights, "chain": chain_and_branch}[sys.argv[1]](sys.argv[2], int(sys.argv[3]))
