"""Whole networks through the whole compiler, on every target: what the README promises of any model holds of these."""

from __future__ import annotations

import json
from collections import defaultdict
from functools import cache
from importlib import metadata, resources
from pathlib import Path

import jsonschema_rs
import networkx as nx
import pytest

import edpc
from edpc.api import load, run
from edpc.ir import Graph
from edpc.ir.text import parse_graph, print_graph
from edpc.pipeline.base import Fact, PassContext
from edpc.pipeline.manager import run_pipeline
from edpc.pipeline.text import parse_pipeline
from edpc.registry import find_target
from edpc.report import Report, build_report

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared" / "models"
LIGHT = Path(str(metadata.distribution("onnx").locate_file("onnx/backend/test/data/light")))
TARGETS = ("h100", "kpu", "tpu", "cpu")
# The free dimensions of the exports that have some, by the names torch gave them.
DIMS = {"bert_base_dyn": {"s53": 128}, "gpt2_dyn": {"s70": 128}}
SHARED_MODELS = (
    *("bert_base", "bert_base_dyn", "bert_tiny_dyn_int8", "bert_tiny_fp16", "bert_tiny_opset17", "bert_tiny_opset23"),
    *("bert_tiny_ort_extended", "gpt2_dyn", "llama3_8b", "llama_tiny", "llama_tiny_kv", "llama_tiny_matmulnbits4"),
    *("resnet18", "resnet18_qdq_int8", "resnet18_qoperator_int8", "resnet50"),
)
PATHS = {
    **{path.stem: path for path in sorted((ROOT / "tests" / "models").glob("*.onnx"))},
    **{path.stem: path for path in sorted(LIGHT.glob("light_*.onnx"))},
    **{f"shared/{name}": SHARED / f"{name}.onnx" for name in SHARED_MODELS},
}
VALID = jsonschema_rs.validator_for(json.loads((resources.files("edpc.emit") / "schema" / "report-v1.json").read_text()))
EXACT = 1e-9


@cache
def graph_of(name: str) -> Graph:
    path = PATHS[name]
    if not path.exists():
        pytest.skip(f"{path.name} is kept beside the checkout and is not there")
    free = DIMS.get(path.stem, {})
    # The samples leave the batch free; an export without free dimensions keeps its own.
    return load(str(path), batch=1 if free or (path.parent.name == "models" and path.parent != SHARED) else None, dims=free)


@cache
def annotated(name: str, target: str) -> Graph:
    graph = graph_of(name).copy()
    run(graph, find_target(target))
    return graph


def report_of(name: str, target: str, attribution: str = "events") -> Report:
    return build_report(annotated(name, target), find_target(target), attribution=attribution)


def test_the_nine_light_models_are_there() -> None:
    assert sum(name.startswith("light_") for name in PATHS) == 9


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", PATHS)
def test_reports_follow_the_schema_and_add_up(name: str, target: str) -> None:
    for attribution in ("events", "flops", "modifiers"):
        data = report_of(name, target, attribution).to_dict()
        VALID.validate(data)
        totals, subgraphs, operators = data["totals"], data["subgraphs"], data["operators"]
        assert totals["energy_j"] > 0
        assert totals["edp_js"] == pytest.approx(totals["energy_j"] * totals["latency_s"], rel=EXACT)
        of = defaultdict(list)
        for operator in operators:
            of[operator["subgraph_id"]].append(operator)
        for figure in ("energy_j", "latency_s", "edp_js"):
            assert sum(s[figure] for s in subgraphs) == pytest.approx(totals[figure], rel=EXACT)
            assert sum(o[figure] for o in operators) == pytest.approx(totals[figure], rel=EXACT)
            for s in subgraphs:
                assert sum(o[figure] for o in of[s["id"]]) == pytest.approx(s[figure], rel=EXACT, abs=totals[figure] * 1e-15)
        for method in ("base_edp", "architectural_edp"):
            assert sum(o[method] for o in operators) == pytest.approx(totals["edp_js"], rel=EXACT)
        for s in subgraphs:
            parts = s["compute_edp"] + s["memory_edp"] + s["static_edp"] + s["overhead_edp"]
            assert parts == pytest.approx(s["edp_js"], rel=EXACT, abs=totals["edp_js"] * 1e-15)
        assert sum(totals["energy_by_component"].values()) == pytest.approx(totals["energy_j"], rel=EXACT)
        assert sum(totals["latency_by_component"].values()) == pytest.approx(totals["latency_s"], rel=EXACT)
        saved = data["fusion"]["saved"]
        assert sum(saved["by_cause"].values()) == pytest.approx(saved["edp_js"], rel=EXACT, abs=totals["edp_js"] * 1e-12)
        assert data["fusion"]["fused"]["dram_accesses"] <= data["fusion"]["separate"]["dram_accesses"]
        for figure, (low, high) in totals["interval"].items():
            assert low <= totals[figure] <= high


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", PATHS)
def test_a_second_run_gives_the_same_bytes(name: str, target: str) -> None:
    path = PATHS[name]
    again = graph_of(name).copy()
    run(again, find_target(target))
    assert build_report(again, find_target(target)).to_json() == report_of(name, target).to_json(), path.name


@pytest.mark.slow
@pytest.mark.parametrize("name", PATHS)
def test_the_text_form_is_lossless_at_every_stage(name: str) -> None:
    target = find_target(TARGETS[sorted(PATHS).index(name) % len(TARGETS)])
    graph, ctx, have = graph_of(name).copy(), PassContext(target), frozenset[Fact]()
    assert parse_graph(print_graph(graph)) == graph
    for element in parse_pipeline(target.pipeline):
        run_pipeline(graph, [element], ctx, have=have)
        have |= element.produces
        assert parse_graph(print_graph(graph)) == graph


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", PATHS)
def test_fusion_off_is_the_separate_side_of_the_fused_report(name: str, target: str) -> None:
    graph = graph_of(name).copy()
    run(graph, find_target(target), fusion=False)
    off = build_report(graph, find_target(target)).totals
    separate = report_of(name, target).fusion.separate
    assert off.energy_j == pytest.approx(separate.energy_j, rel=EXACT)
    assert off.latency_s == pytest.approx(separate.latency_s, rel=EXACT)
    assert (off.dram_accesses, off.launches) == (separate.dram_accesses, separate.launches)


# Multiply-accumulates of matrix products and convolutions, batch 1, 128 tokens: counted with torch and by hand elsewhere.
@pytest.mark.parametrize(
    ("name", "macs"),
    [
        ("resnet18", 1_814_073_344),
        ("shared/resnet18", 1_814_073_344),
        ("shared/resnet18_qdq_int8", 1_814_073_344),
        ("shared/resnet18_qoperator_int8", 1_814_073_344),
        ("shared/bert_base", 11_174_215_680),
        ("shared/bert_base_dyn", 11_174_215_680),
        ("shared/gpt2_dyn", 16_114_089_984),
        # Without the pooler, 768 * 768 fewer.
        ("bert_base", 11_174_215_680 - 768 * 768),
    ],
)
def test_macs_are_exact(name: str, macs: int) -> None:
    assert report_of(name, "tpu").model.macs == macs


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", ["bert_base", "shared/bert_base", "shared/bert_tiny_opset23", "shared/bert_tiny_ort_extended"])
def test_attention_stays_visible(name: str, target: str) -> None:
    """Softmax reads a product of activations and feeds one: QK^T, softmax and AV are operators of their own in every report."""
    graph, operators = annotated(name, target), {o.operator_id: o for o in report_of(name, target).operators}
    softmaxes = [n for n in graph.compute_order() if graph.op(n).kind == "softmax"]
    assert softmaxes

    def nearest_product(softmax: str, upstream: bool) -> str:
        return next(n for _, n in nx.bfs_edges(graph.dag, softmax, reverse=upstream) if graph.op(n).kind == "matmul")

    for softmax in softmaxes:
        qk, av = nearest_product(softmax, upstream=True), nearest_product(softmax, upstream=False)
        for node in (qk, softmax, av):
            assert operators[node].energy_j > 0
            assert operators[node].edp_fraction_of_model > 0
        assert operators[qk].macs == operators[av].macs > 0
        if target == "h100" and graph.info.precision != "fp32":  # flash attention is for 16 bits, or where the model calls for it
            assert operators[qk].subgraph_id == operators[softmax].subgraph_id == operators[av].subgraph_id


@pytest.mark.parametrize("target", TARGETS)
def test_the_chain_of_the_readme(target: str) -> None:
    report = edpc.compile(str(ROOT / "tests/models/linear_bias_relu.onnx"), target=target)
    fusion = report.fusion
    assert (fusion.separate.dram_accesses, fusion.separate.launches) == (6, 3)
    assert (fusion.fused.dram_accesses, fusion.fused.launches) == (2, 1)
    separate = edpc.compile(str(ROOT / "tests/models/linear_bias_relu.onnx"), target=target, fusion=False)
    assert (separate.totals.dram_accesses, separate.totals.launches) == (6, 3)
