"""A domain-flow tile stepped cycle by cycle: the oracle of the closed form. Computes real products, register by register."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.int64]


@dataclass(frozen=True)
class Trace:
    """The blocks as the tile made them, how many cycles passed, and in how many of them the last row computed."""

    blocks: list[Matrix]
    cycles: int
    busy: int


@dataclass(frozen=True)
class Token:
    """One step of one block on its way down the rows."""

    block: int
    step: int


def run(a_panels: list[Matrix], w_panels: list[Matrix], interval: int = 1) -> Trace:
    """Works off blocks a @ w, one after the other.

    Args:
        a_panels: [rows, K] per block; row r of a panel is broadcast along row r of the tile when its step comes.
        w_panels: [K, columns] per block; a step's row of weights moves down one row of the tile a cycle.
        interval: cycles a step takes (2 where an element multiplies every other cycle).
    """
    rows, k = a_panels[0].shape
    columns = w_panels[0].shape[1]
    count = len(a_panels)
    register: list[Token | None] = [None] * rows  # the step that a row works on in this cycle
    sums = np.zeros((rows, columns), np.int64)
    leaving: list[list[tuple[int, int, int]]] = [[] for _ in range(rows)]  # shift registers: (block, column, value)
    out = [np.zeros((rows, columns), np.int64) for _ in range(count)]
    missing = count * rows * columns
    block = step = 0
    top_free = 0  # cycle from which the top row may latch its next results
    cycle = busy = 0
    while missing:
        # Shift registers hand one result a cycle to the edge.
        for r, queue in enumerate(leaving):
            if queue:
                b, c, value = queue.pop(0)
                out[b][r, c] = value
                missing -= 1
        # Every row computes the step it holds, and latches the block's results after its last.
        for r, token in enumerate(register):
            if token is None:
                continue
            busy += r == rows - 1
            kk, phase = divmod(token.step, interval)
            if phase == 0:
                sums[r] = (0 if kk == 0 else sums[r]) + a_panels[token.block][r, kk] * w_panels[token.block][kk]
            if token.step == k * interval - 1:
                assert not leaving[r], "results were overwritten before they had left"
                leaving[r] = [(token.block, c, int(sums[r, c])) for c in range(columns)]
        # Steps move down a row. The top takes the next one; a block's last step waits until its results can be latched.
        register = [None, *register[:-1]]
        if block < count:
            last = step == k * interval - 1
            if not last or cycle + 1 >= top_free:
                register[0] = Token(block, step)
                if last:
                    top_free = cycle + 1 + columns
                step += 1
                if last:
                    block, step = block + 1, 0
        cycle += 1
    return Trace(out, cycle, busy)
