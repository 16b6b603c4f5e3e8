"""`edpc diff`: matching, sums, gates, and reports without their models."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import jsonschema_rs
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

import edpc as api
from edpc.emit.json_schema import FOLDER
from edpc.report.difference import METRICS, Difference, diff, read_reports
from tests.chain_model import save
from tests.command_line import edpc, refused

TARGETS = ("h100", "kpu", "tpu", "cpu")


def layers(widths: list[int], skip: int | None = None, branch_first: bool = False) -> onnx.ModelProto:
    """Layers fc0, fc1, ... of these widths with a ReLU behind each, in modules of their own; `skip` leaves a ReLU out."""
    nodes, weights, x = [], [], "x"
    for i, (n, m) in enumerate(itertools.pairwise(widths)):
        weights.append(helper.make_tensor(f"w{i}", TensorProto.FLOAT, [n, m], bytes(4 * n * m), raw=True))
        made = [helper.make_node("MatMul", [x, f"w{i}"], [f"h{i}"], f"/fc{i}/MatMul")]
        if i != skip:
            made.append(helper.make_node("Relu", [f"h{i}"], [f"r{i}"], f"/fc{i}/Relu"))
        x = made[-1].output[0]
        nodes += made
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [64, w]) for name, w in (("x", widths[0]), (x, widths[-1]))]
    graph = helper.make_graph(nodes, "layers", ends[:1], ends[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


def compiled(model: onnx.ModelProto, target: str = "tpu") -> api.Report:
    return api.compile(model, target=target)


def sums(difference: Difference) -> None:
    """Operators' changes sum to those of the totals."""
    for figure in ("energy_j", "latency_s", "edp_js"):
        whole = getattr(difference.b, figure) - getattr(difference.a, figure)
        parts = math.fsum(getattr(op, figure) for op in difference.operators)
        scale = max(getattr(difference.a, figure), getattr(difference.b, figure))
        assert parts == pytest.approx(whole, abs=1e-9 * scale)


@pytest.mark.parametrize("target", TARGETS)
def test_a_model_and_itself_do_not_differ(target: str) -> None:
    report = compiled(layers([64, 128, 64]), target)
    found = diff(report, report)
    assert found.is_empty
    assert {op.status for op in found.operators} == {"unchanged"}
    sums(found)


@pytest.mark.parametrize("target", TARGETS)
def test_a_widened_layer_is_named_first(target: str) -> None:
    a, b = (compiled(layers([256, 256, width, 256, 256]), target) for width in (256, 512))
    found = diff(a, b)
    assert found.first is not None
    assert found.operators[found.first].name == "/fc1/MatMul"
    assert [op.name for op in found.operators if op.status == "unchanged"][:2] == ["/fc0/MatMul", "/fc0/Relu"]
    assert found.metric("macs").relative == pytest.approx(0.5)  # 4 layers of 256 x 256; two of them double
    sums(found)


def test_an_inserted_layer_is_added_and_what_follows_keeps_its_partner() -> None:
    a, b = compiled(layers([64, 128, 64], skip=0)), compiled(layers([64, 128, 64]))
    found = diff(a, b)
    assert [(op.name, op.status) for op in found.operators if op.status in ("added", "removed")] == [("/fc0/Relu", "added")]
    assert found.operators[found.first or 0].name in ("/fc0/MatMul", "/fc0/Relu")
    backwards = diff(b, a)
    assert [op.name for op in backwards.operators if op.status == "removed"] == ["/fc0/Relu"]
    sums(found)
    sums(backwards)


def test_fusion_off_regroups_every_fused_operator() -> None:
    model = layers([64, 128, 64])
    found = diff(api.compile(model, target="tpu"), api.compile(model, target="tpu", fusion=False))
    assert all(op.is_regrouped for op in found.operators)
    assert not any(op.status in ("added", "removed") for op in found.operators)
    sums(found)


@given(
    before=st.lists(st.sampled_from([16, 32, 64]), min_size=2, max_size=6),
    after=st.lists(st.sampled_from([16, 32, 64]), min_size=2, max_size=6),
    skip=st.integers(0, 5),
)
def test_parts_sum_to_the_change_and_every_operator_appears_once(before: list[int], after: list[int], skip: int) -> None:
    a, b = compiled(layers(before)), compiled(layers(after, skip))
    found = diff(a, b)
    sums(found)
    assert sorted(op.a.operator_id for op in found.operators if op.a) == sorted(op.operator_id for op in a.operators)
    assert [op.b.operator_id for op in found.operators if op.b] == [op.operator_id for op in b.operators]
    # Read backwards, it is the opposite change of the totals, and every operator appears once again.
    back = diff(b, a)
    sums(back)
    assert sum(op.edp_js for op in back.operators) == pytest.approx(
        -sum(op.edp_js for op in found.operators), abs=1e-9 * a.edp_js
    )
    assert sorted(op.b.operator_id for op in back.operators if op.b) == sorted(op.operator_id for op in a.operators)


# --- the command ---------------------------------------------------------------------------------------------


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    monkeypatch.chdir(tmp_path)
    return save(layers([256, 256, 256]), tmp_path, "a.onnx"), save(layers([256, 512, 256]), tmp_path, "b.onnx")


def test_no_difference_exits_with_zero(pair: tuple[str, str]) -> None:
    result = edpc("diff", pair[0], pair[0], "--fail-above", "0%", "--target", "all")
    assert result.exit_code == 0
    assert result.stdout.count("no difference") == len(TARGETS)


def test_a_gate_fails_after_the_table_was_written(pair: tuple[str, str]) -> None:
    result = edpc("diff", *pair, "-t", "tpu", "--fail-above", "5%", "--fail-above", "launches=0%")
    assert result.exit_code == 1
    assert result.stderr.startswith("edpc: error: --fail-above: edp grew by ")
    assert "launches" not in result.stderr
    assert "first difference in the order of execution: /fc0/MatMul" in result.stdout
    assert edpc("diff", *pair, "-t", "tpu", "--fail-above", "macs=100%").exit_code == 0
    assert edpc("diff", *reversed(pair), "-t", "tpu", "--fail-above", "0%").exit_code == 0  # less is no failure


@pytest.mark.parametrize("metric", METRICS)
def test_every_metric_can_be_gated(pair: tuple[str, str], metric: str) -> None:
    found = diff(compiled(layers([256, 256, 256])), compiled(layers([256, 512, 256]))).metric(metric)
    grown = found.relative is not None and found.relative > 0
    result = edpc("diff", *pair, "-t", "tpu", "--fail-above", f"{metric}=0%")
    assert result.exit_code == (1 if grown else 0)


def test_saved_reports_need_no_models(pair: tuple[str, str]) -> None:
    for name in ("a", "b"):
        assert edpc(f"{name}.onnx", "--target", "h100,kpu", "--emit", "json", "-o", f"{name}.json").exit_code == 0
    live = edpc("diff", *pair, "-t", "h100,kpu", "--emit", "json")
    for path in pair:
        Path(path).unlink()
    saved = edpc("diff", "a.json", "b.json", "--emit", "json")
    assert saved.exit_code == 0
    assert saved.stdout == live.stdout
    schema = json.loads((FOLDER / "diff-v1.json").read_text(encoding="utf-8"))
    for difference in json.loads(saved.stdout):
        jsonschema_rs.validate(schema, difference)


def test_a_model_is_compiled_as_the_saved_report_was(pair: tuple[str, str]) -> None:
    assert edpc("a.onnx", "-t", "kpu", "--precision", "int8", "--emit", "json", "-o", "a.json").exit_code == 0
    result = edpc("diff", "a.json", "a.onnx")
    assert result.exit_code == 0
    assert "kpu (int8, batch 64)" in result.stdout
    assert "no difference" in result.stdout


def test_markdown_shows_hostile_names_as_text(tmp_path: Path) -> None:
    model = layers([64, 128])
    model.graph.node[0].name = "<script>|`x`"
    a, b = save(model, tmp_path, "a.onnx"), save(layers([64, 256]), tmp_path, "b.onnx")
    text = edpc("diff", a, b, "--emit", "md", "-t", "tpu").stdout
    assert "| edp |" in text
    assert "<script>" not in text
    assert edpc("diff", a, b, "--emit", "md", "-t", "tpu", "-o", str(tmp_path / "d.md")).stdout == ""
    assert (tmp_path / "d.md").read_text(encoding="utf-8") == text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--fail-above", "5"], ["percentage"]),
        (["--fail-above", "-5%"], ["percentage"]),
        (["--fail-above", "speed=5%"], ["'speed'", "latency"]),
        (["--target", "nowhere"], ["nowhere"]),
    ],
)
def test_misuse(pair: tuple[str, str], arguments: list[str], words: list[str]) -> None:
    refused(edpc("diff", *pair, *arguments), 2, *words)


def test_options_of_compiling_do_not_fit_saved_reports(pair: tuple[str, str]) -> None:
    assert edpc("a.onnx", "-t", "kpu", "--emit", "json", "-o", "a.json").exit_code == 0
    refused(edpc("diff", "a.json", "a.json", "--batch", "8"), 2, "--batch", "saved reports")
    Path("old.json").write_text('{"schema": "edpc/report-v1", "surprise": 1}', encoding="utf-8")
    refused(edpc("diff", "a.json", "old.json"), 2, "old.json", "make it anew")
    refused(edpc("diff", "a.json", "nothing.onnx"), 3, "nothing.onnx")
    assert read_reports("a.onnx") is None
