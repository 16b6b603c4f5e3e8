"""Rules about groups and the facts that passes found.

A rule is a function from a `Subject` to the violations it finds; its first line says what holds. Structure has been verified.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import fields
from operator import attrgetter

from edpc.ir.facts import Cost, Kernel
from edpc.ir.subject import Check, Subject, Violation, node, on_a_cycle

# Relative error that sums of floating-point figures may have.
TOLERANCE = 1e-9

_COST_FIELDS = tuple(f.name for f in fields(Cost))
_components = attrgetter(*_COST_FIELDS)

# --- groups --------------------------------------------------------------------------------------------------


def group_names(subject: Subject) -> Iterator[Violation]:
    """No two groups share a name."""
    seen: set[str] = set()
    for group in subject.graph.groups:
        if group.name in seen:
            yield f"@{group.name}", "is the name of two groups"
        seen.add(group.name)


def group_partition(subject: Subject) -> Iterator[Violation]:
    """Where there are groups, every operator that computes is a member of exactly one, and nothing else is."""
    seen: dict[str, str] = {}
    for group in subject.graph.groups:
        if not group.members:
            yield f"@{group.name}", "has no members"
        for member in group.members:
            if member not in subject.operators:
                yield f"@{group.name}", f"has the member {node(member)}, which is not in the graph"
            elif not subject.operators[member].is_compute:
                yield f"@{group.name}", f"has the member {node(member)}, which is a {subject.operators[member].kind}"
            elif member in seen:
                yield f"@{group.name}", f"has the member {node(member)}, which is in @{seen[member]} too"
            seen[member] = group.name
    if subject.graph.groups:
        for name, op in subject.operators.items():
            if op.is_compute and name not in seen:
                yield node(name), "is in no group"


def group_members_in_order(subject: Subject) -> Iterator[Violation]:
    """Members stand in an order in which they can run."""
    place = {member: i for group in subject.graph.groups for i, member in enumerate(group.members)}
    for producer, consumer, before, after in subject.group_links:
        if before == after and place[producer] > place[consumer]:
            group = subject.graph.groups[before]
            yield f"@{group.name}", f"lists {node(consumer)} before {node(producer)}, which it reads"


def group_convexity(subject: Subject) -> Iterator[Violation]:
    """No path leaves a group and comes back: each group can run as one unit.

    Contracting every group to a node must leave no cycle. That is more than each group being convex by itself: two groups that
    read each other are refused too.
    """
    if all(before <= after for _, _, before, after in subject.group_links):
        return
    followers: dict[int, set[int]] = {i: set() for i in range(len(subject.graph.groups))}
    for _, _, before, after in subject.group_links:
        if before != after:
            followers[before].add(after)
    cycle = on_a_cycle(followers)
    if cycle is not None:
        yield f"@{subject.graph.groups[cycle].name}", "is not convex: a path leaves it and comes back"


def groups_in_order(subject: Subject) -> Iterator[Violation]:
    """Groups stand in an order in which they can run."""
    for _, _, before, after in subject.group_links:
        if before > after:
            first, second = subject.graph.groups[after], subject.graph.groups[before]
            yield f"@{first.name}", f"stands before @{second.name}, whose results it reads"


# --- facts ---------------------------------------------------------------------------------------------------


def work_counts(subject: Subject) -> Iterator[Violation]:
    """Work counts in integers that are not negative, one read per operand and one write per result."""
    seen: set[tuple[int, int, int]] = set()
    for name, op in subject.news("work", "inputs", "outputs"):
        work = op.work
        what = id(work), len(op.inputs), len(op.outputs)
        if work is None or what in seen:
            continue
        seen.add(what)
        counts = (work.macs, work.vector_ops, work.transcendentals, work.rows, work.cols, *work.reads, *work.writes)
        if set(map(type, counts)) != {int} or min(counts) < 0:
            yield node(name), f"has work that is not counted in integers from 0: {counts}"
        if len(work.reads) != len(op.inputs):
            yield node(name), f"has work that reads {len(work.reads)} operands of {len(op.inputs)}"
        if len(work.writes) != len(op.outputs):
            yield node(name), f"has work that writes {len(work.writes)} results of {len(op.outputs)}"


def contraction_macs(subject: Subject) -> Iterator[Violation]:
    """The multiply-accumulates of the contractions sum to those of the work."""
    for name, op in subject.news("work"):
        if op.work is not None and (op.work.macs or op.work.contractions):
            total = sum([contraction.macs for contraction in op.work.contractions])
            if total != op.work.macs:
                yield node(name), f"has {op.work.macs} macs in its work and {total} in its contractions"


def finite_costs(subject: Subject) -> Iterator[Violation]:
    """Costs are finite and not negative, and so are the figures of kernels."""
    good: set[int] = set()  # kernels may be shared
    for name, op in subject.news("cost", "separate"):
        if op.cost is not None and not _is_good(op.cost):
            yield from _bad_cost(node(name), op.cost)
        if op.separate is not None and id(op.separate) not in good:
            good.add(id(op.separate))
            yield from _bad_kernel(f"{node(name)} on its own", op.separate)
    for group in subject.graph.groups:
        if group.kernel is not None:
            yield from _bad_kernel(f"@{group.name}", group.kernel)


def finite_shares(subject: Subject) -> Iterator[Violation]:
    """Shares of the EDP are finite."""
    for name, op in subject.news("share"):
        share = op.share
        if share is not None:
            figures = (share.events, share.flops, share.modifiers, share.modifier, share.fusion_benefit or 0.0)
            if not all(map(math.isfinite, figures)):
                yield node(name), f"has a share that is not finite: {share}"


def kernel_sums(subject: Subject) -> Iterator[Violation]:
    """A kernel's cost is the sum of its members' costs, component by component."""
    for group in subject.graph.groups:
        if group.kernel is None:
            continue
        costs = [(member, subject.operators[member].cost) for member in group.members]
        known = [cost for _, cost in costs if cost is not None]
        if len(known) < len(costs):
            missing = next(member for member, cost in costs if cost is None)
            yield f"@{group.name}", f"has a kernel, and its member {node(missing)} has no cost"
        elif known != [group.kernel.cost]:
            columns = zip(*map(_components, known), strict=True)
            for component, whole, parts in zip(_COST_FIELDS, _components(group.kernel.cost), columns, strict=True):
                if not math.isclose(whole, math.fsum(parts), rel_tol=TOLERANCE):
                    yield f"@{group.name}", f"has {component} = {whole!r}, and its members sum to {math.fsum(parts)!r}"


def _is_good(cost: Cost) -> bool:
    """Whether the cost is beyond suspicion: a sum that is finite has no infinity and no NaN among its terms."""
    values: tuple[float, ...] = _components(cost)
    return min(values) >= 0.0 and sum(values) < math.inf


def _bad_cost(who: str, cost: Cost) -> Iterator[Violation]:
    for component, value in zip(_COST_FIELDS, _components(cost), strict=True):
        if not 0.0 <= value < math.inf:
            yield who, f"has {component} = {value!r}"


def _bad_kernel(who: str, kernel: Kernel) -> Iterator[Violation]:
    if not _is_good(kernel.cost):
        yield from _bad_cost(who, kernel.cost)
    for figure in ("utilization", "dram_accesses", "launches"):
        if not 0 <= getattr(kernel, figure) < math.inf:
            yield who, f"has {figure} = {getattr(kernel, figure)!r}"


GROUP_RULES: tuple[Check, ...] = (
    group_names,
    group_partition,
    group_members_in_order,
    group_convexity,
    groups_in_order,
)
FACT_RULES: tuple[Check, ...] = (
    work_counts,
    contraction_macs,
    finite_costs,
    finite_shares,
    kernel_sums,
)
