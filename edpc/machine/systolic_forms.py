"""Closed forms of a systolic array: cycles and SRAM counts of a matrix product under the three classic dataflows.

An R x C array multiplies [M, K] by [K, N]. What stays in the array is cut into folds of R x C; the other operand streams
through, skewed by one cycle per row. Counts are elements, cycles are cycles; every argument may be a numpy array.

The raw forms agree with SCALE-Sim (Samajdar et al., "A systematic methodology for characterizing scalability of DNN
accelerators", ISPASS 2020), which gives the number of the last cycle, counted from 0. `pipelined_cycles` is what a TPU does
with double-buffered weights.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edpc.machine.table import Floats

Count = float | Floats


@dataclass(frozen=True, slots=True)
class Run:
    """What a product costs an array.

    Attributes:
        cycles: number of the last cycle, counted from 0.
        a_reads: elements of the [M, K] operand read from SRAM.
        w_reads: elements of the [K, N] operand read from SRAM.
        o_writes: results, partial ones included, written to SRAM.
    """

    cycles: Floats
    a_reads: Floats
    w_reads: Floats
    o_writes: Floats


def folds(size: Count, part: Count) -> Floats:
    """How many parts of a given length cover a size."""
    return np.ceil(np.asarray(size, float) / part)


def weight_stationary(m: Count, n: Count, k: Count, rows: Count, columns: Count) -> Run:
    """K x N weights stay in the array: a fold loads them in R cycles, then M rows of the other operand stream through."""
    m, n, k = (np.asarray(x, float) for x in (m, n, k))
    down, across = folds(k, rows), folds(n, columns)
    cycles = down * across * (2.0 * rows + columns + m - 2.0) - 1.0
    return Run(cycles, m * k * across, k * n, m * n * down)


def output_stationary(m: Count, n: Count, k: Count, rows: Count, columns: Count) -> Run:
    """M x N results stay in the array and grow in place while both operands stream through; draining is not counted."""
    m, n, k = (np.asarray(x, float) for x in (m, n, k))
    down, across = folds(m, rows), folds(n, columns)
    cycles = down * across * (rows + columns + k - 2.0) - 1.0
    return Run(cycles, m * k * across, k * n * down, m * n)


def input_stationary(m: Count, n: Count, k: Count, rows: Count, columns: Count) -> Run:
    """K x M inputs stay in the array: a fold loads them in R cycles, then N columns of weights stream through."""
    m, n, k = (np.asarray(x, float) for x in (m, n, k))
    down, across = folds(k, rows), folds(m, columns)
    cycles = down * across * (2.0 * rows + columns + n - 2.0) - 1.0
    return Run(cycles, m * k, k * n * across, m * n * down)


def pipelined_cycles(
    m: Count, n: Count, k: Count, rows: Count, columns: Count, arrays: Count = 1.0, batch: Count = 1.0
) -> Floats:
    """Cycles of a weight-stationary product whose weights are double-buffered, with its folds shared among arrays.

    While one fold's M rows stream through, the next fold's weights shift in behind them, so a later fold pays max(M, R).
    The first pays for its weights (R), and the last for the array to empty (R + C - 2):
    R + (f - 1) max(M, R) + M + R + C - 2 cycles for the f folds of the busiest array.

    Args:
        m: rows that stream.
        n: columns of the weights.
        k: rows of the weights.
        rows: R.
        columns: C.
        arrays: how many arrays share the folds.
        batch: independent products, whose folds are shared as well.

    Returns:
        How many cycles pass; 0 where there is nothing to do.
    """
    m, n, k, batch = (np.asarray(x, float) for x in (m, n, k, batch))
    total = folds(k, rows) * folds(n, columns) * batch
    share = np.ceil(total / arrays)
    cycles = rows + (share - 1.0) * np.maximum(m, rows) + m + rows + columns - 2.0
    return np.where((total > 0.0) & (m > 0.0), cycles, 0.0)
