"""Refused fusions: what a rule would have saved had its guard not refused an operator."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from edpc.errors import UsageError
from edpc.fusion.engine import SEPARATE
from edpc.fusion.matcher import Pattern, attempt
from edpc.fusion.net import Net
from edpc.fusion.region import FREE
from edpc.ir import Graph, Group, Kernel, Refusal
from edpc.machine.annotate import price
from edpc.machine.walk import walk
from edpc.operators import VIEW
from edpc.report.records import Record
from edpc.target import Rule, Target, kernel_class

_CONVEX = "convex"  # refused by the graph, not by the machine: the group would wait for itself


class RefusedFusion(Record, frozen=True):
    """A fusion that a rule's guard refused, and what the model would have saved had it gone through.

    The saving is that of the merged kernel against the kernels its operators run in now, everything else as it is; it is
    negative where merging costs. `merged` are its operators. Where it cannot be priced, the figures are null, `merged` is
    empty, and `impossible` says why.
    """

    subgraph_id: str
    rule: str
    operator: str
    guard: str
    reason: str
    merged: tuple[str, ...]
    energy_j: float | None
    latency_s: float | None
    edp_js: float | None
    dram_bytes: float | None
    impossible: str


@dataclass(frozen=True, slots=True)
class _Merge:
    """A refusal whose rule would have made one kernel of these members, which run in the groups `touched` now."""

    group: Group
    refusal: Refusal
    members: tuple[str, ...]
    kernel_class: str
    touched: tuple[int, ...]


def refused_fusions(graph: Graph, target: Target) -> list[RefusedFusion]:
    """Every refusal of a graph's groups, priced where the rule would have matched without its guard; most saving first.

    Args:
        graph: with groups and costs, as compiled for `target`.
        target: the machine whose rules formed the groups.

    Raises:
        UsageError: the graph's groups carry no costs.
    """
    kernels = [group.kernel for group in graph.groups if group.kernel is not None]
    if len(kernels) != len(graph.groups):
        raise UsageError("the pipeline leaves groups without a cost; refused fusions are priced against it")
    merges: list[_Merge] = []
    found: list[RefusedFusion] = []
    for group, refusal, made in _merges(graph, target):
        if isinstance(made, str):
            said = (group.name, refusal.rule, refusal.operator, refusal.guard, refusal.reason)
            found.append(RefusedFusion(*said, (), None, None, None, None, made))
        else:
            merges.append(made)
    found += _priced(graph, target, merges, kernels)
    return sorted(found, key=lambda each: -math.inf if each.edp_js is None else each.edp_js, reverse=True)


def _merges(graph: Graph, target: Target) -> Iterator[tuple[Group, Refusal, _Merge | str]]:
    """Every refusal with the kernel its rule would have made, or why there is none."""
    rules = {rule.name: rule for rule in target.rules}
    net = Net.of(graph)
    place = {name: position for position, name in enumerate(net.names)}
    number_of = {name: number for number, group in enumerate(graph.groups) for name in group.members}
    for group in graph.groups:
        for refusal in group.refusals:
            if refusal.guard == _CONVEX:
                yield group, refusal, "the merged kernel would have to wait for itself"
                continue
            rule = rules.get(refusal.rule)
            if rule is None:
                yield group, refusal, f"target {target.name} has no rule of that name"
                continue
            members = _grown(net, target, _without(rule, refusal.guard), group, refusal, place)
            if isinstance(members, str):
                yield group, refusal, members
                continue
            touched = tuple(sorted({number_of[name] for name in members}))
            if len(touched) == 1:
                yield group, refusal, "its operators run in one kernel already"
                continue
            yield group, refusal, _Merge(group, refusal, members, rule.kernel_class, touched)


def _without(rule: Rule, guard: str) -> Rule:
    """The rule without the guards of that name."""
    stages = tuple(replace(stage, guards=tuple(g for g in stage.guards if g.name != guard)) for stage in rule.stages)
    return replace(rule, guards=tuple(g for g in rule.guards if g.name != guard), stages=stages)


def _grown(net: Net, target: Target, rule: Rule, group: Group, refusal: Refusal, place: dict[str, int]) -> tuple[str, ...] | str:
    """The operators that a relaxed rule makes one kernel of, the refused one among them; or what else stops it."""
    pattern = Pattern.of(rule, target.rules)
    free = [FREE] * len(net.names)
    why = "the rule does not match without this guard either"
    for name in dict.fromkeys((*group.members, refusal.operator)):
        position = place.get(name)
        if position is None or net.ops[position].kind not in rule.stages[0].kinds:
            continue
        grown = attempt(net, target, pattern, position, free, ())
        inside = grown.region.members
        computing = sum(net.ops[i].kind not in VIEW for i in inside)
        if not grown.is_refused and grown.matched and place[refusal.operator] in inside and computing > 1:
            return tuple(net.names[i] for i in sorted(inside))
        why = next((f"then {no.guard} stops it: {no.reason}" for no in grown.refusals if no.operator == refusal.operator), why)
    return why


def _priced(graph: Graph, target: Target, merges: Sequence[_Merge], kernels: Sequence[Kernel]) -> Iterator[RefusedFusion]:
    """The merges with what they save. Merges that touch different groups are priced in one evaluation."""
    columns = walk(graph)
    energy = math.fsum(kernel.cost.energy_j for kernel in kernels)
    latency = math.fsum(kernel.cost.latency_s for kernel in kernels)
    for batch in _disjoint(merges):
        groups, rows = _merged(graph, batch)
        costs = [kernel.cost for kernel in price(columns, groups, target)]
        for merge, new in zip(batch, rows, strict=True):
            before = [kernels[number].cost for number in merge.touched]
            after = [costs[number] for number in new]
            joules, seconds, moved = (
                math.fsum(getattr(c, part) for c in before) - math.fsum(getattr(c, part) for c in after)
                for part in ("energy_j", "latency_s", "dram_bytes")
            )
            yield RefusedFusion(
                subgraph_id=merge.group.name,
                rule=merge.refusal.rule,
                operator=merge.refusal.operator,
                guard=merge.refusal.guard,
                reason=merge.refusal.reason,
                merged=merge.members,
                energy_j=joules,
                latency_s=seconds,
                edp_js=energy * latency - (energy - joules) * (latency - seconds),
                dram_bytes=moved,
                impossible="",
            )


def _disjoint(merges: Sequence[_Merge]) -> list[list[_Merge]]:
    """The merges in batches, no two of a batch touching the same group."""
    batches: list[tuple[set[int], list[_Merge]]] = []
    for merge in merges:
        for taken, batch in batches:  # noqa: B007  # the first that fits is used below
            if taken.isdisjoint(merge.touched):
                break
        else:
            taken, batch = set(), []
            batches.append((taken, batch))
        taken.update(merge.touched)
        batch.append(merge)
    return [batch for _, batch in batches]


def _merged(graph: Graph, batch: Sequence[_Merge]) -> tuple[list[Group], list[list[int]]]:
    """The graph's groups with these merges made, and by merge the numbers of the groups that come of it.

    A merged kernel runs where the last of the groups it takes from ran; what it leaves of them runs where it did.
    """
    by_number = {number: merge for merge in batch for number in merge.touched}
    groups: list[Group] = []
    rows: dict[int, list[int]] = {id(merge): [] for merge in batch}
    for number, group in enumerate(graph.groups):
        merge = by_number.get(number)
        if merge is None:
            groups.append(group)
            continue
        taken = set(merge.members)
        left = tuple(name for name in group.members if name not in taken)
        new = [replace(group, members=left)] if len(left) > 1 else [_alone(graph, name) for name in left]
        if number == merge.touched[-1]:
            new.append(Group(f"{group.name}+", merge.refusal.rule, merge.kernel_class, merge.members))
        rows[id(merge)] += range(len(groups), len(groups) + len(new))
        groups += new
    return groups, [rows[id(merge)] for merge in batch]


def _alone(graph: Graph, name: str) -> Group:
    return Group(name, SEPARATE, kernel_class(graph.op(name).kind), (name,))
