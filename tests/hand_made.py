"""Annotated graphs made by hand: facts are chosen, not computed, so that what reads them can be checked on its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from edpc.ir import Cost, Estimate, Graph, Group, Kernel, Location, ModelInfo, Operator, Share, TensorType, Value, Work
from edpc.operators import MATMUL
from edpc.target import Basis, Memory, Modifier, Precision, Quantity, Rule, Setting, Target, Unit, one


@dataclass(frozen=True)
class Part:
    """An operator to be: kind, group, counts and cost."""

    kind: str
    group: str
    flops: int
    cost: Cost
    separate: Cost
    name: str = ""
    source_type: str = ""
    exact: bool = True


# Seconds of compute, memory and overhead; joules of compute, on-chip memory, DRAM, static and overhead; bytes of DRAM.
CHAIN = (
    Part(
        "matmul",
        "g0",
        2048,
        Cost(2e-6, 0, 1e-6, 4e-9, 1e-9, 8e-9, 3e-9, 5e-10, 4096),
        Cost(2e-6, 0, 1e-6, 4e-9, 1e-9, 9e-9, 3e-9, 5e-10, 5120),
    ),
    Part(
        "add",
        "g0",
        64,
        Cost(1e-7, 0, 0, 1e-10, 1e-10, 0, 1e-10, 0, 0),
        Cost(0, 2e-6, 1e-6, 1e-10, 1e-10, 4e-9, 3e-9, 5e-10, 768),
    ),
    Part(
        "relu",
        "g0",
        64,
        Cost(1e-7, 0, 0, 1e-10, 1e-10, 1e-9, 1e-10, 0, 256),
        Cost(0, 2e-6, 1e-6, 1e-10, 1e-10, 2e-9, 3e-9, 5e-10, 512),
    ),
    Part(
        "transpose",
        "g1",
        0,
        Cost(0, 3e-6, 1e-6, 0, 0, 2e-9, 4e-9, 5e-10, 512),
        Cost(0, 3e-6, 1e-6, 0, 0, 2e-9, 4e-9, 5e-10, 512),
    ),
)


def annotated(parts: Sequence[Part] = CHAIN, name: str = "chain") -> Graph:
    """A chain of operators, one input of fp32[8,8], with every fact that a report reads."""
    tensor = TensorType("fp32", (8, 8))
    graph = Graph(name, ModelInfo("onnx", f"{name}.onnx", 1, 64, ("one note",)))
    last = graph.add("x", Operator("input", (), (tensor,), (), Location("x")))
    order = list(dict.fromkeys(part.group for part in parts))
    energy, latency = (sum(getattr(part.cost, field) for part in parts) for field in ("energy_j", "latency_s"))
    for i, part in enumerate(parts):
        mates = [other for other in parts if other.group == part.group]
        shares = [(p.cost.energy_j * latency + p.cost.latency_s * energy) / 2 for p in mates]
        whole, flops = sum(shares), sum(p.flops for p in mates)
        base = whole * part.flops / flops if flops else whole / len(mates)
        own = shares[[p is part for p in mates].index(True)]
        label = part.name or f"{part.kind}_{i}"
        op = Operator(
            part.kind,
            (tensor,),
            (tensor,),
            (),
            Location(label, part.source_type),
            Work(0, part.flops, 0, (256,), (256,), "fp32", exact=part.exact),
            part.cost,
            Kernel(part.separate, "memory", 0.5, 2, 1),
            Share(own, base, base, 1.0, own / 2 if len(mates) > 1 else None),
        )
        last = graph.add(graph.fresh(label), op, (Value(last),))
    graph.add("return", Operator("return", (tensor,)), (Value(last),))
    names = graph.compute_order()
    graph.groups = [
        Group(
            group,
            "separate" if len(members) == 1 else "gemm-epilogue",
            "gemm",
            tuple(members),
            kernel=Kernel(Cost(), "compute", 0.5, 2, 1),
        )
        for group in order
        for members in [[n for n, part in zip(names, parts, strict=True) if part.group == group]]
    ]
    graph.estimate = Estimate(
        "toy",
        "roofline",
        "fp32",
        (0.9 * energy, 1.1 * energy),
        (0.9 * latency, 1.1 * latency),
        (0.8 * energy * latency, 1.2 * energy * latency),
        0.25,
        ("one remark",),
    )
    return graph


def toy_target(name: str = "toy") -> Target:
    """A small machine with one of everything."""

    def known(value: float, unit: str, spread: float = 0.1) -> Quantity:
        return Quantity(value, unit, Basis.ASSUMED, "made up", (value * (1 - spread), value * (1 + spread)))

    dram = Memory("hbm", "dram", known(8e9, "B"), known(1e11, "B/s"), known(5e-11, "J/B"), known(6e-11, "J/B"))
    return Target(
        name=name,
        summary="a toy",
        architecture="roofline",
        units=(Unit("matrix", {"fp32": known(1e12, "FLOP/s")}, {"fp32": known(1e-12, "J/FLOP")}),),
        memories=(dram,),
        static_power=known(10.0, "W"),
        parameters={"launch.graph": known(2e-6, "s")},
        precisions={"fp32": Precision("fp32", "fp32", "fp32", "fp32", "fp32")},
        rules=(Rule("gemm-epilogue", (one(MATMUL),), "gemm", why="the result stays in registers"),),
        modifiers=(Modifier("matmul", MATMUL, 1.0, 1.0),),
        settings={"launch": Setting("graph", ("graph", "eager"), "how kernels are launched")},
        notes=("a note of the target",),
    )


def renamed(parts: Sequence[Part], name: str) -> tuple[Part, ...]:
    """The parts with the first under another name."""
    return (replace(parts[0], name=name), *parts[1:])
