"""Which kernel an operator becomes in ONNX Runtime's CPU provider, and so which line of constants prices it."""

from __future__ import annotations

from math import ceil, prod

from edpc.ir import Operator
from edpc.operators import KINDS, Family

# Kernel kinds whose time is mostly arithmetic or weights, and those that are bound by the tensors they move.
COMPUTE_LINES = (
    "direct_conv",
    "pointwise_conv",
    "depthwise_conv",
    "scale_conv",
    "first_conv",
    "im2col_conv",
    "gemm",
    "gemv",
    "batched_matmul",
    "integer",
    "recurrent",
)
MEMORY_LINES = (
    "unary",
    "binary",
    "transcendental",
    "gelu",
    "softmax",
    "layer_norm",
    "skip_norm",
    "lrn",
    "reduction",
    "reduction_inner",
    "pool",
    "concat",
    "split",
    "movement",
    "transpose",
    "transpose_inner",
    "reorder",
    "gather",
    "quantize",
    "view",
)
LINES = COMPUTE_LINES + MEMORY_LINES
# Kernel classes that name a line: of fusion rules, because the fused kernel is of another kind than any of its operators, and of
# the runtime's own graph, where a convolution that was not blocked is laid out as columns whatever its shape.
FUSED_LINES = frozenset({"gelu", "layer_norm", "skip_norm", "transcendental", "im2col_conv"})

# Activations that a kernel applies to its results in a pass of their own; a ReLU is done on the way out.
PASSING = frozenset({"clip", "sigmoid", "tanh", "leaky_relu", "hard_sigmoid"})

# Channels per block of the runtime's NCHWc layout where nobody asked the runtime: one AVX-512 register of fp32.
BLOCK = 16
# Operators of the runtime's own graph are named after its blocked layout where they run in it.
_BLOCKED = "com.microsoft.nchwc."
# What the inner loops of convolutions work on at a time: filters, and channels of a pointwise one.
_FILTER_SET, _CHANNEL_SET = 64, 128

_BY_FAMILY = {
    Family.RECURRENT: "recurrent",
    Family.SOFTMAX: "softmax",
    Family.NORMALIZATION: "layer_norm",
    Family.POOLING: "pool",
    Family.GATHER: "gather",
    Family.QUANTIZATION: "quantize",
    Family.VIEW: "view",
}
_BY_KIND = {"lrn": "lrn", "batch_norm": "binary", "concat": "concat", "split": "split"}


def line_of(op: Operator) -> str:
    """The kernel kind that executes an operator, one of `LINES`, from its types and attributes alone."""
    family = KINDS[op.kind].family if op.kind in KINDS else Family.UNKNOWN
    if op.work is not None and op.work.macs and op.work.precision.startswith("int"):
        return "integer"
    if family is Family.CONVOLUTION:
        return _convolution(op)
    if family is Family.MATMUL:
        return _matmul(op)
    if family is Family.ELEMENTWISE:
        return _elementwise(op)
    if family is Family.REDUCTION:
        return _reduction(op)
    if op.kind == "transpose":
        return "reorder" if _source(op).startswith(_BLOCKED) else _transpose(op)
    return _BY_KIND.get(op.kind) or _BY_FAMILY.get(family, "movement")


def calls_of(op: Operator, line: str) -> float:
    """How often a kernel's inner loop starts in one execution, which costs something each time; 0 where that does not matter.

    Rows of a softmax or normalisation, products of a batched one, blocks that a copy moves, output rows by filter sets of a
    blocked convolution, groups of one laid out as columns, results of a GEMM.
    """
    counted = _CALLS.get(line)
    known = op.work is not None and all(t.is_static for t in (*op.inputs, *op.outputs))
    return float(counted(op)) if counted is not None and known else 0.0


def _source(op: Operator) -> str:
    return op.location.source_type if op.location is not None else ""


def _convolution(op: Operator) -> str:
    """NCHWc kernels want two spatial axes and whole blocks of channels; everything else is laid out as columns."""
    x, w = (kind.dims() for kind in op.inputs[:2])
    if op.kind != "conv" or len(x) != 4 or len(w) != 4:
        return "im2col_conv"
    filters, channels = w[0], w[1]
    groups = max(x[1] // max(channels, 1), 1)
    blocked = _source(op).startswith(_BLOCKED)
    if not blocked and not _is_blocked(filters, channels, groups):
        return "im2col_conv"
    if groups > 1 and channels == 1:
        # A window of one element is a batch normalisation in the blocked layout: it streams, and looks at no neighbour.
        return "scale_conv" if prod(w[2:]) == 1 else "depthwise_conv"
    if groups == 1 and channels < BLOCK // 2:
        return "first_conv"
    return "pointwise_conv" if w[2:] == (1, 1) and groups == 1 else "direct_conv"


def _is_blocked(filters: int, channels: int, groups: int) -> bool:
    """Whether the runtime would lay the convolution out in blocks of channels."""
    if groups > 1 and channels == 1:
        return filters % BLOCK == 0
    if groups == 1 and channels < BLOCK:
        return filters % BLOCK == 0
    return channels % BLOCK == 0 and (filters // groups) % BLOCK == 0


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


def _reduction(op: Operator) -> str:
    """Reducing the last axis runs along memory; keeping it gathers a row of strided sums."""
    axes, rank = op.attribute("axes"), len(op.inputs[0].shape or ())
    if not isinstance(axes, tuple) or not rank:
        return "reduction"
    return "reduction" if any(int(axis) % rank == rank - 1 for axis in axes) else "reduction_inner"


def _transpose(op: Operator) -> str:
    """Moving whole rows is a block copy; moving the innermost axis (of more than one element) goes element by element."""
    perm = op.attribute("perm")
    if not isinstance(perm, tuple) or not perm or not op.inputs:
        return "transpose_inner"
    dims = op.inputs[0].dims()
    stays = perm[-1] == len(perm) - 1 or not dims or dims[-1] == 1
    return "transpose" if stays else "transpose_inner"


def _rows(op: Operator) -> int:
    return op.work.rows if op.work is not None else 0


def _products(op: Operator) -> int:
    return sum(space.batch * space.steps for space in op.work.contractions) if op.work is not None else 0


def _results(op: Operator) -> int:
    return sum(space.batch * space.m * space.n for space in op.work.contractions) if op.work is not None else 0


def _output_rows(op: Operator) -> int:
    """Rows of the result by sets of filters."""
    y = op.outputs[0].dims()
    return prod(y[:1] + y[2:-1]) * ceil(y[1] / _FILTER_SET)


def _pointwise_rows(op: Operator) -> int:
    return _output_rows(op) * ceil(op.inputs[1].dims()[1] / _CHANNEL_SET)


def _column_buffers(op: Operator) -> int:
    """One per image and group."""
    x, w = op.inputs[0].dims(), op.inputs[1].dims()
    return x[0] * max(x[1] // max(w[1], 1), 1)


def _pieces(op: Operator) -> int:
    """Contiguous blocks that a concatenation or a split copies."""
    parts, whole = (op.inputs, op.outputs[0]) if op.kind == "concat" else (op.outputs, op.inputs[0])
    axis = op.attribute("axis", 0)
    shape = whole.dims()
    place = int(axis) % len(shape) if isinstance(axis, int) and shape else 0
    return prod(shape[:place]) * len(parts)


def _blocks(op: Operator) -> int:
    """Contiguous blocks that a transpose copies: everything before the axes that stay at the end."""
    perm, shape = op.attribute("perm"), op.inputs[0].dims()
    if not isinstance(perm, tuple) or len(perm) != len(shape):
        return prod(shape)
    stay = len(perm)
    while stay and perm[stay - 1] == stay - 1:
        stay -= 1
    return prod(shape[:stay])


_CALLS = {
    "direct_conv": _output_rows,
    "pointwise_conv": _pointwise_rows,
    "depthwise_conv": _output_rows,
    "first_conv": _output_rows,
    "im2col_conv": _column_buffers,
    "gemm": _results,
    "integer": _results,
    "batched_matmul": _products,
    "softmax": _rows,
    "layer_norm": _rows,
    "skip_norm": _rows,
    "concat": _pieces,
    "split": _pieces,
    "transpose": _blocks,
}
