"""GPU matrix products: the tile grids of the vendor's libraries, one form per library.

Three forms, each fitted to its library's kernels on Hopper:
    * 16-bit and TF32 (`gemm.*`): a table of tiles and split-K factors, of which the least predicted time is run; waves are
      fractional because tiles of different waves overlap.
    * 8-bit (`gemm8.*`): persistent tiles by a dispatch table on M and N; whole waves.
    * fp32 on the vector lanes (`ffma.*`): tiles without split-K, several per multiprocessor; whole waves. A product with a vector
      has no tiles: its kernel streams the matrix, row by row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from edpc.machine.compose import overlap
from edpc.machine.model import Constants
from edpc.machine.table import Floats, Ints

PARAMETERS: Mapping[str, tuple[str, str]] = {
    "gemm.floor": ("s", "shortest time of a 16-bit GEMM kernel beyond its launch"),
    "gemm.efficiency": ("1", "sustained over peak rate of the matrix unit at full clock"),
    "gemm.sm_bandwidth": ("B/s", "operand bandwidth of a multiprocessor from the last-level cache"),
    "gemm.step": ("s", "shortest time of one step along K"),
    "gemm.prologue": ("s", "start of a tile"),
    "gemm.epilogue_bandwidth": ("B/s", "rate at which a multiprocessor writes a finished tile"),
    "gemm.read_efficiency": ("1", "achieved over peak DRAM bandwidth of operand reads"),
    "gemm.sm_dram_bandwidth": ("B/s", "DRAM bandwidth that one multiprocessor can draw"),
    "gemm.write_efficiency": ("1", "achieved over peak DRAM bandwidth of result writes"),
    "gemm.overlap": ("1", "exponent of the overlap of compute and memory"),
    "gemm.split": ("s", "cost of the second pass that adds split-K partial sums"),
    "gemm.split_bandwidth": ("B/s", "rate at which partial sums are written and added"),
    "gemm8.floor": ("s", "shortest time of an 8-bit GEMM kernel beyond its launch"),
    "gemm8.efficiency": ("1", "sustained over peak rate of the matrix unit at full clock"),
    "gemm8.step": ("s", "shortest time of one step along K"),
    "gemm8.prologue": ("s", "start of a tile"),
    "gemm8.efficiency_dram": ("1", "achieved over peak DRAM bandwidth of operand reads"),
    "gemm8.ramp": ("s", "latency until the memory pipeline is full"),
    "gemm8.overlap": ("1", "exponent of the overlap of compute and memory"),
    "ffma.floor": ("s", "shortest time of an fp32 GEMM kernel beyond its launch"),
    "ffma.ends": ("s", "what first and last tiles add to a long fp32 GEMM kernel"),
    "ffma.ends_batched": ("s", "the same for a batched product"),
    "ffma.efficiency": ("1", "sustained over peak rate of the fp32 lanes"),
    "ffma.operand": ("1", "operand delivery: lost fraction of a tile's time is this over each tile side"),
    "ffma.epilogue_bandwidth": ("B/s", "rate at which a multiprocessor writes a finished tile"),
    "ffma.read_efficiency": ("1", "achieved over peak DRAM bandwidth of operand reads"),
    "ffma.write_efficiency": ("1", "achieved over peak DRAM bandwidth of result writes"),
    "ffma.overlap": ("1", "exponent of the overlap of compute and memory"),
    "conv8.overlap": ("1", "exponent of the overlap of compute and memory of an 8-bit convolution"),
}

# Tiles (rows x columns) the library is known to hold, in both orientations, and its split-K factors.
_TILES = (
    *((64, 16), (64, 32), (64, 64), (64, 96), (128, 32), (128, 64), (128, 96), (128, 128), (128, 160)),
    *((192, 128), (256, 64), (256, 128)),
)
_SPLITS = (1, 2, 3, 4, 6, 8, 16, 32)
_STEP_BYTES = 128  # one step along K brings this many bytes of every row and column of a tile
_FFMA_TILES = ((32, 32), (32, 64), (64, 64), (128, 32), (64, 128), (128, 128), (256, 64), (256, 128))
_VECTOR_ROWS = 4  # of the matrix a thread block takes in a product with a vector: a warp each
_CHUNK = 2048  # rows searched at a time: bounds the memory of the search


@dataclass(frozen=True, slots=True)
class Products:
    """Matrix products to be timed, one row each (or a column of rows against candidates).

    Attributes:
        batch, m, n, k: the iteration space of one step. element: bytes of an operand element.
        rate: peak of the matrix unit in the product's precision, FLOP/s.
        dram, warm, write: bytes its kernel reads from DRAM, from the last-level cache, and writes.
    """

    batch: Floats
    m: Floats
    n: Floats
    k: Floats
    element: Floats
    rate: Floats
    dram: Floats
    warm: Floats
    write: Floats


@dataclass(frozen=True, slots=True)
class Tiles:
    """The chosen tile of every product: rows, columns, split-K factor."""

    m: Floats
    n: Floats
    split: Floats


@dataclass(frozen=True, slots=True)
class Times:
    """How long a product keeps its resources busy.

    Attributes:
        compute, memory: s, which overlap with exponent `q`. extra: s on top (floor, second pass).
        ctas: tiles in flight at most, which decides how many multiprocessors are clocked.
        restream: bytes that tiles fetch from the last-level cache.
    """

    compute: Floats
    memory: Floats
    extra: Floats
    q: Floats | float
    ctas: Floats
    restream: Floats


def library_times(p: Products, tiles: Tiles, c: Constants) -> Times:
    """Times of 16-bit and TF32 products under given tiles: n tiles in fractional waves over S multiprocessors."""
    sms = c["sm.count"]
    step_k = _STEP_BYTES / p.element
    grid = np.ceil(p.m / tiles.m) * np.ceil(p.n / tiles.n) * p.batch * tiles.split
    active = np.minimum(grid, sms)
    math = 2.0 * tiles.m * tiles.n * step_k / (p.rate * c["gemm.efficiency"] / sms)
    fetch = (tiles.m + tiles.n) * _STEP_BYTES / c["gemm.sm_bandwidth"]
    step = np.maximum(np.maximum(math, fetch), c["gemm.step"])
    steps = np.ceil(np.ceil(p.k / step_k) / tiles.split)
    result = tiles.m * tiles.n * np.where(tiles.split > 1, 4.0, p.element) / c["gemm.epilogue_bandwidth"]
    compute = np.maximum(grid / sms, 1.0) * (c["gemm.prologue"] + steps * step + result)
    # DRAM bandwidth is bounded by the chip and by what the active multiprocessors can draw.
    drawn = _soft_minimum(c["dram.bandwidth"] * c["gemm.read_efficiency"], active * c["gemm.sm_dram_bandwidth"])
    near = np.minimum(c["llc.bandwidth"], active * c["gemm.sm_bandwidth"])
    write = p.write / (c["dram.bandwidth"] * c["gemm.write_efficiency"])
    memory = p.dram / drawn + p.warm / near + write
    second = c["gemm.split"] + 8.0 * p.batch * p.m * p.n * tiles.split / c["gemm.split_bandwidth"]
    return Times(
        compute=compute,
        memory=memory,
        extra=c["gemm.floor"] + np.where(tiles.split > 1, second, 0.0),
        q=c["gemm.overlap"],
        ctas=grid,
        restream=grid / tiles.split * (tiles.m + tiles.n) * p.k * p.element,
    )


def choose_library_tiles(p: Products, c: Constants) -> Tiles:
    """The tile and split of least predicted time for every product, as the library's heuristic would choose.

    A split leaves each part at least four steps along K.
    """
    sides = sorted({t for a, b in _TILES for t in ((a, b), (b, a))})
    table = np.array([(m, n, s) for m, n in sides for s in _SPLITS], float).T
    candidates = Tiles(*table)

    def total(rows: Products) -> Floats:
        t = library_times(rows, candidates, c)
        steps = np.ceil(rows.k * rows.element / _STEP_BYTES)
        allowed = candidates.split <= np.maximum(1.0, steps / 4.0)
        return np.where(allowed, t.extra + overlap(t.compute, t.memory, t.q), np.inf)

    best = _search(p, total)
    return Tiles(table[0, best], table[1, best], table[2, best])


def persistent_times(p: Products, tiles: Tiles, c: Constants) -> Times:
    """Times of 8-bit products: whole waves of persistent tiles in clusters of two; writes hide behind the next tile."""
    sms = c["sm.count"]
    step_k = np.where(tiles.m <= 64, 256.0, 128.0)
    down = np.ceil(p.m / tiles.m)
    grid = np.where(tiles.m > 64, 2.0 * np.ceil(down / 2.0), down) * np.ceil(p.n / tiles.n) * p.batch
    step = np.maximum(2.0 * tiles.m * tiles.n * step_k / (p.rate * c["gemm8.efficiency"] / sms), c["gemm8.step"])
    compute = np.ceil(grid / sms) * (c["gemm8.prologue"] + np.ceil(p.k / step_k) * step)
    memory = p.dram / (c["dram.bandwidth"] * c["gemm8.efficiency_dram"]) + p.warm / c["llc.bandwidth"] + c["gemm8.ramp"]
    restream = grid * (tiles.m + tiles.n) * p.k
    return Times(compute, memory, np.broadcast_to(c["gemm8.floor"], np.shape(compute)), c["gemm8.overlap"], grid, restream)


def choose_persistent_tiles(p: Products) -> Tiles:
    """The tile that the serving library dispatches to, by M and N."""
    m = np.select([(p.m <= 16) | ((p.m <= 64) & (p.n <= 1280)), p.m <= 128], [16.0, 64.0], 128.0)
    n = np.where(p.m <= 64, 64.0, 128.0)
    return Tiles(m, n, np.ones_like(m))


def convolution8_times(p: Products, c: Constants) -> Times:
    """Times of 8-bit convolutions as implicit products: 128 x 128 tiles in whole waves, channels padded to 64 and 32.

    Where the tiles leave multiprocessors idle, the depth is split among them if the second pass is worth it, as 16-bit products
    do; nobody timed that for 8-bit convolutions.
    """
    sms = c["sm.count"]
    k, n = 32.0 * np.ceil(p.k / 32.0), 64.0 * np.ceil(p.n / 64.0)
    wide = np.minimum(n, 128.0)
    grid = np.ceil(p.m / 128.0) * np.ceil(n / 128.0) * p.batch
    tile = 2.0 * 128.0 * wide * k / (p.rate * c["gemm8.efficiency"] / sms)
    waves = np.ceil(grid / sms) * tile
    deepest = np.maximum(np.floor(k / (4.0 * _STEP_BYTES)), 1.0)
    split = np.clip(np.floor(sms / grid), 1.0, deepest)
    compute = np.where(split > 1.0, np.minimum(waves, tile / split + c["gemm.split"]), waves)
    memory = (p.dram + p.write) / (c["dram.bandwidth"] * c["gemm8.efficiency_dram"]) + p.warm / c["llc.bandwidth"]
    floor = np.broadcast_to(c["gemm8.floor"], np.shape(compute))
    return Times(compute, memory, floor, c["conv8.overlap"], grid, grid * (128.0 + wide) * k)


def lane_times(p: Products, tiles: Tiles, c: Constants) -> Times:
    """Times of fp32 products on the vector lanes: whole waves of tiles, as many per multiprocessor as registers allow."""
    sms = c["sm.count"]
    resident = np.clip(np.floor(16384.0 / (tiles.m * tiles.n)), 1.0, 8.0)
    grid = np.ceil(p.m / tiles.m) * np.ceil(p.n / tiles.n) * p.batch
    full = np.floor(grid / (sms * resident))
    rounds = full * resident + np.ceil((grid - full * sms * resident) / sms)
    delivery = 1.0 + c["ffma.operand"] * (1.0 / tiles.m + 1.0 / tiles.n)
    math = 2.0 * tiles.m * tiles.n * 8.0 * np.ceil(p.k / 8.0) / (p.rate * c["ffma.efficiency"] / sms) * delivery
    compute = rounds * (math + p.element * tiles.m * tiles.n / c["ffma.epilogue_bandwidth"])
    is_vector = np.minimum(p.m, p.n) == 1
    compute = np.where(is_vector, 2.0 * p.batch * p.m * p.n * p.k / (p.rate * c["ffma.efficiency"]), compute)
    grid = np.where(is_vector, p.batch * np.ceil(np.maximum(p.m, p.n) / _VECTOR_ROWS), grid)
    read = p.dram / (c["dram.bandwidth"] * c["ffma.read_efficiency"]) + p.warm / c["llc.bandwidth"]
    memory = read + p.write / (c["dram.bandwidth"] * c["ffma.write_efficiency"])
    # Seen in kernels of 0.3 ms and more; a kernel that is shorter than its first and last tiles take has less of them.
    ends = np.where(p.batch > 1, c["ffma.ends_batched"], c["ffma.ends"])
    ends = np.where(is_vector, 0.0, ends)
    busy = np.maximum(compute, memory)
    extra = c["ffma.floor"] + ends * -np.expm1(-busy / np.maximum(ends, 1e-12))
    restream = np.where(is_vector, p.batch * (p.m + p.n), grid * (tiles.m + tiles.n)) * p.k * p.element
    return Times(compute, memory, extra, c["ffma.overlap"], grid, restream)


def choose_lane_tiles(p: Products, c: Constants) -> Tiles:
    """The tile of least predicted time for every fp32 product."""
    sides = sorted({t for a, b in _FFMA_TILES for t in ((a, b), (b, a))})
    table = np.array([(m, n, 1) for m, n in sides], float).T
    candidates = Tiles(*table)

    def total(rows: Products) -> Floats:
        t = lane_times(rows, candidates, c)
        return overlap(t.compute, t.memory, t.q)

    best = _search(p, total)
    return Tiles(table[0, best], table[1, best], table[2, best])


def _search(p: Products, total: Callable[[Products], Floats]) -> Ints:
    """Index of the candidate of least time for every product; equal products are searched once."""
    fields = np.stack([np.broadcast_to(getattr(p, f), p.m.shape) for f in p.__slots__], axis=1)
    distinct, inverse = np.unique(fields, axis=0, return_inverse=True)
    found = np.zeros(len(distinct), np.int64)
    for start in range(0, len(distinct), _CHUNK):
        part = distinct[start : start + _CHUNK]
        found[start : start + _CHUNK] = np.argmin(total(Products(*(part[:, i, None] for i in range(part.shape[1])))), axis=1)
    best: Ints = found[inverse.reshape(-1)]
    return best


def _soft_minimum(a: Floats | float, b: Floats | float) -> Floats:
    """The smaller of two bandwidths, rounded off where they are alike: (a^-4 + b^-4)^(-1/4)."""
    low = np.minimum(a, b)
    result: Floats = low / (1.0 + (low / np.maximum(a, b)) ** 4) ** 0.25
    return result
