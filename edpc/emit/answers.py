"""The four questions a reader comes with, answered from the figures of the report: what, why, fusion, how sure."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from edpc.emit.charts import metric_title
from edpc.emit.document import printable, shorten
from edpc.emit.ranking import counts, rank
from edpc.emit.text import number, percent
from edpc.report import Comparison, Report
from edpc.units import format_quantity

_NAME = 60


class Answer(NamedTuple):
    """A question, the figure that answers it, and the sentence around it."""

    question: str
    figure: str
    text: str


def answers(report: Report) -> list[Answer]:
    """What dominates, why on this machine, what fusion saved and how sure that is; empty for a network that does nothing."""
    if not report.edp_js:
        return []
    return [_dominates(report), _why(report), _fusion(report), _sure(report)]


def _dominates(report: Report) -> Answer:
    """Shares of the ranked subgraphs, and the operator type with the largest sum of operators' shares."""
    ranked = rank(report)
    half = counts(ranked)[50]
    types: dict[str, float] = {}
    for operator in report.operators:
        types[operator.operator_type] = types.get(operator.operator_type, 0.0) + operator.edp_fraction_of_model
    kind, share = max(types.items(), key=lambda item: item[1])
    first = ranked[0]
    metric = metric_title(report)
    name = shorten(printable(first.subgraph.name), _NAME)
    return Answer(
        "What dominates?",
        f"{printable(kind)} operators take {percent(share)} of the EDP",
        f"{half} of {number(len(ranked), 'subgraph')} make half of the {metric}; the first, "
        f"{printable(first.subgraph.id)} {name}, takes {percent(first.share)}.",
    )


def _why(report: Report) -> Answer:
    """The largest components of the totals, and what binds most of the subgraphs' time."""
    totals = report.totals
    energy = {
        "arithmetic": totals.energy_by_component.compute,
        "on-chip memory": totals.energy_by_component.on_chip,
        "DRAM": totals.energy_by_component.dram,
        "static power": totals.energy_by_component.static,
        "overhead": totals.energy_by_component.overhead,
    }
    latency = {
        "arithmetic": totals.latency_by_component.compute,
        "memory traffic": totals.latency_by_component.memory,
        "overhead": totals.latency_by_component.overhead,
    }
    slow, dear = (max(parts, key=parts.__getitem__) for parts in (latency, energy))
    bound = Counter(subgraph.bottleneck for subgraph in report.subgraphs)
    listed = ", ".join(f"{count} by {name}" for name, count in bound.most_common() if name != "none")
    second = sorted(energy, key=lambda name: -energy[name])[1]
    time, joules = percent(latency[slow] / report.latency_s), percent(energy[dear] / report.energy_j)
    both = " and" if slow == dear else f", {dear}"
    return Answer(
        f"Why on {printable(report.target.name)}?",
        f"{slow} takes {time} of the time{both} {joules} of the energy",
        f"Subgraphs are bound {listed}. Next in energy is {second} with {percent(energy[second] / report.energy_j)}.",
    )


def _fusion(report: Report) -> Answer:
    """Separate minus fused, of the separate whole, and the largest cause."""
    fused, separate, saved = report.fusion.fused, report.fusion.separate, report.fusion.saved
    if fused.launches == separate.launches and not saved.edp_js:
        return Answer("What did fusion save?", "nothing: every operator runs as a kernel of its own", "")
    causes = {
        "less DRAM energy": saved.by_cause.dram_energy,
        "less static energy": saved.by_cause.static_energy,
        "fewer launches": saved.by_cause.launch_overhead,
        "other causes": saved.by_cause.other,
    }
    if saved.edp_js < 0:
        more = percent(-saved.edp_js / fused.edp_js)
        return Answer(
            "What did fusion save?", f"nothing: fused kernels take {more} of their EDP more than separate ones would", ""
        )
    first = max(causes, key=causes.__getitem__)
    part = f", most of it ({percent(causes[first] / saved.edp_js)}) by {first}" if saved.edp_js > 0 else ""
    return Answer(
        "What did fusion save?",
        f"{percent(saved.edp_js / separate.edp_js if separate.edp_js else 0.0)} of the EDP of separate kernels",
        f"{format_quantity(separate.edp_js, 'J*s')} became {format_quantity(fused.edp_js, 'J*s')}{part}. "
        f"DRAM tensor accesses went from {separate.dram_accesses} to {fused.dram_accesses}, "
        f"launches from {separate.launches} to {fused.launches}.",
    )


def _sure(report: Report) -> Answer:
    """The interval of the EDP, the assumed share of its sensitivity and the coverage."""
    low, high = report.totals.interval.edp_js
    coverage = report.coverage
    return Answer(
        "How sure is that?",
        f"EDP from {format_quantity(low, 'J*s')} to {format_quantity(high, 'J*s')} in 90 % of draws",
        f"{percent(report.totals.assumed_fraction)} of its sensitivity rests on constants marked as assumed; "
        f"{coverage.operators_modelled} of {number(coverage.operators_total, 'operator')} are modelled.",
    )


def findings(stated: Report | Comparison) -> list[str]:
    """The sentences that a report or a comparison itself states."""
    return [printable(each.sentence) for each in stated.findings]
