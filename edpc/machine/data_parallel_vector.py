"""GPU kernels without matrix products: bytes at the rate of their access pattern, against arithmetic on the vector lanes.

T = floor + max(bytes / (efficiency * bandwidth), operations / lanes + transcendentals / special units). Efficiencies are per
pattern because the pattern, not the function, decides: a transposed copy touches every line in pieces. A broadcast operand and
a copy leave the vectorised path, where multiprocessors, not memory, are what is short: machines with less bandwidth for each of
them lose less. A compiled kernel is vectorised whatever it computes; a lone operator of an eager framework pays for broadcasts.

An eager framework gives every row of a softmax or normalisation to one thread block, which walks it in steps of 16 B a thread
and then element by element. So many blocks are in flight as a multiprocessor has threads for, so rows take
rows / (multiprocessors * blocks) * (start + steps * step + tails * tail), beside what memory takes. Rows in flight that outgrow
the last-level cache are read again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edpc.machine.model import Constants
from edpc.machine.table import Flags, Floats, Ints, KernelTable
from edpc.operators import Family

# Patterns by number: the order of `_EFFICIENCY`.
STREAM, BROADCAST, COPY, STRIDED, SOFTMAX, SOFTMAX_LONG, NORM, QUANTISE = range(8)
ROWWISE = (SOFTMAX, SOFTMAX_LONG, NORM)
_EFFICIENCY = ("stream", "broadcast", "copy", "strided", "softmax", "softmax_long", "norm", "quantise")

_SCALAR = ("broadcast", "copy")  # element by element

PARAMETERS: Mapping[str, tuple[str, str]] = {
    "vector.stream": ("1", "achieved over peak DRAM bandwidth of kernels that stream"),
    **{
        f"vector.{name}": ("B/s", f"what one multiprocessor moves at most, pattern {name}")
        if name in _SCALAR
        else ("1", f"bandwidth relative to streaming, pattern {name}")
        for name in _EFFICIENCY[1:]
    },
    "vector.warm_bandwidth": ("B/s", "bandwidth of operands that are still in the last-level cache"),
    "vector.floor": ("s", "shortest time of a kernel beyond its launch"),
    "vector.norm_floor": ("s", "the same for the framework's normalisation kernel"),
    "vector.norm_step": ("s", "a step of 16 B a thread along a row of the framework's normalisation"),
    "vector.softmax_start": ("s", "start and end of a row of the framework's softmax"),
    "vector.softmax_step": ("s", "a step of 16 B a thread along it"),
    "vector.softmax_tail": ("s", "a step of one element a thread, for what is left of a row"),
    "vector.row_overlap": ("1", "exponent of the overlap of rows and bytes in softmax and normalisation"),
    "vector.resident": ("1", "share of the last-level cache in which rows in flight stay for their next pass"),
    "sm.threads": ("1", "threads that a multiprocessor holds"),
    "vector.quantise_floor": ("s", "shortest time of the activation quantiser beyond its launch"),
    "vector.quantise_row": ("s", "a row of the activation quantiser, one thread block each"),
    "vector.quantise_overlap": ("1", "exponent of the overlap of rows and bytes in the activation quantiser"),
}

_COPIES = {Family.MOVEMENT.value, Family.GATHER.value, Family.OTHER.value, Family.UNKNOWN.value}
_SELECTS = {"where", "max", "min"}
_BYTES_A_BLOCK = 4096.0  # a thread block's share of a streaming kernel: 256 threads of 16 B


# Thread blocks of the framework's row-wise kernels: a fixed one for normalisations, up to 1,024 for softmax.
_NORM_THREADS = 128.0
_VECTOR_BYTES = 16.0
_SHARPNESS = 6.3  # how sharply rows in flight outgrow the cache


@dataclass(frozen=True, slots=True)
class Patterns:
    """How each kernel walks memory.

    Attributes:
        kernels: rows of the kernels without products. pattern: its number. rows: of row-wise kernels.
        passes: times the input is read.
        blocks: thread blocks in flight on a multiprocessor. steps, tails: that one takes along a row; all 0 where rows do not
            matter.
    """

    kernels: Ints
    pattern: Ints
    rows: Floats
    passes: Floats
    blocks: Floats
    steps: Floats
    tails: Floats


def patterns(table: KernelTable, kernels: Ints, eager: bool, c: Constants) -> Patterns:
    """How kernels walk memory, from what their anchors are.

    Args:
        table: the columns.
        kernels: rows of kernels without products.
        eager: whether a framework's own kernels run.
        c: nominal constants.
    """
    anchor = table.anchor[kernels]
    family, kind = table.family[anchor], table.kind[anchor]
    alone = np.bincount(table.kernel, ~table.free, len(table.group))[kernels] <= 1
    rows, cols = table.rows[anchor], table.cols[anchor]
    pattern = np.full(len(kernels), STREAM)
    pattern[np.isin(family, list(_COPIES))] = COPY
    transposes = np.flatnonzero(np.isin(kind, ["transpose", "contiguous"]))
    pattern[[i for i in transposes if _scatters(table, int(anchor[i]))]] = STRIDED
    soft = family == Family.SOFTMAX.value
    long = soft & (cols > 1024)
    pattern[soft] = np.where(long[soft], SOFTMAX_LONG, SOFTMAX)
    pattern[kind == "quantize_dynamic"] = QUANTISE
    if eager:
        pattern[alone & (family == Family.NORMALIZATION.value) & (rows > 0) & (kind != "batch_norm")] = NORM
        pattern[alone & (family == Family.ELEMENTWISE.value) & _uneven(table, anchor)] = BROADCAST
    norm = pattern == NORM
    element = table.write_bytes[anchor] / np.maximum(rows * cols, 1.0)
    vector = np.where(element > 0.0, _VECTOR_BYTES / np.maximum(element, 1e-9), 4.0)
    # The framework takes the power of two from half of what a row could use, a warp at least.
    threads = np.where(norm, _NORM_THREADS, np.maximum(2.0 ** np.ceil(np.log2(np.clip(cols / vector, 1, 1024) / 2)), 32.0))
    blocks = np.clip(np.floor(c["sm.threads"] / threads), 1.0, c["sm.threads"] / 64.0)
    whole = np.floor(cols / (vector * threads))
    steps = np.where(norm, np.ceil(cols / (vector * threads)), whole)
    tails = np.where(norm, 0.0, np.ceil((cols - whole * vector * threads) / threads))
    walked = norm | (long & eager & alone)
    # A softmax reads a row three times, a normalisation twice; the later ones come from the cache if rows in flight fit.
    in_flight = c["sm.count"] * blocks * cols * element
    fits = c["vector.resident"] * c["llc.capacity"] / np.maximum(in_flight, 1.0)
    again = np.where(long, 2.0, np.where(norm, 1.0, 0.0)) / (1.0 + np.minimum(fits, 1e3) ** _SHARPNESS)
    return Patterns(kernels, pattern, rows, 1.0 + again, *(np.where(walked, x, 0.0) for x in (blocks, steps, tails)))


def relative_bandwidth(pattern: str, c: Constants) -> float | Floats:
    """Bandwidth of a pattern relative to streaming, at most 1 where multiprocessors set it."""
    if pattern == "stream":
        return np.ones_like(np.asarray(c["vector.stream"], float))
    if pattern not in _SCALAR:
        return c[f"vector.{pattern}"]
    moved = c[f"vector.{pattern}"] * c["sm.count"] / (c["vector.stream"] * c["dram.bandwidth"])
    return np.minimum(moved, 1.0)


def _scatters(table: KernelTable, row: int) -> bool:
    """Whether a transpose moves the innermost axis, so that it reads or writes element by element."""
    perm = table.operators[row].attribute("perm") if table.operators else None
    return not isinstance(perm, tuple) or (len(perm) > 1 and perm[-1] != len(perm) - 1)


def _uneven(table: KernelTable, anchor: Ints) -> Flags:
    """Whether an elementwise operator reads operands smaller than its result, or selects among tensors."""
    read = table.weight_bytes + table.cold_bytes + table.warm_bytes
    write = np.maximum(table.write_bytes, 1.0)
    # Python numbers are weights of at most 8 bytes and cost nothing.
    broadcast = (table.weight_bytes > 8.0) | ((table.accesses >= 3) & (read < 1.99 * write))
    uneven: Flags = (broadcast | np.isin(table.kind, list(_SELECTS)))[anchor]
    if table.operators:  # operands that do not lie alike, where the layout is known
        uneven |= np.array([bool(table.operators[int(row)].attribute("uneven")) for row in anchor], bool)
    return uneven


def vector_times(
    table: KernelTable, p: Patterns, c: Constants, arithmetic: Floats, by_kernel: Mapping[str, Floats]
) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """Compute, memory and extra time, overlap exponent and thread blocks of kernels without products.

    Args:
        table: the columns.
        p: how they walk memory.
        c: constants.
        arithmetic: time on the vector lanes and special units, shape (..., g).
        by_kernel: bytes per kernel, shape (g,): `dram`, `warm` and `write`.

    Returns:
        Arrays of shape (..., kernels of `p`).
    """
    values = np.broadcast_arrays(*(np.asarray(relative_bandwidth(name, c), float) for name in _EFFICIENCY))
    efficiency = c["vector.stream"] * np.concatenate([np.atleast_1d(v) for v in values], axis=-1)[..., p.pattern]
    dram, warm, write = (by_kernel[name][p.kernels] for name in ("dram", "warm", "write"))
    memory = (dram * p.passes + write) / (c["dram.bandwidth"] * efficiency) + warm * p.passes / c["vector.warm_bandwidth"]
    norm, quantise = p.pattern == NORM, p.pattern == QUANTISE
    each = np.where(norm, 0.0, c["vector.softmax_start"])
    each = each + p.steps * np.where(norm, c["vector.norm_step"], c["vector.softmax_step"]) + p.tails * c["vector.softmax_tail"]
    walk = np.where(p.blocks > 0, p.rows / (c["sm.count"] * np.maximum(p.blocks, 1.0)) * each, 0.0)
    rows = np.where(quantise, p.rows * c["vector.quantise_row"], walk)
    compute = np.maximum(arithmetic[..., p.kernels], rows)
    floor = np.where(norm, c["vector.norm_floor"], np.where(quantise, c["vector.quantise_floor"], c["vector.floor"]))
    q = np.where(quantise, c["vector.quantise_overlap"], np.where(p.blocks > 0, c["vector.row_overlap"], np.inf))
    blocks = (dram + warm + write) / _BYTES_A_BLOCK
    return compute, memory, floor * table.launches[p.kernels], q, np.maximum(blocks, 1.0)
