"""A graph under verification: what several rules look up once, and what is new since it was last verified."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from functools import cached_property
from operator import attrgetter, is_not
from typing import Any, TypeVar

from edpc.ir.graph import Graph
from edpc.ir.operator import Operator
from edpc.ir.snapshot import Step

K = TypeVar("K", bound=Hashable)

# (who breaks the rule, what is wrong with it)
Violation = tuple[str, str]


class Subject:
    """A graph under verification.

    Payloads are immutable: what a rule found good of one when the graph was last verified still is. Rules about single payloads
    look only at those that are new.
    """

    def __init__(self, graph: Graph, kinds: frozenset[str] | None, step: Step | None = None) -> None:
        """Takes the graph, the vocabulary and what is new.

        Args:
            graph: at any stage.
            kinds: the kinds that exist beside sources and the return; None where any kind may stand.
            step: from the graph as last verified to what it is now; None where all of it is new.
        """
        self.graph = graph
        self.kinds = kinds
        self._step = step

    def new_nodes(self) -> Iterable[tuple[Any, dict[str, Any]]]:
        """Nodes with all they carry, but for those known to carry exactly one operator that is as it should be."""
        nodes: dict[str, dict[str, Any]] = self.graph.dag._node  # type: ignore[attr-defined]
        if self._step is None or not self._step.after.is_plain:
            return nodes.items()
        return ((name, nodes[name]) for name, _, _ in self._step.touched)

    def new_edges(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """Edges as (producer, consumer, all they carry), unless all are known to carry one good flow."""
        if self._step is not None and self._step.after.is_plain and self._step.same_edges:
            return
        for producer, consumers in self.graph.dag.adjacency():
            for consumer, data in consumers.items():
                yield producer, consumer, data

    def news(self, *names: str) -> Iterator[tuple[str, Operator]]:
        """Operators one of whose fields of these names is another object than when the graph was last verified."""
        if self._step is None:
            yield from self.operators.items()
            return
        values = attrgetter(*names, names[0])  # two names at least, for a tuple
        for name, was, now in self._step.touched:
            if was is None or any(map(is_not, values(was), values(now))):
                yield name, now

    @cached_property
    def operators(self) -> dict[str, Operator]:
        """Operators by name, in insertion order."""
        return dict(self.graph.items()) if self._step is None else self._step.after.operators

    @cached_property
    def suspects(self) -> dict[str, list[tuple[int, str, int]]]:
        """By operator, its links as (slot, producer, result) sorted by slot, for those that the rules of structure must look at.

        In one walk the others are cleared: every slot is linked once, to a result that exists and is of the operand's type.
        """
        operators = self.operators
        found = {}
        for name, producers in self.graph.dag._pred.items():  # type: ignore[attr-defined]
            inputs = operators[name].inputs
            links = [(slot, producer, result) for producer, data in producers.items() for result, slot in data["flow"].links]
            if len(links) > 1:
                links.sort()
            is_clear = len(links) == len(inputs)
            for place, (slot, producer, result) in enumerate(links):
                made = operators[producer].outputs
                is_clear = is_clear and slot == place and 0 <= result < len(made)
                is_clear = is_clear and (made[result] is inputs[slot] or made[result] == inputs[slot])
            if not is_clear:
                found[name] = links
        return found

    @cached_property
    def group_index(self) -> dict[str, int]:
        """Which group an operator is a member of, by position."""
        return {member: index for index, group in enumerate(self.graph.groups) for member in group.members}

    @cached_property
    def group_links(self) -> list[tuple[str, str, int, int]]:
        """Edges between members of groups: (producer, consumer, the producer's group, the consumer's group)."""
        index = self.group_index
        return [(p, c, index[p], index[c]) for p, c in self.graph.dag.edges if p in index and c in index]


# A rule's check: yields what breaks the rule.
Check = Callable[[Subject], Iterator[Violation]]


def node(name: str) -> str:
    """A node as errors name it."""
    return f"%{name}"


def on_a_cycle(after: Mapping[K, Iterable[K]]) -> K | None:
    """A node that stands on a cycle; None where there is none.

    Args:
        after: the successors of every node, each once.
    """
    waiting = dict.fromkeys(after, 0)
    for successors in after.values():
        for each in successors:
            waiting[each] += 1
    ready = deque(each for each, count in waiting.items() if not count)
    while ready:
        for each in after[ready.popleft()]:
            waiting[each] -= 1
            if not waiting[each]:
                ready.append(each)
    left = {each for each, count in waiting.items() if count}
    if not left:
        return None
    # What is left stands on a cycle or behind one, and each has a predecessor that is left: backwards leads onto a cycle.
    before = {each: one for one in after if one in left for each in after[one] if each in left}
    seen: set[K] = set()
    here = next(each for each in after if each in left)
    while here not in seen:
        seen.add(here)
        here = before[here]
    return here
