"""`fuse`: a target's rules partition the operators of a graph into groups that run one after the other."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import networkx as nx

from edpc.fusion.matcher import Pattern, attempt
from edpc.fusion.net import Net
from edpc.fusion.region import FREE
from edpc.guards import check
from edpc.ir import Graph, Group, Refusal
from edpc.operators import DATA_MOVEMENT, VIEW
from edpc.target import Rule, Target, kernel_class

SEPARATE = "separate"
MOST_REFUSALS = 4
# A region larger than this that failed a rule speaks for all its members, so that a long chain is not grown again from each.
LARGE = 64


@dataclass
class Partition:
    """Groups so far: by position the owner, by number the members (ascending, late views last) and what is known of them.

    `is_loose` says that values leave some group from more than one member. Where none does, no two groups can wait for each
    other: every value that enters a group would reach its one exit, and a knot of groups would be a cycle of operators.
    """

    net: Net
    owner: list[int]
    members: list[list[int]] = field(default_factory=list)
    rule: list[str] = field(default_factory=list)
    kernel_class: list[str] = field(default_factory=list)
    refusals: list[tuple[Refusal, ...]] = field(default_factory=list)
    is_loose: bool = False

    def close(self, members: Iterable[int], rule: str, kernel_class: str, refusals: Iterable[Refusal] = ()) -> None:
        """A finished group."""
        ascending = sorted(members)
        for member in ascending:
            self.owner[member] = len(self.members)
        self.members.append(ascending)
        self.rule.append(rule)
        self.kernel_class.append(kernel_class)
        self.refusals.append(tuple(refusals))

    def alone(self, position: int, refusals: Iterable[Refusal] = ()) -> None:
        """A group of one operator."""
        self.close((position,), SEPARATE, kernel_class(self.net.ops[position].kind), refusals)

    def join(self, position: int, number: int) -> None:
        """A view becomes a member of a finished group."""
        self.owner[position] = number
        self.members[number].append(position)

    def followers(self) -> list[set[int]]:
        """By group, the groups that read it."""
        owner, operands = self.owner, self.net.operands
        found: list[set[int]] = [set() for _ in self.members]
        for number, members in enumerate(self.members):
            for member in members:
                for producer, _ in operands[member]:
                    before = owner[producer]
                    if before not in (FREE, number):
                        found[before].add(number)
        return found


def fuse(graph: Graph, rules: Sequence[Rule], target: Target) -> tuple[Group, ...]:
    """Every operator is in exactly one group; groups are convex, and no two wait for each other.

    Operators are anchors in topological order and rules are tried in theirs; a rule matches when it brings at least two operators
    that compute into one group. Kinds that some rule takes as a prologue wait for their readers before they are anchors.
    What no rule takes runs on its own, and views go with their producer, else with their only reader, else alone.

    Args:
        graph: with `Work` on every operator.
        rules: in order of priority; empty for a machine that fuses nothing. Those for other settings of it are left out.
        target: whose memories the guards may ask for.

    Raises:
        UsageError: a rule names a guard that does not exist.
    """
    check(rules, target)
    rules = [rule for rule in rules if target.has(rule)]
    net = Net.of(graph)
    partition = Partition(net, [FREE] * len(net.names))
    _match_all(partition, rules, target)
    _untangle(partition)
    _place_views(partition)
    return _in_order(partition)


def _match_all(partition: Partition, rules: Sequence[Rule], target: Target) -> None:
    """Every operator but views has a group."""
    net, owner = partition.net, partition.owner
    starting: dict[str, list[Pattern]] = {}
    for rule in rules:
        pattern = Pattern.of(rule, rules)
        for kind in rule.stages[0].kinds:
            starting.setdefault(kind, []).append(pattern)
    # Who may yet be taken by a reader is no anchor before all others were; what only moves data comes last of all.
    prologue = frozenset[str]().union(*(rule.prologue for rule in rules))
    turn = {kind: 2 if kind in DATA_MOVEMENT else 1 for kind in prologue}
    anchors = [i for i, op in enumerate(net.ops) if op.is_compute and op.kind not in VIEW]
    hopeless: dict[str, set[int]] = {rule.name: set() for rule in rules}
    for now in range(3):
        for anchor in anchors:
            if owner[anchor] != FREE or turn.get(net.ops[anchor].kind, 0) > now:
                continue
            refused: dict[str, Refusal] = {}
            missed: list[tuple[int, Refusal]] = []
            for pattern in starting.get(net.ops[anchor].kind, ()):
                rule = pattern.rule
                if anchor in hopeless[rule.name]:
                    continue
                grown = attempt(net, target, pattern, anchor, owner, partition.members)
                members = grown.region.members
                if grown.is_refused:
                    missed += ((len(members), no) for no in grown.refusals if grown.matched or grown.passed > 1)
                    continue
                for no in grown.refusals:
                    refused.setdefault(no.operator, no)
                if grown.matched and len(members) > 1 and sum(net.ops[i].kind not in VIEW for i in members) > 1:
                    partition.is_loose = partition.is_loose or grown.region.is_loose
                    inside = {net.names[i] for i in members}
                    told = [no for size, no in missed if size > len(members)]
                    told += (no for no in refused.values() if no.operator not in inside)
                    partition.close(members, rule.name, rule.kernel_class, told[:MOST_REFUSALS])
                    break
                if not grown.matched and (grown.starved or len(members) > LARGE):
                    hopeless[rule.name].update(grown.first)
            else:
                if now == 2 or not _reads_free(partition, anchor):
                    told = [no for size, no in missed if size > 1]
                    partition.alone(anchor, (*told, *refused.values())[:MOST_REFUSALS])


def _reads_free(partition: Partition, position: int) -> bool:
    """Whether the operator reads one that is no anchor yet, which may still take it."""
    net = partition.net
    for producer, _ in net.operands[position]:
        while net.clear[producer]:
            producer = net.operands[producer][0][0]
        if partition.owner[producer] == FREE and net.ops[producer].is_compute:
            return True
    return False


def _untangle(partition: Partition) -> None:
    """No two groups wait for each other.

    Growth keeps each group convex, looking past finished groups that end before it begins; where several groups tie a knot none
    of them could see, all but the largest of the knot run as separate operators, and it too if it waits for itself.
    """
    while partition.is_loose:
        between = nx.DiGraph((before, after) for before, found in enumerate(partition.followers()) for after in found)
        knots = [knot for knot in nx.strongly_connected_components(between) if len(knot) > 1]
        partition.is_loose = bool(knots)
        for knot in knots:
            fused = sorted((n for n in knot if len(partition.members[n]) > 1), key=lambda n: (-len(partition.members[n]), n))
            for number in fused[1:] or fused:
                loose = partition.members[number]
                partition.members[number] = []
                for position in loose:
                    partition.owner[position] = FREE
                    if partition.net.ops[position].kind not in VIEW:
                        partition.alone(position)


def _place_views(partition: Partition) -> None:
    """Every view has a group.

    A view with one computed operand adds no path to its producer's group, nor one that reads sources only to its readers' group,
    so both stay convex.
    """
    net, owner = partition.net, partition.owner
    free = [i for i, op in enumerate(net.ops) if op.kind in VIEW and owner[i] == FREE]
    for view in free:
        producers = {owner[p] for p, _ in net.operands[view] if net.ops[p].is_compute}
        if net.clear[view] and len(producers) == 1 and FREE not in producers:
            partition.join(view, producers.pop())
        elif producers - {FREE}:
            partition.alone(view)
    for view in reversed(free):
        if owner[view] == FREE:
            readers = {owner[reader] if net.ops[reader].is_compute else FREE for reader, _ in net.readers[view]}
            if len(readers) == 1 and FREE not in readers:
                partition.join(view, readers.pop())
            else:
                partition.alone(view)


def _in_order(partition: Partition) -> tuple[Group, ...]:
    """Groups as the machine would run them: each after all it reads, among ready ones the first in the network first."""
    net = partition.net
    for members in partition.members:
        members.sort()
    followers = partition.followers()
    pending = [0] * len(followers)
    for found in followers:
        for after in found:
            pending[after] += 1
    ready = [(members[0], number) for number, members in enumerate(partition.members) if members and not pending[number]]
    heapq.heapify(ready)
    groups: list[Group] = []
    while ready:
        _, number = heapq.heappop(ready)
        names = tuple(net.names[i] for i in partition.members[number])
        rule = partition.rule[number]
        groups.append(Group(f"g{len(groups)}", rule, partition.kernel_class[number], names, partition.refusals[number]))
        for after in followers[number]:
            pending[after] -= 1
            if not pending[after]:
                heapq.heappush(ready, (partition.members[after][0], after))
    return tuple(groups)
