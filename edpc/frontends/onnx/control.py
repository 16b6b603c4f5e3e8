"""Control flow: the types inside and behind If, Loop, Scan and SequenceMap, and how often their bodies run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import onnx

from edpc.errors import ModelError
from edpc.frontends.onnx.fold import Partial
from edpc.frontends.onnx.names import node_label
from edpc.frontends.onnx.order import Node
from edpc.frontends.onnx.scope import Scope
from edpc.frontends.onnx.values import Container, Type, attribute_values
from edpc.ir.types import TensorType

if TYPE_CHECKING:
    from edpc.frontends.onnx.typer import Typer

# Loops whose carried shapes change are typed again with those dimensions unknown; nested, that multiplies, so it is bounded.
_MAX_RETYPINGS = 1000

Rule = Callable[["Typer", int, Node, Sequence[Type | None], Scope, str], list[Type | None]]


def joined(a: Type | None, b: Type | None) -> Type | None:
    """The type of a value that is one or the other: dimensions that differ are unknown."""
    if a is None or b is None or a == b:
        return a if b is None or a == b else b
    if isinstance(a, Container) or isinstance(b, Container):
        if isinstance(a, Container) and isinstance(b, Container):
            return Container(a.kind, joined(a.element, b.element))
        return a
    if a.shape is None or b.shape is None or len(a.shape) != len(b.shape):
        return TensorType(a.dtype, None)
    return TensorType(a.dtype, tuple(x if x == y else None for x, y in zip(a.shape, b.shape, strict=True)))


def _body(typer: Typer, node: Node, name: str, scope: Scope, inputs: Sequence[Type | None], where: str) -> Scope:
    """Types the body in an attribute.

    Raises:
        ModelError: the node has no such body, or the body another number of inputs.
    """
    graph = attribute_values(node.proto).get(name)
    label = f"{where}: {node_label(node.proto)}"
    if not isinstance(graph, onnx.GraphProto):
        raise ModelError(f"{label} has no {name}; export the model again")
    given = {tensor.name for tensor in graph.initializer}
    expected = sum(value.name not in given for value in graph.input)
    if expected != len(inputs):
        raise ModelError(f"{label} passes {len(inputs)} values to a {name} of {expected} inputs; export the model again")
    return typer.graph(graph, scope, inputs, where)


def _results(body: Scope) -> list[Type | None]:
    return [body.type_of(name) for name in body.graph.outputs]


def _if(typer: Typer, index: int, node: Node, types: Sequence[Type | None], scope: Scope, where: str) -> list[Type | None]:
    condition = scope.value_of(node.inputs[0]) if node.inputs else None
    chosen = ""
    if condition is not None and not isinstance(condition, Partial) and condition.size == 1:
        chosen = "then_branch" if condition.reshape(-1)[0] else "else_branch"
    branches: dict[str, Scope] = {}
    for name in ("then_branch", "else_branch"):
        # The branch not taken need not make sense at these shapes: often that is why it is not taken.
        dead = bool(chosen) and name != chosen
        typer.dead_code += dead
        branches[name] = _body(typer, node, name, scope, (), where)
        typer.dead_code -= dead
    scope.graph.subgraphs[index] = {name: branch.close() for name, branch in branches.items()}
    if chosen:
        return _results(branches[chosen])
    return [joined(a, b) for a, b in zip(*(_results(branch) for branch in branches.values()), strict=False)]


def _widened(kind: Type | None) -> Type | None:
    return TensorType(kind.dtype, None) if isinstance(kind, TensorType) else kind


def _fixpoint(
    typer: Typer, state: list[Type | None], run: Callable[[list[Type | None]], tuple[Scope, list[Type | None]]]
) -> Scope:
    """Types a loop's body so that the carried types hold in every iteration: what changes from one to the next is unknown."""
    if typer.retypings >= _MAX_RETYPINGS:
        return run([_widened(kind) for kind in state])[0]
    while True:
        body, after = run(state)
        stable = [joined(a, b) for a, b in zip(state, after, strict=False)]
        if stable == state or typer.retypings >= _MAX_RETYPINGS:
            return body
        typer.retypings += 1
        state = stable


def _count(typer: Typer, index: int, node: Node, scope: Scope, found: int | None) -> int | None:
    """The trip count of a loop: as the user says, else as the model does."""
    name = node.proto.name or next((output for output in node.outputs if output), "")
    typer.loops.add(name)
    count = typer.trip_count.get(name, found)
    scope.graph.trip_counts[index] = count
    note = f"how often {node_label(node.proto)} runs is not known before the run; say it with --trip-count {name}=N"
    if count is None and note not in typer.notes:
        typer.notes.append(note)
    return count


def _stacked(kind: Type | None, count: int | None, axis: int = 0) -> Type | None:
    """The type of what every iteration adds one slice to."""
    if not isinstance(kind, TensorType) or kind.shape is None:
        return kind
    at = axis if axis >= 0 else axis + len(kind.shape) + 1
    return TensorType(kind.dtype, (*kind.shape[:at], count, *kind.shape[at:]))


def _loop(typer: Typer, index: int, node: Node, types: Sequence[Type | None], scope: Scope, where: str) -> list[Type | None]:
    initial = list(types[2:])
    counter, flag = TensorType("int64", ()), TensorType("bool", ())

    def run(state: list[Type | None]) -> tuple[Scope, list[Type | None]]:
        body = _body(typer, node, "body", scope, [counter, flag, *state], where)
        return body, _results(body)[1 : 1 + len(state)]

    body = _fixpoint(typer, initial, run)
    scope.graph.subgraphs[index] = {"body": body.close()}
    count = _count(typer, index, node, scope, _loop_count(node, scope, body))
    results = _results(body)[1:]
    carried = len(initial)
    # A loop that may not run at all hands on what came in.
    state = results[:carried] if count else [joined(a, b) for a, b in zip(initial, results, strict=False)]
    if count == 0:
        state = initial
    return state + [_stacked(kind, count) for kind in results[carried:]]


def _loop_count(node: Node, scope: Scope, body: Scope) -> int | None:
    """The iterations of a Loop: its limit, unless a condition that depends on data may end it sooner."""

    def scalar(name: str) -> int | None:
        value = scope.value_of(name) if name else None
        return None if value is None or isinstance(value, Partial) or value.size != 1 else int(value.reshape(-1)[0])

    limit, start = (scalar(name) if name else None for name in (*node.inputs[:2], "", "")[:2])
    if start == 0 and len(node.inputs) > 1 and node.inputs[1]:
        return 0
    if limit is None:
        return None
    return max(0, limit) if _runs_on(body) else None


def _runs_on(body: Scope) -> bool:
    """Whether the body's condition stays true: a constant, or the one that came in."""
    name = body.graph.outputs[0] if body.graph.outputs else ""
    value = body.value_of(name)
    if value is not None and not isinstance(value, Partial):
        return bool(value.all())
    passed = {
        node.output[0]: node.input[0] for node in body.graph.nodes if node.op_type == "Identity" and node.input and node.output
    }
    seen = 0
    while name in passed and seen < len(passed):
        name, seen = passed[name], seen + 1
    return len(body.graph.inputs) > 1 and name == body.graph.inputs[1]


def _scan(typer: Typer, index: int, node: Node, types: Sequence[Type | None], scope: Scope, where: str) -> list[Type | None]:
    attributes = attribute_values(node.proto)
    # Opset 8 has the sequence lengths as first operand and a batch axis before everything.
    batched = typer.opsets[""] < 9
    operands = list(types[1:]) if batched else list(types)
    scanned = int(attributes.get("num_scan_inputs", 1))
    if not 0 <= scanned <= len(operands):
        raise ValueError(f"it scans {scanned} of {len(operands)} operands")
    state, inputs = operands[: len(operands) - scanned], operands[len(operands) - scanned :]
    axes = [1] * scanned if batched else list(attributes.get("scan_input_axes") or [0] * scanned)
    batch: int | None = None
    found: int | None = None
    elements: list[Type | None] = []
    for kind, axis in zip(inputs, axes, strict=False):
        if not isinstance(kind, TensorType) or kind.shape is None or not -len(kind.shape) <= axis < len(kind.shape):
            elements.append(_widened(kind))
            continue
        at = axis % len(kind.shape)
        found = kind.shape[at] if found is None else found
        batch = kind.shape[0] if batched else None
        elements.append(TensorType(kind.dtype, (*kind.shape[int(batched) : at], *kind.shape[at + 1 :])))
    if batched:
        state = [_unbatched(kind) for kind in state]

    def run(carried: list[Type | None]) -> tuple[Scope, list[Type | None]]:
        body = _body(typer, node, "body", scope, [*carried, *elements], where)
        return body, _results(body)[: len(carried)]

    body = _fixpoint(typer, state, run)
    scope.graph.subgraphs[index] = {"body": body.close()}
    count = _count(typer, index, node, scope, found)
    results = _results(body)
    outputs = results[: len(state)]
    out_axes = list(attributes.get("scan_output_axes") or [])
    for position, kind in enumerate(results[len(state) :]):
        outputs.append(_stacked(kind, count, out_axes[position] if position < len(out_axes) else 0))
    return [_stacked(kind, batch) for kind in outputs] if batched else outputs


def _unbatched(kind: Type | None) -> Type | None:
    return TensorType(kind.dtype, kind.shape[1:]) if isinstance(kind, TensorType) and kind.shape else kind


def _sequence_map(
    typer: Typer, index: int, node: Node, types: Sequence[Type | None], scope: Scope, where: str
) -> list[Type | None]:
    elements = [kind.element if isinstance(kind, Container) and kind.kind == "sequence" else kind for kind in types]
    body = _body(typer, node, "body", scope, elements, where)
    scope.graph.subgraphs[index] = {"body": body.close()}
    _count(typer, index, node, scope, None)
    return [Container("sequence", kind) for kind in _results(body)]


OPERATORS: dict[str, Rule] = {"If": _if, "Loop": _loop, "Scan": _scan, "SequenceMap": _sequence_map}
