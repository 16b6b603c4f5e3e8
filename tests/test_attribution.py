"""Attribution: methods sum to groups and to the model, shares are Shapley values, benefits sum to what fusion saves."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from math import factorial, fsum

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import machine, network

from edpc.attribution import Totals, fusion_benefit, modified, proportional
from edpc.errors import VerifyError
from edpc.ir import Cost, Graph, Group, Kernel, Work
from edpc.operators import ELEMENTWISE, MATMUL
from edpc.pipeline.base import PassContext
from edpc.target import Modifier
from passes.attribute_edp import AttributeEdp

PART = st.builds(Cost, *[st.floats(0.0, 1e-3)] * 3, *[st.floats(0.0, 1.0)] * 5)
COUNT = st.sampled_from([0, 0, 1, 7, 10**3, 10**9])
MODIFIERS = (Modifier("product", MATMUL, 1.0, 1.0), Modifier("pointwise", ELEMENTWISE, 0.05, 3.0))
TOLERANCE = 1e-12


def total(costs: list[Cost]) -> Totals:
    return Totals(fsum(c.energy_j for c in costs), fsum(c.latency_s for c in costs))


def costed(parts: list[tuple[str, int, int, Cost, Cost]], sizes: list[int]) -> Graph:
    """A chain of operators (kind, FLOPs, bytes, cost, cost alone) in groups of these sizes."""
    lines = "\n".join(f"%n{i} = {part[0]}(%{'n' + str(i - 1) if i else 'x'}) : fp32[4]" for i, part in enumerate(parts))
    graph = network(f"%x = input() : fp32[4]\n{lines}\n%return = return(%n{len(parts) - 1}) : ()")
    for i, (_, flops, size, cost, alone) in enumerate(parts):
        work = Work(0, flops, 0, (size,), (size,), "fp32")
        graph.annotate(f"n{i}", work=work, cost=cost, separate=Kernel(alone, "memory", 0.0, 2, 1))
    groups, start = [], 0
    for size in sizes:
        members = tuple(f"n{i}" for i in range(start, min(start + size, len(parts))))
        start += size
        if members:
            cost = sum((parts[int(m[1:])][3] for m in members), Cost())
            groups.append(Group(f"g{len(groups)}", "rule", "vector", members, kernel=Kernel(cost, "memory", 0.0, 2, 1)))
    graph.groups = groups
    return graph


@st.composite
def costed_graphs(draw: st.DrawFn) -> Graph:
    kinds = st.sampled_from(["matmul", "relu", "gelu", "reshape", "transpose", "gather"])
    parts = draw(st.lists(st.tuples(kinds, COUNT, COUNT, PART, PART), min_size=1, max_size=12))
    sizes = draw(st.lists(st.integers(1, 4), min_size=12, max_size=12))
    return costed(parts, sizes)


@settings(max_examples=120, deadline=None)
@given(costed_graphs())
def test_every_method_sums_to_the_groups_and_to_the_model(graph: Graph) -> None:
    ctx = PassContext(machine(modifiers=MODIFIERS))
    AttributeEdp().run(graph, ctx)
    costs = [group.kernel.cost for group in graph.groups if group.kernel]
    whole = total(costs)
    shares = {name: graph.op(name).share for name in graph.compute_order()}
    for group, cost in zip(graph.groups, costs, strict=True):
        for method in ("events", "flops", "modifiers"):
            parts = fsum(getattr(shares[name], method) for name in group.members)
            assert parts == pytest.approx(whole.share(cost), rel=TOLERANCE, abs=1e-300)
    for method in ("events", "flops", "modifiers"):
        parts = fsum(getattr(share, method) for share in shares.values())
        assert parts == pytest.approx(whole.edp_js, rel=TOLERANCE, abs=1e-300)


@settings(max_examples=60, deadline=None)
@given(st.lists(PART, min_size=1, max_size=5))
def test_a_share_is_the_mean_marginal_contribution_over_all_orders(parts: list[Cost]) -> None:
    whole = total(parts)
    for i, part in enumerate(parts):
        marginal = []
        for order in permutations(range(len(parts))):
            before = [parts[j] for j in order[: order.index(i)]]
            marginal.append(total([*before, part]).edp_js - total(before).edp_js)
        assert whole.share(part) == pytest.approx(fsum(marginal) / factorial(len(parts)), rel=1e-9, abs=1e-18)


def test_two_parts_by_hand() -> None:
    # E = 3 + 1 = 4 J, T = 1 + 3 = 4 s, EDP = 16; each part has 3 standing alone, the cross terms 9 + 1 = 10 are halved
    parts = [Cost(compute_s=1.0, compute_j=3.0), Cost(memory_s=3.0, dram_j=1.0)]
    whole = total(parts)
    assert (whole.edp_js, [whole.share(p) for p in parts]) == (16.0, [8.0, 8.0])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(PART, PART), min_size=1, max_size=8))
def test_benefits_sum_to_what_fusion_saves(parts: list[tuple[Cost, Cost]]) -> None:
    fused, separate = total([a for a, _ in parts]), total([b for _, b in parts])
    saved = fsum(fusion_benefit(a, b, fused, separate) for a, b in parts)
    scale = fused.edp_js + separate.edp_js
    assert saved == pytest.approx(separate.edp_js - fused.edp_js, rel=1e-9, abs=1e-12 * scale + 1e-300)


def one_group(*parts: tuple[str, int, int]) -> Graph:
    """A single group of operators (kind, FLOPs, bytes) of equal cost: 1 J and 1 s each."""
    cost = Cost(compute_s=1.0, compute_j=1.0)
    return costed([(kind, flops, size, cost, Cost(compute_s=2.0, compute_j=2.0)) for kind, flops, size in parts], [len(parts)])


def shares_of(graph: Graph, *modifiers: Modifier) -> list[tuple[float, float, float, float]]:
    AttributeEdp().run(graph, PassContext(machine(modifiers=modifiers)))
    found = [graph.op(name).share for name in graph.compute_order()]
    return [(s.events, s.flops, s.modifiers, s.modifier) for s in found if s]


def test_flops_divide_a_group_and_modifiers_weigh_them() -> None:
    # E = T = 2, EDP = 4: by events 2 each; by FLOPs 3 : 1; times 1 and 0.05: 3 : 0.05, that is 4 * 3 / 3.05
    found = shares_of(one_group(("matmul", 300, 8), ("relu", 100, 8)), *MODIFIERS)
    assert found[0] == pytest.approx((2.0, 3.0, 4 * 3 / 3.05, 1.0))
    assert found[1] == pytest.approx((2.0, 1.0, 4 * 0.05 / 3.05, 0.05))


def test_a_group_without_flops_is_divided_by_bytes_and_one_without_bytes_equally() -> None:
    assert [s[1] for s in shares_of(one_group(("transpose", 0, 30), ("gather", 0, 10)))] == pytest.approx([3.0, 1.0])
    assert [s[1] for s in shares_of(one_group(("transpose", 0, 0), ("gather", 0, 0)))] == [2.0, 2.0]


def test_modifiers_that_all_vanish_leave_the_base() -> None:
    nothing = Modifier("nothing", MATMUL | ELEMENTWISE, 0.0, 0.0)
    found = shares_of(one_group(("matmul", 300, 8), ("relu", 100, 8)), nothing)
    assert [s[2] for s in found] == pytest.approx([3.0, 1.0])


def test_an_operator_alone_but_for_views_has_the_separate_modifier_and_no_benefit() -> None:
    graph = one_group(("relu", 100, 8), ("reshape", 0, 0))
    assert [s[3] for s in shares_of(graph, *MODIFIERS)] == [3.0, 1.0]
    assert graph.op("n0").share is not None
    assert graph.op("n0").share.fusion_benefit is None  # type: ignore[union-attr]


def test_the_first_modifier_that_names_a_kind_wins() -> None:
    found = shares_of(one_group(("relu", 1, 1)), Modifier("a", frozenset({"relu"}), 7.0, 8.0), *MODIFIERS)
    assert found[0][3] == 8.0


def test_division_in_proportion() -> None:
    assert proportional(6.0, [1.0, 2.0]) == [2.0, 4.0]
    assert proportional(6.0, [0.0, 0.0]) == [3.0, 3.0]
    assert modified(6.0, [1.0, 5.0], [0.0, 2.0]) == [0.0, 6.0]
    assert modified(6.0, [1.0, 5.0], [0.0, 0.0]) == [1.0, 5.0]


def test_a_group_without_its_cost_is_refused() -> None:
    graph = one_group(("relu", 1, 1))
    graph.groups = [replace(group, kernel=None) for group in graph.groups]
    with pytest.raises(VerifyError, match="annotate-cost must run before attribute-edp"):
        AttributeEdp().run(graph, PassContext(machine()))
    graph = one_group(("relu", 1, 1))
    graph.annotate("n0", cost=None)
    with pytest.raises(VerifyError, match="group g0: a member carries no cost"):
        AttributeEdp().run(graph, PassContext(machine()))


def test_a_model_that_costs_nothing_has_shares_of_nothing() -> None:
    graph = costed([("reshape", 0, 0, Cost(), Cost())], [1])
    assert shares_of(graph) == [(0.0, 0.0, 0.0, 1.0)]
