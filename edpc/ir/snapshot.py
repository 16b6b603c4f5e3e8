"""What a graph was at a moment: cheap to take, because payloads are immutable and only references are kept."""

from __future__ import annotations

from edpc.ir.graph import Graph


class Snapshot:
    """The nodes, edges and facts of a graph, as they were when it was taken."""

    def __init__(self, graph: Graph) -> None:
        self.name = graph.name
        self._whole = dict(graph.dag.graph)
        self._nodes = [(name, dict(data)) for name, data in graph.dag.nodes(data=True)]
        self._edges = [(producer, consumer, dict(data)) for producer, consumer, data in graph.dag.edges(data=True)]

    def restore(self) -> Graph:
        """A graph of its own that equals the one the snapshot was taken of."""
        graph = Graph(self.name)
        graph.dag.graph.clear()
        graph.dag.graph.update(self._whole)
        graph.dag.add_nodes_from(self._nodes)
        graph.dag.add_edges_from(self._edges)
        return graph

    def same_structure(self, graph: Graph) -> bool:
        """Whether the graph has the same nodes and edges in the same order; facts and attributes may differ."""
        dag = graph.dag
        return (
            len(self._nodes) == len(dag)
            and len(self._edges) == dag.number_of_edges()
            and [name for name, _ in self._nodes] == list(dag)
            and self._edges == list(dag.edges(data=True))
        )

    def same(self, graph: Graph) -> bool:
        """Whether nothing changed at all."""
        return (
            self.name == graph.name
            and self._whole == graph.dag.graph
            and self.same_structure(graph)
            and self._nodes == list(graph.dag.nodes.items())
        )
