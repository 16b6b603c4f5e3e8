"""Sequences, optionals and everything without a rule."""

from __future__ import annotations

from edpc.ir import Operator, TensorType, Work
from edpc.operators.counting import OPAQUE_DTYPES, counted
from edpc.operators.kind import Family, OperatorKind


def _sequence_op(op: Operator) -> Work:
    """Handles change hands; no element moves."""
    return counted(op, touched=dict.fromkeys(range(len(op.inputs)), 0), produced=dict.fromkeys(range(len(op.outputs)), 0))


def _size(tensors: tuple[TensorType, ...]) -> int:
    return sum(t.num_bytes for t in tensors if t.dtype not in OPAQUE_DTYPES)


def _sequence_copy(op: Operator) -> Work:
    """What a sequence holds is known from the tensor on the other side."""
    moved = max(_size(op.inputs[:1]), _size(op.outputs[:1]))
    return counted(op, touched={0: moved}, produced={0: moved}, arithmetic=op.outputs[:1])


def _unknown(op: Operator) -> Work:
    return counted(op)


DEFINITIONS: tuple[OperatorKind, ...] = (
    OperatorKind(
        "sequence_op",
        Family.OTHER,
        _sequence_op,
        "tensors, sequences, optionals: makes, extends, shortens or indexes one; handles change hands, no element moves.",
        0,
        0,
    ),
    OperatorKind(
        "sequence_copy",
        Family.OTHER,
        _sequence_copy,
        "a sequence to concatenate, or a tensor to split into one; axis: copies the tensor's bytes.",
    ),
    OperatorKind(
        "unknown",
        Family.UNKNOWN,
        _unknown,
        "anything: reads all operands and writes all results; no arithmetic is counted.",
        0,
        0,
    ),
)
