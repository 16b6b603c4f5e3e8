"""The graph under construction: unique names, execution counts, unique parameters, notes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edpc.ir import RETURN_KIND, Attribute, Graph, Location, Operator, TensorType, Value, attributes

if TYPE_CHECKING:
    from edpc.frontends.onnx.site import Offline

# A small known tensor shows its value up to this many elements.
MAX_SHOWN_ELEMENTS = 16


class Builder:
    """Adds operators to a graph; one per model, shared by the scopes of all its bodies.

    Attributes:
        graph: what is being built.
        executions: how often an operator added now runs, given the loops and branches around it.
        weights: what each parameter operator is computed from among the model's weights (itself, for most).
        kept: values that count as used although no result needs them (loop conditions, branches not taken).
        added: names of the operators in order, without the sources.
        notes: what the reader of the results must know.
    """

    def __init__(self, name: str) -> None:
        self.graph = Graph(name)
        self.executions = 1
        self.weights: dict[str, frozenset[Offline]] = {}
        self.kept: list[Value] = []
        self.notes: list[str] = []
        self.added: list[str] = []
        self._next: dict[str, int] = {}

    def fresh(self, stem: str) -> str:
        """A name nobody has: the stem, or the stem with a number."""
        if stem not in self.graph:
            return stem
        number = self._next.get(stem, 1)
        while f"{stem}.{number}" in self.graph:
            number += 1
        self._next[stem] = number + 1
        return f"{stem}.{number}"

    def add(
        self,
        stem: str,
        kind: str,
        operands: Sequence[Value],
        outputs: Sequence[TensorType],
        location: Location | None,
        options: dict[str, Attribute],
    ) -> str:
        """Adds an operator that runs `executions` times; answers its name."""
        if self.executions != 1:
            options = {**options, "executions": self.executions}
        inputs = tuple(self.graph.type_of(value) for value in operands)
        op = Operator(kind, inputs, tuple(outputs), attributes(**options), location)
        name = self.graph.add(self.fresh(stem), op, operands)
        self.added.append(name)
        return name

    def source(self, stem: str, kind: str, output: TensorType, location: Location | None, **options: Attribute) -> Value:
        """Adds an input, a parameter or a constant; it is there however often its users run."""
        op = Operator(kind, (), (output,), attributes(**options), location)
        return Value(self.graph.add(self.fresh(stem), op))

    def note(self, text: str) -> None:
        """Adds a note unless it is there already."""
        if text not in self.notes:
            self.notes.append(text)

    def sweep(self) -> list[str]:
        """Removes what neither a result nor a kept value needs; answers the source names of the operators removed."""
        graph = self.graph
        needed = {value.node for value in self.kept}
        left_out = []
        for name in reversed(list(graph.dag)):  # consumers first: every operator was added after what it reads
            op = graph.op(name)
            if op.kind in (RETURN_KIND, "input") or name in needed or any(True for _ in graph.dag.successors(name)):
                continue
            graph.remove(name)
            if op.is_compute and op.location is not None:
                left_out.append(op.location.source_name)
        return left_out
