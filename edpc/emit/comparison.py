"""Several reports side by side: totals, and the operators that cost most, across targets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edpc.emit.document import Block, Column, Heading, Table, printable
from edpc.report import Report, build_comparison
from edpc.units import format_quantity


def comparison_blocks(reports: Sequence[Report], top: int | None) -> Iterator[Block]:
    """The totals of all reports, and operator by operator where they are of the same operators."""
    yield Heading("Comparison")
    yield _totals(reports)
    names = [tuple(op.operator_id for op in sorted(r.operators, key=lambda op: op.operator_id)) for r in reports]
    if names[0] and all(n == names[0] for n in names):
        yield _operators(reports, top)


def _totals(reports: Sequence[Report]) -> Table:
    comparison = build_comparison(reports)
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
            format_quantity(report.fusion.saved.edp_js, "J*s"),
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


def _operators(reports: Sequence[Report], top: int | None) -> Table:
    """Operators by the largest share they take on any target."""
    tables = [{op.operator_id: op for op in report.operators} for report in reports]
    largest = {name: max(table[name].edp_fraction_of_model for table in tables) for name in tables[0]}
    shown = sorted(largest, key=lambda name: -largest[name])[:top]
    rows = tuple(
        (
            printable(tables[0][name].source_name),
            printable(tables[0][name].operator_type),
            *(
                f"{format_quantity(op.edp_js, 'J*s')} ({100 * op.edp_fraction_of_model:.1f} %{', fused' if op.is_fused else ''})"
                for op in (table[name] for table in tables)
            ),
        )
        for name in shown
    )
    columns = (Column("operator", number=False), Column("type", number=False))
    targets = (Column(printable(f"{r.target.name} {r.target.precision}")) for r in reports)
    return Table(f"EDP of operators across targets (first {len(rows)} of {len(largest)})", (*columns, *targets), rows)
