"""Copies: bytes that move without arithmetic. Reads are what is copied, writes the whole result.

A machine may make a transpose, a slice or a concatenation free by addressing; whether it does is the target's affair.
"""

from __future__ import annotations

from math import prod

from edpc.ir import Operator, TensorType, Work
from edpc.operators.counting import agreed, counted, elements_in_bytes, flag, positive, text
from edpc.operators.kind import Family, OperatorKind

# Taps per axis of an interpolation, and operations per sample and axis for coordinates: scale, shift, floor, fraction; cubic
# weights are four polynomials of six operations.
_TAPS = {"nearest": 1, "linear": 2, "bilinear": 2, "cubic": 4, "bicubic": 4}
_COORDINATE_OPS = {1: 3, 2: 4, 4: 28}


def interpolation_ops(taps: list[int]) -> int:
    """Operations per element of a separable interpolation: t products and t - 1 additions on each line of each axis.

    Two axes of two taps: 3 + 2 * 3 = 9. Two axes of four: 7 + 4 * 7 = 35. One tap is a copy.
    """
    ops, lines = 0, 1
    for t in taps:
        if t > 1:
            ops += lines * (2 * t - 1)
        lines *= t
    return ops


def _copy(op: Operator) -> Work:
    return counted(op, arithmetic=op.inputs[:1])


def _part(op: Operator) -> Work:
    """Reads of the first operand only as many elements as are written."""
    return counted(op, touched={0: elements_in_bytes(op.outputs[0].numel, op.inputs[0])}, arithmetic=op.inputs[:1])


def _split(op: Operator) -> Work:
    moved = sum(t.numel for t in op.outputs)
    return counted(op, touched={0: elements_in_bytes(moved, op.inputs[0])}, arithmetic=op.inputs[:1])


def _shape_of(op: Operator) -> Work:
    return counted(op, touched={0: 0})


def _fill(op: Operator) -> Work:
    """The operand is a shape, or a tensor that only lends its shape."""
    return counted(op, touched={0: 0}, arithmetic=op.outputs[:1])


def _one_hot(op: Operator) -> Work:
    return counted(op, vector_ops=op.outputs[0].numel, arithmetic=op.inputs[:1])


def _taps(op: Operator, x: TensorType, result: TensorType) -> list[int]:
    """Taps along every axis whose size changes; widened by the shrinking factor where the filter is antialiased."""
    width = _TAPS.get(text(op, "mode", "nearest"), 2)
    taps = []
    for before, after in zip(x.dims(), result.dims(), strict=False):
        if before == after:
            continue
        shrink = -(-before // max(after, 1)) if flag(op, "antialias") and width > 1 else 1
        taps.append(width * max(shrink, 1))
    return taps


def _resize(op: Operator) -> Work:
    """Coordinates are shared by a whole line and not counted."""
    x, result = op.inputs[0], op.outputs[0]
    taps = _taps(op, x, result)
    return counted(
        op,
        vector_ops=interpolation_ops(taps) * result.numel,
        touched={0: elements_in_bytes(prod(taps) * result.numel, x)},
        arithmetic=(x,),
    )


def _grid_sample(op: Operator) -> Work:
    """Coordinates per point of the grid, interpolation per element of the result."""
    x, grid, result = op.inputs[0], op.inputs[1], op.outputs[0]
    axes = agreed(*(grid.shape or (None,))[-1:])
    width = _TAPS.get(text(op, "mode", "linear"), 2)
    return counted(
        op,
        vector_ops=_COORDINATE_OPS[width] * grid.numel + interpolation_ops([width] * axes) * result.numel,
        touched={0: elements_in_bytes(width**axes * result.numel, x)},
        arithmetic=(x,),
    )


def _affine_grid(op: Operator) -> Work:
    """Every coordinate is an affine form of the others: as many products as axes, and as many additions."""
    result = op.outputs[0]
    axes = agreed(*(result.shape or (None,))[-1:])
    return counted(op, vector_ops=2 * axes * result.numel, arithmetic=op.inputs[:1])


def _col2im(op: Operator) -> Work:
    return counted(op, vector_ops=op.inputs[0].numel, arithmetic=op.inputs[:1])


def _rotary(op: Operator) -> Work:
    """Per rotated element two products and an addition; caches are read by position where positions are given."""
    x = op.inputs[0]
    head = agreed(*(x.shape or (None,))[-1:])
    head = positive(op, "head_size", max(head, 1))
    rotated = min(positive(op, "rotary_dim", head), head)
    touched = {}
    if len(op.inputs) > 3:
        positions = op.inputs[3].numel
        for slot in (1, 2):
            cache = op.inputs[slot]
            width = agreed(*(cache.shape or (None,))[-1:])
            touched[slot] = elements_in_bytes(positions * width, cache)
    return counted(op, vector_ops=3 * (x.numel // head) * rotated, touched=touched, arithmetic=(x,))


DEFINITIONS: tuple[OperatorKind, ...] = (
    *(
        OperatorKind(name, Family.MOVEMENT, rule, summary, operands)
        for name, rule, operands, summary in (
            ("transpose", _copy, 1, "x; perm: copies x."),
            ("contiguous", _copy, 1, "x; perm (its axes as they lie in memory): copies x, spread to the result, row by row."),
            ("concat", _copy, 1, "parts; axis: copies all parts."),
            ("split", _split, 1, "x [, lengths]; axis: copies the parts that are used."),
            ("slice", _part, 1, "x [, starts, ends, axes, steps]: reads and writes what is kept."),
            ("pad", _part, 1, "x [, pads, value, axes]; mode: reads what is kept of x, writes the result."),
            ("center_crop_pad", _part, 1, "x [, shape]; axes: reads what is kept of x, writes the result."),
            ("tile", _copy, 1, "x [, repeats]: reads x once, writes the result."),
            ("expand", _copy, 1, "x [, shape]: a broadcast with a copy; reads x once, writes the result."),
            ("trilu", _copy, 1, "x [, k]; upper: copies x, one triangle zeroed."),
            ("reverse_sequence", _copy, 1, "x, lengths: copies x."),
            ("depth_to_space", _copy, 1, "x; blocksize, mode: copies x."),
            ("space_to_depth", _copy, 1, "x; blocksize: copies x."),
            ("compress", _part, 2, "x, condition; axis: reads the condition and what is kept."),
            ("string_op", _copy, 0, "texts: 8 bytes per text, a handle, in and out."),
            ("shape_of", _shape_of, 1, "x: writes its sizes (or their product), reads no element."),
            ("fill", _fill, 0, "[shape, or a tensor that lends its shape]: writes a constant, reads nothing."),
            ("eye_like", _fill, 0, "[tensor that lends its shape]: writes an identity matrix, reads nothing."),
            ("one_hot", _one_hot, 1, "indices [, depth, values]; axis: 1 comparison per element of the result."),
            (
                "resize",
                _resize,
                1,
                "x [, regions, scales, sizes]; mode (nearest, linear, cubic), antialias: nothing for nearest, 3 operations for "
                "linear along one axis and 9 along two, 7 and 35 for cubic, per element of the result; reads the taps, at most "
                "x.",
            ),
            (
                "grid_sample",
                _grid_sample,
                2,
                "x, grid [..., axes]; mode (nearest, linear, cubic): interpolation per element of the result as resize, and 3, "
                "4 or 28 operations per coordinate.",
            ),
            ("affine_grid", _affine_grid, 1, "theta [, size]: 2 operations per axis for every coordinate of the grid."),
            ("col2im", _col2im, 1, "columns [, shapes]: an addition per element of the columns."),
            (
                "rotary_embedding",
                _rotary,
                3,
                "x, cos, sin [, positions]; rotary_dim, head_size (default: the last axis): 3 operations per rotated element.",
            ),
        )
    ),
)
