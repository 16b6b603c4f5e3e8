"""Attention in primitive operators: QK^T, scale, soft cap, mask, softmax, AV, with the layout changes around them."""

from __future__ import annotations

from dataclasses import dataclass

from edpc.frontends.emitter import Emitter
from edpc.frontends.onnx.expressions import Dim, apply, combine, concat, convert, matmul, over, shape_of, times, transpose, view
from edpc.ir import FLOAT_DTYPES, Attribute, TensorType, Value


@dataclass(frozen=True, slots=True)
class Variant:
    """What distinguishes one attention from another.

    Attributes:
        scale: factor on the scores, 1/sqrt(D) where none is given; 1 adds no operator.
        causal: whether no query sees later keys.
        window: keys that a query sees back, itself included; 0 for all.
        softcap: bound of the scores through tanh, 0 for none.
        softmax_dtype: element type the softmax is computed in, empty for that of the scores.
    """

    scale: float | None = None
    causal: bool = False
    window: int = 0
    softcap: float = 0.0
    softmax_dtype: str = ""


@dataclass(frozen=True, slots=True)
class Attended:
    """The result [B, Hq, Sq, Dv] and the stages of the scores [B, Hq, Sq, Skv] that a node may also answer."""

    output: Value
    raw: Value
    capped: Value
    masked: Value
    weights: Value


def attend(site: Emitter, q: Value, k: Value, v: Value, variant: Variant, mask: Value | None = None) -> Attended:
    """Adds the operators of softmax(scale * Q K^T + mask) V.

    Query heads that share a key head become rows of one product, [B, Hkv, G*Sq, D]: keys and values are read once per group,
    as every grouped-query kernel does. A boolean or integer mask selects, a floating one is added.

    Args:
        site: the node that holds the attention.
        q: queries [B, Hq, Sq, D].
        k: keys [B, Hkv, Skv, D].
        v: values [B, Hkv, Skv, Dv].
        variant: scale, causality, window and soft cap.
        mask: anything that broadcasts to [B, Hq, Sq, Skv].
    """
    batch, heads, queries, depth = shape_of(site, q, 4)
    shared, keys = shape_of(site, k, 4)[1:3]
    group = over(heads, shared) or 1
    if group > 1:
        q = view(site, q, (batch, shared, times(group, queries), depth), "group")
    dtype = site.type_of(q).dtype
    raw = scores = matmul(site, q, k, "qk", transpose_b=True)
    if variant.scale != 1.0:
        factor = variant.scale if variant.scale is not None else (depth or 1) ** -0.5
        raw = scores = combine(site, "mul", scores, site.number("factor", factor, dtype), "scale")
    if variant.softcap:
        bound = site.number("bound", variant.softcap, dtype)
        scores = combine(site, "div", scores, bound, "cap_in")
        scores = combine(site, "mul", apply(site, "tanh", scores, "cap"), bound, "cap_out")
    capped = scores
    if mask is not None:
        scores = _masked(site, scores, mask, group, (batch, shared, queries, keys))
    options: dict[str, Attribute] = {"axis": 3}
    if variant.causal:
        options["causal"] = True
    if variant.window > 0:
        options["window"] = variant.window
    if group > 1:
        options["query_group"] = group
    wide = convert(site, scores, variant.softmax_dtype or dtype, "softmax_in")
    weights = convert(site, apply(site, "softmax", wide, "softmax", **options), dtype, "softmax_out")
    output = matmul(site, weights, v, "av")
    width = shape_of(site, output, 4)[3]
    return Attended(view(site, output, (batch, heads, queries, width), "ungroup"), raw, capped, scores, weights)


def _masked(site: Emitter, scores: Value, mask: Value, group: int, dims: tuple[Dim, ...]) -> Value:
    batch, shared, queries, keys = dims
    kept = site.type_of(mask)
    folded = site.type_of(scores).shape
    per_row = kept.shape is None or (len(kept.shape) > 1 and (kept.shape[-2] != 1 or any(d != 1 for d in kept.shape[-3:-2])))
    if group > 1 and per_row:
        scores = view(site, scores, (batch, shared, group, queries, keys), "mask_view")
        if kept.shape is not None and len(kept.shape) > 2:
            heads = (1, 1) if kept.shape[-3] == 1 else (shared, group)
            mask = view(site, mask, (*kept.shape[:-3], *heads, *kept.shape[-2:]), "mask_heads")
    if kept.dtype in FLOAT_DTYPES:
        scores = combine(site, "add", scores, mask, "mask")
    else:
        lowest = site.number("lowest", -65504.0, site.type_of(scores).dtype)
        scores = site.emit("where", (mask, scores, lowest), (site.type_of(scores),), "mask")
    return view(site, scores, folded, "mask_fold") if group > 1 and per_row else scores


def split_heads(site: Emitter, x: Value, heads: Dim, part: str) -> Value:
    """From [B, S, H*D] to [B, H, S, D]."""
    batch, length, width = shape_of(site, x, 3)
    return transpose(
        site, view(site, x, (batch, length, heads, over(width, heads)), f"{part}_view"), (0, 2, 1, 3), f"{part}_heads"
    )


def merge_heads(site: Emitter, x: Value) -> Value:
    """From [B, H, S, D] to [B, S, H*D]."""
    batch, heads, length, depth = shape_of(site, x, 4)
    return view(site, transpose(site, x, (0, 2, 1, 3), "out_heads"), (batch, length, times(heads, depth)), "out_view")


def extend_cache(site: Emitter, past: Value | None, new: Value, present: TensorType | None, part: str) -> Value:
    """Keys or values [B, H, T, D] of the past with the new ones after them.

    Where the model keeps past and present in one buffer of the same length, the new rows are written in place.
    """
    if past is None:
        return new
    if present is not None and present.is_static and site.type_of(past).shape == present.shape:
        return site.emit("tensor_scatter", (past, new), (present,), part, axis=2)
    return concat(site, (past, new), 2, part)
