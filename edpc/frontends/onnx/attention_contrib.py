"""Attentions of com.microsoft, expanded: projected inside the node, before it, in groups, and with a cache."""

from __future__ import annotations

from edpc.frontends.onnx.attention import Variant, attend, extend_cache, merge_heads, split_heads
from edpc.frontends.onnx.expressions import (
    Dim,
    Shape,
    combine,
    concat,
    deliver,
    matmul,
    over,
    plus,
    shape_of,
    split,
    times,
    transpose,
    view,
)
from edpc.frontends.onnx.rotary import angle_rows, rotate
from edpc.frontends.onnx.site import Site
from edpc.ir import TensorType, Value


def attention(site: Site) -> None:
    """`Attention`, `DecoderMaskedSelfAttention`: input [B, S, I], weights [I, 3H] and bias project to q, k and v."""
    bias = [site.value(2)] if site.has(2) else []
    projected = matmul(site, site.value(0), site.value(1, stored=True), "qkv", *bias)
    _projected_attention(site, projected, past=site.optional(4), mask=site.optional(3), added=site.optional(5))


def quantised_attention(site: Site) -> None:
    """`QAttention`: the projection in int8 with int32 accumulation, everything after it in floating point."""
    x, weight = site.value(0), site.value(1, stored=True)
    biased = site.has(2)
    extra = [*([site.value(2)] if biased else []), *site.scales((3, 4, 6, 7))]
    dtype = site.result_type(0).dtype
    projected = matmul(site, x, weight, "qkv", *extra, dtype=dtype, addend=biased, compute_precision="int8")
    _projected_attention(site, projected, past=site.optional(8), mask=site.optional(5), added=None)


def _projected_attention(site: Site, projected: Value, past: Value | None, mask: Value | None, added: Value | None) -> None:
    heads: Dim = site.attributes.get("num_heads") or None
    width = shape_of(site, projected, 3)[2]
    sizes: tuple[Dim, ...] = site.attributes.get("qkv_hidden_sizes") or (over(width, 3),) * 3
    parts = split(site, projected, sizes, 2, "qkv_split")
    q, k, v = (split_heads(site, value, heads, name) for value, name in zip(parts, "qkv", strict=True))
    if past is not None:
        batch, count, _, depth = shape_of(site, k, 4)
        before = shape_of(site, past, 5)[3]
        halves = split(site, past, (1, 1), 0, "past_split")
        cached: Shape = (batch, count, before, depth)
        k = concat(site, (view(site, halves[0], cached, "past_key"), k), 2, "key_cache")
        v = concat(site, (view(site, halves[1], cached, "past_value"), v), 2, "value_cache")
    if site.wants(1):
        present = (1, *shape_of(site, k, 4))
        deliver(site, 1, concat(site, (view(site, k, present, "key_stack"), view(site, v, present, "value_stack")), 0, "present"))
    variant = Variant(scale=site.attributes.get("scale"), causal=bool(site.attributes.get("unidirectional", 0)))
    done = attend(site, q, k, v, variant, _mask(site, mask, added, variant))
    deliver(site, 0, merge_heads(site, done.output))


def multi_head_attention(site: Site) -> None:
    """`MultiHeadAttention`: q, k and v projected already: apart, packed as [B, S, N, 3, D], or k and v of an encoder."""
    _separate_attention(site, bias=3, mask=4, added=5, past=(6, 7))


def decoder_multi_head_attention(site: Site) -> None:
    """`DecoderMaskedMultiHeadAttention`: one query per sequence; keys and values of the past in buffers of full length."""
    _separate_attention(site, bias=10, mask=3, added=4, past=(5, 6))


def _separate_attention(site: Site, bias: int, mask: int, added: int, past: tuple[int, int]) -> None:
    heads: Dim = site.attributes.get("num_heads") or None
    q, k, v = _query_key_value(site, heads, bias)
    wants = site.result_type(1) if site.wants(1) else None
    k = extend_cache(site, site.optional(past[0]), k, wants, "key_cache")
    v = extend_cache(site, site.optional(past[1]), v, site.result_type(2) if site.wants(2) else None, "value_cache")
    variant = Variant(scale=site.attributes.get("scale") or None, causal=bool(site.attributes.get("unidirectional", 0)))
    done = attend(site, q, k, v, variant, _mask(site, site.optional(mask), site.optional(added), variant))
    deliver(site, 0, merge_heads(site, done.output))
    deliver(site, 1, k)
    deliver(site, 2, v)
    deliver(site, 3, done.raw)


def _query_key_value(site: Site, heads: Dim, bias_slot: int) -> tuple[Value, Value, Value]:
    """q, k and v as [B, H, S, D], whatever way the node packs them."""
    q = site.value(0)
    rank = len(site.type(0).shape or ())
    if rank == 5:  # [B, S, N, 3, D]
        q, k, v = _unpacked(site, q, 3, "qkv")
        return q, k, v
    biases = _biases(site, bias_slot, q)
    q = split_heads(site, _biased(site, q, biases[0], "q_bias"), heads, "q")
    key = site.optional(1)
    if key is None:
        return q, q, q
    key_rank = len(site.type_of(key).shape or ())
    if key_rank == 5:  # [B, L, N, 2, D]
        k, v = _unpacked(site, key, 2, "kv")
        return q, k, v
    v = site.value(2) if site.has(2) else key
    if key_rank == 4:  # keys and values of an encoder, [B, N, L, D] already
        return q, key, v
    k = split_heads(site, _biased(site, key, biases[1], "k_bias"), heads, "k")
    return q, k, split_heads(site, _biased(site, v, biases[2], "v_bias"), heads, "v")


def _unpacked(site: Site, packed: Value, count: int, part: str) -> tuple[Value, ...]:
    batch, length, heads, _, depth = shape_of(site, packed, 5)
    pieces = split(site, packed, (1,) * count, 3, f"{part}_split")
    flat: Shape = (batch, length, heads, depth)
    return tuple(
        transpose(site, view(site, piece, flat, f"{part}_{n}"), (0, 2, 1, 3), f"{part}_{n}_heads")
        for n, piece in enumerate(pieces)
    )


def _biases(site: Site, slot: int, q: Value) -> tuple[Value | None, ...]:
    """The bias [H + H + Hv] cut into those of q, k and v."""
    bias = site.optional(slot)
    if bias is None:
        return (None, None, None)
    width = shape_of(site, q, 3)[2]
    (total,) = shape_of(site, bias, 1)
    last = None if total is None or width is None or total < 2 * width else total - 2 * width
    return split(site, bias, (width, width, last), 0, "bias_split")


def _biased(site: Site, x: Value, bias: Value | None, part: str) -> Value:
    return x if bias is None else combine(site, "add", x, bias, part)


def _mask(site: Site, mask: Value | None, added: Value | None, variant: Variant) -> Value | None:
    """One mask that broadcasts to the scores: the bias added to them, else the padding mask, which then selects.

    A mask [B] of sequence lengths or [3B + 2] of start and end positions costs nothing to speak of. Where there is a bias, a
    padding mask is added to it beforehand by every implementation.
    """
    if added is not None:
        return added
    if mask is None:
        return None
    shape = site.type_of(mask).shape
    if shape is None or len(shape) < 2:
        return None
    if len(shape) == 2:
        return view(site, mask, (shape[0], 1, 1, shape[1]), "mask_rows")
    return view(site, mask, (shape[0], 1, *shape[1:]), "mask_rows") if len(shape) == 3 else mask


def group_query_attention(site: Site) -> None:
    """`GroupQueryAttention`: causal, query heads in groups, rotation and cache inside the node."""
    given = site.attributes
    heads, shared = given.get("num_heads"), given.get("kv_num_heads")
    q = site.value(0)
    batch, length, width = shape_of(site, q, 3)
    if site.has(1):
        k, v = site.value(1), site.value(2)
        depth = over(width, heads)
    else:  # packed [B, S, (Hq + 2 Hkv) D]
        depth = over(width, plus(heads, shared, shared))
        q, k, v = split(site, q, (times(heads, depth), times(shared, depth), times(shared, depth)), 2, "qkv_split")
    q = view(site, q, (batch, length, heads, depth), "q_view")
    k = view(site, k, (batch, shape_of(site, k, 3)[1], shared, depth), "k_view")
    v = view(site, v, (batch, shape_of(site, v, 3)[1], shared, depth), "v_view")
    if site.has(14) and site.has(15):
        q = _normed(site, q, 14, "q_norm")
        k = _normed(site, k, 15, "k_norm")
    if given.get("do_rotary", 0) and site.has(7) and site.has(8):
        cos, sin = (
            angle_rows(site, site.value(slot), site.optional(9), length, f"{name}_rows")
            for slot, name in ((7, "cos"), (8, "sin"))
        )
        interleaved = bool(given.get("rotary_interleaved", 0))
        q = rotate(site, q, cos, sin, 2, interleaved, "q_rotary")
        k = rotate(site, k, cos, sin, 2, interleaved, "k_rotary")
    q, k, v = (transpose(site, x, (0, 2, 1, 3), f"{name}_heads") for x, name in ((q, "q"), (k, "k"), (v, "v")))
    k = extend_cache(site, site.optional(3), k, site.result_type(1) if site.wants(1) else None, "key_cache")
    v = extend_cache(site, site.optional(4), v, site.result_type(2) if site.wants(2) else None, "value_cache")
    deliver(site, 1, k)
    deliver(site, 2, v)
    variant = Variant(
        scale=given.get("scale") or None,
        causal=bool(given.get("causal", 1)),
        window=max(int(given.get("local_window_size", -1)), 0),
        softcap=float(given.get("softcap", 0.0)),
    )
    used_k, used_v = _filled(site, k, "key_filled"), _filled(site, v, "value_filled")
    done = attend(site, q, used_k, used_v, variant, site.optional(10))
    deliver(site, 0, merge_heads(site, done.output))
    deliver(site, 3, done.masked)


def _normed(site: Site, x: Value, slot: int, part: str) -> Value:
    return site.emit("rms_norm", (x, site.value(slot)), (site.type_of(x),), part, axis=3)


def _filled(site: Site, cache: Value, part: str) -> Value:
    """The part of a cache that holds rows, where the node says how many: reading the rest would be traffic nobody has."""
    total = site.integer(6)
    batch, heads, length, depth = shape_of(site, cache, 4)
    if total is None or length is None or total >= length:
        return cache
    return site.emit("view_expand", (cache,), (TensorType(site.type_of(cache).dtype, (batch, heads, total, depth)),), part)
