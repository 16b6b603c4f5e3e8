"""What a graph was at a moment: cheap to take, because payloads are immutable and only references are kept."""

from __future__ import annotations

from operator import attrgetter
from typing import Any

from edpc.ir.graph import Graph

_structure_of = attrgetter("kind", "inputs", "outputs", "attributes", "location")


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

    def same_structure(self, graph: Graph) -> bool:
        """Whether the graph has the same operators and flows in the same order; the facts of the operators may differ."""
        nodes = _nodes(graph)
        return (
            len(nodes) == len(self._nodes)
            and all(
                a == b and (old is new or _structure_of(old) == _structure_of(new))
                for (a, old), (b, new) in zip(self._nodes, nodes, strict=True)
            )
            and self._edges == _edges(graph)
        )

    def same_groups(self, graph: Graph) -> bool:
        """Whether the graph has the same groups."""
        return bool(self._whole["groups"] == graph.groups)

    def same(self, graph: Graph) -> bool:
        """Whether nothing changed at all."""
        return (
            self.name == graph.name
            and self._whole == graph.dag.graph
            and self._nodes == _nodes(graph)
            and self._edges == _edges(graph)
        )


def _nodes(graph: Graph) -> list[tuple[str, Any]]:
    """Names and operators; what else a node may carry is not seen."""
    return [(name, data.get("op")) for name, data in graph.dag.nodes(data=True)]


def _edges(graph: Graph) -> list[tuple[str, str, Any]]:
    return [(name, reader, data.get("flow")) for name, readers in graph.dag.adjacency() for reader, data in readers.items()]
