"""Shape rules of the operators that ONNX Runtime adds to the standard (`com.microsoft` and its NCHWc layout).

Slots and attributes are those of ONNX Runtime's contrib operator documentation. A rule that lacks what it needs answers an
unknown dimension, never a wrong one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edpc.frontends.onnx.rules import Rule, Shape, Site, broadcast, elementwise, like
from edpc.frontends.onnx.values import Type
from edpc.ir.types import TensorType


def _times(*factors: int | None) -> int | None:
    result = 1
    for factor in factors:
        if factor is None:
            return None
        result *= factor
    return result


def _plus(*terms: int | None) -> int | None:
    return None if None in terms else sum(term for term in terms if term is not None)


def _over(value: int | None, divisor: int) -> int | None:
    return None if value is None or divisor <= 0 else value // divisor


def _swapped(shape: Shape | None, swap: bool) -> Shape | None:
    return shape if shape is None or not swap or len(shape) < 2 else (*shape[:-2], shape[-1], shape[-2])


def _matmul(a: Shape | None, b: Shape | None) -> Shape | None:
    """Numpy's matmul rule for two shapes.

    Raises:
        ValueError: the inner dimensions differ.
    """
    if not a or not b:
        return None
    rows, columns = len(a) > 1, len(b) > 1
    left, right = (a if rows else (1, *a)), (b if columns else (*b, 1))
    if None not in (left[-1], right[-2]) and left[-1] != right[-2]:
        raise ValueError(f"shapes {list(a)} and {list(b)} do not multiply")
    batch = broadcast(left[:-2], right[:-2]) or ()
    return (*batch, *((left[-2],) if rows else ()), *((right[-1],) if columns else ()))


def _product(a: int, b: int, dtype: int | str) -> Rule:
    """A rule: matmul of two slots; the element type is one given, or that of a slot."""

    def rule(site: Site) -> list[Type | None]:
        name = dtype if isinstance(dtype, str) else site.dtype(dtype)
        left = _swapped(site.shape(a), bool(site.integer("transA")))
        right = _swapped(site.shape(b), bool(site.integer("transB")))
        return [TensorType(name, _matmul(left, right))]

    return rule


def _columns(attribute: str) -> Rule:
    """A rule: a matmul whose packed weight has as many columns as an attribute says."""

    def rule(site: Site) -> list[Type | None]:
        shape = site.shape(0)
        return [TensorType(site.dtype(0), None if shape is None else (*shape[:-1], site.integer(attribute)))]

    return rule


def _normalization(site: Site) -> list[Type | None]:
    """Y, then mean and inverse deviation of each row, then the sum that was normalised."""
    source = site.tensor(0)
    if source is None:
        return [None] * site.results
    rows = TensorType("fp32", None if source.shape is None else (*source.shape[:-1], 1))
    results: list[Type | None] = [source, rows, rows, source]
    return results[: site.results] if site.operator.startswith("Skip") else [source, *[rows] * (site.results - 1)]


def _attention(site: Site, dtype: str, weights: int, past: int) -> list[Type | None]:
    shape, weight = site.shape(0), site.shape(weights)
    if shape is None or len(shape) < 2:
        return [None] * site.results
    sizes = site.attributes.get("qkv_hidden_sizes")
    hidden = int(sizes[2]) if sizes else _over(weight[-1] if weight else None, 3)
    output = TensorType(dtype, (*shape[:-1], hidden))
    cache = site.tensor(past)
    if cache is None or cache.shape is None or len(cache.shape) != 5:
        heads = site.integer("num_heads", 1)
        present = TensorType(dtype, (2, shape[0], heads, shape[1], _over(hidden, heads)))
    elif site.integer("past_present_share_buffer"):
        present = cache
    else:
        present = TensorType(cache.dtype, (*cache.shape[:3], _plus(cache.shape[3], shape[1]), cache.shape[4]))
    return [output, present]


def _multi_head_attention(site: Site) -> list[Type | None]:
    query, key, value = site.shape(0), site.shape(1), site.shape(2)
    heads = site.integer("num_heads", 1)
    if query is None or len(query) < 3:
        return [None] * site.results
    dtype = site.dtype(0)
    batch, length = query[0], query[1]
    total: int | None
    if len(query) == 5:  # query, key and value packed: [batch, length, heads, 3, head size]
        hidden, total = _times(query[2], query[4]), length
    elif key is not None and len(key) == 5:  # key and value packed
        hidden, total = _times(key[2], key[4]), key[1]
    elif value is not None and len(value) == 4:  # [batch, heads, length, head size]
        hidden, total = _times(value[1], value[3]), value[2]
    elif value is not None and len(value) == 3:
        hidden, total = value[2], value[1]
    else:
        hidden, total = query[2], length
    past = site.shape(6) if site.operator == "MultiHeadAttention" else site.shape(5)
    if past is not None and len(past) == 4:
        total = past[2] if site.integer("past_present_share_buffer") else _plus(past[2], total)
    present = TensorType(dtype, (batch, heads, total, _over(hidden, heads)))
    scores = TensorType(dtype, (batch, heads, length, total))
    return [TensorType(dtype, (batch, length, hidden)), present, present, scores]


def _grouped_attention(site: Site) -> list[Type | None]:
    query, past = site.shape(0), site.shape(3)
    heads, groups = site.integer("num_heads", 1), site.integer("kv_num_heads", 1)
    if query is None or len(query) != 3:
        return [None] * site.results
    packed = site.tensor(1) is None
    size = _over(query[2], heads + 2 * groups if packed else heads)
    output = TensorType(site.dtype(0), (query[0], query[1], _times(heads, size)))
    total = site.scalar(6)
    if past is not None and len(past) == 4:
        before = past[2]
        after = _plus(before, query[1]) if total is None else (None if before is None else max(before, total))
    else:
        after = query[1] if total is None else total
    present = TensorType(site.dtype(3, site.dtype(0)), (query[0], groups, after, size))
    return [output, present, present, TensorType(site.dtype(0), (query[0], heads, query[1], after))]


def _packed_attention(site: Site) -> list[Type | None]:
    tokens, weight = site.shape(0), site.shape(1)
    sizes = site.attributes.get("qkv_hidden_sizes")
    hidden = int(sizes[2]) if sizes else _over(weight[-1] if weight else None, 3)
    return [TensorType(site.dtype(0), (tokens[0] if tokens else None, hidden))]


def _packed_multi_head_attention(site: Site) -> list[Type | None]:
    query, value = site.shape(0), site.shape(2)
    if query is None:
        return [None]
    if len(query) == 4:  # packed: [tokens, heads, 3, head size]
        return [TensorType(site.dtype(0), (query[0], _times(query[1], query[3])))]
    return [TensorType(site.dtype(0), (query[0], value[-1] if value else query[-1]))]


def _embedding(site: Site) -> list[Type | None]:
    ids, table = site.shape(0), site.shape(2)
    dtype = "fp32" if site.operator.startswith("Q") else site.dtype(2)
    if ids is None:
        return [None] * site.results
    output = TensorType(dtype, (*ids, table[-1] if table else None))
    return [output, TensorType("int32", ids[:1]), output]


_CONV_ATTRIBUTES = ("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides", "output_padding", "output_shape")
_POOL_ATTRIBUTES = ("auto_pad", "ceil_mode", "count_include_pad", "dilations", "kernel_shape", "pads", "storage_order", "strides")


def _only(attributes: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: value for name, value in attributes.items() if name in names}


def _moved(kind: TensorType | None, to_last: bool) -> TensorType | None:
    """The type with its channel axis moved from second to last place, or back."""
    if kind is None or kind.shape is None or len(kind.shape) < 3:
        return kind
    s = kind.shape
    return TensorType(kind.dtype, (s[0], *s[2:], s[1]) if to_last else (s[0], s[-1], *s[1:-1]))


def _spatial(standard: str, names: tuple[str, ...], weight: int | None = None, dtype: int = 0, nhwc: bool = False) -> Rule:
    """A rule: the standard convolution or pooling on slot 0 and a weight, in whichever layout the operator keeps its channels."""

    def rule(site: Site) -> list[Type | None]:
        last = nhwc or bool(site.integer("channels_last"))
        x = _moved(site.tensor(0), to_last=False) if last else site.tensor(0)
        if x is None:
            return [None]
        x = TensorType("fp32", x.shape)
        operands: list[Type | None] = [x]
        if weight is not None:
            w = site.tensor(weight)
            if w is None or w.shape is None:
                return [TensorType(site.dtype(dtype), None)]
            # NCHWc pads channels to its block; the filter says how many are read.
            if site.operator == "Conv" and x.shape is not None and len(x.shape) > 1 and len(w.shape) > 1:
                channels = _times(w.shape[1], site.integer("group", 1))
                operands = [TensorType("fp32", (x.shape[0], channels, *x.shape[2:]))]
            operands.append(TensorType("fp32", w.shape))
        result = site.standard(standard, operands, _only(site.attributes, names), 1)[0]
        if not isinstance(result, TensorType):
            return [None]
        result = TensorType(site.dtype(dtype), result.shape)
        return [_moved(result, to_last=True) if last else result]

    return rule


def _reorder_output(site: Site) -> list[Type | None]:
    shape = site.shape(0)
    if shape is None or len(shape) < 3:
        return [None]
    kind = TensorType(site.dtype(0), (shape[0], site.integer("channels"), *shape[2:]))
    return [_moved(kind, to_last=True) if site.integer("channels_last") else kind]


def _reorder_input(site: Site) -> list[Type | None]:
    return [_moved(site.tensor(0), to_last=False) if site.integer("channels_last") else site.tensor(0)]


def _upsample(site: Site) -> list[Type | None]:
    shape, scales = site.shape(0), site.attributes.get("scales", [])
    if shape is None or len(scales) != len(shape):
        return [None]
    return [TensorType(site.dtype(0), tuple(_times(d, int(s)) for d, s in zip(shape, scales, strict=True)))]


def _quantized_concat(site: Site) -> list[Type | None]:
    parts = [TensorType("uint8", site.shape(slot)) for slot in range(2, len(site.types), 3)]
    result = site.standard("Concat", parts, _only(site.attributes, ("axis",)), 1)[0]
    return [TensorType(site.dtype(1, "uint8"), result.shape if isinstance(result, TensorType) else None)]


def _quantized_reduce(site: Site) -> list[Type | None]:
    shape, axes = site.shape(0), site.attributes.get("axes")
    if shape is None:
        return [None]
    gone = {axis % len(shape) for axis in axes} if axes else set(range(len(shape)))
    keep = site.integer("keepdims", 1)
    kept = tuple(1 if i in gone else d for i, d in enumerate(shape) if keep or i not in gone)
    return [TensorType(site.dtype(0), kept)]


def _global_pool(site: Site) -> list[Type | None]:
    shape = site.shape(0)
    if shape is None or len(shape) < 3:
        return [None]
    ones = (1,) * (len(shape) - 2)
    return [TensorType(site.dtype(0), (shape[0], *ones, shape[-1]) if site.integer("channels_last") else (*shape[:2], *ones))]


def _quantize(site: Site) -> list[Type | None]:
    return [TensorType(site.dtype(2, "uint8"), site.shape(0))]


def _dequantize(site: Site) -> list[Type | None]:
    return [TensorType(site.dtype(1), site.shape(0))]


def _quantized_lstm(site: Site) -> list[Type | None]:
    x, recurrent = site.shape(0), site.shape(2)
    if x is None or len(x) != 3:
        return [None] * site.results
    directions = 2 if site.attributes.get("direction") == "bidirectional" else 1
    hidden = site.attributes.get("hidden_size") or (recurrent[1] if recurrent else None)
    state = TensorType(site.dtype(0), (directions, x[1], hidden))
    return [TensorType(site.dtype(0), (x[0], directions, x[1], hidden)), state, state]


def _gather_quantized(site: Site) -> list[Type | None]:
    data, indices = site.shape(0), site.shape(1)
    if data is None or indices is None:
        return [None]
    axis = site.integer("gather_axis") % len(data)
    packed = 8 // site.integer("bits", 4) if site.dtype(0) == "uint8" else 1
    sizes = (*data[:-1], _times(data[-1], packed))
    return [TensorType(site.dtype(2), (*sizes[:axis], *indices, *sizes[axis + 1 :]))]


def _halved(site: Site) -> list[Type | None]:
    shape = site.shape(0)
    return [TensorType(site.dtype(0), None if shape is None else (*shape[:-1], _over(shape[-1], 2)))]


def _relative_bias(site: Site) -> list[Type | None]:
    table = site.shape(0)
    return [TensorType(site.dtype(0), (1, table[-1] if table else None, site.scalar(1), site.scalar(2)))]


def _gated_bias(site: Site) -> list[Type | None]:
    shape = site.shape(0)
    if shape is None or len(shape) < 2:
        return [None]
    return [TensorType(site.dtype(0), (shape[0], site.integer("num_heads", 1), shape[1], shape[1]))]


def _crop_and_resize(site: Site) -> list[Type | None]:
    x, boxes, size = site.shape(0), site.shape(1), site.values[3] if len(site.values) > 3 else None
    if x is None or boxes is None:
        return [None]
    sides = tuple(int(v) for v in size) if isinstance(size, np.ndarray) and size.size == 2 else (None, None)
    return [TensorType(site.dtype(0), (boxes[0], x[1], *sides))]


_CONV = _spatial("Conv", _CONV_ATTRIBUTES, weight=1)

CONTRIB_RULES: dict[str, Rule] = {
    **dict.fromkeys(
        (
            *("BiasGelu", "FastGelu", "QuickGelu", "Gelu", "BiasAdd", "BiasSoftmax", "Inverse", "Trilu", "RotaryEmbedding"),
            *("GemmaRotaryEmbedding", "GroupNorm", "SkipGroupNorm", "MoE", "QMoE", "LongformerAttention", "DecoderAttention"),
            *("QLinearSigmoid", "QLinearLeakyRelu", "QLinearSoftmax"),
        ),
        like(),
    ),
    "BiasSplitGelu": _halved,
    "NGramRepeatBlock": like(1),
    "LayerNormalization": _normalization,
    "SimplifiedLayerNormalization": _normalization,
    "SkipLayerNormalization": _normalization,
    "SkipSimplifiedLayerNormalization": _normalization,
    "EmbedLayerNormalization": _embedding,
    "QEmbedLayerNormalization": _embedding,
    "Attention": lambda site: _attention(site, site.dtype(0), weights=1, past=4),
    "QAttention": lambda site: _attention(site, site.dtype(3), weights=1, past=8),
    "MultiHeadAttention": _multi_head_attention,
    "DecoderMaskedMultiHeadAttention": _multi_head_attention,
    "GroupQueryAttention": _grouped_attention,
    "SparseAttention": _grouped_attention,
    "PackedAttention": _packed_attention,
    "PackedMultiHeadAttention": _packed_multi_head_attention,
    "RelativePositionBias": _relative_bias,
    "GatedRelativePositionBias": _gated_bias,
    "FusedMatMul": _product(0, 1, 0),
    "FusedMatMulActivation": _product(0, 1, 0),
    "TransposeMatMul": _product(0, 1, 0),
    "GemmFastGelu": _product(0, 1, 0),
    "GemmFloat8": _product(0, 1, "fp32"),
    "FusedGemm": _product(0, 1, 0),
    "QGemm": lambda site: _product(0, 3, "fp32" if site.tensor(8) is None else 8)(site),
    "QLinearMatMul": _product(0, 3, 7),
    "MatMulIntegerToFloat": _product(0, 1, 2),
    "MatMulInteger16": _product(0, 1, "int32"),
    "DynamicQuantizeMatMul": _product(0, 1, 0),
    "MatMulNBits": _columns("N"),
    "MatMulBnb4": _columns("N"),
    "MatMulFpQ4": _columns("N"),
    "FusedConv": _CONV,
    "Conv": _CONV,
    "NhwcConv": _spatial("Conv", _CONV_ATTRIBUTES, weight=1, nhwc=True),
    "NhwcFusedConv": _spatial("Conv", _CONV_ATTRIBUTES, weight=1, nhwc=True),
    "QLinearConv": _spatial("Conv", _CONV_ATTRIBUTES, weight=3, dtype=7),
    "MaxPool": _spatial("MaxPool", _POOL_ATTRIBUTES),
    "AveragePool": _spatial("AveragePool", _POOL_ATTRIBUTES),
    "NhwcMaxPool": _spatial("MaxPool", _POOL_ATTRIBUTES, nhwc=True),
    "QLinearAveragePool": _spatial("AveragePool", _POOL_ATTRIBUTES),
    "GlobalMaxPool": _global_pool,
    "GlobalAveragePool": _global_pool,
    "QLinearGlobalAveragePool": _global_pool,
    "ReorderInput": _reorder_input,
    "ReorderOutput": _reorder_output,
    "Upsample": _upsample,
    "QLinearAdd": elementwise(a=0, b=3),
    "QLinearMul": elementwise(a=0, b=3),
    "QLinearWhere": lambda site: [TensorType(site.dtype(1), broadcast(site.shape(0), broadcast(site.shape(1), site.shape(4))))],
    "QLinearConcat": _quantized_concat,
    "QLinearReduceMean": _quantized_reduce,
    "QuantizeLinear": _quantize,
    "DequantizeLinear": _dequantize,
    "DynamicQuantizeLSTM": _quantized_lstm,
    "GatherBlockQuantized": _gather_quantized,
    "CDist": lambda site: [TensorType(site.dtype(0), tuple(s[0] if s else None for s in (site.shape(0), site.shape(1))))],
    "CropAndResize": _crop_and_resize,
}
