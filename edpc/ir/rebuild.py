"""Rewriting a graph in one walk: operators are kept, exchanged or replaced by other values; insertion order is topological."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from edpc.ir.graph import Graph
from edpc.ir.operator import Operator, Value


class Rebuild:
    """A new graph that grows beside an old one; `values` says where each result of the old one is now found.

    Args:
        old: the graph that is rewritten; it stays as it is until `finish`.
    """

    def __init__(self, old: Graph) -> None:
        self.old = old
        self.new = Graph(old.name, old.info)
        self.values: dict[Value, Value] = {}
        self.changed = False

    def operands(self, name: str) -> tuple[Value, ...]:
        """What the operator reads, in the new graph."""
        return tuple(self.values[value] for value in self.old.operands(name))

    def keep(self, name: str, op: Operator, operands: Sequence[Value]) -> None:
        """The operator of that name is now this one; its input types follow from its operands."""
        inputs = tuple(self.new.type_of(value) for value in operands)
        if op.inputs != inputs:
            op = replace(op, inputs=inputs)
        self.changed = self.changed or op != self.old.op(name) or tuple(operands) != self.old.operands(name)
        self.new.add(name, op, operands)
        for result in range(len(op.outputs)):
            self.values[Value(name, result)] = Value(name, result)

    def insert(self, stem: str, op: Operator, operands: Sequence[Value] = ()) -> str:
        """An operator that the old graph does not have; answers its name, which starts with the stem."""
        name, number = stem, 0
        while name in self.old or name in self.new:
            number += 1
            name = f"{stem}.{number}"
        self.changed = True
        return self.new.add(name, replace(op, inputs=tuple(self.new.type_of(value) for value in operands)), operands)

    def alias(self, name: str, values: Sequence[Value]) -> None:
        """The operator is gone: its results are these values of the new graph."""
        self.changed = True
        for result, value in enumerate(values):
            self.values[Value(name, result)] = value

    def prune(self) -> None:
        """Whatever nobody reads is gone, but for inputs and operators without results."""
        for name in reversed(list(self.new.dag)):
            op = self.new.op(name)
            if op.outputs and op.kind != "input" and not any(True for _ in self.new.uses(name)):
                self.new.remove(name)
                self.changed = True

    def finish(self) -> bool:
        """The old graph has the new one's operators; answers whether that changes it."""
        if self.changed:
            self.old.become(self.new)
        return self.changed
