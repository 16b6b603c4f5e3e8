"""A report as a small HTML table for notebooks."""

from __future__ import annotations

from html import escape

from edpc.emit.document import printable
from edpc.emit.ranking import rank
from edpc.report.records import Report
from edpc.units import format_quantity

_ROWS = 10


def to_html(report: Report) -> str:
    """Totals in the caption, the subgraphs that cost most in rows; all text escaped."""
    figures = ((report.energy_j, "J"), (report.latency_s, "s"), (report.edp_js, "J*s"))
    totals = (format_quantity(value, unit) for value, unit in figures)
    target = report.target
    caption = f"{report.model.name} on {target.name} ({target.precision}, batch {target.batch}): {', '.join(totals)}"
    rows = [("subgraph", "pattern", "energy", "latency", "EDP", "share", "bound by")]
    rows += [
        (
            s.name,
            s.fusion_pattern,
            format_quantity(s.energy_j, "J"),
            format_quantity(s.latency_s, "s"),
            format_quantity(s.edp_js, "J*s"),
            f"{100 * r.share:.1f} %",
            s.bottleneck,
        )
        for r in rank(report)[:_ROWS]
        for s in (r.subgraph,)
    ]
    lines = [
        "<tr>" + "".join(f"<{tag}>{escape(printable(cell))}</{tag}>" for cell in row) + "</tr>"
        for tag, row in zip(["th"] + ["td"] * _ROWS, rows, strict=False)
    ]
    return "\n".join(["<table>", f"<caption>{escape(printable(caption))}</caption>", *lines, "</table>"])
