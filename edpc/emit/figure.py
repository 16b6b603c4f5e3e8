"""All plots of one or several reports on one sheet, in the light theme."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edpc.emit import EmitOptions
from edpc.emit.charts import SCHEMA, Spec, breakdown, comparison, components, cumulative
from edpc.emit.document import printable
from edpc.emit.roofline import roofline
from edpc.emit.theme import config
from edpc.report import Report
from edpc.units import format_quantity

_WIDE = 480
_HIGH = 300
_BAR = 22


def figure(reports: Sequence[Report], options: EmitOptions) -> Spec:
    """The sheet: the comparison where there are several reports, then each with its roofline and its breakdowns."""
    blocks = [_comparison(reports)] if len(reports) > 1 else []
    blocks += [_report(report, options.top) for report in reports]
    return {"$schema": SCHEMA, "config": config(), "vconcat": blocks, "spacing": 40, "align": "none"}


def _comparison(reports: Sequence[Report]) -> Spec:
    high = 34 * len(reports)
    totals = [_sized(comparison(reports, field), 250, high, "") for field in ("edp_js", "energy_j", "latency_s")]
    parts = _sized(components(reports), _WIDE, _BAR * 3 * len(reports), "Components")
    curves = _sized(cumulative(reports), _WIDE - 160, _BAR * 3 * len(reports), "Cumulative share of the costliest subgraphs")
    names = dict.fromkeys(printable(report.model.name) for report in reports)
    return {
        "title": _title(", ".join(names), "totals with their 90 % intervals; the lowest is blue"),
        "vconcat": [_row(totals), _row([parts, curves])],
    }


def _report(report: Report, top: int | None) -> Spec:
    target, totals = report.target, report.totals
    figures = ((totals.energy_j, "J"), (totals.latency_s, "s"), (totals.edp_js, "J*s"), (totals.average_power_w, "W"))
    subtitle = ", ".join(format_quantity(value, unit) for value, unit in figures)
    shown = min(len(report.subgraphs), len(report.subgraphs) if top is None else top)
    return {
        "title": _title(printable(f"{report.model.name} on {target.name}, {target.precision}, batch {target.batch}"), subtitle),
        "vconcat": [
            _row(
                [
                    _sized(roofline(report), _WIDE, _HIGH, "Roofline: every subgraph, its area its share of the EDP"),
                    _sized(cumulative([report]), _WIDE - 160, _HIGH, "Cumulative share of the costliest subgraphs"),
                ]
            ),
            _row(
                [
                    _sized(components([report]), _WIDE - 160, _BAR * max(shown, 3), "Components"),
                    _sized(breakdown(report, top), _WIDE - 160, _BAR * max(shown, 3), f"EDP of the first {shown} subgraphs"),
                ]
            ),
        ],
    }


def _row(specs: list[Spec]) -> Spec:
    return {"hconcat": specs, "spacing": 40, "resolve": {"scale": {"color": "independent", "size": "independent"}}}


def _sized(spec: Spec, width: int, height: int, title: str) -> Spec:
    placed: dict[str, Any] = {key: value for key, value in spec.items() if key != "$schema"}
    return placed | {"width": width, "height": height} | ({"title": title} if title else {})


def _title(text: str, subtitle: str) -> Spec:
    return {"text": text, "subtitle": subtitle, "fontSize": 16, "subtitleFontSize": 12, "offset": 14, "anchor": "start"}
