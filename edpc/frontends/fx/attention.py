"""`scaled_dot_product_attention` and its backends, expanded into the two products and what stands between them."""

from __future__ import annotations

from edpc.frontends.fx.site import Site
from edpc.frontends.onnx.attention import Variant, attend
from edpc.frontends.onnx.expressions import Shape, deliver, times, view
from edpc.ir import Value


def attention(site: Site) -> None:
    """query, key, value [..., H, S, D] with a mask or causal; grouped where key heads are fewer than query heads."""
    q, k, v = (_four_axes(site, site.tensor(name), name) for name in ("query", "key", "value"))
    mask = next((site.tensor(name) for name in ("attn_mask", "attn_bias") if site.has(name)), None)
    variant = Variant(scale=site.known("scale"), causal=site.flag("is_causal"))
    deliver(site, 0, attend(site, q, k, v, variant, mask).output)
    if site.wants(1):  # the logarithm of each row's sum, kept for the gradient
        site.bind(1, site.emit("fill", (), (site.result_type(1),), "logsumexp"))


def flex_attention(site: Site) -> None:
    """The same with functions applied to the scores, which count as nothing."""
    q, k, v = (_four_axes(site, site.tensor(str(slot)), name) for slot, name in enumerate(("query", "key", "value")))
    site.note("functions applied to the attention scores are not counted")
    scale = site.known("5")
    deliver(site, 0, attend(site, q, k, v, Variant(scale=scale)).output)
    if site.wants(1):
        site.bind(1, site.emit("fill", (), (site.result_type(1),), "logsumexp"))


def _four_axes(site: Site, value: Value, part: str) -> Value:
    """The value as [B, H, S, D]: axes in front of the heads become one."""
    shape = site.type_of(value).shape
    if shape is None or len(shape) == 4 or len(shape) < 2:
        return value
    lead: Shape = shape[:-2]
    folded = (times(*lead[:-1]), lead[-1] if lead else 1, *shape[-2:])
    return view(site, value, folded, part)
