"""Sorting, searching, selecting and drawing: data movement whose arithmetic is comparisons or random numbers.

A row of n elements is sorted in n * ceil(log2 n) comparisons, and its k largest are found in n * ceil(log2 k) (a heap of k; at
least n). A uniform random number counts as one transcendental; a normal one adds a logarithm, a root, a cosine and two products.
"""

from __future__ import annotations

from edpc.ir import Operator, Work
from edpc.operators.counting import agreed, counted, integer, log2_steps, split_rows, text
from edpc.operators.kind import Family, OperatorKind

# Corners of the overlap (4), its sides (2), clipped at zero (2), its area (1), the union (2), the quotient (1), comparison (1).
_OVERLAP_OPS = 13


def _top_k(op: Operator) -> Work:
    axis = integer(op, "axis", -1)
    rows, cols = split_rows(op, op.inputs[0], (axis,))
    _, k = split_rows(op, op.outputs[0], (axis,))
    compares = rows * cols * max(log2_steps(min(k, cols)), 1)
    return counted(op, vector_ops=compares, rows=rows, cols=cols, arithmetic=op.inputs[:1])


def _sort(op: Operator) -> Work:
    rows, cols = split_rows(op, op.inputs[0], (integer(op, "axis", -1),))
    return counted(op, vector_ops=rows * cols * log2_steps(cols), rows=rows, cols=cols, arithmetic=op.inputs[:1])


def _unique(op: Operator) -> Work:
    """Sorted as a whole, then neighbours are compared."""
    n = op.inputs[0].numel
    return counted(op, vector_ops=n * log2_steps(n) + max(n - 1, 0), arithmetic=op.inputs[:1])


def _nonzero(op: Operator) -> Work:
    return counted(op, vector_ops=op.inputs[0].numel, arithmetic=op.inputs[:1])


def _nms(op: Operator) -> Work:
    """Scores of every image and class are sorted, and each box that may be kept is held against all after it."""
    scores = op.inputs[1]
    images, classes, boxes = (*scores.dims(), 1, 1, 1)[:3]
    kept = min(integer(op, "max_output", boxes), boxes)
    pairs = kept * (2 * boxes - kept - 1) // 2
    per_class = boxes * log2_steps(boxes) + pairs * _OVERLAP_OPS
    return counted(op, vector_ops=images * classes * max(per_class, 0), arithmetic=op.inputs[:2])


def _range(op: Operator) -> Work:
    return counted(op, vector_ops=2 * op.outputs[0].numel, arithmetic=op.outputs[:1])


def _random(op: Operator) -> Work:
    count = op.outputs[0].numel
    vector, transcendental = (2, 4) if text(op, "distribution", "uniform") == "normal" else (0, 1)
    # An operand only lends its shape.
    return counted(
        op,
        vector_ops=vector * count,
        transcendentals=transcendental * count,
        touched=dict.fromkeys(range(len(op.inputs)), 0),
        arithmetic=op.outputs[:1],
    )


def _bernoulli(op: Operator) -> Work:
    count = op.outputs[0].numel
    return counted(op, vector_ops=count, transcendentals=count, arithmetic=op.inputs[:1])


def _multinomial(op: Operator) -> Work:
    """Exponentials and running sums of the log-probabilities, then a binary search per draw."""
    rows, cols = split_rows(op, op.inputs[0], (-1,))
    draws = op.outputs[0].numel
    return counted(
        op,
        vector_ops=rows * max(cols - 1, 0) + draws * (1 + log2_steps(cols)),
        transcendentals=rows * cols + draws,
        rows=rows,
        cols=cols,
        arithmetic=op.inputs[:1],
    )


def _window_function(op: Operator) -> Work:
    """Computes a - b cos(c i): 3 operations and a cosine; a Blackman window has a second cosine: 6 and 2."""
    count = op.outputs[0].numel
    vector, cosines = (6, 2) if text(op, "window", "hann") == "blackman" else (3, 1)
    return counted(op, vector_ops=vector * count, transcendentals=cosines * count, arithmetic=op.outputs[:1])


def _bucketize(op: Operator) -> Work:
    edges = agreed(*(op.inputs[1].shape or (None,))[-1:])
    return counted(op, vector_ops=op.inputs[0].numel * log2_steps(edges + 1), arithmetic=op.inputs[:2])


DEFINITIONS: tuple[OperatorKind, ...] = (
    *(
        OperatorKind(name, Family.MOVEMENT, rule, summary, operands)
        for name, rule, operands, summary in (
            (
                "top_k",
                _top_k,
                1,
                "x [, k]; axis; results values, indices: n * ceil(log2 k) comparisons per row of n, at least n.",
            ),
            ("sort", _sort, 1, "x; axis: n * ceil(log2 n) comparisons per row of n."),
            ("unique", _unique, 1, "x; axis: a sort of all n elements and n - 1 comparisons."),
            ("nonzero", _nonzero, 1, "x: a comparison per element; writes the indices found."),
            (
                "nms",
                _nms,
                2,
                "boxes, scores [images, classes, boxes] [, limits]; max_output: per image and class a sort and 13 operations "
                "for every pair of a box that may be kept with one after it.",
            ),
            ("range", _range, 0, "[start, limit, delta]: start + i * delta, 2 operations per element."),
            (
                "random",
                _random,
                0,
                "[x, which lends its shape]; distribution (uniform, normal): 1 transcendental per element, 4 and 2 operations "
                "for normal.",
            ),
            ("bernoulli", _bernoulli, 1, "probabilities: a draw (1 transcendental) and a comparison per element."),
            (
                "multinomial",
                _multinomial,
                1,
                "log-probabilities [rows, classes]: exponentials, running sums, and per draw 1 transcendental and a binary "
                "search.",
            ),
            (
                "window_function",
                _window_function,
                0,
                "[size]; window (hann, hamming, blackman): 3 operations and a cosine per element, 6 and 2 for blackman.",
            ),
            ("bucketize", _bucketize, 2, "x, edges: a binary search per element."),
        )
    ),
)
