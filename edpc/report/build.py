"""From an annotated graph to a report. Every sum is exact to the last bit (`math.fsum`), so that parts sum to the whole."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from operator import attrgetter
from pathlib import Path

import msgspec

from edpc.errors import UsageError, VerifyError
from edpc.ir import Cost, Estimate, Graph, Group, Kernel, Operator, Share, Work
from edpc.ir.collector import collector_paused
from edpc.operators import KINDS, VIEW, Family, of_family
from edpc.report.findings import findings_of
from edpc.report.fusion import Saving, execution, total_cost
from edpc.report.records import (
    Attribution,
    Coverage,
    ElasticityReport,
    EnergyByComponent,
    Execution,
    Interval,
    LatencyByComponent,
    Metric,
    Model,
    ModelInput,
    OperatorReport,
    Phase,
    Report,
    Serving,
    SubgraphReport,
    TargetReport,
    Totals,
    UnknownOperator,
)
from edpc.target import Target
from edpc.version import __version__

_ELASTICITIES = 12  # constants in the report; the rest hardly matters, and `edpc explain` lists it
_PARTS = 4  # operators named in a subgraph's name before it is cut short
_COST_FIELDS = tuple(field.name for field in fields(Cost))
_UNKNOWN = of_family(Family.UNKNOWN)
_components = attrgetter(*_COST_FIELDS)


@dataclass(frozen=True, slots=True)
class _Row:
    """An operator with its facts, which are all there."""

    name: str
    op: Operator
    work: Work
    cost: Cost
    separate: Kernel
    share: Share


def build_report(graph: Graph, target: Target, *, attribution: Attribution = "events", metric: Metric = "edp") -> Report:
    """The report of a graph that carries work, groups, costs and shares.

    Args:
        graph: annotated for `target`; kept with the report for the emitters that print it.
        target: the machine; kept likewise.
        attribution: the method that operators' `edp_js` follows.
        metric: what tables rank by.

    Raises:
        UsageError: the pipeline left a fact out that a report needs.
        VerifyError: a cost is not a finite number, or an operator stands in no group.
    """
    with collector_paused():
        return _built(graph, target, attribution, metric)


def _built(graph: Graph, target: Target, attribution: Attribution, metric: Metric) -> Report:
    estimate = graph.estimate
    if estimate is None:
        raise UsageError("the pipeline leaves no costs on the graph; a report needs annotate-cost and attribute-edp")
    rows = {group.name: [_row(graph, member) for member in group.members] for group in graph.groups}
    ordered = [row for members in rows.values() for row in members]
    covered = {row.name for row in ordered}
    for name in graph.compute_order():
        if name not in covered:
            raise VerifyError(f"operator %{name} of @{graph.name} stands in no group, so its cost would be lost")
    total = total_cost(row.cost for row in ordered)
    apart = total_cost(row.separate.cost for row in ordered)
    kernels = [_kernel(group) for group in graph.groups]
    saving = Saving(execution(total, kernels), execution(apart, (row.separate for row in ordered)))
    subgraphs = tuple(
        _subgraph(group, kernel, rows[group.name], total, saving) for group, kernel in zip(graph.groups, kernels, strict=True)
    )
    fused = saving.fused
    report = Report(
        schema="edpc/report-v1",
        edpc_version=__version__,
        attribution=attribution,
        metric=metric,
        model=_model(graph, ordered),
        target=TargetReport(target.name, target.architecture, estimate.precision, graph.info.batch),
        totals=_totals(total, fused, estimate),
        serving=_serving(graph, fused),
        subgraphs=subgraphs,
        operators=tuple(
            operator
            for members, subgraph in zip(rows.values(), subgraphs, strict=True)
            for operator in _operators(members, subgraph, attribution, fused.edp_js)
        ),
        fusion=saving.of_model(total, apart),
        coverage=_coverage(graph, target, estimate, ordered),
        findings=(),
        elasticities=elasticities_of(estimate, target)[:_ELASTICITIES],
    )
    report = msgspec.structs.replace(report, findings=findings_of(report, target))
    report.__dict__.update(graph=graph, machine=target)
    return report


def elasticities_of(estimate: Estimate, target: Target) -> tuple[ElasticityReport, ...]:
    """The elasticities of an estimate to the constants of its target that it depends on, the EDP's largest first."""
    known = target.quantities()
    found = [e for e in estimate.elasticities if e.energy or e.latency]
    return tuple(
        ElasticityReport(e.constant, known[e.constant].value, known[e.constant].unit, e.basis, e.energy, e.latency, e.edp)
        for e in sorted(found, key=lambda e: -abs(e.edp))
    )


def _row(graph: Graph, name: str) -> _Row:
    op = graph.op(name)
    if op.work is None or op.cost is None or op.separate is None or op.share is None:
        needed = "annotate-operators, annotate-cost and attribute-edp"
        raise UsageError(f"the pipeline leaves operator %{name} without work, cost or share; a report needs {needed}")
    if not all(map(math.isfinite, _components(op.cost))):
        raise VerifyError(f"the cost of operator %{name} is not finite: {op.cost}")
    return _Row(name, op, op.work, op.cost, op.separate, op.share)


def _kernel(group: Group) -> Kernel:
    if group.kernel is None:
        raise UsageError(f"the pipeline leaves group {group.name} without a cost; a report needs annotate-cost")
    return group.kernel


def _over(part: float, whole: float) -> float:
    """A fraction, zero where the whole is."""
    return part / whole if whole else 0.0


def _is_view(op: Operator) -> bool:
    return op.kind in VIEW


def _source_name(row: _Row) -> str:
    """What the model calls the operator, as text that can be encoded."""
    name = row.op.location.source_name if row.op.location and row.op.location.source_name else row.name
    return _clean(name)


def _clean(name: str) -> str:
    return name if name.isascii() else name.encode("utf-8", "backslashreplace").decode("utf-8")


def _subgraph_name(rows: Sequence[_Row]) -> str:
    """The operator that does most by the model's own name, the others by kind, in order: `layer1.0.conv1 + batch_norm + relu`."""
    shown = [row for row in rows if not _is_view(row.op)] or list(rows)
    anchor = max(shown, key=lambda row: (row.work.flops, sum(row.work.reads) + sum(row.work.writes)))
    parts = [_source_name(row) if row is anchor else row.op.kind for row in shown]
    if len(parts) > _PARTS:
        start = min(parts.index(_source_name(anchor)), len(parts) - _PARTS)
        kept = parts[start : start + _PARTS]
        return " + ".join([*kept, f"{len(parts) - _PARTS} more"])
    return " + ".join(parts)


def _subgraph(group: Group, kernel: Kernel, rows: Sequence[_Row], total: Cost, saving: Saving) -> SubgraphReport:
    cost = total_cost(row.cost for row in rows)
    energy, latency = cost.energy_j, cost.latency_s
    edp = (energy * total.latency_s + latency * total.energy_j) / 2
    # The share splits like the energy; a part that takes time but no energy splits like its time.
    if energy:
        parts = (cost.compute_j, cost.on_chip_j + cost.dram_j, cost.static_j, cost.overhead_j)
    else:
        parts = (cost.compute_s, cost.memory_s, 0.0, cost.overhead_s)
    compute_edp, memory_edp, static_edp, overhead_edp = (edp * _over(part, math.fsum(parts)) for part in parts)
    flops = sum(row.work.flops for row in rows)
    return SubgraphReport(
        id=_clean(group.name),
        name=_subgraph_name(rows),
        fusion_pattern=group.rule,
        num_operators=len(rows),
        operators=tuple(_clean(row.name) for row in rows),
        energy_j=energy,
        latency_s=latency,
        standalone_edp_js=energy * latency,
        edp_js=edp,
        edp_fraction=_over(edp, total.energy_j * total.latency_s),
        energy_fraction=_over(energy, total.energy_j),
        latency_fraction=_over(latency, total.latency_s),
        compute_edp=compute_edp,
        memory_edp=memory_edp,
        static_edp=static_edp,
        overhead_edp=overhead_edp,
        bottleneck=kernel.bound,
        arithmetic_intensity=flops / cost.dram_bytes if cost.dram_bytes else None,
        utilization=kernel.utilization,
        saved=saving.of_part(cost, kernel, [row.separate for row in rows]),
        notes=tuple(map(_clean, kernel.notes)),
    )


def _is_fused(rows: Sequence[_Row]) -> bool:
    """Whether more than one operator that is no view runs in the kernel."""
    return len(rows) > 1 and sum(not _is_view(row.op) for row in rows) > 1


def _operators(
    rows: Sequence[_Row], subgraph: SubgraphReport, attribution: Attribution, edp_js: float
) -> Iterator[OperatorReport]:
    is_fused = _is_fused(rows)
    for row in rows:
        yield _operator(row, subgraph, is_fused, attribution, edp_js)


def _operator(row: _Row, subgraph: SubgraphReport, is_fused: bool, attribution: Attribution, edp_js: float) -> OperatorReport:
    share = row.share
    charged: float = getattr(share, attribution)
    return OperatorReport(
        operator_id=_clean(row.name),
        operator_type=_operator_type(row.op),
        source_name=_source_name(row),
        module_path=_clean(row.op.location.module_path) if row.op.location else "",
        subgraph_id=subgraph.id,
        flops=row.work.flops,
        macs=row.work.macs,
        bytes_read=sum(row.work.reads),
        bytes_written=sum(row.work.writes),
        energy_j=row.cost.energy_j,
        latency_s=row.cost.latency_s,
        edp_js=charged,
        event_edp=share.events,
        base_edp=share.flops,
        architectural_modifier=share.modifier,
        modelled_modifier=share.events / share.flops if share.flops else None,
        architectural_edp=share.modifiers,
        edp_fraction_of_subgraph=_over(charged, subgraph.edp_js),
        edp_fraction_of_model=_over(charged, edp_js),
        is_fused=is_fused,
        fusion_benefit=share.fusion_benefit if is_fused else None,
    )


def _operator_type(op: Operator) -> str:
    """The kind, or what the model calls an operator that edpc does not know."""
    if _is_known(op) or op.location is None or not op.location.source_type:
        return op.kind
    return _clean(op.location.source_type)


def _is_known(op: Operator) -> bool:
    return op.kind in KINDS and op.kind not in _UNKNOWN


def _model(graph: Graph, rows: Sequence[_Row]) -> Model:
    return Model(
        name=_clean(_model_name(graph)),
        format=graph.info.format,
        inputs=tuple(_inputs(graph)),
        num_operators=len(rows),
        flops=sum(row.work.flops for row in rows),
        macs=sum(row.work.macs for row in rows),
        parameters=graph.info.parameters,
    )


def _model_name(graph: Graph) -> str:
    """The file's name, which tells networks apart better than an exporter's `main_graph`; the graph's where there is no file.

    A configuration is called `config.json` in the folder that has the network's name.
    """
    source = graph.info.source
    if graph.info.format == "hf" and Path(source).stem == "config":
        return Path(source).parent.name or graph.name
    return Path(source).stem if source and not source.startswith("<") else graph.name


def _inputs(graph: Graph) -> Iterator[ModelInput]:
    for name in graph.dag:
        op = graph.op(name)
        if op.kind == "input":
            source = op.location.source_name if op.location and op.location.source_name else name
            yield ModelInput(_clean(source), op.outputs[0].shape, op.outputs[0].dtype)


def _totals(total: Cost, fused: Execution, estimate: Estimate) -> Totals:
    return Totals(
        energy_j=fused.energy_j,
        latency_s=fused.latency_s,
        edp_js=fused.edp_js,
        average_power_w=_over(fused.energy_j, fused.latency_s),
        dram_bytes=total.dram_bytes,
        dram_accesses=fused.dram_accesses,
        launches=fused.launches,
        energy_by_component=EnergyByComponent(total.compute_j, total.on_chip_j, total.dram_j, total.static_j, total.overhead_j),
        latency_by_component=LatencyByComponent(total.compute_s, total.memory_s, total.overhead_s),
        interval=Interval(
            _around(estimate.energy_j, fused.energy_j),
            _around(estimate.latency_s, fused.latency_s),
            _around(estimate.edp_js, fused.edp_js),
        ),
        assumed_fraction=estimate.assumed_fraction,
    )


def _serving(graph: Graph, fused: Execution) -> Serving | None:
    """What a token costs; None where the network generates no text."""
    phase, tokens = graph.info.phase, graph.info.tokens
    if phase not in ("prefill", "decode") or tokens <= 0:
        return None
    named: Phase = "prefill" if phase == "prefill" else "decode"
    return Serving(named, graph.info.past, tokens, fused.energy_j / tokens, fused.latency_s / tokens)


def _around(interval: tuple[float, float], value: float) -> tuple[float, float]:
    """The interval, which holds the value also where the two were summed in another order."""
    return min(interval[0], value), max(interval[1], value)


def _coverage(graph: Graph, target: Target, estimate: Estimate, rows: Sequence[_Row]) -> Coverage:
    unknown = Counter(_operator_type(row.op) for row in rows if not _is_known(row.op))
    inexact = sum(_is_known(row.op) and not row.work.exact for row in rows)
    notes = [*graph.info.notes, *estimate.notes, *target.notes]
    if inexact:
        notes.append(f"{inexact} operators have a dimension that depends on data; it was counted as one")
    return Coverage(
        operators_total=len(rows),
        operators_modelled=sum(_is_known(row.op) and row.work.exact for row in rows),
        unknown=tuple(UnknownOperator(name.rpartition(".")[2], n, name.rpartition(".")[0]) for name, n in unknown.items()),
        notes=tuple(_clean(note) for note in dict.fromkeys(notes)),
    )
