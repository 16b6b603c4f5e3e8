"""Elasticities against finite differences, intervals and odds against brute-force sampling."""

from __future__ import annotations

import math
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from edpc import api
from edpc.ir import Elasticity, Graph
from edpc.machine.build import build_table
from edpc.machine.catalogue import model_of
from edpc.machine.uncertainty import share_constants, totals
from edpc.report import Report
from edpc.report.compare import edp_below
from edpc.target import Target

MODELS = Path(__file__).parent / "models"
TARGETS = ("h100", "kpu", "tpu", "cpu")
STEP = 1e-3


def loaded(network: str) -> Graph:
    return api.load(str(MODELS / f"{network}.onnx"), batch=1)


def logarithms(graph: Graph, target: Target) -> tuple[float, float]:
    """ln energy and ln latency, compiled anew."""
    report = api.compile(graph, target)
    return math.log(report.energy_j), math.log(report.latency_s)


def slopes(graph: Graph, target: Target, constant: str) -> tuple[float, float]:
    """Central differences of the logarithms, by exchanging the constant as `--set` does."""
    quantity = target.quantities()[constant]
    ends = [
        logarithms(graph, api.configure(target, [f"{constant}={quantity.value * (1 + sign * STEP)!r}"])) for sign in (-1.0, 1.0)
    ]
    step = math.log((1 + STEP) / (1 - STEP))
    return (ends[1][0] - ends[0][0]) / step, (ends[1][1] - ends[0][1]) / step


def agrees(found: Elasticity, slope: tuple[float, float]) -> bool:
    pairs = ((found.energy, slope[0]), (found.latency, slope[1]), (found.edp, sum(slope)))
    return all(abs(ours - theirs) <= 0.01 * max(abs(theirs), 1e-3) for ours, theirs in pairs)


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_every_elasticity_is_the_finite_difference(target: str) -> None:
    graph, machine = loaded("linear_bias_relu"), api.configure(target)
    estimate = (api.compile(graph, machine).graph or graph).estimate
    assert estimate is not None
    assert any(e.edp for e in estimate.elasticities)
    wrong = [e for e in estimate.elasticities if not agrees(e, slopes(graph, machine, e.constant))]
    assert not wrong


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("network", ["resnet18", "bert_tiny"])
def test_the_elasticities_of_the_report_are_the_finite_differences(network: str, target: str) -> None:
    graph, machine = loaded(network), api.configure(target)
    report = api.compile(graph, machine)
    assert len(report.elasticities) == 12
    for e in report.elasticities:
        assert e.edp == e.energy + e.latency
        assert machine.quantities()[e.constant].value == e.value
        assert agrees(Elasticity(e.constant, e.basis, e.energy, e.latency), slopes(graph, machine, e.constant)), e


def test_elasticities_of_a_law_known_by_hand() -> None:
    # E = dynamic + P T: doubling every joule doubles E, so elasticities of energy to powers and energies per event sum to one;
    # likewise those of latency to times and, negated, to rates.
    for target in ("kpu", "tpu"):
        machine = api.configure(target, ["tdp.default=1MW"] if target == "kpu" else [])
        report = api.compile(loaded("resnet18"), machine)
        assert report.graph is not None
        assert report.graph.estimate is not None
        units = {name: q.unit for name, q in machine.quantities().items()}
        energy = sum(e.energy for e in report.graph.estimate.elasticities if units[e.constant] in ("W", "J", "J/B", "J/FLOP"))
        assert energy == pytest.approx(1.0, abs=1e-3)


def sampled(report: Report, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Energy and latency of machines drawn one constant after the other, by numpy's own triangles."""
    assert report.graph is not None
    assert report.machine is not None
    graph, target = report.graph, report.machine
    rng = np.random.default_rng(seed)
    roles = {memory.name: memory.role for memory in target.memories}
    constants = {}
    figures = np.array([[s.energy_j, s.latency_s] for s in report.subgraphs])
    _, kernels = np.unique(np.char.mod("%.9e", figures), axis=0, return_inverse=True)
    kernels = kernels.reshape(-1)
    for name, q in target.quantities().items():
        head, _, rest = name.partition(".")
        key = f"{roles[head]}.{rest}" if head in roles else name
        if q.range is None or q.range[0] == q.range[1]:
            continue
        low, high = q.range
        if key.endswith(".error"):
            # A model error: equal kernels share it; 5 % lie beyond each end of an exponential tail.
            chance = rng.random((count, kernels.max() + 1))
            side, tail = np.where(chance < 0.5, math.log(low), math.log(high)), 2 * np.minimum(chance, 1 - chance)
            drawn = np.exp(-side * np.log10(tail))[:, kernels]
        elif low > 0:
            drawn = np.exp(rng.triangular(math.log(low), math.log(q.value), math.log(high), (count, 1)))
        else:
            drawn = rng.triangular(low, q.value, high, (count, 1))
        constants[key] = drawn
    model = model_of(target)
    table = build_table(graph, graph.groups, target)
    return totals(model, table, target, {**target.constants(), **constants}, model.plan(table, target))


@pytest.mark.parametrize("network", ["linear_bias_relu", "resnet18"])
def test_odds_and_intervals_agree_with_brute_force(network: str) -> None:
    graph = loaded(network)
    reports = [api.compile(graph, target) for target in TARGETS]
    draws = [np.multiply(*sampled(report, 2000, number)) for number, report in enumerate(reports)]
    for report, drawn in zip(reports, draws, strict=True):
        # The ends of a 90 % interval leave 5 % on either side; the nominal value is always inside.
        low, high = report.totals.interval.edp_js
        assert np.mean(drawn < low) <= 0.05 + 0.04
        assert np.mean(drawn > high) <= 0.05 + 0.04
        assert np.mean((drawn > low) & (drawn < high)) <= 0.90 + 0.07 or low == report.edp_js or high == report.edp_js
    for (i, first), (j, second) in combinations(enumerate(reports), 2):
        odds = edp_below(first, second)
        assert odds is not None
        assert odds == pytest.approx(float(np.mean(draws[i] < draws[j])), abs=0.06)
        assert edp_below(second, first) == pytest.approx(1.0 - odds)


def test_a_constant_of_two_targets_is_one_unknown() -> None:
    # Twice the work on the same unbuilt machine is dearer whatever the machine will be, although its EDP is known within a factor
    # of 40: drawn independently, it would be cheaper in a good part of the draws.
    path = str(MODELS / "resnet18.onnx")
    one, two = (api.compile(path, "kpu", batch=batch) for batch in (1, 2))
    assert edp_below(one, two) == 1.0
    assert one.machine is not None
    assert two.machine is not None
    assert share_constants(one.machine, two.machine)
    assert not share_constants(one.machine, api.configure("tpu"))
    assert share_constants(api.configure("h100"), api.configure("h200"))


def test_odds_of_equals_are_even_and_of_known_machines_certain() -> None:
    report = api.compile(loaded("linear_bias_relu"), "kpu")
    assert edp_below(report, report) == 0.5
    path, known = str(MODELS / "resnet18.onnx"), api.configure("kpu")
    for name, quantity in known.quantities().items():
        known = known.with_quantity(name, quantity.value, "taken as it stands")
    one, two = (api.compile(path, known, batch=batch) for batch in (1, 2))
    assert one.totals.interval.edp_js == pytest.approx((one.edp_js, one.edp_js), rel=1e-12)  # no constant of it is uncertain
    assert (edp_below(one, two), edp_below(two, one)) == (1.0, 0.0)


def test_a_report_from_a_file_has_no_odds() -> None:
    import msgspec

    report = api.compile(loaded("linear_bias_relu"), "kpu")
    read = msgspec.json.decode(report.to_json(), type=Report)
    assert edp_below(read, report) is None
    comparison = api.compare([read, report])
    assert comparison.edp_below == ((None, None), (None, None))
    assert comparison.explain is None
    assert "of draws" not in comparison.findings[0].sentence


def test_an_integer_constant_is_nudged_and_drawn_like_any_other() -> None:
    report = api.compile(loaded("resnet18"), "h100")
    assert isinstance(report.machine.static_power.value, int) if report.machine else False
    power = next(e for e in report.elasticities if e.constant == "static_power")
    assert power.energy == pytest.approx(report.totals.energy_by_component.static / report.energy_j, rel=1e-3)
