"""Columns: a graph with groups as numpy arrays, one row per operator, one per contraction, one per kernel.

The graph is walked once; cost models and sweeps see arrays only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edpc.ir import Operator

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Names = NDArray[np.str_]
Flags = NDArray[np.bool_]


def distinct(column: Names) -> tuple[list[str], Ints]:
    """The texts of a column, ascending, and the number of each row's: shape (n,). (Sorting Python's strings beats numpy's.)"""
    texts = column.tolist()
    found = sorted(set(texts))
    number = {text: i for i, text in enumerate(found)}
    return found, np.array([number[text] for text in texts], np.int64)


@dataclass(frozen=True)
class KernelTable:
    """The columns. n operators, c contractions, g kernels (groups); all sums over executions.

    Per operator, shape (n,):
        names: operator names in execution order. kind, family, precision: strings. kernel: row of its kernel.
        macs, vector_ops, transcendentals: counts. rows, cols: of row-wise operators. executions: how often it runs.
        weight_bytes: parameters read from outside the kernel; a parameter read twice in a kernel is charged to its first reader.
        cold_bytes, warm_bytes: activations read from outside the kernel, from DRAM and from the last-level cache.
        write_bytes: results that leave the kernel. resident_bytes: those of them that all readers find in the last-level cache;
        a machine that manages it by software need not write them to DRAM.
        on_chip_bytes: traffic between operators of the same kernel (writes and reads).
        accesses: activation tensors that cross the border (reads plus writes), charged like their bytes.
        free: operators that move and compute nothing (views).
        operators: the payloads, for plans that choose by shape or attribute (layouts, kernels); never read in `evaluate`.
    Per contraction, shape (c,):
        owner: row of its operator. batch, m, n, k, steps: its iteration space.
    Per kernel, shape (g,):
        group: group names. kernel_class: strings. rule: strings. launches: 0 where nothing runs. anchor: row of the operator that
        does most of the arithmetic (most FLOPs, then most bytes). causal: whether an attention kernel is causally masked.
        window: keys a query sees, 0 for all. query_group: query heads that share one key/value head, folded into m.
    """

    names: tuple[str, ...]
    kind: Names
    family: Names
    precision: Names
    kernel: Ints
    macs: Floats
    vector_ops: Floats
    transcendentals: Floats
    rows: Floats
    cols: Floats
    executions: Floats
    weight_bytes: Floats
    cold_bytes: Floats
    warm_bytes: Floats
    write_bytes: Floats
    resident_bytes: Floats
    on_chip_bytes: Floats
    accesses: Floats
    free: Flags
    owner: Ints
    batch: Floats
    m: Floats
    n: Floats
    k: Floats
    steps: Floats
    group: tuple[str, ...]
    kernel_class: Names
    rule: Names
    launches: Floats
    anchor: Ints
    causal: Flags
    window: Floats
    query_group: Floats
    operators: tuple[Operator, ...] = ()


@dataclass(frozen=True)
class CostColumns:
    """What a cost model answers; leading axes (if any) run over variants of the machine, the last over operators or kernels.

    Per operator, shape (..., n): the components of `edpc.ir.Cost`, without static energy, which is static power times latency.
    Per kernel, shape (..., g):
        busy_compute_s, busy_memory_s: how long each resource is busy, before they overlap.
        utilization: achieved over peak rate of the unit that does most of the kernel's arithmetic.
    notes: by kernel row, what the machine would say of it.
    """

    compute_s: Floats
    memory_s: Floats
    overhead_s: Floats
    compute_j: Floats
    on_chip_j: Floats
    dram_j: Floats
    overhead_j: Floats
    dram_bytes: Floats
    busy_compute_s: Floats
    busy_memory_s: Floats
    utilization: Floats
    notes: dict[int, tuple[str, ...]]
