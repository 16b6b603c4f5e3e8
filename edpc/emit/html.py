"""One self-contained page: the first screen written here, tables and plots drawn by its script from the data it carries.

The page fetches nothing: its content security policy forbids it, and allows the two scripts of the page alone. Names out of a
model reach the page through the template, which escapes, or as text that the script sets.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import re
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import msgspec

from edpc.emit import EmitOptions
from edpc.emit.answers import Answer, answers, findings
from edpc.emit.charts import Spec, breakdown, comparison, components, cumulative, metric_title, series_labels
from edpc.emit.document import printable
from edpc.emit.ranking import rank
from edpc.emit.roofline import roofline
from edpc.emit.text import percent
from edpc.emit.theme import config
from edpc.report import Comparison, OperatorReport, Report, SubgraphReport, UnknownOperator, build_comparison
from edpc.units import format_quantity

# With the plotting library, 0.9 MB, a page stays below 2 MB.
_DATA_BYTES = 1_000_000
_DIGITS = 6
_SUBGRAPH = (
    *("id", "name", "fusion_pattern", "bottleneck", "num_operators", "energy_j", "latency_s", "edp_js", "standalone_edp_js"),
    *("compute_edp", "memory_edp", "static_edp", "overhead_edp", "arithmetic_intensity", "utilization"),
)
_OPERATOR = (
    *("operator_id", "source_name", "operator_type", "flops", "macs", "bytes_read", "bytes_written", "energy_j", "latency_s"),
    *("edp_js", "event_edp", "base_edp", "architectural_modifier", "modelled_modifier", "architectural_edp"),
    *("is_fused", "fusion_benefit"),
)
_AGAINST = (
    ("energy", "energy_j", "J"),
    ("latency", "latency_s", "s"),
    ("EDP", "edp_js", "J*s"),
    ("DRAM tensor accesses", "dram_accesses", ""),
    ("launches", "launches", ""),
)


def emit(reports: Sequence[Report], options: EmitOptions) -> bytes:
    """The page of one report, or of several with their comparison first; the same reports give the same bytes."""
    import vl_convert
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    home = files("edpc.emit") / "page"
    library: str = vl_convert.javascript_bundle()  # type: ignore[call-arg]  # its default, which vl-convert keeps at hand
    scripts = [library.replace("</script", "<\\/script"), (home / "page.js").read_text(encoding="utf-8")]
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["quantity"] = format_quantity
    environment.filters["percent"] = percent
    template = environment.from_string((home / "page.html.jinja").read_text(encoding="utf-8"))
    names = list(dict.fromkeys(printable(report.model.name) for report in reports))
    page = template.render(
        title=", ".join(names),
        reports=[_shown(report, label) for report, label in zip(reports, series_labels(reports), strict=True)],
        comparison=(compared := build_comparison(reports, options.explain)),
        why=_why(compared),
        below=compared.edp_below,
        told=list(map(_together, findings(compared))),
        what="machine" if len({report.target.name for report in reports}) == len(reports) else "report",
        version=reports[0].edpc_version,
        style=Markup((home / "page.css").read_text(encoding="utf-8")),
        scripts=[Markup(script) for script in scripts],
        hashes=" ".join(f"'sha256-{_sha256(script)}'" for script in scripts),
        data=_packed(reports, options.top),
    )
    return page.encode("utf-8", "backslashreplace")


def _sha256(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _shown(report: Report, label: str) -> dict[str, Any]:
    """What the template says of a report."""
    totals, model = report.totals, report.model
    return {
        "report": report,
        "label": label,
        "name": printable(model.name),
        "target": printable(report.target.name),
        "answers": [Answer(*map(_together, answer)) for answer in answers(report)],
        "findings": list(map(_together, findings(report))),
        "totals": [
            (title, format_quantity(value, unit), [format_quantity(edge, unit) for edge in interval])
            for title, value, unit, interval in (
                ("Energy-delay product", totals.edp_js, "J*s", totals.interval.edp_js),
                ("Energy", totals.energy_j, "J", totals.interval.energy_j),
                ("Latency", totals.latency_s, "s", totals.interval.latency_s),
            )
        ],
        "facts": [
            ("average power", format_quantity(totals.average_power_w, "W")),
            ("DRAM traffic", format_quantity(totals.dram_bytes, "B")),
            ("DRAM tensor accesses", f"{totals.dram_accesses:,}"),
            ("launches", f"{totals.launches:,}"),
            ("arithmetic", format_quantity(model.flops, "FLOP")),
            ("parameters", format_quantity(model.parameters, "")),
        ],
        "inputs": [printable(f"{i.name} {i.dtype}[{_shape(i.shape)}]") for i in model.inputs],
        "fusion": [_against(report, *row) for row in _AGAINST],
        "causes": [
            (name, format_quantity(value, "J*s"))
            for name, value in (
                ("DRAM energy", report.fusion.saved.by_cause.dram_energy),
                ("static energy", report.fusion.saved.by_cause.static_energy),
                ("launch overhead", report.fusion.saved.by_cause.launch_overhead),
                ("other", report.fusion.saved.by_cause.other),
            )
        ],
        "unknown": [_unknown(unknown) for unknown in report.coverage.unknown],
        "notes": [printable(note) for note in report.coverage.notes],
    }


def _why(compared: Comparison) -> dict[str, Any] | None:
    """The ratio of two EDPs as a product of causes, largest first, where the comparison holds one."""
    explained = compared.explain
    if explained is None:
        return None
    parts = sorted(explained.parts, key=lambda part: -abs(part.log_ratio))
    largest = max((abs(part.log_ratio) for part in parts), default=0.0) or 1.0
    return {
        "title": printable(f"Why: EDP of {explained.first} over EDP of {explained.second}"),
        "ratio": explained.edp_ratio,
        "parts": [
            (part.cause.replace("_", " ").replace("dram", "DRAM"), part.factor, 100 * part.log_ratio / largest) for part in parts
        ],
    }


def _against(report: Report, name: str, field: str, unit: str) -> tuple[str, ...]:
    """A row of what fusion saved: separate, fused, the difference, and that of separate."""
    apart, fused = getattr(report.fusion.separate, field), getattr(report.fusion.fused, field)
    figures = (f"{value:,}" if not unit else format_quantity(value, unit) for value in (apart, fused, apart - fused))
    return (name, *figures, percent((apart - fused) / apart if apart else 0.0))


def _unknown(unknown: UnknownOperator) -> str:
    domain = f"{unknown.domain}." if unknown.domain else ""
    return printable(f"{unknown.count} x {domain}{unknown.operator_type}")


def _together(text: str) -> str:
    """The text with numbers and their units on one line."""
    return re.sub(r"(?<=\d) (?=%|[afpnumkMGTPE]?(?:J|s|W|B|FLOP)\b)", "\u00a0", text)


def _shape(shape: tuple[int | None, ...] | None) -> str:
    return "*" if shape is None else ",".join("?" if d is None else str(d) for d in shape)


def _packed(reports: Sequence[Report], top: int | None) -> str:
    """The data of the page, compressed; the costliest subgraphs only where all of them would not fit."""
    shown = max(len(report.subgraphs) for report in reports)
    while True:
        data = base64.b64encode(gzip.compress(msgspec.json.encode(_data(reports, top, shown)), mtime=0)).decode()
        if len(data) <= _DATA_BYTES or shown <= 1:
            return data
        shown = min(shown - 1, int(shown * 0.9 * _DATA_BYTES / len(data)) or 1)


def _data(reports: Sequence[Report], top: int | None, shown: int) -> dict[str, Any]:
    several = len(reports) > 1
    return {
        "themes": {"light": config(paper=False), "dark": config(dark=True, paper=False)},
        "comparison": _compared(reports) if several and all(report.edp_js for report in reports) else [],
        "reports": [_report(report, label, top, shown) for report, label in zip(reports, series_labels(reports), strict=True)],
    }


def _compared(reports: Sequence[Report]) -> list[dict[str, Any]]:
    high = 40 * len(reports) + 10
    plots = [(f"total-{field}", comparison(reports, field), high) for field in ("edp_js", "energy_j", "latency_s")]
    plots += [("parts", components(reports), 66 * len(reports)), ("curves", cumulative(reports), 300)]
    return [_plot(*plot) for plot in plots]


def _report(report: Report, label: str, top: int | None, shown: int) -> dict[str, Any]:
    """Subgraphs in order of their rank with their operators, as rows of the columns named, and the plots."""
    ranked = rank(report)[:shown]
    kept = {r.subgraph.id for r in ranked}
    operators: dict[str, list[list[Any]]] = {name: [] for name in kept}
    types: dict[str, list[float]] = {}
    for operator in report.operators:
        if operator.subgraph_id in kept:
            operators[operator.subgraph_id].append(_row(operator, _OPERATOR))
        sums = types.setdefault(printable(operator.operator_type), [0, 0, 0.0, 0.0, 0.0, 0.0])
        for i, value in enumerate((1, operator.is_fused, operator.flops, operator.energy_j, operator.latency_s, operator.edp_js)):
            sums[i] += value
    return {
        "label": label,
        "metric": metric_title(report),
        "energy_j": report.energy_j,
        "latency_s": report.latency_s,
        "edp_js": report.edp_js,
        "of": len(report.subgraphs),
        "subgraph_fields": [*_SUBGRAPH, "share", "cumulative", "operators"],
        "operator_fields": _OPERATOR,
        "subgraphs": [
            [*_row(r.subgraph, _SUBGRAPH), _short(r.share), _short(r.cumulative), operators[r.subgraph.id]] for r in ranked
        ],
        "types": [[name, *map(_short, sums)] for name, sums in types.items()],
        "plots": _plots(report, 12 if top is None else top),
    }


def _plots(report: Report, top: int) -> list[dict[str, Any]]:
    """The plots of a report; a network that does nothing has none."""
    if not report.edp_js:
        return []
    bars = min(len(report.subgraphs), top)
    return [
        _plot("components", components([report]), 130),
        _plot("roofline", roofline(report), 360),
        _plot("breakdown", breakdown(report, bars), 24 * max(bars, 2)),
        _plot("cumulative", cumulative([report]), 280),
    ]


def _plot(name: str, spec: Spec, height: int) -> dict[str, Any]:
    return {"name": name, "spec": spec | {"width": "container", "height": height}}


def _row(record: SubgraphReport | OperatorReport, columns: Sequence[str]) -> list[Any]:
    return [_short(getattr(record, column)) for column in columns]


def _short(value: Any) -> Any:
    """Names as text that can be shown, numbers in the digits that are shown: the page prints four of them."""
    if isinstance(value, str):
        return printable(value)
    return float(f"{value:.{_DIGITS}g}") if isinstance(value, float) else value
