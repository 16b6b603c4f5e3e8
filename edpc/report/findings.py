"""Findings: what a person should know first, in plain sentences, each computed from the report at hand and quantified.

A finding is a function of the report and its target that answers a sentence and the figures in it, or None where there is
nothing to say. They stand in the order in which they are told.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable

from edpc.machine.model import MODELS
from edpc.report.records import EXPONENTS, TITLES, Finding, Report, SubgraphReport
from edpc.target import Basis, Target
from edpc.units import format_quantity

_TOP = 3  # subgraphs spoken of together
_FASTER = 0.1  # how much less time the subgraphs are imagined to take
_WORTH_SAYING = 0.05  # a share below this is not worth a sentence
_MOSTLY = 0.3  # a share above this asks for an explanation
_NAME = 48  # characters of a subgraph's name
# What kernels' notes begin with or hold where power limits them, or where shapes do not fill tiles.
_POWER = "power-"
_PADS = " pads "
_CAUSES = {
    "dram_energy": "DRAM energy",
    "static_energy": "static energy (a shorter run leaks less)",
    "launch_overhead": "launches and set-up",
    "other": "the rest (arithmetic and memory time)",
}


def findings_of(report: Report, target: Target) -> tuple[Finding, ...]:
    """What is to be said of a report, most important first.

    Args:
        report: of a network on `target`; its own findings are not read.
        target: the machine, for its rates, powers and energies.
    """
    if report.edp_js <= 0.0:
        return ()
    found = (make(report, target) for make in _FINDINGS)
    return tuple(each for each in found if each is not None)


def _dominates(report: Report, target: Target) -> Finding | None:
    """Which type of operator and which subgraphs the metric goes to."""
    metric = TITLES[report.metric]
    by_type: Counter[str] = Counter()
    totals = report.totals
    for op in report.operators:
        by_type[op.operator_type] += _share(report, op.energy_j / totals.energy_j, op.latency_s / totals.latency_s)  # type: ignore[assignment]
    kind, of_kind = by_type.most_common(1)[0]
    count = sum(op.operator_type == kind for op in report.operators)
    top, alike = _top(report), _alike(report)
    share, repeated = (math.fsum(_share(report, s.energy_fraction, s.latency_fraction) for s in part) for part in (top, alike))
    figures: dict[str, float | str] = {"operator_type": kind, "type_fraction": of_kind, "first": top[0].id}
    figures |= {"top": len(top), "top_fraction": share, "alike": len(alike), "alike_fraction": repeated}
    sentence = f"{_many(count, f'{kind} operator')} {_verb(count, 'take')} {_percent(of_kind)} of the {metric}; "
    total = _many(len(report.subgraphs), "subgraph")
    if len(alike) > len(top) and repeated > share:
        sentence += f"{len(alike)} of {total}, all like {_short(alike[0])}, take {_percent(repeated)}."
    else:
        sentence += f"the top {len(top)} of {total} {_verb(len(top), 'take')} {_percent(share)}, first {_short(top[0])}."
    return Finding("dominates", sentence, figures)


def _faster(report: Report, target: Target) -> Finding | None:
    """What less time in the top subgraphs would do: the static energy of that time goes with it."""
    top = _top(report)
    seconds = _FASTER * math.fsum(s.latency_s for s in top)
    joules = seconds * target.static_power.value
    a, b = EXPONENTS[report.metric]
    lowered = 1.0 - (1.0 - joules / report.energy_j) ** a * (1.0 - seconds / report.latency_s) ** b
    which = "the top subgraph" if len(top) == 1 else f"the top {len(top)} subgraphs"
    sentence = f"{_percent(_FASTER, 0)} less latency in {which} lowers the {TITLES[report.metric]} by {_percent(lowered)}."
    return Finding("faster", sentence, {"top": len(top), "latency_reduction": _FASTER, "reduction": lowered})


def _bound(report: Report, target: Target) -> Finding | None:
    """What the time goes to, and how busy the arithmetic is."""
    latency = report.totals.latency_by_component
    parts = {"compute": latency.compute, "memory": latency.memory, "overhead": latency.overhead}
    what = max(parts, key=parts.__getitem__)
    share = parts[what] / report.latency_s
    busy = math.fsum(s.utilization * s.latency_s for s in report.subgraphs) / report.latency_s
    said = {
        "compute": f"Arithmetic binds {_percent(share)} of the time, at {_percent(busy)} of the units' peak rate on average",
        "memory": f"Memory traffic binds {_percent(share)} of the time; the units run at {_percent(busy)} of their peak rate",
        "overhead": f"Launches and set-up take {_percent(share)} of the time, more than arithmetic and memory traffic",
    }[what]
    if what == "compute" and busy < _MOSTLY:
        said += ": shapes that do not fill the machine, not its peak, set the pace"
    return Finding("bound", f"{said}.", {"bound": what, "latency_fraction": share, "utilization": busy})


def _energy(report: Report, target: Target) -> Finding | None:
    """What the energy goes to; where that is static power, how much of it is an identity of the machine."""
    energy = report.totals.energy_by_component
    named = {
        "static power": energy.static,
        "arithmetic": energy.compute,
        "DRAM traffic": energy.dram,
        "on-chip traffic": energy.on_chip,
        _overhead_energy(target): energy.overhead,
    }
    what = max(named, key=named.__getitem__)
    share = named[what] / report.energy_j
    sentence = f"{what[0].upper()}{what[1:]} takes {_percent(share)} of the energy"
    figures: dict[str, float | str] = {"component": what, "energy_fraction": share}
    if what == "static power":
        power = target.static_power.value
        figures["watts"] = power
        sentence += f": {format_quantity(power, 'W')} for {format_quantity(report.latency_s, 's')}, whatever is computed"
        if report.totals.latency_by_component.memory >= _MOSTLY * report.latency_s:
            memory = next(m for m in target.memories if m.role == "dram")
            identity = power / (power + memory.bandwidth.value * memory.read_energy.value)
            figures["memory_bound_identity"] = identity
            sentence += (
                "; in work that DRAM binds its share is an identity of the machine, no discovery: "
                f"P_static/(P_static + bandwidth * energy per byte) = {_percent(identity)}"
            )
    return Finding("energy", f"{sentence}.", figures)


def _overhead_energy(target: Target) -> str:
    """What overhead energy is spent on, as the machine's cost model has it."""
    model = MODELS.get(target.architecture)
    return "power that clocked units draw while kernels run" if model and model.overhead_is_power else "launching kernels"


def _fusion(report: Report, target: Target) -> Finding | None:
    """What fusing saved, and by which cause."""
    fusion = report.fusion
    before, after, saved = fusion.separate, fusion.fused, fusion.saved
    groups = sum(len(s.operators) > 1 and s.fusion_pattern != "separate" for s in report.subgraphs)
    if not groups or before.edp_js <= 0.0:
        sentence = (
            f"Nothing is fused: {_many(after.launches, 'launch', 'es')}, {_many(after.dram_accesses, 'DRAM access', 'es')}."
        )
        return Finding("fusion", sentence, {"subgraphs": 0, "edp_reduction": 0.0})
    share = saved.edp_js / before.edp_js
    figures: dict[str, float | str] = {"subgraphs": groups, "edp_reduction": share}
    sentence = (
        f"Fusion {'lowers' if share >= 0.0 else 'raises'} the EDP by {_percent(abs(share))} ({before.edp_js / after.edp_js:.3g} "
        f"times less than separate kernels): {before.launches} launches become {after.launches}, "
        f"{before.dram_accesses} DRAM tensor accesses {after.dram_accesses}"
    )
    if share < 0.0:
        sentence = f"Fusion raises the EDP by {_percent(-share)}: the fused kernels are slower than their operators alone"
    elif saved.edp_js > 0.0:
        causes = {name: getattr(saved.by_cause, name) / saved.edp_js for name in _CAUSES}
        most = max(causes, key=causes.__getitem__)
        figures |= {"cause": most, "cause_fraction": causes[most]}
        sentence += f"; {_percent(causes[most])} of the saving is {_CAUSES[most]}"
    return Finding("fusion", f"{sentence}.", figures)


def _overhead(report: Report, target: Target) -> Finding | None:
    """How much of the time is launches, where that is much and not said already."""
    latency = report.totals.latency_by_component
    share = latency.overhead / report.latency_s
    if share < _WORTH_SAYING or latency.overhead >= max(latency.compute, latency.memory):
        return None
    launches = report.totals.launches
    each = latency.overhead / launches if launches else latency.overhead
    counted = f"{_many(launches, 'launch', 'es')} of {format_quantity(each, 's')}"
    sentence = f"Launches and set-up take {_percent(share)} of the time: {counted}"
    figures: dict[str, float | str] = {"latency_fraction": share, "launches": launches, "seconds_each": each}
    if "launch" in target.settings:
        figures["launch"] = target.setting("launch")
        sentence += f", with launch={figures['launch']}"
    return Finding("overhead", f"{sentence}.", figures)


def _precision(report: Report, target: Target) -> Finding | None:
    """That a narrower format would run much faster, where arithmetic is a good part of the time."""
    served = target.precisions.get(report.target.precision)
    share = report.totals.latency_by_component.compute / report.latency_s
    matrix = next((unit for unit in target.units if unit.name == "matrix"), None)
    if served is None or matrix is None or served.compute not in matrix.rate or share < _MOSTLY:
        return None
    offered = {p.compute for p in target.precisions.values()} & matrix.rate.keys()
    best = max(sorted(offered), key=lambda name: matrix.rate[name].value)
    times = matrix.rate[best].value / matrix.rate[served.compute].value
    if times < 1.5:
        return None
    sentence = (
        f"Matrix arithmetic runs in {served.compute} at {format_quantity(matrix.rate[served.compute].value, 'FLOP/s')} peak; "
        f"{target.name} has {times:.3g} times that in {best} (--precision), and arithmetic binds {_percent(share)} of the time."
    )
    return Finding(
        "precision", sentence, {"compute": served.compute, "best": best, "rate_ratio": times, "latency_fraction": share}
    )


def _power(report: Report, target: Target) -> Finding | None:
    """How much of the time goes to kernels that the power limit holds back."""
    held = [s for s in report.subgraphs if any(note.startswith(_POWER) for note in s.notes)]
    share = math.fsum(s.latency_fraction for s in held)
    if share < _WORTH_SAYING:
        return None
    worst = max(held, key=lambda s: s.latency_fraction)
    note = next(note for note in worst.notes if note.startswith(_POWER))
    sentence = (
        f"The power limit holds {len(held)} of {_many(len(report.subgraphs), 'subgraph')} back, which {_verb(len(held), 'take')} "
        f"{_percent(share)} of the time; the longest, {worst.id}, is {note}."
    )
    return Finding("power", sentence, {"subgraphs": len(held), "latency_fraction": share, "first": worst.id})


def _padding(report: Report, target: Target) -> Finding | None:
    """How much of the time goes to kernels whose shapes are padded to more than twice their size."""
    padded = [s for s in report.subgraphs if any(_PADS in note for note in s.notes)]
    share = math.fsum(s.latency_fraction for s in padded)
    if share < _WORTH_SAYING:
        return None
    worst = max(padded, key=lambda s: s.latency_fraction)
    note = next(note for note in worst.notes if _PADS in note)
    sentence = (
        f"{_many(len(padded), 'subgraph')} {_verb(len(padded), 'pad')} tensors to more than twice their size and "
        f"{_verb(len(padded), 'take')} {_percent(share)} of the time: {note}."
    )
    return Finding("padding", sentence, {"subgraphs": len(padded), "latency_fraction": share, "first": worst.id})


def _unknown(report: Report, target: Target) -> Finding | None:
    """How much of the answer is operators that edpc does not know."""
    strangers = {u.operator_type if not u.domain else f"{u.domain}.{u.operator_type}" for u in report.coverage.unknown}
    if not strangers:
        return None
    theirs = [op for op in report.operators if op.operator_type in strangers]
    share = math.fsum(op.event_edp for op in theirs) / report.edp_js
    sentence = (
        f"{_many(len(theirs), 'operator')} of unknown type ({', '.join(sorted(strangers)[:3])}) {_verb(len(theirs), 'take')} "
        f"{_percent(share)} of the EDP, counted as data movement only."
    )
    return Finding("unknown", sentence, {"operators": len(theirs), "edp_fraction": share})


def _sure(report: Report, target: Target) -> Finding | None:
    """The interval, how much is assumed, and which constant the answer rests on."""
    totals = report.totals
    low, high = totals.interval.edp_js
    figures: dict[str, float | str] = {"low": low, "high": high, "assumed_fraction": totals.assumed_fraction}
    if high <= low * (1.0 + 1e-9):
        sentence = "No constant that the EDP depends on has a range, so it has no interval"
    else:
        factor = f" within a factor of {high / low:.3g}" if low > 0.0 else ""
        ends = f"{format_quantity(low, 'J*s')} to {format_quantity(high, 'J*s')}"
        sentence = f"In 90 % of draws the EDP lies{factor} ({ends})"
    sentence += f"; {_percent(totals.assumed_fraction)} of its sensitivity rests on assumed constants"
    assumed = [e for e in report.elasticities if e.basis == Basis.ASSUMED] if totals.assumed_fraction >= _WORTH_SAYING else []
    if most := next(iter(assumed or report.elasticities), None):
        figures |= {"constant": most.constant, "basis": most.basis, "elasticity": most.edp}
        kind = "most on" if assumed else f"and most on {most.basis}"
        sentence += f", {kind} {most.constant} (1 % more of it: EDP {most.edp:+.2f} %)"
    return Finding("sure", f"{sentence}.", figures)


_FINDINGS: tuple[Callable[[Report, Target], Finding | None], ...] = (
    _dominates,
    _faster,
    _bound,
    _energy,
    _fusion,
    _overhead,
    _precision,
    _power,
    _padding,
    _unknown,
    _sure,
)


def _share(report: Report, energy: float, latency: float) -> float:
    """A part's share of the report's metric, given its shares of energy and latency."""
    a, b = EXPONENTS[report.metric]
    return (a * energy + b * latency) / (a + b)


def _top(report: Report) -> list[SubgraphReport]:
    """The subgraphs with the largest shares of the report's metric."""
    return sorted(report.subgraphs, key=lambda s: -_share(report, s.energy_fraction, s.latency_fraction))[:_TOP]


def _alike(report: Report) -> list[SubgraphReport]:
    """The subgraphs of the same operators and nearly the same cost that take the largest share together: a repeated layer's."""
    types = {op.operator_id: op.operator_type for op in report.operators}
    found: dict[tuple[str, ...], list[SubgraphReport]] = {}
    for s in report.subgraphs:
        cost = (f"{s.energy_j:.2e}", f"{s.latency_s:.2e}")
        found.setdefault((s.fusion_pattern, *cost, *(types[name] for name in s.operators)), []).append(s)
    return max(found.values(), key=lambda part: math.fsum(_share(report, s.energy_fraction, s.latency_fraction) for s in part))


def _short(subgraph: SubgraphReport) -> str:
    return subgraph.name if len(subgraph.name) <= _NAME else f"{subgraph.name[: _NAME - 3]}..."


def _percent(fraction: float, decimals: int = 1) -> str:
    return f"{100 * fraction:.{decimals}f} %"


def _many(count: int, what: str, ending: str = "s") -> str:
    return f"{count} {what}{'' if count == 1 else ending}"


def _verb(count: int, verb: str) -> str:
    return f"{verb}s" if count == 1 else verb
