"""What changed between two reports, as tables for people."""

from __future__ import annotations

from collections.abc import Iterator

from edpc.emit.document import Block, Column, Heading, Lines, Table, printable
from edpc.report.difference import Difference, OperatorChange, Side
from edpc.units import format_quantity

_UNITS = {"edp": "J*s", "energy": "J", "latency": "s", "ed2p": "J*s^2", "power": "W", "dram-bytes": "B", "flops": "FLOP"}


def difference_blocks(difference: Difference, top: int | None) -> Iterator[Block]:
    """The totals, the first operator that differs, and the operators that contribute most to the change."""
    yield Heading(printable(f"{_side(difference.a)} -> {_side(difference.b)}"))
    if difference.is_empty:
        yield Lines("", ("no difference",))
        return
    yield _totals(difference)
    changed = [op for op in difference.operators if op.status != "unchanged" or op.is_regrouped]
    if difference.first is not None:
        yield Lines("", (printable(_first(difference.operators[difference.first])),))
    if changed:
        yield _operators(difference, changed, top)


def signed(value: float, unit: str) -> str:
    """A change with its sign."""
    return f"{'+' if value > 0 else ''}{format_quantity(value, unit)}"


def _side(side: Side) -> str:
    return f"{side.model} on {side.target} ({side.precision}, batch {side.batch})"


def _totals(difference: Difference) -> Table:
    rows = tuple(
        (
            change.metric,
            _figure(change.metric, change.a),
            _figure(change.metric, change.b),
            "new" if change.relative is None else f"{100 * change.relative:+.2f} %",
        )
        for change in difference.metrics
    )
    return Table("Totals", (Column("metric", number=False), Column("before"), Column("after"), Column("change")), rows)


def _figure(metric: str, value: float) -> str:
    unit = _UNITS.get(metric)
    return format_quantity(value, unit) if unit else f"{value:,.0f}"


def _first(op: OperatorChange) -> str:
    """The first difference in the order of execution: what follows may only be its consequence."""
    if op.a is None or op.b is None:
        return f"first difference in the order of execution: {op.name} ({op.operator_type}) was {op.status}"
    grown = [
        f"{what} {before:,} -> {after:,}"
        for what, before, after in (
            ("MACs", op.a.macs, op.b.macs),
            ("FLOPs", op.a.flops, op.b.flops),
            ("bytes read", op.a.bytes_read, op.b.bytes_read),
            ("bytes written", op.a.bytes_written, op.b.bytes_written),
        )
        if before != after
    ]
    said = ", ".join(grown) or ("it runs with other operators" if op.is_regrouped else "same work, other cost")
    return f"first difference in the order of execution: {op.name} ({op.operator_type}): {said}"


def _operators(difference: Difference, changed: list[OperatorChange], top: int | None) -> Table:
    """By contribution to the change of the EDP; where that is equal, by the order of execution."""
    whole = difference.b.edp_js - difference.a.edp_js
    shown = sorted(changed, key=lambda op: -abs(op.edp_js))[:top]
    rows = tuple(
        (
            printable(op.name),
            printable(op.operator_type),
            op.status + (", regrouped" if op.is_regrouped else ""),
            signed(op.energy_j, "J"),
            signed(op.latency_s, "s"),
            signed(op.edp_js, "J*s"),
            f"{100 * op.edp_js / whole:.1f} %" if whole else "-",
        )
        for op in shown
    )
    columns = (
        Column("operator", number=False),
        Column("type", number=False),
        Column("status", number=False),
        Column("energy"),
        Column("latency"),
        Column("EDP"),
        Column("of the change"),
    )
    rest = len(difference.operators) - len(changed)
    title = f"What changed (first {len(rows)} of {len(changed)}; {rest} operators are the same)"
    return Table(title, columns, rows)
