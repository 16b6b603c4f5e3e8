"""Predicts the six workloads of the TPU v1's paper, each built from its published description:

    python -m tools.tpu_v1

Published (Jouppi et al., ISCA 2017, recalled): number of layers by kind, weights, batch, multiply-accumulates per byte of weights
and achieved TOP/s. Not published are the layers' sizes: those here are round numbers that give the published totals. LSTM1's
600 x 600 matrices are the paper's own example of tiling.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import onnx

import edpc
from edpc.report import Report
from tools.sample_models import Net


@dataclass(frozen=True)
class Workload:
    """A published workload: how to build it, and what the paper says of it."""

    name: str
    build: Callable[[], onnx.ModelProto]
    batch: int
    weights: float
    macs_per_byte: float
    achieved: float  # OP/s, a multiply-accumulate being two


def perceptron(name: str, batch: int, *widths: int) -> onnx.ModelProto:
    """Fully connected layers of these widths, each with a ReLU."""
    net = Net(name)
    x = net.input("x", (batch, widths[0]))
    for i, (n_in, n_out) in enumerate(itertools.pairwise(widths)):
        x = net.op("Relu", f"fc{i}/relu", net.op("MatMul", f"fc{i}", x, net.weight(f"fc{i}.weight", n_in, n_out)))
    return net.model((x, (batch, widths[-1])))


def recurrent(name: str, batch: int, width: int, cells: int, *, joined: bool) -> onnx.ModelProto:
    """One time step through LSTM cells of one width; a gate is one product of [x, h], or two products that are added."""
    net = Net(name)
    x = net.input("x", (batch, width))
    results = []
    for i in range(cells):
        net.scope.append(f"cell{i}")
        h, c = (net.input(net.path(state), (batch, width)) for state in "hc")
        both = net.op("Concat", "join", x, h, axis=1) if joined else ""
        gates = []
        for gate, function in (("i", "Sigmoid"), ("f", "Sigmoid"), ("o", "Sigmoid"), ("g", "Tanh")):
            if joined:
                y = net.op("MatMul", f"{gate}/w", both, net.weight(f"{gate}.w", 2 * width, width))
            else:
                parts = [
                    net.op("MatMul", f"{gate}/{p}", v, net.weight(f"{gate}.{p}", width, width)) for p, v in (("w", x), ("u", h))
                ]
                y = net.op("Add", f"{gate}/sum", *parts)
            gates.append(net.op(function, f"{gate}/act", y))
        kept, new = net.op("Mul", "kept", gates[1], c), net.op("Mul", "new", gates[0], gates[3])
        c = net.op("Add", "c1", kept, new)
        x = net.op("Mul", "h1", gates[2], net.op("Tanh", "tanh", c))
        results.append(c)
        net.scope.pop()
    return net.model(*((value, (batch, width)) for value in (x, *results)))


def board(name: str, batch: int) -> onnx.ModelProto:
    """Sixteen convolutions on a 19 x 19 board, 256 filters deep: 361 positions times a batch of 8 are 2888 uses of a weight."""
    net = Net(name)
    x = net.input("x", (batch, 48, 19, 19))
    for i, (c_in, kernel) in enumerate([(48, 3), *[(256, 3)] * 13, (256, 1), (256, 1)]):
        x = net.op("Relu", f"relu{i}", net.conv(f"conv{i}", x, c_in, 256, kernel))
    return net.model((x, (batch, 256, 19, 19)))


def image(name: str, batch: int) -> onnx.ModelProto:
    """72 convolutions that get deeper as the image shrinks, 13 poolings and 4 fully connected layers of 63 M weights."""
    net = Net(name)
    depth, number = 3, 0
    x = net.input("x", (batch, depth, 112, 112))
    # Filters, 3 x 3 convolutions, 1 x 1 convolutions, poolings behind them.
    for stage, (filters, wide, narrow, pools) in enumerate(((64, 10, 6, 3), (128, 12, 7, 3), (256, 14, 7, 3), (512, 10, 6, 4))):
        for i, kernel in enumerate([3] * wide + [1] * narrow):
            stride = 2 if i == 0 else 1
            x = net.op("Relu", f"relu{number}", net.conv(f"conv{number}", x, depth, filters, kernel, stride))
            depth, number = filters, number + 1
        for i in range(pools):
            x = net.op("MaxPool", f"pool{stage}.{i}", x, kernel_shape=[3, 3], strides=[1, 1], pads=[1, 1, 1, 1])
    x = net.op("Flatten", "flat", net.op("MaxPool", "pool", x, kernel_shape=[2, 2], strides=[2, 2], pads=[0, 0, 1, 1]))
    for i, (n_in, n_out) in enumerate(((8192, 3072), (3072, 4096), (4096, 4096), (4096, 2048))):
        x = net.op("Relu", f"fc{i}/relu", net.op("MatMul", f"fc{i}", x, net.weight(f"fc{i}.weight", n_in, n_out)))
    return net.model((x, (batch, 2048)))


WORKLOADS = (
    Workload("MLP0", lambda: perceptron("mlp0", 200, *[2000] * 6), 200, 20e6, 200, 12.3e12),
    Workload("MLP1", lambda: perceptron("mlp1", 168, 1000, 1250, 1000, 1250, 1000), 168, 5e6, 168, 9.7e12),
    Workload("LSTM0", lambda: recurrent("lstm0", 64, 1024, 6, joined=True), 64, 52e6, 64, 3.7e12),
    Workload("LSTM1", lambda: recurrent("lstm1", 96, 600, 12, joined=False), 96, 34e6, 96, 2.8e12),
    Workload("CNN0", lambda: board("cnn0", 8), 8, 8e6, 2888, 86.0e12),
    Workload("CNN1", lambda: image("cnn1", 32), 32, 100e6, 1750, 14.1e12),
)


def predict(workload: Workload, *settings: str) -> Report:
    """The report of a workload on the TPU v1 at these settings."""
    return edpc.compile(workload.build(), target="tpu-v1", set=settings)


def rate(report: Report) -> float:
    """Achieved OP/s of multiply-accumulates."""
    return 2.0 * report.model.macs / report.latency_s


def main() -> None:
    """Prints predicted against published rates."""
    print("workload   weights  MAC/B   TOP/s  published    error    power")
    for workload in WORKLOADS:
        report = predict(workload)
        found, weights = rate(report), report.model.parameters
        print(
            f"{workload.name:8} {weights / 1e6:7.1f} M {report.model.macs / weights:6.0f} {found / 1e12:7.1f} "
            f"{workload.achieved / 1e12:10.1f} {found / workload.achieved - 1:+8.1%} {report.totals.average_power_w:6.1f} W"
        )


if __name__ == "__main__":
    main()
