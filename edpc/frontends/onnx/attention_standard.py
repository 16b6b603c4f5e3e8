"""`Attention` of the ONNX standard (opset 23 on) and `FlexAttention`, expanded."""

from __future__ import annotations

from edpc.frontends.onnx.attention import Attended, Variant, attend, extend_cache, merge_heads, split_heads
from edpc.frontends.onnx.expressions import broadcast, deliver, shape_of, view
from edpc.frontends.onnx.site import Site
from edpc.frontends.onnx.values import DTYPES
from edpc.ir import Value

# `qk_matmul_output_mode` by number.
_STAGES = ("raw", "capped", "masked", "weights")


def attention(site: Site) -> None:
    """Q, K, V [B, S, H*D] or [B, H, S, D], mask, past keys and values; present keys and values and a stage of the scores."""
    given = site.attributes
    flat = len(site.type(0).shape or ()) == 3
    q, k, v = (site.value(slot) for slot in range(3))
    if flat:
        q = split_heads(site, q, given.get("q_num_heads"), "q")
        k = split_heads(site, k, given.get("kv_num_heads"), "k")
        v = split_heads(site, v, given.get("kv_num_heads"), "v")
    k = extend_cache(site, site.optional(4), k, site.result_type(1) if site.wants(1) else None, "key_cache")
    v = extend_cache(site, site.optional(5), v, site.result_type(2) if site.wants(2) else None, "value_cache")
    variant = Variant(
        scale=given.get("scale"),
        causal=bool(given.get("is_causal", 0)),
        window=_window(site),
        softcap=float(given.get("softcap", 0.0)),
        softmax_dtype=DTYPES.get(int(given.get("softmax_precision", 0)), ""),
    )
    done = attend(site, q, k, v, variant, site.optional(3))
    deliver(site, 0, merge_heads(site, done.output) if flat else done.output)
    deliver(site, 1, k)
    deliver(site, 2, v)
    if site.wants(3):
        _deliver_stage(site, done, q, k)


def flex_attention(site: Site) -> None:
    """Q, K, V [B, H, S, D] with functions applied to the scores, which count as nothing."""
    q, k, v = (site.value(slot) for slot in range(3))
    for name in ("score_mod", "prob_mod"):
        if name in site.attributes:
            site.note(f"the function {name} applied to the attention scores is not counted")
    deliver(site, 0, attend(site, q, k, v, Variant(scale=site.attributes.get("scale"))).output)


def _window(site: Site) -> int:
    """Keys seen back from a query, itself included; -1 (the default) and 0 back is no window."""
    back = int(site.attributes.get("left_window_size", -1))
    return back + 1 if back >= 0 else 0


def _deliver_stage(site: Site, done: Attended, q: Value, k: Value) -> None:
    mode = int(site.attributes.get("qk_matmul_output_mode", 0))
    stage: Value = getattr(done, _STAGES[mode] if 0 <= mode < len(_STAGES) else "raw")
    shape = (*shape_of(site, q, 4)[:3], shape_of(site, k, 4)[2])
    kept = site.type_of(stage).shape
    deliver(site, 3, stage if broadcast(kept, shape) == kept else view(site, stage, shape, "qk_view"))
