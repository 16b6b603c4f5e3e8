"""GPU kernels without matrix products: bytes at the rate of their access pattern, against arithmetic on the vector lanes.

T = floor + max(bytes / (efficiency * bandwidth), operations / lanes + transcendentals / special units). Efficiencies are per
pattern because the pattern, not the function, decides: a broadcast operand leaves the vectorised path, a transposed copy
touches every line in pieces. A compiled kernel is vectorised whatever it computes; a lone operator of an eager framework pays
for broadcasts, and its normalisation per row.
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
_EFFICIENCY = ("stream", "broadcast", "copy", "strided", "softmax", "softmax_long", "norm", "quantise")

PARAMETERS: Mapping[str, tuple[str, str]] = {
    **{f"vector.{name}": ("1", f"achieved over peak DRAM bandwidth, pattern {name}") for name in _EFFICIENCY},
    "vector.warm_bandwidth": ("B/s", "bandwidth of operands that are still in the last-level cache"),
    "vector.floor": ("s", "shortest time of a kernel beyond its launch"),
    "vector.norm_floor": ("s", "the same for the framework's normalisation kernel"),
    "vector.norm_row": ("s", "a row of a normalisation on one multiprocessor"),
    "vector.quantise_floor": ("s", "shortest time of the activation quantiser beyond its launch"),
    "vector.quantise_row": ("s", "a row of the activation quantiser, one thread block each"),
    "vector.quantise_overlap": ("1", "exponent of the overlap of rows and bytes in the activation quantiser"),
    "vector.softmax_resident": ("1", "row length from which a softmax reads its row twice"),
}

_COPIES = {Family.MOVEMENT.value, Family.GATHER.value, Family.OTHER.value, Family.UNKNOWN.value}
_SELECTS = {"where", "max", "min"}
_BYTES_A_BLOCK = 4096.0  # a thread block's share of a streaming kernel: 256 threads of 16 B


@dataclass(frozen=True, slots=True)
class Patterns:
    """How each kernel walks memory.

    Attributes:
        kernels: rows of the kernels without products. pattern: its number. rows: of normalisations and quantisers.
        passes: times the input is read.
    """

    kernels: Ints
    pattern: Ints
    rows: Floats
    passes: Floats


def patterns(table: KernelTable, kernels: Ints, eager: bool, resident: float) -> Patterns:
    """How kernels walk memory, from what their anchors are.

    Args:
        table: the columns.
        kernels: rows of kernels without products.
        eager: whether a framework's own kernels run.
        resident: row length from which a softmax reads its row twice.
    """
    anchor = table.anchor[kernels]
    family, kind = table.family[anchor], table.kind[anchor]
    alone = np.bincount(table.kernel, ~table.free, len(table.group))[kernels] <= 1
    rows, cols = table.rows[anchor], table.cols[anchor]
    pattern = np.full(len(kernels), STREAM)
    pattern[np.isin(family, list(_COPIES))] = COPY
    transposes = np.flatnonzero(kind == "transpose")
    pattern[[i for i in transposes if _scatters(table, int(anchor[i]))]] = STRIDED
    soft = family == Family.SOFTMAX.value
    pattern[soft] = np.where(cols[soft] > 1024, SOFTMAX_LONG, SOFTMAX)
    pattern[kind == "quantize_dynamic"] = QUANTISE
    if eager:
        pattern[alone & (family == Family.NORMALIZATION.value) & (rows > 0) & (kind != "batch_norm")] = NORM
        pattern[alone & (family == Family.ELEMENTWISE.value) & _uneven(table, anchor)] = BROADCAST
    # A long row no longer fits on chip and is read again.
    again = np.where(soft, 1.0 / (1.0 + (resident / np.maximum(cols, 1.0)) ** 7), 0.0)
    return Patterns(kernels, pattern, rows, 1.0 + again)


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
    values = np.broadcast_arrays(*(np.asarray(c[f"vector.{name}"], float) for name in _EFFICIENCY))
    efficiency = np.concatenate([np.atleast_1d(v) for v in values], axis=-1)[..., p.pattern]
    dram, warm, write = (by_kernel[name][p.kernels] for name in ("dram", "warm", "write"))
    memory = (dram * p.passes + write) / (c["dram.bandwidth"] * efficiency) + warm * p.passes / c["vector.warm_bandwidth"]
    norm, quantise = p.pattern == NORM, p.pattern == QUANTISE
    rows = np.where(quantise, p.rows * c["vector.quantise_row"], 0.0)
    compute = np.maximum(arithmetic[..., p.kernels], rows)
    floor = np.where(norm, c["vector.norm_floor"], np.where(quantise, c["vector.quantise_floor"], c["vector.floor"]))
    per_row = np.where(norm, p.rows / c["sm.count"] * c["vector.norm_row"], 0.0)
    q = np.where(quantise, c["vector.quantise_overlap"], np.inf)
    blocks = (dram + warm + write) / _BYTES_A_BLOCK
    extra = floor * table.launches[p.kernels] + per_row
    return compute, memory, extra, q, np.maximum(blocks, 1.0)
