"""Recurrent layers: the input projection of all steps at once, then one small product per step.

x [T, B, I] (layout 0) or [B, T, I] (layout 1), w [D, gates*H, I], r [D, gates*H, H] with D directions; weights stored the other
way round are the same to the count where `hidden_size` is given. Biases of w and r add up to one vector beforehand, but for the
candidate of a gru that is reset after the product. Activations other than sigmoid and tanh count as if they were those.
"""

from __future__ import annotations

from typing import NamedTuple

from edpc.ir import Contraction, Operator, Work
from edpc.operators.counting import counted, flag, integer, positive, text
from edpc.operators.elementwise import FUNCTIONS
from edpc.operators.kind import Family, OperatorKind


class Cell(NamedTuple):
    """A recurrent cell: gates, activations and arithmetic per element of the state beside the gates' sums."""

    gates: int
    sigmoids: int
    tanhs: int
    state_ops: int
    formula: str


CELLS = {
    "lstm": Cell(4, 3, 2, 4, "c = f * c + i * g, h = o * tanh(c)"),
    "gru": Cell(3, 2, 1, 5, "n = tanh(W x + r * (R h)), h = (1 - z) * n + z * h"),
    "rnn": Cell(1, 0, 1, 0, "h = tanh(W x + R h)"),
}


def _recurrent(op: Operator) -> Work:
    """Per step and element of the state: one addition per gate joins both products, one more adds the bias."""
    cell = CELLS[op.kind]
    x, w, r = op.inputs[:3]
    steps, batch, features = (*x.dims(), 1, 1, 1)[:3]
    if integer(op, "layout", 0) == 1:
        steps, batch = batch, steps
    directions = (*w.dims(), 1)[0]
    hidden = max(integer(op, "hidden_size", (1, *r.dims())[-1]), 0)
    rows = cell.gates * hidden
    # Biases are [D, 2 * gates * H], peepholes of an lstm [D, 3 * H]; lengths and initial states have other shapes.
    widths = [t.dims()[1] for t in op.inputs[3:] if len(t.dims()) == 2]
    biased = 2 * rows in widths
    peepholes = 3 if op.kind == "lstm" and 3 * hidden in widths else 0
    reset_after = op.kind == "gru" and biased and flag(op, "linear_before_reset")

    sigmoid, tanh = FUNCTIONS["sigmoid"], FUNCTIONS["tanh"]
    vector = cell.gates * (1 + biased) + cell.state_ops + 2 * peepholes + reset_after
    vector += cell.sigmoids * sigmoid.vector_ops + cell.tanhs * tanh.vector_ops
    transcendental = cell.sigmoids * sigmoid.transcendentals + cell.tanhs * tanh.transcendentals
    states = directions * steps * batch * hidden
    return counted(
        op,
        vector_ops=vector * states,
        transcendentals=transcendental * states,
        contractions=(
            Contraction(directions, steps * batch, rows, features),
            Contraction(directions, batch, rows, hidden, steps),
        ),
        arithmetic=(x, w),
    )


def _linear_attention(op: Operator) -> Work:
    """Attention whose keys and values are summed into a state S [dk, dv] per key/value head, token by token.

    Per token and head: the update k v^T (dk * dv multiply-accumulates), the answer q^T S for every query head that shares S,
    with a delta rule also S^T k and two operations per element of v, with a gate the decay of S (dk * dv multiplications and
    one exponential per decay). The scale is one multiplication per element of the result.
    """
    query, key, value = op.inputs[:3]
    batch, steps, width = (*key.dims(), 1, 1, 1)[:3]
    heads = positive(op, "kv_heads", 1)
    shared = max(positive(op, "q_heads", heads) // heads, 1)
    dk = width // heads
    dv = (*value.dims(), 1, 1, 1)[2] // heads
    rule = text(op, "update_rule", "gated_delta")
    states = batch * heads
    spaces = [Contraction(states, dk, dv, 1, steps), Contraction(states, shared, dv, dk, steps)]
    vector = op.outputs[0].numel
    transcendental = 0
    if "delta" in rule:
        spaces.append(Contraction(states, 1, dv, dk, steps))
        vector += 2 * states * steps * dv
    if "gated" in rule:
        vector += states * steps * dk * dv
        # Without a decay among the operands there is one per token and head.
        decay = [t.numel for t in op.inputs[3:] if len(t.dims()) == 3]
        transcendental = decay[0] if decay else states * steps
    return counted(
        op, vector_ops=vector, transcendentals=transcendental, contractions=tuple(spaces), arithmetic=(query, key, value)
    )


DEFINITIONS: tuple[OperatorKind, ...] = (
    OperatorKind(
        "linear_attention",
        Family.RECURRENT,
        _linear_attention,
        "query, key, value [B, T, heads * width] [, state, decay, beta]; q_heads, kv_heads, update_rule (linear, gated, "
        "delta, gated_delta): state update, answer and correction as one product each per token.",
        3,
    ),
    *(
        OperatorKind(
            name,
            Family.RECURRENT,
            _recurrent,
            f"x, w, r [, biases, lengths, states, peepholes]; hidden_size, layout, linear_before_reset: {cell.formula} "
            "for every step and direction, one product for the inputs of all steps and one product per step for the state.",
            3,
        )
        for name, cell in CELLS.items()
    ),
)
