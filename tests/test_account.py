"""What fusion saved and would have saved, by cause; modifiers put to the test; `edpc explain` and `--explain`."""

from __future__ import annotations

import json
import math
from dataclasses import fields, replace
from pathlib import Path

import pytest

from edpc import api
from edpc.errors import UsageError
from edpc.ir import Cost, Graph
from edpc.machine.annotate import annotate
from edpc.report import Report, build_report
from edpc.report.account import build_account
from edpc.report.refused import refused_fusions
from edpc.target import Rule, Target
from passes.attribute_edp import AttributeEdp
from tests.command_line import edpc, refused
from tests.machine_graphs import Net

MODELS = Path(__file__).parent / "models"
TARGETS = ("h100", "kpu", "tpu", "cpu")
NETWORKS = ("linear_bias_relu", "quantized_cnn", "bert_tiny", "resnet18", "mobilenet_v2", "bert_base")
RESNET = str(MODELS / "resnet18.onnx")


def saved_in_parts(report: Report) -> None:
    """Saved is separate minus fused, and divides exactly over subgraphs and over causes."""
    fusion, saved = report.fusion, report.fusion.saved
    for name in ("energy_j", "latency_s", "edp_js", "dram_accesses", "launches", "dram_bytes"):
        before, after = getattr(fusion.separate, name), getattr(fusion.fused, name)
        assert getattr(saved, name) == before - after
        scale = 1e-9 * max(abs(before), abs(after))
        assert math.fsum(getattr(s.saved, name) for s in report.subgraphs) == pytest.approx(before - after, rel=0, abs=scale)
    causes = ("dram_energy", "static_energy", "launch_overhead", "other")
    scale = 1e-9 * max(fusion.separate.edp_js, fusion.fused.edp_js)
    for part in (saved, *(s.saved for s in report.subgraphs)):
        assert math.fsum(getattr(part.by_cause, c) for c in causes) == pytest.approx(part.edp_js, rel=0, abs=scale)
    for cause in causes:
        whole = getattr(saved.by_cause, cause)
        assert math.fsum(getattr(s.saved.by_cause, cause) for s in report.subgraphs) == pytest.approx(whole, rel=0, abs=scale)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("network", NETWORKS)
def test_saved_is_separate_minus_fused_by_cause_and_subgraph(network: str, target: str) -> None:
    path = str(MODELS / f"{network}.onnx")
    report = api.compile(path, target, batch=1)
    saved_in_parts(report)
    # The other way round: what `--fusion off` reports is what this report calls separate.
    apart = api.compile(path, target, batch=1, fusion=False)
    for name in ("energy_j", "latency_s", "edp_js"):
        assert getattr(apart.fusion.fused, name) == pytest.approx(getattr(report.fusion.separate, name), rel=1e-9)
    for name in ("dram_accesses", "launches"):
        assert getattr(apart.fusion.fused, name) == getattr(report.fusion.separate, name)


@pytest.mark.parametrize("target", TARGETS)
def test_linear_bias_relu_on_all_machines(target: str) -> None:
    # Separate: x, y; y, z; z, r are read and written: 3 reads and 3 writes, 3 launches. Fused: x is read, r is written, 1 launch.
    report = api.compile(str(MODELS / "linear_bias_relu.onnx"), target, batch=1)
    fusion = report.fusion
    assert (fusion.separate.dram_accesses, fusion.separate.launches) == (6, 3)
    assert (fusion.fused.dram_accesses, fusion.fused.launches) == (2, 1)
    assert (fusion.saved.dram_accesses, fusion.saved.launches) == (4, 2)
    cause = fusion.saved.by_cause
    assert cause.launch_overhead > 0
    assert cause.static_energy > 0
    assert fusion.saved.edp_js > 0
    one = report.subgraphs[0]
    assert (one.saved.dram_accesses, one.saved.launches) == (4, 2)
    assert one.saved.edp_js == pytest.approx(fusion.saved.edp_js, rel=1e-12)


# --- refused fusions ------------------------------------------------------------------------------------------


def two_readers() -> Graph:
    """relu(x w) is returned, and so is x w: its value is needed outside, which a rule may refuse."""
    net = Net()
    y = net.op("y", "matmul", [net.input("x", 256, 256), net.parameter("w", 256, 256)], 256, 256)
    return net.done(net.op("z", "relu", [y], 256, 256), y)


def compiled(graph: Graph, target: Target) -> Report:
    api.run(graph, target)
    return build_report(graph, target)


def test_a_refused_fusion_is_priced_as_the_rule_without_its_guard() -> None:
    target = api.configure("tpu")
    report = compiled(two_readers(), target)
    assert report.graph is not None
    found = refused_fusions(report.graph, target)
    each = next(r for r in found if r.guard == "single-use")
    assert (each.operator, set(each.merged), each.impossible) == ("z", {"y", "z"}, "")
    # The same by compiling for a machine whose rules have no such guard.
    lenient = replace(target, rules=tuple(without(rule, "single-use") for rule in target.rules))
    other = compiled(two_readers(), lenient)
    assert other.model.num_operators == report.model.num_operators
    assert len(other.subgraphs) == 1
    assert each.energy_j == pytest.approx(report.energy_j - other.energy_j, rel=1e-9)
    assert each.latency_s == pytest.approx(report.latency_s - other.latency_s, rel=1e-9)
    assert each.edp_js == pytest.approx(report.edp_js - other.edp_js, rel=1e-9)
    assert each.edp_js
    assert each.edp_js > 0


def without(rule: Rule, guard: str) -> Rule:
    stages = tuple(replace(s, guards=tuple(g for g in s.guards if g.name != guard)) for s in rule.stages)
    return replace(rule, guards=tuple(g for g in rule.guards if g.name != guard), stages=stages)


def test_what_the_graph_forbids_is_said_to_be_impossible() -> None:
    report = api.compile(RESNET, "h100", batch=1)
    assert report.graph is not None
    assert report.machine is not None
    found = refused_fusions(report.graph, report.machine)
    assert [each.guard for each in found] == ["single-use"] * 4
    for each in found:
        assert (each.edp_js, each.merged) == (None, ())
        assert each.impossible.startswith("then convex stops it: %")
        assert "waits for this group" in each.impossible


def test_a_merge_that_takes_part_of_a_group_leaves_the_rest() -> None:
    # Both matmuls' results are needed twice, so several merges touch neighbouring groups: each is priced on its own.
    net = Net()
    x = net.input("x", 64, 64)
    last = []
    for i in range(4):
        y = net.op(f"y{i}", "matmul", [x, net.parameter(f"w{i}", 64, 64)], 64, 64)
        x = net.op(f"z{i}", "relu", [y], 64, 64)
        last.append(y)
    target = api.configure("tpu")
    report = compiled(net.done(x, *last), target)
    assert report.graph is not None
    found = [each for each in refused_fusions(report.graph, target) if each.edp_js is not None]
    assert len(found) >= 4
    alike = {round(each.latency_s or 0.0, 15) for each in found if len(each.merged) == 2}
    assert len(alike) <= 2  # but for what the cache holds, all layers save the same


def test_a_report_from_a_file_has_no_account() -> None:
    import msgspec

    report = api.compile(RESNET, "tpu", batch=1)
    with pytest.raises(UsageError, match="holds no graph"):
        build_account(msgspec.json.decode(report.to_json(), type=Report))


# --- modifiers ------------------------------------------------------------------------------------------------


def test_modifiers_are_confronted_by_type_and_state() -> None:
    report = api.compile(RESNET, "kpu", batch=1)
    rows = {(row.operator_type, row.is_fused): row for row in build_account(report).modifiers}
    relu = rows["relu", True]
    ops = [op for op in report.operators if op.operator_type == "relu"]
    assert (relu.count, relu.declared, relu.declared_dearer_alone) == (17, 0.05, 20.0)
    assert relu.modelled == pytest.approx(sum(op.event_edp for op in ops) / sum(op.base_edp for op in ops))
    assert relu.dearer_alone
    assert relu.dearer_alone > 1
    alone = rows["matmul", False]
    assert (alone.count, alone.declared, alone.modelled, alone.dearer_alone) == (1, 1.0, 1.0, None)
    assert sum(row.count for row in rows.values()) == report.model.num_operators


def test_dearer_alone_by_hand() -> None:
    # Two operators in one kernel of 1 J and 1 s each; alone 2 J and 3 s each. Fused: E = T = 2, share (1*2 + 1*2)/2 = 2.
    # Separate: E = 4, T = 6, share (2*6 + 3*4)/2 = 12: six times as dear.
    net = Net()
    y = net.op("a", "relu", [net.input("x", 8)], 8)
    graph = net.done(net.op("b", "relu", [y], 8))
    target = api.configure("tpu")
    api.run(graph, target)
    annotate(graph, target)
    cost, alone = Cost(compute_s=1.0, compute_j=1.0), Cost(compute_s=3.0, compute_j=2.0)
    for name in ("a", "b"):
        kernel = graph.op(name).separate
        assert kernel is not None
        graph.annotate(name, cost=cost, separate=replace(kernel, cost=alone))
    both = Cost(*(2 * getattr(cost, f.name) for f in fields(Cost)))
    graph.groups = [replace(g, kernel=replace(g.kernel, cost=both)) for g in graph.groups if g.kernel]
    assert len(graph.groups) == 1
    from edpc.pipeline.base import PassContext

    AttributeEdp().run(graph, PassContext(target))
    (row,) = build_account(build_report(graph, target)).modifiers
    assert row.dearer_alone == pytest.approx(6.0)


# --- the command line -----------------------------------------------------------------------------------------


def test_edpc_explain_prints_everything() -> None:
    done = edpc("explain", RESNET, "--batch", "1", "--target", "kpu", "--top", "3")
    assert done.exit_code == 0, done.stderr
    for words in (
        "resnet18 on kpu, explained",
        "What fusion saved, by cause (first 3 of 21 subgraphs)",
        "Refused fusions (first 3 of 5)",
        "then convex stops it",
        "Declared and modelled architectural modifiers",
        "Elasticities: per cent by which totals change",
        "matrix.fp32.energy",
    ):
        assert words in done.stdout, words


def test_edpc_explain_as_json() -> None:
    done = edpc("explain", RESNET, "--batch", "1", "--target", "kpu", "--emit", "json")
    account = json.loads(done.stdout)
    assert account["schema"] == "edpc/explain-v1"
    assert account["report"]["schema"] == "edpc/report-v1"
    assert len(account["refused"]) == 5
    assert account["elasticities"][:12] == account["report"]["elasticities"]
    assert len(account["elasticities"]) > 12
    several = json.loads(edpc("explain", RESNET, "--batch", "1", "--target", "kpu,tpu", "--emit", "json").stdout)
    assert [a["report"]["target"]["name"] for a in several] == ["kpu", "tpu"]


def test_nothing_refused_is_said() -> None:
    done = edpc("explain", str(MODELS / "linear_bias_relu.onnx"), "--batch", "1", "--target", "kpu")
    assert "none: no rule stopped short of an operator" in done.stdout


def test_explain_implies_its_two_targets() -> None:
    done = edpc(RESNET, "--batch", "1", "--explain", "h100,kpu", "--emit", "json")
    made = json.loads(done.stdout)
    assert [row["target"] for row in made["rows"]] == ["h100", "kpu"]
    why = made["explain"]
    assert (why["first"], why["second"]) == ("h100", "kpu")
    assert math.prod(p["factor"] for p in why["parts"]) == pytest.approx(
        made["rows"][0]["edp_js"] / made["rows"][1]["edp_js"], 1e-9
    )


def test_explain_picks_two_of_several_targets() -> None:
    done = edpc(RESNET, "--batch", "1", "--target", "all", "--explain", "cpu,tpu")
    assert done.exit_code == 0
    assert "Why: EDP of cpu over EDP of tpu, by cause" in done.stdout
    assert "  fusion " in done.stdout
    default = edpc(RESNET, "--batch", "1", "--target", "all")
    assert "Why: EDP of tpu over EDP of kpu, by cause" in default.stdout


def test_explain_refuses_what_makes_no_sense() -> None:
    refused(edpc(RESNET, "--batch", "1", "--explain", "h100"), 2, "name two different targets")
    refused(edpc(RESNET, "--batch", "1", "--explain", "h100,h100"), 2, "name two different targets")
    refused(edpc(RESNET, "--batch", "1", "--explain", "h100,nope"), 2, "no target 'nope'")
    refused(edpc(RESNET, "--batch", "1", "--target", "h100,tpu", "--explain", "h100,kpu"), 2, "'kpu' is not among the targets")


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("network", ["resnet18", "bert_base", "mobilenet_v2"])
def test_one_screen_answers(network: str, target: str) -> None:
    text = edpc(str(MODELS / f"{network}.onnx"), "--batch", "1", "--target", target).stdout.splitlines()
    screen = text[:50]
    end = next(i for i, line in enumerate(text) if line.startswith("Energy and latency by component"))
    assert end <= 50
    assert sum(line.lstrip().split(" ")[0].isdigit() and "%" in line for line in screen) >= 10  # ten subgraphs with their shares
    for words in (" of the EDP; ", "less latency in the top", "Fusion lowers the EDP by", "In 90 % of draws"):
        assert any(words in line for line in screen), words


def test_the_comparison_of_all_fits_one_screen_and_answers() -> None:
    lines = edpc(RESNET, "--batch", "1", "--target", "all").stdout.splitlines()
    end = next(i for i, line in enumerate(lines) if line.startswith("resnet18 on h100"))
    assert end <= 62  # with ten operators side by side; what answers is on the first screen
    screen = "\n".join(lines[:50])
    for words in ("(lowest EDP)", "has the lowest EDP", "of draws", "of the EDP; the top 3", "Why: EDP of", "saved by fusion"):
        assert words in screen, words
