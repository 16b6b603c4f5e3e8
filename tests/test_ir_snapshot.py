"""Snapshots: they restore what was, and say how much changed since."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from strategies import graphs

from edpc.errors import VerifyError
from edpc.ir import Cost, Graph, ModelInfo, Operator, TensorType, Value
from edpc.ir.snapshot import Change, Snapshot
from edpc.ir.text import parse_graph
from edpc.ir.verify import verify


def net() -> Graph:
    return parse_graph(
        """
        graph @net {
          %x = input() : fp32[4]
          %y = relu(%x) : fp32[4]
          %z = add(%y, %x) : fp32[4]
          group @g0 = separate(%y) <kernel_class="vector">
          group @g1 = separate(%z) <kernel_class="vector">
        }
        """
    )


@given(graphs())
@settings(deadline=None, max_examples=40)
def test_a_snapshot_restores_an_independent_copy(graph: Graph) -> None:
    snapshot = Snapshot(graph)
    copy = snapshot.restore()
    assert copy == graph
    assert snapshot.change(graph) is Change.NOTHING
    assert snapshot.change(copy) is Change.NOTHING
    copy.add(copy.fresh("new"), Operator("input", (), (TensorType("fp32", ()),)))
    assert snapshot.change(copy) is Change.STRUCTURE
    assert snapshot.change(graph) is Change.NOTHING
    assert snapshot.restore() == graph


@pytest.mark.parametrize(
    ("action", "change"),
    [
        (lambda g: None, Change.NOTHING),
        (lambda g: g.annotate("y", cost=None), Change.NOTHING),
        (lambda g: g.annotate("y", attributes=()), Change.NOTHING),
        (lambda g: g.rewire("z", [Value("y"), Value("x")]), Change.NOTHING),
        (lambda g: setattr(g, "groups", net().groups), Change.NOTHING),
        (lambda g: g.annotate("y", cost=Cost()), Change.FACTS),
        (lambda g: setattr(g, "info", ModelInfo(batch=2)), Change.FACTS),
        (lambda g: setattr(g, "groups", ()), Change.GROUPS),
        (lambda g: setattr(g, "groups", [replace(group, rule="other") for group in g.groups]), Change.GROUPS),
        (lambda g: g.annotate("y", kind="gelu"), Change.STRUCTURE),
        (lambda g: g.annotate("y", attributes=(("a", 1),)), Change.STRUCTURE),
        (lambda g: g.rewire("z", [Value("x"), Value("y")]), Change.STRUCTURE),
        (lambda g: g.remove("z"), Change.STRUCTURE),
        (lambda g: setattr(g, "name", "other"), Change.STRUCTURE),
        (lambda g: g.dag.nodes["y"].update(op=None), Change.STRUCTURE),
        (lambda g: g.dag.edges["x", "y"].clear(), Change.STRUCTURE),
    ],
)
def test_how_much_changed(action: Callable[[Graph], object], change: Change) -> None:
    graph = net()
    before = Snapshot(graph)
    action(graph)
    assert before.change(graph) is change


def test_the_verifier_tries_again_what_a_change_may_have_broken() -> None:
    graph = net()
    graph.annotate("y", cost=Cost(dram_j=-1.0))
    verify(graph, None, Change.NOTHING)
    for change in (Change.FACTS, Change.GROUPS, Change.STRUCTURE):
        with pytest.raises(VerifyError, match="finite-costs"):
            verify(graph, None, change)
    graph = net()
    graph.groups = graph.groups[:1]
    verify(graph, None, Change.FACTS)
    with pytest.raises(VerifyError, match="group-partition"):
        verify(graph, None, Change.GROUPS)
    graph = net()
    graph.dag.nodes["y"]["note"] = "a stranger that no snapshot sees"
    with pytest.raises(VerifyError, match="node-payload"):
        verify(graph, None, Change.NOTHING)
