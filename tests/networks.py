"""Small networks written as text, and a machine to fuse them for: what tests of passes and of fusion are made of."""

from __future__ import annotations

from collections.abc import Iterable

from edpc.fusion.engine import fuse
from edpc.ir import Graph, Group
from edpc.ir.text import parse_graph
from edpc.operators import work
from edpc.target import Basis, Memory, Modifier, Precision, Quantity, Rule, Setting, Target, Unit


def network(body: str) -> Graph:
    """The graph of these operators; `;` ends a line too."""
    return parse_graph("graph @net {\n" + body.replace(";", "\n") + "\n}")


def worked(body: str) -> Graph:
    """The graph with the work of every operator."""
    graph = network(body)
    for name in graph.compute_order():
        graph.annotate(name, work=work(graph.op(name)))
    return graph


def machine(
    rules: Iterable[Rule] = (),
    modifiers: Iterable[Modifier] = (),
    precisions: dict[str, Precision] | None = None,
    **numbers: float,
) -> Target:
    """A machine with these rules. Constants: 1 KiB of `local` memory, others as given by dotted name with `_` for the dot."""

    def known(value: float, unit: str) -> Quantity:
        return Quantity(value, unit, Basis.ASSUMED, "made up")

    def memory(name: str, role: str, capacity: float) -> Memory:
        return Memory(name, role, known(capacity, "B"), known(1e11, "B/s"), known(1e-11, "J/B"), known(1e-11, "J/B"))

    rate = {name: known(1e12, "FLOP/s") for name in ("fp32", "bf16", "int8")}
    energy = {name: known(1e-12, "J/FLOP") for name in ("fp32", "bf16", "int8")}
    return Target(
        name="machine",
        summary="a machine for tests",
        architecture="roofline",
        units=(Unit("matrix", rate, energy), Unit("vector", rate, energy)),
        memories=(memory("local", "local", 1024), memory("dram", "dram", 2**30)),
        static_power=known(1.0, "W"),
        parameters={name.replace("_", ".", 1): known(value, "1") for name, value in numbers.items()},
        precisions=precisions or {"fp32": Precision("fp32", "fp32", "fp32", "fp32", "fp32")},
        rules=tuple(rules),
        modifiers=tuple(modifiers),
        settings={"launch": Setting("graph", ("graph", "eager"), "how kernels are launched")},
    )


def grouped(body: str, *rules: Rule) -> dict[str, Group]:
    """The groups that the rules form, by the name of their first member."""
    graph = worked(body)
    return {group.members[0]: group for group in fuse(graph, rules, machine(rules))}


def members(body: str, *rules: Rule) -> list[tuple[str, ...]]:
    """The groups' members in order of execution."""
    graph = worked(body)
    return [group.members for group in fuse(graph, rules, machine(rules))]
