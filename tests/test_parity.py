# ruff: noqa: E402 -- the file is skipped before anything of torch is imported
"""Whole networks through FX and through `torch.onnx.export(..., dynamo=True)`: MACs equal, EDP within 2 %.

The exporter rewrites what it writes. Batch norms become part of convolutions' weights; below opset 23, which has operators for
both, attention and RMS norms are written out. Where that moves the EDP by more than 2 % the report says what was rewritten, and
the same rewrite made on the torch side gives the same figures again: nothing else differs.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")

from torch.fx.experimental.optimization import fuse

import edpc
from edpc.blocks import build
from edpc.ir import Graph
from edpc.report import Report
from tests.exported import write_onnx, written_out

MACS = {
    "resnet18": 1_814_073_344,
    "resnet50": 4_089_184_256,
    "mobilenet-v2": 300_775_552,
    "vit-b-16": 17_563_828_224,
    "bert-base": 11_174_215_680,
    "gpt2": 16_114_089_984,
    # Per token and layer 2 x 2048^2 (q, out) + 2 x 2048 x 512 (k, v) + 3 x 2048 x 8192 (SwiGLU) + 2 x 128 x 2048 (QK^T, AV); 128
    # tokens, 16 layers; logits of one token, 2048 x 128,256.
    "llama-decoder": 128 * 16 * (2 * 2048**2 + 2 * 2048 * 512 + 3 * 2048 * 8192 + 2 * 128 * 2048) + 2048 * 128_256,
}
CONVOLUTIONAL = ("resnet18", "resnet50", "mobilenet-v2")
MACHINES = [("h100", None), ("kpu", None), ("tpu", None), ("cpu", None), ("h100", "bf16")]
# Where that moves the EDP by more, and what the report must name: ONNX Runtime runs a written-out mask and an RMS norm with a
# reciprocal as nodes of their own, and the factors of 52 batch norms are that much of the little MobileNet does on a TPU.
REWRITTEN = {
    ("gpt2", "cpu"): "12 aten.scaled_dot_product_attention",
    ("llama-decoder", "cpu"): "33 RMSNorm",
    ("mobilenet-v2", "tpu"): "batch norms that the exporter folded into the weights of convolutions or products: 52",
}

pytestmark = pytest.mark.slow
machines = pytest.mark.parametrize(("target", "precision"), MACHINES)


class Exports:
    """Graphs of the blocks through either frontend, each made once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.made: dict[tuple[str, str], Graph] = {}

    def graph(self, name: str, how: str) -> Graph:
        """How: `fx`; `onnx`, `onnx23` or `plain` (opset by default, 23, or not optimised); `rewritten` as the exporter does."""
        if (name, how) not in self.made:
            self.made[name, how] = self._make(name, how)
        return self.made[name, how]

    def _make(self, name: str, how: str) -> Graph:
        if how == "fx":
            return edpc.load(f"block:{name}")
        if how == "rewritten":
            module, inputs = build(name)
            if name in CONVOLUTIONAL:
                return edpc.load(fuse(module), example_inputs=inputs)
            with written_out():
                return edpc.load(module, example_inputs=inputs)
        return edpc.load(write_onnx(name, self.folder, opset=23 if how == "onnx23" else None, optimize=how != "plain"))


@pytest.fixture(scope="session")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Exports:
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "exports"  # one for all processes of a run
    folder.mkdir(exist_ok=True)
    return Exports(folder)


def compiled(graph: Graph, target: str, precision: str | None) -> Report:
    return edpc.compile(graph, target, precision=precision)


@pytest.mark.parametrize(("name", "macs"), MACS.items())
def test_macs_are_exact_through_both(exports: Exports, name: str, macs: int) -> None:
    for how in ("fx", "onnx"):
        report = compiled(exports.graph(name, how), "cpu", None)
        assert report.model.macs == macs
        assert report.coverage.operators_modelled == report.coverage.operators_total
        assert not report.coverage.unknown


@machines
@pytest.mark.parametrize("name", MACS)
def test_the_same_network_has_the_same_edp(exports: Exports, name: str, target: str, precision: str | None) -> None:
    fx, onnx = (compiled(exports.graph(name, how), target, precision) for how in ("fx", "onnx"))
    rewrite = REWRITTEN.get((name, target))
    if rewrite is None:
        assert onnx.edp_js == pytest.approx(fx.edp_js, rel=0.02)
    else:
        assert any(rewrite in note for note in onnx.coverage.notes)
        assert not any("exporter" in note for note in fx.coverage.notes)
        assert onnx.edp_js != pytest.approx(fx.edp_js, rel=0.02)  # else the exception can go


@machines
@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_folded_alike_convolutional_networks_are_equal(exports: Exports, name: str, target: str, precision: str | None) -> None:
    folded, onnx = (compiled(exports.graph(name, how), target, precision) for how in ("rewritten", "onnx"))
    assert onnx.edp_js == pytest.approx(folded.edp_js, rel=1e-4)
    assert onnx.model.parameters == folded.model.parameters
    assert onnx.model.flops == folded.model.flops
    assert onnx.totals.launches == folded.totals.launches


@machines
@pytest.mark.parametrize("name", ["gpt2", "llama-decoder"])
def test_written_out_alike_decoders_are_equal(exports: Exports, name: str, target: str, precision: str | None) -> None:
    written, onnx = (compiled(exports.graph(name, how), target, precision) for how in ("rewritten", "onnx"))
    assert onnx.edp_js == pytest.approx(written.edp_js, rel=0.02)
    if (target, precision) != (
        "h100",
        None,
    ):  # in fp32 a GPU fuses attention where it is called, and what is written out calls none
        assert onnx.totals.launches == written.totals.launches


@machines
@pytest.mark.parametrize("name", ["gpt2", "llama-decoder"])
def test_with_operators_of_their_own_decoders_are_equal(exports: Exports, name: str, target: str, precision: str | None) -> None:
    fx, onnx = (compiled(exports.graph(name, how), target, precision) for how in ("fx", "onnx23"))
    assert onnx.model.macs == fx.model.macs
    assert onnx.edp_js == pytest.approx(fx.edp_js, rel=0.005)
    assert not any("exporter" in note for note in onnx.coverage.notes)


def test_the_report_tells_of_folded_batch_norms(exports: Exports) -> None:
    notes = {how: compiled(exports.graph("resnet18", how), "cpu", None).coverage.notes for how in ("fx", "onnx", "plain")}
    told = "batch norms that the exporter folded into the weights of convolutions or products: 20"
    assert told in notes["onnx"]
    assert not any("exporter" in note for how in ("fx", "plain") for note in notes[how])


def test_not_optimised_the_batch_norms_are_there(exports: Exports) -> None:
    kinds = [Counter(op.kind for _, op in exports.graph("resnet18", how).items()) for how in ("fx", "plain", "onnx")]
    assert [each["batch_norm"] for each in kinds] == [20, 20, 0]


# --- attention, operator by operator ----------------------------------------------------------------------------


@machines
@pytest.mark.parametrize("how", ["fx", "onnx"])
def test_attention_shows_its_operators(exports: Exports, how: str, target: str, precision: str | None) -> None:
    graph = exports.graph("attention-head", how)
    report = compiled(graph, target, precision)
    tokens, width = 16, 128
    order = {name: place for place, name in enumerate(graph.compute_order())}
    rows = [each for each in report.operators if each.operator_type in ("matmul", "mul", "softmax")]
    rows.sort(key=lambda each: order[each.operator_id])
    # In the order in which the model has them: q, k, v; QK^T; scale; softmax; AV; out.
    assert [(each.operator_type, each.macs) for each in rows] == [
        *[("matmul", tokens * width * width)] * 3,
        ("matmul", tokens * tokens * width),
        ("mul", 0),
        ("softmax", 0),
        ("matmul", tokens * tokens * width),
        ("matmul", tokens * width * width),
    ]
    modules = [graph.op(each.operator_id).location for each in rows]
    assert [None if each is None else each.module_path for each in modules] == ["q", "k", "v", *[""] * 4, "out"]
    assert all(each.edp_js > 0.0 and each.flops > 0 for each in rows)
    inner = {each.subgraph_id for each in rows[3:7]}
    # Flash attention on the GPU in 16 bits; the product that makes the scores streams through the softmax on the KPU; XLA, ONNX
    # Runtime and the GPU's fp32 products keep the softmax a kernel of its own.
    assert len(inner) == (1 if precision == "bf16" else {"h100": 3, "kpu": 2, "tpu": 3, "cpu": 3}[target])
