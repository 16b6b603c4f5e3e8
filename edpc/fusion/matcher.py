"""One rule tried at one anchor: the region it grows, or why it does not match."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from edpc.fusion.net import Net, Read
from edpc.fusion.region import FREE, Candidate, Region
from edpc.guards import ABOUT_READERS, refusal
from edpc.ir import Refusal
from edpc.operators import DATA_MOVEMENT, ELEMENTWISE
from edpc.target import Guard, Rule, Stage, Target

# Kinds that may read the group in any slot; all others work on slot 0 and take the rest as parameters.
ANY_SLOT = ELEMENTWISE | DATA_MOVEMENT
# How often a rule is grown again without the operators that turned out to read a value others need too.
ROUNDS = 4
KEPT_REFUSALS = 16
# Kinds that only widen a value: better done by its reader, where that can take them as a prologue.
WIDENING = frozenset({"dequantize"})


@dataclass(frozen=True)
class Pattern:
    """A rule made ready.

    Attributes:
        rule: the rule.
        guards: per stage, the rule's and the stage's.
        about_readers: those of them that ask who else reads a value.
        hopeful: per stage, the kinds that may still join from there on.
        takers: kinds of readers that may take a widening operator as a prologue, by this rule or another.
    """

    rule: Rule
    guards: tuple[tuple[Guard, ...], ...]
    about_readers: tuple[tuple[Guard, ...], ...]
    hopeful: tuple[frozenset[str], ...]
    takers: frozenset[str]

    @classmethod
    def of(cls, rule: Rule, rules: Iterable[Rule]) -> Pattern:
        """A rule, one of these rules, made ready."""
        guards = tuple((*rule.guards, *stage.guards) for stage in rule.stages)
        about = tuple(tuple(guard for guard in found if guard.name in ABOUT_READERS) for found in guards)
        later = tuple(frozenset[str]().union(*(stage.kinds for stage in rule.stages[i:])) for i in range(len(rule.stages)))
        takers = frozenset[str]().union(*(s.kinds for r in rules if r.prologue & WIDENING for s in r.stages))
        return cls(rule, guards, about, later, takers)


@dataclass
class Attempt:
    """A rule at an anchor.

    Attributes:
        region: what it grew to. matched: whether all mandatory stages were reached.
        refusals: what guards refused on the way.
        first: members of the first stage.
        passed: how many mandatory stages were filled.
        starved: it failed for want of operators of a stage's kinds, no guard having refused any.
        is_refused: a guard refused the anchor; the rest says how far the rule would have come, which tells whether that matters.
        barred: operators that may not join.
    """

    pattern: Pattern
    target: Target
    region: Region
    matched: bool = False
    passed: int = 0
    starved: bool = False
    refusals: list[Refusal] = field(default_factory=list)
    first: list[int] = field(default_factory=list)
    is_refused: bool = False
    barred: set[int] = field(default_factory=set)

    def refuse(self, candidate: Candidate, why: tuple[str, str]) -> None:
        """Keeps a reason; the first few are enough to tell what stopped the rule."""
        if len(self.refusals) < KEPT_REFUSALS:
            self.refusals.append(Refusal(self.pattern.rule.name, candidate.name, *why))

    def grow(self, trusting: bool) -> list[tuple[int, int, tuple[Read, ...]]]:
        """Grows the region stage by stage; answers (stage, operator, how it reads the region) of what joined.

        Args:
            trusting: whether operators that may still join are taken to do so, where a guard asks who else reads a value.
        """
        joined: list[tuple[int, int, tuple[Read, ...]]] = []
        recent: list[int] = [self.region.anchor]
        self.matched, self.passed = False, 0
        for number, stage in enumerate(self.pattern.rule.stages):
            have = int(number == 0)
            found = self._sweep(number, stage, recent, stage.at_most - have, trusting)
            joined += [(number, position, reads) for position, reads in found.items()]
            if number == 0:
                self.first = [self.region.anchor, *found]
            if have + len(found) < stage.at_least:
                self.starved = not self.refusals
                return joined
            self.passed += stage.at_least > 0
            if found or have:
                recent = [self.region.anchor] * have + list(found)
        self.matched = True
        return joined

    def _sweep(self, number: int, stage: Stage, recent: Iterable[int], room: int, trusting: bool) -> dict[int, tuple[Read, ...]]:
        """One stage in topological order, so that every operand that can join has joined before its reader is asked."""
        joined: dict[int, tuple[Read, ...]] = {}
        if room <= 0:
            return joined
        region, net, barred = self.region, self.region.net, self.barred
        hopeful = self.pattern.hopeful[number] if trusting else frozenset()
        found: dict[int, list[Read]] = {}
        queue: list[int] = []

        def look(producer: int) -> None:
            for read in net.reads(producer):
                here = read.consumer
                kind = net.ops[here].kind
                fits = kind in stage.kinds and (read.slot == 0 or kind in ANY_SLOT)
                if fits and here not in barred and region.is_free(here) and all(region.owner[v] == FREE for v in read.path):
                    if here not in found:
                        heapq.heappush(queue, here)
                    found.setdefault(here, []).append(read)

        for producer in recent:
            look(producer)
        while queue and len(joined) < room:
            position = heapq.heappop(queue)
            reads = tuple(found[position])
            candidate = Candidate(region, self.target, position, reads, hopeful, barred)
            why = refusal(self.pattern.guards[number], candidate)
            if why is None and (reason := region.obstacle(position, reads)):
                why = ("convex", reason)
            if why is not None:
                self.refuse(candidate, why)
                continue
            region.add(position, (view for read in reads for view in read.path))
            joined[position] = reads
            look(position)
        return joined

    def settle(self) -> None:
        """Grows the region until nothing in it reads a value that is needed outside although a guard forbids it.

        A guard that asks who else reads a value first trusts that operators of kinds which may still join do; whatever then reads
        a value that is needed outside after all is barred, and the rule grown again, in the last round without trust. What only
        widens the group's last value is left to its reader.
        """
        start = self.region
        for number in range(ROUNDS + 1):
            trusting = number < ROUNDS and any(self.pattern.about_readers)
            if number:
                self.region = Region(start.net, start.anchor, start.owner, start.groups)
            joined = self.grow(trusting)
            alone = self._widening(joined)
            if trusting and self.matched:
                for stage, position, reads in joined:
                    asked = Candidate(self.region, self.target, position, reads)
                    if asked.is_sharing() and (why := refusal(self.pattern.about_readers[stage], asked)):
                        self.refuse(asked, why)
                        alone.add(position)
            if not self.matched or not alone:
                break
            self.barred |= alone
        if self.matched:
            self._prologue()

    def _prologue(self) -> None:
        """Operators of the prologue's kinds that only the region reads are members, and the views between."""
        rule, region = self.pattern.rule, self.region
        if not rule.prologue:
            return
        net = region.net
        pending = list(region.members)
        while pending:
            reader = pending.pop()
            for slot, (producer, _) in enumerate(net.operands[reader]):
                path: list[int] = []
                here = producer
                while net.clear[here] and _only_read_by(region, here, path):
                    path.append(here)
                    here = net.operands[here][0][0]
                if net.ops[here].kind not in rule.prologue or not _only_read_by(region, here, path):
                    continue
                candidate = Candidate(region, self.target, here, (Read(reader, slot, tuple(reversed(path))),))
                if why := refusal(rule.prologue_guards, candidate):
                    self.refuse(candidate, why)
                    continue
                region.add(here, path)
                pending.append(here)

    def _widening(self, joined: Iterable[tuple[int, int, tuple[Read, ...]]]) -> set[int]:
        """Members that widen a value for readers outside, all of which could take them as a prologue."""
        net = self.region.net
        return {
            position
            for _, position, _ in joined
            if net.ops[position].kind in WIDENING
            and all(
                net.ops[read.consumer].kind in self.pattern.takers and self.region.is_free(read.consumer)
                for read in net.reads(position)
            )
        }


def attempt(
    net: Net, target: Target, pattern: Pattern, anchor: int, owner: Sequence[int], groups: Sequence[Sequence[int]]
) -> Attempt:
    """Grows a region from an anchor of the first stage's kinds."""
    grown = Attempt(pattern, target, Region(net, anchor, owner, groups))
    candidate = Candidate(grown.region, target, anchor)
    why = refusal(pattern.guards[0], candidate)
    grown.settle()
    if why is not None:
        grown.is_refused = True
        grown.refusals.clear()
        grown.refuse(candidate, why)
    return grown


def _only_read_by(region: Region, position: int, path: Sequence[int]) -> bool:
    """Whether the operator is free and all its readers are members or on the path."""
    readers = region.net.readers[position]
    return region.is_free(position) and all(reader in region.members or reader in path for reader, _ in readers)
