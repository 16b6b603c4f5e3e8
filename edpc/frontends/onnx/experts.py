"""Mixtures of experts: routing, the experts' two or three products, and the weighted sum of what the chosen ones answer."""

from __future__ import annotations

from edpc.frontends.onnx.composites import activate
from edpc.frontends.onnx.expressions import Dim, apply, combine, deliver, over, shape_of, split, times, view
from edpc.frontends.onnx.quantized import packed_weight
from edpc.frontends.onnx.site import Site
from edpc.ir import TensorType, Value


def moe(site: Site) -> None:
    """`MoE`: weights [experts, outputs, inputs] in the activation's format, each followed by its bias."""
    _experts(site, weights=(2, 4, 6), scales=(None, None, None), biases=(3, 5, 7))


def quantised_moe(site: Site) -> None:
    """`QMoE`: weights packed in `expert_weight_bits`, scales per row or block."""
    _experts(site, weights=(2, 5, 8), scales=(3, 6, 9), biases=(4, 7, 10))


def _experts(site: Site, weights: tuple[int, int, int], scales: tuple[int | None, ...], biases: tuple[int, int, int]) -> None:
    """Every token goes to k experts, spread evenly: T*k rows of arithmetic, and each expert that is reached is read once.

    The gate is a softmax over the experts and a choice of the k largest. Rows pass from one product to the next in the order
    the experts take them; the sum at the end brings them back to their tokens.
    """
    given = site.attributes
    k = int(given.get("k", 1))
    x = site.value(0)
    kept = site.type_of(x)
    width = kept.shape[-1] if kept.shape else None
    tokens: Dim = times(*kept.shape[:-1]) if kept.shape else None
    rows = times(tokens, k)
    flat = view(site, x, (tokens, width), "tokens")
    router = site.value(1)
    gate = apply(site, "softmax", router, "gate", axis=1)
    chosen = (TensorType(site.type_of(gate).dtype, (tokens, k)), TensorType("int64", (tokens, k)))
    share = site.emit("top_k", (gate,), chosen, "choose", axis=1, k=k)

    def product(part: str, which: int, operand: Value, top_k: int) -> Value:
        slot = weights[which]
        inputs = shape_of(site, operand, 2)[1]
        weight, outputs = _weight(site, slot, inputs)
        scale = scales[which]
        extra = [] if scale is None else site.scales((scale,))
        bias = site.optional(biases[which])
        operands = [operand, weight, *([] if bias is None else [bias]), *extra]
        result = TensorType(kept.dtype, (rows, outputs))
        return site.emit("expert_matmul", operands, (result,), part, top_k=top_k, transpose_b=True, addend=bias is not None)

    hidden = product("fc1", 0, flat, k)
    name = str(given.get("activation_type", "relu"))
    outputs = shape_of(site, hidden, 2)[1]
    if name.lower() == "swiglu" and not site.has(weights[2]):
        first, second = split(site, hidden, (over(outputs, 2),) * 2, 1, "halves")
        hidden = site.emit("swiglu", (first, second), (site.type_of(first),), "swiglu")
    elif site.has(weights[2]):
        gated = activate(site, hidden, "silu" if name.lower() == "swiglu" else name)
        hidden = combine(site, "mul", gated, product("fc3", 2, flat, k), "gated")
    else:
        hidden = activate(site, hidden, name)
    answers = product("fc2", 1, hidden, 1)
    width_out = shape_of(site, answers, 2)[1]
    per_token = view(site, answers, (tokens, k, width_out), "per_token")
    weighted = combine(site, "mul", per_token, view(site, share, (tokens, k, 1), "shares"), "weighted")
    total = TensorType(kept.dtype, (tokens, width_out))
    deliver(
        site,
        0,
        site.emit("reduce_sum", (weighted,), (total,), "sum", axes=(1,), keepdims=False)
        if k > 1
        else view(site, weighted, total.shape, "sum"),
    )


def _weight(site: Site, slot: int, inputs: Dim) -> tuple[Value, Dim]:
    """The experts' weight [experts, outputs, inputs] under its logical type, and its number of outputs.

    Packed weights hold several elements per byte along the inputs.
    """
    stored = site.type(slot)
    if stored.shape is None or len(stored.shape) != 3:
        return site.value(slot, stored=True), None
    experts, outputs, last = stored.shape
    ratio = over(inputs, last)
    if stored.dtype in ("uint8", "int8"):
        if ratio is not None and ratio > 1:
            return packed_weight(site, slot, TensorType("int4" if ratio == 2 else "int2", (experts, outputs, inputs))), outputs
        return packed_weight(site, slot, TensorType("int8", stored.shape)), outputs
    return site.value(slot, stored=True), outputs
