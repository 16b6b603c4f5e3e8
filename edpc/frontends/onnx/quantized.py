"""Quantised nodes: QLinear* and *Integer operators, dynamic quantisation, weights packed in few bits.

A contraction keeps its kind; scales and zero points are trailing operands and `compute_precision` says what its arithmetic is.
Other quantised operators are their float kind on integer operands, without the scalars that rescale them.
"""

from __future__ import annotations

from collections.abc import Iterable

from edpc.frontends.onnx import options as o
from edpc.frontends.onnx.expressions import times
from edpc.frontends.onnx.options import Reader
from edpc.frontends.onnx.rows import Lowering
from edpc.frontends.onnx.site import Offline, Site
from edpc.ir import TensorType, Value

INT8 = "int8"
_PACKED_DTYPES = {2: "int2", 4: "int4", 8: "int8"}


def contraction(
    kind: str, data: tuple[int, int], addend: int | None, scales: Iterable[int], options: Reader = o.nothing
) -> Lowering:
    """A lowering of a quantised matmul or convolution.

    Args:
        kind: `matmul` or `conv`.
        data: slots of the two factors.
        addend: slot of the bias.
        scales: slots of scales and zero points.
        options: reader of the kind's attributes.
    """
    tail = tuple(scales)
    flag = "bias" if kind == "conv" else "addend"

    def lower(site: Site) -> None:
        biased = addend is not None and site.has(addend)
        operands = [site.value(slot, stored=True) for slot in data]
        if addend is not None and biased:
            operands.append(_bias(site, addend))
        operands += site.scales(tail)
        site.emit_results(kind, operands, **{**options(site), flag: biased, "compute_precision": INT8})

    return lower


def _bias(site: Site, slot: int) -> Value:
    """The bias as a parameter although it is held in int32, as accumulators are."""
    entry = site.entry(slot)
    return site.scope.weight(entry) if isinstance(entry, Offline) else entry


def elementwise(kind: str, data: tuple[int, ...], options: Reader = o.nothing) -> Lowering:
    """A lowering of a quantised operator that is no contraction: the float kind on the data operands."""

    def lower(site: Site) -> None:
        site.emit_results(kind, site.values(data), **{**options(site), "compute_precision": INT8})

    return lower


def concat(site: Site) -> None:
    """`QLinearConcat`: output scale and zero point, then a triple per part."""
    site.emit_results("concat", site.values(range(2, len(site.inputs), 3)), **o.axis(0, slot=2)(site))


def global_average_pool(site: Site) -> None:
    """`QLinearGlobalAveragePool`."""
    if site.attributes.get("channels_last", 0):
        rank = o.rank_of(site)
        spatial = () if rank is None else tuple(range(1, rank - 1))
        site.emit_results("reduce_mean", (site.value(0),), axes=spatial, keepdims=True, compute_precision=INT8)
    else:
        site.emit_results("global_average_pool", (site.value(0),), compute_precision=INT8)


def dynamic_matmul(site: Site) -> None:
    """`DynamicQuantizeMatMul`: the activation quantised by its own range, then an int8 product with a float result."""
    x = site.value(0)
    shape = site.type_of(x).shape
    outputs = (TensorType("uint8", shape), TensorType(site.type_of(x).dtype, ()), TensorType("uint8", ()))
    quantised = site.emit("quantize_dynamic", (x,), outputs, "quantize")
    weight = site.value(1, stored=True)
    biased = site.has(4)
    extra = [*([site.value(4)] if biased else []), Value(quantised.node, 1), Value(quantised.node, 2), *site.scales((2, 3))]
    site.bind(
        0,
        site.emit("matmul", (quantised, weight, *extra), (site.result_type(0),), "matmul", addend=biased, compute_precision=INT8),
    )


def dynamic_lstm(site: Site) -> None:
    """`DynamicQuantizeLSTM`: int8 weights [D, I, 4H] and [D, H, 4H], transposed against those of LSTM."""
    weights = []
    for slot in (1, 2):
        stored = site.type(slot)
        shape = (
            (stored.shape[0], stored.shape[2], stored.shape[1]) if stored.shape is not None and len(stored.shape) == 3 else None
        )
        weights.append(packed_weight(site, slot, TensorType(stored.dtype, shape)))
    operands = [site.value(0), *weights, *site.values(range(3, 8)), *site.scales(range(8, 12))]
    site.emit_results("lstm", operands, **o.recurrent(site), compute_precision=INT8)


def matmul_n_bits(site: Site) -> None:
    """`MatMulNBits`, `MatMulBnb4`: a float activation by a weight [K, N] packed in a few bits, with scales per block.

    Arithmetic is that of the activation, or int8 where the node's accuracy level allows it.
    """
    given = site.attributes
    k, n = given.get("K"), given.get("N")
    bits = int(given.get("bits", 4))
    dtype = _PACKED_DTYPES.get(bits, "int4" if bits < 4 else "int8")
    if bits not in _PACKED_DTYPES:
        site.note(f"weights of {bits} bits are counted as {dtype}")
    is_bnb = site.node.op_type == "MatMulBnb4"
    weight = packed_weight(site, 1, TensorType(dtype, (k, n)))
    bias = None if is_bnb else site.optional(5)
    operands = [site.value(0), weight, *([] if bias is None else [bias]), *site.scales((2,) if is_bnb else (2, 3))]
    precision = {"compute_precision": INT8} if int(given.get("accuracy_level", 0)) == 4 else {}
    site.emit_results("matmul", operands, addend=bias is not None, **precision)


def gather_block_quantized(site: Site) -> None:
    """`GatherBlockQuantized`: rows of a packed table, dequantised."""
    bits = int(site.attributes.get("bits", 4))
    shape = site.type(0).shape
    packed = site.type(0).dtype in ("uint8", "int8") and 0 < bits < 8
    if packed and shape:
        shape = (*shape[:-1], times(shape[-1], 8 // bits))
    stored = TensorType(_PACKED_DTYPES.get(bits, "int8") if packed else site.type(0).dtype, shape)
    table = packed_weight(site, 0, stored)
    axis = o.from_front(int(site.attributes.get("gather_axis", 0)), None if shape is None else len(shape))
    rows = site.emit(
        "gather", (table, site.value(1)), (TensorType(stored.dtype, site.result_type(0).shape),), "gather", axis=axis
    )
    site.bind(0, site.emit("dequantize", (rows, *site.scales((2, 3))), (site.result_type(0),), "dequantize"))


def packed_weight(site: Site, slot: int, logical: TensorType) -> Value:
    """The operand under its logical type: a parameter of that type, or another view of what is computed at run time."""
    entry = site.entry(slot)
    if isinstance(entry, Offline):
        return site.scope.weight(entry, logical)
    return site.emit("bit_cast", (entry,), (logical,), "unpacked")
