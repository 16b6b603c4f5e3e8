"""`edpc sweep`: rows equal single runs, journals resume, processes and a cluster give the same rows."""

from __future__ import annotations

import csv
import io
import itertools
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import edpc as api
from edpc.api import configure
from edpc.errors import UsageError
from edpc.sweep import Sweep, axis, run_sweep
from edpc.sweep.evaluate import FIGURES, price
from edpc.sweep.forms import rows, specification, to_csv
from edpc.sweep.run import JOURNAL
from tests.chain_model import chain, save
from tests.command_line import edpc, process, refused

MODELS = Path(__file__).parent / "models"
TARGETS = ("h100", "kpu", "tpu", "cpu")
# Constants that decide different things: rates, energies, what stays on chip.
KEYS = ("dram.bandwidth", "dram.read_energy", "static_power", "llc.capacity")


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    return save(chain("batch"), tmp_path, "chain.onnx")


def figures(report: api.Report) -> tuple[float, ...]:
    totals = report.totals
    return (totals.energy_j, totals.latency_s, totals.edp_js, totals.average_power_w, totals.dram_bytes)


# --- rows are what single runs answer ------------------------------------------------------------------------


@pytest.mark.parametrize("target", TARGETS)
@given(factors=st.lists(st.sampled_from([0.01, 0.1, 0.5, 1.0, 2.0, 30.0]), min_size=4, max_size=4), fusion=st.booleans())
@settings(max_examples=4, deadline=None)
def test_a_row_equals_a_run_with_the_same_constants(target: str, factors: list[float], fusion: bool) -> None:
    model = str(MODELS / "bert_tiny.onnx")
    machine = configure(target)
    known = {key: machine.constants()[key] for key in KEYS if key in machine.constants()}
    # The second value of every axis is the nominal one, so that a point holds variants under several plans.
    axes = tuple(
        axis(f"{key}={value * factor!r},{value!r}", machine) for (key, value), factor in zip(known.items(), factors, strict=False)
    )
    points = Sweep((model,), (target,), batches=(2,), fusions=(fusion,), axes=axes).points()
    for point in points:
        priced = price(point)
        assert not priced.error
        for values, row in zip(point.variants, priced.rows, strict=True):
            chosen = [*point.settings, *(f"{a.key}={v}" for a, v in zip(point.columns, values, strict=True))]
            assert row == pytest.approx(figures(api.compile(model, target, batch=2, set=chosen, fusion=fusion)), rel=1e-12)


def test_switches_sizes_and_dimensions_are_swept_too(model: str) -> None:
    found = list(
        rows(
            run_sweep(
                Sweep(
                    (model,),
                    ("h100",),
                    precisions=(None, "bf16"),
                    dims=(("batch", (1, 4)),),
                    fusions=(True, False),
                    axes=(axis("launch=eager,graph", configure("h100")),),
                )
            )
        )
    )
    assert len(found) == 16
    for row in found:
        report = api.compile(
            model,
            "h100",
            precision=row["precision"],
            dims={"batch": row["batch"]},
            fusion=row["fusion"] == "on",
            set=[f"launch={row['launch']}"],
        )
        assert row["edp_js"] == pytest.approx(report.edp_js, rel=1e-12)


def test_an_axis_for_one_target_leaves_the_others_alone(model: str) -> None:
    sweep = Sweep((model,), ("h100", "kpu"), batches=(1,), axes=(axis("h100:dram.bandwidth=1TB/s:4TB/s:4", configure("h100")),))
    found = list(rows(run_sweep(sweep)))
    assert [(row["target"], row["dram.bandwidth"]) for row in found] == [
        *(("h100", value) for value in (1e12, 2e12, 3e12, 4e12)),
        ("kpu", None),
    ]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("dram.bandwidth=1TB/s:4TB/s:4", [1e12, 2e12, 3e12, 4e12]),
        ("dram.bandwidth=1TB/s:100TB/s:3:log", [1e12, 1e13, 1e14]),
        ("dram.bandwidth=800GB/s, 2TB/s,800GB/s", [8e11, 2e12]),
        ("launch=eager,graph", ["eager", "graph"]),
    ],
)
def test_axes(text: str, values: list[object]) -> None:
    found = axis(text, configure("h100"))
    assert [found.cell(value) for value in found.values] == pytest.approx(values)


# --- journals ------------------------------------------------------------------------------------------------


def grid(model: str) -> Sweep:
    bandwidth = axis("dram.bandwidth=1TB/s:8TB/s:5", configure("h100"))
    return Sweep((model,), ("h100", "tpu"), batches=(1, 8), axes=(bandwidth,))


@pytest.mark.parametrize("cut", [0, 10])
def test_a_killed_sweep_goes_on_where_it_was(model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut: int) -> None:
    whole = run_sweep(grid(model), folder=tmp_path / "sweep")
    journal = tmp_path / "sweep" / JOURNAL
    lines = journal.read_bytes().splitlines(keepends=True)
    assert len(lines) == 1 + len(whole.points)
    # Two points are there; the third was being written.
    journal.write_bytes(b"".join(lines[:3]) + lines[3][:cut])
    asked = []
    monkeypatch.setattr("edpc.sweep.run.price", lambda point: asked.append(point) or price(point))
    assert run_sweep(grid(model), folder=tmp_path / "sweep") == whole
    assert asked == list(whole.points[2:])
    assert sorted(journal.read_bytes().splitlines()) == sorted(line.strip() for line in lines)


def test_a_journal_of_another_sweep_is_left_alone(model: str, tmp_path: Path) -> None:
    run_sweep(grid(model), folder=tmp_path / "sweep")
    before = (tmp_path / "sweep" / JOURNAL).read_bytes()
    other = Sweep((model,), ("cpu",), batches=(1,))
    with pytest.raises(UsageError, match="another sweep"):
        run_sweep(other, folder=tmp_path / "sweep")
    Path(model).write_bytes(Path(model).read_bytes() + b"\n")  # the model changed
    with pytest.raises(UsageError, match="another sweep"):
        run_sweep(grid(model), folder=tmp_path / "sweep")
    assert (tmp_path / "sweep" / JOURNAL).read_bytes() == before


# --- processes and a cluster ---------------------------------------------------------------------------------


def test_processes_give_the_same_rows(model: str) -> None:
    told: list[tuple[int, int]] = []
    assert run_sweep(grid(model), jobs=2, progress=lambda *counts: told.append(counts)) == run_sweep(grid(model))
    assert told == [(done, 4) for done in range(5)]


@pytest.mark.slow
def test_a_cluster_gives_the_same_rows(model: str, tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, local_directory=str(tmp_path / "dask"), host="127.0.0.1"
    ) as cluster:
        found = process(
            "sweep", model, "-t", "h100,tpu", "--batch", "1,8", "--vary", "dram.bandwidth=1TB/s:8TB/s:5",
            "--scheduler", cluster.scheduler_address, "--emit", "csv", cwd=tmp_path,
        )  # fmt: skip
    assert found.returncode == 0, found.stderr
    assert found.stdout.encode() == to_csv(run_sweep(grid(model)))


def test_a_scheduler_that_is_not_there_is_one_sentence(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr("edpc.sweep.run.PATIENCE_S", 0.5)
    refused(edpc("sweep", model, "--batch", "1", "--scheduler", "tcp://127.0.0.1:9"), 2, "no dask scheduler answers")


# --- forms and the command -----------------------------------------------------------------------------------


def test_csv_and_parquet_read_back_into_the_same_numbers(model: str, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    result = edpc(
        "sweep", model, "-t", "h100,kpu", "--batch", "1,8", "--vary", "dram.bandwidth=1TB/s:8TB/s:3",
        "--emit", "csv,parquet,table", "-o", str(tmp_path / "out"), "--jobs", "1",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "Lowest edp" in result.stdout
    expected = list(rows(run_sweep(Sweep((model,), ("h100", "kpu"), batches=(1, 8), axes=_axes()))))
    assert parquet.read_table(tmp_path / "out" / "sweep.parquet").to_pylist() == expected
    read = list(csv.DictReader(io.StringIO((tmp_path / "out" / "sweep.csv").read_text(encoding="utf-8"))))
    for row, text in itertools.zip_longest(expected, read):
        assert [float(text[name]) for name in (*FIGURES, "dram.bandwidth")] == [
            row[name] for name in (*FIGURES, "dram.bandwidth")
        ]


def _axes() -> tuple[object, ...]:
    return (axis("dram.bandwidth=1TB/s:8TB/s:3", configure("h100")),)


def test_the_plot_shows_every_row(model: str) -> None:
    outcome = run_sweep(grid(model))
    found = specification(outcome, "latency")
    values = found["data"]["values"]
    assert [value["y"] for value in values] == [row["latency_s"] for row in rows(outcome)]
    assert [value["x"] for value in values[:5]] == pytest.approx([1e12, 2.75e12, 4.5e12, 6.25e12, 8e12])
    assert {value["series"] for value in values} == {f"{target}, batch {size}" for target in ("h100", "tpu") for size in (1, 8)}
    json.dumps(found)


def test_points_that_fail_are_named_and_lose_nothing(model: str, tmp_path: Path) -> None:
    result = edpc("sweep", model, "nothing.onnx", "--batch", "1", "--emit", "csv", "-o", str(tmp_path / "out"))
    assert result.exit_code == 3
    assert "1 of 2 points failed" in result.stderr
    assert "nothing.onnx" in result.stderr
    assert len((tmp_path / "out" / "sweep.csv").read_text(encoding="utf-8").splitlines()) == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--vary", "dram.bandwidth"], ["--vary", "for example"]),
        (["--vary", "dram.bandwidht=1TB/s"], ["dram.bandwidht", "dram.bandwidth"]),
        (["--vary", "dram.bandwidth=1TB/s:2TB/s:1"], ["COUNT"]),
        (["--vary", "dram.bandwidth=0TB/s:2TB/s:3:log"], ["above zero"]),
        (["--vary", "dram.bandwidth=1TB/s,"], ["empty"]),
        (["--vary", "tpu:dram.bandwidth=1TB/s"], ["tpu"]),
        (["--vary", "dram.bandwidth=5W"], ["W"]),
        (["--batch", "0"], ["--batch"]),
        (["--fusion", "maybe"], ["--fusion"]),
        (["--emit", "pdf"], ["pdf", "parquet"]),
        (["--emit", "svg"], ["--output"]),
        (["--precision", "bf61"], ["bf61"]),
    ],
)
def test_misuse(model: str, arguments: list[str], words: list[str]) -> None:
    result = edpc("sweep", model, "--dim", "batch=1", *arguments)
    assert result.exit_code in (2, 3)
    assert result.stderr.startswith("edpc: error: ")
    for word in words:
        assert word in result.stderr
