"""Where every subgraph stands under the machine's ceilings: achieved rate over arithmetic intensity."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from edpc.emit.annotated import Part, graph_of, parts
from edpc.machine.rates import served_as, unit_of
from edpc.report import Report, SubgraphReport
from edpc.target import Target


@dataclass(frozen=True, slots=True)
class Ceiling:
    """The peak of a unit in one precision, in FLOP/s."""

    unit: str
    precision: str
    rate: float


@dataclass(frozen=True, slots=True)
class Point:
    """Subgraphs that stand at the same place: the layers of a network repeat.

    Attributes:
        subgraphs: that stand there.
        intensity: FLOPs per byte of DRAM; None without DRAM traffic, 0 without arithmetic.
        rate: FLOP/s. bandwidth: of DRAM, in B/s.
        ceiling: of the unit that does most of the arithmetic; None where there is none, or the report came from a file.
    """

    subgraphs: tuple[SubgraphReport, ...]
    intensity: float | None
    rate: float
    bandwidth: float
    ceiling: Ceiling | None


def points(report: Report) -> list[Point]:
    """Every subgraph that takes time, those alike to four digits in one point; in order of execution."""
    found: dict[tuple[str, ...], list[tuple[SubgraphReport, Point]]] = {}
    for subgraph, point in _single(report):
        figures = (point.intensity or -1.0, point.rate, point.bandwidth)
        key = (*(f"{x:.3e}" for x in figures), str(point.ceiling), subgraph.bottleneck)
        found.setdefault(key, []).append((subgraph, point))
    return [
        Point(tuple(subgraph for subgraph, _ in alike), first.intensity, first.rate, first.bandwidth, first.ceiling)
        for alike in found.values()
        for first in (alike[0][1],)
    ]


def _single(report: Report) -> Iterator[tuple[SubgraphReport, Point]]:
    flops = dict.fromkeys((s.id for s in report.subgraphs), 0)
    for operator in report.operators:
        flops[operator.subgraph_id] += operator.flops
    known = {part.subgraph.id: part for part in parts(report)} if report.graph is not None else {}
    for subgraph in report.subgraphs:
        if subgraph.latency_s <= 0.0:
            continue
        part = known.get(subgraph.id)
        rate = flops[subgraph.id] / subgraph.latency_s
        if part is not None:
            bandwidth = part.kernel.cost.dram_bytes / subgraph.latency_s
        else:
            bandwidth = rate / subgraph.arithmetic_intensity if subgraph.arithmetic_intensity else 0.0
        ceiling = _ceiling(report, part) if part is not None and report.machine is not None else None
        yield subgraph, Point((subgraph,), subgraph.arithmetic_intensity, rate, bandwidth, ceiling)


def _ceiling(report: Report, part: Part) -> Ceiling | None:
    """The peak of the unit that does most of a subgraph's arithmetic, in the precision in which it does most of it."""
    machine, graph = report.machine, graph_of(report)
    assert machine is not None  # the caller looked
    amounts: dict[tuple[str, str], int] = {}
    for name in part.names:
        work = graph.op(name).work
        if work is not None:
            for unit, amount in (("matrix", 2 * work.macs), ("vector", work.vector_ops), ("special", work.transcendentals)):
                amounts[unit, work.precision] = amounts.get((unit, work.precision), 0) + amount
    most = max(amounts, key=lambda key: amounts[key], default=None)
    return None if most is None or not amounts[most] else _peak(machine, *most)


def _peak(machine: Target, unit: str, precision: str) -> Ceiling:
    there = unit_of(machine, unit)
    served = served_as(there, precision)
    return Ceiling(there.name, served, there.rate[served].value)
