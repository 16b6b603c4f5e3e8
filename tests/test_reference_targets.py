"""The reference targets reproduce what a single-roofline estimator of 2025 published, and stand apart from the machines.

The published figures (ResNet-18, batch 1, fp32, no fusion): E = F*e_flop + B*e_byte + P*T with F = 3.6436 GFLOP and
B = 116.95 MB. Of F, 3.6281 GFLOP are 2 x 1,814,073,344 MACs. The rest is 5 x 2,483,712 (batch norm) + 2,308,096 (ReLU) +
752,640 (addition) = 15.479 M: they counted five operations per normalised element and nothing for pooling. edpc counts two, the
folded form, and 8 comparisons per window of the maximum: 9.660 M. F differs by 0.16 %, which moves no figure by 0.05 %.
"""

from __future__ import annotations

from itertools import accumulate
from pathlib import Path

import pytest

import edpc
from edpc.cli.run import ALL_TARGETS
from edpc.registry import find_target, target_names
from edpc.report import Report
from tests.command_line import edpc as run

RESNET = Path(__file__).parent / "models" / "resnet18.onnx"
REFERENCES = ("ref-h100-2025", "ref-kpu-2025")


def resnet(target: str, **options: bool) -> Report:
    return edpc.compile(RESNET, target=target, batch=1, **options)


def standalone(report: Report) -> list[tuple[float, str]]:
    """Share of the summed standalone EDP and name of every subgraph, largest first, equal ones by name."""
    total = sum(each.standalone_edp_js for each in report.subgraphs)
    return sorted(((each.standalone_edp_js / total, each.name) for each in report.subgraphs), key=lambda s: (-s[0], s[1]))


def reaching(report: Report, part: float) -> int:
    """How many subgraphs make up that part of the summed standalone EDP."""
    return next(n for n, sum_ in enumerate(accumulate(share for share, _ in standalone(report)), 1) if sum_ >= part)


@pytest.mark.parametrize(
    ("target", "energy_mj", "latency_us", "edp_njs"),
    [("ref-kpu-2025", 5.764, 461.04, 2657.3), ("ref-h100-2025", 48.887, 431.50, 21094.0)],
)
def test_resnet18_is_as_published(target: str, energy_mj: float, latency_us: float, edp_njs: float) -> None:
    report = resnet(target, fusion=False)
    assert report.energy_j * 1e3 == pytest.approx(energy_mj, rel=1e-3)
    assert report.latency_s * 1e6 == pytest.approx(latency_us, rel=1e-3)
    assert report.edp_js * 1e9 == pytest.approx(edp_njs, rel=1e-3)
    assert report.model.num_operators == 69  # theirs and the flattening view, which costs nothing
    assert report.totals.launches == 68
    assert report.totals.dram_bytes / 1e6 == pytest.approx(116.95, abs=0.005)
    assert report.model.flops / 1e9 == pytest.approx(3.6436, rel=2e-3)
    assert report.totals.energy_by_component.on_chip == 0.0
    assert report.totals.interval.edp_js == pytest.approx((report.edp_js, report.edp_js))  # a definition is exact


@pytest.mark.parametrize("target", REFERENCES)
def test_the_block_is_the_same_network(target: str) -> None:
    pytest.importorskip("torch")
    block, file = edpc.compile("block:resnet18", target=target, fusion=False), resnet(target, fusion=False)
    assert block.totals.launches == file.totals.launches == 68
    for got, published in zip(
        (block.energy_j, block.latency_s, block.edp_js), (file.energy_j, file.latency_s, file.edp_js), strict=True
    ):
        assert got == pytest.approx(published, rel=1e-4)
    assert [share for share, _ in standalone(block)] == pytest.approx([share for share, _ in standalone(file)], abs=1e-5)
    assert [reaching(block, part) for part in (0.5, 0.8, 0.9)] == [reaching(file, part) for part in (0.5, 0.8, 0.9)]


def test_the_difference_in_flops_is_batch_norm_and_pooling() -> None:
    report = resnet("ref-kpu-2025", fusion=False)
    flops = {kind: sum(o.flops for o in report.operators if o.operator_type == kind) for kind in ("batch_norm", "max_pool")}
    pooled = flops["max_pool"] + 512 * 7 * 7
    theirs = report.model.flops - flops["batch_norm"] - pooled + 5 * flops["batch_norm"] // 2
    assert theirs / 1e9 == pytest.approx(3.6436, abs=5e-5)


def test_standalone_ranking_on_the_kpu_is_as_published() -> None:
    report = resnet("ref-kpu-2025", fusion=False)
    first = standalone(report)[:3]
    assert {name for _, name in first} == {"layer4/0/conv2", "layer4/1/conv1", "layer4/1/conv2"}
    assert [share for share, _ in first] == pytest.approx([0.179] * 3, abs=5e-4)
    assert [reaching(report, part) for part in (0.5, 0.8, 0.9)] == [3, 9, 18]
    conv = next(each for each in report.subgraphs if each.name == "layer4/0/conv2")
    # 4 x (512*7*7 read + 512*512*9 weights + 512*7*7 written) = 9.638 MB, at 256 GB/s 37.65 us; 465.66 uJ.
    assert conv.latency_s == pytest.approx(4 * (2 * 512 * 49 + 512 * 512 * 9) / 256e9)
    assert conv.energy_j == pytest.approx(465.66e-6, rel=1e-3)
    parts = [part / conv.edp_js for part in (conv.compute_edp, conv.memory_edp, conv.static_edp)]
    assert parts == pytest.approx([0.045, 0.228, 0.728], abs=1e-3)
    assert sum(each.standalone_edp_js for each in report.subgraphs) * 1e9 == pytest.approx(97.98, abs=0.01)


def test_standalone_ranking_on_the_h100_is_as_published() -> None:
    report = resnet("ref-h100-2025", fusion=False)
    assert standalone(report)[0] == (pytest.approx(0.038, abs=5e-4), "layer4/0/conv2")
    assert sum(each.standalone_edp_js for each in report.subgraphs) * 1e9 == pytest.approx(334.2, abs=0.1)


@pytest.mark.parametrize("name", REFERENCES)
def test_a_reference_fuses_nothing_and_serves_fp32_only(name: str) -> None:
    assert find_target(name).reference
    assert resnet(name).edp_js == resnet(name, fusion=False).edp_js
    low = edpc.compile(RESNET, target=name, batch=1, precision="bf16")
    assert low.target.precision == "fp32"
    assert any("not native" in note for note in low.coverage.notes)
    assert any("historical reference" in note for note in low.coverage.notes)


def test_references_are_listed_apart_and_are_not_among_all() -> None:
    machines, title, references = run("targets").stdout.partition("Historical references, not models of machines")
    assert title
    for name in target_names():
        assert (f"\n  {name} " in references) == (name in REFERENCES) == find_target(name).reference
        assert (f"\n  {name} " in machines) == (name not in REFERENCES)
    assert all("historical reference" in find_target(name).summary for name in REFERENCES)
    assert not set(ALL_TARGETS) & set(REFERENCES)


# --- building blocks -------------------------------------------------------------------------------------------


def shares(block: str) -> dict[str, list[float]]:
    """Percent of the summed standalone EDP by kind of operator, in order; every operator by itself."""
    pytest.importorskip("torch")
    report = edpc.compile(f"block:{block}", target="ref-kpu-2025", fusion=False)
    total = sum(each.standalone_edp_js for each in report.subgraphs)
    alone = {each.id: 100.0 * each.standalone_edp_js / total for each in report.subgraphs}
    found: dict[str, list[float]] = {}
    for operator in report.operators:
        found.setdefault(operator.operator_type, []).append(alone[operator.subgraph_id])
    return found


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        # fc1 moves 4 x (128 + 128*256 + 256 + 256) B = 133.6 kB, fc2 67.1 kB: (133.6 / 67.1)^2 = 3.97 = 79.9 / 20.1
        ("mlp", {"matmul": [79.9, 20.1], "relu": [0.0]}),
        ("conv2d", {"conv": [15.8], "batch_norm": [42.2], "relu": [42.0]}),
        ("resnet-block", {"conv": [19.5, 19.5], "batch_norm": [9.8, 9.8], "relu": [9.7, 9.7], "add": [21.9]}),
    ],
)
def test_block_shares_are_as_published(block: str, expected: dict[str, list[float]]) -> None:
    found = shares(block)
    assert found.keys() == expected.keys()
    for kind, percent in expected.items():
        assert found[kind] == pytest.approx(percent, abs=0.1), kind


def test_attention_is_no_longer_invisible() -> None:
    # The published table had four equal projections and nothing else. Their bytes are most of it still, but not all.
    found = shares("attention-head")
    matmuls = sorted(found["matmul"], reverse=True)
    assert len(matmuls) == 6
    assert matmuls[:4] == pytest.approx([matmuls[0]] * 4)
    assert all(share > 0.0 for share in (*matmuls, *found["softmax"], *found["mul"]))
    assert 80.0 < sum(matmuls[:4]) < 99.0
