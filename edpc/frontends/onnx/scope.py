"""A graph while it is being typed, and the graphs around it."""

from __future__ import annotations

from typing import Any

from edpc.frontends.onnx.fold import Partial
from edpc.frontends.onnx.typed import TypedGraph
from edpc.frontends.onnx.values import Type, as_tensor


class Scope:
    """The values seen from inside a graph.

    Attributes:
        graph: what is being filled.
        types: of this graph's own values.
        partials: values of which some elements are known.
        outer: the scope this graph stands in.
        depth: how many graphs it stands in.
    """

    def __init__(self, graph: TypedGraph, outer: Scope | None) -> None:
        self.graph = graph
        self.types: dict[str, Type] = {}
        self.partials: dict[str, Partial] = {}
        self.outer = outer
        self.depth: int = 0 if outer is None else outer.depth + 1
        graph.outer = None if outer is None else outer.graph

    def type_of(self, name: str) -> Type | None:
        """The type of a value of this graph or one around it; None where there is none of that name."""
        kind = self.types.get(name)
        if kind is None and self.outer is not None:
            return self.outer.type_of(name)
        return kind

    def value_of(self, name: str) -> Any:
        """The folded value of a name, wholly or in part known; None where it is not."""
        if name in self.types:
            value = self.graph.constants.get(name)
            return value if value is not None else self.partials.get(name)
        return None if self.outer is None else self.outer.value_of(name)

    def is_outer(self, name: str) -> bool:
        """Whether a graph around this one has a value of that name."""
        return self.outer is not None and self.outer.type_of(name) is not None

    def close(self) -> TypedGraph:
        """The typed graph, its types as the IR knows them."""
        self.graph.types = {name: as_tensor(kind) for name, kind in self.types.items()}
        return self.graph
