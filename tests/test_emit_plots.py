"""The plots: specifications that compile without a warning, hold the report's figures, and become SVG and PNG."""

from __future__ import annotations

import json
import re
import struct
from typing import Any
from xml.etree import ElementTree

import msgspec
import pytest

import edpc
from edpc.emit import EmitOptions, emit, emit_kind
from edpc.emit.charts import breakdown, comparison, components, cumulative, series_labels
from edpc.emit.figure import figure
from edpc.emit.roofline import points, roofline
from edpc.machine.rates import unit_of
from edpc.report import Report, build_report
from tests.command_line import ROOT, process
from tests.hand_made import CHAIN, annotated, renamed, toy_target

vl_convert = pytest.importorskip("vl_convert")
MODELS = ROOT / "tests" / "models"
HOSTILE = "<script>alert(1)</script> \"q\" 'a' & \x1b[31m"


@pytest.fixture(scope="module")
def reports() -> list[Report]:
    return [edpc.compile(str(MODELS / "bert_tiny.onnx"), target=t, batch=2) for t in ("h100", "kpu", "tpu", "cpu")]


def values(spec: Any) -> list[dict[str, Any]]:
    """All rows of data of a specification."""
    if isinstance(spec, list):
        return [row for part in spec for row in values(part)]
    if isinstance(spec, dict):
        own = spec["data"]["values"] if isinstance(spec.get("data"), dict) else []
        return own + [row for key, part in spec.items() if key != "data" for row in values(part)]
    return []


def from_file(report: Report) -> Report:
    return msgspec.json.decode(report.to_json(), type=Report)


def test_every_specification_compiles(reports: list[Report]) -> None:
    specs = [comparison(reports, field) for field in ("edp_js", "energy_j", "latency_s")]
    specs += [components(reports), cumulative(reports), components(reports[:1]), cumulative(reports[:1])]
    specs += [plot for report in reports[:2] for plot in (roofline(report), breakdown(report, 5))]
    for spec in specs:
        assert spec["$schema"] == "https://vega.github.io/schema/vega-lite/v6.json"
        json.dumps(spec, allow_nan=False)
        assert vl_convert.vegalite_to_vega(spec)["marks"]


def test_roofline_has_every_subgraph_under_its_ceiling(reports: list[Report]) -> None:
    for report in reports:
        machine = report.machine
        assert machine is not None
        drawn = [s.id for point in points(report) for s in point.subgraphs]
        assert sorted(drawn) == sorted(s.id for s in report.subgraphs if s.latency_s > 0)
        bandwidth = next(m.bandwidth.value for m in machine.memories if m.role == "dram")
        for point in points(report):
            assert point.bandwidth <= bandwidth * (1 + 1e-9)
            if point.ceiling is not None:
                assert point.ceiling.rate == unit_of(machine, point.ceiling.unit).rate[point.ceiling.precision].value
        lines = {row["line"] for row in values(roofline(report)) if "line" in row}
        used = {f"{p.ceiling.precision} {p.ceiling.unit}" for p in points(report) if p.ceiling}
        assert lines == used | {"memory"}


def test_roofline_has_a_ceiling_for_each_precision_in_use() -> None:
    report = edpc.compile(str(MODELS / "bert_tiny.onnx"), target="h100", precision="bf16", batch=2)
    ceilings = {(p.ceiling.unit, p.ceiling.precision) for p in points(report) if p.ceiling}
    assert {("matrix", "bf16"), ("vector", "fp32")} <= ceilings


def test_roofline_follows_a_constant_that_was_exchanged() -> None:
    path = str(MODELS / "linear_bias_relu.onnx")
    slopes = []
    for settings in ((), ("hbm.bandwidth=4.8TB/s",)):
        rows = values(roofline(edpc.compile(path, target="h100", set=settings)))
        slopes.append(next(row["rate"] / row["intensity"] for row in rows if row.get("line") == "memory"))
    assert slopes == pytest.approx([3.35e12, 4.8e12], rel=1e-3)


def test_what_has_no_place_on_the_axes_is_at_their_edges() -> None:
    report = build_report(annotated(), toy_target())
    # The transpose does no arithmetic, and moves 512 B in 4 us.
    (copy,) = [p for p in points(report) if p.subgraphs[0].id == "g1"]
    assert (copy.intensity, copy.rate, copy.bandwidth) == (0.0, 0.0, 0.0)
    (row,) = [row for row in values(roofline(report)) if row.get("id") == "g1"]
    assert row["edge"]
    assert row["where"] == "left edge: no arithmetic"
    assert row["intensity"] == min(r["intensity"] for r in values(roofline(report)))


def test_a_report_from_a_file_has_points_and_no_ceilings(reports: list[Report]) -> None:
    read = from_file(reports[0])
    assert not [row for row in values(roofline(read)) if "line" in row]
    shown, expected = ({s.id for point in points(each) for s in point.subgraphs} for each in (read, reports[0]))
    assert shown == expected


def test_components_are_shares_of_the_whole(reports: list[Report]) -> None:
    bars: dict[str, float] = {}
    for row in values(components(reports)):
        bars[row["bar"]] = bars.get(row["bar"], 0.0) + row["share"]
    assert list(bars) == [f"{what}, {t}" for what in ("energy", "latency", "EDP") for t in ("h100", "kpu", "tpu", "cpu")]
    assert list(bars.values()) == pytest.approx([1.0] * 12)


def test_breakdown_sums_to_the_shares_of_the_subgraphs(reports: list[Report]) -> None:
    report = reports[0]
    shares: dict[str, float] = {}
    for row in values(breakdown(report, 7)):
        shares[row["id"]] = shares.get(row["id"], 0.0) + row["share"]
    first = sorted(report.subgraphs, key=lambda s: -s.edp_fraction)[:7]
    assert shares == pytest.approx({s.id: s.edp_fraction for s in first})


def test_cumulative_curve_ends_at_the_whole_and_marks_the_levels(reports: list[Report]) -> None:
    rows = values(cumulative(reports[:1]))
    curve = [row for row in rows if "text" not in row]
    assert (curve[0]["share"], curve[-1]["share"]) == (0.0, pytest.approx(1.0))
    assert [row["share"] for row in curve] == sorted(row["share"] for row in curve)
    for row in rows:
        if match := re.fullmatch(r"(\d+) make (\d+) %", row.get("text", "")):
            assert row["share"] >= int(match[2]) / 100 - 1e-9


def test_labels_tell_reports_apart(reports: list[Report]) -> None:
    assert series_labels(reports) == ["h100", "kpu", "tpu", "cpu"]
    batches = [edpc.compile(str(MODELS / "linear_bias_relu.onnx"), target="kpu", precision=p) for p in ("fp32", "int8")]
    assert series_labels(batches) == ["kpu fp32", "kpu int8"]
    assert series_labels(batches[:1] * 2) == ["1: kpu fp32 batch 64 linear_bias_relu", "2: kpu fp32 batch 64 linear_bias_relu"]


def test_svg_is_drawn_and_names_are_text() -> None:
    report = build_report(annotated(renamed(CHAIN, HOSTILE), name="net"), toy_target())
    data = emit(emit_kind("svg"), [report])
    root = ElementTree.fromstring(data)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert not list(root.iter("{http://www.w3.org/2000/svg}script"))
    texts = " ".join(root.itertext())
    assert "<script>" in texts
    for words in ("net on toy, fp32, batch 1", "Roofline", "Components", "matrix 1.00 TFLOP/s", "hbm 100 GB/s"):
        assert words in texts, words
    assert emit(emit_kind("svg"), [report]) == data


def test_several_reports_share_a_sheet(reports: list[Report]) -> None:
    texts = " ".join(ElementTree.fromstring(emit(emit_kind("svg"), reports[:2])).itertext())
    assert "the lowest is blue" in texts
    for report in reports[:2]:
        assert f"bert_tiny on {report.target.name}, fp32, batch 2" in texts
    assert len(figure(reports, EmitOptions())["vconcat"]) == 5


def test_png_is_a_picture() -> None:
    data = emit(emit_kind("png"), [build_report(annotated(), toy_target())])
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", data[16:24])
    assert width > 1000
    assert height > 1000


@pytest.mark.parametrize("kind", ["svg", "png"])
def test_an_empty_network_and_a_report_from_a_file_are_drawn(kind: str) -> None:
    for report in (build_report(annotated([]), toy_target()), from_file(build_report(annotated(), toy_target()))):
        assert len(emit(emit_kind(kind), [report])) > 1000
        assert len(emit(emit_kind(kind), [report, report])) > 1000


def test_plotting_is_imported_only_when_used() -> None:
    code = (
        "import sys, edpc; from edpc.emit import EMIT_KINDS; r = edpc.compile(sys.argv[1], target='kpu'); r._repr_html_();"
        "print([m for m in ('vl_convert', 'jinja2', 'onnxruntime', 'torch') if m in sys.modules])"
    )
    import subprocess
    import sys

    model = str(MODELS / "linear_bias_relu.onnx")
    done = subprocess.run([sys.executable, "-c", code, model], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"
    assert process(model, "-t", "kpu", "-e", "svg").stdout.startswith("<svg")
