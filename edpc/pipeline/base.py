"""A pass is a frozen dataclass: its fields are its options, its class attributes its contract, `run` its work."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, TypeVar, cast

from edpc.errors import UsageError
from edpc.ir import Graph
from edpc.target import Target

T = TypeVar("T")


class Fact(StrEnum):
    """What a pass may require, produce and preserve."""

    CLEAN = "clean"  # artefacts of the exporter are gone
    PRECISION = "precision"  # types are those the network is served in
    WORK = "work"  # every operator carries its Work
    GROUPS = "groups"  # groups partition the operators
    COST = "cost"  # operators and groups carry their cost, the graph its estimate
    SHARES = "shares"  # every operator carries its share of the EDP


@dataclass
class PassContext:
    """What passes share while a pipeline runs.

    Attributes:
        target: the machine compiled for; None where no pass needs one.
        precision: the precision asked for; None for the model's own.
    """

    target: Target | None = None
    precision: str | None = None
    _analyses: dict[str, Any] = field(default_factory=dict)

    def need_target(self, who: str) -> Target:
        """The target.

        Raises:
            UsageError: none was given.
        """
        if self.target is None:
            raise UsageError(f"pass {who} needs a target; give one with --target")
        return self.target

    def analysis(self, graph: Graph, compute: Callable[[Graph], T]) -> T:
        """The result of a function of the graph, computed when first asked for and kept until a pass changes the graph."""
        key = f"{compute.__module__}.{compute.__qualname__}"
        if key not in self._analyses:
            self._analyses[key] = compute(graph)
        return cast(T, self._analyses[key])

    def invalidate(self) -> None:
        """Forgets all analyses."""
        self._analyses.clear()


@dataclass(frozen=True)
class Pass(ABC):
    """Base of all passes. The docstring's first line says what is true afterwards.

    Class attributes:
        name: as written in a pipeline. requires, produces, preserves: facts; checked for the whole pipeline before it runs.
        A pass that changes the graph drops every fact it neither produces nor preserves.
    """

    name: ClassVar[str]
    requires: ClassVar[frozenset[Fact]] = frozenset()
    produces: ClassVar[frozenset[Fact]] = frozenset()
    preserves: ClassVar[frozenset[Fact]] = frozenset()

    @abstractmethod
    def run(self, graph: Graph, ctx: PassContext) -> bool:
        """Transforms the graph in place; answers whether anything changed."""
