"""Snapshots: they restore what was, and say how much changed since."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from strategies import graphs

from edpc.errors import VerifyError
from edpc.ir import Cost, Graph, Kernel, ModelInfo, Operator, TensorType, Value
from edpc.ir.graph import Flow
from edpc.ir.snapshot import Change, Snapshot, Step
from edpc.ir.text import parse_graph
from edpc.ir.verify import verify

KERNEL = Kernel(Cost(), "none", 0.0, 0, 0)


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
    assert Step(snapshot, Snapshot(graph)).change is Change.NOTHING
    assert Step(snapshot, Snapshot(copy)).change is Change.NOTHING
    copy.add(copy.fresh("new"), Operator("input", (), (TensorType("fp32", ()),)))
    assert Step(snapshot, Snapshot(copy)).change is Change.STRUCTURE
    assert Step(snapshot, Snapshot(graph)).change is Change.NOTHING
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
        (lambda g: setattr(g, "groups", [replace(each, kernel=KERNEL) for each in g.groups]), Change.FACTS),
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
    assert Step(before, Snapshot(graph)).change is change


def test_the_verifier_tries_again_what_a_change_may_have_broken() -> None:
    def step(changes: Callable[[Graph], object]) -> None:
        before = Snapshot(graph)
        changes(graph)
        verify(graph, None, Step(before, Snapshot(graph)))

    graph = net()
    with pytest.raises(VerifyError, match="finite-costs"):
        step(lambda g: g.annotate("y", cost=Cost(dram_j=-1.0)))
    step(lambda g: None)
    graph = net()
    graph.groups = graph.groups[:1]
    step(lambda g: g.annotate("y", cost=Cost()))
    with pytest.raises(VerifyError, match="group-partition"):
        step(lambda g: setattr(g, "groups", ()) or setattr(g, "groups", net().groups[1:]))
    graph = net()
    with pytest.raises(VerifyError, match="node-payload"):
        step(lambda g: g.dag.nodes["y"].update(note="a stranger that no snapshot keeps"))


@pytest.mark.parametrize(
    ("rule", "breaks"),
    [
        ("node-payload", lambda g: g.dag.nodes["y"].update(note="beside a good payload")),
        ("node-payload", lambda g: g.annotate("y", work="much")),
        ("edge-payload", lambda g: g.dag.edges["x", "y"].update(note="beside a good payload")),
        ("edge-payload", lambda g: g.dag.edges["x", "y"].update(flow=Flow(()))),
        ("known-types", lambda g: g.annotate("y", outputs=(TensorType("fp31", (4,)),))),
        ("finite-costs", lambda g: g.annotate("y", cost=Cost(dram_j=-1.0))),
        ("slots", lambda g: g.annotate("y", inputs=())),
        ("operand-types", lambda g: g.annotate("x", outputs=(TensorType("fp16", (4,)),))),
    ],
)
def test_what_is_new_since_the_last_verification_is_looked_at(rule: str, breaks: Callable[[Graph], object]) -> None:
    graph = net()
    verify(graph)
    verified = Snapshot(graph)
    verify(graph, None, Step(verified, Snapshot(graph)))
    breaks(graph)
    with pytest.raises(VerifyError, match=f"rule {rule} "):
        verify(graph, None, Step(verified, Snapshot(graph)))
