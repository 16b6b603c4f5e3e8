"""`cache-in-place`: a key/value cache grows where it lies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from edpc.ir import Graph, attributes
from edpc.pipeline.base import Fact, Pass, PassContext


@dataclass(frozen=True)
class CacheInPlace(Pass):
    """What joins an input of the network with something computed writes only the latter, behind the former.

    A serving stack keeps the cache in pages with room for the tokens to come; a model that hands its cache in and out copies it.
    """

    name: ClassVar[str] = "cache-in-place"
    requires: ClassVar[frozenset[Fact]] = frozenset({Fact.CLEAN})
    produces: ClassVar[frozenset[Fact]] = frozenset()
    preserves: ClassVar[frozenset[Fact]] = frozenset({Fact.CLEAN})

    def run(self, graph: Graph, ctx: PassContext) -> bool:
        """Exchanges operators, whose operands stay."""
        changed = False
        for name in graph.order():
            op, operands = graph.op(name), graph.operands(name)
            if op.kind == "concat" and len(operands) == 2 and graph.op(operands[0].node).kind == "input":
                told = {key: value for key, value in op.attributes if key in ("axis", "executions")}
                graph.annotate(name, kind="tensor_scatter", attributes=attributes(**told, in_place=True))
                changed = True
        return changed
