"""Convolutions as iteration spaces: batch = groups, m = images * pixels, n = filters and k = kernel volume * channels per group.

Products with padding are counted, as every implementation without masks computes them. Operands are read in full: a stride
skips elements, seldom memory lines. Quantised operands are rescaled as in matrix products.
"""

from __future__ import annotations

from math import prod

from edpc.ir import Contraction, Operator, Work
from edpc.operators.contraction import rescaling
from edpc.operators.counting import counted, flag, positive
from edpc.operators.kind import Family, OperatorKind

# Linear interpolation of a plane: three lerps of three operations each.
BILINEAR_OPS = 9


def _per_group(op: Operator) -> tuple[int, int, int, int]:
    """(groups, leading axis of the weight, second axis of the weight, kernel volume)."""
    outer, inner, *kernel = (*op.inputs[1].dims(), 1, 1)[: max(len(op.inputs[1].dims()), 2)]
    return positive(op, "groups", 1), outer, inner, prod(kernel)


def convolution_space(op: Operator) -> Contraction:
    """The iteration space of a convolution with weight [filters, channels per group, kernel...]."""
    groups, filters, channels, volume = _per_group(op)
    pixels = op.outputs[0].numel // max(filters, 1)
    return Contraction(groups, pixels, filters // groups, volume * channels)


def _epilogue(op: Operator, bias_slot: int = 2) -> int:
    result = op.outputs[0]
    biased = flag(op, "bias", len(op.inputs) > bias_slot)
    return rescaling(op.inputs[0], op.inputs[1], result) + (result.numel if biased else 0)


def _conv(op: Operator) -> Work:
    return counted(op, vector_ops=_epilogue(op), contractions=(convolution_space(op),), arithmetic=op.inputs[:2])


def _conv_transpose(op: Operator) -> Work:
    """Every input pixel is multiplied into a patch; the sums of overlapping patches are part of the multiply-accumulates."""
    groups, channels, filters, volume = _per_group(op)
    pixels = op.inputs[0].numel // max(channels, 1)
    space = Contraction(groups, pixels, filters * volume, channels // groups)
    return counted(op, vector_ops=_epilogue(op), contractions=(space,), arithmetic=op.inputs[:2])


def _deform_conv(op: Operator) -> Work:
    """A convolution whose operand is sampled: per tap and channel one bilinear interpolation, and a product if there is a mask.

    Per offset three operations: addition to the grid, floor and fraction.
    """
    space = convolution_space(op)
    sampled = space.batch * space.m * space.k
    masked = any(len(t.dims()) > 1 for t in op.inputs[3:])
    biased = flag(op, "bias", any(len(t.dims()) == 1 for t in op.inputs[3:]))
    vector = sampled * (BILINEAR_OPS + masked) + 3 * op.inputs[2].numel + (op.outputs[0].numel if biased else 0)
    return counted(op, vector_ops=vector, contractions=(space,), arithmetic=op.inputs[:2])


DEFINITIONS: tuple[OperatorKind, ...] = (
    OperatorKind(
        "conv",
        Family.CONVOLUTION,
        _conv,
        "x [N, C, ...], w [F, C/groups, kernel...] [, bias, residual, scales, zero points]; groups, strides, dilations, pads, "
        "bias (slot 2 is one; default: if present): results * kernel volume * C/groups multiply-accumulates, 1 addition per "
        "element of the result for the bias.",
        2,
    ),
    OperatorKind(
        "conv_transpose",
        Family.CONVOLUTION,
        _conv_transpose,
        "x [N, C, ...], w [C, F/groups, kernel...] [, bias]; groups, strides, dilations, pads, bias: pixels of x * C * "
        "F/groups * kernel volume multiply-accumulates, 1 addition per element of the result for the bias.",
        2,
    ),
    OperatorKind(
        "deform_conv",
        Family.CONVOLUTION,
        _deform_conv,
        "x, w, offset [, bias] [, mask]; groups, bias: the multiply-accumulates of conv, and per sampled tap 9 operations of "
        "bilinear interpolation (10 with a mask), 3 per offset.",
        3,
    ),
)
