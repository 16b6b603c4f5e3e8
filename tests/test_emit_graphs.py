"""Graph viewers: DOT for Graphviz, an overlay for Model Explorer."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import onnx
import pytest

import edpc
from edpc.emit import emit, emit_kind
from edpc.emit.heat import heat
from edpc.errors import UsageError
from edpc.report import Report, build_report
from tests.command_line import ROOT
from tests.hand_made import CHAIN, annotated, renamed, toy_target

MODELS = ROOT / "tests" / "models"
HOSTILE = 'a"];\n x [label="\\N\\G" \x1b <script>&amp;{|}'
LABEL = re.compile(r'label="((?:[^"\\]|\\.)*)"')


def dot(report: Report) -> str:
    return emit(emit_kind("dot"), [report]).decode()


def drawn(text: str) -> str:
    """What Graphviz makes of it."""
    if shutil.which("dot") is None:
        pytest.skip("Graphviz is not installed")
    return subprocess.run(["dot", "-Tsvg"], input=text, capture_output=True, text=True, check=True).stdout


def test_dot_has_a_cluster_per_subgraph_and_a_node_per_operator() -> None:
    report = edpc.compile(str(MODELS / "resnet18.onnx"), target="h100", batch=1)
    text = dot(report)
    assert text.count("subgraph ") == len(report.subgraphs)
    assert text.count("fillcolor") == len(report.operators) + 2  # the input and the return
    assert text.count(" -> ") >= len(report.operators)
    svg = drawn(text)
    assert svg.count('class="cluster"') == len(report.subgraphs)
    assert svg.count('class="node"') == len(report.operators) + 2


def test_dot_names_are_text_and_labels_are_short() -> None:
    report = build_report(annotated(renamed(CHAIN, HOSTILE + "x" * 20_000)), toy_target())
    text = dot(report)
    assert max(len(label) for label in LABEL.findall(text)) < 1000
    assert "\x1b" not in text
    # One node an operator: no name breaks out of its label to make another.
    assert len(re.findall(r"^ *n\d+ \[label=", text, re.MULTILINE)) == 4 + 2
    assert "&lt;script&gt;" not in text
    svg = drawn(text)
    assert svg.count('class="node"') == 4 + 2
    shown = build_report(annotated(renamed(CHAIN, HOSTILE)), toy_target())
    assert "&lt;script&gt;&amp;amp;" in drawn(dot(shown)).replace("&#45;", "-")


def test_overlay_is_keyed_by_output_tensor() -> None:
    path = MODELS / "resnet18.onnx"
    report = edpc.compile(str(path), target="kpu", batch=1)
    (name, overlay), *rest = json.loads(emit(emit_kind("model-explorer"), [report])).items()
    graph = onnx.load(path).graph
    assert (name, rest) == (graph.name, [])
    results = overlay["results"]
    assert set(results) <= {output for node in graph.node for output in node.output}
    assert sum(result["value"] for result in results.values()) == pytest.approx(report.edp_js, rel=1e-9)
    dearest = max(results, key=lambda key: results[key]["value"])
    assert results[dearest]["bgColor"] == heat(1.0).background
    assert [stop["stop"] for stop in overlay["gradient"]] == [0, 0.25, 0.5, 0.75, 1]


def test_overlay_of_a_graph_without_a_file_is_keyed_by_operator() -> None:
    report = edpc.compile(onnx.load(MODELS / "linear_bias_relu.onnx"), target="kpu")
    (overlay,) = json.loads(emit(emit_kind("model-explorer"), [report])).values()
    assert set(overlay["results"]) == {o.source_name for o in report.operators}
    with pytest.raises(UsageError, match="one file for each"):
        emit(emit_kind("model-explorer"), [report, report])


def test_heat_runs_from_pale_to_dark() -> None:
    def lightness(fraction: float) -> int:
        return sum(bytes.fromhex(heat(fraction).background[1:]))

    values = [lightness(i / 20) for i in range(21)]
    assert values == sorted(values, reverse=True)
    assert heat(-1.0) == heat(0.0)
    assert heat(2.0).background == heat(1.0).background
