"""Rewriting a graph in one walk: operators are kept, exchanged or replaced by other values; insertion order is topological."""

from __future__ import annotations

from collections.abc import Sequence

from edpc.ir.graph import Graph
from edpc.ir.operator import Operator, Value
from edpc.ir.types import TensorType


class Rebuild:
    """What an old graph becomes, written down operator by operator in topological order and done by `finish`.

    Attributes:
        old: the graph that is rewritten; it stays as it is until `finish`.
        gone: by operator that is gone, where its results are now found.
        ops, reads: the new graph: operators and what they read, by name.
        read: names of those that an operator which was kept reads.
    """

    def __init__(self, old: Graph) -> None:
        self.old = old
        self.gone: dict[str, tuple[Value, ...]] = {}
        self.ops: dict[str, Operator] = {}
        self.reads: dict[str, tuple[Value, ...]] = {}
        self.read: set[str] = set()
        self._before = _operands(old)
        self._exchanged: list[str] = []
        self._moved = False

    def operands(self, name: str) -> tuple[Value, ...]:
        """What the old operator reads, by its new names."""
        gone, before = self.gone, self._before[name]
        if gone.keys().isdisjoint(value.node for value in before):
            return before
        return tuple([gone[value.node][value.result] if value.node in gone else value for value in before])

    def type_of(self, value: Value) -> TensorType:
        """The type of a new value."""
        return self.ops[value.node].outputs[value.result]

    def keep(self, name: str, op: Operator, operands: Sequence[Value]) -> None:
        """The operator of that name is now this one; its input types follow from its operands."""
        inputs = tuple([self.ops[node].outputs[result] for node, result in operands])
        if op.inputs != inputs:
            op = op.having(inputs=inputs)
        reads = tuple(operands)
        before = self._before[name]
        if reads is not before and reads != before:
            self._moved = True
        was = self.old.op(name)
        if op is not was and op != was:
            self._exchanged.append(name)
        self.ops[name], self.reads[name] = op, reads
        self.read.update([value.node for value in reads])

    def insert(self, stem: str, op: Operator, operands: Sequence[Value] = ()) -> str:
        """An operator that the old graph does not have; answers its name, which starts with the stem."""
        name, number = stem, 0
        while name in self._before or name in self.ops:
            number += 1
            name = f"{stem}.{number}"
        self.ops[name] = op.having(inputs=tuple(self.type_of(value) for value in operands))
        self.reads[name] = tuple(operands)
        self._moved = True
        return name

    def alias(self, name: str, values: Sequence[Value]) -> None:
        """The operator is gone: its results are these new values."""
        self._moved = True
        self.gone[name] = tuple(values)

    def prune(self) -> None:
        """Whatever nobody reads is gone, but for inputs and operators without results."""
        needed: set[str] = set()
        for name, op in reversed(self.ops.items()):
            if name in needed or not op.outputs or op.kind == "input":
                needed.add(name)
                needed.update(value.node for value in self.reads[name])
        if len(needed) < len(self.ops):
            self._moved = True
            self.ops = {name: op for name, op in self.ops.items() if name in needed}

    def finish(self) -> bool:
        """The old graph is as written down; answers whether that changes it."""
        if self._moved:
            new = Graph(self.old.name)
            for name, op in self.ops.items():
                new.add(name, op, self.reads[name])
            self.old.become(new)
        else:
            for name in self._exchanged:
                self.old.exchange(name, self.ops[name])
        return self._moved or bool(self._exchanged)


def _operands(graph: Graph) -> dict[str, tuple[Value, ...]]:
    """What every operator reads; operators in topological order."""
    return {name: graph.operands(name) for name in graph.order()}
