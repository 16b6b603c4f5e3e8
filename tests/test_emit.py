"""Every form a report takes: valid, escaped, plain when it must be."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import jsonschema_rs
import msgspec
import pytest

import edpc
from edpc.emit import EMIT_KINDS, EmitOptions, emit, emit_kind, save
from edpc.emit.document import Column, Table, printable, shorten, to_text
from edpc.emit.json_schema import FILES, FOLDER, json_schema, schema_text
from edpc.emit.ranking import counts, rank
from edpc.errors import ModelError, UsageError
from edpc.report import Report, build_report
from tests.command_line import ROOT
from tests.hand_made import CHAIN, annotated, renamed, toy_target

HOSTILE = '\x1b[31mred\x1b[0m [bold]markup[/bold] <script>alert(1)</script> \u202ereversed\r\n,"quoted"'


@pytest.fixture
def report() -> Report:
    return build_report(annotated(), toy_target())


@pytest.fixture
def hostile() -> Report:
    return build_report(annotated(renamed(CHAIN, HOSTILE), name="net"), toy_target())


def text_of(*reports: Report, top: int | None = 10) -> str:
    return emit(emit_kind("report"), reports, EmitOptions(top)).decode()


# --- JSON and its schema -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FILES)
def test_shipped_schema_is_the_one_the_records_make(name: str) -> None:
    text = (FOLDER / name).read_text(encoding="utf-8")
    assert text == schema_text(FILES[name]), "run python -m edpc.emit.json_schema"
    jsonschema_rs.meta.validate(json.loads(text))


def test_schema_allows_nothing_else_and_requires_everything() -> None:
    for definition in json_schema(FILES["report-v1.json"])["$defs"].values():
        assert definition["additionalProperties"] is False
        assert set(definition["required"]) == set(definition["properties"])


def test_reports_validate(report: Report, hostile: Report) -> None:
    schema = json.loads((FOLDER / "report-v1.json").read_text(encoding="utf-8"))
    for made in (report, hostile, build_report(annotated([]), toy_target())):
        jsonschema_rs.validate(schema, json.loads(emit(emit_kind("json"), [made])))
        jsonschema_rs.validate(schema, made.to_dict())
    broken = report.to_dict() | {"surprise": 1}
    with pytest.raises(jsonschema_rs.ValidationError, match="surprise"):
        jsonschema_rs.validate(schema, broken)


def test_several_reports_make_a_comparison(report: Report) -> None:
    made = json.loads(emit(emit_kind("json"), [report, report]))
    jsonschema_rs.validate(json.loads((FOLDER / "comparison-v1.json").read_text(encoding="utf-8")), made)
    assert made["schema"] == "edpc/comparison-v1"
    assert [r["schema"] for r in made["reports"]] == ["edpc/report-v1"] * 2


def test_json_has_the_names_and_nesting_of_the_specification(report: Report) -> None:
    made = report.to_dict()
    assert list(made["model"]) == ["name", "format", "inputs", "num_operators", "flops", "macs", "parameters"]
    assert list(made["target"]) == ["name", "architecture", "precision", "batch"]
    assert list(made["totals"]["energy_by_component"]) == ["compute", "on_chip", "dram", "static", "overhead"]
    assert list(made["totals"]["latency_by_component"]) == ["compute", "memory", "overhead"]
    assert list(made["totals"]["interval"]) == ["energy_j", "latency_s", "edp_js"]
    assert list(made["fusion"]) == ["fused", "separate", "saved"]
    assert list(made["fusion"]["saved"]["by_cause"]) == ["dram_energy", "static_energy", "launch_overhead", "other"]
    assert list(made["coverage"]) == ["operators_total", "operators_modelled", "unknown", "notes"]


# --- CSV -----------------------------------------------------------------------------------------------------


def test_csv_has_one_row_per_operator_and_cells_that_are_numbers(report: Report, hostile: Report) -> None:
    data = emit(emit_kind("csv"), [report, hostile]).decode()
    assert data.endswith("\r\n")
    rows = list(csv.DictReader(io.StringIO(data, newline="")))
    assert len(rows) == 8
    assert [row["operator_id"] for row in rows[:4]] == ["matmul_0", "add_1", "relu_2", "transpose_3"]
    assert float(rows[0]["edp_js"]) == report.operators[0].edp_js
    assert (rows[0]["is_fused"], rows[3]["is_fused"], rows[3]["fusion_benefit"]) == ("true", "false", "")
    assert rows[4]["source_name"] == HOSTILE


def test_csv_reads_back_into_the_same_numbers() -> None:
    made = [edpc.compile(str(ROOT / "tests" / "models" / "resnet18.onnx"), target=t, batch=3) for t in ("h100", "kpu")]
    rows = list(csv.DictReader(io.StringIO(emit(emit_kind("csv"), made).decode(), newline="")))
    operators = [operator for report in made for operator in report.operators]
    for row, operator in zip(rows, operators, strict=True):
        own = {field: row.pop(field) for field in ("model", "target", "precision", "batch")}
        assert own["batch"] == "3"
        read = {field: None if cell == "" and field != "module_path" else cell for field, cell in row.items()}
        assert msgspec.convert(read, type(operator), strict=False) == operator


# --- IR ------------------------------------------------------------------------------------------------------


def test_ir_is_the_annotated_graph(report: Report) -> None:
    from edpc.ir.text import parse_graph

    assert parse_graph(emit(emit_kind("ir"), [report]).decode()) == report.graph


def test_ir_needs_the_graph(report: Report) -> None:
    read = msgspec.json.decode(report.to_json(), type=Report)
    assert read == report
    with pytest.raises(UsageError, match="no graph to print"):
        emit(emit_kind("ir"), [read])


# --- text ----------------------------------------------------------------------------------------------------


def test_text_shows_totals_subgraphs_operators_and_fusion(report: Report) -> None:
    text = text_of(report)
    for words in (
        "chain on toy",
        "coverage: 4 of 4 operators modelled",
        "90 % interval",
        "1 make 50 %",
        "matmul_0 + add + relu",
        "gemm-epilogue",
        "DRAM tensor accesses",
        "EDP saved by cause",
        "25.0 % of the EDP's sensitivity rests on constants marked as assumed",
        "note: a note of the target",
    ):
        assert words in text, words
    accesses = next(line for line in text.splitlines() if line.split()[:3] == ["DRAM", "tensor", "accesses"] and "%" in line)
    assert accesses.split()[3:6] == ["8", "4", "4"]  # separate, fused, saved


def test_text_has_no_control_characters_and_keeps_markup_as_text(hostile: Report) -> None:
    text = text_of(hostile)
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "\\x1b[31mred" in text
    assert all(line.isprintable() for line in text.splitlines())


def test_terminal_output_keeps_markup_as_text() -> None:
    from rich.console import Console

    from edpc.emit.terminal import show
    from edpc.emit.text import document

    report = build_report(annotated(renamed(CHAIN, "[red]\x1b[31mx")), toy_target())
    out = io.StringIO()
    show(document([report], EmitOptions()), Console(file=out, force_terminal=True, width=250))
    assert "[red]\\x1b[31mx" in out.getvalue()
    assert "\x1b[1m" in out.getvalue()


def test_a_narrow_terminal_leaves_optional_columns_out_and_says_so(report: Report) -> None:
    from rich.console import Console

    from edpc.emit.terminal import show
    from edpc.emit.text import document

    shown = {}
    for width in (80, 200):
        out = io.StringIO()
        show(document([report], EmitOptions()), Console(file=out, width=width))
        assert max(len(line) for line in out.getvalue().splitlines()) <= width
        shown[width] = out.getvalue()
    assert "left out for width: " in shown[80]
    assert "utilization" in shown[80].split("left out for width: ")[1].splitlines()[0]
    assert "left out" not in shown[200]


def test_top_limits_the_tables(report: Report) -> None:
    assert "first 1 of 2" in text_of(report, top=1)
    assert "first 2 of 2" in text_of(report, top=None)


def test_comparison_comes_first(report: Report) -> None:
    other = build_report(annotated(), toy_target("other"))
    text = text_of(report, other)
    assert text.index("Comparison") < text.index("chain on toy") < text.index("chain on other")
    assert "EDP of operators across targets" in text


def test_metric_ranks() -> None:
    def order(metric: str) -> list[str]:
        return [r.subgraph.id for r in rank(build_report(annotated(), toy_target(), metric=metric))]  # type: ignore[arg-type]

    # g0 takes 3.2 us and 18.1 nJ, g1 4 us and 6.5 nJ.
    assert order("energy") == ["g0", "g1"]
    assert order("latency") == ["g1", "g0"]
    by_ed2p = rank(build_report(annotated(), toy_target(), metric="ed2p"))
    g0 = by_ed2p[0].subgraph
    assert by_ed2p[0].share == pytest.approx((g0.energy_fraction + 2 * g0.latency_fraction) / 3)
    assert by_ed2p[-1].cumulative == pytest.approx(1.0)


def test_counts_say_how_many_make_each_level(report: Report) -> None:
    # shares 0.59 and 0.41
    assert counts(rank(report)) == {50: 1, 80: 2, 90: 2, 95: 2, 99: 2}
    assert counts([]) == {50: 0, 80: 0, 90: 0, 95: 0, 99: 0}


def test_plain_tables_align() -> None:
    table = Table("T", (Column("name", number=False), Column("n")), (("a", "1"), ("long", "100")))
    assert to_text([table]) == "T\n  name    n\n  ----  ---\n  a       1\n  long  100\n"


def test_long_names_are_cut_in_the_middle() -> None:
    assert shorten("encoder.layer.11.attention.output", 15) == "encode...output"
    assert len(shorten("x" * 99, 48)) == 48
    assert printable("a\tb\u200bc") == "a\\tb\\u200bc"


# --- saving, kinds, notebooks --------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", sorted({kind.suffix for kind in EMIT_KINDS.values()}))
def test_save_goes_by_suffix(tmp_path: Path, suffix: str) -> None:
    report = edpc.compile(str(ROOT / "tests" / "models" / "linear_bias_relu.onnx"), target="kpu")
    kind = next(kind for kind in EMIT_KINDS.values() if kind.suffix == suffix)
    path = tmp_path / f"r{suffix}"
    report.save(path)
    assert path.read_bytes() == emit(kind, [report])
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    comparison = edpc.compare([report, report])
    if kind.one_each:
        with pytest.raises(UsageError, match=f"{kind.name} holds one report a file"):
            comparison.save(path)
    else:
        comparison.save(path)
        assert path.read_bytes() == emit(kind, [report, report])


def test_a_file_that_cannot_be_made_leaves_the_one_that_is_there(report: Report, tmp_path: Path) -> None:
    path = tmp_path / "r.onnx"  # its model, chain.onnx, does not exist
    path.write_text("precious")
    with pytest.raises(ModelError, match=r"chain\.onnx cannot be read"):
        report.save(path)
    assert path.read_text() == "precious"
    assert [p.name for p in tmp_path.iterdir()] == ["r.onnx"]


def test_save_refuses(report: Report, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"suffixes known are \.txt, \.json, \.csv, .*\.edp"):
        report.save(tmp_path / "r.docx")
    with pytest.raises(UsageError, match=r"cannot write .*No such file or directory"):
        save([report], tmp_path / "nowhere" / "r.json")


def test_unknown_kind_is_told_what_is_meant() -> None:
    with pytest.raises(UsageError, match="did you mean 'json'"):
        emit_kind("jsn")
    with pytest.raises(UsageError, match=r"Known are report, json, csv, .*ir"):
        emit_kind("hologram")
