"""Control flow: both branches of If, bodies of Loop, Scan and SequenceMap lowered in place with how often they run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from edpc.frontends.onnx.site import Entry, Offline, Scope, Site
from edpc.frontends.onnx.typed import TypedGraph
from edpc.frontends.onnx.walk import walk
from edpc.ir import TensorType, Value, attributes
from edpc.operators import work


def branch(site: Site) -> None:
    """`If`: the branch taken where the condition is known; otherwise the dearer one runs and the other runs 0 times.

    Dearer is who has more multiply-accumulates, then who moves more bytes, then `then`.
    """
    bodies = site.scope.typed.subgraphs[site.index]
    known = site.constant(0)
    if known is not None and known.size == 1:
        taken = "then_branch" if bool(known.reshape(-1)[0]) else "else_branch"
        _bind_all(site, _lowered(site, bodies[taken], {}, 1))
        return
    added = site.scope.builder.added
    scopes: dict[str, Scope] = {}
    parts: dict[str, list[str]] = {}
    for name in ("then_branch", "else_branch"):
        start = len(added)
        scopes[name] = _lowered(site, bodies[name], {}, 1)
        parts[name] = added[start:]
    costs = {name: _cost(site, part) for name, part in parts.items()}
    taken, other = (
        ("then_branch", "else_branch") if costs["then_branch"] >= costs["else_branch"] else ("else_branch", "then_branch")
    )
    graph = site.scope.builder.graph
    for name in parts[other]:
        kept = {key: value for key, value in graph.op(name).attributes if key != "executions"}
        graph.annotate(name, attributes=attributes(**kept, executions=0))
    _keep(site, scopes[other], scopes[other].typed.outputs)
    _bind_all(site, scopes[taken])
    macs = f"{costs[taken][0]:,} MACs against {costs[other][0]:,}"
    site.note(f"the condition is not known; {taken} is counted as taken ({macs}), {other} as never run")


def _cost(site: Site, names: list[str]) -> tuple[int, int]:
    """(multiply-accumulates, bytes) of these operators."""
    works = [work(site.scope.builder.graph.op(name)) for name in names]
    return sum(w.macs for w in works), sum(sum(w.reads) + sum(w.writes) for w in works)


def loop(site: Site) -> None:
    """`Loop`: the body runs as often as the trip count says; carried values pass through it once."""
    body = site.scope.typed.subgraphs[site.index]["body"]
    trips = _trips(site)
    carried = len(site.inputs) - 2
    bound: dict[str, Entry] = {}
    for number, name in enumerate(body.inputs):
        if number < 2:
            bound[name] = _counter(site, body, name, "condition" if number else "iteration")
        else:
            bound[name] = _carried(site, number, f"state{number - 2}")
    inner = _lowered(site, body, bound, trips)
    _keep(site, inner, body.outputs[:1])
    for number, name in enumerate(body.outputs[1:]):
        if number < carried:
            site.bind(number, site.value(number + 2) if trips == 0 else inner.value(inner.find(name)))
        else:
            _stack(site, number, inner.value(inner.find(name)), 0)


def scan(site: Site) -> None:
    """`Scan`: the body runs once per slice of the scanned inputs; before opset 9 the first operand is a list of lengths."""
    body = site.scope.typed.subgraphs[site.index]["body"]
    batched = site.version < 9
    first = 1 if batched else 0
    scanned = int(site.attributes.get("num_scan_inputs", 1))
    states = len(site.inputs) - first - scanned
    trips = _trips(site)
    if batched and (shape := site.type(first).shape):
        trips *= shape[0] or 1
    axes = site.attributes.get("scan_input_axes") or (0,) * scanned
    builder = site.scope.builder
    bound: dict[str, Entry] = {}
    for number, name in enumerate(body.inputs):
        value = _carried(site, number + first, f"state{number}") if number < states else site.value(number + first)
        have, want = site.type_of(value), body.types[name]
        if number >= states or have.shape != want.shape:  # one slice, or one image's state
            outside, builder.executions = builder.executions, builder.executions * trips
            axis = (1 if batched else int(axes[number - states])) if number >= states else 0
            value = site.emit("slice", (value,), (want,), f"slice{number}", axes=(axis,))
            builder.executions = outside
        bound[name] = value
    inner = _lowered(site, body, bound, trips)
    outputs = site.attributes.get("scan_output_axes") or (0,) * len(body.outputs)
    for number, name in enumerate(body.outputs):
        value = inner.value(inner.find(name))
        if number < states and not batched:
            site.bind(number, value)
        else:
            _stack(site, number, value, int(outputs[number - states]) if number >= states else 0)


def sequence_map(site: Site) -> None:
    """`SequenceMap`: the body runs once per tensor of the sequence."""
    body = site.scope.typed.subgraphs[site.index]["body"]
    trips = _trips(site)
    builder = site.scope.builder
    bound: dict[str, Entry] = {}
    outside, builder.executions = builder.executions, builder.executions * trips
    for number, name in enumerate(body.inputs):
        value = site.value(number)
        if site.type_of(value).dtype == "sequence":
            value = site.emit("sequence_op", (value,), (body.types[name],), f"element{number}")
        bound[name] = value
    builder.executions = outside
    inner = _lowered(site, body, bound, trips)
    for number, name in enumerate(body.outputs):
        if site.wants(number):
            value = inner.value(inner.find(name))
            site.bind(number, site.emit("sequence_op", (value,), (site.result_type(number),), f"collect{number}"))


def _trips(site: Site) -> int:
    """The trip count; 1 with a note where nobody knows it."""
    trips = site.scope.typed.trip_counts.get(site.index)
    if trips is None:
        site.note(f"the trip count is not known and counted as 1; give it with --trip-count {site.node.name or site.stem}=N")
        return 1
    return trips


def _lowered(site: Site, body: TypedGraph, bound: Mapping[str, Entry], executions: int) -> Scope:
    """The body's scope after it was lowered to run that often."""
    inner = site.scope.body(body)
    inner.entries.update(bound)
    builder = site.scope.builder
    outside, builder.executions = builder.executions, builder.executions * executions
    walk(inner)
    builder.executions = outside
    return inner


def _counter(site: Site, body: TypedGraph, name: str, part: str) -> Value:
    """A scalar that the loop hands to its body; it changes from trip to trip, so what reads it is not known beforehand."""
    kind = body.types.get(name, TensorType("int64", ()))
    return site.emit("fill", (), (replace(kind, shape=()),), part)


def _carried(site: Site, slot: int, part: str) -> Value:
    """The first value of a state that changes from trip to trip; a known one is written, so that nothing takes it as fixed."""
    entry = site.entry(slot)
    return site.emit("fill", (), (entry.type,), part) if isinstance(entry, Offline) else entry


def _stack(site: Site, result: int, value: Value, axis: int) -> None:
    """What each trip answers, put one after the other."""
    if site.wants(result):
        site.bind(result, site.emit("concat", (value,), (site.result_type(result),), f"stack{result}", axis=axis))


def _bind_all(site: Site, inner: Scope) -> None:
    for number, name in enumerate(inner.typed.outputs):
        site.bind(number, inner.value(inner.find(name)))


def _keep(site: Site, inner: Scope, names: list[str]) -> None:
    """Marks values as used although no result of the graph needs them."""
    for name in names:
        entry = inner.find(name)
        if not isinstance(entry, Offline):
            site.scope.builder.kept.append(entry)
