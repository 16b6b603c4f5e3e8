"""The command line: every exit code, every channel, every place."""

from __future__ import annotations

import json
import os
from pathlib import Path

import jsonschema_rs
import pytest

from edpc.emit.json_schema import FOLDER
from edpc.ir.text import parse_graph
from tests.chain_model import chain, save, stranger
from tests.command_line import edpc, refused

SCHEMAS = {name: json.loads((FOLDER / f"{name}-v1.json").read_text(encoding="utf-8")) for name in ("report", "comparison")}


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs every test in a folder of its own, without settings from outside."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("EDPC_") or name in ("NO_COLOR", "FORCE_COLOR")]:
        monkeypatch.delenv(name)


@pytest.fixture
def model(tmp_path: Path) -> str:
    return save(chain(), tmp_path, "chain.onnx")


# --- what it prints ------------------------------------------------------------------------------------------


def test_default_is_a_report_for_the_cpu(model: str) -> None:
    result = edpc(model)
    assert result.exit_code == 0
    assert result.stdout.startswith("chain on cpu\n")
    assert "linear + bias + relu" in result.stdout
    assert "\x1b" not in result.stdout
    assert result.stderr == ""


@pytest.mark.parametrize("target", ["h100", "kpu", "tpu", "cpu"])
def test_chain_makes_six_accesses_and_three_launches_apart_two_and_one_fused(model: str, target: str) -> None:
    made = json.loads(edpc(model, "--target", target, "--emit", "json").stdout)
    jsonschema_rs.validate(SCHEMAS["report"], made)
    separate, fused = made["fusion"]["separate"], made["fusion"]["fused"]
    assert (separate["dram_accesses"], separate["launches"]) == (6, 3)
    assert (fused["dram_accesses"], fused["launches"]) == (2, 1)
    assert made["model"]["macs"] == 64 * 256 * 512
    text = edpc(model, "--target", target).stdout
    accesses = [
        line.split()[3:6] for line in text.splitlines() if line.strip().startswith("DRAM tensor accesses") and "%" in line
    ]
    assert accesses == [["6", "2", "4"]]


def test_fusion_off_is_the_separate_run(model: str) -> None:
    on = json.loads(edpc(model, "--emit", "json").stdout)
    off = json.loads(edpc(model, "--emit", "json", "--fusion", "off").stdout)
    assert len(off["subgraphs"]) == 3
    assert off["totals"]["energy_j"] == pytest.approx(on["fusion"]["separate"]["energy_j"], rel=1e-12)
    assert off["totals"]["latency_s"] == pytest.approx(on["fusion"]["separate"]["latency_s"], rel=1e-12)
    assert off["fusion"]["saved"]["edp_js"] == pytest.approx(0.0, abs=1e-12 * on["fusion"]["separate"]["edp_js"])


def test_all_targets_make_a_comparison(model: str) -> None:
    made = json.loads(edpc(model, "-t", "all", "-e", "json").stdout)
    jsonschema_rs.validate(SCHEMAS["comparison"], made)
    assert [row["target"] for row in made["rows"]] == ["h100", "kpu", "tpu", "cpu"]
    assert "Comparison" in edpc(model, "-t", "h100,kpu").stdout


def test_attribution_and_metric_reach_the_report(model: str) -> None:
    made = json.loads(edpc(model, "-e", "json", "--attribution", "flops", "--metric", "energy").stdout)
    assert (made["attribution"], made["metric"]) == ("flops", "energy")
    assert all(op["edp_js"] == op["base_edp"] for op in made["operators"])
    assert "Subgraphs by energy share" in edpc(model, "--metric", "energy").stdout


def test_two_runs_give_the_same_bytes(model: str) -> None:
    first, second = (edpc(model, "-t", "all", "-e", "json,csv,ir,report").stdout_bytes for _ in range(2))
    assert first == second


def test_sizes_and_settings_reach_the_model_and_the_machine(tmp_path: Path) -> None:
    free = save(chain("rows"), tmp_path, "free.onnx")
    made = json.loads(edpc(free, "--dim", "rows=16", "-e", "json").stdout)
    assert made["model"]["inputs"] == [{"name": "x", "shape": [16, 256], "dtype": "fp32"}]
    assert json.loads(edpc(free, "--batch", "4", "-e", "json").stdout)["target"]["batch"] == 4
    assert json.loads(edpc(free, "--shape", "x=32,256", "-e", "json").stdout)["model"]["macs"] == 32 * 256 * 512
    slow = json.loads(edpc(free, "--dim", "rows=16", "-t", "h100", "--set", "hbm.bandwidth=1GB/s", "-e", "json").stdout)
    fast = json.loads(edpc(free, "--dim", "rows=16", "-t", "h100", "-e", "json").stdout)
    assert slow["totals"]["latency_s"] > 10 * fast["totals"]["latency_s"]


def test_a_setting_may_be_for_one_target(model: str) -> None:
    result = edpc(model, "-t", "h100,cpu", "--set", "h100:hbm.bandwidth=1GB/s", "-e", "json")
    slow, same = json.loads(result.stdout)["reports"]
    assert same == json.loads(edpc(model, "-t", "cpu", "-e", "json").stdout)
    assert slow != json.loads(edpc(model, "-t", "h100", "-e", "json").stdout)
    refused(edpc(model, "-t", "cpu", "--set", "h100:hbm.bandwidth=1GB/s"), 2, "target 'h100' is not among cpu")


# --- where it goes -------------------------------------------------------------------------------------------


def test_one_kind_goes_to_the_file(model: str, tmp_path: Path) -> None:
    result = edpc(model, "-e", "json", "-o", "out.anything")
    assert (result.exit_code, result.stdout) == (0, "")
    jsonschema_rs.validate(SCHEMAS["report"], json.loads((tmp_path / "out.anything").read_bytes()))


def test_several_kinds_share_a_stem_or_a_folder(model: str, tmp_path: Path) -> None:
    assert edpc(model, "-e", "json,csv,ir,report", "-o", "out.json").exit_code == 0
    assert sorted(p.name for p in tmp_path.glob("out*")) == ["out.csv", "out.edp", "out.json", "out.txt"]
    assert edpc(model, "-e", "json,ir", "-t", "kpu,tpu", "-o", "new/folder/").exit_code == 0
    assert sorted(p.name for p in (tmp_path / "new/folder").iterdir()) == ["chain.json", "chain.kpu.edp", "chain.tpu.edp"]


def test_ir_is_read_back_and_costs_the_same(model: str, tmp_path: Path) -> None:
    # import-cleanup alone: the network before anything a target decides.
    assert edpc(model, "-e", "ir", "--pass-pipeline", "import-cleanup", "-o", "clean.edp").exit_code == 0
    assert parse_graph((tmp_path / "clean.edp").read_text(encoding="utf-8")).name == "chain"
    whole, again = (json.loads(edpc(path, "-t", "tpu", "-e", "json").stdout) for path in (model, "clean.edp"))
    assert again["totals"] == whole["totals"]


def test_minus_is_stdin_and_stdout(model: str) -> None:
    result = edpc("-", "-e", "json", "-o", "-", input=Path(model).read_bytes())
    assert json.loads(result.stdout)["model"]["macs"] == 64 * 256 * 512


def test_pass_debugging_goes_to_stderr_and_folders(model: str, tmp_path: Path) -> None:
    result = edpc(
        model, "-e", "json", "--print-ir-before", "annotate-cost", "--print-ir-after", "changed", "--timing", "--dump-ir", "ir"
    )
    assert result.exit_code == 0
    json.loads(result.stdout)
    assert "// ----- before annotate-cost -----" in result.stderr
    assert "// ----- after fuse-operators -----" in result.stderr
    assert "total" in result.stderr
    assert (tmp_path / "ir" / "00-input.edp").is_file()
    assert edpc(model, "-t", "kpu,cpu", "--dump-ir", "two", "--no-verify").exit_code == 0
    assert sorted(p.name for p in (tmp_path / "two").iterdir()) == ["cpu", "kpu"]


# --- targets and passes --------------------------------------------------------------------------------------


def test_targets_lists_and_tells() -> None:
    listed = edpc("targets").stdout
    for name in ("h100", "kpu", "tpu", "cpu"):
        assert f"\n  {name} " in listed
    told = edpc("targets", "h100").stdout
    for words in ("hbm.bandwidth", "3.350 TB/s", "datasheet", "Fusion rules", "Declared architectural modifiers", "launch"):
        assert words in told, words
    refused(edpc("targets", "h10"), 2, "did you mean")


def test_passes_lists_and_tells() -> None:
    listed = edpc("passes").stdout
    assert "fuse-operators" in listed
    told = edpc("passes", "fuse-operators").stdout
    for words in ("requires work", "produces groups", "enabled"):
        assert words in told, words
    refused(edpc("passes", "fuse-operator"), 2, "did you mean 'fuse-operators'")


def test_a_model_called_like_a_command_is_reached_by_its_path(tmp_path: Path) -> None:
    save(chain(), tmp_path, "targets")
    assert edpc("./targets").stdout.startswith("targets on cpu")
    assert edpc("targets").stdout.lstrip().startswith("name")


# --- what it refuses -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--emit", "jsn"], "did you mean 'json'"),
        (["--emit", "json,,csv"], "empty name"),
        (["--target", "h10"], "did you mean 'h100'"),
        (["--target", "./nowhere.py"], "nowhere.py"),
        (["--precison", "bf16"], "--precision"),
        (["--precision", "bf17"], "bf17"),
        (["--batch", "0"], "--batch"),
        (["--dim", "rows"], "--dim batch=8"),
        (["--shape", "x=1,two"], "--shape input=1,3,224,224"),
        (["--trip-count", "loop=-1"], "--trip-count loop=10"),
        (["--set", "hbm.bandwidth"], "KEY=VALUE"),
        (["--target", "h100", "--set", "hbm.bandwith=1TB/s"], "did you mean 'hbm.bandwidth'"),
        (["--target", "h100", "--set", "hbm.bandwidth=1TB"], "3.35TB/s"),
        (["--fusion", "perhaps"], "--fusion"),
        (["--top", "-1"], "--top"),
        (["--pass-pipeline", "fuse-operator"], "did you mean 'fuse-operators'"),
        (["--pass-pipeline", "import-cleanup"], "a report needs annotate-cost"),
        (["--print-ir-after", "fuse"], "--print-ir-after"),
        (["--pass-file", "nowhere.py"], "nowhere.py"),
        (["-o", "chain.onnx/out.json"], "chain.onnx"),
    ],
)
def test_wrong_usage_is_one_sentence_and_exit_2(model: str, args: list[str], words: str) -> None:
    refused(edpc(model, *args), 2, words)


def test_no_model_is_wrong_usage() -> None:
    refused(edpc("--target", "tpu"), 2, "MODEL")


def test_a_model_that_cannot_be_read_is_exit_3(tmp_path: Path) -> None:
    refused(edpc("nowhere.onnx"), 3, "nowhere.onnx")
    refused(edpc("target"), 3, "or is the command 'targets' meant?")
    (tmp_path / "broken.onnx").write_bytes(b"\x08\x01garbage")
    refused(edpc("broken.onnx"), 3, "broken.onnx")


def test_strict_is_a_gate_and_writes_all_the_same(tmp_path: Path) -> None:
    path = save(stranger(), tmp_path, "stranger.onnx")
    relaxed = edpc(path)
    assert relaxed.exit_code == 0
    assert "unknown and counted as data movement: 1 x my.domain.Fancy" in relaxed.stdout
    strict = edpc(path, "--strict", "-e", "json")
    assert strict.exit_code == 1
    assert json.loads(strict.stdout)["coverage"]["unknown"] == [{"operator_type": "Fancy", "count": 1, "domain": "my.domain"}]
    assert strict.stderr == f"edpc: error: --strict: {path} has operators that edpc does not know: 1 x my.domain.Fancy\n"


FAILING = """
from dataclasses import dataclass
from typing import ClassVar
from edpc.pipeline.base import Pass

@dataclass(frozen=True)
class Explode(Pass):
    '''Nothing is true afterwards.'''
    name: ClassVar[str] = "explode"

    def run(self, graph, ctx):
        raise KeyError("boom")
"""


def test_a_pass_that_fails_is_exit_4_with_a_reproducer(model: str, tmp_path: Path) -> None:
    (tmp_path / "explode.py").write_text(FAILING)
    args = (model, "--pass-file", "explode.py", "--pass-pipeline", "import-cleanup,explode", "-t", "kpu")
    result = edpc(*args)
    refused(result, 4, "explode", "boom", "edpc-opt ./edpc-reproducer-")
    (kept,) = tmp_path.glob("edpc-reproducer-*.edp")
    text = kept.read_text(encoding="utf-8")
    assert "--pass-file explode.py" in text
    assert "-p explode" in text
    assert parse_graph(text).name == "chain"
    assert edpc(*args).stderr == result.stderr
    assert len(list(tmp_path.glob("edpc-reproducer-*.edp"))) == 1


def test_a_failure_of_our_own_is_exit_4_with_the_graph(model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object, **options: object) -> None:
        raise ZeroDivisionError("nought")

    monkeypatch.setattr("edpc.cli.run.build_report", broken)
    refused(edpc(model), 4, "building the report failed: ZeroDivisionError: nought", "edpc-reproducer-")
    (kept,) = tmp_path.glob("edpc-reproducer-*.edp")
    assert parse_graph(kept.read_text(encoding="utf-8")).estimate is not None


def test_an_unexpected_failure_while_reading_names_the_model(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object, **options: object) -> None:
        raise IndexError("out of range")

    monkeypatch.setattr("edpc.api.load", broken)
    refused(edpc(model), 4, f"internal error while reading {model}, IndexError: out of range")
    shown = edpc(model, "--debug")
    assert shown.exit_code == 4
    assert "Traceback" in shown.stderr


def test_interruption_is_130(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("edpc.cli.run.run", interrupted)
    result = edpc(model)
    assert result.exit_code == 130
    assert "Traceback" not in result.stderr


def test_messages_escape_what_a_model_is_called() -> None:
    result = edpc("\x1b[31mred.onnx")
    assert result.exit_code == 3
    assert "\x1b" not in result.stderr
