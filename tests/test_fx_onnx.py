# ruff: noqa: E402 -- the file is skipped before anything of torch is imported
"""The same network through ONNX and through FX: the same multiply-accumulates, and the same EDP within 2 %."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")

import edpc
from tests.torch_networks import NETWORKS, onnx_of

# From this opset on the exporter writes attention as one node rather than with a scale on each side of the product.
OPSET = 23


@pytest.fixture(scope="module", params=NETWORKS)
def both(request: pytest.FixtureRequest) -> tuple[Any, Any]:
    module, inputs = NETWORKS[request.param]()
    return edpc.load(module, example_inputs=inputs), edpc.load(onnx_of(module, inputs, OPSET))


@pytest.mark.parametrize("target", ["h100", "tpu", "kpu", "cpu"])
def test_same_network_same_figures(both: tuple[Any, Any], target: str) -> None:
    fx, onnx = (edpc.compile(graph, target) for graph in both)
    assert fx.model.macs == onnx.model.macs
    assert fx.edp_js == pytest.approx(onnx.edp_js, rel=0.02)
    assert fx.coverage.unknown == onnx.coverage.unknown
