"""Laws of fusion, on random networks and rules: groups partition the operators, are convex, run in order, and lose no work."""

from __future__ import annotations

import time

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import machine

from edpc.fusion.engine import fuse
from edpc.ir import Graph, Operator, TensorType, Value
from edpc.operators import ELEMENTWISE, MATMUL, NORMALIZATION, REDUCTION, SOFTMAX, VIEW, work
from edpc.target import ATTENTION_POINTWISE, Guard, Rule, many, maybe, one, some

SINGLE_USE, SAME_SHAPE = Guard("single-use"), Guard("same-shape")
POINT = ELEMENTWISE | {"cast"}
RULES = (
    Rule("attention", (one(MATMUL), many(ATTENTION_POINTWISE), one(SOFTMAX), one(MATMUL)), "attention", (SINGLE_USE,)),
    Rule("gemm", (one(MATMUL), many(POINT, SAME_SHAPE)), "gemm", (SINGLE_USE,), prologue=frozenset({"transpose", "neg"})),
    Rule("open", (one(NORMALIZATION), some(POINT)), "normalization"),
    Rule("loop", (some(POINT), maybe(SOFTMAX), many(POINT, Guard("operands-at-most", 3))), "vector"),
    Rule("tight-loop", (some(POINT), one(SOFTMAX)), "vector", (SINGLE_USE,)),
    Rule("greedy", (some(POINT | SOFTMAX | NORMALIZATION | MATMUL),), "vector"),
)
TENSOR = TensorType("fp32", (4, 4))
KINDS = {"matmul": 2, "add": 2, "mul": 2, "relu": 1, "neg": 1, "softmax": 1, "layer_norm": 1, "reshape": 1, "transpose": 1}


@st.composite
def networks(draw: st.DrawFn, most: int = 24) -> Graph:
    """Any acyclic network of these kinds on one type of tensor, with the work of every operator."""
    graph = Graph("net")
    graph.add("x", Operator("input", (), (TENSOR,)))
    graph.add("w", Operator("parameter", (), (TENSOR,)))
    names = ["x", "w"]
    for i in range(draw(st.integers(1, most))):
        kind = draw(st.sampled_from(sorted(KINDS)))
        # recent values are read more often, as in real networks
        near = st.integers(0, len(names) - 1).map(lambda back: names[max(len(names) - 1 - back // 2, 0)])
        operands = tuple(Value(draw(near)) for _ in range(KINDS[kind]))
        op = Operator(kind, (TENSOR,) * len(operands), (TENSOR,), (("axis", -1),) if kind in ("softmax", "layer_norm") else ())
        names.append(graph.add(f"n{i}", op, operands))
        graph.annotate(names[-1], work=work(graph.op(names[-1])))
    returned = draw(st.lists(st.sampled_from(names), min_size=1, max_size=3, unique=True))
    graph.add("return", Operator("return", (TENSOR,) * len(returned)), tuple(Value(name) for name in returned))
    return graph


def check(graph: Graph, rules: tuple[Rule, ...]) -> None:
    """Everything that holds of groups, whatever the network and the rules."""
    groups = fuse(graph, rules, machine(rules))
    members = [name for group in groups for name in group.members]
    compute = graph.compute_order()
    assert sorted(members) == sorted(compute), "groups partition the operators"
    place = {name: i for i, name in enumerate(compute)}
    owner = {name: i for i, group in enumerate(groups) for name in group.members}
    for name in compute:
        for value in graph.operands(name):
            assert owner.get(value.node, -1) <= owner[name], "a group runs after all it reads"
    for group in groups:
        assert list(group.members) == sorted(group.members, key=place.__getitem__), "members stand in order of execution"
        inside = set(group.members)
        outside = set(compute) - inside
        after = {n for m in inside for n in nx.descendants(graph.dag, m)} & outside
        before = {n for m in inside for n in nx.ancestors(graph.dag, m)} & outside
        assert not after & before, "no path leaves a group and comes back"
        many_computing = sum(graph.op(m).kind not in VIEW for m in inside) > 1
        assert (group.rule != "separate") == many_computing
        assert all(no.operator not in inside for no in group.refusals) or not many_computing or len(inside) == 1
        assert len(group.refusals) <= 4
    assert groups == fuse(graph.copy(), rules, machine(rules)), "the same twice"


@settings(max_examples=150, deadline=None)
@given(networks(), st.lists(st.sampled_from(RULES), unique=True, max_size=len(RULES)))
def test_groups_partition_are_convex_and_run_in_order(graph: Graph, rules: list[Rule]) -> None:
    check(graph, tuple(rules))


@settings(max_examples=80, deadline=None)
@given(networks())
def test_single_use_keeps_every_value_inside_that_has_a_reader_inside(graph: Graph) -> None:
    rules = tuple(rule for rule in RULES if SINGLE_USE in rule.guards and not rule.prologue)
    for group in fuse(graph, rules, machine(rules)):
        inside = set(group.members)
        for name in group.members:
            if graph.op(name).kind not in VIEW and group.rule != "separate":
                readers = _readers(graph, name)
                assert readers <= inside or not readers & inside


def _readers(graph: Graph, name: str) -> set[str]:
    """Who reads an operator's results, views looked through."""
    found: set[str] = set()
    for use in graph.uses(name):
        found |= _readers(graph, use.consumer) if graph.op(use.consumer).kind in VIEW else {use.consumer}
    return found


def chain(length: int, kinds: tuple[str, ...], branch: bool) -> Graph:
    """A long chain of these kinds; with `branch` every value is read again four operators later."""
    graph = Graph("long")
    names = [graph.add("x", Operator("input", (), (TENSOR,)))]
    for i in range(length):
        kind = kinds[i % len(kinds)]
        operands = [Value(names[-1])] * (KINDS[kind] - 1)
        operands.append(Value(names[max(len(names) - 4, 0)] if branch and KINDS[kind] == 2 else names[-1]))
        op = Operator(kind, (TENSOR,) * len(operands), (TENSOR,))
        names.append(graph.add(f"n{i}", Operator(kind, op.inputs, op.outputs, work=work(op)), operands))
    graph.add("return", Operator("return", (TENSOR,)), (Value(names[-1]),))
    return graph


@pytest.mark.parametrize("branch", [False, True])
@pytest.mark.parametrize("kinds", [("relu",), ("matmul", "relu", "add", "neg"), ("relu", "mul", "softmax", "add")])
def test_time_is_linear_in_the_number_of_operators(kinds: tuple[str, ...], branch: bool) -> None:
    seconds = []
    loop = Rule("loop-reduction", (some(ELEMENTWISE), one(REDUCTION)), "reduction", (SINGLE_USE,))
    for length in (1000, 8000):
        graph = chain(length, kinds, branch)
        tries = []
        for _ in range(3):  # the least of three: other work only ever adds
            fresh = graph.copy()
            start = time.process_time()
            fuse(fresh, (loop, *RULES), machine(RULES))
            tries.append(time.process_time() - start)
        seconds.append(min(tries))
    # eight times the operators: a quadratic engine would take 64 times as long
    assert seconds[1] < 32 * seconds[0] + 0.2
