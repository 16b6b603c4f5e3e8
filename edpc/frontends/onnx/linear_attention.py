"""`LinearAttention` of the standard and of com.microsoft, expanded: a matrix-valued state per head instead of scores."""

from __future__ import annotations

from edpc.frontends.onnx.attention import merge_heads, split_heads
from edpc.frontends.onnx.expressions import apply, combine, deliver, matmul, over, shape_of, times, transpose, view
from edpc.frontends.onnx.site import Site
from edpc.ir import TensorType, Value


def linear_attention(site: Site) -> None:
    """query, key, value [B, T, H*D], past state [B, H, dk, dv], decay, beta; results output and state.

    The recurrence over T tokens is written as products over all of them, which has the same multiply-accumulates: the state is
    read by the keys (delta rules only), written by the outer products of keys and values, and read by the queries, T * dk * dv
    each per head. The decay of the state is counted on the keys, as chunked implementations apply it.
    """
    given = site.attributes
    heads, shared = given.get("q_num_heads"), given.get("kv_num_heads")
    rule = str(given.get("update_rule", "gated_delta"))
    q = split_heads(site, site.value(0), heads, "q")
    k = split_heads(site, site.value(1), shared, "k")
    v = split_heads(site, site.value(2), shared, "v")
    batch, _, length, depth = shape_of(site, q, 4)
    width = shape_of(site, v, 4)[3]
    dtype = site.type_of(q).dtype
    state = site.optional(3)
    if state is None:
        state = site.emit("fill", (), (TensorType(dtype, (batch, shared, depth, width)),), "state")
    if site.has(4) and "gated" in rule:
        k = combine(site, "mul", k, _per_head(site, apply(site, "exp", site.value(4), "decay"), shared, "decay"), "decayed")
    if "delta" in rule:
        v = combine(site, "sub", v, matmul(site, k, state, "retrieve"), "delta")
        if site.has(5):
            v = combine(site, "mul", v, _per_head(site, site.value(5), shared, "beta"), "rate")
    written = TensorType(dtype, (batch, shared, depth, width))
    update = site.emit("matmul", (k, v), (written,), "write", transpose_a=True)
    state = combine(site, "add", state, update, "next_state")
    group = over(heads, shared)
    folded = view(site, q, (batch, shared, times(group, length), depth), "group")
    read = matmul(site, folded, state, "read")
    factor = float(given.get("scale", 0.0)) or (depth or 1) ** -0.5
    read = combine(site, "mul", read, site.number("factor", factor, dtype), "scale")
    deliver(site, 0, merge_heads(site, view(site, read, (batch, heads, length, width), "ungroup")))
    deliver(site, 1, state)


def _per_head(site: Site, x: Value, heads: int | None, part: str) -> Value:
    """From [B, T, H] or [B, T, H*D], or [B, T, 1] for all heads, to something that broadcasts to [B, H, T, D]."""
    batch, length, width = shape_of(site, x, 3)
    count = 1 if width == 1 else heads
    apart = view(site, x, (batch, length, count, over(width, count)), f"{part}_view")
    return transpose(site, apart, (0, 2, 1, 3), f"{part}_heads")
