"""Columns of one-kernel graphs for many shapes at once, as the compiler makes them from graphs of one operator.

Inputs of a graph count as just written, so an activation is in the last-level cache where it fits; parameters are in DRAM.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from edpc.ir import Operator, TensorType, Work
from edpc.machine.catalogue import model_of
from edpc.machine.compose import kernel_sum
from edpc.machine.table import Floats, KernelTable, Names
from edpc.machine.uncertainty import kernel_draws
from edpc.operators import KINDS, work
from edpc.target import Target


@dataclass(frozen=True, slots=True)
class Prediction:
    """What kernels are predicted to take and use, static energy included, shape (n,); and the same for draws, (draws, n)."""

    latency_s: Floats
    energy_j: Floats
    drawn_s: Floats
    drawn_j: Floats


def predict(table: KernelTable, target: Target) -> Prediction:
    """Every kernel alone, under nominal constants and under draws of constants and of the model's error.

    An eager framework's launches do not queue up here: every kernel is timed by itself, with the launch of a graph.
    """
    model = model_of(target)
    plan = model.plan(table, target)
    if target.setting("launch") == "eager":
        target = target.with_quantity("launch.eager", 0.0, "every kernel is timed by itself")
    drawn_j, drawn_s = kernel_draws(model, table, target, plan)
    return Prediction(*latency_and_energy(table, target), drawn_s, drawn_j)


def latency_and_energy(table: KernelTable, target: Target) -> tuple[Floats, Floats]:
    """Latency (s) and energy (J) of every kernel alone, under nominal constants; see `predict`."""
    model = model_of(target)
    found = model.evaluate(table, target, {"launch.eager": 0.0}, model.plan(table, target))
    latency = kernel_sum(table, found.compute_s + found.memory_s + found.overhead_s)
    dynamic = kernel_sum(table, found.compute_j + found.on_chip_j + found.dram_j + found.overhead_j)
    return latency, dynamic + target.static_power.value * latency


def _blank(count: int, kind: str, precision: str) -> KernelTable:
    """Kernels of one operator that compute and move nothing yet."""
    zero, one, row = np.zeros(count), np.ones(count), np.arange(count)
    names = tuple(map(str, row.tolist()))

    def text(word: str) -> Names:
        return np.array([word] * count, str)

    none = np.zeros(0)
    return KernelTable(
        names=names,
        kind=text(kind),
        family=text(KINDS[kind].family.value),
        precision=text(precision),
        kernel=row,
        macs=zero,
        vector_ops=zero,
        transcendentals=zero,
        rows=zero,
        cols=zero,
        executions=one,
        weight_bytes=zero,
        cold_bytes=zero,
        warm_bytes=zero,
        write_bytes=zero,
        resident_bytes=zero,
        on_chip_bytes=zero,
        accesses=2 * one,
        free=zero > 0,
        owner=none.astype(np.int64),
        batch=none,
        m=none,
        n=none,
        k=none,
        steps=none,
        group=names,
        kernel_class=text("vector"),
        rule=text("separate"),
        launches=one,
        anchor=row,
        causal=zero > 0,
        window=zero,
        query_group=one,
    )


def _placed(table: KernelTable, target: Target, *activations: Floats, weights: Floats | float = 0.0) -> KernelTable:
    """The table with what its kernels read: activations of so many bytes each, from the cache where one fits, and weights."""
    c = target.constants()
    room = c["llc.warm_fraction"] * c["llc.capacity"]
    warm = sum((np.where(size <= room, size, 0.0) for size in activations), start=np.zeros(len(table.group)))
    cold = sum((np.where(size <= room, 0.0, size) for size in activations), start=np.zeros(len(table.group)))
    return replace(
        table,
        warm_bytes=warm,
        cold_bytes=cold,
        weight_bytes=weights + np.zeros(len(table.group)),
        accesses=np.full(len(table.group), 1.0 + len(activations)),
    )


def products(
    m: Floats, n: Floats, k: Floats, precision: str, target: Target, batch: Floats | None = None, *, weights: bool = True
) -> KernelTable:
    """Matrix products y[batch, m, n] of x[batch, m, k] and w[batch, k, n].

    Args:
        m: rows of x, shape (rows,).
        n: columns of w.
        k: depth.
        precision: arithmetic format; 8-bit products read 8-bit operands and write 16-bit results.
        target: says what fits its cache.
        batch: products a kernel, 1 unless given.
        weights: whether w is a parameter; else another activation.
    """
    count = len(m)
    b = np.ones(count) if batch is None else batch
    width = {"fp32": 4.0, "tf32": 4.0, "fp8": 1.0, "int8": 1.0}.get(precision, 2.0)
    x, w = width * b * m * k, width * b * n * k
    row = np.arange(count)
    table = replace(
        _blank(count, "matmul", precision),
        macs=b * m * n * k,
        write_bytes=max(width, 2.0) * b * m * n,
        owner=row,
        batch=b,
        m=m,
        n=n,
        k=k,
        steps=np.ones(count),
        kernel_class=np.array(["gemm"] * count, str),
    )
    return _placed(table, target, x, weights=w) if weights else _placed(table, target, x, w)


def quantisers(m: Floats, k: Floats, target: Target) -> KernelTable:
    """Kernels that quantise 16-bit activations [m, k] row by row to 8 bits."""
    made = []
    for rows, cols in zip(m.astype(int).tolist(), k.astype(int).tolist(), strict=True):
        out = (TensorType("fp8e4m3", (rows, cols)), TensorType("fp32", (rows, 1)))
        made.append(Operator("quantize_dynamic", (TensorType("bf16", (rows, cols)),), out))
    return operators(made, target)


def attentions(
    batch: Floats,
    query_heads: Floats,
    key_heads: Floats,
    queries: Floats,
    keys: Floats,
    depth: Floats,
    target: Target,
    *,
    key_bytes: float = 2.0,
    causal: bool = False,
    window: Floats | float = 0.0,
) -> KernelTable:
    """Fused attentions as kernels of one operator with two products; 16-bit queries, keys of `key_bytes` an element."""
    count = len(batch)
    h, r = batch * key_heads, query_heads / key_heads
    cache = key_bytes * h * keys * depth
    twice, first = np.repeat(np.arange(count), 2), np.arange(2 * count) % 2 == 0
    table = replace(
        _blank(count, "matmul", "bf16" if key_bytes == 2.0 else "fp8"),
        macs=2.0 * h * r * queries * keys * depth,
        write_bytes=2.0 * h * r * queries * depth,
        owner=twice,
        batch=h[twice],
        m=(queries * r)[twice],
        n=np.where(first, keys[twice], depth[twice]),
        k=np.where(first, depth[twice], keys[twice]),
        steps=np.ones(2 * count),
        kernel_class=np.array(["attention"] * count, str),
        causal=np.full(count, causal),
        window=window + np.zeros(count),
        query_group=r,
    )
    # A prefill reads keys that were just made, a decode step those of earlier steps.
    if (queries == 1).all():
        return _placed(table, target, 2.0 * h * r * queries * depth, weights=2.0 * cache)
    return _placed(table, target, 2.0 * h * r * queries * depth, cache, cache)


def rowwise(
    kind: str, rows: Floats, cols: Floats, dtype: str, target: Target, inputs: int = 1, parameters: int = 0
) -> KernelTable:
    """Kernels of one elementwise or row-wise operator on tensors [rows, cols].

    Args:
        kind: an operator.
        rows: shape (n,).
        cols: shape (n,).
        dtype: of elements.
        target: says what fits its cache.
        inputs: tensors [rows, cols] that are read.
        parameters: parameters [cols] that follow them.
    """
    made = []
    for shape in zip(rows.astype(int).tolist(), cols.astype(int).tolist(), strict=True):
        tensor, row = TensorType(dtype, shape), TensorType(dtype, shape[1:])
        made.append(Operator(kind, (tensor,) * inputs + (row,) * parameters, (tensor,)))
    return operators(made, target, parameters)


def operators(made: Sequence[Operator], target: Target, parameters: int = 0) -> KernelTable:
    """Kernels of one operator without contractions each; their last `parameters` operands are parameters."""
    counts = [work(op) for op in made]

    def column(of: Callable[[Work], float]) -> Floats:
        return np.array([of(w) for w in counts], float)

    last = len(counts[0].reads) - parameters
    table = replace(
        _blank(len(made), made[0].kind, counts[0].precision),
        vector_ops=column(lambda w: w.vector_ops),
        transcendentals=column(lambda w: w.transcendentals),
        rows=column(lambda w: w.rows),
        cols=column(lambda w: w.cols),
        write_bytes=column(lambda w: sum(w.writes)),
        operators=tuple(made),
    )
    reads = np.array([w.reads for w in counts], float)
    return _placed(table, target, *reads[:, :last].T, weights=reads[:, last:].sum(axis=1))


def roofline(table: KernelTable, target: Target, precision: str) -> Floats:
    """The trivial baseline of latency: peak rate or peak bandwidth, whichever takes longer."""
    c = target.constants()
    moved = table.weight_bytes + table.cold_bytes + table.warm_bytes + table.write_bytes
    compute: Floats = 2.0 * table.macs / c[f"matrix.{precision}.rate"]
    return np.maximum(compute, moved / c["dram.bandwidth"])
