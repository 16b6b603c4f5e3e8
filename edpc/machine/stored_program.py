"""A stored-program machine (CPU) under ONNX Runtime: one line per kernel kind as executed, in a hot and a cold set.

A kernel takes its node, FLOPs, bytes of activations and of weights, starts of inner loops ("calls") and results that pass a fused
activation, shared by p threads:

    t = launches * (node + fork_join * log2 p) + (calls * call + passed * pass) / p
        + FLOPs / (p * efficiency * core peak)
        + max(bytes / (p * rate) + far bytes / (p * far rate) + weight bytes / (p * weight rate), socket)

Far bytes are those of the kernel's activations that the caches next to its cores cannot hold. There is a constant set per kind of
kernel (`stored_program_lines`). A machine that was calibrated has a set per number of threads, its setting `threads`, with p that
number: forks, joins and what threads share stand in the constants. Elsewhere one set serves all p; p is then the kernel's time on
one core over `thread.grain`, between one and all cores, for a runtime splits no finer; and the socket's time is that of the
last-level cache, and of DRAM for what no cache can hold; in the cold set, of DRAM for everything.

Residency in a shared last-level cache turned out to be a clock, not a capacity: what a network leaves there is pushed out by
other tenants within some milliseconds. A model that runs for T blends the sets by lambda = clip((T - start) / span, 0, 1);
kernels bound by activations, which their producers just wrote, take half of it. T depends on lambda in turn, linearly: with H the
hot total and D the weighted difference to the cold one, the least fixed point of T = H + lambda(T) * D is
lambda = clip((H - start) / (span - D), 0, 1), or 1 where D >= span. Weights come from DRAM to the same part.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from edpc.errors import UsageError
from edpc.machine.account import settle
from edpc.machine.compose import external_bytes, kernel_sum
from edpc.machine.model import Constants, CostModel, register, spread
from edpc.machine.rates import arithmetic_energy, per_row, served_as, unit_of, utilization
from edpc.machine.stored_program_lines import COMPUTE_LINES, FUSED_LINES, LINES, PASSING, calls_of, line_of
from edpc.machine.table import CostColumns, Floats, Ints, KernelTable, distinct
from edpc.target import Target

# Terms of a line, for the hot and the cold set: name -> (unit, what it is).
TERMS = {
    "node": ("s", "dispatch of one node"),
    "flop": ("1", "arithmetic, as a fraction of a core's peak"),
    "byte": ("B/s", "bytes of activations across the kernel's border that one core moves"),
    "far": ("B/s", "bytes of activations beyond the cores' own caches, on top"),
    "weight": ("B/s", "bytes of weights that one core moves"),
    "call": ("s", "one start of the kernel's inner loop"),
    "pass": ("s", "one result through a fused activation that is no ReLU"),
}
SETS = ("hot", "cold")
# What more is read where a set of constants serves every number of threads.
_LAW = {
    "cores": ("1", "cores that share a node's work"),
    "thread.grain": ("s", "least work of one thread"),
    "thread.fork_join": ("s", "waking and joining threads, per doubling of their number"),
}


@dataclass(frozen=True, slots=True)
class Executed:
    """Kernels as they run, shape (g,) each.

    Attributes:
        line: number in `LINES`. launches: of the node. calls: starts of its inner loop. passed: results through an activation.
    """

    line: Ints
    launches: Floats
    calls: Floats
    passed: Floats


@dataclass(frozen=True, slots=True)
class Loads:
    """What lines are multiplied with.

    Attributes:
        serial: an operator's arithmetic on one core at peak, in s, shape (..., n).
        moved: bytes of activations it moves across its kernel's border, shape (n,). weights: bytes of weights, shape (n,).
        far: its part of the kernel's activations beyond the caches of the threads' cores, shape (..., n).
    """

    serial: Floats
    moved: Floats
    weights: Floats
    far: Floats


@dataclass(frozen=True, slots=True)
class _Times:
    """One constant set's times: per operator, and overhead and total per kernel."""

    compute: Floats
    memory: Floats
    overhead: Floats
    total: Floats


class StoredProgram(CostModel):
    """Cores that run library kernels node by node."""

    architecture: ClassVar[str] = "stored-program"
    parameters: ClassVar[Mapping[str, tuple[str, str]]] = {
        "thread.power": ("W", "what waiting threads draw above idle"),
        "residency.start": ("s", "run time up to which a model finds its weights in the last-level cache"),
        "residency.span": ("s", "further run time after which it finds none"),
        "dram.efficiency": ("1", "fraction of the off-chip bandwidth that streams reach"),
        "llc.warm_fraction": ("1", "part of the last-level cache that holds activations"),
    }

    def check(self, target: Target) -> None:
        """Refuses a target that lacks a constant, for any number of threads it may be set to; see `CostModel.check`."""
        super().check(target)
        needed = {} if _is_calibrated(target) else dict(_LAW)
        for n in target.settings["threads"].choices if _is_calibrated(target) else ("",):
            prefix = f"threads.{n}." if n else ""
            needed |= {f"{prefix}{name}": what for name, what in LINE_PARAMETERS.items()}
        known = target.constants()
        for name, (unit, what) in needed.items():
            if name not in known:
                raise UsageError(f"target {target.name}: the cost model needs the constant {name!r} ({what}, in {unit})")

    def plan(self, table: KernelTable, target: Target) -> Executed:
        """Which library kernel executes what: a fused kernel is its anchor's, or the kind its rule names."""
        anchors = [table.operators[row] for row in table.anchor]
        named = [c if c in FUSED_LINES else line_of(op) for c, op in zip(table.kernel_class.tolist(), anchors, strict=True)]
        number = {line: i for i, line in enumerate(LINES)}
        runs = np.zeros(len(table.group))
        np.maximum.at(runs, table.kernel, table.executions)
        # A runtime dispatches nodes that only rename a tensor like any other.
        launches = np.where(table.rule == "runtime-node", runs, table.launches)
        calls = [calls_of(op, line) * table.executions[row] for op, line, row in zip(anchors, named, table.anchor, strict=True)]
        passing = np.array([op.kind in PASSING for op in table.operators], bool)
        passing[table.anchor] = False
        results = np.array([op.outputs[0].numel if p else 0 for op, p in zip(table.operators, passing, strict=True)], float)
        passed = np.bincount(table.kernel, results * table.executions, len(table.group)).astype(float)
        return Executed(np.array([number[line] for line in named], np.int64), launches, np.array(calls, float), passed)

    def evaluate(self, table: KernelTable, target: Target, constants: Constants, plan: Any) -> CostColumns:
        """Costs at these constants; see the module's first lines."""
        executed: Executed = plan
        loads = loads_of(table, target, constants)
        hot, cold = (_times(table, target, constants, executed, loads, heat) for heat in SETS)
        weight = np.where(COMPUTE[executed.line], 1.0, 0.5)
        longer = np.maximum(cold.total - hot.total, 0.0)
        cold_part = _cold_part(hot.total.sum(-1, keepdims=True), (weight * longer).sum(-1, keepdims=True), constants)
        # No kernel is faster for finding less in the cache.
        mix = cold_part * np.where(cold.total > hot.total, weight, 0.0)

        def blend(first: Floats, second: Floats, part: Floats) -> Floats:
            return first + part * (second - first)

        by_operator = mix[..., table.kernel]
        compute_s = blend(hot.compute, cold.compute, by_operator)
        memory_s = blend(hot.memory, cold.memory, by_operator)
        overhead_g = blend(hot.overhead, cold.overhead, mix) + _per_run(executed, constants)
        overhead_s = spread(overhead_g, np.where(table.free, 0.0, 1.0), table.kernel)
        compute_g, memory_g = kernel_sum(table, compute_s), kernel_sum(table, memory_s)
        fetched = table.weight_bytes * cold_part + table.cold_bytes
        read = table.weight_bytes + table.cold_bytes + table.warm_bytes
        between = 0.5 * table.on_chip_bytes
        return settle(
            table,
            {
                "compute_s": compute_s,
                "memory_s": memory_s,
                "overhead_s": overhead_s,
                "compute_j": arithmetic_energy(table, target, constants),
                "on_chip_j": read * constants["llc.read_energy"]
                + table.write_bytes * constants["llc.write_energy"]
                + between * (constants["local.read_energy"] + constants["local.write_energy"]),
                "dram_j": fetched * constants["dram.read_energy"] + table.write_bytes * constants["dram.write_energy"],
                "overhead_j": overhead_s * constants["thread.power"],
                "dram_bytes": fetched + table.write_bytes,
            },
            {
                "busy_compute_s": compute_g,
                "busy_memory_s": memory_g,
                "utilization": utilization(table, target, constants, compute_g + memory_g + overhead_g),
            },
            {},
        )


LINE_PARAMETERS = {
    f"line.{line}.{term}_{heat}": (unit, f"{what}, {heat} set")
    for line in LINES
    for term, (unit, what) in TERMS.items()
    for heat in SETS
}
COMPUTE = np.array([line in COMPUTE_LINES for line in LINES])


def loads_of(table: KernelTable, target: Target, constants: Constants) -> Loads:
    """What the lines of a table's kernels are multiplied with."""
    moved = external_bytes(table) - table.weight_bytes
    cores = constants["cores"]
    near = np.asarray(constants["local.capacity"], float)
    if _is_calibrated(target):
        near = near * float(target.setting("threads")) / cores
    whole = kernel_sum(table, moved)
    beyond = np.maximum(1.0 - near / np.where(whole > 0.0, whole, 1.0), 0.0)
    return Loads(_core_seconds(table, target, constants), moved, table.weight_bytes, moved * beyond[..., table.kernel])


def _is_calibrated(target: Target) -> bool:
    """Whether the target has constants for each number of threads."""
    return "threads" in target.settings


def _per_run(executed: Executed, constants: Constants) -> Floats:
    """What starting the runtime once costs, shared by all launches: shape (..., g)."""
    launched = np.minimum(executed.launches, 1.0)
    return np.asarray(constants.get("run.overhead", 0.0), float) * launched / max(float(launched.sum()), 1.0)


def _line(constants: Constants, term: str, lines: tuple[list[int], Ints], prefix: str) -> Floats:
    """One term of the lines of rows, given as the lines used and each row's place among them: (rows,) or (variants, rows)."""
    used, inverse = lines
    values = [np.asarray(constants[f"{prefix}line.{LINES[i]}.{term}"], float) for i in used]
    shape = np.broadcast_shapes((1,), *(v.shape for v in values))
    found: Floats = np.concatenate([np.broadcast_to(v, shape) for v in values], axis=-1) if values else np.zeros(0)
    return found[..., inverse]


def _core_seconds(table: KernelTable, target: Target, constants: Constants) -> Floats:
    """Every operator's arithmetic at the peak of one core, in s; formats whose peak libraries do not reach are derated."""
    unit = unit_of(target, "matrix")
    formats, inverse = distinct(table.precision)
    attained = [np.asarray(constants.get(f"attained.{served_as(unit, p)}", 1.0), float) for p in formats]
    shape = np.broadcast_shapes((1,), *(a.shape for a in attained))
    reached = np.concatenate([np.broadcast_to(a, shape) for a in attained], axis=-1)[..., inverse] if attained else np.ones(0)
    seconds: Floats = (
        2.0 * table.macs / (per_row(target, constants, "matrix", "rate", table.precision) * reached)
        + table.vector_ops / per_row(target, constants, "vector", "rate", table.precision)
        + table.transcendentals / per_row(target, constants, "special", "rate", table.precision)
    )
    return seconds * constants["cores"]


def _times(table: KernelTable, target: Target, constants: Constants, executed: Executed, loads: Loads, heat: str) -> _Times:
    """All kernels under one constant set."""
    calibrated = _is_calibrated(target)
    prefix = f"threads.{target.setting('threads')}." if calibrated else ""
    used, inverse = np.unique(executed.line, return_inverse=True)
    lines = used.tolist(), inverse

    def term(name: str) -> Floats:
        value = _line(constants, f"{name}_{heat}", lines, prefix)
        if calibrated or heat == "hot":
            return value
        worse = np.maximum if name in {"node", "call", "pass"} else np.minimum
        return np.asarray(worse(value, _line(constants, f"{name}_hot", lines, prefix)))

    kernel = table.kernel
    arithmetic = loads.serial / term("flop")[..., kernel]
    memory = (
        loads.moved / term("byte")[..., kernel]
        + loads.far / term("far")[..., kernel]
        + loads.weights / term("weight")[..., kernel]
    )
    calls = executed.calls * term("call") + executed.passed * term("pass")
    node = executed.launches * term("node")
    if calibrated:
        p: float | Floats = float(target.setting("threads"))
        compute, memory, overhead = arithmetic / p, memory / p, node + calls / p
        return _Times(compute, memory, overhead, kernel_sum(table, compute + memory) + overhead)
    off_chip = constants["dram.bandwidth"] * np.asarray(constants["dram.efficiency"])
    room = constants["llc.warm_fraction"] * np.asarray(constants["llc.capacity"])
    moved = loads.moved + loads.weights
    # What no cache can hold comes from and goes to DRAM in either set; in the cold one, so does everything else.
    beyond = moved if heat == "cold" else table.cold_bytes + np.where(table.write_bytes > room, table.write_bytes, 0.0)
    socket_s = np.maximum(moved / constants["llc.bandwidth"], beyond / off_chip)
    alone = (kernel_sum(table, arithmetic + memory) + calls) / np.maximum(executed.launches, 1.0)
    threads = np.clip(alone / constants["thread.grain"], 1.0, constants["cores"])
    p = threads[..., kernel]
    compute = arithmetic / p
    memory = np.maximum(memory / p, socket_s)
    overhead = node + executed.launches * constants["thread.fork_join"] * np.log2(threads) + calls / threads
    return _Times(compute, memory, overhead, kernel_sum(table, compute + memory) + overhead)


def _cold_part(hot_s: Floats, longer_s: Floats, constants: Constants) -> Floats:
    """lambda: the least fixed point of lambda = clip((H + lambda * D - start) / span, 0, 1), shape (..., 1).

    Args:
        hot_s: H, the hot total.
        longer_s: D, how much longer the cold set takes, weighted by what each kind takes of lambda.
        constants: `residency.start` and `residency.span`.
    """
    late = hot_s - constants["residency.start"]
    room = constants["residency.span"] - longer_s
    inside = np.clip(late / np.where(room > 0.0, room, 1.0), 0.0, 1.0)
    part: Floats = np.where(late <= 0.0, 0.0, np.where(room > 0.0, inside, 1.0))
    return part


register(StoredProgram())
