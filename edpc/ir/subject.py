"""A graph under verification, with what several rules look up once."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from functools import cached_property
from typing import TypeVar

from edpc.ir.graph import Graph
from edpc.ir.operator import Operator

K = TypeVar("K", bound=Hashable)

# (who breaks the rule, what is wrong with it)
Violation = tuple[str, str]


class Subject:
    """A graph under verification, with what several rules look up."""

    def __init__(self, graph: Graph, kinds: frozenset[str] | None) -> None:
        """Takes the graph, and the kinds that exist beside sources and the return; None where any kind may stand."""
        self.graph = graph
        self.kinds = kinds

    @cached_property
    def operators(self) -> dict[str, Operator]:
        """Operators by name, in insertion order."""
        return {name: self.graph.op(name) for name in self.graph.dag}

    @cached_property
    def links(self) -> dict[str, list[tuple[int, str, int]]]:
        """By consumer: (slot, producer, result) of each link, sorted by slot."""
        found: dict[str, list[tuple[int, str, int]]] = {name: [] for name in self.operators}
        for producer, consumer, flow in self.graph.flows():
            for result, slot in flow.links:
                found[consumer].append((slot, producer, result))
        for links in found.values():
            if len(links) > 1:
                links.sort()
        return found

    @cached_property
    def group_index(self) -> dict[str, int]:
        """Which group an operator is a member of, by position."""
        return {member: index for index, group in enumerate(self.graph.groups) for member in group.members}


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
