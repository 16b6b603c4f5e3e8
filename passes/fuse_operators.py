"""`fuse-operators`: groups that the target runs as one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from edpc.fusion.engine import fuse
from edpc.fusion.executed import FORMAT, by_node
from edpc.ir import Graph
from edpc.pipeline.base import Fact, Pass, PassContext


@dataclass(frozen=True)
class FuseOperators(Pass):
    """Groups partition the operators by the target's fusion rules; operators are as they were.

    A graph that a runtime has optimised already is grouped by the runtime's nodes.

    Args:
        enabled: False leaves every operator on its own, but for views, which cost nothing.
    """

    name: ClassVar[str] = "fuse-operators"
    requires: ClassVar[frozenset[Fact]] = frozenset({Fact.WORK})
    produces: ClassVar[frozenset[Fact]] = frozenset({Fact.GROUPS})
    preserves: ClassVar[frozenset[Fact]] = frozenset({Fact.CLEAN, Fact.PRECISION, Fact.WORK})
    enabled: bool = True

    def run(self, graph: Graph, ctx: PassContext) -> bool:
        """Replaces the graph's groups."""
        target = ctx.need_target(self.name)
        if self.enabled and graph.info.format == FORMAT:
            groups = by_node(graph)
        else:
            groups = fuse(graph, target.rules if self.enabled else (), target)
        changed = groups != graph.groups
        graph.groups = groups
        return changed
