"""Reports in notebooks: plain HTML without scripts, in the notebook's own colours, all text escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from edpc.emit.answers import answers
from edpc.emit.charts import COMPONENTS, metric_title
from edpc.emit.document import printable
from edpc.emit.ranking import rank
from edpc.emit.text import percent
from edpc.report.records import Report, SubgraphReport
from edpc.units import format_quantity

_ROWS = 10
_LEFT, _RIGHT = "text-align:left", "text-align:right;font-variant-numeric:tabular-nums"
_FIGURES = (("EDP", "edp_js", "J*s"), ("energy", "energy_j", "J"), ("latency", "latency_s", "s"))


def to_html(report: Report) -> str:
    """The totals with their intervals, the four answers, and the subgraphs that cost most with their components as bars."""
    target = report.target
    title = f"{report.model.name} on {target.name}, {target.precision}, batch {target.batch}"
    totals = "".join(_total(report, *figure) for figure in _FIGURES)
    said = "".join(
        f"<li>{_text(answer.question)} <b>{_text(answer.figure)}</b> {_text(answer.text)}</li>" for answer in answers(report)
    )
    ranked = rank(report)[:_ROWS]
    largest = max((r.share for r in ranked), default=0.0)
    headings = (("subgraph", _LEFT), ("pattern", _LEFT), (f"share of {metric_title(report)}", _LEFT), ("", _RIGHT))
    rows = [
        _cells(
            (_text(f"{s.id} {s.name}"), _LEFT),
            (_text(s.fusion_pattern), _LEFT),
            (_bar(s, r.share / largest if largest else 0.0), _LEFT),
            (percent(r.share), _RIGHT),
            (format_quantity(s.energy_j, "J"), _RIGHT),
            (format_quantity(s.latency_s, "s"), _RIGHT),
            (_text(s.bottleneck), _LEFT),
        )
        for r in ranked
        for s in (r.subgraph,)
    ]
    heads = (*headings, ("energy", _RIGHT), ("latency", _RIGHT), ("bound by", _LEFT))
    more = f"<p>first {len(ranked)} of {len(report.subgraphs)} subgraphs</p>" if len(report.subgraphs) > len(ranked) else ""
    return f"<div><b>{_text(title)}</b><p>{totals}</p><ul>{said}</ul>{_table(heads, rows)}{more}</div>"


def comparison_to_html(reports: Sequence[Report]) -> str:
    """The totals of all reports, one a row."""
    best = min(report.edp_js for report in reports)
    rows = [
        _cells(
            (_text(f"{report.model.name} on {report.target.name}"), _LEFT),
            (_text(f"{report.target.precision}, batch {report.target.batch}"), _LEFT),
            *((_figure(report, field, unit, report.edp_js == best), _RIGHT) for _, field, unit in _FIGURES),
            (_interval(report, "edp_js", "J*s"), _RIGHT),
            (percent(_saved(report)), _RIGHT),
        )
        for report in reports
    ]
    heads = (("report", _LEFT), ("", _LEFT), *((name, _RIGHT) for name, _, _ in _FIGURES))
    return f"<div>{_table((*heads, ('EDP, 90 % interval', _RIGHT), ('EDP saved by fusion', _RIGHT)), rows)}</div>"


def _text(text: str) -> str:
    return escape(printable(text))


def _total(report: Report, name: str, field: str, unit: str) -> str:
    value = format_quantity(getattr(report.totals, field), unit)
    return f'<span style="margin-right:2em">{name} <b>{value}</b> <small>({_interval(report, field, unit)})</small></span>'


def _figure(report: Report, field: str, unit: str, strong: bool) -> str:
    value = format_quantity(getattr(report.totals, field), unit)
    return f"<b>{value}</b>" if strong else value


def _interval(report: Report, field: str, unit: str) -> str:
    return " to ".join(format_quantity(edge, unit, 3) for edge in getattr(report.totals.interval, field))


def _saved(report: Report) -> float:
    separate = report.fusion.separate.edp_js
    return report.fusion.saved.edp_js / separate if separate else 0.0


def _bar(subgraph: SubgraphReport, length: float) -> str:
    """The components of a subgraph as a bar whose length is its share."""
    pieces = "".join(_piece(subgraph, name, length) for name in ("compute", "memory", "static", "overhead"))
    return f'<span style="display:inline-block;width:140px;line-height:0">{pieces}</span>'


def _piece(subgraph: SubgraphReport, name: str, length: float) -> str:
    part = getattr(subgraph, f"{name}_edp") / subgraph.edp_js if subgraph.edp_js else 0.0
    style = f"display:inline-block;height:10px;width:{140 * length * part:.1f}px;background:{COMPONENTS[name]}"
    return f'<span title="{name} {percent(part)}" style="{style}"></span>'


def _cells(*cells: tuple[str, str]) -> str:
    return "<tr>" + "".join(f'<td style="{style}">{text}</td>' for text, style in cells) + "</tr>"


def _table(heads: Sequence[tuple[str, str]], rows: Sequence[str]) -> str:
    head = "".join(f'<th style="{style}">{text}</th>' for text, style in heads)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
