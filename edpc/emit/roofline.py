"""The roofline: where every subgraph stands under the machine's ceilings, as data and as a Vega-Lite specification."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from edpc.emit.annotated import Part, graph_of, parts
from edpc.emit.charts import BOUNDS, SCHEMA, Spec, log, nominal, tooltip
from edpc.emit.document import printable, shorten
from edpc.machine.rates import served_as, unit_of
from edpc.report import Report, SubgraphReport
from edpc.target import Target
from edpc.units import format_quantity


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


def roofline(report: Report) -> Spec:
    """Achieved over attainable FLOP/s by arithmetic intensity: every subgraph, and the ceilings of the units it uses."""
    found = points(report)
    ceilings = sorted({p.ceiling for p in found if p.ceiling}, key=lambda c: (-c.rate, c.unit, c.precision))
    bandwidth = _bandwidth(report)
    left, right = _intensities(found, ceilings, bandwidth)
    rows = sorted((_point(report, p, left, right) for p in found), key=lambda row: -row["share"])  # the small ones on top
    low = min((row["rate"] for row in rows if row["rate"] > 0), default=1.0) / 2
    high = max([row["rate"] for row in rows] + [c.rate for c in ceilings], default=1.0) * 3
    x = log("intensity", "FLOP per byte of DRAM", [left, right], "~g")
    y = log("rate", "FLOP/s", [min(low, high / 10), high], "~s")
    layers: list[Spec] = []
    if bandwidth and ceilings:
        layers += _ceilings(report, ceilings, bandwidth, left, right, x, y)
    marks = {
        "data": {"values": rows},
        "params": [{"name": "zoom", "select": {"type": "interval", "zoom": "wheel![event.shiftKey]"}, "bind": "scales"}],
        "mark": {"type": "point", "filled": True, "opacity": 0.8, "strokeWidth": 1.5, "cursor": "pointer"},
        "encoding": {
            "x": x,
            "y": y,
            "size": {
                "field": "share",
                "type": "quantitative",
                "scale": {"type": "linear", "domainMin": 0, "range": [25, 500]},
                "legend": None,
            },
            "color": nominal("bound by", BOUNDS, [row["bound by"] for row in rows]),
            "fillOpacity": {"condition": {"test": "datum.edge", "value": 0.15}, "value": 0.8},
            "tooltip": tooltip("subgraph", "bound by", "EDP share", "latency", "energy", "achieved", "of peak", "DRAM", "where"),
        },
    }
    return {"$schema": SCHEMA, "description": "Roofline: achieved FLOP/s by arithmetic intensity", "layer": [*layers, marks]}


def _bandwidth(report: Report) -> float:
    """Of DRAM in B/s; 0 where the machine is not known."""
    memories = report.machine.memories if report.machine else ()
    return next((memory.bandwidth.value for memory in memories if memory.role == "dram"), 0.0)


def _intensities(found: Sequence[Point], ceilings: Iterable[Ceiling], bandwidth: float) -> tuple[float, float]:
    """Where the axis of intensities begins and ends: around all points and all knees."""
    inside = [p.intensity for p in found if p.intensity]
    if bandwidth:
        inside += [ceiling.rate / bandwidth for ceiling in ceilings]
    return min(inside, default=1.0) / 4, max(inside, default=1.0) * 4


def _point(report: Report, point: Point, left: float, right: float) -> Spec:
    """A row of the roofline; what has no place on the axes is drawn at the edge where it belongs.

    A copy has no arithmetic: at the left edge its height is that of its bandwidth under the slope. What touches no DRAM is at
    the right edge.
    """
    first = point.subgraphs[0]
    more = f" and {len(point.subgraphs) - 1} alike" if len(point.subgraphs) > 1 else ""
    share = sum(s.edp_fraction for s in point.subgraphs)
    where = {0.0: "left edge: no arithmetic", None: "right edge: no DRAM traffic"}.get(point.intensity, "")
    x = point.intensity if point.intensity else left if point.intensity is not None else right
    peak = "-"
    if point.ceiling:
        peak = f"{100 * first.utilization:.3g} % of {format_quantity(point.ceiling.rate, 'FLOP/s')} ({_unit(point.ceiling)})"
    return {
        "id": first.id,
        "subgraph": f"{first.id} {shorten(printable(first.name), 64)}{more}",
        "intensity": x,
        "rate": point.rate if point.intensity != 0.0 else max(left * point.bandwidth, 1e-30),
        "bound by": first.bottleneck,
        "share": share,
        "edge": bool(where),
        "where": where or f"{point.intensity:.4g} FLOP/B",
        "EDP share": f"{100 * share:.2f} %",
        "latency": format_quantity(sum(s.latency_s for s in point.subgraphs), "s"),
        "energy": format_quantity(sum(s.energy_j for s in point.subgraphs), "J"),
        "achieved": format_quantity(point.rate, "FLOP/s"),
        "of peak": peak,
        "DRAM": format_quantity(point.bandwidth, "B/s"),
    }


def _ceilings(
    report: Report, ceilings: Sequence[Ceiling], bandwidth: float, left: float, right: float, x: Spec, y: Spec
) -> list[Spec]:
    """The slope of the memory up to the highest peak, and every peak from its knee on."""
    top = ceilings[0].rate
    lines = [{"line": "memory", "intensity": i, "rate": i * bandwidth} for i in (left, top / bandwidth)]
    for ceiling in ceilings:
        knee = min(ceiling.rate / bandwidth, right)
        lines += [{"line": _unit(ceiling), "intensity": i, "rate": ceiling.rate} for i in (knee, right)]
    memory = next(m.name for m in report.machine.memories if m.role == "dram") if report.machine else ""
    slope = {"intensity": left, "rate": left * bandwidth, "text": f"{memory} {format_quantity(bandwidth, 'B/s', 3)}"}
    peaks = [
        {"intensity": right, "rate": rate, "text": f"{names} {format_quantity(rate, 'FLOP/s', 3)}"}
        for rate in dict.fromkeys(c.rate for c in ceilings)
        for names in (" and ".join(_unit(c) for c in ceilings if c.rate == rate),)
    ]
    bare = {"x": x, "y": y}
    text = {"field": "text", "type": "nominal"}
    return [
        {
            "data": {"values": lines},
            "mark": {"type": "line", "strokeWidth": 1.25, "color": "#8b93a1", "tooltip": False},
            "encoding": {**bare, "detail": {"field": "line", "type": "nominal"}},
        },
        {
            "data": {"values": peaks},
            "mark": {"type": "text", "align": "right", "baseline": "bottom", "dy": -3, "dx": -2, "fontSize": 10},
            "encoding": {**bare, "text": text},
        },
        {
            "data": {"values": [slope]},
            "mark": {"type": "text", "align": "left", "baseline": "middle", "dx": 20, "dy": 4, "fontSize": 10},
            "encoding": {**bare, "text": text},
        },
    ]


def _unit(ceiling: Ceiling) -> str:
    return f"{ceiling.precision} {ceiling.unit}"
