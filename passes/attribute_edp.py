"""`attribute-edp`: every operator knows what of the model's energy-delay product it is charged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum
from typing import ClassVar

from edpc.attribution import Totals, declared_modifiers, fusion_benefit, modified, proportional
from edpc.errors import VerifyError
from edpc.ir import Cost, Graph, Group, Share, Work
from edpc.operators import VIEW
from edpc.pipeline.base import Fact, Pass, PassContext


@dataclass(frozen=True)
class AttributeEdp(Pass):
    """Every operator carries its share of E * T under each attribution method; each method sums to the groups and to the model.

    A group's share is the Shapley value of the game v(S) = E(S) * T(S): (E_i * T + T_i * E) / 2. `events` is the same of the
    operator's own cost, `flops` divides the group's share by FLOPs, `modifiers` by FLOPs times the target's declared modifier.
    """

    name: ClassVar[str] = "attribute-edp"
    requires: ClassVar[frozenset[Fact]] = frozenset({Fact.COST, Fact.WORK, Fact.GROUPS})
    produces: ClassVar[frozenset[Fact]] = frozenset({Fact.SHARES})
    preserves: ClassVar[frozenset[Fact]] = frozenset(Fact) - {Fact.SHARES}

    def run(self, graph: Graph, ctx: PassContext) -> bool:
        """Computes the totals, fused and separate, and divides group by group."""
        target = ctx.need_target(self.name)
        costs = [group.kernel.cost for group in graph.groups if group.kernel is not None]
        if len(costs) != len(graph.groups):
            raise VerifyError("a group carries no kernel: annotate-cost must run before attribute-edp")
        fused = Totals(fsum(c.energy_j for c in costs), fsum(c.latency_s for c in costs))
        alone = [k.cost for k in (graph.op(name).separate for name in graph.compute_order()) if k is not None]
        separate = Totals(fsum(c.energy_j for c in alone), fsum(c.latency_s for c in alone))
        declared = declared_modifiers(target)
        changed = False
        for group, cost in zip(graph.groups, costs, strict=True):
            for name, share in zip(group.members, _shares(graph, group, cost, fused, separate, declared), strict=True):
                changed = changed or graph.op(name).share != share
                graph.annotate(name, share=share)
        return changed


def _shares(
    graph: Graph, group: Group, cost: Cost, fused: Totals, separate: Totals, declared: dict[str, tuple[float, float]]
) -> list[Share]:
    """What each member is charged."""
    ops = [graph.op(name) for name in group.members]
    is_fused = sum(op.kind not in VIEW for op in ops) > 1
    whole = fused.share(cost)
    base = proportional(whole, _weights([op.work for op in ops]))
    factors = [declared.get(op.kind, (1.0, 1.0))[0 if is_fused else 1] for op in ops]
    shares = []
    for op, flops, modifiers, factor in zip(ops, base, modified(whole, base, factors), factors, strict=True):
        if op.cost is None or op.work is None:
            raise VerifyError(f"group {group.name}: a member carries no cost; annotate-cost must run before attribute-edp")
        saved = fusion_benefit(op.cost, op.separate.cost, fused, separate) if is_fused and op.separate is not None else None
        shares.append(Share(fused.share(op.cost), flops, modifiers, factor, saved))
    return shares


def _weights(works: Sequence[Work | None]) -> list[float]:
    """FLOPs by operator; bytes where none of them computes."""
    flops = [float(work.flops) if work else 0.0 for work in works]
    if any(flops):
        return flops
    return [float(sum(work.reads) + sum(work.writes)) if work else 0.0 for work in works]
