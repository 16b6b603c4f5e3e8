"""Rewriting a graph in one walk: operators are kept, exchanged or replaced by other values; insertion order is topological."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from edpc.ir.graph import Graph
from edpc.ir.operator import Operator, Value
from edpc.ir.types import TensorType


class Rebuild:
    """What an old graph becomes, written down operator by operator in topological order and done by `finish`.

    Attributes:
        old: the graph that is rewritten; it stays as it is until `finish`.
        values: where each result of the old graph is now found.
        ops, reads: the new graph: operators and what they read, by name.
        read: names of those that an operator which was kept reads.
    """

    def __init__(self, old: Graph) -> None:
        self.old = old
        self.values: dict[Value, Value] = {}
        self.ops: dict[str, Operator] = {}
        self.reads: dict[str, tuple[Value, ...]] = {}
        self.read: set[str] = set()
        self._before = _operands(old)
        self._exchanged: list[str] = []
        self._moved = False

    def operands(self, name: str) -> tuple[Value, ...]:
        """What the old operator reads, by its new names."""
        found = self.values
        return tuple([found[value] for value in self._before[name]])

    def type_of(self, value: Value) -> TensorType:
        """The type of a new value."""
        return self.ops[value.node].outputs[value.result]

    def keep(self, name: str, op: Operator, operands: Sequence[Value]) -> None:
        """The operator of that name is now this one; its input types follow from its operands."""
        inputs = tuple([self.ops[node].outputs[result] for node, result in operands])
        if op.inputs != inputs:
            op = replace(op, inputs=inputs)
        reads = tuple(operands)
        if reads != self._before[name]:
            self._moved = True
        if op != self.old.op(name):
            self._exchanged.append(name)
        self.ops[name], self.reads[name] = op, reads
        self.read.update([value.node for value in reads])
        for result in range(len(op.outputs)):
            value = Value(name, result)
            self.values[value] = value

    def insert(self, stem: str, op: Operator, operands: Sequence[Value] = ()) -> str:
        """An operator that the old graph does not have; answers its name, which starts with the stem."""
        name, number = stem, 0
        while name in self._before or name in self.ops:
            number += 1
            name = f"{stem}.{number}"
        self.ops[name] = replace(op, inputs=tuple(self.type_of(value) for value in operands))
        self.reads[name] = tuple(operands)
        self._moved = True
        return name

    def alias(self, name: str, values: Sequence[Value]) -> None:
        """The operator is gone: its results are these new values."""
        self._moved = True
        for result, value in enumerate(values):
            self.values[Value(name, result)] = value

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
    """What every operator reads, in one walk over the edges; operators in topological order."""
    found: dict[str, list[Value]] = {name: [Value(name)] * len(graph.op(name).inputs) for name in graph.order()}
    for producer, consumer, flow in graph.flows():
        for result, slot in flow.links:
            found[consumer][slot] = Value(producer, result)
    return {name: tuple(values) for name, values in found.items()}
