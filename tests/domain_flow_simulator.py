"""A domain-flow tile stepped cycle by cycle: the oracle of the closed form. Computes real products, register by register."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import ceil

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


def chip(blocks: int, kinds: list[tuple[int, int]], rows: int, columns: int, k: int) -> int:
    """Cycles until a chip has worked off its blocks: by its best kind of tile alone, or by all in proportion to their speed.

    Blocks are dealt to the tiles of a kind in turn, and every tile is stepped cycle by cycle.

    Args:
        blocks: how many there are.
        kinds: (tiles, cycles a step takes) of every kind.
        rows: of every tile. columns: likewise. k: steps of a block.
    """

    def busiest(dealt: int, tiles: int, interval: int) -> int:
        hands = {len(range(tile, dealt, tiles)) for tile in range(tiles)} - {0}
        a, w = np.zeros((rows, k), np.int64), np.zeros((k, columns), np.int64)
        return max((run([a] * hand, [w] * hand, interval).cycles for hand in hands), default=0)

    alone = [busiest(blocks, *kind) for kind in kinds]
    speed = sum(Fraction(tiles, interval) for tiles, interval in kinds)
    parts = [ceil(blocks * Fraction(tiles, interval) / speed) for tiles, interval in kinds]
    if len({interval for _, interval in kinds}) == 1:  # alike: one pool
        return min(*alone, busiest(blocks, sum(tiles for tiles, _ in kinds), kinds[0][1]))
    return min(*alone, max(busiest(part, *kind) for part, kind in zip(parts, kinds, strict=True)))


def streamed(m: int, n: int, k: int, rows: int, columns: int, panel_bytes: int, width: int) -> tuple[int, int]:
    """Bytes of panels into the fabric and out of L3 for one product, block after block, in the better of two orders.

    L2 has room for one kept panel of `panel_bytes`; a panel that fits is fetched when it changes, any other with every block.
    """
    grid = [(i, j) for i in range(-(-m // rows)) for j in range(-(-n // columns))]
    into_fabric = 0
    fetched = []
    for kept in (0, 1):  # rows of the first operand, or columns of the second
        held: tuple[int, int] | None = None
        total = into_fabric = 0
        for block in sorted(grid, key=lambda at: at[kept]):
            sides = (min(rows, m - block[0] * rows), min(columns, n - block[1] * columns))
            for operand, side in enumerate(sides):
                size = side * k * width
                into_fabric += size
                fits = operand == kept and (rows, columns)[operand] * k * width <= panel_bytes
                if fits and held == (operand, block[operand]):
                    continue
                total += size
                held = (operand, block[operand]) if fits else held
        fetched.append(total)
    return into_fabric, min(fetched)


def passes(weights: int, room: int, activations: int) -> int:
    """Bytes read from DRAM when weights are loaded until they fill the room, and activations pass once over every load."""
    read, left = 0, weights
    while left > 0:
        load = min(left, room)
        read += load + activations
        left -= load
    return read
