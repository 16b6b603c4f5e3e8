"""What a graph was at a moment: cheap to take, because payloads are immutable and only references are kept."""

from __future__ import annotations

from enum import IntEnum
from operator import attrgetter
from typing import Any

from edpc.ir.graph import Graph
from edpc.ir.operator import Operator

_structure_of = attrgetter("kind", "inputs", "outputs", "attributes", "location")


class Change(IntEnum):
    """How much of a graph changed; the greater includes the lesser."""

    NOTHING = 0
    FACTS = 1  # of operators, or of the graph as a whole
    GROUPS = 2
    STRUCTURE = 3  # operators, their types and attributes, or what they read


class Snapshot:
    """The operators, flows and facts of a graph, as they were when it was taken."""

    def __init__(self, graph: Graph) -> None:
        self.name = graph.name
        self._whole = dict(graph.dag.graph)
        self._nodes = _nodes(graph)
        self._edges = _edges(graph)

    def restore(self) -> Graph:
        """A graph of its own that equals the one the snapshot was taken of."""
        graph = Graph(self.name)
        graph.dag.graph.clear()
        graph.dag.graph.update(self._whole)
        graph.dag.add_nodes_from((name, {"op": op}) for name, op in self._nodes)
        graph.dag.add_edges_from((producer, consumer, {"flow": flow}) for producer, consumer, flow in self._edges)
        return graph

    def change(self, graph: Graph) -> Change:
        """The most that changed from then to now."""
        nodes = _nodes(graph)
        same_names = [name for name, _ in nodes] == [name for name, _ in self._nodes]
        if self.name != graph.name or not same_names or self._edges != _edges(graph):
            return Change.STRUCTURE
        touched = [(old, new) for (_, old), (_, new) in zip(self._nodes, nodes, strict=True) if old is not new]
        if any(not isinstance(new, Operator) or _structure_of(old) != _structure_of(new) for old, new in touched):
            return Change.STRUCTURE
        whole = graph.dag.graph
        if self._whole.get("groups") != whole.get("groups"):
            return Change.GROUPS
        return Change.FACTS if self._whole != whole or any(old != new for old, new in touched) else Change.NOTHING


def _nodes(graph: Graph) -> list[tuple[str, Any]]:
    """Names and operators; what else a node may carry is not seen."""
    return [(name, data.get("op")) for name, data in graph.dag.nodes(data=True)]


def _edges(graph: Graph) -> list[tuple[str, str, Any]]:
    return [(name, reader, data.get("flow")) for name, readers in graph.dag.adjacency() for reader, data in readers.items()]
