"""Reductions: a row of `cols` elements is combined in cols - 1 steps, exactly what its definition needs."""

from __future__ import annotations

from typing import NamedTuple

from edpc.ir import Operator, Work
from edpc.operators.counting import combining, counted, integer, integers, split_rows, tally
from edpc.operators.kind import Family, OperatorKind


class Reduction(NamedTuple):
    """Counts beside the cols - 1 combining steps per row: vector operations and transcendentals per element and per row."""

    vector_per_element: int
    transcendental_per_element: int
    vector_per_row: int
    transcendental_per_row: int
    formula: str


REDUCTIONS = {
    "reduce_sum": Reduction(0, 0, 0, 0, "sum(x)"),
    "reduce_mean": Reduction(0, 0, 1, 0, "sum(x) / n"),
    "reduce_max": Reduction(0, 0, 0, 0, "max(x)"),
    "reduce_min": Reduction(0, 0, 0, 0, "min(x)"),
    "reduce_prod": Reduction(0, 0, 0, 0, "product(x)"),
    "reduce_l1": Reduction(1, 0, 0, 0, "sum(|x|)"),
    "reduce_l2": Reduction(1, 0, 0, 1, "sqrt(sum(x * x))"),
    "reduce_log_sum": Reduction(0, 0, 0, 1, "log(sum(x))"),
    "reduce_sum_square": Reduction(1, 0, 0, 0, "sum(x * x)"),
    "argmax": Reduction(0, 0, 0, 0, "index of max(x)"),
    "argmin": Reduction(0, 0, 0, 0, "index of min(x)"),
}


def reduced_rows(op: Operator) -> tuple[int, int]:
    """(rows, cols) of a reduction over `axes` (or `axis`); where neither is given a row is what one result stands for."""
    x = op.inputs[0]
    axes = integers(op, "axes")
    if axes is None and op.attribute("axis") is not None:
        axes = (integer(op, "axis", 0),)
    if axes is None:
        rows = op.outputs[0].numel
        return rows, x.numel // max(rows, 1)
    return split_rows(op, x, axes)


def _reduce(op: Operator) -> Work:
    reduction = REDUCTIONS[op.kind]
    rows, cols = reduced_rows(op)
    return counted(
        op,
        vector_ops=combining(rows, cols) + rows * cols * reduction.vector_per_element + rows * reduction.vector_per_row,
        transcendentals=rows * cols * reduction.transcendental_per_element + rows * reduction.transcendental_per_row,
        rows=rows,
        cols=cols,
        arithmetic=op.inputs[:1],
    )


def _log_sum_exp(op: Operator) -> Work:
    """Safe form: m + log(sum(exp(x - m))) with m = max(x)."""
    rows, cols = reduced_rows(op)
    return counted(
        op,
        vector_ops=2 * combining(rows, cols) + rows * cols + rows,
        transcendentals=rows * cols + rows,
        rows=rows,
        cols=cols,
        arithmetic=op.inputs[:1],
    )


def _cumulative(op: Operator) -> Work:
    x = op.inputs[0]
    rows, cols = split_rows(op, x, (integer(op, "axis", -1),))
    return counted(op, vector_ops=combining(rows, cols), rows=rows, cols=cols, arithmetic=op.inputs[:1])


DEFINITIONS: tuple[OperatorKind, ...] = (
    *(
        OperatorKind(
            name,
            Family.REDUCTION,
            _reduce,
            f"x [, axes]; axes or axis (default: by the result's size), keepdims: {r.formula}, cols - 1 steps per row, "
            f"beside them {tally(r.vector_per_element, r.transcendental_per_element)} per element and "
            f"{tally(r.vector_per_row, r.transcendental_per_row)} per row.",
        )
        for name, r in REDUCTIONS.items()
    ),
    OperatorKind(
        "reduce_log_sum_exp",
        Family.REDUCTION,
        _log_sum_exp,
        "x [, axes]; axes or axis, keepdims: m + log(sum(exp(x - m))) with m = max(x), per row 2 (cols - 1) steps, cols "
        "subtractions, 1 addition, cols + 1 transcendentals.",
    ),
    *(
        OperatorKind(
            name,
            Family.REDUCTION,
            _cumulative,
            f"x [, axis]; axis, exclusive, reverse: running {what}, cols - 1 steps per row.",
        )
        for name, what in (("cumsum", "sum"), ("cumprod", "product"))
    ),
)
