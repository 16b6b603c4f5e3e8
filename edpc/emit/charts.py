"""The plots as Vega-Lite specifications: the HTML page draws them, and vl-convert turns them into SVG and PNG.

A specification holds its data and neither size nor theme: whoever draws it gives both. Colours say the same thing everywhere:
blue is compute, ochre memory, grey static power, rose overhead.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from edpc.emit.document import printable, shorten
from edpc.emit.ranking import LEVELS, TITLES, counts, rank
from edpc.emit.roofline import Ceiling, Point, points
from edpc.report import Report
from edpc.units import format_quantity

Spec = dict[str, Any]

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
COMPONENTS = {
    "compute": "#2f6fbf",
    "on-chip memory": "#1f8a85",
    "DRAM": "#a8660a",
    "memory": "#c2891f",
    "static": "#6b7280",
    "overhead": "#b4436c",
}
_BOUNDS = {"compute": "#2f6fbf", "memory": "#c2891f", "overhead": "#b4436c", "none": "#6b7280"}
_SERIES = ("#2f6fbf", "#b4436c", "#1f8a85", "#a8660a", "#7557b8", "#6b7280", "#3f8f3f", "#b5483a")
_NAME = 44
_CURVE_POINTS = 200
_LABELLED = 0.07  # a part smaller than this has no room for its percentage


def series_labels(reports: Sequence[Report]) -> list[str]:
    """A short name for each report: its target, and as much else as tells it from the others."""
    parts = [(r.target.name, r.target.precision, f"batch {r.target.batch}", r.model.name) for r in reports]
    for length in range(1, 5):
        labels = [printable(" ".join(part[:length])) for part in parts]
        if len(set(labels)) == len(labels):
            return labels
    return [f"{number}: {label}" for number, label in enumerate(labels, 1)]


def roofline(report: Report) -> Spec:
    """Achieved over attainable FLOP/s by arithmetic intensity: every subgraph, and the ceilings of the units it uses."""
    found = points(report)
    ceilings = sorted({p.ceiling for p in found if p.ceiling}, key=lambda c: (-c.rate, c.unit, c.precision))
    bandwidth = _bandwidth(report)
    left, right = _intensities(found, ceilings, bandwidth)
    rows = [_point(report, p, left, right) for p in found]
    low = min((row["rate"] for row in rows if row["rate"] > 0), default=1.0) / 2
    high = max([row["rate"] for row in rows] + [c.rate for c in ceilings], default=1.0) * 3
    x = _log("intensity", "FLOP per byte of DRAM", [left, right], "~g")
    y = _log("rate", "FLOP/s", [min(low, high / 10), high], "~s")
    layers: list[Spec] = []
    if bandwidth and ceilings:
        layers += _ceilings(report, ceilings, bandwidth, left, right, x, y)
    marks = {
        "data": {"values": rows},
        "params": [{"name": "zoom", "select": "interval", "bind": "scales"}],
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
            "color": _nominal("bound by", _BOUNDS, [row["bound by"] for row in rows]),
            "fillOpacity": {"condition": {"test": "datum.edge", "value": 0.15}, "value": 0.8},
            "tooltip": _tooltip("subgraph", "bound by", "EDP share", "latency", "energy", "achieved", "of peak", "DRAM", "where"),
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


def components(reports: Sequence[Report]) -> Spec:
    """What energy, latency and EDP are made of, each bar the whole."""
    labels = series_labels(reports)
    rows = []
    for report, label in zip(reports, labels, strict=True):
        energy, latency = report.totals.energy_by_component, report.totals.latency_by_component
        edp = {part: sum(getattr(s, f"{part}_edp") for s in report.subgraphs) for part in ("compute", "memory", "static", "overhead")}
        bars: dict[str, tuple[str, dict[str, float]]] = {
            "energy": (
                "J",
                {
                    "compute": energy.compute,
                    "on-chip memory": energy.on_chip,
                    "DRAM": energy.dram,
                    "static": energy.static,
                    "overhead": energy.overhead,
                },
            ),
            "latency": ("s", {"compute": latency.compute, "memory": latency.memory, "overhead": latency.overhead}),
            "EDP": ("J*s", edp),
        }
        for what, (unit, values) in bars.items():
            whole = sum(values.values())
            rows += [
                {
                    "bar": what if len(reports) == 1 else f"{what}, {label}",
                    "part": part,
                    "order": order,
                    "share": value / whole,
                    "percent": f"{100 * value / whole:.1f} %",
                    "short": f"{100 * value / whole:.0f} %" if value / whole >= _LABELLED else "",
                    "value": format_quantity(value, unit),
                }
                for order, (part, value) in enumerate(values.items())
                if value > 0
            ]
    bars_in_order = sorted(dict.fromkeys(row["bar"] for row in rows), key=lambda bar: ("energy", "latency", "EDP").index(bar.split(",")[0]))
    y = {"field": "bar", "type": "nominal", "title": None, "sort": bars_in_order}
    return {**_stacked(rows, y, "share of the whole", ("bar", "part", "value", "percent"), labelled=True), "description": "Components"}


def breakdown(report: Report, top: int | None) -> Spec:
    """The subgraphs that cost most, their shares of the EDP split by component."""
    rows = []
    names = []
    ranked = rank(report)
    for r in ranked[:top]:
        s = r.subgraph
        name = shorten(f"{s.id} {printable(s.name)}", _NAME)
        names.append(name)
        parts = {"compute": s.compute_edp, "memory": s.memory_edp, "static": s.static_edp, "overhead": s.overhead_edp}
        rows += [
            {
                "id": s.id,
                "subgraph": name,
                "part": part,
                "order": order,
                "share": value / report.edp_js if report.edp_js else 0.0,
                "percent": f"{100 * s.edp_fraction:.2f} %",
                "value": format_quantity(value, "J*s"),
                "bound by": s.bottleneck,
            }
            for order, (part, value) in enumerate(parts.items())
            if value > 0
        ]
    y = {"field": "subgraph", "type": "nominal", "title": None, "sort": names, "axis": {"labelLimit": 300}}
    spec = _stacked(rows, y, "share of the model's EDP", ("subgraph", "part", "value", "percent", "bound by"), labelled=False)
    return {**spec, "description": "EDP of the costliest subgraphs by component"}


def _stacked(rows: list[Spec], y: Spec, title: str, tooltip: Sequence[str], labelled: bool) -> Spec:
    x = {"field": "share", "type": "quantitative", "stack": "zero", "title": title, "axis": {"format": ".1~%", "tickCount": 5}}
    if labelled:
        x["scale"] = {"domain": [0, 1]}
    order = {"field": "order", "type": "quantitative"}
    bars = {
        "mark": {"type": "bar", "cornerRadius": 1, "cursor": "pointer" if not labelled else "default"},
        "encoding": {
            "x": x,
            "y": y,
            "order": order,
            "color": _nominal("part", COMPONENTS, [row["part"] for row in rows]),
            "tooltip": _tooltip(*tooltip),
        },
    }
    texts = {
        "mark": {"type": "text", "color": "white", "fontSize": 11, "tooltip": False},
        "encoding": {"x": {**x, "bandPosition": 0.5}, "y": y, "order": order, "text": {"field": "short", "type": "nominal"}},
    }
    return {"$schema": SCHEMA, "data": {"values": rows}, "layer": [bars, texts] if labelled else [bars]}


def cumulative(reports: Sequence[Report]) -> Spec:
    """How much of the metric the first n subgraphs make."""
    labels = series_labels(reports)
    curve, marks = [], []
    for report, label in zip(reports, labels, strict=True):
        ranked = rank(report)
        levels = counts(ranked)
        step = max(len(ranked) // _CURVE_POINTS, 1)
        kept = {*range(0, len(ranked), step), len(ranked) - 1} - {-1}
        curve.append({"report": label, "subgraphs": 0, "share": 0.0})
        curve += [{"report": label, "subgraphs": i + 1, "share": ranked[i].cumulative} for i in sorted(kept)]
        marks += [
            {
                "report": label,
                "subgraphs": levels[level],
                "share": ranked[levels[level] - 1].cumulative,
                "text": f"{levels[level]} make {level} %",
            }
            for level in LEVELS
            if levels[level]
        ]
    several = len(reports) > 1
    metric = TITLES[reports[0].metric]
    x = {"field": "subgraphs", "type": "quantitative", "title": "subgraphs, costliest first", "axis": {"tickMinStep": 1, "format": "d"}}
    y = {"field": "share", "type": "quantitative", "title": f"share of {metric}", "axis": {"format": ".0%"}, "scale": {"domain": [0, 1]}}
    colours = dict(zip(labels, _cycled(len(labels)), strict=True))
    colour = _nominal("report", colours, labels) if several else {"value": _SERIES[0]}
    return {
        "$schema": SCHEMA,
        "description": f"Cumulative share of {metric}",
        "layer": [
            {
                "data": {"values": curve},
                "mark": {"type": "line", "strokeWidth": 2, "tooltip": False},
                "encoding": {"x": x, "y": y, "color": colour},
            },
            {
                "data": {"values": marks},
                "mark": {"type": "point", "filled": True, "size": 50, "opacity": 1},
                "encoding": {"x": x, "y": y, "color": colour, "tooltip": _tooltip("report", "text")},
            },
            *([] if several else [_level_texts(marks, x, y)]),
        ],
    }


def _level_texts(marks: list[Spec], x: Spec, y: Spec) -> Spec:
    return {
        "data": {"values": [mark for mark in marks if mark["text"].endswith((" 50 %", " 80 %", " 95 %"))]},
        "mark": {"type": "text", "align": "left", "baseline": "top", "dx": 6, "dy": 5, "fontSize": 11, "tooltip": False},
        "encoding": {"x": x, "y": y, "text": {"field": "text", "type": "nominal"}},
    }


def comparison(reports: Sequence[Report], field: str) -> Spec:
    """A total of every report with its 90 % interval, on a logarithmic axis.

    Args:
        reports: at least one.
        field: `energy_j`, `latency_s` or `edp_js`.
    """
    title, unit = {"energy_j": ("energy", "J"), "latency_s": ("latency", "s"), "edp_js": ("EDP", "J*s")}[field]
    labels = series_labels(reports)
    rows = []
    for report, label in zip(reports, labels, strict=True):
        value, (low, high) = getattr(report.totals, field), getattr(report.totals.interval, field)
        rows.append(
            {
                "report": label,
                "value": value,
                "low": low,
                "high": high,
                "text": format_quantity(value, unit, 3),
                "90 % interval": f"{format_quantity(low, unit)} to {format_quantity(high, unit)}",
            }
        )
    best = min(row["value"] for row in rows)
    if all(row["low"] > 0 for row in rows):
        x = _log("value", f"{title}, {unit}", [min(row["low"] for row in rows) / 1.5, max(row["high"] for row in rows) * 1.5], "~s")
    else:
        x = {"type": "quantitative", "title": f"{title}, {unit}", "axis": {"format": "~s"}}
    y = {"field": "report", "type": "nominal", "sort": labels, "title": None}
    tooltip = _tooltip("report", "text", "90 % interval")
    colour = {"condition": {"test": f"datum.value <= {best!r}", "value": COMPONENTS["compute"]}, "value": "#6b7280"}
    return {
        "$schema": SCHEMA,
        "description": f"{title} of every report with its 90 % interval",
        "data": {"values": rows},
        "encoding": {"y": y, "tooltip": tooltip, "color": colour},
        "layer": [
            {"mark": {"type": "rule", "strokeWidth": 4, "opacity": 0.35}, "encoding": {"x": {**x, "field": "low"}, "x2": {"field": "high"}}},
            {"mark": {"type": "point", "filled": True, "size": 90, "opacity": 1}, "encoding": {"x": {**x, "field": "value"}}},
            {
                "mark": {"type": "text", "dy": -12, "fontSize": 11, "tooltip": False},
                "encoding": {"x": {**x, "field": "value"}, "text": {"field": "text", "type": "nominal"}},
            },
        ],
    }


def _log(field: str, title: str, domain: list[float], form: str) -> Spec:
    """A logarithmic axis with lines at powers of ten: at 2 and 5 between where these are few, at some of them where many."""
    first, last = math.floor(math.log10(domain[0])), math.ceil(math.log10(domain[1]))
    steps = (1, 2, 5) if last - first <= 2 else (1,)
    lines = [step * 10.0**power for power in range(first, last + 1, 1 + (last - first) // 9) for step in steps]
    shown = [line for line in lines if domain[0] <= line <= domain[1]]
    scale = {"type": "log", "domain": domain, "nice": False}
    return {"field": field, "type": "quantitative", "title": title, "scale": scale, "axis": {"format": form, "values": shown}}


def _nominal(field: str, colours: dict[str, str], used: Iterable[str]) -> Spec:
    """A colour channel with a legend of what is used, in the order of `colours`."""
    there = set(used)
    domain = [name for name in colours if name in there]
    scale = {"domain": domain, "range": [colours[name] for name in domain]}
    return {"field": field, "type": "nominal", "scale": scale, "legend": {"title": None, "orient": "top"}}


def _cycled(count: int) -> list[str]:
    return [_SERIES[i % len(_SERIES)] for i in range(count)]


def _tooltip(*fields: str) -> list[Spec]:
    return [{"field": field, "type": "nominal", "title": field} for field in fields]
