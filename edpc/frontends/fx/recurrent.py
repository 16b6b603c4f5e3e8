"""Recurrent layers: one operator per layer, with the weights of its directions stacked as the vocabulary wants them."""

from __future__ import annotations

from collections.abc import Sequence

from edpc.frontends.fx.rows import Lowering
from edpc.frontends.fx.site import Site
from edpc.frontends.onnx.expressions import concat, deliver, view
from edpc.ir import Attribute, TensorType, Value


def lstm(site: Site) -> None:
    """`lstm`: output, last hidden and last cell states."""
    _layers(site, "lstm", states=2)


def gru(site: Site) -> None:
    """`gru`: output and last hidden states; the candidate is reset after its product."""
    _layers(site, "gru", states=1, linear_before_reset=True)


def rnn(site: Site) -> None:
    """`rnn_tanh` and `rnn_relu`: output and last hidden states."""
    _layers(site, "rnn", states=1)


def _layers(site: Site, kind: str, states: int, **options: Attribute) -> None:
    """The layers one after the other; a packed sequence [steps * batch, features] is one step per row."""
    packed = site.has("batch_sizes")
    x = site.tensor("data" if packed else "input")
    if packed:
        shape = site.type_of(x).dims()
        x = view(site, x, (shape[0], 1, shape[-1]), "packed")
        site.note("packed sequences count every step they hold")
    parameters = site.given("params")
    layers = site.integer("num_layers", 1)
    directions = 2 if site.flag("bidirectional") else 1
    per_direction = max(len(parameters) // max(layers * directions, 1), 1)
    biased = site.flag("has_biases")
    if per_direction > (4 if biased else 2):
        site.note("the projections of the hidden state are not counted")
    initial = site.given("hx")
    first = bool(site.flag("batch_first"))
    ends: list[list[Value]] = [[] for _ in range(states)]
    for layer in range(layers):
        own = parameters[layer * directions * per_direction :]
        sides = [own[side * per_direction : (side + 1) * per_direction] for side in range(directions)]
        weights = [stacked(site, [side[slot] for side in sides], f"{name}{layer}") for slot, name in ((0, "w"), (1, "r"))]
        bias = [_biases(site, [side[2:4] for side in sides], layer)] if biased else []
        hidden = site.type_of(weights[1]).dims()[-1]
        batch, steps = (site.type_of(x).dims()[axis] for axis in ((0, 1) if first else (1, 0)))
        dtype = site.type_of(x).dtype
        length = (batch, steps) if first else (steps, batch)
        outputs = [TensorType(dtype, (*length, directions * hidden))]
        wanted = [state for state in range(states) if site.wants(state + 1)]
        outputs += [TensorType(dtype, (directions, batch, hidden))] * len(wanted)
        made = site.emit(
            kind,
            (x, *weights, *bias, *(initial if layers == 1 else ())),
            outputs,
            f"layer{layer}" if layers > 1 else "",
            hidden_size=hidden,
            directions=directions,
            layout=int(first),
            **options,
        )
        x = Value(made.node, 0)
        for place, state in enumerate(wanted):
            ends[state].append(Value(made.node, place + 1))
    deliver(site, 0, x)
    for state, values in enumerate(ends):
        if values:
            deliver(site, state + 1, values[0] if len(values) == 1 else concat(site, values, 0, f"state{state}"))


def stacked(site: Site, values: Sequence[Value], part: str) -> Value:
    """Matrices or vectors of the directions under a new first axis."""
    parts = []
    for number, value in enumerate(values):
        shape = site.type_of(value).shape or ()
        parts.append(view(site, value, (1, *shape), f"{part}_{number}"))
    return parts[0] if len(parts) == 1 else concat(site, parts, 0, part)


def _biases(site: Site, sides: Sequence[Sequence[Value]], layer: int) -> Value:
    """Both biases of each direction in one vector, [D, 2 * gates * H]."""
    return stacked(site, [concat(site, side, 0, f"biases{layer}_{number}") for number, side in enumerate(sides)], f"b{layer}")


def cell(kind: str) -> Lowering:
    """One step of a layer: a sequence of length one."""

    def lower(site: Site) -> None:
        x = site.tensor("input")
        shape = site.type_of(x).dims()
        batch, features = (1, *shape)[-2:]
        x = view(site, x, (1, batch, features), "step")
        weights = [stacked(site, [site.tensor(name)], name) for name in ("w_ih", "w_hh")]
        biased = site.has("b_ih") and site.has("b_hh")
        bias = [_biases(site, [site.given("b_ih", "b_hh")], 0)] if biased else []
        hidden = site.type_of(weights[1]).dims()[-1]
        outputs = [TensorType(site.type_of(x).dtype, (1, batch, hidden))] * len(site.node.results)
        options: dict[str, Attribute] = {"linear_before_reset": True} if kind == "gru" else {}
        made = site.emit(kind, (x, *weights, *bias), outputs, "cell", hidden_size=hidden, directions=1, layout=0, **options)
        for result in range(len(site.node.results)):
            deliver(site, result, Value(made.node, result))

    return lower
