"""Which kernel an operator becomes in ONNX Runtime's CPU provider, and so which line of constants prices it."""

from __future__ import annotations

from edpc.ir import Operator
from edpc.operators import KINDS, Family

# Kernel kinds whose time is mostly arithmetic or weights, and those that are bound by the tensors they move.
COMPUTE_LINES = (
    "direct_conv",
    "pointwise_conv",
    "depthwise_conv",
    "first_conv",
    "im2col_conv",
    "gemm",
    "gemv",
    "batched_matmul",
    "recurrent",
)
MEMORY_LINES = (
    "unary",
    "binary",
    "transcendental",
    "gelu",
    "softmax",
    "layer_norm",
    "lrn",
    "reduction",
    "pool",
    "movement",
    "transpose",
    "transpose_inner",
    "gather",
    "quantize",
)
LINES = COMPUTE_LINES + MEMORY_LINES
# Kernel classes that a fusion rule may name because the fused kernel is of another kind than any of its operators.
FUSED_LINES = frozenset({"gelu", "layer_norm", "transcendental"})

# Channels per block of the runtime's NCHWc layout: one AVX-512 register of fp32.
BLOCK = 16

_BY_FAMILY = {
    Family.RECURRENT: "recurrent",
    Family.SOFTMAX: "softmax",
    Family.NORMALIZATION: "layer_norm",
    Family.REDUCTION: "reduction",
    Family.POOLING: "pool",
    Family.GATHER: "gather",
    Family.QUANTIZATION: "quantize",
}


def line_of(op: Operator) -> str:
    """The kernel kind that executes an operator, one of `LINES`, from its types and attributes alone."""
    family = KINDS[op.kind].family if op.kind in KINDS else Family.UNKNOWN
    if family is Family.CONVOLUTION:
        return _convolution(op)
    if family is Family.MATMUL:
        return _matmul(op)
    if family is Family.ELEMENTWISE:
        return _elementwise(op)
    if op.kind == "lrn":
        return "lrn"
    if op.kind == "batch_norm":
        return "binary"
    if op.kind == "transpose":
        return _transpose(op)
    return _BY_FAMILY.get(family, "movement")


def _convolution(op: Operator) -> str:
    """NCHWc kernels want two spatial axes and whole blocks of channels; everything else is laid out as columns."""
    x, w = (kind.dims() for kind in op.inputs[:2])
    if op.kind != "conv" or len(x) != 4 or len(w) != 4:
        return "im2col_conv"
    filters, channels = w[0], w[1]
    groups = max(x[1] // max(channels, 1), 1)
    if groups > 1 and channels == 1:
        return "depthwise_conv" if x[1] % BLOCK == 0 else "im2col_conv"
    if groups == 1 and channels < BLOCK:
        return "first_conv" if filters % BLOCK == 0 else "im2col_conv"
    if channels % BLOCK or (filters // groups) % BLOCK:
        return "im2col_conv"
    return "pointwise_conv" if w[2:] == (1, 1) and groups == 1 else "direct_conv"


def _matmul(op: Operator) -> str:
    """A product with one matrix of weights is a GEMM, or a GEMV for a single row; a stack of products is batched."""
    spaces = op.work.contractions if op.work is not None else ()
    if op.kind == "einsum" or any(space.batch > 1 for space in spaces):
        return "batched_matmul"
    return "gemv" if spaces and all(min(space.m, space.n) == 1 for space in spaces) else "gemm"


def _elementwise(op: Operator) -> str:
    if op.kind in {"gelu", "erf"}:
        return "gelu"
    if op.work is not None and op.work.transcendentals > 0:
        return "transcendental"
    return "binary" if len(op.inputs) > 1 else "unary"


def _transpose(op: Operator) -> str:
    """Moving whole rows is a block copy; moving the innermost axis (of more than one element) goes element by element."""
    perm = op.attribute("perm")
    if not isinstance(perm, tuple) or not perm or not op.inputs:
        return "transpose_inner"
    dims = op.inputs[0].dims()
    stays = perm[-1] == len(perm) - 1 or not dims or dims[-1] == 1
    return "transpose" if stays else "transpose_inner"
