"""Rotary position embedding in primitive operators: x * cos + swapped(x) * sin."""

from __future__ import annotations

from edpc.frontends.onnx.expressions import Dim, apply, combine, concat, deliver, gather_rows, over, shape_of, split, view
from edpc.frontends.onnx.site import Site
from edpc.ir import TensorType, Value


def rotate(site: Site, x: Value, cos: Value, sin: Value, heads_axis: int, interleaved: bool, part: str) -> Value:
    """The rotated x.

    Args:
        site: the node.
        x: [B, H, S, D] (heads_axis 1) or [B, S, H, D] (heads_axis 2); only the first 2*R elements of D are rotated.
        cos: cosines [S, R] or [B, S, R].
        sin: sines, likewise.
        heads_axis: where the heads stand.
        interleaved: whether pairs are neighbours (x0, x1), not halves (x0, xR).
        part: prefix of the operators' names.
    """
    outer = shape_of(site, x, 4)[:3]
    depth = shape_of(site, x, 4)[3]
    angles = site.type_of(cos).shape
    half = angles[-1] if angles else over(depth, 2)
    turned = None if half is None else 2 * half
    rest = None
    if turned is not None and depth is not None and turned < depth:
        x, rest = split(site, x, (turned, depth - turned), 3, f"{part}_partial")
    pair = (half, 2) if interleaved else (2, half)
    length = angles[-2] if angles and len(angles) > 1 else None
    lead = angles[0] if angles and len(angles) == 3 else 1
    where = (lead, 1, length) if heads_axis == 1 else (lead, length, 1)
    spread = (*where, half, 1) if interleaved else (*where, 1, half)
    axis = 4 if interleaved else 3
    pairs = view(site, x, (*outer, *pair), f"{part}_pairs")
    first, second = split(site, pairs, (1, 1), axis, f"{part}_split")
    swapped = concat(site, (apply(site, "neg", second, f"{part}_neg"), first), axis, f"{part}_swap")
    straight = combine(site, "mul", pairs, view(site, cos, spread, f"{part}_cos_view"), f"{part}_cos")
    crossed = combine(site, "mul", swapped, view(site, sin, spread, f"{part}_sin_view"), f"{part}_sin")
    result = view(site, combine(site, "add", straight, crossed, f"{part}_add"), (*outer, turned), f"{part}_flat")
    return result if rest is None else concat(site, (result, rest), 3, f"{part}_joined")


def angle_rows(site: Site, cache: Value, positions: Value | None, length: Dim, part: str) -> Value:
    """The rows of a cosine or sine cache [max, R] for every position: [B, S, R], or [S, R] where positions are consecutive."""
    kept = site.type_of(cache)
    if kept.shape is None or len(kept.shape) != 2:
        return cache
    if positions is not None and len(site.type_of(positions).shape or ()) == 2:
        return gather_rows(site, cache, positions, part)
    if kept.shape[0] == length:
        return cache
    return site.emit("slice", (cache,), (TensorType(kept.dtype, (length, kept.shape[1])),), part, axes=(0,))


def rotary_embedding(site: Site) -> None:
    """`RotaryEmbedding` of the standard (X, cos, sin, positions) and of com.microsoft (X, positions, cos, sin)."""
    cos_slot, sin_slot, position_slot = (2, 3, 1) if site.node.domain == "com.microsoft" else (1, 2, 3)
    x = site.value(0)
    shape = site.type(0).shape
    cos, sin = site.value(cos_slot), site.value(sin_slot)
    positions = site.optional(position_slot)
    heads_axis = 1
    if shape is not None and len(shape) == 3:  # [B, S, H*D] needs no transpose to be rotated
        angles = site.type_of(cos).shape
        depth = 2 * angles[-1] if angles and angles[-1] is not None else None
        heads = site.attributes.get("num_heads", 0) or over(shape[2], depth)
        x = view(site, x, (*shape[:2], heads, over(shape[2], heads)), "heads")
        heads_axis = 2
    length = shape_of(site, x, 4)[3 - heads_axis]
    cos = angle_rows(site, cos, positions, length, "cos_rows")
    sin = angle_rows(site, sin, positions, length, "sin_rows")
    result = rotate(site, x, cos, sin, heads_axis, bool(site.attributes.get("interleaved", 0)), "rotary")
    deliver(site, 0, view(site, result, shape, "out"))
