"""Losses and optimiser steps."""

from __future__ import annotations

from edpc.ir import Operator, Work
from edpc.operators.counting import combining, counted, elements_in_bytes, tally, text
from edpc.operators.kind import Family, OperatorKind

# Per parameter: (vector_ops, transcendentals). R rate, g gradient, H, V, W state; g is regularised first (a product, a sum).
_STEPS = {
    "adagrad": (8, 1, "g += norm * x; H += g * g; x -= R * g / (sqrt(H) + epsilon)"),
    "adam": (13, 1, "g += norm * x; V = a V + (1-a) g; W = b W + (1-b) g g; x -= R * V / (sqrt(W) + epsilon)"),
    "momentum": (7, 0, "g += norm * x; V = a V + b g; x -= R * V"),
}


def _loss_ops(op: Operator, targets: int) -> int:
    """Per target a negation, a product with the class's weight where there is one, and the sum or mean of all."""
    weighted = len(op.inputs) > 2
    reduction = text(op, "reduction", "mean")
    joined = (
        0 if reduction == "none" else combining(1, targets) * (1 + (weighted and reduction == "mean")) + (reduction == "mean")
    )
    return targets * (1 + weighted) + joined


def _nll_loss(op: Operator) -> Work:
    targets = op.inputs[1].numel
    return counted(
        op,
        vector_ops=_loss_ops(op, targets),
        touched={0: elements_in_bytes(targets, op.inputs[0])},
        arithmetic=op.inputs[:1],
    )


def _softmax_cross_entropy_loss(op: Operator) -> Work:
    """log_softmax over the classes (axis 1), then the loss of every target."""
    x = op.inputs[0]
    targets = op.inputs[1].numel
    return counted(
        op,
        vector_ops=4 * x.numel + _loss_ops(op, targets),
        transcendentals=x.numel + targets,
        rows=targets,
        cols=x.numel // max(targets, 1),
        arithmetic=(x,),
    )


def _optimizer(op: Operator) -> Work:
    """Results are new parameters and new states; the first of each `1 + states` are the parameters."""
    vector, transcendental, _ = _STEPS[op.kind]
    copies = 3 if op.kind == "adam" else 2
    parameters = sum(t.numel for t in op.outputs) // copies
    return counted(op, vector_ops=vector * parameters, transcendentals=transcendental * parameters, arithmetic=op.outputs)


DEFINITIONS: tuple[OperatorKind, ...] = (
    OperatorKind(
        "nll_loss",
        Family.OTHER,
        _nll_loss,
        "log-probabilities [N, C, ...], targets [, weights]; reduction: 1 operation per target, 1 more with weights, and their "
        "sum or mean; reads one element per target.",
        2,
    ),
    OperatorKind(
        "softmax_cross_entropy_loss",
        Family.OTHER,
        _softmax_cross_entropy_loss,
        "scores [N, C, ...], targets [, weights]; reduction: log_softmax over the classes, then as nll_loss.",
        2,
    ),
    *(
        OperatorKind(
            name,
            Family.OTHER,
            _optimizer,
            f"rate, step, parameters, gradients, states; results parameters, states: {formula}, "
            f"{tally(vector, transcendental)} per parameter.",
            3,
        )
        for name, (vector, transcendental, formula) in _STEPS.items()
    ),
)
