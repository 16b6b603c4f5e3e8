"""Several reports side by side: totals, how sure their order is, why two differ, and the operators that cost most."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edpc.emit import EmitOptions
from edpc.emit.document import Block, Column, Heading, Table, printable, sentences
from edpc.report import CAUSES, Comparison, Explanation, OperatorReport, Report, build_comparison
from edpc.units import format_quantity


def comparison_blocks(reports: Sequence[Report], options: EmitOptions) -> Iterator[Block]:
    """The totals of all reports, what follows from them, and operator by operator where they are of one network."""
    comparison = build_comparison(reports, options.explain)
    yield Heading("Comparison")
    yield _totals(comparison)
    dominant = [
        f"{report.target.name}: {finding.sentence}"
        for report in reports
        for finding in report.findings
        if finding.name == "dominates"
    ]
    if found := [*(finding.sentence for finding in comparison.findings), *dominant]:
        yield sentences("Findings", found)
    if comparison.explain is not None:
        yield _explanation(comparison.explain)
    if any(chance is not None for row in comparison.edp_below for chance in row):
        yield _chances(comparison)
    if set.intersection(*({op.operator_id for op in report.operators} for report in reports)):
        yield _operators(reports, options.top)


def _explanation(why: Explanation) -> Table:
    """The causes of an EDP ratio, the largest first, and what they multiply to."""
    ordered = sorted(why.parts, key=lambda part: -abs(part.log_ratio))
    rows = [(CAUSES[p.cause], f"{p.factor:.4g}", "-" if p.fraction is None else f"{100 * p.fraction:.1f} %") for p in ordered]
    rows.append(("product", f"{why.edp_ratio:.4g}", "100.0 %" if why.edp_ratio != 1.0 else "-"))
    columns = (Column("cause", number=False), Column("factor"), Column("of log ratio"))
    title = f"Why: EDP of {why.first} over EDP of {why.second}, by cause (mean over all orders of exchanging them)"
    return Table(printable(title), columns, tuple(rows))


def _totals(comparison: Comparison) -> Table:
    rows = tuple(
        (
            printable(row.model),
            printable(row.target) + (" (lowest EDP)" if number == comparison.lowest_edp else ""),
            row.precision,
            str(row.batch),
            format_quantity(row.energy_j, "J"),
            format_quantity(row.latency_s, "s"),
            format_quantity(row.edp_js, "J*s"),
            "-" if row.edp_ratio is None else f"{row.edp_ratio:.4g}",
            " to ".join(format_quantity(edge, "J*s") for edge in report.totals.interval.edp_js),
            str(report.totals.dram_accesses),
            str(report.totals.launches),
            _saved(report),
        )
        for number, (row, report) in enumerate(zip(comparison.rows, comparison.reports, strict=True))
    )
    columns = (
        Column("model", number=False),
        Column("target", number=False),
        Column("precision", number=False, optional=True),
        Column("batch", optional=True),
        Column("energy"),
        Column("latency"),
        Column("EDP"),
        Column("EDP to first"),
        Column("EDP 90 % interval", optional=True),
        Column("DRAM accesses", optional=True),
        Column("launches", optional=True),
        Column("saved by fusion", optional=True),
    )
    return Table("Totals", columns, rows)


def _saved(report: Report) -> str:
    """The EDP that fusion saved, absolutely and of what separate kernels would have."""
    saved, separate = report.fusion.saved.edp_js, report.fusion.separate.edp_js
    return f"{format_quantity(saved, 'J*s')} ({100 * saved / separate if separate else 0.0:.0f} %)"


def _chances(comparison: Comparison) -> Table:
    """How often one EDP is below another within the constants' ranges."""
    names = [printable(row.target) for row in comparison.rows]
    rows = tuple(
        (name, *("" if i == j else "-" if p is None else f"{100 * p:.0f} %" for j, p in enumerate(chances)))
        for i, (name, chances) in enumerate(zip(names, comparison.edp_below, strict=True))
    )
    columns = (Column("EDP of", number=False), *(Column(f"below {name}") for name in names))
    title = (
        "How often one EDP is below another (constants drawn from their ranges, those of the same name and source once for both)"
    )
    return Table(title, columns, rows)


def _operators(reports: Sequence[Report], top: int | None) -> Table:
    """Operators by the largest share they take on any target, each with the pattern it is fused in."""
    tables = [{op.operator_id: op for op in report.operators} for report in reports]
    patterns = [{s.id: s.fusion_pattern for s in report.subgraphs} for report in reports]
    first: dict[str, OperatorReport] = {}
    largest: dict[str, float] = {}
    for table in tables:
        for name, op in table.items():
            first.setdefault(name, op)
            largest[name] = max(largest.get(name, 0.0), op.edp_fraction_of_model)
    shown = sorted(largest, key=lambda name: -largest[name])[:top]
    rows = tuple(
        (
            printable(first[name].source_name),
            printable(first[name].operator_type),
            *(_state(table.get(name), pattern) for table, pattern in zip(tables, patterns, strict=True)),
        )
        for name in shown
    )
    columns = (Column("operator", number=False), Column("type", number=False))
    targets = (Column(printable(f"{r.target.name} {r.target.precision}")) for r in reports)
    return Table(f"EDP of operators across targets (first {len(rows)} of {len(largest)})", (*columns, *targets), rows)


def _state(op: OperatorReport | None, patterns: dict[str, str]) -> str:
    """An operator's EDP, its share of the model, and what it is fused in."""
    if op is None:
        return "-"
    state = patterns[op.subgraph_id] if op.is_fused else "separate"
    return f"{format_quantity(op.edp_js, 'J*s')} ({100 * op.edp_fraction_of_model:.1f} %, {state})"
