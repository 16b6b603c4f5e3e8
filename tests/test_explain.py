"""EDP ratios divide into causes: exactly, in no order, and the other way round when the machines change places."""

from __future__ import annotations

import json
import math
from dataclasses import fields
from itertools import combinations, permutations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edpc import api
from edpc.errors import UsageError
from edpc.machine.exchange import KernelColumns, kernel_columns
from edpc.machine.walk import walk
from edpc.registry import load_passes
from edpc.report import CAUSES, Report, build_report
from edpc.report.explain import explain, mixtures, shapley
from tests.hand_made import annotated, toy_target

MODELS = Path(__file__).parent / "models"
EXAMPLES = Path(__file__).parents[1] / "docs" / "examples"
TARGETS = ("h100", "kpu", "tpu", "cpu")
# GPT-2 stands for a decoder with a cache; it needs torch, which the ONNX files do not.
NETWORKS = ("linear_bias_relu", "quantized_cnn", "bert_tiny", "resnet18", "mobilenet_v2", "bert_base")


def compiled(network: str, precision: str | None = None) -> list[Report]:
    graph = api.load(str(MODELS / f"{network}.onnx"), batch=1)
    return [api.compile(graph, target, precision) for target in TARGETS]


FIGURE = st.floats(1e-3, 1e3)


@st.composite
def machines(draw: st.DrawFn, rows: int) -> KernelColumns:
    return KernelColumns(
        **{f.name: np.array(draw(st.lists(FIGURE, min_size=rows, max_size=rows))) for f in fields(KernelColumns)}
    )


@st.composite
def pairs(draw: st.DrawFn) -> tuple[tuple[KernelColumns, KernelColumns], tuple[KernelColumns, KernelColumns]]:
    """Two machines in the first one's groups and in the second's."""
    first, second = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    return (draw(machines(first)), draw(machines(first))), (draw(machines(second)), draw(machines(second)))


def edp_of(columns: KernelColumns) -> float:
    """Kernel by kernel, as its docstring says."""
    latency = [
        o + r * max(c, m)
        for o, r, c, m in zip(columns.overhead_s, columns.overlap, columns.compute_s, columns.memory_s, strict=True)
    ]
    events = (columns.compute_j, columns.on_chip_j, columns.dram_j, columns.overhead_j)
    energy = sum(float(column.sum()) for column in events) + sum(
        w * t for w, t in zip(columns.background_w, latency, strict=True)
    )
    return float(energy * sum(latency))


@settings(max_examples=60, deadline=None)
@given(pairs())
def test_the_parts_multiply_to_the_ratio_and_invert_with_the_machines(
    made: tuple[tuple[KernelColumns, KernelColumns], tuple[KernelColumns, KernelColumns]],
) -> None:
    own, other = made
    edp = mixtures(own, other)
    assert edp[(0,) * 8] == pytest.approx(edp_of(own[0]), rel=1e-12)
    assert edp[(1,) * 8] == pytest.approx(edp_of(other[1]), rel=1e-12)
    parts = shapley(np.log(edp))
    assert math.exp(math.fsum(parts)) == pytest.approx(edp_of(own[0]) / edp_of(other[1]), rel=1e-9)
    back = shapley(np.log(mixtures(other[::-1], own[::-1])))
    assert back == pytest.approx([-part for part in parts], abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 4).flatmap(lambda n: st.lists(st.floats(-10, 10), min_size=2**n, max_size=2**n)))
def test_a_part_is_the_mean_over_all_orders(values: list[float]) -> None:
    n = len(values).bit_length() - 1
    value = np.array(values).reshape((2,) * n)
    changes = [0.0] * n
    for order in permutations(range(n)):
        at = [1] * n
        for axis in order:
            before = value[tuple(at)]
            at[axis] = 0
            changes[axis] += float(value[tuple(at)] - before) / math.factorial(n)
    assert shapley(value) == pytest.approx(changes, abs=1e-9)


@settings(max_examples=30, deadline=None)
@given(pairs(), st.permutations(range(8)))
def test_the_order_of_the_causes_does_not_matter(
    made: tuple[tuple[KernelColumns, KernelColumns], tuple[KernelColumns, KernelColumns]], order: list[int]
) -> None:
    value = np.log(mixtures(*made))
    parts = shapley(value)
    assert shapley(value.transpose(order)) == pytest.approx([parts[axis] for axis in order], abs=1e-9)


@pytest.mark.parametrize("cause", CAUSES)
def test_a_difference_in_one_cause_is_charged_to_it_alone(cause: str) -> None:
    one = np.ones(2)
    base = {f.name: one for f in fields(KernelColumns)} | {"memory_s": 3 * one, "compute_s": 4 * one}
    column = {
        "peak_compute": "compute_s",
        "arithmetic_energy": "compute_j",
        "dram_bandwidth": "memory_s",
        "dram_energy": "dram_j",
        "on_chip_traffic": "on_chip_j",
        "static_power": "background_w",
        "launch_overhead": "overhead_s",
        "fusion": "overhead_s",
    }[cause]
    usual, dear = KernelColumns(**base), KernelColumns(**{**base, column: 10 * one})
    # Fusion: both machines are alike, and dear in the second's groups. Any other cause: the second is dear in all groups.
    edp = mixtures((usual, usual), (dear, dear)) if cause == "fusion" else mixtures((usual, dear), (usual, dear))
    parts = dict(zip(CAUSES, shapley(np.log(edp)), strict=True))
    assert parts.pop(cause) < -0.1
    assert list(parts.values()) == pytest.approx([0.0] * 7, abs=1e-12)


@pytest.mark.parametrize("network", NETWORKS)
def test_real_networks_on_every_pair_of_machines(network: str) -> None:
    for first, second in combinations(compiled(network), 2):
        why, back = explain(first, second), explain(second, first)
        assert math.prod(part.factor for part in why.parts) == pytest.approx(first.edp_js / second.edp_js, rel=1e-9)
        assert [part.cause for part in why.parts] == list(CAUSES)
        for part, inverse in zip(why.parts, back.parts, strict=True):
            assert part.factor * inverse.factor == pytest.approx(1.0, rel=1e-9)
        assert math.fsum(part.fraction or 0.0 for part in why.parts) == pytest.approx(1.0)


def test_operators_that_only_one_machine_runs_are_priced_there() -> None:
    graph, target = api.load(str(MODELS / "resnet18.onnx"), batch=1), api.configure("h100")
    second = api.compile(graph, "tpu")
    folding = "import-cleanup,fold-batch-norm,apply-precision,annotate-operators,fuse-operators,annotate-cost,attribute-edp"
    api.run(graph, target, pipeline=folding, passes=load_passes(EXAMPLES / "fold_batch_norm.py"))
    first = build_report(graph, target)
    assert first.model.num_operators < second.model.num_operators
    for one, other in ((first, second), (second, first)):
        parts = explain(one, other).parts
        assert math.prod(part.factor for part in parts) == pytest.approx(one.edp_js / other.edp_js, rel=1e-9)


def test_columns_in_the_machines_own_groups_are_its_report() -> None:
    for report in compiled("mobilenet_v2"):
        assert report.graph is not None
        assert report.machine is not None
        columns = kernel_columns(walk(report.graph), report.machine, report.graph.groups)
        assert edp_of(columns) == pytest.approx(report.edp_js, rel=1e-9)
        assert np.all((columns.overlap >= 1.0 - 1e-12) | (columns.overlap == 0.0))
        assert np.all(columns.overlap <= 2.0 + 1e-9)


def test_a_changed_constant_shows_under_its_cause() -> None:
    path = str(MODELS / "bert_tiny.onnx")
    for target, setting, cause in (
        ("kpu", "static_power=9W", "static_power"),
        ("kpu", "matrix.fp32.energy=5pJ/FLOP", "arithmetic_energy"),
        ("kpu", "program.time=50us", "launch_overhead"),
        ("tpu", "hbm.read_energy=70pJ/B", "dram_energy"),
        ("tpu", "hbm.bandwidth=50GB/s", "dram_bandwidth"),
    ):
        base = api.compile(path, target, batch=1)
        other = api.compile(path, target, batch=1, set=[setting])
        parts = {part.cause: part.factor for part in explain(other, base).parts}
        assert max(parts, key=parts.__getitem__) == cause, setting
        assert parts["fusion"] == pytest.approx(1.0)


def test_fusion_that_is_switched_off_is_the_cause() -> None:
    path = str(MODELS / "resnet18.onnx")
    fused, separate = api.compile(path, "tpu", batch=1), api.compile(path, "tpu", batch=1, fusion=False)
    why = explain(separate, fused)
    parts = {part.cause: part.factor for part in why.parts}
    assert parts.pop("fusion") == pytest.approx(separate.edp_js / fused.edp_js, rel=1e-9)
    assert list(parts.values()) == pytest.approx([1.0] * 7)


def test_the_sentence_names_what_makes_the_difference() -> None:
    h100, kpu, *_ = compiled("bert_base")
    why = explain(h100, kpu)
    said = why.sentence
    largest = max(why.parts, key=lambda part: part.factor)
    least = min(why.parts, key=lambda part: part.factor)
    assert largest.cause == "static_power"
    assert said.startswith(f"h100 needs {why.edp_ratio:.3g} times the EDP of kpu: static power makes {largest.factor:.3g} times")
    assert least.cause == "dram_bandwidth"
    assert f"; against that, DRAM bandwidth {1 / least.factor:.3g} times less" in said
    assert explain(kpu, h100).sentence == said


def test_a_comparison_keeps_the_pair_it_was_asked_to_explain(tmp_path: Path) -> None:
    comparison = api.compare(compiled("linear_bias_relu"), explain=("cpu", "h100"))
    assert comparison.explain is not None
    assert (comparison.explain.first, comparison.explain.second) == ("cpu", "h100")
    comparison.save(tmp_path / "c.json")
    assert json.loads((tmp_path / "c.json").read_text())["explain"] == comparison.to_dict()["explain"]
    with pytest.raises(UsageError, match="cannot explain 'gpu': there are reports for"):
        api.compare(compiled("linear_bias_relu"), explain=("cpu", "gpu"))


def test_refuses_what_it_cannot_explain() -> None:
    import msgspec

    report = compiled("linear_bias_relu")[0]
    read = msgspec.json.decode(report.to_json(), type=Report)
    with pytest.raises(UsageError, match="read from a file"):
        explain(read, report)
    with pytest.raises(UsageError, match="share no operator"):
        explain(report, build_report(annotated(), toy_target()))
