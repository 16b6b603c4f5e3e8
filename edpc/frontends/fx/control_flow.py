"""Control flow: both branches of `cond`, bodies of loops and scans lowered in place with how often they run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edpc.errors import UsageError
from edpc.frontends.fx.program import Body, Ref, TensorInfo
from edpc.frontends.fx.site import Scope, Site
from edpc.frontends.fx.walk import walk
from edpc.frontends.onnx.names import shown
from edpc.ir import TensorType, Value, attributes
from edpc.operators import work


def branch(site: Site) -> None:
    """`cond`: the dearer branch is taken, the other runs 0 times; a predicate that is a known number decides."""
    predicate, yes, no = (site.argument(str(slot)) for slot in range(3))
    operands = _listed(site.argument("3"))
    known = None if isinstance(predicate, Ref) else predicate
    if known is not None:
        _deliver(site, _lowered(site, yes if known else no, operands))
        return
    added, graph = site.scope.builder.added, site.scope.builder.graph
    scopes, parts, costs = [], [], []
    for body in (yes, no):
        start = len(added)
        scopes.append(_lowered(site, body, operands))
        parts.append(added[start:])
        works = [work(graph.op(name)) for name in parts[-1]]
        costs.append((sum(w.macs for w in works), sum(sum(w.reads) + sum(w.writes) for w in works)))
    taken = 0 if costs[0] >= costs[1] else 1
    for name in parts[1 - taken]:
        kept = {key: value for key, value in graph.op(name).attributes if key != "executions"}
        graph.annotate(name, attributes=attributes(**kept, executions=0))
    _keep(site, scopes[1 - taken])
    _deliver(site, scopes[taken])
    names = ("the true branch", "the false branch")
    macs = f"{costs[taken][0]:,} MACs against {costs[1 - taken][0]:,}"
    site.note(f"the condition is not known; {names[taken]} is counted as taken ({macs}), {names[1 - taken]} as never run")


def loop(site: Site) -> None:
    """`while_loop`: the body runs as often as the trip count says; carried values pass through it once."""
    condition, body = site.argument("0"), site.argument("1")
    operands = [*_listed(site.argument("2")), *_listed(site.argument("3"))]
    trips = _trips(site)
    _keep(site, _lowered(site, condition, operands, trips))
    inner = _lowered(site, body, operands, trips)
    _deliver(site, inner)


def scan(site: Site) -> None:
    """`scan`: the body runs once per slice of the scanned inputs; what it answers per slice is stacked."""
    body = site.argument("0")
    carried, scanned, extra = (_listed(site.argument(str(slot))) for slot in (1, 2, 3))
    trips = _leading(site, scanned)
    slices = _slices(site, scanned, body.inputs[len(carried) :], body, trips)
    inner = _lowered(site, body, [*carried, *slices, *extra], trips)
    _deliver(site, inner, stacked_from=len(carried))


def mapped(site: Site) -> None:
    """`map`: the body runs once per slice of its inputs."""
    body = site.argument("0")
    scanned, extra = _listed(site.argument("1")), _listed(site.argument("2"))
    trips = _leading(site, scanned)
    inner = _lowered(site, body, [*_slices(site, scanned, body.inputs, body, trips), *extra], trips)
    _deliver(site, inner, stacked_from=0)


def wrapped(site: Site) -> None:
    """A graph called as it is: under another gradient mode, another precision, or to be recomputed."""
    values = list(site.node.arguments.values())
    place = next((number for number, each in enumerate(values) if isinstance(each, Body)), None)
    if place is None:
        site.emit_results("unknown", site.tensors())
        return
    operands = [each for argument in values[place + 1 :] if not isinstance(argument, str) for each in _listed(argument)]
    _deliver(site, _lowered(site, values[place], operands))


def _listed(argument: Any) -> list[Any]:
    if isinstance(argument, list):
        return argument
    return [] if argument is None else [argument]


def _trips(site: Site) -> int:
    """The trip count; 1 with a note where nobody knows it."""
    given = site.scope.trip_count.get(site.node.name)
    if given is None:
        site.note(f"the trip count is not known and counted as 1; give it with --trip-count {site.node.name}=N")
        return 1
    if given < 0:
        raise UsageError(f"--trip-count {shown(site.node.name)}={given} is negative; give a count")
    return given


def _leading(site: Site, scanned: Sequence[Any]) -> int:
    """How many slices the scanned inputs have."""
    for each in scanned:
        shape = site.scope.type(each.name).shape if isinstance(each, Ref) else None
        if shape and shape[0] is not None:
            return shape[0]
    return 1


def _slices(site: Site, scanned: Sequence[Any], names: Sequence[str], body: Body, trips: int) -> list[Value]:
    """One slice of each input, taken once per trip."""
    builder = site.scope.builder
    outside, builder.executions = builder.executions, builder.executions * trips
    found = []
    for number, (each, name) in enumerate(zip(scanned, names, strict=False)):
        value = site.scope.value(each.name)
        want = site.scope.inside(body).type(name)
        found.append(site.emit("slice", (value,), (want,), f"slice{number}", axes=(0,)))
    builder.executions = outside
    return found


def _lowered(site: Site, body: Body, operands: Sequence[Any], executions: int = 1) -> Scope:
    """The body's scope after it was lowered to run that often."""
    inner = site.scope.inside(body)
    for name, each in zip(body.inputs, operands, strict=False):
        if isinstance(each, Ref) and site.scope.is_tensor(each.name):
            inner.entries[name] = site.scope.value(each.name)
        elif isinstance(each, Value):
            inner.entries[name] = each
        elif isinstance(body.values.get(name), TensorInfo) and isinstance(each, int | float):
            inner.entries[name] = site.number(name, each, inner.type(name).dtype)
        else:
            number = site.scope.number(each)
            if number is not None:
                inner.numbers[name] = number
    builder = site.scope.builder
    outside, builder.executions = builder.executions, builder.executions * executions
    walk(inner)
    builder.executions = outside
    return inner


def _deliver(site: Site, inner: Scope, stacked_from: int | None = None) -> None:
    """The body's outputs are the results of the call; from that one on, put one after the other."""
    for number, each in enumerate(inner.body.outputs[: len(site.node.results)]):
        if not isinstance(each, Ref):
            continue
        value = inner.value(each.name)
        if stacked_from is not None and number >= stacked_from and site.wants(number):
            out: TensorType = site.result_type(number)
            value = site.emit("concat", (value,), (out,), f"stack{number}", axis=0)
        site.bind(number, value)


def _keep(site: Site, inner: Scope) -> None:
    """Marks what a body computes as used although no result of the graph needs it."""
    for each in inner.body.outputs:
        if isinstance(each, Ref) and inner.is_tensor(each.name):
            site.scope.builder.kept.append(inner.value(each.name))
