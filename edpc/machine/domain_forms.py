"""Closed forms of a domain-flow tile: blocks of results that grow in place while operands stream through.

A tile of `rows` x `columns` elements works off a row of blocks. A block is `rows` x `columns` results, each a sum over `steady`
cycles. Operands enter at the top edge and reach the last row `fill` cycles later; a row's results leave sideways through a
shift register in `drain` cycles. Both overlap with the neighbouring blocks, so the tile pays them once. With steady >= drain:

    cycles = n * steady + fill + drain,    utilisation = n * steady / (n * steady + fill + drain)

A block that is shorter than the drain waits until its predecessor's results have left: a later block pays max(steady, drain).
"""

from __future__ import annotations

import numpy as np

from edpc.machine.table import Floats

Count = float | Floats


def steady_cycles(k: Count, rows: Count, columns: Count, ops_per_cycle: Count) -> Floats:
    """Cycles in which a whole block takes its k steps, at two operations per multiply-accumulate; whole cycles."""
    return np.ceil(2.0 * np.asarray(k, float) * rows * columns / ops_per_cycle)


def tile_cycles(blocks: Count, steady: Count, fill: Count, drain: Count) -> Floats:
    """Cycles until the last result of the last block has left the tile; 0 without blocks.

    Args:
        blocks: how many blocks the tile works off, n.
        steady: cycles of one block between its first and its last step.
        fill: cycles until the last row has its first operands.
        drain: cycles in which a row's results leave.
    """
    blocks, steady = np.asarray(blocks, float), np.asarray(steady, float)
    cycles = (blocks - 1.0) * np.maximum(steady, drain) + steady + fill + drain
    return np.where(blocks > 0.0, cycles, 0.0)


def utilization(blocks: Count, steady: Count, fill: Count, drain: Count) -> Floats:
    """Steady cycles over all cycles of a tile."""
    cycles = tile_cycles(blocks, steady, fill, drain)
    busy = np.asarray(blocks, float) * np.asarray(steady, float)
    return np.where(cycles > 0.0, busy / np.where(cycles > 0.0, cycles, 1.0), 0.0)
