"""The text form loses nothing of real networks, at any stage of the pipeline; and every stage verifies."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from edpc.api import load
from edpc.ir import Graph
from edpc.ir.text import parse_graph, print_graph
from edpc.operators import KINDS
from edpc.pipeline.base import Fact, PassContext
from edpc.pipeline.manager import Instrumentation, run_pipeline
from edpc.pipeline.text import parse_pipeline, passes_of
from edpc.registry import find_target

ROOT = Path(__file__).parents[1]
# Sequence lengths that the exporter left open.
FREE = {"bert_base_dyn": {"s53": 128}, "gpt2_dyn": {"s70": 128}}
TARGETS = ("h100", "kpu", "tpu", "cpu")
OWN = sorted((ROOT / "tests" / "models").glob("*.onnx"))
LIGHT = sorted((Path(onnx.__file__).parent / "backend" / "test" / "data" / "light").glob("light_*.onnx"))
SHARED = sorted((ROOT.parent / "shared" / "models").glob("*.onnx"))


def survives(graph: Graph) -> None:
    text = print_graph(graph)
    again = parse_graph(text)
    assert again == graph
    assert print_graph(again) == text


def at_every_stage(path: Path, target_name: str) -> None:
    target = find_target(target_name)
    around = Instrumentation(kinds=frozenset(KINDS))
    graph = load(path, batch=1, dims=FREE.get(path.stem))
    survives(graph)
    for each in passes_of(parse_pipeline(target.pipeline)):
        run_pipeline(graph, [each], PassContext(target), around, have=frozenset(Fact))
        survives(graph)


@pytest.mark.parametrize("path", OWN, ids=lambda path: path.stem)
@pytest.mark.parametrize("target", TARGETS)
def test_own_models(path: Path, target: str) -> None:
    at_every_stage(path, target)


# Every model on one target each, in turn: what differs between targets is covered above.
@pytest.mark.slow
@pytest.mark.parametrize(("number", "path"), list(enumerate(LIGHT)), ids=[path.stem for path in LIGHT])
def test_light_models(number: int, path: Path) -> None:
    at_every_stage(path, TARGETS[number % 4])


@pytest.mark.slow
@pytest.mark.skipif(not SHARED, reason="the exported models are not beside the tree")
@pytest.mark.parametrize(("number", "path"), list(enumerate(SHARED)), ids=[path.stem for path in SHARED])
def test_exported_models(number: int, path: Path) -> None:
    at_every_stage(path, TARGETS[number % 4])
