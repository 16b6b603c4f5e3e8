"""Gathers and scatters: only the elements that indices name are touched, each once.

A gather reads as many bytes of its data as it writes, but never more than the data holds (a row fetched twice is in reach the
second time). Scatters are functional, so they copy the data; with `in_place` only the updated elements move, which is how a
`tensor_scatter` updates a key/value cache in every runtime.
"""

from __future__ import annotations

from edpc.ir import Operator, Work
from edpc.operators.counting import counted, elements_in_bytes, flag, text
from edpc.operators.kind import Family, OperatorKind


def _gather(op: Operator) -> Work:
    data = op.inputs[0]
    return counted(op, touched={0: elements_in_bytes(op.outputs[0].numel, data)}, arithmetic=(data,))


def _scatter(op: Operator, updates_slot: int, in_place: bool) -> Work:
    """Reductions (add, mul, min, max) cost one operation per update and read the updated elements."""
    data = op.inputs[0]
    updates = op.inputs[updates_slot] if len(op.inputs) > updates_slot else op.inputs[-1]
    reducing = text(op, "reduction", "none") != "none"
    vector = updates.numel if reducing else 0
    if not flag(op, "in_place", in_place):
        return counted(op, vector_ops=vector, arithmetic=(data,))
    moved = elements_in_bytes(updates.numel, data)
    return counted(op, vector_ops=vector, touched={0: moved if reducing else 0}, produced={0: moved}, arithmetic=(data,))


def _scatter_copy(op: Operator) -> Work:
    return _scatter(op, 2, in_place=False)


def _tensor_scatter(op: Operator) -> Work:
    return _scatter(op, 1, in_place=True)


DEFINITIONS: tuple[OperatorKind, ...] = (
    *(
        OperatorKind(name, Family.GATHER, rule, summary, operands)
        for name, rule, operands, summary in (
            (
                "gather",
                _gather,
                2,
                "data, indices; axis: slices of data (rows of an embedding), reads those slices and the indices.",
            ),
            ("gather_elements", _gather, 2, "data, indices; axis: one element per index, reads those elements and the indices."),
            ("gather_nd", _gather, 2, "data, indices; batch_dims: a slice per index tuple, reads those slices and the indices."),
            (
                "scatter_elements",
                _scatter_copy,
                3,
                "data, indices, updates; axis, reduction, in_place: copies data unless in place, 1 operation per reduced update.",
            ),
            (
                "scatter_nd",
                _scatter_copy,
                3,
                "data, indices, updates; reduction, in_place: copies data unless in place, 1 operation per reduced update.",
            ),
            (
                "tensor_scatter",
                _tensor_scatter,
                2,
                "data, update [, write indices]; axis, in_place (default true): moves the update only.",
            ),
        )
    ),
)
