"""`annotate-operators`: every operator knows its work."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import ClassVar

from edpc.ir import Graph, Operator, Work
from edpc.operators import KINDS, work
from edpc.pipeline.base import Fact, Pass, PassContext
from edpc.serving import FLOAT_ARITHMETIC
from edpc.target import Target


@dataclass(frozen=True)
class AnnotateOperators(Pass):
    """Every operator but sources and the return carries its `Work`, in the format the target computes in.

    Contractions multiply in what `apply-precision` decided; other floating arithmetic runs in the vector format of the precision
    the network is served in; integer arithmetic stays integer. A kind that is not in the vocabulary is data movement.
    """

    name: ClassVar[str] = "annotate-operators"
    requires: ClassVar[frozenset[Fact]] = frozenset({Fact.PRECISION})
    produces: ClassVar[frozenset[Fact]] = frozenset({Fact.WORK})
    preserves: ClassVar[frozenset[Fact]] = frozenset({Fact.CLEAN, Fact.PRECISION})

    def run(self, graph: Graph, ctx: PassContext) -> bool:
        """Annotates in execution order."""
        changed = False
        known: dict[Hashable, Work] = {}  # layers repeat: operators that do the same share one record
        for name in graph.compute_order():
            op = graph.op(name)
            what = op.kind, op.inputs, op.outputs, op.attributes
            found = known.get(what)
            if found is None:
                found = known[what] = _work(op, ctx.target, graph.info.precision)
            if found != op.work:
                graph.annotate(name, work=found)
                changed = True
        return changed


def _work(op: Operator, target: Target | None, served: str) -> Work:
    """The operator's work; without a target in the format of its own operands."""
    found = work(op if op.kind in KINDS else replace(op, kind="unknown"))
    if target is None or served not in target.precisions or op.attribute("compute_precision") is not None:
        return found
    if found.precision in FLOAT_ARITHMETIC:
        return replace(found, precision=target.precisions[served].vector)
    return found
