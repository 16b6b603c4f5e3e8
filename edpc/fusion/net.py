"""The graph by position: names, operators, who reads whom, as plain sequences indexed by place in topological order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from edpc.ir import Graph, Operator
from edpc.operators import VIEW


class Read(NamedTuple):
    """A use of a value as seen from its producer: `consumer` reads it in `slot`, through the views of `path`, producer first."""

    consumer: int
    slot: int
    path: tuple[int, ...] = ()


@dataclass(frozen=True)
class Net:
    """A graph whose operators are numbers: positions in topological order, sources and the return included.

    Attributes:
        names, ops: by position.
        operands: by position and slot, the (producer, result) read.
        readers: by position, the (consumer, slot) pairs that read a result.
        clear: whether it is a view that only its first operand makes wait; matching looks through such views.
    """

    names: tuple[str, ...]
    ops: tuple[Operator, ...]
    operands: Sequence[Sequence[tuple[int, int]]]
    readers: Sequence[Sequence[tuple[int, int]]]
    clear: tuple[bool, ...]
    _reads: dict[int, tuple[Read, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, graph: Graph) -> Net:
        """The positions of a graph, in one walk over its edges."""
        names = tuple(graph.order())
        place = {name: i for i, name in enumerate(names)}
        ops = tuple(graph.op(name) for name in names)
        operands: list[list[tuple[int, int]]] = [[(0, 0)] * len(op.inputs) for op in ops]
        readers: list[list[tuple[int, int]]] = [[] for _ in names]
        for producer, consumer, flow in graph.flows():
            here, there = place[producer], place[consumer]
            for result, slot in flow.links:
                operands[there][slot] = (here, result)
                readers[here].append((there, slot))
        for found in readers:
            if len(found) > 1:
                found.sort()
        clear = tuple(
            op.kind in VIEW and bool(operands[i]) and not any(ops[p].is_compute for p, _ in operands[i][1:])
            for i, op in enumerate(ops)
        )
        return cls(names, ops, operands, readers, clear)

    def reads(self, position: int) -> tuple[Read, ...]:
        """Every use of the operator's results by something that is not a clear view, in order of the readers' positions."""
        known = self._reads.get(position)
        if known is None:
            found: list[Read] = []
            pending: list[tuple[int, tuple[int, ...]]] = [(position, ())]
            while pending:
                here, path = pending.pop()
                for consumer, slot in self.readers[here]:
                    if self.clear[consumer] and slot == 0:
                        pending.append((consumer, (*path, consumer)))
                    else:
                        found.append(Read(consumer, slot, path))
            known = self._reads[position] = tuple(sorted(found))
        return known
