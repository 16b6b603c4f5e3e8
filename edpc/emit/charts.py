"""The plots as Vega-Lite specifications: the HTML page draws them, and vl-convert turns them into SVG and PNG.

A specification holds its data and neither size nor theme: whoever draws it gives both. Colours say the same thing everywhere:
blue is compute, ochre memory, grey static power, rose overhead.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from edpc.emit.document import printable, shorten
from edpc.emit.ranking import LEVELS, counts, rank
from edpc.report import Report
from edpc.report.records import TITLES
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
BOUNDS = {"compute": "#2f6fbf", "memory": "#c2891f", "overhead": "#b4436c", "none": "#6b7280"}
_EDP_PARTS = ("compute", "memory", "static", "overhead")
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


def metric_title(report: Report) -> str:
    """What people call the metric that the report ranks by."""
    return TITLES[report.metric]


def components(reports: Sequence[Report]) -> Spec:
    """What energy, latency and EDP are made of, each bar the whole."""
    rows = []
    bars = []
    for what, unit in (("energy", "J"), ("latency", "s"), ("EDP", "J*s")):
        for report, label in zip(reports, series_labels(reports), strict=True):
            bars.append(what if len(reports) == 1 else f"{what}, {label}")
            parts = _parts(report, what)
            whole = sum(parts.values())
            rows += [
                {
                    "bar": bars[-1],
                    "part": part,
                    "order": order,
                    "share": value / whole,
                    "percent": f"{100 * value / whole:.1f} %",
                    "short": f"{100 * value / whole:.0f} %" if value / whole >= _LABELLED else "",
                    "value": format_quantity(value, unit),
                }
                for order, (part, value) in enumerate(parts.items())
                if value > 0
            ]
    y = {"field": "bar", "type": "nominal", "title": None, "sort": bars}
    spec = _stacked(rows, y, "share of the whole", ("bar", "part", "value", "percent"), labelled=True)
    return {**spec, "description": "What energy, latency and EDP are made of"}


def _parts(report: Report, what: str) -> dict[str, float]:
    """The components of the energy, the latency or the EDP of a report."""
    if what == "energy":
        energy = report.totals.energy_by_component
        on_chip = {"compute": energy.compute, "on-chip memory": energy.on_chip, "DRAM": energy.dram}
        return {**on_chip, "static": energy.static, "overhead": energy.overhead}
    if what == "latency":
        latency = report.totals.latency_by_component
        return {"compute": latency.compute, "memory": latency.memory, "overhead": latency.overhead}
    return {part: sum(getattr(s, f"{part}_edp") for s in report.subgraphs) for part in _EDP_PARTS}


def breakdown(report: Report, top: int | None) -> Spec:
    """The subgraphs that cost most, their shares of the EDP split by component."""
    rows = []
    names = []
    ranked = rank(report)
    for r in ranked[:top]:
        s = r.subgraph
        name = shorten(f"{s.id} {printable(s.name)}", _NAME)
        names.append(name)
        parts = {part: getattr(s, f"{part}_edp") for part in _EDP_PARTS}
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
    y = {"field": "subgraph", "type": "nominal", "title": None, "sort": names}
    spec = _stacked(rows, y, "share of the model's EDP", ("subgraph", "part", "value", "percent", "bound by"), labelled=False)
    return {**spec, "description": "EDP of the costliest subgraphs by component"}


def _stacked(rows: list[Spec], y: Spec, title: str, shown: Sequence[str], labelled: bool) -> Spec:
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
            "color": nominal("part", COMPONENTS, [row["part"] for row in rows]),
            "tooltip": tooltip(*shown),
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
    metric = metric_title(reports[0])
    x = {
        "field": "subgraphs",
        "type": "quantitative",
        "title": "subgraphs, costliest first",
        "axis": {"tickMinStep": 1, "format": "d"},
    }
    y = {
        "field": "share",
        "type": "quantitative",
        "title": f"share of {metric}",
        "axis": {"format": ".0%"},
        "scale": {"domain": [0, 1]},
    }
    colours = dict(zip(labels, _cycled(len(labels)), strict=True))
    colour = nominal("report", colours, labels) if several else {"value": _SERIES[0]}
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
                "encoding": {"x": x, "y": y, "color": colour, "tooltip": tooltip("report", "text")},
            },
            *([] if several else _level_texts(marks, len(reports[0].subgraphs), x, y)),
        ],
    }


def _level_texts(marks: list[Spec], most: int, x: Spec, y: Spec) -> list[Spec]:
    """What the marks say, beside them: below the curve where it begins, above it where it ends."""
    said = [mark for mark in marks if mark["text"].endswith((" 50 %", " 80 %", " 95 %"))]
    first = [mark for mark in said if 2 * mark["subgraphs"] < most]
    text = {"type": "text", "fontSize": 11, "tooltip": False}
    return [
        {
            "data": {"values": rows},
            "mark": text | place,
            "encoding": {"x": x, "y": y, "text": {"field": "text", "type": "nominal"}},
        }
        for rows, place in (
            (first, {"align": "left", "baseline": "top", "dx": 6, "dy": 5}),
            ([mark for mark in said if mark not in first], {"align": "right", "baseline": "bottom", "dx": -6, "dy": -3}),
        )
        if rows
    ]


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
        x = log(
            "value", f"{title}, {unit}", [min(row["low"] for row in rows) / 1.5, max(row["high"] for row in rows) * 1.5], "~s"
        )
    else:
        x = {"type": "quantitative", "title": f"{title}, {unit}", "axis": {"format": "~s"}}
    y = {"field": "report", "type": "nominal", "sort": labels, "title": None}
    shown = tooltip("report", "text", "90 % interval")
    colour = {"condition": {"test": f"datum.value <= {best!r}", "value": COMPONENTS["compute"]}, "value": "#6b7280"}
    return {
        "$schema": SCHEMA,
        "description": f"{title} of every report with its 90 % interval",
        "data": {"values": rows},
        "encoding": {"y": y, "tooltip": shown},
        "layer": [
            {
                "mark": {"type": "rule", "strokeWidth": 4, "opacity": 0.35},
                "encoding": {"x": {**x, "field": "low"}, "x2": {"field": "high"}, "color": colour},
            },
            {
                "mark": {"type": "point", "filled": True, "size": 90, "opacity": 1},
                "encoding": {"x": {**x, "field": "value"}, "color": colour},
            },
            {
                "mark": {"type": "text", "dy": -12, "fontSize": 11, "tooltip": False},
                "encoding": {"x": {**x, "field": "value"}, "text": {"field": "text", "type": "nominal"}},
            },
        ],
    }


def log(field: str, title: str, domain: list[float], form: str) -> Spec:
    """A logarithmic axis with lines at powers of ten: at 2 and 5 between where these are few, at some of them where many."""
    first, last = math.floor(math.log10(domain[0])), math.ceil(math.log10(domain[1]))
    steps = (1, 2, 5) if last - first <= 2 else (1,)
    lines = [step * 10.0**power for power in range(first, last + 1, 1 + (last - first) // 9) for step in steps]
    shown = [line for line in lines if domain[0] <= line <= domain[1]]
    scale = {"type": "log", "domain": domain, "nice": False}
    return {"field": field, "type": "quantitative", "title": title, "scale": scale, "axis": {"format": form, "values": shown}}


def nominal(field: str, colours: dict[str, str], used: Iterable[str]) -> Spec:
    """A colour channel with a legend of what is used, in the order of `colours`."""
    there = set(used)
    domain = [name for name in colours if name in there]
    scale = {"domain": domain, "range": [colours[name] for name in domain]}
    return {"field": field, "type": "nominal", "scale": scale, "legend": {"title": None, "orient": "top"}}


def _cycled(count: int) -> list[str]:
    return [_SERIES[i % len(_SERIES)] for i in range(count)]


def tooltip(*fields: str) -> list[Spec]:
    """What is shown when a mark is pointed at: these fields of its row, which are text already."""
    return [{"field": field, "type": "nominal", "title": field} for field in fields]
