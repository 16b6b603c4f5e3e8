"""Rules about payloads, operators and how they are connected.

A rule is a function from a `Subject` to the violations it finds; its first line says what holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from operator import attrgetter
from typing import Any

from edpc.ir.facts import Cost, Estimate, Group, Kernel, ModelInfo, Share, Work
from edpc.ir.graph import Flow
from edpc.ir.operator import RETURN_KIND, SOURCE_KINDS, Location, Operator
from edpc.ir.subject import Check, Subject, Violation, node, on_a_cycle
from edpc.ir.types import DTYPE_BITS, TensorType

_SCALARS = frozenset({bool, int, float, str})
_OPERATOR_FIELDS: tuple[tuple[str, type | tuple[type, ...]], ...] = (
    ("kind", str),
    ("inputs", tuple),
    ("outputs", tuple),
    ("attributes", tuple),
    ("location", (Location, type(None))),
    ("work", (Work, type(None))),
    ("cost", (Cost, type(None))),
    ("separate", (Kernel, type(None))),
    ("share", (Share, type(None))),
)
_operator_fields = attrgetter(*(field for field, _ in _OPERATOR_FIELDS))


# --- payloads ------------------------------------------------------------------------------------------------


def node_payload(subject: Subject) -> Iterator[Violation]:
    """A node carries exactly one payload, an `Operator` whose fields have their declared types."""
    good: set[tuple[type, ...]] = set()  # few combinations of types occur, and each is looked at once
    for name, data in subject.new_nodes():
        op = data.get("op")
        if not isinstance(name, str):
            yield repr(name), f"is named by a {type(name).__name__}, not a string"
        elif len(data) != 1 or not isinstance(op, Operator):
            yield node(name), f"carries {_shown(data)}, not exactly an Operator under 'op'"
        elif (types := tuple(map(type, _operator_fields(op)))) not in good:
            for (field, wanted), found in zip(_OPERATOR_FIELDS, types, strict=True):
                if not issubclass(found, wanted):
                    yield node(name), f"has a {found.__name__} as {field}"
            good.add(types)


def edge_payload(subject: Subject) -> Iterator[Violation]:
    """An edge carries exactly one payload, a `Flow` of (result, slot) pairs sorted by slot."""
    for producer, consumer, data in subject.new_edges():
        flow = data.get("flow")
        if len(data) != 1 or not isinstance(flow, Flow):
            yield f"{node(producer)} -> {node(consumer)}", f"carries {_shown(data)}, not exactly a Flow under 'flow'"
        elif not flow.links:
            yield f"{node(producer)} -> {node(consumer)}", "links no result to a slot"
        elif len(flow.links) > 1 and any(a[1] >= b[1] for a, b in pairwise(flow.links)):
            yield f"{node(producer)} -> {node(consumer)}", f"has links {flow.links} that are not sorted by slot"


def graph_payload(subject: Subject) -> Iterator[Violation]:
    """The graph as a whole carries `info`, `groups` and `estimate`, and nothing else."""
    whole = subject.graph.dag.graph
    if whole.keys() != {"info", "groups", "estimate"}:
        yield "the graph", f"carries {_shown(whole)}, not exactly info, groups and estimate"
        return
    if not isinstance(whole["info"], ModelInfo):
        yield "the graph", f"has a {type(whole['info']).__name__} as info"
    if not isinstance(whole["groups"], tuple) or not all(isinstance(g, Group) for g in whole["groups"]):
        yield "the graph", "has groups that are not a tuple of Group"
    if not isinstance(whole["estimate"], Estimate | None):
        yield "the graph", f"has a {type(whole['estimate']).__name__} as estimate"


# --- operators -----------------------------------------------------------------------------------------------


def known_kind(subject: Subject) -> Iterator[Violation]:
    """An operator's kind is one of the vocabulary."""
    if subject.kinds is None:
        return
    known = subject.kinds | SOURCE_KINDS | {RETURN_KIND}
    for name, op in subject.news("kind"):
        if op.kind not in known:
            yield node(name), f"has the kind {op.kind!r}, which the vocabulary does not have"


def known_types(subject: Subject) -> Iterator[Violation]:
    """Element types are known and sizes are not negative."""
    good: set[TensorType] = set()
    for name, op in subject.news("inputs", "outputs"):
        for each in (*op.inputs, *op.outputs):
            if not isinstance(each, TensorType):
                yield node(name), f"has a {type(each).__name__} among its types"
            elif each not in good:
                if each.dtype not in DTYPE_BITS:
                    yield node(name), f"has the element type {each.dtype!r}, which the IR does not know"
                for size in each.shape or ():
                    if size is not None and (type(size) is not int or size < 0):
                        yield node(name), f"has the type {each}, with a size that is not a count"
                good.add(each)


def sorted_attributes(subject: Subject) -> Iterator[Violation]:
    """Attributes are sorted by name, each name once."""
    for name, op in subject.news("attributes"):
        keys = [key for key, _ in op.attributes]
        if any(a >= b for a, b in pairwise(keys)):
            yield node(name), f"has attributes {keys}, which are not sorted by name, each once"


def plain_attributes(subject: Subject) -> Iterator[Violation]:
    """An attribute is a bool, int, float or str, or a tuple of values of one of these types."""
    for name, op in subject.news("attributes"):
        for key, value in op.attributes:
            kinds = set(map(type, value)) if type(value) is tuple else {type(value)}
            if len(kinds) > 1 or not kinds <= _SCALARS:
                shown = "a tuple of several types" if len(kinds) > 1 else f"a {next(iter(kinds)).__name__}"
                yield node(name), f"has {shown} as attribute {key}"


def sources(subject: Subject) -> Iterator[Violation]:
    """An input, parameter or constant has no operands and exactly one result."""
    for name, op in subject.operators.items():
        if op.is_source and (op.inputs or name in subject.suspects or len(op.outputs) != 1):
            yield node(name), f"is a source of kind {op.kind} with {len(op.inputs)} operands and {len(op.outputs)} results"


def single_return(subject: Subject) -> Iterator[Violation]:
    """There is at most one return, and it has no results."""
    returns = [name for name, op in subject.operators.items() if op.kind == RETURN_KIND]
    for name in returns[1:]:
        yield node(name), f"is a second return beside {node(returns[0])}"
    for name in returns:
        if subject.operators[name].outputs:
            yield node(name), "is a return and has results"


# --- structure -----------------------------------------------------------------------------------------------


def slots(subject: Subject) -> Iterator[Violation]:
    """Every operand slot of an operator, from 0 on without a gap, is linked exactly once."""
    for name, links in subject.suspects.items():
        count, linked = len(subject.operators[name].inputs), [slot for slot, _, _ in links]
        if linked != list(range(count)):
            yield node(name), f"has {count} operands and links to slots {linked}"


def results(subject: Subject) -> Iterator[Violation]:
    """Whatever is read is a result that its producer has."""
    for name, links in subject.suspects.items():
        for slot, producer, result in links:
            count = len(subject.operators[producer].outputs)
            if not 0 <= result < count:
                yield node(name), f"reads {node(producer)}#{result} in slot {slot}, which has {count} results"


def operand_types(subject: Subject) -> Iterator[Violation]:
    """An operand's type is the type of the result it reads."""
    for name, links in subject.suspects.items():
        inputs = subject.operators[name].inputs
        for slot, producer, result in links:
            made = subject.operators[producer].outputs[result]
            if inputs[slot] != made:
                yield node(name), f"reads {node(producer)}#{result} as {inputs[slot]}, which is {made}"


def acyclic(subject: Subject) -> Iterator[Violation]:
    """No operator reads its own results, however far around."""
    if subject.graph.is_in_order():
        return
    dag = subject.graph.dag
    cycle = on_a_cycle({name: list(dag.successors(name)) for name in dag})
    if cycle is not None:
        yield node(cycle), "stands on a cycle"


def _shown(data: dict[str, Any]) -> str:
    return ", ".join(f"{key}: {type(value).__name__}" for key, value in data.items()) or "nothing"


PAYLOAD_RULES: tuple[Check, ...] = (node_payload, edge_payload, graph_payload)
STRUCTURE_RULES: tuple[Check, ...] = (
    known_kind,
    known_types,
    sorted_attributes,
    plain_attributes,
    sources,
    single_return,
    slots,
    results,
    operand_types,
    acyclic,
)
