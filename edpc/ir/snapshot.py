"""What a graph was at a moment: cheap to take, because payloads are immutable and only references are kept."""

from __future__ import annotations

from enum import IntEnum
from functools import cached_property
from itertools import chain, repeat
from operator import attrgetter, is_
from typing import Any

from edpc.ir.facts import Group
from edpc.ir.graph import Graph
from edpc.ir.operator import Operator

_group_of = attrgetter("name", "rule", "kernel_class", "members", "refusals")
_structure_of = attrgetter("kind", "inputs", "outputs", "attributes", "location")


class Change(IntEnum):
    """How much of a graph changed; the greater includes the lesser."""

    NOTHING = 0
    FACTS = 1  # of operators, or of the graph as a whole
    GROUPS = 2  # but for their kernels
    STRUCTURE = 3  # operators, their types and attributes, or what they read


class Snapshot:
    """The operators, flows and facts of a graph, as they were when it was taken.

    Attributes:
        name: of the graph.
        whole: the payloads of the graph as a whole.
        operators: the payloads by node; None where there is none.
        readers: of every operator in turn, `fan_out` of them each; flows: the payloads of those edges.
        is_plain: whether no node or edge carries more or less than one payload; what else it may carry is not kept.
    """

    def __init__(self, graph: Graph) -> None:
        self.name = graph.name
        self.whole = dict(graph.dag.graph)
        # networkx's own dictionaries, as plain columns that are compared without a step of Python each.
        nodes: dict[str, dict[str, Any]] = graph.dag._node  # type: ignore[attr-defined]
        edges: dict[str, dict[str, dict[str, Any]]] = graph.dag._succ  # type: ignore[attr-defined]
        payloads = list(chain.from_iterable(map(dict.values, edges.values())))
        self.operators: dict[str, Any] = {name: data.get("op") for name, data in nodes.items()}
        self.fan_out = list(map(len, edges.values()))
        self.readers = list(chain.from_iterable(edges.values()))
        self.flows = [data.get("flow") for data in payloads]
        self.is_plain = {*map(len, nodes.values()), *map(len, payloads)} <= {1}

    def restore(self) -> Graph:
        """A graph of its own that equals the one the snapshot was taken of."""
        graph = Graph(self.name)
        graph.dag.graph.clear()
        graph.dag.graph.update(self.whole)
        graph.dag.add_nodes_from((name, {"op": op}) for name, op in self.operators.items())
        producers = chain.from_iterable(map(repeat, self.operators, self.fan_out))
        graph.dag.add_edges_from((p, c, {"flow": flow}) for p, c, flow in zip(producers, self.readers, self.flows, strict=True))
        return graph


class Step:
    """What became of a graph between two snapshots.

    Attributes:
        before, after: the snapshots.
        touched: operators that are not the object they were, as (name, before, after); None where there was none of the name.
        same_edges: whether every edge is where it was and carries the object it did.
    """

    def __init__(self, before: Snapshot, after: Snapshot) -> None:
        self.before, self.after = before, after
        known = before.operators
        self.touched = [(name, known.get(name), op) for name, op in after.operators.items() if known.get(name) is not op]
        same_readers = before.fan_out == after.fan_out and before.readers == after.readers
        self.same_edges = same_readers and all(map(is_, before.flows, after.flows))

    @cached_property
    def change(self) -> Change:
        """The most that changed."""
        before, after = self.before, self.after
        same_nodes = before.name == after.name and list(before.operators) == list(after.operators)
        if not same_nodes or (before.fan_out, before.readers, before.flows) != (after.fan_out, after.readers, after.flows):
            return Change.STRUCTURE
        if any(not isinstance(now, Operator) or _structure_of(was) != _structure_of(now) for _, was, now in self.touched):
            return Change.STRUCTURE
        if _partition(before.whole.get("groups")) != _partition(after.whole.get("groups")):
            return Change.GROUPS
        return Change.FACTS if before.whole != after.whole or any(was != now for _, was, now in self.touched) else Change.NOTHING


def _partition(groups: Any) -> Any:
    """Groups without their kernels, which are facts; as it is where it holds anything else."""
    if isinstance(groups, tuple) and all(isinstance(group, Group) for group in groups):
        return list(map(_group_of, groups))
    return groups
