"""`annotate-cost`: latency and energy on the target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from edpc.ir import Graph
from edpc.pipeline.base import Fact, Pass, PassContext


@dataclass(frozen=True)
class AnnotateCost(Pass):
    """Every group carries its latency and energy on the target, every operator its part of both and its cost alone.

    The graph's estimate says how sure the totals are under the ranges of the target's constants.
    """

    name: ClassVar[str] = "annotate-cost"
    requires: ClassVar[frozenset[Fact]] = frozenset({Fact.WORK, Fact.GROUPS})
    produces: ClassVar[frozenset[Fact]] = frozenset({Fact.COST})
    preserves: ClassVar[frozenset[Fact]] = frozenset({Fact.CLEAN, Fact.PRECISION, Fact.WORK, Fact.GROUPS})

    def run(self, graph: Graph, ctx: PassContext) -> bool:
        """Prices the groups and, beside them, every operator on its own."""
        from edpc.machine.annotate import annotate

        annotate(graph, ctx.need_target(self.name))
        return True
