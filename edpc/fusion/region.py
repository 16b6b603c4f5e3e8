"""A group while it grows: its members, what it reads, who else reads its values, and whether it stays convex."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from edpc.fusion.net import Net, Read
from edpc.ir import Operator, TensorType
from edpc.target import Target

FREE = -1
# How many operators a search for a path that leaves and re-enters a group may visit before the candidate is refused.
SEARCH_BUDGET = 256
# A value with more readers than this is taken to be written out, whoever they are.
MOST_READERS = 64
# How many strangers a refusal looks for: it names the first few.
MOST_STRANGERS = 4


class Region:
    """Operators that would run as one unit, as positions in a `Net`.

    Args:
        net: the graph. anchor: position of the first member.
        owner: by position, the number of the finished group it belongs to, or `FREE`.
        groups: members of finished groups, ascending.
    """

    def __init__(self, net: Net, anchor: int, owner: Sequence[int], groups: Sequence[Sequence[int]]) -> None:
        self.net = net
        self.anchor = anchor
        self.owner = owner
        self.groups = groups
        self.members: dict[int, None] = {}
        self.outside: set[tuple[int, int]] = set()
        self.kinds: set[str] = set()
        self._floor = anchor
        self._exits = 0
        # Whether values leave it from more than one member, so that only a search tells what waits for what.
        self.is_loose = False
        self.add(anchor)

    def add(self, position: int, path: Iterable[int] = ()) -> None:
        """The operator, and the views through which it reads the region, are members."""
        net, members = self.net, self.members
        for new in (*path, position):
            if new in members:
                continue
            members[new] = None
            self.kinds.add(net.ops[new].kind)
            if new < self._floor:
                self._floor = new
            for value in net.operands[new]:
                if value[0] in members:
                    self._exits -= 1
                elif net.ops[value[0]].kind != "constant":
                    self.outside.add(value)
            for consumer, _ in net.readers[new]:
                if consumer not in members:
                    self._exits += 1

    def is_free(self, position: int) -> bool:
        """Whether the operator can still join a group."""
        return self.owner[position] == FREE and position not in self.members and self.net.ops[position].is_compute

    def strangers(self, producers: Iterable[int], candidate: Candidate) -> list[str]:
        """Names of the first few outside who read these members' values, apart from a candidate and those it trusts to join."""
        net = self.net
        found: dict[str, None] = {}
        but, barred = candidate.position, candidate.barred
        for producer in producers:
            reads = net.reads(producer)
            if len(reads) == 1 and reads[0].consumer == but:
                continue
            kinds = candidate.hopeful if len(reads) <= MOST_READERS else frozenset()
            for who in (read.consumer for read in reads):
                if who == but or who in self.members:
                    continue
                if net.ops[who].kind not in kinds or who in barred or not self.is_free(who):
                    found[net.names[who]] = None
                    if len(found) == MOST_STRANGERS:
                        return list(found)
        return list(found)

    def obstacle(self, position: int, reads: Sequence[Read]) -> str | None:
        """Why the region and this operator would not be convex, or None.

        A path that leaves the region must come back through another operand of the operator. There is none where all uses of the
        region's values are inside or by the operator, nor where all its other operands are sources; else a search goes backwards
        from them, over finished groups as single nodes, because each of those runs as a whole too.
        """
        net = self.net
        views = {view for read in reads for view in read.path if view not in self.members}
        joining = views | {position}
        inward = sum(producer in self.members for new in joining for producer, _ in net.operands[new])
        view_exits = sum(reader not in joining and reader not in self.members for v in views for reader, _ in net.readers[v])
        if self._exits == inward and not view_exits:
            return None
        others = [p for p, _ in net.operands[position] if p not in self.members and p not in views and net.ops[p].is_compute]
        visited = 0
        seen: set[int] = set()
        for start in dict.fromkeys(others):
            pending = [start]
            while pending:
                here = pending.pop()
                if here in seen:
                    continue
                seen.add(here)
                whole = self.groups[self.owner[here]] if self.owner[here] != FREE else (here,)
                seen.update(whole)
                visited += len(whole)
                if visited > SEARCH_BUDGET:
                    return (
                        f"%{net.names[position]} also reads %{net.names[start]}, and {SEARCH_BUDGET} operators did not settle "
                        "whether that waits for this group"
                    )
                for producer, _ in (pair for one in whole for pair in net.operands[one]):
                    if producer in self.members:
                        return f"%{net.names[position]} also reads %{net.names[start]}, which waits for this group"
                    # What stands before all members does not wait for them.
                    top = self.groups[self.owner[producer]][-1] if self.owner[producer] != FREE else producer
                    if top > self._floor and net.ops[producer].is_compute:
                        pending.append(producer)
        self.is_loose = True
        return None


@dataclass(slots=True, eq=False)
class Candidate:
    """An operator that asks to join a region; what guards look at.

    Attributes:
        region: the region as it stands. target: the machine.
        position: the operator. reads: how it reads the region, or, of a prologue, how the region reads it; empty for the anchor.
        hopeful: kinds that may still join, so that a value which one of them reads is not yet lost.
        barred: operators that will not.
    """

    region: Region
    target: Target
    position: int
    reads: tuple[Read, ...] = ()
    hopeful: frozenset[str] = frozenset()
    barred: Collection[int] = ()
    _producers: list[int] | None = None

    @property
    def name(self) -> str:
        """The operator's name."""
        return self.region.net.names[self.position]

    @property
    def op(self) -> Operator:
        """The operator."""
        return self.region.net.ops[self.position]

    def producers(self) -> list[int]:
        """The members whose values it reads, views looked through."""
        if self._producers is None:
            operands = self.region.net.operands
            found = [operands[r.path[0]][0][0] if r.path else operands[self.position][r.slot][0] for r in self.reads]
            self._producers = found if len(found) == 1 else list(dict.fromkeys(found))
        return self._producers

    def is_sharing(self) -> bool:
        """Whether anyone beside it reads a value that it reads."""
        return any(len(self.region.net.reads(producer)) > 1 for producer in self.producers())

    def read_types(self) -> list[TensorType]:
        """The types in which it sees the region's values."""
        return [self.op.inputs[read.slot] for read in self.reads]

    def strangers(self) -> list[str]:
        """Names of others, outside, that read the values it reads."""
        return self.region.strangers(self.producers(), self)

    def source_kind(self, slot: int) -> str:
        """Kind of the operator that makes an operand."""
        net = self.region.net
        return net.ops[net.operands[self.position][slot][0]].kind
