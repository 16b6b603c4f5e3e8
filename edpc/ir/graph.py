"""The graph: a networkx DiGraph with one payload per node, one per edge and three for the whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import networkx as nx

from edpc.ir.facts import Estimate, Group, ModelInfo
from edpc.ir.operator import Operator, Value
from edpc.ir.types import TensorType


@dataclass(frozen=True, slots=True)
class Flow:
    """Payload of an edge: which results of the producer feed which operand slots of the consumer.

    Attributes:
        links: (result, slot) pairs sorted by slot, so that x*x and operators of several results are unambiguous.
    """

    links: tuple[tuple[int, int], ...]


class Use(NamedTuple):
    """One use of a result: `consumer` reads result number `result` in operand slot `slot`."""

    consumer: str
    slot: int
    result: int


class Graph:
    """A network: operators as nodes, tensors as edges.

    `dag` is the networkx graph itself, for networkx algorithms; its raw attributes are touched in `edpc.ir` only.
    Node order is insertion order and everything printed or computed follows it, so the same input gives the same bytes.
    """

    def __init__(self, name: str, info: ModelInfo | None = None) -> None:
        self.name = name
        self.dag: nx.DiGraph[str] = nx.DiGraph()
        self.dag.graph["info"] = info or ModelInfo()
        self.dag.graph["groups"] = ()
        self.dag.graph["estimate"] = None

    # --- operators -------------------------------------------------------------------------------------------

    def add(self, name: str, op: Operator, operands: Sequence[Value] = ()) -> str:
        """Adds an operator whose operands exist already; answers its name.

        Raises:
            ValueError: the name is taken, or an operand's producer is not in the graph.
        """
        nodes = self.dag._node  # type: ignore[attr-defined]
        if name in nodes:
            raise ValueError(f"%{name} is already in graph @{self.name}")
        for value in operands:
            if value.node not in nodes:
                raise ValueError(f"%{name} reads %{value.node}, which is not in graph @{self.name}")
        self.dag.add_node(name, op=op)
        self._connect(name, operands)
        return name

    def op(self, name: str) -> Operator:
        """The operator of that name."""
        # Here and below: networkx's dictionaries, which its types do not show; its views take five times as long.
        op: Operator = self.dag._node[name]["op"]  # type: ignore[attr-defined]
        return op

    def items(self) -> Iterator[tuple[str, Operator]]:
        """Every operator with its name, in insertion order."""
        for name, data in self.dag._node.items():  # type: ignore[attr-defined]
            yield name, data["op"]

    def annotate(self, name: str, **facts: Any) -> None:
        """Replaces fields of the operator; a field that does not exist is a TypeError."""
        data = self.dag._node[name]  # type: ignore[attr-defined]
        data["op"] = data["op"].having(**facts)

    def exchange(self, name: str, op: Operator) -> None:
        """Puts another operator in the place of one with the same operands."""
        self.dag.nodes[name]["op"] = op

    def rewire(self, name: str, operands: Sequence[Value]) -> None:
        """Gives the operator other operands and the input types that follow from them."""
        self.dag.remove_edges_from([(p, name) for p in self.dag.predecessors(name)])
        self._connect(name, operands)
        self.annotate(name, inputs=tuple(self.type_of(v) for v in operands))

    def remove(self, name: str) -> None:
        """Removes an operator that nobody reads.

        Raises:
            ValueError: a result of it is still read.
        """
        if any(True for _ in self.dag.successors(name)):
            raise ValueError(f"%{name} is still read by %{next(iter(self.dag.successors(name)))}")
        self.dag.remove_node(name)

    def operands(self, name: str) -> tuple[Value, ...]:
        """The values the operator reads, by slot."""
        found = [
            (slot, Value(producer, result))
            for producer, data in self.dag._pred[name].items()  # type: ignore[attr-defined]
            for result, slot in data["flow"].links
        ]
        if len(found) > 1:
            found.sort()
        return tuple([value for _, value in found])

    def uses(self, name: str) -> Iterator[Use]:
        """Every use of the operator's results, consumers in insertion order."""
        for consumer, data in self.dag._succ[name].items():  # type: ignore[attr-defined]
            for result, slot in data["flow"].links:
                yield Use(consumer, slot, result)

    def flows(self) -> Iterator[tuple[str, str, Flow]]:
        """Every edge as (producer, consumer, payload), producers in insertion order."""
        for producer, consumers in self.dag._succ.items():  # type: ignore[attr-defined]
            for consumer, data in consumers.items():
                yield producer, consumer, data["flow"]

    def flow(self, producer: str, consumer: str) -> Flow:
        """The payload of an edge."""
        flow: Flow = self.dag._succ[producer][consumer]["flow"]  # type: ignore[attr-defined]
        return flow

    def type_of(self, value: Value) -> TensorType:
        """The tensor type of a value."""
        return self.op(value.node).outputs[value.result]

    def is_in_order(self) -> bool:
        """Whether every operator was inserted after those it reads."""
        seen: set[str] = set()
        for name, producers in self.dag._pred.items():  # type: ignore[attr-defined]
            if not producers.keys() <= seen:
                return False
            seen.add(name)
        return True

    def order(self) -> list[str]:
        """Names in topological order; among ready operators the one inserted first comes first."""
        if self.is_in_order():
            return list(self.dag)
        index = {name: i for i, name in enumerate(self.dag)}
        return list(nx.lexicographical_topological_sort(self.dag, key=index.__getitem__))

    def compute_order(self) -> list[str]:
        """`order` without sources and the return: what groups are made of."""
        nodes = self.dag._node  # type: ignore[attr-defined]
        return [name for name in self.order() if nodes[name]["op"].is_compute]

    def fresh(self, stem: str) -> str:
        """A name that is not taken: the stem, or the stem with a number."""
        if stem not in self.dag:
            return stem
        number = 1
        while f"{stem}.{number}" in self.dag:
            number += 1
        return f"{stem}.{number}"

    # --- the whole -------------------------------------------------------------------------------------------

    @property
    def info(self) -> ModelInfo:
        """Where the graph came from."""
        info: ModelInfo = self.dag.graph["info"]
        return info

    @info.setter
    def info(self, info: ModelInfo) -> None:
        self.dag.graph["info"] = info

    @property
    def groups(self) -> tuple[Group, ...]:
        """The fusion groups in order of execution; empty before fusion."""
        groups: tuple[Group, ...] = self.dag.graph["groups"]
        return groups

    @groups.setter
    def groups(self, groups: Iterable[Group]) -> None:
        self.dag.graph["groups"] = tuple(groups)

    @property
    def estimate(self) -> Estimate | None:
        """How the costs were arrived at; None before costing."""
        estimate: Estimate | None = self.dag.graph["estimate"]
        return estimate

    @estimate.setter
    def estimate(self, estimate: Estimate | None) -> None:
        self.dag.graph["estimate"] = estimate

    def become(self, other: Graph) -> None:
        """Takes over the operators of another graph, which passes that rebuild in order fill; facts of the whole stay."""
        whole = self.dag.graph
        self.dag = other.dag
        self.dag.graph.clear()
        self.dag.graph.update(whole)

    def copy(self) -> Graph:
        """An independent graph with the same payloads (payloads are immutable)."""
        other = Graph(self.name, self.info)
        other.dag = self.dag.copy()
        return other

    def __len__(self) -> int:
        return len(self.dag)

    def __contains__(self, name: object) -> bool:
        return name in self.dag

    def __eq__(self, other: object) -> bool:
        """Same name, facts and operators in the same order; the order edges were added in does not matter."""
        if not isinstance(other, Graph):
            return NotImplemented
        if self.name != other.name or self.dag.graph != other.dag.graph or len(self) != len(other):
            return False
        return all(
            a == b and self.op(a) == other.op(b) and self.operands(a) == other.operands(b)
            for a, b in zip(self.order(), other.order(), strict=True)
        )

    __hash__ = None  # type: ignore[assignment]  # mutable

    def _connect(self, name: str, operands: Sequence[Value]) -> None:
        links: dict[str, list[tuple[int, int]]] = {}
        for slot, value in enumerate(operands):
            links.setdefault(value.node, []).append((value.result, slot))
        for producer, pairs in links.items():
            self.dag.add_edge(producer, name, flow=_flow(tuple(pairs)))


@lru_cache(1024)
def _flow(links: tuple[tuple[int, int], ...]) -> Flow:
    """The payload of edges with these links: few differ, so nearly all share theirs."""
    return Flow(links)
