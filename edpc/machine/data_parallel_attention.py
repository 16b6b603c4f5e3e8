"""GPU fused attention: tiles of query rows that walk blocks of keys, and decode kernels that walk the cache.

Forms (fitted to the attention kernels of a serving stack on Hopper):
    * prefill: causal, 64 query rows a tile. encoder: no mask, 128 rows. Both walk 128 keys a block; a block costs its products
      and a fixed time for the exponentials, which run on the special units.
    * decode: one query row. `mmha` without shared key heads, `xqa` with them, `xqa8` with an 8-bit cache; the sequence is split
      until the multiprocessors are full.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edpc.machine.compose import overlap
from edpc.machine.data_parallel_gemm import Products, Times
from edpc.machine.model import Constants
from edpc.machine.table import Flags, Floats, Ints, KernelTable

_TILED = {
    "floor": ("s", "shortest time beyond the launch, with the kernels that prepare the operands"),
    "rate": ("1", "charged over peak rate of the matrix unit"),
    "softmax": ("s", "exponentials of one block of keys"),
    "cta": ("s", "start and end of a tile"),
    "tail": ("1", "how much of the longest tile is not hidden behind the others"),
    "relayout_bandwidth": ("B/s", "rate at which queries, keys and values are laid out for the kernel"),
}
PARAMETERS: Mapping[str, tuple[str, str]] = {
    **{f"attention.{form}.{name}": what for form in ("prefill", "encoder") for name, what in _TILED.items()},
    "attention.prefill.wide_saving": ("s", "what 16-bit heads of 128 elements save of the floor"),
    "attention.prefill.window": ("s", "a tile's extra cost of a sliding window"),
    "attention.prefill.rate8": ("1", "8-bit over 16-bit rate, in halves of the peak ratio"),
    "attention.prefill.softmax8": ("1", "cost of exponentials with 8-bit operands, relative"),
    "attention.prefill.widen8": ("1", "cost of widening 8-bit keys under a window, relative"),
    "attention.encoder.padded_head": ("1", "time of a head padded to a multiple of 64, relative to a full one"),
    "attention.read_efficiency": ("1", "achieved over peak DRAM bandwidth"),
    "attention.overlap": ("1", "exponent of the overlap of compute and memory"),
    **{f"attention.{form}.floor": ("s", "shortest time beyond the launch") for form in ("mmha", "xqa", "xqa8")},
    **{f"attention.{form}.cta": ("s", "every thread block beyond the first wave") for form in ("mmha", "xqa", "xqa8")},
    "attention.mmha.key": ("s", "walk over one key of 128 elements"),
    "attention.mmha.loop": ("s", "the same thread block's loop over keys, where its first step does not do"),
    "attention.mmha.second": ("s", "the second wave of thread blocks"),
    "attention.mmha.rate": ("1/s", "products of query and key elements"),
    "attention.xqa.key": ("s", "walk over one key of 128 elements"),
    "attention.xqa.rate": ("1/s", "products of padded query heads and key elements"),
    "attention.xqa.cta8": ("s", "every thread block beyond the first wave, 8-bit cache"),
    "attention.xqa.floor8": ("s", "shortest time beyond the launch, 8-bit cache"),
    "attention.xqa8.wide": ("s", "what more than eight query heads a key head add to the floor"),
    "attention.decode.combine_bandwidth": ("B/s", "rate at which partial results are added"),
    "attention.decode.merge": ("s", "merging the parts of a split sequence"),
    "attention.decode.read_efficiency": ("1", "achieved over peak DRAM bandwidth of cache reads"),
    "attention.decode.overlap": ("1", "exponent of the overlap of walk and memory"),
}

_KEYS = 128  # keys a block
_SPLIT_BLOCKS = 7.0  # thread blocks a multiprocessor beyond which `xqa` does not split a sequence
_XQA8_ROOM = 2048.0  # query heads times depth of which two blocks of `xqa8` fit a multiprocessor
_MMHA_FIRST = 1500.0  # elements of keys that the first step of `mmha` takes


@dataclass(frozen=True, slots=True)
class Heads:
    """Fused attentions, one row each.

    Attributes:
        heads: query heads times batch. kv_heads: key heads times batch. queries, keys: sequence lengths. depth: head size.
        causal: whether later keys are masked. window: keys a query sees, 0 for all.
        element: bytes of a key element. rate: peak of the matrix unit, FLOP/s.
        dram, warm, write: bytes read from DRAM, from the last-level cache, and written.
    """

    heads: Floats
    kv_heads: Floats
    queries: Floats
    keys: Floats
    depth: Floats
    causal: Flags
    window: Floats
    element: Floats
    rate: Floats
    dram: Floats
    warm: Floats
    write: Floats

    @property
    def seen(self) -> Floats:
        """Share of the cached keys that are touched: a decode step reads no further back than its window."""
        inside = np.minimum(self.window / np.maximum(self.keys, 1.0), 1.0)
        return np.where(self.decode & (self.window > 0), inside, 1.0)

    @property
    def decode(self) -> Flags:
        """One query against a cache."""
        one: Flags = (self.queries <= 1) & (self.keys > 1)
        return one


def heads_of(table: KernelTable, p: Products, first: Ints, kernels: Ints) -> Heads:
    """Attentions from their first product, queries by keys.

    Where the graph repeats shared key heads instead of folding queries, the bytes that keys and values really have tell how
    many query heads share one.

    Args:
        table: the columns.
        p: all contractions.
        first: rows of the attentions' first products.
        kernels: rows of the attentions.
    """
    group = np.maximum(table.query_group[kernels], 1.0)
    heads, queries = p.batch[first] * group, p.m[first] / group
    keys, depth, size = p.n[first], p.k[first], p.element[first]
    read = p.dram[first] + p.warm[first] - heads * queries * depth * size
    repeated = np.where(read > 0, 2.0 * heads * keys * depth * size / np.maximum(read, 1.0), 1.0)
    shared = np.where(group > 1, group, np.clip(np.round(repeated), 1.0, heads))
    return Heads(
        heads=heads,
        kv_heads=np.maximum(np.round(heads / shared), 1.0),
        queries=queries,
        keys=keys,
        depth=depth,
        causal=table.causal[kernels],
        window=table.window[kernels],
        element=size,
        rate=p.rate[first],
        dram=p.dram[first],
        warm=p.warm[first],
        write=p.write[first],
    )


@dataclass(frozen=True, slots=True)
class Blocks:
    """What tiles touch.

    Attributes:
        all: key blocks over all tiles. longest: of the longest tile. tiles: their number.
        executed: products executed over all products of queries and keys, masked ones included.
    """

    all: Floats
    longest: Floats
    tiles: Floats
    executed: Floats


def count_blocks(h: Heads) -> Blocks:
    """Blocks of keys that tiles of queries touch, masked ones left out; equal shapes are counted once."""
    rows = np.where(h.causal, 64, 128)
    shapes = np.stack([h.queries, h.keys, h.causal, h.window, rows], axis=1)
    distinct, inverse = np.unique(shapes, axis=0, return_inverse=True)
    found = np.array([_count(*map(int, shape)) for shape in distinct], float).reshape(-1, 3)[inverse.reshape(-1)]
    touched, longest, tiles = found.T
    padded = touched * rows * _KEYS / np.maximum(h.queries * h.keys, 1.0)
    return Blocks(touched * h.heads, longest, tiles * h.heads, np.where(h.decode, 1.0, np.maximum(padded, 1e-9)))


def _count(queries: int, keys: int, causal: int, window: int, rows: int) -> tuple[int, int, int]:
    """Key blocks of all tiles and of the longest one, and the number of tiles, of one head."""
    first_row = np.arange(0, max(queries, 1), rows)
    behind = keys - queries  # the last query sees the last key
    low = first_row + behind
    high = np.minimum(first_row + rows, queries) - 1 + behind
    last = np.clip(high, 0, keys - 1) if causal else np.full(len(first_row), keys - 1)
    first = np.clip(low - window + 1, 0, keys - 1) if window else np.zeros(len(first_row), np.int64)
    blocks = np.maximum(last // _KEYS - first // _KEYS + 1, 1)
    return int(blocks.sum()), int(blocks.max()), len(first_row)


def tiled_times(h: Heads, blocks: Blocks, c: Constants) -> Times:
    """Times of prefill and encoder attention: T = floor + re-layout + overlap(tiles over multiprocessors, bytes)."""
    sms = c["sm.count"]
    narrow = h.element < 2
    windowed = (h.window > 0) & (h.window < h.keys)
    eight = narrow & ~windowed  # with a window, 8-bit keys are widened and run as 16-bit ones, at half the rate

    def form(name: str) -> Floats:
        return np.where(h.causal, c[f"attention.prefill.{name}"], c[f"attention.encoder.{name}"])

    full = 64.0 * np.ceil(h.depth / 64.0)
    padded = np.where(h.depth == full, full, full * np.where(h.causal, 1.0, c["attention.encoder.padded_head"]))
    depth = np.where(eight & (h.depth > 128), 2.0 ** np.ceil(np.log2(np.maximum(h.depth, 1.0))), padded)
    rate = h.rate * form("rate") * np.where(eight, c["attention.prefill.rate8"], np.where(narrow, 0.5, 1.0))
    exponentials = form("softmax") * np.where(eight, c["attention.prefill.softmax8"], 1.0)
    block = 4.0 * 128.0 * _KEYS * depth / (rate / sms) + exponentials
    block = block * np.where(narrow & windowed, c["attention.prefill.widen8"], 1.0)
    tile = form("cta") + np.where(windowed, c["attention.prefill.window"], 0.0)
    longest = blocks.longest * block + tile
    shared = (blocks.all * block + blocks.tiles * tile) / sms + form("tail") * longest
    relayout = 4.0 * h.depth * (h.heads * h.queries + 2.0 * h.kv_heads * h.keys)
    cached = np.where(h.causal, 2.0 * h.kv_heads * h.keys * h.depth * h.element, 0.0)
    wide = h.causal & (h.depth == 128) & ~narrow
    floor = form("floor") - np.where(wide, c["attention.prefill.wide_saving"], 0.0)
    return Times(
        compute=np.maximum(shared, longest),
        memory=(h.dram + h.warm + h.write) / (c["dram.bandwidth"] * c["attention.read_efficiency"]),
        extra=np.maximum(floor, 0.0) + (relayout + cached) / form("relayout_bandwidth"),
        q=c["attention.overlap"],
        ctas=blocks.tiles,
        restream=blocks.all * 2.0 * _KEYS * h.depth * h.element,
    )


def decode_times(h: Heads, c: Constants) -> Times:
    """Times of decode attention: T = floor + overlap of the walk along keys, thread blocks beyond one wave, and cache reads.

    A multiprocessor holds two blocks of `mmha` and of `xqa8` (one where query heads times depth outgrow its memory), one of `xqa`
    with a 16-bit cache, four with an 8-bit one; further blocks wait.
    """
    sms = c["sm.count"]
    shared = h.heads / np.maximum(h.kv_heads, 1.0)
    parts = h.kv_heads * np.maximum(1.0, np.floor(h.keys / 128.0))
    grouped = (shared > 1) & (shared <= 32)
    narrow = h.element < 2
    xqa8 = grouped & narrow & (h.depth > 64)
    xqa = grouped & ~xqa8 & (parts >= 33)
    mmha = ~xqa8 & ~xqa

    seen = h.seen * h.keys
    depth = 2.0 ** np.ceil(np.log2(np.maximum(h.depth, 64.0)))
    padded = 8.0 * np.ceil(shared / 8.0)
    products = 2.0 * seen * depth * np.where(mmha, h.heads, h.kv_heads * padded)
    arithmetic = products / np.where(mmha, c["attention.mmha.rate"], c["attention.xqa.rate"])
    read = h.dram / (c["dram.bandwidth"] * c["attention.decode.read_efficiency"]) + h.warm / c["llc.bandwidth"]
    read = read * h.seen

    groups = np.where(mmha, h.heads, h.kv_heads)
    # Sequences are split by their length, whatever a window leaves of it, up to so many blocks a multiprocessor.
    most = np.maximum(1.0, _SPLIT_BLOCKS * sms / np.maximum(groups, 1.0))
    splits = np.where(xqa & ~narrow, np.minimum(np.ceil(h.keys / 128.0) ** 0.82, most), 1.0)
    blocks = groups * splits
    large = padded * depth > _XQA8_ROOM
    held = sms * np.select([xqa8 & large, mmha | xqa8, narrow], [1.0, 2.0, 4.0], 1.0)
    wider = np.sqrt(padded / 8.0)
    looped = c["attention.mmha.loop"] / (1.0 + (_MMHA_FIRST / np.maximum(seen * depth, 1.0)) ** 4)
    each = np.select(
        [mmha, xqa8, narrow],
        [
            c["attention.mmha.cta"] + looped,
            c["attention.xqa8.cta"] * depth / 128.0 * wider * np.where(large, 2.0, 1.0),
            c["attention.xqa.cta8"] * wider,
        ],
        c["attention.xqa.cta"] * (0.8 + 0.2 * depth / 64.0),
    )
    waiting = np.maximum(blocks - held, 0.0)
    # The second wave of `mmha` costs a fixed time, in which the third starts.
    second = np.where(waiting > 0, np.maximum(c["attention.mmha.second"], (waiting - sms) * each), 0.0)
    partial = np.where(xqa8, 0.0, 6.0 * h.heads * h.depth / c["attention.decode.combine_bandwidth"])
    later = np.where(mmha, second, waiting * each) + partial
    walk = seen * np.where(mmha, c["attention.mmha.key"], c["attention.xqa.key"]) * depth / 128.0
    along = np.minimum(walk, walk / np.maximum(1.0, sms / np.maximum(groups, 1.0)) + c["attention.decode.merge"])
    eight = c["attention.xqa8.floor"] + np.where(padded > 8, c["attention.xqa8.wide"], 0.0)
    floor = np.select(
        [mmha, xqa8, narrow], [c["attention.mmha.floor"], eight, c["attention.xqa.floor8"]], c["attention.xqa.floor"]
    )
    q = c["attention.decode.overlap"]
    return Times(
        compute=overlap(along, later, q),
        memory=overlap(read, arithmetic, 4.0),
        extra=floor,
        q=q,
        ctas=groups * np.maximum(1.0, np.floor(sms / np.maximum(groups, 1.0))),
        restream=np.zeros_like(along),
    )
