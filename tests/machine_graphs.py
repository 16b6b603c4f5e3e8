"""Small graphs and a small target for tests of cost models."""

from __future__ import annotations

from edpc.ir import Attribute, Graph, Group, Operator, TensorType, Value, attributes
from edpc.operators import work
from edpc.target import Basis, Memory, Precision, Quantity, Target, Unit


class Net:
    """Builds a graph operator by operator, each with its work."""

    def __init__(self, dtype: str = "fp32") -> None:
        self.graph = Graph("net")
        self.dtype = dtype

    def source(self, kind: str, name: str, *shape: int, dtype: str | None = None) -> Value:
        self.graph.add(name, Operator(kind, (), (TensorType(dtype or self.dtype, shape),)))
        return Value(name)

    def input(self, name: str, *shape: int) -> Value:
        return self.source("input", name, *shape)

    def parameter(self, name: str, *shape: int, dtype: str | None = None) -> Value:
        return self.source("parameter", name, *shape, dtype=dtype)

    def op(self, name: str, kind: str, operands: list[Value], *shape: int, dtype: str | None = None, **attrs: Attribute) -> Value:
        inputs = tuple(self.graph.type_of(v) for v in operands)
        op = Operator(kind, inputs, (TensorType(dtype or self.dtype, shape),), attributes(**attrs))
        self.graph.add(name, op, operands)
        self.graph.annotate(name, work=work(op))
        return Value(name)

    def done(self, *results: Value) -> Graph:
        types = tuple(self.graph.type_of(v) for v in results)
        self.graph.add("return", Operator("return", types), results)
        return self.graph


def group(name: str, *members: str, kernel_class: str = "vector", rule: str = "rule") -> Group:
    return Group(name, rule, kernel_class, members)


def alone(graph: Graph) -> list[Group]:
    return [Group(f"g{i}", "separate", "vector", (name,)) for i, name in enumerate(graph.compute_order())]


def linear_bias_relu(m: int = 128, k: int = 256, n: int = 512, dtype: str = "fp32") -> Graph:
    """x[m,k] w[k,n] + b[n], rectified."""
    net = Net(dtype)
    x = net.input("x", m, k)
    y = net.op("linear", "matmul", [x, net.parameter("w", k, n)], m, n)
    z = net.op("bias", "bias", [y, net.parameter("b", n)], m, n)
    return net.done(net.op("relu", "relu", [z], m, n))


def q(value: float, unit: str, low: float | None = None, high: float | None = None, basis: Basis = Basis.LITERATURE) -> Quantity:
    return Quantity(value, unit, basis, "test", None if low is None or high is None else (low, high))


def reference(name: str = "ref", **change: float) -> Target:
    """A roofline with the constants of the estimator of 2025 for the KPU T256 (no launch, 0.09 pJ/FLOP, 11 pJ/B, 9 W)."""
    c = {"peak": 33.8e12, "bandwidth": 256e9, "flop": 0.09e-12, "byte": 11e-12, "static": 9.0, "launch": 0.0} | change
    return Target(
        name=name,
        summary="reference",
        architecture="roofline",
        units=(Unit("matrix", {"fp32": q(c["peak"], "FLOP/s")}, {"fp32": q(c["flop"], "J/FLOP")}),),
        memories=(
            Memory(
                "ddr",
                "dram",
                q(32e9, "B"),
                q(c["bandwidth"], "B/s"),
                q(c["byte"], "J/B", c["byte"] / 2, c["byte"] * 2),
                q(c["byte"], "J/B"),
            ),
        ),
        static_power=q(c["static"], "W", basis=Basis.ASSUMED),
        parameters={"launch": q(c["launch"], "s")},
        precisions={"fp32": Precision("fp32", "fp32", "fp32", "fp32", "fp32")},
        rules=(),
    )
