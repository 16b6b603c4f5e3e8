"""The Python API: cheap to import, silent, and the same answer as the command line's."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

import edpc
from edpc.api import configure, without_fusion
from edpc.pipeline.text import parse_pipeline, print_pipeline
from tests.chain_model import chain, save, stranger
from tests.hand_made import toy_target

ROOT = Path(__file__).parents[1]


def test_importing_edpc_is_cheap() -> None:
    code = "import sys, edpc; sys.exit(str({'networkx', 'numpy', 'onnx', 'msgspec', 'click'} & set(sys.modules) or '') or 0)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert done.returncode == 0, done.stderr


def test_every_public_name_exists_and_no_other() -> None:
    for name in edpc.__all__:
        assert getattr(edpc, name) is not None
    assert set(edpc.__all__) <= set(dir(edpc))
    with pytest.raises(AttributeError, match="no attribute 'complie'"):
        _ = edpc.complie  # type: ignore[attr-defined]


def test_version_is_the_packages() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == edpc.__version__


@pytest.mark.parametrize("kind", ["path", "text", "bytes", "proto", "graph"])
def test_every_kind_of_source_gives_the_same_totals(tmp_path: Path, kind: str) -> None:
    path = save(chain(), tmp_path, "chain.onnx")
    sources = {"path": Path(path), "text": path, "bytes": Path(path).read_bytes(), "proto": chain(), "graph": edpc.load(path)}
    report = edpc.compile(sources[kind], target="tpu")
    assert report.totals == edpc.compile(path, target="tpu").totals
    assert report.model.macs == 64 * 256 * 512


@pytest.mark.parametrize("target", ["h100", "kpu", "tpu", "cpu"])
@pytest.mark.parametrize("attribution", ["events", "flops", "modifiers"])
def test_every_joule_second_reaches_an_operator(target: str, attribution: str) -> None:
    report = edpc.compile(chain(), target=target, attribution=attribution)  # type: ignore[arg-type]
    assert math.fsum(op.edp_js for op in report.operators) == pytest.approx(report.edp_js, rel=1e-12)
    assert math.fsum(op.energy_j for op in report.operators) == pytest.approx(report.energy_j, rel=1e-12)
    assert math.fsum(op.latency_s for op in report.operators) == pytest.approx(report.latency_s, rel=1e-12)
    assert report.edp_js == report.energy_j * report.latency_s


def test_arguments_reach_model_and_machine() -> None:
    report = edpc.compile(chain("rows"), target="h100", precision="bf16", batch=8, set={"hbm.bandwidth": "1GB/s"})
    assert (report.target.precision, report.target.batch, report.model.inputs[0].shape) == ("bf16", 8, (8, 256))
    text = edpc.compile(chain("rows"), target="h100", precision="bf16", batch=8, set=["hbm.bandwidth=1GB/s"])
    assert text.totals == report.totals
    assert report.latency_s > edpc.compile(chain("rows"), target="h100", precision="bf16", batch=8).latency_s
    assert edpc.compile(chain("rows"), dims={"rows": 3}).model.macs == 3 * 256 * 512
    assert edpc.compile(chain("rows"), shapes={"x": (5, 256)}).model.macs == 5 * 256 * 512


def test_a_graph_is_compiled_for_several_targets_and_stays_as_it_is() -> None:
    graph = edpc.load(chain())
    before = graph.copy()
    reports = [edpc.compile(graph, target=target) for target in ("h100", "kpu", "tpu", "cpu")]
    assert graph == before
    comparison = edpc.compare(reports)
    assert [row.target for row in comparison.rows] == ["h100", "kpu", "tpu", "cpu"]
    assert json.loads(comparison.to_json())["schema"] == "edpc/comparison-v1"


def test_a_target_object_is_a_target() -> None:
    report = edpc.compile(chain(), target=configure("kpu", {"static_power": "1W"}))
    assert report.target.name == "kpu"
    assert report.energy_j < edpc.compile(chain(), target="kpu").energy_j


def test_fusion_off_runs_every_operator_on_its_own() -> None:
    report = edpc.compile(chain(), target="kpu", fusion=False)
    assert [s.num_operators for s in report.subgraphs] == [1, 1, 1]
    assert not any(op.is_fused for op in report.operators)
    assert report.fusion.saved.dram_accesses == 0
    told = without_fusion(parse_pipeline("annotate-operators,fuse-operators,fixpoint(fuse-operators)"))
    expected = "annotate-operators,fuse-operators{enabled=false},fixpoint(fuse-operators{enabled=false})"
    assert print_pipeline(told) == expected


def test_library_prints_nothing(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    report = edpc.compile(stranger())
    report.to_dict()
    report._repr_html_()
    report.save(tmp_path / "r.json")
    assert json.loads((tmp_path / "r.json").read_bytes()) == report.to_dict()
    assert capfd.readouterr() == ("", "")


def test_what_is_refused() -> None:
    with pytest.raises(edpc.UsageError, match="attribution is one of events, flops, modifiers, not 'guess'"):
        edpc.compile(chain(), attribution="guess")  # type: ignore[arg-type]
    with pytest.raises(edpc.UsageError, match="metric is one of"):
        edpc.compile(chain(), metric="speed")  # type: ignore[arg-type]
    with pytest.raises(edpc.UsageError, match="did you mean 'h100'"):
        edpc.compile(chain(), target="h10")
    with pytest.raises(edpc.ModelError, match=r"nowhere\.onnx"):
        edpc.compile("nowhere.onnx")
    with pytest.raises(edpc.UsageError, match="a report needs annotate-cost"):
        edpc.compile(chain(), pipeline="import-cleanup")
    with pytest.raises(edpc.UsageError, match="must be above zero"):
        configure(toy_target(), {"hbm.bandwidth": 0.0})
    with pytest.raises(edpc.UsageError, match="must be at least zero"):
        configure(toy_target(), ["launch.graph=-1us"])
    with pytest.raises(edpc.UsageError, match="launch"):
        configure(toy_target(), {"launch": "later"})


def test_settings_take_numbers_texts_and_switches() -> None:
    machine = configure(toy_target(), {"hbm.bandwidth": 2e11, "static_power": "5W", "launch": "eager"})
    assert machine.quantities()["hbm.bandwidth"].value == 2e11
    assert machine.quantities()["static_power"].value == 5.0
    assert machine.setting("launch") == "eager"
    assert configure(toy_target(), "static_power=5W").quantities()["static_power"].value == 5.0
