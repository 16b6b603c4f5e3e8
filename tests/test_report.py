"""The report adds up, keeps to its schema, and says what the graph says."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edpc.errors import UsageError, VerifyError
from edpc.ir import Cost, Graph
from edpc.report import Report, build_comparison, build_report
from tests.hand_made import CHAIN, Part, annotated, renamed, toy_target

CLOSE = 1e-12


@pytest.fixture
def report() -> Report:
    return build_report(annotated(), toy_target())


def close(a: float, b: float, scale: float | None = None) -> bool:
    return abs(a - b) <= CLOSE * (abs(b) if scale is None else scale)


def costs() -> st.SearchStrategy[Cost]:
    figure = st.floats(min_value=0.0, max_value=1.0) | st.floats(min_value=1e-15, max_value=1e-6)
    return st.builds(Cost, *[figure] * 9)


@given(st.lists(st.tuples(costs(), costs(), st.integers(0, 4), st.integers(0, 10**9)), min_size=1, max_size=12))
def test_parts_sum_to_the_whole(rows: list[tuple[Cost, Cost, int, int]]) -> None:
    parts = [Part("relu", f"g{group}", flops, cost, apart) for cost, apart, group, flops in rows]
    report = build_report(annotated(parts), toy_target())
    totals, subgraphs, operators = report.totals, report.subgraphs, report.operators
    for items in (subgraphs, operators):
        assert close(math.fsum(i.energy_j for i in items), totals.energy_j)
        assert close(math.fsum(i.latency_s for i in items), totals.latency_s)
        assert close(math.fsum(i.edp_js for i in items), totals.edp_js)
    assert totals.edp_js == totals.energy_j * totals.latency_s
    assert close(sum(report.to_dict()["totals"]["energy_by_component"].values()), totals.energy_j)
    assert close(sum(report.to_dict()["totals"]["latency_by_component"].values()), totals.latency_s)
    for s in subgraphs:
        assert close(math.fsum((s.compute_edp, s.memory_edp, s.static_edp, s.overhead_edp)), s.edp_js)
        members = [op for op in operators if op.subgraph_id == s.id]
        assert [op.operator_id for op in members] == list(s.operators)
        assert close(math.fsum(op.edp_js for op in members), s.edp_js)
    fusion = report.fusion
    largest = max(fusion.separate.edp_js, fusion.fused.edp_js)
    causes = report.to_dict()["fusion"]["saved"]["by_cause"].values()
    # Causes of opposite sign may cancel: what rounding leaves is relative to them, not to their sum.
    assert close(math.fsum(causes), fusion.saved.edp_js, max(largest, math.fsum(map(abs, causes))))
    assert close(fusion.separate.edp_js - fusion.saved.edp_js, fusion.fused.edp_js, largest)
    assert "NaN" not in report.to_json().decode()


def test_edp_share_is_the_mean_of_energy_and_latency_share(report: Report) -> None:
    for s in report.subgraphs:
        assert s.edp_fraction == pytest.approx((s.energy_fraction + s.latency_fraction) / 2, rel=CLOSE)
        assert s.standalone_edp_js == s.energy_j * s.latency_s
    assert sum(s.standalone_edp_js for s in report.subgraphs) < report.edp_js


def test_component_edps_follow_the_energy_of_the_subgraph(report: Report) -> None:
    # transpose: 0 compute, 2 nJ DRAM, 4 nJ static, 0.5 nJ overhead of 6.5 nJ.
    alone = report.subgraphs[1]
    assert alone.compute_edp == 0.0
    assert alone.memory_edp == pytest.approx(alone.edp_js * 2 / 6.5, rel=1e-9)
    assert alone.static_edp == pytest.approx(alone.edp_js * 4 / 6.5, rel=1e-9)


def test_time_without_energy_splits_like_its_time() -> None:
    waits = Cost(compute_s=1.0, memory_s=2.0, overhead_s=1.0)
    works = Cost(compute_s=1.0, compute_j=1.0)
    report = build_report(annotated([Part("relu", "g0", 1, waits, waits), Part("relu", "g1", 1, works, works)]), toy_target())
    # Share of g0: (0/1 + 4/5) / 2 of 1 J * 5 s = 2 J*s, a quarter, a half and a quarter of it.
    s = report.subgraphs[0]
    assert (s.edp_js, s.compute_edp, s.memory_edp, s.overhead_edp) == (2.0, 0.5, 1.0, 0.5)


def test_saving_by_cause_by_hand() -> None:
    fused = Cost(compute_s=1.0, static_j=1.0, dram_j=1.0)
    apart = Cost(compute_s=1.0, overhead_s=2.0, static_j=3.0, dram_j=4.0, overhead_j=1.0)
    report = build_report(annotated([Part("relu", "g0", 1, fused, apart)]), toy_target())
    saved = report.fusion.saved
    # E: 8 J against 2 J, T: 3 s against 1 s; saved 24 - 2 = 22 J*s; Tm = 2 s, Em = 5 J.
    assert saved.edp_js == 22.0
    assert saved.by_cause.dram_energy == 3 * 2.0
    assert saved.by_cause.static_energy == 2 * 2.0
    assert saved.by_cause.launch_overhead == 2 * 5.0 + 1 * 2.0
    assert saved.by_cause.other == 0.0


@pytest.mark.parametrize("method", ["events", "flops", "modifiers"])
def test_operators_follow_the_attribution_asked_for(method: str) -> None:
    report = build_report(annotated(), toy_target(), attribution=method)  # type: ignore[arg-type]
    field = {"events": "event_edp", "flops": "base_edp", "modifiers": "architectural_edp"}[method]
    assert [op.edp_js for op in report.operators] == [getattr(op, field) for op in report.operators]
    assert math.fsum(op.edp_fraction_of_model for op in report.operators) == pytest.approx(1.0, rel=CLOSE)


def test_modelled_modifier_is_null_without_a_base() -> None:
    graph = annotated()
    share = graph.op("add_1").share
    assert share is not None
    graph.annotate("add_1", share=replace(share, flops=0.0))
    operators = {op.operator_id: op for op in build_report(graph, toy_target()).operators}
    assert operators["add_1"].modelled_modifier is None
    assert operators["relu_2"].modelled_modifier == operators["relu_2"].event_edp / operators["relu_2"].base_edp


def test_fused_means_more_than_one_operator_that_is_no_view(report: Report) -> None:
    assert [op.is_fused for op in report.operators] == [True, True, True, False]
    assert report.operators[3].fusion_benefit is None
    cost = CHAIN[0].cost
    lonely = annotated([Part("matmul", "g0", 8, cost, cost), Part("reshape", "g0", 0, Cost(), Cost())])
    assert [op.is_fused for op in build_report(lonely, toy_target()).operators] == [False, False]


def test_names_speak_the_networks_language() -> None:
    report = build_report(annotated(renamed(CHAIN, "layer1.0.conv1")), toy_target())
    assert report.subgraphs[0].name == "layer1.0.conv1 + add + relu"
    many = [Part("relu", "g0", 1, Cost(), Cost()) for _ in range(7)]
    assert build_report(annotated(many), toy_target()).subgraphs[0].name == "relu_0 + relu + relu + relu + 3 more"


def test_coverage_counts_what_is_not_known() -> None:
    cost = CHAIN[3].cost
    parts = [
        *CHAIN,
        Part("unknown", "g2", 0, cost, cost, source_type="my.domain.Fancy"),
        Part("relu", "g3", 1, cost, cost, exact=False),
    ]
    coverage = build_report(annotated(parts), toy_target()).coverage
    assert (coverage.operators_total, coverage.operators_modelled) == (6, 4)
    assert [(u.operator_type, u.count, u.domain) for u in coverage.unknown] == [("Fancy", 1, "my.domain")]
    assert coverage.notes[:3] == ("one note", "one remark", "a note of the target")
    assert "1 operators have a dimension that depends on data" in coverage.notes[3]


def test_a_graph_without_operators_is_all_zeros() -> None:
    report = build_report(annotated([]), toy_target())
    assert (report.energy_j, report.edp_js, report.totals.average_power_w) == (0.0, 0.0, 0.0)
    assert json.loads(report.to_json())["subgraphs"] == []


def test_refuses_a_graph_the_pipeline_left_bare() -> None:
    graph = annotated()
    graph.estimate = None
    with pytest.raises(UsageError, match="no costs on the graph"):
        build_report(graph, toy_target())
    graph = annotated()
    graph.annotate("add_1", share=None)
    with pytest.raises(UsageError, match="operator %add_1 without"):
        build_report(graph, toy_target())
    graph = annotated()
    graph.groups = [replace(group, kernel=None) for group in graph.groups]
    with pytest.raises(UsageError, match="group g0 without a cost"):
        build_report(graph, toy_target())


def test_refuses_what_would_not_add_up() -> None:
    graph = annotated()
    graph.annotate("add_1", cost=Cost(dram_j=math.nan))
    with pytest.raises(VerifyError, match="cost of operator %add_1 is not finite"):
        build_report(graph, toy_target())
    graph = annotated()
    graph.groups = graph.groups[:1]
    with pytest.raises(VerifyError, match="%transpose_3 of @chain stands in no group"):
        build_report(graph, toy_target())


def test_names_that_cannot_be_encoded_are_escaped() -> None:
    report = build_report(annotated(renamed(CHAIN, "bad\udc80name")), toy_target())
    assert report.operators[0].source_name == "bad\\udc80name"


def test_totals_and_model(report: Report) -> None:
    assert (report.totals.dram_accesses, report.totals.launches) == (4, 2)
    assert (report.fusion.separate.dram_accesses, report.fusion.separate.launches) == (8, 4)
    assert report.totals.dram_bytes == 4096 + 256 + 512
    assert report.totals.average_power_w == pytest.approx(report.energy_j / report.latency_s)
    assert (report.model.flops, report.model.num_operators, report.model.parameters) == (2048 + 64 + 64, 4, 64)
    assert [(i.name, i.shape, i.dtype) for i in report.model.inputs] == [("x", (8, 8), "fp32")]
    # g0: 2176 FLOPs over 4352 B of DRAM.
    assert report.subgraphs[0].arithmetic_intensity == 0.5


def test_a_model_is_called_like_its_file() -> None:
    graph = annotated(name="main_graph")
    graph.info = replace(graph.info, source="nets/bert.onnx")
    assert build_report(graph, toy_target()).model.name == "bert"
    graph.info = replace(graph.info, source="<stdin>")
    assert build_report(graph, toy_target()).model.name == "main_graph"


def test_same_graph_same_bytes() -> None:
    assert build_report(annotated(), toy_target()).to_json() == build_report(annotated(), toy_target()).to_json()


def test_comparison_puts_totals_side_by_side(report: Report) -> None:
    half = [replace(part, cost=replace(part.cost, compute_j=0.0)) for part in CHAIN]
    other = build_report(annotated(half), toy_target("thrifty"))
    comparison = build_comparison([report, other])
    assert [row.target for row in comparison.rows] == ["toy", "thrifty"]
    assert comparison.rows[0].edp_ratio == 1.0
    assert comparison.rows[1].edp_ratio == other.edp_js / report.edp_js < 1
    assert comparison.lowest_edp == 1
    assert comparison.to_dict()["schema"] == "edpc/comparison-v1"
    with pytest.raises(UsageError, match="at least one"):
        build_comparison([])


def test_keeps_the_graph_out_of_the_json(report: Report) -> None:
    assert isinstance(report.graph, Graph)
    assert "graph" not in report.to_dict()
