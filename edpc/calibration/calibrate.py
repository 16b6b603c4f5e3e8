"""Calibration from end to end: run the suite, fit the lines, put the target together."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edpc.calibration.fit import Line, completed, design, fit_lines
from edpc.calibration.host import EnergyCounter, Host, PackagePower, cores, host, package_power
from edpc.calibration.measure import Progress, Suite, lay_out, time_alone, time_among
from edpc.calibration.micro import Micro
from edpc.calibration.probes import Clock, Overheads, busy, clock, overheads
from edpc.errors import UsageError
from edpc.machine.stored_program import SETS, TERMS, loads_of
from edpc.machine.stored_program_lines import LINES
from edpc.machine.table import Floats
from edpc.measured import SCHEMA, Calibration
from edpc.registry import find_target
from edpc.runtime.contention import Contention
from edpc.runtime.near_cores import FAR, near_cores
from edpc.runtime.session import onnxruntime
from edpc.target import Basis, Memory, Quantity, Setting, Target, Unit, assumed, measured

BUDGET_S = 54.0
# Parts of the time that is left for the suite: kernels alone and among others. The large model is dear to open.
_ALONE = 0.72
_PEAK_ROWS = 5  # a peak is the mean of the best so many kernels
_FASTEST = 0.2e-6  # no node takes less, whatever the profiler's cost is thought to be
_LATER = 0.15  # how far a rate may be off an hour later on a shared machine
# A server's cores draw so much each at full load, and its package a quarter of it idle, where nobody says.
_TDP_PER_CORE = (4.0, 2.0, 8.0)
_IDLE_PART = 0.26
_ACTIVE_PART = 0.7
_STREAM = (64, 8192, 8192)
_SQUARE = (512, 512, 512)


def calibrate(
    parts: Sequence[Micro], threads: Sequence[int], budget_s: float, progress: Progress, tdp_w: float | None = None
) -> Calibration:
    """Measures this machine.

    Args:
        parts: the suite.
        threads: numbers of threads to measure, each with constants of its own.
        budget_s: how long it may take; each part of the suite is run at least once whatever it says.
        progress: told what is being done and which part of it is done.
        tdp_w: thermal design power of the package in W; None where it is not known.

    Raises:
        UsageError: a number of threads that this machine does not have, or onnxruntime is not installed.
    """
    for n in threads:
        if not 1 <= n <= cores():
            raise UsageError(f"--threads {n}: this machine has {cores()} cores; give numbers from 1 to {cores()}")
    begin, contention = time.perf_counter(), Contention()
    counts = tuple(sorted(set(threads)))
    most = counts[-1]
    progress("laying the suite out", 0.0)
    suite = lay_out(parts)
    extra = {n: overheads(n) for n in counts}
    ticking = clock()
    counter = EnergyCounter()
    power = package_power(counter, busy(_SQUARE, most), busy(_STREAM, most)) if counter.readable else None
    left = max(budget_s - (time.perf_counter() - begin), 0.0)
    alone = time_alone(suite, counts, _ALONE * left, progress)
    left = max(budget_s - (time.perf_counter() - begin), 0.0) / len(counts)
    # Several threads first if their cores share a cache now; they may not later.
    order = reversed(counts) if most > 1 and near_cores().now() else counts
    among = {n: time_among(suite, n, left, progress) for n in order}
    seconds: dict[int, dict[str, Floats]] = {}
    for n in counts:
        took = {"hot": undisturbed(alone[n], among[n]), "cold": among[n]}
        seconds[n] = {heat: np.maximum(t - extra[n].profiler_s, _FASTEST) for heat, t in took.items()}
    found = _put_together(suite, seconds, extra, ticking, power, tdp_w)
    if busy_note := contention.note():
        found = replace(found, notes=(*found.notes, f"During calibration {busy_note}; repeat it."))
    if most > 1 and near_cores().given_up:
        found = replace(found, notes=(*found.notes, f"During calibration {FAR}."))
    return found


def undisturbed(alone: Floats, among: Floats) -> Floats:
    """Times of kernels alone, NaN where unseen: one that took longer than among others was disturbed, and takes that time."""
    return alone + np.fmin(among - alone, 0.0)


def _put_together(
    suite: Suite,
    seconds: Mapping[int, Mapping[str, Floats]],
    extra: Mapping[int, Overheads],
    ticking: Clock | None,
    power: PackagePower | None,
    tdp_w: float | None,
) -> Calibration:
    base, machine = find_target("cpu"), host()
    counts = tuple(seconds)
    most = counts[-1]
    when = datetime.now(UTC).strftime("%Y-%m-%d")
    runtime = str(onnxruntime().__version__)
    source = f"micro-models under ONNX Runtime {runtime} on {machine.cpu}, {when}"
    units = _units(base, suite, seconds[most]["hot"], source)
    memories = _memories(base, machine, suite, seconds[most], source)
    bare = replace(
        base,
        units=units,
        memories=memories,
        parameters={
            **base.parameters,
            "cores": Quantity(most, "1", Basis.MEASURED, "threads of the calibration"),
        },
    )
    parameters = {
        "cores": bare.parameters["cores"],
        **_residency(ticking, source),
        "dram.efficiency": measured(1.0, "1", 0.9, 1.0, f"{source}: the bandwidth is what streams reached"),
        "llc.warm_fraction": base.parameters["llc.warm_fraction"],
    }
    calibrated = replace(bare, settings={**base.settings, "threads": Setting(str(most), tuple(map(str, counts)), "threads")})
    for n in counts:
        loads = loads_of(suite.table, calibrated.with_setting("threads", str(n)), bare.constants())
        features = design(suite.table, suite.plan, loads, n)
        fitted = {heat: fit_lines(features, suite.plan, seconds[n][heat]) for heat in SETS}
        for heat, other in zip(SETS, reversed(SETS), strict=True):
            lines = completed(fitted[heat], fitted[other])
            for kind in LINES:
                parameters |= _constants(base, kind, heat, n, lines.get(kind), source)
        parameters |= {
            f"threads.{n}.profiler.node": _about(extra[n].profiler_s, "s", f"{source}; the profiler's own, in no prediction"),
            f"threads.{n}.run.overhead": _about(extra[n].run_s, "s", f"{source}: chains of tiny nodes"),
        }
    return _with_energy(
        Calibration(SCHEMA, when, machine.cpu, runtime, counts, units, memories, base.static_power, parameters, ()),
        base,
        machine,
        power,
        tdp_w,
    )


def _constants(base: Target, kind: str, heat: str, threads: int, line: Line | None, source: str) -> dict[str, Quantity]:
    """One line; of a kind that the suite does not hold, the shipped target's, which is an assumption."""
    found = {}
    for term, (unit, _) in TERMS.items():
        key = f"line.{kind}.{term}_{heat}"
        if line is None:
            found[f"threads.{threads}.{key}"] = base.parameters[key]
            continue
        value = line.constants[term]
        text = f"{source}; {line.points} kernels, {heat} set, {threads} thread{'s' if threads > 1 else ''}"
        found[f"threads.{threads}.{key}"] = measured(value, unit, value / (1.0 + line.spread), value * (1.0 + line.spread), text)
    return found


def _about(value: float, unit: str, source: str, spread: float = _LATER) -> Quantity:
    return measured(value, unit, value * (1.0 - spread), value * (1.0 + spread), source)


def _peak(amount: NDArray[Any], seconds: Floats, rows: NDArray[Any]) -> float:
    """The mean of the best rates among these rows, in units of the amount per s; 0 where there are none."""
    rate = np.where(rows & np.isfinite(seconds), amount / np.where(np.isfinite(seconds), seconds, 1.0), 0.0)
    best = np.sort(rate)[-_PEAK_ROWS:]
    return float(best[best > 0.0].mean()) if (best > 0.0).any() else 0.0


def _units(base: Target, suite: Suite, seconds: Floats, source: str) -> tuple[Unit, ...]:
    """The units of `cpu` with the rates reached here: products in fp32 and int8, and other arithmetic in proportion."""
    table = suite.table
    macs = np.bincount(table.kernel, 2.0 * table.macs, len(table.group))
    integer = suite.plan.line == LINES.index("integer")
    best = {"fp32": _peak(macs, seconds, ~integer), "int8": _peak(macs, seconds, integer)}
    matrix, vector, special = base.units
    rate = {
        name: _about(value, "FLOP/s", f"{source}: the {_PEAK_ROWS} fastest products") for name, value in best.items() if value
    }
    derived = {}
    for unit in (vector, special):
        part = unit.rate["fp32"].value / matrix.rate["fp32"].value
        value = best["fp32"] * part
        derived[unit.name] = assumed(
            value, "FLOP/s", value / 2, value * 2, f"{part:.3g} of the products' rate, as on the target cpu"
        )
    return (
        replace(matrix, rate=rate, energy={name: matrix.energy[name] for name in rate}),
        *(replace(unit, rate={"fp32": derived[unit.name]}) for unit in (vector, special)),
    )


def _memories(base: Target, machine: Host, suite: Suite, seconds: Mapping[str, Floats], source: str) -> tuple[Memory, ...]:
    """Levels with the bandwidth that kernels reached whose tensors fit them, and do not fit the level above."""
    table = suite.table
    moved = np.bincount(
        table.kernel, table.weight_bytes + table.cold_bytes + table.warm_bytes + table.write_bytes, len(table.group)
    )
    weights = np.bincount(table.kernel, table.weight_bytes, len(table.group))
    small = moved <= machine.l2_bytes
    shared = (moved > machine.l2_bytes) & (moved <= machine.l3_bytes)
    streams = weights > machine.l3_bytes / 16
    found = {
        "local": (
            _peak(moved, seconds["hot"], small),
            machine.l2_bytes * machine.cores,
            "tensors that fit a core's second level",
        ),
        "llc": (_peak(moved, seconds["hot"], shared), machine.l3_bytes, "tensors that fit the last level only"),
        "dram": (_peak(weights, seconds["cold"], streams), machine.memory_bytes, "weights read once a run"),
    }
    made = []
    for memory in base.memories:
        if memory.role not in found:
            continue
        bandwidth, capacity, what = found[memory.role]
        told = Quantity(float(capacity), "B", Basis.DATASHEET, "what the operating system says")
        rate = _about(bandwidth, "B/s", f"{source}: {what}") if bandwidth else memory.bandwidth
        name = {"local": "l2", "llc": "l3", "dram": "dram"}[memory.role]
        made.append(replace(memory, name=name, capacity=told, bandwidth=rate))
    return tuple(made)


def _residency(ticking: Clock | None, source: str) -> dict[str, Quantity]:
    """The two figures of the clock; where none could be read, those of another machine."""
    if ticking is None:
        other = "measured on another machine; here a product ran as fast after 32 ms as at once"
        return {
            "residency.start": assumed(4.5e-3, "s", 2e-3, 32e-3, other),
            "residency.span": assumed(12.5e-3, "s", 5e-3, 40e-3, other),
        }
    text = f"{source}: 8 MiB of weights read again after other work"
    return {
        "residency.start": _about(ticking.start_s, "s", text, 0.5),
        "residency.span": _about(ticking.span_s, "s", text, 0.5),
    }


def _with_energy(found: Calibration, base: Target, machine: Host, power: PackagePower | None, tdp_w: float | None) -> Calibration:
    """Energies of events, so that a busy package draws what the counters say, or 0.7 of its thermal design power.

    Events cost as on `cpu`, in proportion: its own energies make that socket draw 0.7 of its power at full rate.
    """
    shipped = _ACTIVE_PART * 350.0 - base.static_power.value
    if power is not None:
        static = _about(power.idle, "W", "RAPL counters of the package, idle")
        active = {"arithmetic": max(power.arithmetic - power.idle, 0.0), "streams": max(power.streams - power.idle, 0.0)}
        basis, why = Basis.MEASURED, "so that the package draws what its RAPL counters showed"
        note = "Energy is scaled to the package's RAPL counters, read during calibration."
    else:
        low, high = _TDP_PER_CORE[1:] if tdp_w is None else (tdp_w / machine.cores,) * 2
        tdp = _TDP_PER_CORE[0] * machine.cores if tdp_w is None else tdp_w
        text = "a quarter of the thermal design power" + (" of 4 W per core" if tdp_w is None else f" of {tdp_w:g} W, as given")
        static = assumed(
            _IDLE_PART * tdp, "W", 0.5 * _IDLE_PART * low * machine.cores, 2 * _IDLE_PART * high * machine.cores, text
        )
        active = dict.fromkeys(("arithmetic", "streams"), (_ACTIVE_PART - _IDLE_PART) * tdp)
        basis, why = Basis.ASSUMED, "so that a busy package draws 0.7 of its thermal design power"
        note = "No RAPL counter can be read: energy follows the package model, active power 0.7 of " + (
            "an assumed 4 W per core." if tdp_w is None else f"{tdp_w:g} W."
        )

    def energy(old: Quantity, rate_there: float, rate_here: float, kind: str) -> Quantity:
        value = old.value * active[kind] / shipped * rate_there / rate_here
        return Quantity(value, old.unit, basis, why, (value * 0.5, value * 1.5))

    units = tuple(
        replace(
            unit,
            energy={
                name: energy(old, there.rate[name].value, unit.rate[name].value, "arithmetic")
                for name, old in unit.energy.items()
            },
        )
        for unit, there in zip(found.units, base.units, strict=True)
    )
    shipped_memory = {memory.role: memory for memory in base.memories}
    memories = tuple(
        replace(
            memory,
            read_energy=energy(
                memory.read_energy, shipped_memory[memory.role].bandwidth.value, memory.bandwidth.value, "streams"
            ),
            write_energy=energy(
                memory.write_energy, shipped_memory[memory.role].bandwidth.value, memory.bandwidth.value, "streams"
            ),
        )
        for memory in found.memories
    )
    waiting = base.parameters["thread.power"].value * active["arithmetic"] / shipped
    parameters = {**found.parameters, "thread.power": Quantity(waiting, "W", basis, why, (waiting * 0.3, waiting * 1.6))}
    notes = (note, f"Calibrated {found.date} on {found.cpu}; runs of {_clock_text(parameters)} are least certain.")
    return replace(found, units=units, memories=memories, static_power=static, parameters=parameters, notes=notes)


def _clock_text(parameters: Mapping[str, Quantity]) -> str:
    start = parameters["residency.start"].value
    return f"{start * 1e3:.1f} to {(start + parameters['residency.span'].value) * 1e3:.1f} ms"
