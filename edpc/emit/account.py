"""`edpc explain`: what fusion saved and where it was refused, modifiers put to the test, and what the totals depend on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from edpc.emit.document import Block, Column, Heading, Lines, Table, printable, sentences
from edpc.report import Report
from edpc.report.account import Account
from edpc.report.refused import RefusedFusion
from edpc.units import format_quantity

_CAUSES = {
    "dram_energy": "DRAM energy",
    "static_energy": "static energy",
    "launch_overhead": "launch overhead",
    "other": "other",
}


def to_json(accounts: Sequence[Account]) -> bytes:
    """One account as an object, several as a list; indented."""
    data = accounts[0].to_json() if len(accounts) == 1 else msgspec.json.encode(list(accounts))
    return msgspec.json.format(data, indent=1) + b"\n"


def account_blocks(account: Account, top: int | None) -> Iterator[Block]:
    """The account of one report as tables of at most `top` rows; all for None."""
    report = account.report
    yield Heading(printable(f"{report.model.name} on {report.target.name}, explained"))
    yield sentences("Findings", (finding.sentence for finding in report.findings))
    yield _saved(report, top)
    yield from _refused(account.refused, report, top)
    yield _modifiers(account)
    yield _elasticities(account)


def _saved(report: Report, top: int | None) -> Table:
    """What every subgraph saves by cause; the sum is the model's saving."""
    ordered = sorted(report.subgraphs, key=lambda s: -s.saved.edp_js)
    shown = [s for s in ordered if s.saved.edp_js][:top]
    whole = report.fusion.saved
    rows = [
        (
            name,
            what,
            pattern,
            *(format_quantity(getattr(saved.by_cause, cause), "J*s") for cause in _CAUSES),
            format_quantity(saved.edp_js, "J*s"),
            format_quantity(saved.dram_bytes, "B"),
            str(saved.dram_accesses),
            str(saved.launches),
        )
        for name, what, pattern, saved in (
            *((s.id, printable(s.name), s.fusion_pattern, s.saved) for s in shown),
            ("all", f"{len(ordered)} subgraphs", "", whole),
        )
    ]
    columns = (
        Column("id", number=False),
        Column("subgraph", number=False),
        Column("pattern", number=False, optional=True),
        *(Column(title) for title in _CAUSES.values()),
        Column("EDP saved"),
        Column("DRAM bytes", optional=True),
        Column("accesses", optional=True),
        Column("launches", optional=True),
    )
    return Table(f"What fusion saved, by cause (first {len(shown)} of {len(ordered)} subgraphs)", columns, tuple(rows))


def _refused(refused: Sequence[RefusedFusion], report: Report, top: int | None) -> Iterator[Block]:
    if not refused:
        yield Lines("Refused fusions", ("none: no rule stopped short of an operator",))
        return
    shown = refused[:top]
    names = {op.operator_id: op.source_name for op in report.operators}
    rows = tuple(
        (
            each.subgraph_id,
            each.rule,
            printable(names.get(each.operator, each.operator)),
            each.guard,
            _would_save(each, report),
            printable(each.impossible or each.reason),
        )
        for each in shown
    )
    columns = (
        Column("id", number=False),
        Column("rule", number=False),
        Column("stopped at", number=False),
        Column("guard", number=False),
        Column("would save"),
        Column("why, or what stands in the way without the guard", number=False, width=120),
    )
    yield Table(f"Refused fusions (first {len(shown)} of {len(refused)})", columns, rows)


def _would_save(each: RefusedFusion, report: Report) -> str:
    if each.edp_js is None:
        return "impossible"
    return f"{format_quantity(each.edp_js, 'J*s')} ({100 * each.edp_js / report.edp_js:+.2f} %)"


def _modifiers(account: Account) -> Table:
    rows = tuple(
        (
            printable(row.operator_type),
            "fused" if row.is_fused else "separate",
            str(row.count),
            f"{row.declared:.4g}",
            _figure(row.modelled),
            _figure(row.declared_dearer_alone),
            _figure(row.dearer_alone),
        )
        for row in account.modifiers
    )
    columns = (
        Column("type", number=False),
        Column("state", number=False),
        Column("count"),
        Column("declared"),
        Column("modelled"),
        Column("dearer alone, declared"),
        Column("dearer alone, modelled"),
    )
    return Table("Declared and modelled architectural modifiers", columns, rows)


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _elasticities(account: Account) -> Table:
    rows = tuple(
        (
            printable(e.constant),
            format_quantity(e.value, e.unit),
            e.basis,
            f"{e.energy:+.4f}",
            f"{e.latency:+.4f}",
            f"{e.edp:+.4f}",
        )
        for e in account.elasticities
    )
    columns = (
        Column("constant", number=False),
        Column("value"),
        Column("basis", number=False),
        Column("energy"),
        Column("latency"),
        Column("EDP"),
    )
    title = f"Elasticities: per cent by which totals change for one per cent more of a constant ({len(rows)} that matter)"
    return Table(title, columns, rows)
