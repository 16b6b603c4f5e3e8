"""Measuring a machine: the fit finds what was put in, the file becomes a target, energy obeys its budget."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edpc.calibration import measure, probes
from edpc.calibration.calibrate import calibrate, undisturbed
from edpc.calibration.fit import Line, completed, fit_lines, predicted
from edpc.calibration.host import EnergyCounter, host, package_power
from edpc.calibration.measure import Suite, lay_out
from edpc.calibration.micro import Micro, model_of
from edpc.calibration.probes import clock_of
from edpc.calibration.suite import suite
from edpc.errors import UsageError
from edpc.machine.stored_program import TERMS, Executed
from edpc.machine.stored_program_lines import LINES
from edpc.machine.table import Floats
from edpc.measured import Calibration, default_path, host_target, write_calibration
from edpc.registry import find_target, target_names
from edpc.runtime.model import Prepared
from edpc.target import Basis, Target
from tests.command_line import edpc, refused

pytest.importorskip("onnxruntime")
pytest.importorskip("scipy")

_EVERY = 20  # of the suite: one or two micro-models of each family


@pytest.fixture(scope="module")
def measured_here() -> Calibration:
    return calibrate(suite(_EVERY), [1], 0.0, lambda what, part: None)


@pytest.fixture
def kept(measured_here: Calibration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The calibration where this machine's target is looked for."""
    monkeypatch.setenv("EDPC_CPU_HOST", str(tmp_path / "host.json"))
    write_calibration(measured_here, default_path())
    return default_path()


# --- the fit -----------------------------------------------------------------------------------------------------------


def rows(count: int, seed: int = 0) -> np.ndarray:  # type: ignore[type-arg]
    """Features of made-up kernels in the order of `TERMS`, spread over orders of magnitude."""
    rng = np.random.default_rng(seed)
    scale = {"node": 0.0, "flop": 1e-3, "byte": 1e6, "far": 1e5, "weight": 1e6, "call": 1e3, "pass": 1e4}
    x = np.stack([scale[term] * 10.0 ** rng.uniform(-1.5, 0.5, count) for term in TERMS], axis=1)
    x[:, list(TERMS).index("node")] = 1.0
    return x


TRUE = {"node": 5e-6, "flop": 0.8, "byte": 20e9, "far": 30e9, "weight": 10e9, "call": 20e-9, "pass": 1e-9}


def plan_of(kind: str, count: int) -> Executed:
    column = np.ones(count)
    return Executed(np.full(count, LINES.index(kind)), column, column, column)


def test_the_fit_finds_the_constants_that_made_the_times() -> None:
    x = rows(60)
    y = predicted(x, Line(TRUE, 0.0, 0))
    found = fit_lines(x, plan_of("gemm", 60), y)["gemm"]
    assert found.points == 60
    for term, value in TRUE.items():
        assert found.constants[term] == pytest.approx(value, rel=1e-3), term


def test_disturbed_runs_hardly_move_the_fit() -> None:
    x = rows(60)
    y = predicted(x, Line(TRUE, 0.0, 0))
    disturbed = y.copy()
    disturbed[::10] *= 5.0
    found = fit_lines(x, plan_of("gemm", 60), disturbed)["gemm"]
    again = predicted(x, found)
    assert float(np.median(np.abs(again / y - 1.0))) < 0.05


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 1000), noise=st.floats(0.0, 0.3))
def test_constants_are_never_negative_and_finite(seed: int, noise: float) -> None:
    x = rows(20, seed)
    y = predicted(x, Line(TRUE, 0.0, 0)) * np.exp(np.random.default_rng(seed).normal(0.0, noise, 20))
    found = fit_lines(x, plan_of("gemm", 20), y)["gemm"]
    assert all(np.isfinite(value) and value >= 0.0 for value in found.constants.values())
    assert found.spread >= 0.05


def test_kinds_that_read_few_weights_move_all_bytes_at_one_rate() -> None:
    x = rows(40)
    found = fit_lines(x, plan_of("unary", 40), predicted(x, Line({**TRUE, "weight": 20e9}, 0.0, 0)))["unary"]
    assert found.constants["weight"] == found.constants["byte"] == pytest.approx(20e9, rel=1e-3)


def test_unseen_rows_and_rare_kinds_are_left_out() -> None:
    x = rows(5)
    y = predicted(x, Line(TRUE, 0.0, 0))
    y[:2] = np.nan
    assert fit_lines(x, plan_of("gemm", 5), y) == {}  # three are left, a line takes four
    one = Line(TRUE, 0.1, 9)
    assert completed({}, {"gemm": one}) == {"gemm": replace(one, spread=0.2)}


def test_a_kernel_that_took_longer_alone_was_disturbed() -> None:
    alone, among = np.array([3.0, 1.0, np.nan, 2.0]), np.array([2.0, 5.0, 1.0, np.nan])
    assert undisturbed(alone, among) == pytest.approx([2.0, 1.0, np.nan, 2.0], nan_ok=True)


# --- the clock and the counters ----------------------------------------------------------------------------------------


def test_the_clock_runs_from_where_times_rise_to_where_they_are_up() -> None:
    found = clock_of(np.array([0.0, 1.0, 2.0, 3.0, 4.0]), np.array([10.0, 10.0, 15.0, 20.0, 20.0]))
    assert found is not None
    assert found.start_s == pytest.approx(1.3)  # 15 % of the way from 10 to 20 is 11.5, 0.3 after 1
    assert found.start_s + found.span_s == pytest.approx(2.7)
    assert clock_of(np.array([0.0, 1.0]), np.array([10.0, 11.0])) is None


def zone(root: Path, name: str, microjoules: int) -> Path:
    made = root / name
    made.mkdir()
    (made / "energy_uj").write_text(f"{microjoules}\n")
    (made / "max_energy_range_uj").write_text("1000000\n")
    return made


def test_energy_counters_add_packages_and_wrap(tmp_path: Path) -> None:
    first, second = zone(tmp_path, "intel-rapl:0", 900_000), zone(tmp_path, "intel-rapl:1", 0)
    zone(tmp_path, "intel-rapl:0:0", 5)  # the cores of package 0, which it counts already
    counter = EnergyCounter(tmp_path)
    assert counter.readable
    (first / "energy_uj").write_text("100000")  # past a million and on
    (second / "energy_uj").write_text("50000")
    assert counter.joules() == pytest.approx(0.25)
    assert counter.joules() == pytest.approx(0.25)


def test_counters_that_are_absent_or_locked_are_not_readable(tmp_path: Path) -> None:
    assert not EnergyCounter(tmp_path).readable
    locked = zone(tmp_path, "intel-rapl:0", 1)
    (locked / "energy_uj").unlink()
    assert not EnergyCounter(tmp_path).readable


def test_power_is_read_idle_and_at_work(tmp_path: Path) -> None:
    package = zone(tmp_path, "intel-rapl:0", 0)

    def burn() -> None:
        now = int((package / "energy_uj").read_text())
        (package / "energy_uj").write_text(str(now + 10))

    found = package_power(EnergyCounter(tmp_path), burn, lambda: None)
    assert found.arithmetic > found.idle == found.streams == 0.0


def test_this_machine_is_described() -> None:
    here = host()
    assert here.cores >= 1
    assert 2**17 <= here.l2_bytes <= here.l3_bytes <= here.memory_bytes


# --- the suite ---------------------------------------------------------------------------------------------------------


def test_the_suite_has_points_for_every_kind() -> None:
    parts = suite()
    assert len({part.name for part in parts}) == len(parts) > 200
    found = lay_out(suite(3))
    seen = {LINES[line] for line in found.plan.line}
    assert seen == set(LINES)
    # A kernel's row is found again by its name, and by nothing else.
    assert sum(len(rows) for rows in found.rows.values()) == len(found.table.group)


def test_micro_models_stand_side_by_side() -> None:
    parts = [Micro(name) for name in ("a", "b")]
    for m in parts:
        m.done(m.op("Relu", m.feed(1, 4)))
    model = model_of(parts)
    assert [node.name for node in model.graph.node] == ["a.relu0", "b.relu0"]
    assert [value.name for value in model.graph.output] == ["a.relu0", "b.relu0"]


def test_the_profiler_costs_what_tiny_and_shared_nodes_cost_it(monkeypatch: pytest.MonkeyPatch) -> None:
    per_node, per_run = {"MatMul": 4e-6, "Abs": 2e-6}, {"MatMul": 9e-6, "Abs": 5e-6}

    def timed(threads: int, make: Callable[[Micro, int], str]) -> tuple[float, float]:
        m = Micro("chain")
        operator = model_of([m.done(make(m, 3))]).graph.node[0].op_type
        return per_node[operator], per_run[operator]

    monkeypatch.setattr(probes, "_chained", timed)
    found = probes.overheads(2)
    assert found.profiler_s == pytest.approx(3e-6)
    assert found.run_s == 5e-6  # of the chain whose nodes cost nothing themselves


def test_visits_with_several_threads_wait_for_near_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [Micro(name) for name in ("a", "b", "c")]
    for m in parts:
        m.done(m.op("Relu", m.feed(1, 4)))
    found = lay_out(parts)
    visits: list[tuple[str, int]] = []

    def visited(suite: Suite, prepared: Prepared, threads: int, *_: object) -> Floats:
        visits.append((prepared.proto.graph.node[0].name[0], threads))
        return np.full(len(suite.table.group), 1e-6)

    answers = iter([False, True, False])  # while a, b and c are visited
    waits: list[float] = []
    monkeypatch.setattr(measure, "_profile", visited)
    monkeypatch.setattr(measure, "near_cores", lambda: SimpleNamespace(now=lambda: next(answers), wait=waits.append))
    times = measure.time_alone(found, (1, 2), 0.0, lambda *_: None)
    assert visits == [("a", 1), ("b", 1), ("b", 2), ("c", 1), ("a", 2), ("c", 2)]
    assert len(waits) == 2
    assert waits[1] <= waits[0] <= 5.0
    assert all(np.isfinite(column).all() for column in times.values())


# --- the target --------------------------------------------------------------------------------------------------------


def test_calibration_writes_a_target(kept: Path, measured_here: Calibration) -> None:
    target = find_target("cpu-host")
    assert target == host_target(find_target("cpu"), kept) == find_target(str(kept))
    assert target.setting("graph") == "runtime"
    assert target.setting("threads") == "1"
    assert "cpu-host" in target_names()
    fitted = [q for key, q in target.quantities().items() if key.startswith("threads.1.line.pointwise_conv.")]
    assert len(fitted) == 2 * len(TERMS)
    for quantity in fitted:
        assert quantity.basis is Basis.MEASURED
        assert quantity.range is not None
        for word in (measured_here.date, measured_here.runtime, "kernels", "1 thread"):
            assert word in quantity.source
    assert 1e9 < target.constants()["matrix.fp32.rate"] < 1e13
    assert 1e8 < target.constants()["dram.bandwidth"] < 1e12


def test_the_target_is_listed_and_used(kept: Path) -> None:
    assert "cpu-host" in edpc("targets").stdout
    printed = edpc("targets", "cpu-host").stdout
    assert "residency.start" in printed
    assert "measured" in printed
    model = str(Path(__file__).parent / "models" / "resnet18.onnx")
    report = json.loads(edpc(model, "--batch", "1", "--target", "cpu-host", "--emit", "json").stdout)
    assert report["target"]["name"] == "cpu-host"
    assert 1e-4 < report["totals"]["latency_s"] < 10.0
    assert report["totals"]["launches"] == 0 or len(report["subgraphs"]) > 20
    assert any("calibrated" in note.lower() for note in report["coverage"]["notes"])


def test_without_calibration_one_sentence_says_what_to_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDPC_CPU_HOST", str(tmp_path / "none.json"))
    model = str(Path(__file__).parent / "models" / "linear_bias_relu.onnx")
    refused(edpc(model, "--target", "cpu-host"), 2, "not been calibrated", "edpc calibrate")
    assert "cpu-host" not in target_names()


@pytest.mark.parametrize("content", [b"", b"{", b'{"schema": "edpc/cpu-host-v1"}', b"\xff\xfe"])
def test_a_damaged_file_is_told(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "host.json"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"holds no calibration .* run `edpc calibrate`"):
        host_target(find_target("cpu"), path)


def test_a_file_of_another_version_is_told(measured_here: Calibration, tmp_path: Path) -> None:
    write_calibration(replace(measured_here, schema="edpc/cpu-host-v0"), tmp_path / "host.json")
    with pytest.raises(UsageError, match="another version"):
        host_target(find_target("cpu"), tmp_path / "host.json")


def test_a_place_that_cannot_be_written_is_told(measured_here: Calibration, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot write"):
        write_calibration(measured_here, tmp_path / "file" / "host.json")


def test_threads_that_the_machine_lacks_are_refused() -> None:
    refused(edpc("calibrate", "--threads", "100000"), 2, "--threads 100000")
    refused(edpc("calibrate", "--threads", "one"), 2, "--threads one")


def busy_power(target: Target) -> float:
    """Package power in W at full fp32 rate: static, and FLOP/s times J/FLOP."""
    c = target.constants()
    return c["static_power"] + c["matrix.fp32.rate"] * c["matrix.fp32.energy"]


def test_without_counters_a_busy_package_draws_seven_tenths_of_its_power(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("edpc.calibration.calibrate.EnergyCounter", lambda: EnergyCounter(tmp_path))
    found = calibrate(suite(60), [1], 0.0, lambda what, part: None, tdp_w=100.0)
    write_calibration(found, tmp_path / "host.json")
    target = host_target(find_target("cpu"), tmp_path / "host.json")
    # The shipped target counts arithmetic at 28 pJ/FLOP of 7.3 TF/s, which is 1.3 of its budget: kernels reach 0.75 of peak.
    shipped = find_target("cpu")
    part = (busy_power(shipped) - shipped.static_power.value) / (0.7 * 350.0 - shipped.static_power.value)
    assert busy_power(target) - target.static_power.value == pytest.approx(part * (0.7 - 0.26) * 100.0)
    assert target.static_power.value == pytest.approx(26.0)
    assert any("package model" in note for note in target.notes)
