"""Findings: each sentence is computed from the network and the machine at hand, and changes with them."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from edpc import api
from edpc.ir import Graph
from edpc.report import Finding, Report, build_report
from edpc.report.records import Metric
from edpc.target import Target
from tests.chain_model import stranger
from tests.hand_made import CHAIN, annotated, toy_target
from tests.machine_graphs import Net

MODELS = Path(__file__).parent / "models"


def finding(report: Report, name: str) -> Finding:
    return next(f for f in report.findings if f.name == name)


def said(report: Report, name: str) -> str:
    return finding(report, name).sentence


def has(report: Report, name: str) -> bool:
    return any(f.name == name for f in report.findings)


def network(name: str, target: str | Target, **options: object) -> Report:
    return api.compile(str(MODELS / f"{name}.onnx"), target, batch=options.pop("batch", 1), **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def resnet() -> Report:
    return network("resnet18", "h100")


def test_the_figures_of_a_sentence_are_in_it(resnet: Report) -> None:
    dominates = finding(resnet, "dominates")
    assert f"take {100 * float(dominates.figures['type_fraction']):.1f} % of the EDP" in dominates.sentence
    assert f"{100 * float(finding(resnet, 'fusion').figures['edp_reduction']):.1f} %" in said(resnet, "fusion")
    assert f"{100 * float(finding(resnet, 'faster').figures['reduction']):.1f} %." in said(resnet, "faster")


def test_every_finding_is_a_sentence(resnet: Report) -> None:
    for each in resnet.findings:
        assert re.fullmatch(r"[A-Z0-9].*\.", each.sentence), each.sentence
        assert each.figures


# --- what dominates -------------------------------------------------------------------------------------------


def test_what_dominates_follows_the_network(resnet: Report) -> None:
    assert said(resnet, "dominates").startswith("20 conv operators take ")
    share = sum(s.edp_fraction for s in sorted(resnet.subgraphs, key=lambda s: -s.edp_fraction)[:3])
    assert f"the top 3 of 23 subgraphs take {100 * share:.1f} %, first layer4/0/conv2" in said(resnet, "dominates")
    assert said(network("bert_tiny", "h100"), "dominates").split(" operator")[0].endswith("matmul")


def test_a_layer_that_repeats_is_weighed_as_a_whole() -> None:
    report = network("bert_base", "h100", precision="bf16")
    projections = ("/attention/query/MatMul", "/attention/key/MatMul", "/attention/value/MatMul")
    alike = [s for s in report.subgraphs if any(name in s.name for name in projections)]
    share = sum(s.edp_fraction for s in alike)
    assert len(alike) == 36
    sentence = said(report, "dominates")
    assert f"36 of {len(report.subgraphs)} subgraphs, all like encoder/0/attention/query/MatMul + bias" in sentence
    assert sentence.endswith(f" take {100 * share:.1f} %.")


def test_what_dominates_follows_the_metric() -> None:
    # By hand: g0 takes 18.1 nJ and 3.2 us, g1 6.5 nJ and 4 us.
    def report(metric: Metric) -> Report:
        return build_report(annotated(), toy_target(), metric=metric)

    assert finding(report("energy"), "dominates").figures["first"] == "g0"
    assert "of the energy" in said(report("energy"), "dominates")
    assert finding(report("latency"), "dominates").figures["first"] == "g1"
    assert finding(report("latency"), "dominates").figures["type_fraction"] == pytest.approx(4 / 7.2)


def test_a_long_name_is_cut() -> None:
    parts = [replace(CHAIN[0], name="x" * 200), *CHAIN[1:]]
    assert "x" * 45 + "..." in said(build_report(annotated(parts), toy_target()), "dominates")


# --- what less latency would do -------------------------------------------------------------------------------


def test_less_latency_lowers_the_edp_as_a_machine_that_is_faster_there_would() -> None:
    # A single kernel bound by bandwidth whose static power is all: ten per cent off T is ten off E too: 1 - 0.9^2 = 19 %.
    free = ["lpddr5.read_energy=0", "lpddr5.write_energy=0", "setup.time=0s", "program.time=0s", "program.energy=0"]
    energies = [f"{key}=0" for key in api.configure("kpu").quantities() if key.endswith((".energy", "_energy"))]
    report = network("linear_bias_relu", "kpu", set=[*free, *energies])
    assert report.totals.energy_by_component.static == pytest.approx(report.energy_j)
    assert said(report, "faster") == "10 % less latency in the top subgraph lowers the EDP by 19.0 %."


def test_less_latency_leaves_the_energy_of_a_machine_without_static_power() -> None:
    for metric, lowered in (("edp", 0.1), ("energy", 0.0), ("latency", 0.1), ("ed2p", 0.19)):
        report = network("linear_bias_relu", "kpu", set=["static_power=0"], metric=metric)
        assert finding(report, "faster").figures["reduction"] == pytest.approx(lowered)


# --- what binds -----------------------------------------------------------------------------------------------


def test_what_binds_follows_the_machine() -> None:
    path = "resnet18"
    assert "Arithmetic binds" in said(network(path, "kpu"), "bound")
    assert "Memory traffic binds" in said(network(path, "kpu", set=["lpddr5.bandwidth=1GB/s"]), "bound")
    slow = network("linear_bias_relu", "kpu", set=["program.time=1ms"])
    assert said(slow, "bound").startswith("Launches and set-up take")
    assert not has(slow, "overhead")  # said already


def test_shapes_that_do_not_fill_the_machine_are_named() -> None:
    assert "shapes that do not fill the machine" in said(network("resnet18", "h100"), "bound")
    assert "shapes that do not fill" not in said(network("resnet18", "kpu"), "bound")


# --- where energy goes ----------------------------------------------------------------------------------------


def test_static_power_is_an_identity_only_where_memory_binds() -> None:
    report = network("resnet18", "tpu")
    target = api.configure("tpu")
    memory = next(m for m in target.memories if m.role == "dram")
    identity = target.static_power.value / (target.static_power.value + memory.bandwidth.value * memory.read_energy.value)
    assert f"P_static/(P_static + bandwidth * energy per byte) = {100 * identity:.1f} %" in said(report, "energy")
    assert "Static power takes" in said(network("resnet18", "h100"), "energy")
    assert "P_static" not in said(network("resnet18", "h100"), "energy")


def test_where_energy_goes_follows_the_machine() -> None:
    assert "Arithmetic takes" in said(network("resnet18", "kpu"), "energy")
    assert "DRAM traffic takes" in said(network("resnet18", "kpu", set=["lpddr5.write_energy=10nJ/B"]), "energy")
    assert "Power that clocked units draw while kernels run takes" in said(
        network("resnet18", "h100", set=["static_power=1W"]), "energy"
    )
    assert "Launching kernels takes" in said(network("resnet18", "kpu", set=["program.energy=1J"]), "energy")
    assert "On-chip traffic takes" in said(network("resnet18", "kpu", set=["l2.read_energy=100pJ/B"]), "energy")


# --- fusion ---------------------------------------------------------------------------------------------------


def test_what_fusion_saved_is_counted(resnet: Report) -> None:
    fusion = resnet.fusion
    sentence = said(resnet, "fusion")
    assert f"{fusion.separate.launches} launches become {fusion.fused.launches}" in sentence
    assert f"{fusion.separate.dram_accesses} DRAM tensor accesses {fusion.fused.dram_accesses}" in sentence
    assert f"({fusion.separate.edp_js / fusion.fused.edp_js:.3g} times less" in sentence
    assert finding(resnet, "fusion").figures["cause"] == "launch_overhead"
    free = network("resnet18", "kpu", set=["program.time=0s", "setup.time=0s"])
    assert finding(free, "fusion").figures["cause"] != "launch_overhead"


def test_nothing_fused_is_said() -> None:
    report = network("resnet18", "kpu", fusion=False)
    assert said(report, "fusion") == "Nothing is fused: 68 launches, 144 DRAM accesses."


def test_fusion_that_costs_is_said() -> None:
    dear = [replace(part, cost=replace(part.cost, compute_s=1.0)) for part in CHAIN]
    assert said(build_report(annotated(dear), toy_target()), "fusion").startswith("Fusion raises the EDP by ")


# --- overhead, precision, coverage ----------------------------------------------------------------------------


def test_overhead_is_said_where_it_is_much() -> None:
    report = network("resnet18", "h100")
    share = report.totals.latency_by_component.overhead / report.latency_s
    assert f"Launches and set-up take {100 * share:.1f} % of the time: 23 launches of" in said(report, "overhead")
    assert said(report, "overhead").endswith("with launch=graph.")
    assert "launch=eager" in said(network("resnet18", "h100", batch=64, set=["launch=eager"]), "overhead")
    assert not has(network("resnet18", "kpu", set=["program.time=0s"]), "overhead")


def test_a_faster_format_is_named_where_arithmetic_binds() -> None:
    target = api.configure("kpu")
    rates = next(unit.rate for unit in target.units if unit.name == "matrix")
    times = rates["int8"].value / rates["fp32"].value
    assert f"kpu has {times:.3g} times that in int8" in said(network("resnet18", "kpu"), "precision")
    assert not has(network("resnet18", "kpu", precision="int8"), "precision")
    assert not has(network("resnet18", "tpu"), "precision")  # memory binds


def test_a_power_limit_is_said_where_it_holds_kernels_back() -> None:
    report = network("resnet18", "kpu")
    held = [s for s in report.subgraphs if any(note.startswith("power-limited") for note in s.notes)]
    share = sum(s.latency_fraction for s in held)
    assert f"holds {len(held)} of 21 subgraphs back, which take {100 * share:.1f} % of the time" in said(report, "power")
    assert not has(network("resnet18", "kpu", set=["tdp.default=1kW"]), "power")
    capped = network("bert_base", "h200", batch=64, precision="bf16")
    assert "power-capped, clock fraction" in said(capped, "power")
    assert not has(network("bert_base", "h200"), "power")


def test_padding_is_said_where_shapes_do_not_fill_tiles() -> None:
    net = Net()
    graph = net.done(net.op("narrow", "relu", [net.input("x", 100_000, 3)], 100_000, 3))
    report = api.compile(graph, "tpu")
    assert said(report, "padding").startswith(
        "1 subgraph pads tensors to more than twice their size and takes 100.0 % of the time"
    )
    assert "narrow pads " in said(report, "padding")
    net = Net()
    assert not has(api.compile(net.done(net.op("wide", "relu", [net.input("x", 1024, 1024)], 1024, 1024)), "tpu"), "padding")


def test_unknown_operators_are_weighed() -> None:
    report = api.compile(stranger(), "kpu")
    share = next(op.event_edp for op in report.operators if op.operator_type == "my.domain.Fancy") / report.edp_js
    assert said(report, "unknown") == (
        f"1 operator of unknown type (my.domain.Fancy) takes {100 * share:.1f} % of the EDP, counted as data movement only."
    )
    assert not has(network("linear_bias_relu", "kpu"), "unknown")


# --- how sure -------------------------------------------------------------------------------------------------


def test_how_sure_follows_the_ranges() -> None:
    report = network("resnet18", "kpu")
    low, high = report.totals.interval.edp_js
    assert f"within a factor of {high / low:.3g}" in said(report, "sure")
    assert "100.0 % of its sensitivity rests on assumed constants, most on matrix.fp32.energy" in said(report, "sure")
    exact = network("resnet18", "kpu", set=["matrix.fp32.energy=1.35pJ/FLOP", "matrix.fp32.rate=15.67TFLOP/s"])
    narrow = finding(exact, "sure").figures
    assert float(narrow["high"]) / float(narrow["low"]) < high / low / 3


def test_a_machine_known_exactly_is_said_to_be() -> None:
    known = api.configure("kpu")
    for name, quantity in known.quantities().items():
        known = known.with_quantity(name, quantity.value, "taken as it stands")
    assert said(network("resnet18", known), "sure").startswith("No constant that the EDP depends on has a range")


def test_where_little_is_assumed_the_largest_of_all_is_named() -> None:
    report = network("resnet18", "tpu")
    assert report.totals.assumed_fraction < 0.05
    largest = report.elasticities[0]
    assert f"and most on {largest.basis} {largest.constant} (1 % more of it: EDP {largest.edp:+.2f} %)" in said(report, "sure")


# --- comparisons ----------------------------------------------------------------------------------------------


def test_a_comparison_says_which_is_lowest_how_sure_and_why() -> None:
    reports = [network("resnet18", target) for target in ("h100", "kpu", "tpu")]
    comparison = api.compare(reports)
    first, why = comparison.findings
    assert first.sentence.startswith(
        "kpu has the lowest EDP, 1.29 times below tpu, but within the constants' ranges it is below tpu in"
    )
    assert comparison.explain is not None
    assert why.sentence == comparison.explain.sentence
    cooler = [network("resnet18", "tpu", set=["static_power=1W"]), reports[1]]
    assert api.compare(cooler).findings[0].sentence.startswith("tpu has the lowest EDP")


def test_a_model_that_costs_nothing_has_no_findings() -> None:
    graph: Graph = annotated([])
    report = build_report(graph, toy_target())
    assert report.findings == ()
    assert api.compare([report, report]).findings == ()
