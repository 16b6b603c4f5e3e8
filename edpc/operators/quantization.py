"""Changes between floating-point and quantised elements."""

from __future__ import annotations

from edpc.ir import Operator, TensorType, Work
from edpc.operators.counting import counted, is_float
from edpc.operators.kind import Family, OperatorKind


def _floating(op: Operator) -> list[TensorType]:
    """What the arithmetic is done in: the floating side, wherever it stands (fp8 elements are quantised too)."""
    return [t for t in (*op.inputs, *op.outputs) if is_float(t)]


def _quantize(op: Operator) -> Work:
    """clip(round(x / scale) + zero point): 4 per element, 5 with a zero point."""
    return counted(op, vector_ops=op.inputs[0].numel * (5 if len(op.inputs) > 2 else 4), arithmetic=_floating(op))


def _dequantize(op: Operator) -> Work:
    """(float(x) - zero point) * scale: 2 per element, 3 with a zero point."""
    return counted(op, vector_ops=op.inputs[0].numel * (3 if len(op.inputs) > 2 else 2), arithmetic=_floating(op))


def _quantize_dynamic(op: Operator) -> Work:
    """Range of every row, then its quantisation.

    With a zero point: minimum and maximum (2 per element), scale and zero point (5 per row: difference, quotient, quotient,
    round, difference), quantisation (5 per element). Without: magnitude and maximum (2), quotient (1 per row), 4 per element.
    """
    count = op.inputs[0].numel
    rows = op.outputs[1].numel if len(op.outputs) > 1 else 1
    per_element, per_row = (7, 5) if len(op.outputs) > 2 else (6, 1)
    return counted(
        op,
        vector_ops=per_element * count + per_row * rows,
        rows=rows,
        cols=count // max(rows, 1),
        arithmetic=_floating(op),
    )


DEFINITIONS: tuple[OperatorKind, ...] = (
    *(
        OperatorKind(name, Family.QUANTIZATION, rule, summary)
        for name, rule, summary in (
            (
                "quantize",
                _quantize,
                "x, scale [, zero point]: clip(round(x / scale) + zero point), 4 operations per element, 5 with a zero point.",
            ),
            (
                "dequantize",
                _dequantize,
                "x, scale [, zero point]: (x - zero point) * scale, 2 operations per element, 3 with a zero point.",
            ),
            (
                "quantize_dynamic",
                _quantize_dynamic,
                "x; results y, scale (one per row) [, zero point]: 6 operations per element and 1 per row, with a zero point 7 "
                "and 5.",
            ),
        )
    ),
)
