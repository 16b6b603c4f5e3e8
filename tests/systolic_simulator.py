"""Systolic arrays stepped cycle by cycle: the oracle of the closed forms. Registers move one hop a cycle."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.int64]


@dataclass(frozen=True)
class Trace:
    """The product as the array made it, the last cycle's number, and what passed the SRAM ports."""

    product: Matrix
    last_cycle: int
    a_reads: int
    w_reads: int
    o_writes: int


def weight_stationary(a: Matrix, w: Matrix, rows: int, columns: int) -> Trace:
    """Folds of w sit in the array; rows of a enter from the left, skewed; partial sums leave at the bottom."""
    (m, k), n = a.shape, w.shape[1]
    out = np.zeros((m, n), np.int64)
    now = a_reads = w_reads = o_writes = 0
    for k0 in range(0, k, rows):
        for n0 in range(0, n, columns):
            held = np.zeros((rows, columns), np.int64)
            for step in range(rows):  # one row of weights a cycle, the bottom row first
                r = rows - 1 - step
                if k0 + r < k:
                    width = min(columns, n - n0)
                    held[r, :width] = w[k0 + r, n0 : n0 + width]
                    w_reads += width
                now += 1
            streamed, reads, writes, cycles = _stream(a[:, k0 : k0 + rows], held, min(columns, n - n0))
            out[:, n0 : n0 + columns] += streamed
            a_reads, o_writes, now = a_reads + reads, o_writes + writes, now + cycles
    return Trace(out, now - 1, a_reads, w_reads, o_writes)


def input_stationary(a: Matrix, w: Matrix, rows: int, columns: int) -> Trace:
    """The same machine with the operands' parts exchanged: w' streams over a held a'."""
    t = weight_stationary(w.T.copy(), a.T.copy(), rows, columns)
    return Trace(t.product.T.copy(), t.last_cycle, t.w_reads, t.a_reads, t.o_writes)


def _stream(a: Matrix, held: Matrix, width: int) -> tuple[Matrix, int, int, int]:
    """Streams rows of a over held weights: (partial product, elements read, results written, cycles)."""
    rows, columns = held.shape
    m, depth = a.shape
    moving = np.zeros((rows, columns), np.int64)
    sums = np.zeros((rows, columns), np.int64)
    out = np.zeros((m, width), np.int64)
    reads = writes = cycle = 0
    # The last result leaves the far corner; the array is stepped until it has, whether or not that column is used.
    left = {(i, c) for i in range(m) for c in range(columns)}
    while left:
        entering = np.zeros(rows, np.int64)
        for r in range(min(depth, rows)):
            if 0 <= cycle - r < m:
                entering[r] = a[cycle - r, r]
                reads += 1
        moving = np.concatenate([entering[:, None], moving[:, :-1]], axis=1)
        above = np.concatenate([np.zeros((1, columns), np.int64), sums[:-1]], axis=0)
        sums = above + moving * held
        for c in range(columns):
            i = cycle - (rows - 1) - c
            if 0 <= i < m:
                left.discard((i, c))
                if c < width:
                    out[i, c] = sums[-1, c]
                    writes += 1
        cycle += 1
    return out, reads, writes, cycle


def output_stationary(a: Matrix, w: Matrix, rows: int, columns: int) -> Trace:
    """Results grow in place: rows of a enter from the left, columns of w from the top, both skewed."""
    (m, k), n = a.shape, w.shape[1]
    out = np.zeros((m, n), np.int64)
    now = a_reads = w_reads = o_writes = 0
    for m0 in range(0, m, rows):
        for n0 in range(0, n, columns):
            height, width = min(rows, m - m0), min(columns, n - n0)
            right = np.zeros((rows, columns), np.int64)
            down = np.zeros((rows, columns), np.int64)
            sums = np.zeros((rows, columns), np.int64)
            seen = 0  # multiply-accumulates of the far corner, used or not
            cycle = 0
            while seen < k:
                west, north = np.zeros(rows, np.int64), np.zeros(columns, np.int64)
                for r in range(height):
                    if 0 <= cycle - r < k:
                        west[r] = a[m0 + r, cycle - r]
                        a_reads += 1
                for c in range(width):
                    if 0 <= cycle - c < k:
                        north[c] = w[cycle - c, n0 + c]
                        w_reads += 1
                right = np.concatenate([west[:, None], right[:, :-1]], axis=1)
                down = np.concatenate([north[None, :], down[:-1]], axis=0)
                sums += right * down
                seen += cycle >= rows + columns - 2
                cycle += 1
            out[m0 : m0 + height, n0 : n0 + width] = sums[:height, :width]
            o_writes += height * width
            now += cycle
    return Trace(out, now - 1, a_reads, w_reads, o_writes)


def pipelined_cycles(m: int, fold_count: int, rows: int, columns: int, arrays: int) -> int:
    """Cycles until every array has worked off its folds, with the next weights shifting in behind the rows that stream.

    Each array is stepped by row: a shadow chain moves one row of weights down a cycle, a row takes its shadow over when
    the first element of a fold reaches it, and a fold may start only if its weights will have arrived by then.
    """
    longest = 0
    for array in range(arrays):
        mine = range(array, fold_count, arrays)
        if len(mine):
            longest = max(longest, _one_array(m, len(mine), rows, columns))
    return longest


def _one_array(m: int, fold_count: int, rows: int, columns: int) -> int:
    # shadow[r]: (fold, destination row) of the weights in the shadow register of row r; held[r]: fold active in row r.
    shadow: list[tuple[int, int] | None] = [None] * rows
    held = [-1] * rows
    loading, injected = 0, 0
    started: list[int] = []  # cycle at which each fold's first element entered row 0
    cycle = 0
    while True:
        # A fold's first element reaches row r at start + r: the row takes over its shadow, which must be there.
        for r in range(rows):
            for fold, start in enumerate(started):
                if start + r == cycle:
                    assert shadow[r] == (fold, r), "a row started before its weights arrived"
                    held[r], shadow[r] = fold, None
        done = len(started) == fold_count and cycle >= started[-1] + (m - 1) + (rows - 1) + (columns - 1)
        cycle += 1
        if done:
            return cycle
        # Weights move down the shadow chain until they are at home; a new row of weights enters when the top is free.
        for r in range(rows - 1, 0, -1):
            above = shadow[r - 1]
            if above is not None and above[1] >= r and shadow[r] is None:
                shadow[r], shadow[r - 1] = above, None
        if loading < fold_count and loading <= len(started) and shadow[0] is None:
            shadow[0] = (loading, rows - 1 - injected)
            injected += 1
            if injected == rows:
                loading, injected = loading + 1, 0
        # The next fold enters as soon as row 0 is free of the last one and every row's weights are where they must be.
        fold = len(started)
        free = not started or cycle >= started[-1] + m
        if fold < fold_count and free and all(slot == (fold, r) for r, slot in enumerate(shadow)):
            started.append(cycle)


def fetched_folds(m: int, n: int, k: int, rows: int, columns: int, accumulator_rows: int) -> int:
    """How many folds of weights an array takes in when they stream from DRAM and it holds one at a time.

    Accumulators take so many rows of results at once, `columns` wide; all folds of a sum run before they empty.
    """
    held = None
    fetches = 0
    for column in range(0, n, columns):
        for _ in range(0, m, accumulator_rows):
            for row in range(0, k, rows):
                if held != (row, column):
                    held, fetches = (row, column), fetches + 1
    return fetches
