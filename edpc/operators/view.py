"""Views: another name for the same bytes. They compute and move nothing."""

from __future__ import annotations

from edpc.ir import Operator, Work
from edpc.operators.counting import counted
from edpc.operators.kind import Family, OperatorKind


def _view(op: Operator) -> Work:
    return counted(op, touched=dict.fromkeys(range(len(op.inputs)), 0), produced=dict.fromkeys(range(len(op.outputs)), 0))


DEFINITIONS: tuple[OperatorKind, ...] = (
    *(
        OperatorKind(name, Family.VIEW, _view, f"x [, shape or axes]: {what}; computes and moves nothing.")
        for name, what in (
            ("reshape", "the same elements under another shape (also flatten, squeeze, unsqueeze)"),
            ("identity", "the same tensor"),
            ("view_expand", "broadcast by strides, without a copy"),
            ("bit_cast", "the same bits read as another element type"),
            ("view_transpose", "its axes in another order (perm), by strides"),
            ("view_slice", "a part of it, by strides"),
            ("view_split", "its parts along an axis, by strides"),
        )
    ),
)
