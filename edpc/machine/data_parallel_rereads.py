"""Operands that a GPU kernel repeats over an outer axis: read again each time where too much passes through the cache between.

An attention mask [B, 1, S, S] is added to scores [B, H, S, S] head after head. Between two uses of a line lie the mask of one
sequence and the scores of one head, read and written; if these outgrow the last-level cache, every head reads the mask from DRAM.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from math import prod

import numpy as np

from edpc.ir import DTYPE_BITS, TensorType
from edpc.machine.data_parallel_vector import BROADCAST, STREAM, Patterns, relative_bandwidth
from edpc.machine.model import Constants
from edpc.machine.table import Floats, KernelTable
from edpc.operators import ELEMENTWISE


def with_rereads(p: Patterns, table: KernelTable, c: Constants) -> Patterns:
    """The patterns with the bytes that kernels read again.

    A framework's kernel that leaves the vectorised path has bandwidth to spare, so that it is held up by one or the other.

    Args:
        p: of kernels without products.
        table: the columns.
        c: nominal constants.
    """
    again = _again(table, float(c["llc.warm_fraction"]) * float(c["llc.capacity"]))
    if not again.any():
        return p
    g = len(table.group)
    read = np.bincount(table.kernel, table.weight_bytes + table.cold_bytes + table.warm_bytes, g)[p.kernels]
    write = np.bincount(table.kernel, table.write_bytes, g)[p.kernels]
    more = 1.0 + again[p.kernels] / np.maximum(read, 1.0)
    scattered = p.pattern == BROADCAST
    streams = scattered & ((read * more + write) * relative_bandwidth("broadcast", c) > read + write)
    pattern = np.where(streams, STREAM, p.pattern)
    return replace(p, pattern=pattern, passes=p.passes * np.where(scattered & ~streams, 1.0, more))


def _again(table: KernelTable, room: float) -> Floats:
    """Bytes that every kernel reads a second time and more, shape (g,)."""
    outside = table.weight_bytes + table.cold_bytes + table.warm_bytes > 0
    found = np.zeros(len(table.names))
    for row in np.flatnonzero(outside & np.isin(table.kind, list(ELEMENTWISE))).tolist():
        op = table.operators[row] if table.operators else None
        if op is not None and len(op.inputs) > 1 and op.outputs[0].is_static:
            found[row] = _reread(op.inputs, op.outputs[0], room)
    result: Floats = np.bincount(table.kernel, found, len(table.group)).astype(float)
    return result


@lru_cache(maxsize=4096)
def _reread(operands: tuple[TensorType, ...], out: TensorType, room: float) -> float:
    """Bytes that one operator reads again of the operands it repeats."""
    whole, width = out.dims(), DTYPE_BITS[out.dtype] / 8
    streams = 1 + sum(t.dims() == whole for t in operands)
    total = 0.0
    for operand in operands:
        kept = (1,) * (len(whole) - len(operand.dims())) + operand.dims()
        if kept == whole or len(kept) > len(whole):
            continue
        size = DTYPE_BITS[operand.dtype] / 8
        times = 1
        for axis, count in enumerate(whole):
            between = prod(kept[axis + 1 :]) * size + streams * prod(whole[axis + 1 :]) * width
            if kept[axis] == 1 and between > room:
                times *= count
        total += operand.numel * size * (times - 1)
    return total
