"""Every rule of the verifier holds for valid graphs, and each fires where it is broken."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from strategies import graphs

from edpc.errors import VerifyError
from edpc.ir import Cost, Flow, Graph, Group, Kernel, Operator, Share, TensorType, Value, Work
from edpc.ir.text import parse_graph
from edpc.ir.verify import RULES, verify

KINDS = frozenset({"relu", "add", "split"})

# y = relu(x); (a, b) = split(y); z = add(a, y); return z
TEXT = """
graph @net {
  %x = input() : fp32[4]
  %y = relu(%x) {alpha = 1} : fp32[4] work<macs=0, vector_ops=4, transcendentals=0, reads=[16], writes=[16], precision="fp32"> \
cost<compute_s=1, dram_j=3> share<events=1, flops=1, modifiers=1, modifier=1>
  %s = split(%y) : (fp32[4], fp32[0]) cost<compute_s=2>
  %z = add(%s, %y) : fp32[4] cost<compute_s=4>
  %out = return(%z) : ()
  group @g0 = pointwise(%y, %s) <kernel_class="vector", kernel<cost<compute_s=3, dram_j=3>, bound="memory", \
utilization=0.5, dram_accesses=2, launches=1>>
  group @g1 = separate(%z) <kernel_class="vector">
}
"""


def net() -> Graph:
    return parse_graph(TEXT)


def regroup(graph: Graph, *members: tuple[str, ...]) -> None:
    graph.groups = [Group(f"g{i}", "pointwise", "vector", each) for i, each in enumerate(members)]


def with_work(graph: Graph, **fields: object) -> None:
    graph.annotate("y", work=replace(graph.op("y").work, **fields))  # type: ignore[type-var, arg-type]


def with_kernel(graph: Graph, **fields: object) -> None:
    first, second = graph.groups
    graph.groups = [replace(first, kernel=replace(first.kernel, **fields)), second]  # type: ignore[type-var, arg-type]


def second_return(graph: Graph) -> None:
    graph.add("out2", Operator("return"))


def cycle(graph: Graph) -> None:
    """%s reads %z, which reads %s."""
    graph.annotate("s", inputs=(TensorType("fp32", (4,)),) * 2)
    graph.dag.add_edge("z", "s", flow=Flow(((0, 1),)))


def named_twice(graph: Graph) -> None:
    graph.groups = [replace(group, name="g") for group in graph.groups]


def links(producer: str, consumer: str, *pairs: tuple[int, int]) -> Callable[[Graph], None]:
    def change(graph: Graph) -> None:
        graph.dag.edges[producer, consumer]["flow"] = Flow(pairs)

    return change


def facts(name: str, **fields: object) -> Callable[[Graph], None]:
    return lambda graph: graph.annotate(name, **fields)


def whole(key: str, value: object) -> Callable[[Graph], None]:
    return lambda graph: graph.dag.graph.update({key: value})


MLESS = Work(1, 0, 0, (16,), (16,), "fp32")

# rule, what breaks it, a part of the message
BROKEN: list[tuple[str, Callable[[Graph], object], str]] = [
    ("node-payload", lambda g: g.dag.nodes["y"].update(note="x"), "%y carries op: Operator, note: str, not exactly"),
    ("node-payload", lambda g: g.dag.nodes["y"].clear(), "%y carries nothing"),
    ("node-payload", lambda g: g.dag.nodes["y"].update(op="relu"), "%y carries op: str"),
    ("node-payload", lambda g: g.dag.add_node(7, op=Operator("relu")), "7 is named by a int"),
    ("node-payload", facts("y", inputs=[TensorType("fp32", (4,))]), "%y has a list as inputs"),
    ("node-payload", facts("y", cost=1.0), "%y has a float as cost"),
    ("edge-payload", lambda g: g.dag.edges["x", "y"].update(weight=1), "%x -> %y carries flow: Flow, weight: int"),
    ("edge-payload", links("x", "y"), "%x -> %y links no result"),
    ("edge-payload", links("s", "z", (0, 1), (0, 0)), "not sorted by slot"),
    ("graph-payload", whole("note", 1), "the graph carries info: ModelInfo, groups: tuple, estimate: NoneType, note: int"),
    ("graph-payload", whole("info", None), "has a NoneType as info"),
    ("graph-payload", whole("groups", ["g"]), "has groups that are not a tuple of Group"),
    ("graph-payload", whole("estimate", 1.0), "has a float as estimate"),
    ("known-kind", facts("y", kind="rleu"), "%y has the kind 'rleu'"),
    ("known-types", facts("z", outputs=(TensorType("float", (4,)),)), "%z has the element type 'float'"),
    ("known-types", facts("z", outputs=(TensorType("fp32", (-1,)),)), "%z has the type fp32[-1]"),
    ("known-types", facts("z", outputs=(TensorType("fp32", (1.5,)),)), "%z has the type fp32[1.5]"),  # type: ignore[arg-type]
    ("known-types", facts("z", outputs=("fp32",)), "%z has a str among its types"),
    ("sorted-attributes", facts("y", attributes=(("b", 1), ("a", 1))), "%y has attributes ['b', 'a']"),
    ("sorted-attributes", facts("y", attributes=(("a", 1), ("a", 1))), "%y has attributes ['a', 'a']"),
    ("plain-attributes", facts("y", attributes=(("a", None),)), "%y has a NoneType as attribute a"),
    ("plain-attributes", facts("y", attributes=(("a", (1, 2.0)),)), "%y has a tuple of several types as attribute a"),
    ("plain-attributes", facts("y", attributes=(("a", np.int64(1)),)), "%y has a int64 as attribute a"),
    ("plain-attributes", facts("y", attributes=(("a", ((1,),)),)), "%y has a tuple as attribute a"),
    ("slots", links("y", "z", (0, 0)), "%z has 2 operands and links to slots [0, 0]"),
    ("slots", links("y", "z", (0, 2)), "%z has 2 operands and links to slots [0, 2]"),
    ("slots", lambda g: g.dag.remove_edge("y", "z"), "%z has 2 operands and links to slots [0]"),
    ("results", links("s", "z", (2, 0)), "%z reads %s#2 in slot 0, which has 2 results"),
    ("operand-types", facts("y", inputs=(TensorType("fp16", (4,)),)), "%y reads %x#0 as fp16[4], which is fp32[4]"),
    ("sources", facts("x", outputs=()), "%x is a source of kind input with 0 operands and 0 results"),
    ("sources", facts("y", kind="constant"), "%y is a source of kind constant with 1 operands"),
    ("single-return", second_return, "%out2 is a second return beside %out"),
    ("single-return", facts("out", outputs=(TensorType("fp32", ()),)), "%out is a return and has results"),
    ("acyclic", cycle, "stands on a cycle"),
    ("group-names", named_twice, "@g is the name of two groups"),
    ("group-partition", lambda g: regroup(g, ("y",), ("s",)), "%z is in no group"),
    ("group-partition", lambda g: regroup(g, ("y", "s"), ("s", "z")), "@g1 has the member %s, which is in @g0 too"),
    ("group-partition", lambda g: regroup(g, ("y", "q"), ("s", "z")), "@g0 has the member %q, which is not in the graph"),
    ("group-partition", lambda g: regroup(g, ("x", "y"), ("s", "z")), "@g0 has the member %x, which is a input"),
    ("group-partition", lambda g: regroup(g, ("y", "s", "z"), ()), "@g1 has no members"),
    ("group-members-in-order", lambda g: regroup(g, ("s", "y"), ("z",)), "@g0 lists %s before %y, which it reads"),
    ("group-convexity", lambda g: regroup(g, ("y", "z"), ("s",)), "is not convex: a path leaves it and comes back"),
    ("groups-in-order", lambda g: regroup(g, ("s", "z"), ("y",)), "@g0 stands before @g1, whose results it reads"),
    ("work-counts", lambda g: with_work(g, reads=()), "%y has work that reads 0 operands of 1"),
    ("work-counts", lambda g: with_work(g, writes=(1, 2)), "%y has work that writes 2 results of 1"),
    ("work-counts", lambda g: with_work(g, vector_ops=-4), "%y has work that is not counted in integers from 0"),
    ("work-counts", lambda g: with_work(g, vector_ops=4.0), "%y has work that is not counted in integers from 0"),
    ("contraction-macs", facts("y", work=MLESS), "%y has 1 macs in its work and 0 in its contractions"),
    ("finite-costs", facts("z", cost=Cost(dram_j=-1.0)), "%z has dram_j = -1.0"),
    ("finite-costs", facts("z", cost=Cost(dram_j=math.nan)), "%z has dram_j = nan"),
    (
        "finite-costs",
        facts("z", separate=Kernel(Cost(memory_s=math.inf), "memory", 0.0, 0, 0)),
        "%z on its own has memory_s = inf",
    ),
    ("finite-costs", lambda g: with_kernel(g, utilization=math.nan), "@g0 has utilization = nan"),
    ("finite-costs", lambda g: with_kernel(g, launches=-1), "@g0 has launches = -1"),
    ("finite-shares", facts("y", share=Share(math.nan, 1.0, 1.0, 1.0)), "%y has a share that is not finite"),
    ("kernel-sums", facts("s", cost=Cost(compute_s=2.1)), "@g0 has compute_s = 3.0, and its members sum to 3.1"),
    ("kernel-sums", facts("s", cost=None), "@g0 has a kernel, and its member %s has no cost"),
]


def test_a_valid_graph_passes() -> None:
    verify(net(), KINDS)
    verify(Graph("empty"), frozenset())


@pytest.mark.parametrize(("rule", "change", "message"), BROKEN, ids=[f"{rule}-{i}" for i, (rule, _, _) in enumerate(BROKEN)])
def test_each_rule_fires(rule: str, change: Callable[[Graph], object], message: str) -> None:
    graph = net()
    change(graph)
    with pytest.raises(VerifyError) as violation:
        verify(graph, KINDS)
    assert message in str(violation.value)
    assert f"(rule {rule} of graph @net: " in str(violation.value)
    assert "\n" not in str(violation.value)


def test_every_rule_has_a_graph_that_breaks_it() -> None:
    assert {rule.name for rule in RULES} == {rule for rule, _, _ in BROKEN}
    assert all(rule.holds for rule in RULES)


def test_a_group_that_runs_around_another_is_refused_however_long_the_way() -> None:
    graph = Graph("ring")
    kind = TensorType("fp32", (1,))
    graph.add("n0", Operator("input", (), (kind,)))
    for i in range(1, 50):
        graph.add(f"n{i}", Operator("relu", (kind,), (kind,)), [Value(f"n{i - 1}")])
    regroup(graph, ("n1", "n49"), *((f"n{i}",) for i in range(2, 49)))
    with pytest.raises(VerifyError, match="group-convexity"):
        verify(graph)
    # Two groups that read each other are each convex, and still cannot run.
    graph = Graph("knot")
    for name in "abcd":
        operands = [Value({"b": "a", "d": "c"}[name])] if name in "bd" else []
        graph.add(name, Operator("relu", (kind,) * len(operands), (kind,)), operands)
    regroup(graph, ("a", "d"), ("c", "b"))
    with pytest.raises(VerifyError, match="group-convexity"):
        verify(graph)


def test_a_kernel_may_differ_from_its_members_by_rounding_only() -> None:
    graph = net()
    with_kernel(graph, cost=Cost(compute_s=3.0 * (1 + 1e-10), dram_j=3.0))
    verify(graph)
    with_kernel(graph, cost=Cost(compute_s=3.0 * (1 + 1e-8), dram_j=3.0))
    with pytest.raises(VerifyError, match="kernel-sums"):
        verify(graph)


@given(graphs())
@settings(deadline=None, max_examples=60)
def test_strategies_draw_valid_graphs(graph: Graph) -> None:
    verify(graph)
