"""Nodes that fuse a normalisation, an activation or a bias with something else, expanded into primitive operators."""

from __future__ import annotations

from edpc.frontends.onnx import options as o
from edpc.frontends.onnx.expressions import (
    apply,
    combine,
    deliver,
    gather_rows,
    is_free_permutation,
    over,
    shape_of,
    split,
    transpose,
    view,
)
from edpc.frontends.onnx.site import Site
from edpc.ir import Attribute, TensorType, Value

# Activations that fused nodes name in an attribute, as kinds; those without one keep the value as it is.
ACTIVATIONS = {
    "Relu": "relu",
    "Gelu": "gelu",
    "Tanh": "tanh",
    "Sigmoid": "sigmoid",
    "LeakyRelu": "leaky_relu",
    "Clip": "clip",
    "HardSigmoid": "hard_sigmoid",
    "HardSwish": "hard_swish",
    "Elu": "elu",
    "Celu": "celu",
    "Selu": "selu",
    "Softplus": "softplus",
    "Softsign": "softsign",
    "ThresholdedRelu": "thresholded_relu",
    "Silu": "silu",
    "Swish": "silu",
    "QuickGelu": "quick_gelu",
    "Erf": "erf",
    "Exp": "exp",
    "Log": "log",
    "Abs": "abs",
    "Neg": "neg",
    "Sqrt": "sqrt",
    "Reciprocal": "reciprocal",
    "Floor": "floor",
    "Ceil": "ceil",
    "Softmax": "softmax",
}


def activate(site: Site, x: Value, name: str) -> Value:
    """The activation a fused node names, applied; an unknown name is noted and costs nothing."""
    kind = ACTIVATIONS.get(name[:1].upper() + name[1:])
    if kind is None:
        if name and name.lower() not in ("none", "identity"):
            site.note(f"the fused activation {name} is not known and not counted")
        return x
    return apply(site, kind, x, kind)


# --- operators of the standard that are one of several kinds ----------------------------------------------------


def layout_change(site: Site) -> None:
    """`Transpose`: a copy, or a view where only axes of one element change place."""
    shape = site.type(0).shape
    rank = len(shape) if shape is not None else len(site.result_type().shape or ())
    perm = tuple(site.attributes.get("perm") or reversed(range(rank)))
    if is_free_permutation(shape, perm):
        site.emit_results("reshape", (site.value(0),))
    else:
        site.emit_results("transpose", (site.value(0),), perm=perm)


def gather(site: Site) -> None:
    """`Gather`: by a single known index it is a cut along the axis, as PyTorch's `select` is."""
    axis = o.from_front(int(site.attributes.get("axis", 0)), o.rank_of(site))
    if site.integer(1) is not None and not site.type(1).shape:
        site.emit_results("slice", (site.value(0),), axes=(axis,))
    else:
        site.emit_results("gather", (site.value(0), site.value(1)), axis=axis)


def expand(site: Site) -> None:
    """`Expand`: a copy, or nothing where the shape stays."""
    kind = "identity" if site.type(0).is_static and site.type(0).shape == site.result_type().shape else "expand"
    site.emit_results(kind, (site.value(0),))


def dropout(site: Site) -> None:
    """`Dropout`: nothing at inference; its mask, where somebody reads it, is a fill."""
    training = site.constant(2)
    if training is not None and training.size == 1 and bool(training.reshape(-1)[0]):
        site.emit_results("dropout", (site.value(0),))
        return
    if site.wants(0):
        site.bind(0, site.emit("identity", (site.value(0),), (site.result_type(0),)))
    if site.wants(1):
        site.bind(1, site.emit("fill", (), (site.result_type(1),), "mask"))


def causal_convolution(site: Site) -> None:
    """`CausalConvWithState`: the past in front of the input, a depthwise convolution along time, an activation."""
    x, weight = site.value(0), site.value(1, stored=True)
    batch, channels, length = shape_of(site, x, 3)
    kernel = shape_of(site, weight, 3)[2]
    past = site.optional(3)
    dtype = site.type_of(x).dtype
    pads: tuple[int, ...] = (0, 0)
    if past is not None:
        before = shape_of(site, past, 3)[2]
        total = None if length is None or before is None else length + before
        x = site.emit("concat", (past, x), (TensorType(dtype, (batch, channels, total)),), "history", axis=2)
    elif kernel is not None:
        pads = (kernel - 1, 0)
    operands = [x, weight, *([site.value(2)] if site.has(2) else [])]
    options: dict[str, Attribute] = {"strides": (1,), "dilations": (1,), "pads": pads, "groups": channels or 1}
    y = site.emit("conv", operands, (TensorType(dtype, (batch, channels, length)),), "conv", **options)
    deliver(site, 0, activate(site, y, str(site.attributes.get("activation", ""))))
    if site.wants(1):
        site.bind(1, site.emit("slice", (x,), (site.result_type(1),), "state", axes=(2,)))


# --- com.microsoft: activations with a bias ---------------------------------------------------------------------


def bias_gelu(site: Site) -> None:
    """`BiasGelu`: the bias added, then gelu."""
    _biased_activation(site, 1, "gelu")


def fast_gelu(site: Site) -> None:
    """`FastGelu`: gelu by tanh, a bias before it where one is given."""
    _biased_activation(site, 1, "gelu", approximate="tanh")


def _biased_activation(site: Site, slot: int, kind: str, **options: Attribute) -> None:
    x = site.value(0)
    if site.has(slot):
        x = combine(site, "add", x, site.value(slot), "bias")
    deliver(site, 0, apply(site, kind, x, kind, **options))


def bias_split_gelu(site: Site) -> None:
    """`BiasSplitGelu`: the bias added, then the first half times gelu of the second."""
    x = combine(site, "add", site.value(0), site.value(1), "bias")
    width = shape_of(site, x, 3)[2]
    first, second = split(site, x, (over(width, 2),) * 2, 2, "split")
    deliver(site, 0, combine(site, "mul", first, apply(site, "gelu", second, "gelu"), "gate"))


def bias_add(site: Site) -> None:
    """`BiasAdd`: a bias and a skip connection added."""
    x = combine(site, "add", site.value(0), site.value(1), "bias")
    deliver(site, 0, combine(site, "add", x, site.value(2), "skip"))


def bias_softmax(site: Site) -> None:
    """`BiasSoftmax`: a mask added, then softmax."""
    x = combine(site, "add", site.value(0), site.value(1), "bias")
    axis = o.from_front(int(site.attributes.get("axis", 1)), o.rank_of(site))
    rank = o.rank_of(site)
    row: dict[str, Attribute] = {"axis": axis} if rank is None else {"axes": tuple(range(axis, rank))}
    deliver(site, 0, apply(site, "softmax", x, "softmax", **row))


def bias_dropout(site: Site) -> None:
    """`BiasDropout` at inference: a bias and a residual added."""
    x = combine(site, "add", site.value(0), site.value(1), "bias")
    if site.has(2):
        x = combine(site, "add", x, site.value(2), "residual")
    deliver(site, 0, x)
    if site.wants(1):
        site.bind(1, site.emit("fill", (), (site.result_type(1),), "mask"))


# --- com.microsoft: normalisations ------------------------------------------------------------------------------


def skip_layer_norm(site: Site) -> None:
    """`SkipLayerNormalization`: bias and skip added, then layer normalisation; result 3 is the sum."""
    _skip_norm(site, "layer_norm", weights=(2, 3), bias=4)


def skip_rms_norm(site: Site) -> None:
    """`SkipSimplifiedLayerNormalization`: the same with root-mean-square normalisation."""
    _skip_norm(site, "rms_norm", weights=(2,), bias=3)


def _skip_norm(site: Site, kind: str, weights: tuple[int, ...], bias: int) -> None:
    x = site.value(0)
    if site.has(bias):
        x = combine(site, "add", x, site.value(bias), "bias")
    x = combine(site, "add", x, site.value(1), "skip")
    rank = len(site.type_of(x).shape or (0,))
    _norm(site, kind, [x, *site.values(weights)], range(3), rank - 1)
    site.bind(3, x)


def simplified_layer_norm(site: Site) -> None:
    """`SimplifiedLayerNormalization`: root-mean-square normalisation; result 1 is the inverse root."""
    axis = o.from_front(int(site.attributes.get("axis", -1)), o.rank_of(site))
    _norm(site, "rms_norm", [site.value(0), *site.values((1,))], range(2), axis)


def _norm(site: Site, kind: str, operands: list[Value], results: range, axis: int) -> None:
    """One normalisation that computes those of the node's results that are wanted; the first always."""
    wanted = [result for result in results if result == 0 or site.wants(result)]
    outputs = [site.type_of(operands[0]), *(site.result_type(result) for result in wanted[1:])]
    first = site.emit(kind, operands, outputs, "norm", axis=axis, epsilon=float(site.attributes.get("epsilon", 1e-5)))
    for number, result in enumerate(wanted):
        site.bind(result, Value(first.node, number))


def embed_layer_norm(site: Site) -> None:
    """`EmbedLayerNormalization`: three embeddings gathered and added, then layer normalisation; result 1 counts the mask."""
    ids = site.value(0)
    batch, length = shape_of(site, ids, 2)
    total = gather_rows(site, site.value(2), ids, "words")
    positions = site.value(3)
    if site.has(8):
        where = gather_rows(site, positions, site.value(8), "positions")
    else:
        kept = site.type_of(positions)
        where = site.emit(
            "slice", (positions,), (TensorType(kept.dtype, (length, shape_of(site, positions, 2)[1])),), "positions", axes=(0,)
        )
    total = combine(site, "add", total, where, "add_positions")
    if site.has(1) and site.has(4):
        total = combine(site, "add", total, gather_rows(site, site.value(4), site.value(1), "segments"), "add_segments")
    _norm(site, "layer_norm", [total, *site.values((5, 6))], range(1), 2)
    site.bind(2, total)
    if site.wants(1):
        if site.has(7):
            count = site.emit(
                "reduce_sum", (site.value(7),), (TensorType("int32", (batch,)),), "mask_length", axes=(1,), keepdims=False
            )
        else:
            count = site.emit("fill", (), (TensorType("int32", (batch,)),), "mask_length")
        site.bind(1, count)


def group_norm(site: Site) -> None:
    """`GroupNorm`, `SkipGroupNorm`: skip and bias added where given, group normalisation, SiLU where asked for.

    The kind takes channels first; channels last normalises the same elements, so only the shape is looked at otherwise.
    """
    x = site.value(0)
    for slot, part in ((4, "bias"), (3, "skip")):
        if site.has(slot):
            x = combine(site, "add", x, site.value(slot), part)
    site.bind(1, x)
    shape = site.type_of(x).shape
    last = bool(site.attributes.get("channels_last", 1)) and shape is not None and len(shape) > 2
    seen = view(site, x, (shape[0], shape[-1], *shape[1:-1]), "channels") if last and shape is not None else x
    y = site.emit("group_norm", [seen, *site.values((1, 2))], (site.type_of(seen),), "norm", **o.group_norm(site))
    y = view(site, y, shape, "channels_last") if last else y
    deliver(site, 0, apply(site, "silu", y, "silu") if site.attributes.get("activation", 0) else y)


# --- com.microsoft: contractions with something after them ------------------------------------------------------


def _activation(site: Site) -> str:
    return str(site.attributes.get("activation", ""))


def _part(site: Site, name: str, more: bool = False) -> str:
    """The contraction's part of the node; nothing where it is all of it."""
    return name if more or _activation(site) else ""


def fused_conv(site: Site) -> None:
    """`FusedConv` and the NCHWc `Conv`: convolution, sum with operand 3, activation."""
    operands = [site.value(slot, slot == 1) for slot in range(3) if site.has(slot)]
    x = site.emit("conv", operands, (site.result_type(0),), _part(site, "conv", site.has(3)), **o.convolution(site))
    if site.has(3):
        x = combine(site, "add", x, site.value(3), "sum")
    site.bind(0, activate(site, x, _activation(site)))


def fused_gemm(site: Site) -> None:
    """`FusedGemm`, `GemmFloat8`: Gemm, then an activation."""
    operands = [site.value(slot, slot < 2) for slot in range(3) if site.has(slot)]
    biased = len(operands) > 2
    operands += site.scales((3, 4, 5))
    x = site.emit("matmul", operands, (site.result_type(0),), _part(site, "gemm"), **o.gemm(site), addend=biased)
    site.bind(0, activate(site, x, _activation(site)))


def gemm_fast_gelu(site: Site) -> None:
    """`GemmFastGelu`: matmul, bias, gelu by tanh."""
    operands = [site.value(slot, slot < 2) for slot in range(3) if site.has(slot)]
    x = site.emit("matmul", operands, (site.result_type(0),), "gemm")
    site.bind(0, apply(site, "gelu", x, "gelu", approximate="tanh"))


def fused_matmul(site: Site) -> None:
    """`FusedMatMul` and its kin: matmul of operands that may be transposed, a factor, an activation.

    `transBatchA` moves the second last axis to the front of the batch, which needs a copy.
    """
    operands = []
    for slot, flag in ((0, "transBatchA"), (1, "transBatchB")):
        value = site.value(slot, stored=True)
        rank = len(site.type_of(value).shape or ())
        if site.attributes.get(flag, 0) and rank > 2:
            # [.., M, B, K] is stored as [M, B.., K]: the first axis becomes the second last.
            value = transpose(site, value, (*range(1, rank - 1), 0, rank - 1), "a_batch" if slot == 0 else "b_batch")
        operands.append(value)
    x = site.emit("matmul", operands, (site.result_type(0),), _part(site, "matmul"), **o.gemm(site))
    site.bind(0, activate(site, x, _activation(site)))
