"""The report for people: what the numbers are, where they go, and how far to trust them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from edpc.emit import EmitOptions
from edpc.emit.comparison import comparison_blocks
from edpc.emit.document import Block, Column, Heading, Lines, Table, printable, sentences, to_text
from edpc.emit.modules import module_blocks
from edpc.emit.ranking import Ranked, counts, rank
from edpc.operators import VIEW
from edpc.report import Execution, OperatorReport, Report, Serving, SubgraphReport
from edpc.report.records import TITLES
from edpc.units import format_quantity

_OPERATORS_SHOWN = 12  # operators listed inside one subgraph before the rest is summed up
_NOTES_SHOWN = 12


def emit(reports: Sequence[Report], options: EmitOptions) -> bytes:
    """The reports as plain text, the comparison first where there are several."""
    return to_text(document(reports, options)).encode()


def document(reports: Sequence[Report], options: EmitOptions) -> list[Block]:
    """The reports as a document."""
    blocks = list(comparison_blocks(reports, options)) if len(reports) > 1 else []
    for report in reports:
        blocks += _report(report, options)
    return blocks


def percent(fraction: float) -> str:
    """A fraction in per cent with one decimal."""
    return f"{100 * fraction:.1f} %"


def number(count: int, what: str, ending: str = "s") -> str:
    """So many of them, in the plural where they are not one."""
    return f"{count} {what}{'' if count == 1 else ending}"


def _report(report: Report, options: EmitOptions) -> Iterator[Block]:
    target, top = report.target, options.top
    yield Heading(printable(f"{report.model.name} on {target.name}"))
    yield Lines("", tuple(_summary(report)))
    yield from _totals(report)
    if report.serving is not None:
        yield Lines("Per token", tuple(_serving(report.serving)))
    if report.findings:
        yield sentences("Findings", (finding.sentence for finding in report.findings))
    if options.depth is not None:
        yield from module_blocks(report, options.depth)
    ranked = rank(report)
    yield _subgraphs(report, ranked, top)
    yield _components(report)
    if report.subgraphs:
        alone = sum(s.standalone_edp_js for s in report.subgraphs) / report.edp_js if report.edp_js else 0.0
        yield Lines(
            "", (f"  standalone products E_i*T_i of the subgraphs sum to {percent(alone)} of E*T; the rest is cross terms",)
        )
    by_id = {operator.operator_id: operator for operator in report.operators}
    yield _operators([r.subgraph for r in ranked[:top]], by_id)
    yield _operator_types(report)
    yield from _fusion(report)
    yield Lines("How sure", tuple(_provenance(report)))


def _summary(report: Report) -> Iterator[str]:
    model, target, coverage = report.model, report.target, report.coverage
    yield f"{target.architecture} machine, {target.precision}, batch {target.batch}; model read as {model.format}"
    inputs = ", ".join(f"{i.name} {i.dtype}[{_shape(i.shape)}]" for i in model.inputs)
    yield printable(f"inputs: {inputs or 'none'}")
    views = sum(op.operator_type in VIEW for op in report.operators)
    counted = number(model.num_operators - views, "operator") + (f" and {number(views, 'view')}" if views else "")
    size = f"{counted} in {number(len(report.subgraphs), 'subgraph')}"
    flops, macs = format_quantity(model.flops, "FLOP"), format_quantity(model.macs, "")
    yield f"{size}, {flops} ({macs} MACs), {format_quantity(model.parameters, '')} parameters"
    line = f"coverage: {coverage.operators_modelled} of {coverage.operators_total} operators modelled"
    if coverage.unknown:
        listed = ", ".join(f"{u.count} x {u.domain + '.' if u.domain else ''}{u.operator_type}" for u in coverage.unknown)
        line += f"; unknown and counted as data movement: {listed}"
    yield printable(line)


def _serving(serving: Serving) -> Iterator[str]:
    is_prompt = serving.phase == "prefill"
    kind, does = ("prompt token", "reads") if is_prompt else ("generated token", "adds")
    energy, latency = format_quantity(serving.energy_j_per_token, "J"), format_quantity(serving.latency_s_per_token, "s")
    yield f"{energy} and {latency} per {kind}"
    after = f" after {number(serving.past, 'token')} of each sequence" if serving.past else ""
    yield f"a run {does} {number(serving.tokens, 'token')} of the whole batch{after}"


def _shape(shape: tuple[int | None, ...] | None) -> str:
    return "*" if shape is None else ",".join("?" if d is None else str(d) for d in shape)


def _totals(report: Report) -> Iterator[Block]:
    totals = report.totals
    rows = tuple(
        (what, format_quantity(value, unit), f"{format_quantity(low, unit)} to {format_quantity(high, unit)}")
        for what, value, unit, (low, high) in (
            ("energy", totals.energy_j, "J", totals.interval.energy_j),
            ("latency", totals.latency_s, "s", totals.interval.latency_s),
            ("energy-delay product", totals.edp_js, "J*s", totals.interval.edp_js),
        )
    )
    yield Table("Totals", (Column("", number=False), Column("value"), Column("90 % interval", number=False)), rows)
    traffic = f"{format_quantity(totals.dram_bytes, 'B')} of DRAM traffic, {totals.dram_accesses} DRAM tensor accesses"
    power = format_quantity(totals.average_power_w, "W")
    yield Lines("", (f"  {power} on average, {traffic}, {number(totals.launches, 'launch', 'es')}",))


def _components(report: Report) -> Table:
    energy, latency = report.totals.energy_by_component, report.totals.latency_by_component
    by_name = (
        ("compute", energy.compute, latency.compute),
        ("on-chip memory", energy.on_chip, None),
        ("DRAM", energy.dram, None),
        ("memory", None, latency.memory),
        ("static", energy.static, None),
        ("overhead", energy.overhead, latency.overhead),
    )
    rows = (
        (name, *_part(joules, "J", report.energy_j), *_part(seconds, "s", report.latency_s)) for name, joules, seconds in by_name
    )
    columns = (Column("component", number=False), Column("energy"), Column("share"), Column("latency"), Column("share"))
    return Table("Energy and latency by component", columns, tuple(rows))


def _part(value: float | None, unit: str, whole: float) -> tuple[str, str]:
    if value is None:
        return "", ""
    return format_quantity(value, unit), percent(value / whole if whole else 0.0)


def _subgraphs(report: Report, ranked: Sequence[Ranked], top: int | None) -> Table:
    metric = TITLES[report.metric]
    shown = ranked[:top]
    makes = ", ".join(f"{n} make {level} %" for level, n in counts(ranked).items())
    title = f"Subgraphs by {metric} share (first {len(shown)} of {len(ranked)}; {makes})" if ranked else "No subgraphs"
    rows = tuple(
        (
            str(place),
            s.id,
            printable(s.name),
            s.fusion_pattern,
            str(s.num_operators),
            format_quantity(s.energy_j, "J"),
            format_quantity(s.latency_s, "s"),
            format_quantity(s.edp_js, "J*s"),
            percent(r.share),
            percent(r.cumulative),
            s.bottleneck,
            percent(s.utilization),
        )
        for place, r in enumerate(shown, 1)
        for s in (r.subgraph,)
    )
    columns = (
        Column("#"),
        Column("id", number=False),
        Column("name", number=False),
        Column("pattern", number=False),
        Column("ops", optional=True),
        Column("energy", optional=True),
        Column("latency", optional=True),
        Column("EDP"),
        Column(f"{metric} share"),
        Column("cumulative"),
        Column("bound by", number=False, optional=True),
        Column("utilization", optional=True),
    )
    return Table(title, columns, rows)


def _operators(subgraphs: Iterable[SubgraphReport], by_id: dict[str, OperatorReport]) -> Table:
    rows: list[tuple[str, ...]] = []
    for subgraph in subgraphs:
        members = sorted((by_id[name] for name in subgraph.operators), key=lambda op: -op.edp_js)
        rows += [_operator_row(op) for op in members[:_OPERATORS_SHOWN]]
        if rest := members[_OPERATORS_SHOWN:]:
            shares = (sum(getattr(op, f"edp_fraction_of_{whole}") for op in rest) for whole in ("subgraph", "model"))
            total = format_quantity(sum(op.edp_js for op in rest), "J*s")
            rows.append((subgraph.id, f"{len(rest)} more", "", "", "", "", "", total, *map(percent, shares), ""))
    columns = (
        Column("id", number=False),
        Column("operator", number=False),
        Column("type", number=False),
        Column("base EDP", optional=True),
        Column("declared"),
        Column("modelled"),
        Column("arch. EDP", optional=True),
        Column("EDP"),
        Column("of subgraph"),
        Column("of model"),
        Column("saved by fusion", optional=True),
    )
    title = "Operators inside these subgraphs (declared and modelled architectural modifier)"
    return Table(title, columns, tuple(rows))


def _operator_row(op: OperatorReport) -> tuple[str, ...]:
    return (
        op.subgraph_id,
        printable(op.source_name),
        printable(op.operator_type),
        format_quantity(op.base_edp, "J*s"),
        f"{op.architectural_modifier:.4g}",
        "-" if op.modelled_modifier is None else f"{op.modelled_modifier:.4g}",
        format_quantity(op.architectural_edp, "J*s"),
        format_quantity(op.edp_js, "J*s"),
        percent(op.edp_fraction_of_subgraph),
        percent(op.edp_fraction_of_model),
        "-" if op.fusion_benefit is None else format_quantity(op.fusion_benefit, "J*s"),
    )


def _operator_types(report: Report) -> Table:
    by_type: dict[str, list[OperatorReport]] = {}
    for operator in report.operators:
        by_type.setdefault(operator.operator_type, []).append(operator)
    ordered = sorted(by_type.items(), key=lambda item: -sum(op.edp_js for op in item[1]))
    rows = tuple(
        (
            printable(kind),
            str(len(ops)),
            str(sum(op.is_fused for op in ops)),
            format_quantity(sum(op.flops for op in ops), "FLOP"),
            format_quantity(sum(op.energy_j for op in ops), "J"),
            format_quantity(sum(op.latency_s for op in ops), "s"),
            format_quantity(sum(op.edp_js for op in ops), "J*s"),
            percent(sum(op.edp_fraction_of_model for op in ops)),
        )
        for kind, ops in ordered
    )
    columns = (
        Column("type", number=False),
        Column("count"),
        Column("fused", optional=True),
        Column("FLOPs", optional=True),
        Column("energy", optional=True),
        Column("latency", optional=True),
        Column("EDP"),
        Column("share"),
    )
    return Table("Operator types", columns, rows)


def _fusion(report: Report) -> Iterator[Block]:
    fusion = report.fusion
    fields = (
        ("energy", "energy_j", "J"),
        ("latency", "latency_s", "s"),
        ("EDP", "edp_js", "J*s"),
        ("DRAM tensor accesses", "dram_accesses", None),
        ("launches", "launches", None),
    )
    rows = tuple(_against(what, field, unit, fusion.separate, fusion.fused) for what, field, unit in fields)
    columns = (Column("", number=False), Column("separate"), Column("fused"), Column("saved"), Column("of separate"))
    yield Table("Fused against separate kernels", columns, rows)
    cause = fusion.saved.by_cause
    parts = (
        ("DRAM energy", cause.dram_energy),
        ("static energy", cause.static_energy),
        ("launch overhead", cause.launch_overhead),
        ("other", cause.other),
    )
    listed = ", ".join(f"{name} {format_quantity(value, 'J*s')}" for name, value in parts)
    yield Lines("", (f"  EDP saved by cause: {listed}",))


def _against(what: str, field: str, unit: str | None, separate: Execution, fused: Execution) -> tuple[str, ...]:
    before, after = getattr(separate, field), getattr(fused, field)
    figures = (str(v) if unit is None else format_quantity(v, unit) for v in (before, after, before - after))
    return (what, *figures, percent((before - after) / before if before else 0.0))


def _provenance(report: Report) -> Iterator[str]:
    yield f"{percent(report.totals.assumed_fraction)} of the EDP's sensitivity rests on constants marked as assumed"
    yield f"edpc {report.edpc_version}, attribution by {report.attribution}"
    yield printable(f"every constant with its source: edpc targets {report.target.name}")
    notes = report.coverage.notes
    yield from (printable(f"note: {note}") for note in notes[:_NOTES_SHOWN])
    if len(notes) > _NOTES_SHOWN:
        yield f"{len(notes) - _NOTES_SHOWN} more notes in the JSON"
