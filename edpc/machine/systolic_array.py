"""A systolic-array machine (TPU): matrix units fed by a load/store path, a vector unit, and DMA from off-chip memory.

T = floor + overlap(compute, memory), the latter stretched until the chip draws no more than its power limit. Two readings of a
contraction, chosen by the setting `array`:

* `measured`: the law that fits a TPU v4 best. MACs run at a constant fraction of peak, and the load/store path *adds* to them
  (exponent 1; taking the maximum instead costs two points of accuracy), with one price per byte for the result, one for the
  larger operand and one for the smaller, which is streamed more often. Fold-exact cycles predict a real TPU worse: fill and
  drain are over-charged.
* `folds`: the double-buffered array of `systolic_forms.pipelined_cycles`; rows stream while it multiplies, so the maximum.

Memory is busy for the longest of load/store path, off-chip DMA and on-chip buffer. The maximum, not the sum: DMA engines fill
the buffers while the load/store path drains them, and the measurements that fix that path had their operands on chip.
Elementwise kernels pay the load/store path per padded byte, row-wise kernels also a fee per reduced row, copies run at DMA
speed. What a kernel fuses never touches the path: only bytes that cross its border do.

Off chip go cold operands, weights and results, with two switches. `residency=on`: a result whose readers all find it on chip is
not written. `weights=streamed`: the array takes weights straight from DRAM, as a TPU v1 does: in whole folds of R x C, whatever
the matrix fills of them, and, where a sum takes several folds, again for every half of the accumulators that its rows fill.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import ceil, prod
from typing import Any, ClassVar

import numpy as np

from edpc.ir import Operator
from edpc.machine import systolic_forms as forms
from edpc.machine.account import element_bytes, power_notes, power_stretch, setting, settle, written_off_chip
from edpc.machine.compose import compose, kernel_sum
from edpc.machine.model import Constants, CostModel, register
from edpc.machine.rates import arithmetic_energy, per_row, utilization
from edpc.machine.table import CostColumns, Flags, Floats, Ints, KernelTable
from edpc.operators import Family
from edpc.target import Target

ACCUMULATOR_BYTES = 4.0

# Kernels by what dominates them, in rising rank: a kernel is of the highest rank among its operators.
NOTHING, COPY, VECTOR, ROWWISE, CONTRACTION = range(5)
_RANK = {
    Family.VIEW: NOTHING,
    Family.MOVEMENT: COPY,
    Family.GATHER: COPY,
    Family.UNKNOWN: COPY,
    Family.NORMALIZATION: ROWWISE,
    Family.SOFTMAX: ROWWISE,
    Family.MATMUL: CONTRACTION,
    Family.CONVOLUTION: CONTRACTION,
    Family.RECURRENT: CONTRACTION,
}
# Reductions over a row: a normalisation takes its mean and its variance, a softmax its maximum and its sum.
_ROW_PASSES = {Family.NORMALIZATION: 2.0, Family.SOFTMAX: 2.0, Family.REDUCTION: 1.0}


@lru_cache(maxsize=65536)
def padding(shape: tuple[int, ...], sublanes: int, lanes: int) -> float:
    """How many times its size a tensor takes in tiles of sublanes x lanes, laid out with its two best axes inside.

    Axes of one fall away; what is left with a single axis is folded into whole tiles.
    """
    dims = [d for d in shape if d != 1]
    if 0 in dims:
        return 1.0
    if len(dims) < 2:
        size = prod(dims)
        return ceil(size / (sublanes * lanes)) * sublanes * lanes / size
    tall = [ceil(d / sublanes) * sublanes / d for d in dims]
    wide = [ceil(d / lanes) * lanes / d for d in dims]
    return min(tall[i] * wide[j] for i in range(len(dims)) for j in range(len(dims)) if i != j)


@dataclass(frozen=True, slots=True)
class Layout:
    """What a table looks like to the array, whatever the rates.

    Per operator, shape (n,): `large_bytes`, `small_bytes`, `other_bytes`: external reads of a contraction by operand, and of
    everything else; `vector_macs`: multiply-accumulates that run on the vector unit; `padding`; `row_passes`: reduced rows;
    `cycles`: of the folds; `a_bytes`, `w_bytes`, `o_bytes`, `o_rereads`: local memory traffic of the array; `weight_fetches`:
    bytes fetched per byte of weights.
    Per kernel, shape (g,): `rank`.
    """

    large_bytes: Floats
    small_bytes: Floats
    other_bytes: Floats
    vector_macs: Floats
    padding: Floats
    row_passes: Floats
    cycles: Floats
    a_bytes: Floats
    w_bytes: Floats
    o_bytes: Floats
    o_rereads: Floats
    weight_fetches: Floats
    rank: Ints


class SystolicArray(CostModel):
    """Matrix units as systolic arrays behind a load/store path."""

    architecture: ClassVar[str] = "systolic-array"
    parameters: ClassVar[Mapping[str, tuple[str, str]]] = {
        "array.rows": ("1", "rows of one array"),
        "array.columns": ("1", "columns of one array"),
        "array.count": ("1", "arrays that share the folds of a contraction; the peak is that of all together"),
        "array.efficiency": ("1", "fraction of peak that large contractions reach"),
        "tile.sublanes": ("1", "rows of a vector register tile, to which tensors pad"),
        "tile.lanes": ("1", "columns of a vector register tile"),
        "matmul.large_operand": ("s/B", "load/store path per byte of a contraction's larger operand"),
        "matmul.small_operand": ("s/B", "load/store path per byte of a contraction's smaller operand"),
        "matmul.result": ("s/B", "load/store path per byte of a contraction's result"),
        "loadstore.read": ("s/B", "load/store path per byte an elementwise kernel reads"),
        "loadstore.write": ("s/B", "load/store path per byte an elementwise kernel writes"),
        "loadstore.row_read": ("s/B", "load/store path per byte a normalisation or softmax reads"),
        "loadstore.row": ("s", "reduction of one row"),
        "floor.matmul": ("s", "least latency of a kernel with a contraction"),
        "floor.vector": ("s", "least latency of an elementwise or reduction kernel"),
        "floor.rowwise": ("s", "least latency of a normalisation or softmax"),
        "floor.copy": ("s", "least latency of a copy"),
        "dram.efficiency": ("1", "fraction of the off-chip bandwidth that copies reach"),
        "power.limit": ("W", "most that the chip draws; a kernel that would draw more is stretched until it does not"),
    }

    def plan(self, table: KernelTable, target: Target) -> Layout:
        """How operands split, what pads, what runs on the vector unit, and how the folds fall, from shapes alone."""
        constants = target.constants()
        families = [Family(f) for f in table.family.tolist()]
        rank = np.zeros(len(table.group), np.int64)
        # At inference a batch normalisation is one scale and one shift per channel: elementwise.
        ranks = [VECTOR if kind == "batch_norm" else _RANK.get(f, VECTOR) for kind, f in zip(table.kind, families, strict=True)]
        np.maximum.at(rank, table.kernel, np.array(ranks, np.int64))
        lanes = int(constants["tile.sublanes"]), int(constants["tile.lanes"])
        external = table.weight_bytes + table.cold_bytes + table.warm_bytes
        large, small, other = _operands(table, families, external)
        passes = np.where(table.kind == "batch_norm", 0.0, [_ROW_PASSES.get(f, 0.0) for f in families]) * table.rows
        return Layout(
            large_bytes=large,
            small_bytes=small,
            other_bytes=other,
            padding=np.array([padding(_widest(op), *lanes) for op in table.operators], float),
            row_passes=passes,
            rank=rank,
            **_array_columns(table, constants, setting(target, "weights", "buffered") == "streamed"),
        )

    def evaluate(self, table: KernelTable, target: Target, constants: Constants, plan: Any) -> CostColumns:
        """Costs at these constants; see the module's first lines."""
        layout: Layout = plan
        by_folds = setting(target, "array", "measured") == "folds"
        contraction, copy = layout.rank == CONTRACTION, layout.rank == COPY
        matrix_s, vector_s = _busy(table, target, constants, layout, by_folds)
        # Bundles issue to matrix and vector unit in the same cycle: the longer of the two is what a kernel waits for.
        matrix_g, vector_g = kernel_sum(table, matrix_s), kernel_sum(table, vector_s)
        compute_g = np.maximum(matrix_g, vector_g)
        op_compute = np.where((matrix_g >= vector_g)[..., table.kernel], matrix_s, vector_s)

        path = _load_store(table, constants, layout)
        fetched, stored = table.weight_bytes * layout.weight_fetches + table.cold_bytes, written_off_chip(table, target)
        off_chip = (fetched + stored) / (constants["dram.bandwidth"] * constants["dram.efficiency"])
        read, written = fetched + table.warm_bytes, table.write_bytes
        buffer = (read + written) / constants["llc.bandwidth"]
        uses = (path, off_chip, buffer)
        sums = [kernel_sum(table, use) for use in uses]
        # A copy is DMA alone: its bytes pass once, at the speed of the off-chip interface, wherever they live.
        moved = np.maximum(kernel_sum(table, read), kernel_sum(table, written))
        dma = moved / (constants["dram.bandwidth"] * constants["dram.efficiency"])
        sums[0] = np.where(copy, dma, sums[0])
        memory_g = np.maximum(np.maximum(sums[0], sums[1]), sums[2])
        binding = [np.asarray(s >= memory_g)[..., table.kernel] for s in sums]
        op_memory = np.where(binding[0], uses[0], np.where(binding[1], uses[1], uses[2]))

        floors = (0.0, constants["floor.copy"], constants["floor.vector"], constants["floor.rowwise"], constants["floor.matmul"])
        floor = np.select([layout.rank == r for r in range(5)], [np.asarray(f, float) for f in floors])
        adds = contraction & (not by_folds)
        overhead = floor * table.launches
        latency = compose(table, compute_g, memory_g, overhead, np.where(adds, 1.0, np.inf), op_compute, op_memory)
        energies = {
            "compute_j": arithmetic_energy(table, target, constants),
            "on_chip_j": _on_chip_energy(table, constants, layout, fetched),
            "dram_j": fetched * constants["dram.read_energy"] + stored * constants["dram.write_energy"],
            "overhead_j": np.zeros(len(table.names)),
        }
        dynamic = kernel_sum(table, sum(energies.values(), start=np.zeros(1)))
        stretch = power_stretch(latency.total, overhead, dynamic, constants["power.limit"], constants["static_power"])
        by_operator = stretch[..., table.kernel]
        total = overhead + (latency.total - overhead) * stretch
        notes = [_notes(table, layout), power_notes(stretch)]
        return settle(
            table,
            {
                "compute_s": latency.compute_s * by_operator,
                "memory_s": latency.memory_s * by_operator,
                "overhead_s": latency.overhead_s,
                "dram_bytes": fetched + stored,
                **energies,
            },
            {
                "busy_compute_s": compute_g * stretch,
                "busy_memory_s": memory_g * stretch,
                "utilization": utilization(table, target, constants, total),
            },
            {row: sum((said.get(row, ()) for said in notes), ()) for row in {*notes[0], *notes[1]}},
        )


def _operands(table: KernelTable, families: list[Family], external: Floats) -> tuple[Floats, Floats, Floats]:
    """External bytes that cross the path: contractions' larger and smaller operand, and all others.

    An operand made in the kernel never crosses it. Scale and shift of a normalisation are inside the price of its elements.
    """
    n = len(table.names)
    large, small, other = np.zeros(n), np.zeros(n), external.copy()
    for row, (op, family) in enumerate(zip(table.operators, families, strict=True)):
        reads = op.work.reads if op.work is not None else ()
        part = min(1.0, external[row] / max(sum(reads), 1))
        if _RANK.get(family) == CONTRACTION:
            first, second = sorted((*reads[:2], 0, 0), reverse=True)[:2]
            large[row], small[row] = first * part, second * part
            other[row] -= large[row] + small[row]
        elif family is Family.NORMALIZATION and op.kind != "batch_norm" and reads:
            other[row] = reads[0] * part
    return large, small, other


def _widest(op: Operator) -> tuple[int, ...]:
    """Shape of the largest tensor an operator touches."""
    kinds = (*op.outputs, *op.inputs)
    return max((kind.dims() for kind in kinds), key=prod, default=())


def _array_columns(table: KernelTable, constants: Mapping[str, float], streamed: bool) -> dict[str, Floats]:
    """Folds, local traffic, fetches of weights and what the arrays leave to the vector unit, per operator."""
    rows, columns, arrays = (constants[f"array.{part}"] for part in ("rows", "columns", "count"))
    length = len(table.names)

    def per_operator(figure: Floats) -> Floats:
        return np.bincount(table.owner, figure, length).astype(float)

    # One filter per group fills one column of an array; compilers run depthwise convolutions on the vector unit instead.
    convolves = table.family[table.owner] == Family.CONVOLUTION.value
    depthwise = convolves & (table.n == 1.0) & (table.batch > 1.0) & (table.m > 1.0)
    on_array = np.where(depthwise, 0.0, 1.0)
    # Groups of a convolution that fit side by side share a fold: their weights stand on its diagonal, zeros around them.
    fits = np.minimum(rows // np.maximum(table.k, 1.0), columns // np.maximum(table.n, 1.0))
    beside = np.where(convolves, np.clip(fits, 1.0, np.maximum(table.batch, 1.0)), 1.0)
    n, k, batch = table.n * beside, table.k * beside, np.ceil(table.batch / beside)
    run = forms.weight_stationary(table.m, n, k, rows, columns)
    cycles = forms.pipelined_cycles(table.m, n, k, rows, columns, arrays, batch)
    width = element_bytes(table.precision)[table.owner]
    products = batch * table.steps * on_array
    results = table.m * n
    macs = table.batch * table.m * table.n * table.k * table.steps
    weights = per_operator(table.batch * table.n * table.k)
    fetched = weights
    if streamed:
        down, across = forms.folds(k, rows), forms.folds(n, columns)
        # Half of the accumulators takes sums while the other half empties; a sum of one fold needs none to come back to.
        room = constants["local.capacity"] / (2.0 * columns * ACCUMULATOR_BYTES)
        times = np.where(down > 1.0, forms.folds(table.m, room), 1.0) * table.steps
        folds = batch * down * across * rows * columns * times
        fetched = per_operator(np.where(depthwise, table.batch * table.n * table.k, folds))
    return {
        "vector_macs": per_operator(macs * (1.0 - on_array)),
        "cycles": per_operator(cycles * table.steps * on_array),
        "a_bytes": per_operator(run.a_reads * products * width),
        "w_bytes": per_operator(run.w_reads * products * width),
        "o_bytes": per_operator(run.o_writes * products * ACCUMULATOR_BYTES),
        "o_rereads": per_operator((run.o_writes - results) * products * ACCUMULATOR_BYTES),
        "weight_fetches": np.where(weights > 0.0, fetched / np.where(weights > 0.0, weights, 1.0), 1.0),
    }


def _busy(table: KernelTable, target: Target, constants: Constants, layout: Layout, by_folds: bool) -> tuple[Floats, Floats]:
    """How long every operator keeps the matrix units and the vector unit busy, in s."""
    rate = per_row(target, constants, "matrix", "rate", table.precision)
    vector = per_row(target, constants, "vector", "rate", table.precision)
    special = per_row(target, constants, "special", "rate", table.precision)
    if by_folds:
        # The clock follows from the peak: every cell of every array makes one multiply-accumulate, two FLOP, a cycle.
        cells = constants["array.rows"] * constants["array.columns"] * constants["array.count"]
        matrix_s = layout.cycles * 2.0 * cells / (rate * constants["array.efficiency"])
    else:
        matrix_s = 2.0 * (table.macs - layout.vector_macs) / (rate * constants["array.efficiency"])
    vector_s = (table.vector_ops + 2.0 * layout.vector_macs) / vector + table.transcendentals / special
    return matrix_s, vector_s


def _load_store(table: KernelTable, constants: Constants, layout: Layout) -> Floats:
    """How long every operator occupies the load/store path, in s."""
    rank = layout.rank[table.kernel]
    in_contraction, in_copy = rank == CONTRACTION, rank == COPY
    normalises = (table.family == Family.NORMALIZATION.value) & (table.kind != "batch_norm")
    # The price of a normalisation was fitted to its elements as they stand.
    padded = np.where(in_contraction | in_copy | normalises, 1.0, layout.padding)
    rowwise = normalises | (table.family == Family.SOFTMAX.value)
    read = np.where(rowwise, constants["loadstore.row_read"], constants["loadstore.read"])
    write = np.where(in_contraction, constants["matmul.result"], constants["loadstore.write"])
    path: Floats = (
        layout.large_bytes * constants["matmul.large_operand"]
        + layout.small_bytes * constants["matmul.small_operand"]
        + layout.other_bytes * padded * read
        + table.write_bytes * padded * write
        + layout.row_passes * constants["loadstore.row"]
    )
    return path


def _on_chip_energy(table: KernelTable, constants: Constants, layout: Layout, fetched: Floats) -> Floats:
    """Buffer and vector-memory accesses of every operator that fetches so many bytes from DRAM, in J."""
    read = fetched + table.warm_bytes
    buffer = read * constants["llc.read_energy"] + (fetched + table.write_bytes) * constants["llc.write_energy"]
    array_reads = layout.a_bytes + layout.w_bytes + layout.o_rereads
    between = 0.5 * table.on_chip_bytes
    local: Floats = (array_reads + between + table.write_bytes) * constants["local.read_energy"] + (
        layout.o_bytes + between + read
    ) * constants["local.write_energy"]
    return buffer + local


def _notes(table: KernelTable, layout: Layout) -> dict[int, tuple[str, ...]]:
    """What the machine would say of a kernel: padding that more than doubles it, and products off the arrays."""
    notes: dict[int, list[str]] = {}
    pads: Flags = (layout.rank == VECTOR) | (layout.rank == ROWWISE)
    for row in np.flatnonzero(pads[table.kernel] & (layout.padding > 2.0) & ~table.free):
        notes.setdefault(int(table.kernel[row]), []).append(f"{table.names[row]} pads {layout.padding[row]:.1f}x to fill tiles")
    for row in np.flatnonzero(layout.vector_macs > 0.0):
        notes.setdefault(int(table.kernel[row]), []).append(f"{table.names[row]} runs on the vector unit, one filter per group")
    return {kernel: tuple(said) for kernel, said in notes.items()}


register(SystolicArray())
