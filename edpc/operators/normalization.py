"""Normalisations and softmax: row-wise formulas, written so that a kind counts what its decomposition counts.

A mean is cols - 1 additions and a division: cols operations per row.
"""

from __future__ import annotations

from edpc.ir import Operator, Work
from edpc.operators.counting import counted, flag, integer, integers, positive, split_rows
from edpc.operators.kind import Family, OperatorKind


def _affine(op: Operator) -> int:
    """Operations per element for the scale (slot 1) and the shift (slot 2), as far as they are there."""
    return min(len(op.inputs) - 1, 2)


def _trailing_axes(op: Operator) -> tuple[int, ...]:
    """The normalised axes: `axes`, or `axis` (default the last) and all after it."""
    axes = integers(op, "axes")
    if axes is not None:
        return axes
    rank = len(op.inputs[0].dims())
    axis = integer(op, "axis", -1)
    return tuple(range(axis % rank, rank)) if rank and -rank <= axis < rank else (axis,)


def _moments(op: Operator, rows: int, cols: int, affine: int) -> Work:
    """Mean (1), centring (1), square (1), mean (1), division by the deviation (1): 5 per element; epsilon and root per row."""
    count = rows * cols
    return counted(
        op, vector_ops=count * (5 + affine) + rows, transcendentals=rows, rows=rows, cols=cols, arithmetic=op.inputs[:1]
    )


def _layer_norm(op: Operator) -> Work:
    return _moments(op, *split_rows(op, op.inputs[0], _trailing_axes(op)), _affine(op))


def _rms_norm(op: Operator) -> Work:
    """Square (1), mean (1), division by the root (1): 3 per element; epsilon and root per row."""
    rows, cols = split_rows(op, op.inputs[0], _trailing_axes(op))
    count = rows * cols
    return counted(
        op, vector_ops=count * (3 + _affine(op)) + rows, transcendentals=rows, rows=rows, cols=cols, arithmetic=op.inputs[:1]
    )


def _per_channel_group(op: Operator) -> Work:
    """Rows are (image, group) pairs; an instance normalisation has one group per channel."""
    images, channels, *_ = (*op.inputs[0].dims(), 1, 1)
    groups = channels if op.kind == "instance_norm" else min(positive(op, "groups", 1), max(channels, 1))
    rows = images * groups
    return _moments(op, rows, op.inputs[0].numel // max(rows, 1), _affine(op))


def _mean_variance_norm(op: Operator) -> Work:
    axes = integers(op, "axes")
    rank = len(op.inputs[0].dims())
    if axes is None:
        axes = tuple(a for a in (0, 2, 3) if a < rank)
    return _moments(op, *split_rows(op, op.inputs[0], axes), 0)


def _batch_norm(op: Operator) -> Work:
    """Inference: the statistics fold into one scale and shift per channel. Training: mean and square of the batch as well.

    Training adds mean (1), centring (1), square (1) and mean (1) per element, epsilon and root per channel, and 3 operations
    per channel for each running statistic.
    """
    count = op.inputs[0].numel
    if not flag(op, "training_mode"):
        return counted(op, vector_ops=2 * count, arithmetic=op.inputs[:1])
    dims = op.inputs[0].dims()
    channels = dims[1] if len(dims) > 1 else 1
    return counted(
        op,
        vector_ops=6 * count + 7 * channels,
        transcendentals=channels,
        rows=channels,
        cols=count // max(channels, 1),
        arithmetic=op.inputs[:1],
    )


def _lrn(op: Operator) -> Work:
    """Computes x / (k + alpha/size * sum of size squares) ** beta.

    Square, size - 1 additions, product, sum, the power's product (and its exponential and logarithm), division.
    """
    count = op.inputs[0].numel
    size = positive(op, "size", 1)
    return counted(op, vector_ops=(size + 4) * count, transcendentals=2 * count)


def _lp_norm(op: Operator) -> Work:
    """Square or magnitude (1), sum (1), division (1) per element; a root per row unless p is 1."""
    rows, cols = split_rows(op, op.inputs[0], (integer(op, "axis", -1),))
    roots = 0 if integer(op, "p", 2) == 1 else rows
    return counted(op, vector_ops=3 * rows * cols, transcendentals=roots, rows=rows, cols=cols, arithmetic=op.inputs[:1])


def _softmax_rows(op: Operator) -> tuple[int, int]:
    axes = integers(op, "axes")
    return split_rows(op, op.inputs[0], (integer(op, "axis", -1),) if axes is None else axes)


def _softmax(op: Operator) -> Work:
    """Per element: maximum, subtraction, exponential, sum, division; under a causal mask too, masked elements are computed."""
    rows, cols = _softmax_rows(op)
    count = rows * cols
    return counted(op, vector_ops=4 * count, transcendentals=count, rows=rows, cols=cols, arithmetic=op.inputs[:1])


def _log_softmax(op: Operator) -> Work:
    """Per element: maximum, subtraction, exponential, sum, subtraction; per row a logarithm."""
    rows, cols = _softmax_rows(op)
    count = rows * cols
    return counted(op, vector_ops=4 * count, transcendentals=count + rows, rows=rows, cols=cols, arithmetic=op.inputs[:1])


def _hardmax(op: Operator) -> Work:
    """Per element: maximum and comparison with its place."""
    rows, cols = _softmax_rows(op)
    return counted(op, vector_ops=2 * rows * cols, rows=rows, cols=cols, arithmetic=op.inputs[:1])


DEFINITIONS: tuple[OperatorKind, ...] = (
    *(
        OperatorKind(name, Family.NORMALIZATION, rule, summary)
        for name, rule, summary in (
            (
                "batch_norm",
                _batch_norm,
                "x [N, C, ...], scale, bias, mean, var; training_mode: 2 operations per element at inference (folded per "
                "channel), 6 per element, 7 and a root per channel in training.",
            ),
            (
                "layer_norm",
                _layer_norm,
                "x [, scale] [, bias]; axis (the first normalised, default -1) or axes: 5 operations per element, 1 more for "
                "scale and bias each, 1 and a root per row.",
            ),
            (
                "rms_norm",
                _rms_norm,
                "x [, scale] [, bias]; axis (the first normalised, default -1) or axes: 3 operations per element, 1 more for "
                "scale and bias each, 1 and a root per row.",
            ),
            (
                "group_norm",
                _per_channel_group,
                "x [N, C, ...] [, scale] [, bias]; groups: as layer_norm with a row per image and group.",
            ),
            (
                "instance_norm",
                _per_channel_group,
                "x [N, C, ...] [, scale] [, bias]: as layer_norm with a row per image and channel.",
            ),
            (
                "lrn",
                _lrn,
                "x [N, C, ...]; size: x / (k + alpha/size * sum of size squares) ** beta, size + 4 operations and 2 "
                "transcendentals per element.",
            ),
            ("lp_norm", _lp_norm, "x; axis, p: x / norm(x), 3 operations per element and a root per row (none for p = 1)."),
            (
                "mean_variance_norm",
                _mean_variance_norm,
                "x; axes (default 0, 2, 3): (x - mean) / deviation, 5 operations per element, 1 and a root per row.",
            ),
        )
    ),
    *(
        OperatorKind(
            name, Family.SOFTMAX, rule, f"x; axis (default -1) or axes (flattened into a row), causal, window: {summary}"
        )
        for name, rule, summary in (
            ("softmax", _softmax, "4 operations and 1 exponential per element, masked or not."),
            ("log_softmax", _log_softmax, "4 operations and 1 exponential per element, 1 logarithm per row, masked or not."),
            ("hardmax", _hardmax, "2 comparisons per element."),
        )
    ),
)
