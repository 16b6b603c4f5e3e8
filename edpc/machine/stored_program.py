"""A stored-program machine (CPU) under ONNX Runtime: one line per kernel kind as executed, in a hot and a cold set.

A kernel takes node + FLOPs + bytes on p threads:

    t = launches * (node + fork_join * log2 p)
        + FLOPs / (p * efficiency * core peak) + max(bytes / (p * core rate), socket)

with a constant set per kind (`stored_program_lines`). The socket's time is that of the last-level cache, and of DRAM for what
no cache can hold; in the cold set, of DRAM for everything. p is the kernel's time on one core over `thread.grain`, between
one and all cores: a runtime splits no finer.

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

from edpc.machine.account import settle
from edpc.machine.compose import external_bytes, kernel_sum
from edpc.machine.model import Constants, CostModel, register, spread
from edpc.machine.rates import arithmetic_energy, per_row, served_as, unit_of, utilization
from edpc.machine.stored_program_lines import COMPUTE_LINES, FUSED_LINES, LINES, line_of
from edpc.machine.table import CostColumns, Floats, Ints, KernelTable
from edpc.target import Target

# Terms of a line, for the hot and the cold set: name -> (unit, what it is).
TERMS = {
    "node": ("s", "dispatch of one node"),
    "flop": ("1", "arithmetic, as a fraction of a core's peak"),
    "byte": ("B/s", "bytes across the kernel's border that one core moves"),
}
SETS = ("hot", "cold")


@dataclass(frozen=True, slots=True)
class Executed:
    """Lines by number in `LINES`: of every operator, shape (n,), and of every kernel, shape (g,)."""

    operator: Ints
    kernel: Ints


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
        "cores": ("1", "cores that share a node's work"),
        "thread.grain": ("s", "least work of one thread"),
        "thread.fork_join": ("s", "waking and joining threads, per doubling of their number"),
        "thread.power": ("W", "what waiting threads draw above idle"),
        "residency.start": ("s", "run time up to which a model finds its weights in the last-level cache"),
        "residency.span": ("s", "further run time after which it finds none"),
        "dram.efficiency": ("1", "fraction of the off-chip bandwidth that streams reach"),
        "llc.warm_fraction": ("1", "part of the last-level cache that holds activations"),
    } | {
        f"line.{line}.{term}_{heat}": (unit, f"{what}, {heat} set")
        for line in LINES
        for term, (unit, what) in TERMS.items()
        for heat in SETS
    }

    def plan(self, table: KernelTable, target: Target) -> Executed:
        """Which library kernel executes what: a fused kernel is its anchor's, or the kind its rule names."""
        number = {line: i for i, line in enumerate(LINES)}
        operator = np.array([number[line_of(op)] for op in table.operators], np.int64)
        named = np.array([number[c] if c in FUSED_LINES else -1 for c in table.kernel_class.tolist()], np.int64)
        return Executed(operator, np.where(named >= 0, named, operator[table.anchor] if len(operator) else named))

    def evaluate(self, table: KernelTable, target: Target, constants: Constants, plan: Any) -> CostColumns:
        """Costs at these constants; see the module's first lines."""
        executed: Executed = plan
        serial = _core_seconds(table, target, constants)
        hot, cold = (_times(table, constants, executed, serial, heat) for heat in SETS)
        compute_kind = np.array([line in COMPUTE_LINES for line in LINES])
        weight = np.where(compute_kind[executed.kernel], 1.0, 0.5)
        longer = np.maximum(cold.total - hot.total, 0.0)
        cold_part = _cold_part(hot.total.sum(-1, keepdims=True), (weight * longer).sum(-1, keepdims=True), constants)
        mix = cold_part * weight

        def blend(first: Floats, second: Floats, part: Floats) -> Floats:
            return first + part * (second - first)

        by_operator = mix[..., table.kernel]
        compute_s = blend(hot.compute, cold.compute, by_operator)
        memory_s = blend(hot.memory, cold.memory, by_operator)
        overhead_g = blend(hot.overhead, cold.overhead, mix)
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


def _line(constants: Constants, term: str, lines: Ints) -> Floats:
    """One term of the lines of rows: shape (rows,) or (variants, rows)."""
    used, inverse = np.unique(lines, return_inverse=True)
    values = [np.asarray(constants[f"line.{LINES[i]}.{term}"], float) for i in used]
    shape = np.broadcast_shapes((1,), *(v.shape for v in values))
    found: Floats = np.concatenate([np.broadcast_to(v, shape) for v in values], axis=-1) if values else np.zeros(0)
    return found[..., inverse]


def _core_seconds(table: KernelTable, target: Target, constants: Constants) -> Floats:
    """Every operator's arithmetic at the peak of one core, in s; formats whose peak libraries do not reach are derated."""
    unit = unit_of(target, "matrix")
    formats, inverse = np.unique(table.precision, return_inverse=True)
    attained = [np.asarray(constants.get(f"attained.{served_as(unit, str(p))}", 1.0), float) for p in formats]
    shape = np.broadcast_shapes((1,), *(a.shape for a in attained))
    reached = np.concatenate([np.broadcast_to(a, shape) for a in attained], axis=-1)[..., inverse] if attained else np.ones(0)
    seconds: Floats = (
        2.0 * table.macs / (per_row(target, constants, "matrix", "rate", table.precision) * reached)
        + table.vector_ops / per_row(target, constants, "vector", "rate", table.precision)
        + table.transcendentals / per_row(target, constants, "special", "rate", table.precision)
    )
    return seconds * constants["cores"]


def _times(table: KernelTable, constants: Constants, executed: Executed, serial: Floats, heat: str) -> _Times:
    """All kernels under one constant set; the cold set is nowhere better than the hot one."""

    def term(name: str, lines: Ints) -> Floats:
        value = _line(constants, f"{name}_hot", lines)
        if heat == "hot":
            return value
        worse = np.maximum if name == "node" else np.minimum
        return np.asarray(worse(value, _line(constants, f"{name}_cold", lines)))

    line = executed.kernel[table.kernel]
    moved = external_bytes(table)
    arithmetic = serial / term("flop", executed.operator)
    core_rate = term("byte", line)
    off_chip = constants["dram.bandwidth"] * np.asarray(constants["dram.efficiency"])
    room = constants["llc.warm_fraction"] * np.asarray(constants["llc.capacity"])
    # What no cache can hold comes from and goes to DRAM in either set; in the cold one, so does everything else.
    beyond = moved if heat == "cold" else table.cold_bytes + np.where(table.write_bytes > room, table.write_bytes, 0.0)
    socket_s = np.maximum(moved / constants["llc.bandwidth"], beyond / off_chip)
    runs = np.maximum(table.launches, 1.0)
    alone = kernel_sum(table, arithmetic + moved / core_rate) / runs
    threads = np.clip(alone / constants["thread.grain"], 1.0, constants["cores"])
    p = threads[..., table.kernel]
    compute = arithmetic / p
    memory = np.maximum(moved / (p * core_rate), socket_s)
    overhead = table.launches * (term("node", executed.kernel) + constants["thread.fork_join"] * np.log2(threads))
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
