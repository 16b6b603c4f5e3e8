"""Predicted against measured: the figures of merit, the backends, the forms of the results."""

from __future__ import annotations

import contextlib
import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edpc.api import configure
from edpc.calibration.calibrate import calibrate
from edpc.calibration.suite import suite
from edpc.emit.document import to_text
from edpc.errors import UsageError
from edpc.measured import host_target, write_calibration
from edpc.registry import find_target
from edpc.runtime.model import prepare, weights
from edpc.target import Target
from edpc.validation import cpu
from edpc.validation.cpu import validate
from edpc.validation.gpu import Gpu, open_gpu
from edpc.validation.render import document, to_csv, to_json
from edpc.validation.results import ModelResult, NodeResult, errors, summaries
from tests.command_line import edpc, refused

MODELS = Path(__file__).parent / "models"


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A quick calibration of this machine."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("scipy")
    path = tmp_path_factory.mktemp("host") / "host.json"
    write_calibration(calibrate(suite(20), [1], 0.0, lambda what, part: None), path)
    return path


@pytest.fixture(scope="module")
def target(machine: Path) -> Target:
    return host_target(find_target("cpu"), machine)


# --- figures of merit --------------------------------------------------------------------------------------------------


def test_errors_are_means_medians_and_shares_of_ratios() -> None:
    found = errors([(1.1, 1.0), (0.8, 1.0), (1.0, 1.0), (2.6, 2.0), (5.0, 0.0)])  # the last was not measured
    assert found.count == 4
    assert found.mape == pytest.approx((0.1 + 0.2 + 0.0 + 0.3) / 4)
    assert found.median == pytest.approx(0.15)
    assert found.p90 == pytest.approx(0.27)  # 0.2 + 0.7 * 0.1
    assert found.bias == pytest.approx((0.1 - 0.2 + 0.3) / 4)
    assert found.within == 0.5
    assert errors([]).count == 0


def two() -> list[ModelResult]:
    nodes = (NodeResult("a", "Conv", "direct_conv", 3e-3, 2e-3), NodeResult("b", "Add", "binary", 1e-3, 2e-3))
    return [
        ModelResult("first.onnx", "1 thread", 1, 4e-3, 4e-3, 2e-3, nodes),
        ModelResult("second.onnx", "1 thread", 8, 9e-3, 10e-3, 5e-3, (), 0.1, 0.2, ("it is second",)),
        ModelResult("first.onnx", "2 threads", 1, 3e-3, 2e-3, 1e-3),
    ]


def test_summaries_stand_by_mode_with_nodes_weighted_by_time() -> None:
    one, several = summaries(two())
    assert (one.mode, several.mode) == ("1 thread", "2 threads")
    assert one.model.mape == pytest.approx(0.05)
    assert one.baseline.mape == pytest.approx(0.5)
    assert one.nodes == pytest.approx((1e-3 + 1e-3) / 4e-3)
    assert one.kinds["direct_conv"] == pytest.approx((0.5, 0.5, 1.5))
    assert several.model.bias == pytest.approx(0.5)
    assert several.kinds == {}


def test_results_as_text_json_and_csv() -> None:
    text = to_text(document(two(), "cpu-host", 5))
    for words in ("first", "MAPE", "FLOPs / peak", "direct_conv", "not measured", "200.0 mJ", "second: it is second"):
        assert words in text
    plot = [line for line in text.splitlines() if "----" in line and "batch" in line]
    assert plot[0].index("o") < plot[2].index("o")  # 1.00 stands left of 1.50
    made = json.loads(to_json(two(), "cpu-host"))
    assert made["schema"] == "edpc/validation-v1"
    assert made["models"][0]["nodes"][0]["predicted_s"] == 3e-3
    assert made["summaries"][0]["model"]["mape"] == pytest.approx(0.05)
    rows = list(csv.DictReader(io.StringIO(to_csv(two()).decode())))
    assert [row["operator"] for row in rows] == ["", "Conv", "Add", "", ""]
    assert float(rows[1]["measured_s"]) == 2e-3


# --- the CPU -----------------------------------------------------------------------------------------------------------


def test_a_model_is_run_and_compared_node_by_node(target: Target) -> None:
    (found,) = validate(MODELS / "mobilenet_v2.onnx", [target], batch=2, seconds=0.1)
    assert (found.mode, found.batch) == ("1 thread", 2)
    assert not any("not predicted" in note for note in found.notes)
    assert len(found.nodes) > 50
    assert all(node.predicted_s > 0.0 for node in found.nodes)
    assert sum(node.predicted_s for node in found.nodes) == pytest.approx(found.predicted_s)
    # Nodes are timed in runs of their own: together they take about as long as a run.
    assert 0.5 < sum(node.measured_s for node in found.nodes) / found.measured_s < 5.0
    assert 0.05 < found.predicted_s / found.measured_s < 20.0
    assert 0.0 < found.baseline_s < 2.0 * found.measured_s


@pytest.mark.parametrize("is_near", [True, False])
def test_a_run_on_far_cores_is_told(is_near: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []

    def wait() -> bool:
        asked.append(is_near)
        return is_near

    monkeypatch.setattr(cpu, "near_cores", lambda: SimpleNamespace(wait=wait))
    monkeypatch.setattr(cpu, "settle", lambda _: None)
    monkeypatch.setattr(cpu, "Contention", lambda: SimpleNamespace(paused=contextlib.nullcontext, note=str))
    prepared = prepare(MODELS / "linear_bias_relu.onnx", batch=1)
    one, two = (cpu.measure(prepared, weights(prepared), threads, 0.01) for threads in (1, 2))
    assert one.note == ""
    assert ("hardly faster" in two.note) is not is_near
    assert len(asked) == 20  # before every round, with and without the profiler
    assert two.wall_s > 0.0


def test_the_command_writes_every_form(machine: Path, tmp_path: Path) -> None:
    model = str(MODELS / "linear_bias_relu.onnx")
    args = ("validate", model, "--target", str(machine), "--threads", "1", "--seconds", "0.1")
    done = edpc(*args)
    assert done.exit_code == 0, done.stderr
    assert "predicted by cpu-host against measured" in done.stdout
    assert json.loads(edpc(*args, "--emit", "json").stdout)["models"][0]["mode"] == "1 thread"
    out = tmp_path / "out.csv"
    assert edpc(*args, "--emit", "csv", "-o", str(out)).exit_code == 0
    assert out.read_text().startswith("model,mode,batch")


def test_what_cannot_be_validated_is_refused_in_a_sentence(machine: Path, tmp_path: Path) -> None:
    model = str(MODELS / "linear_bias_relu.onnx")
    refused(edpc("validate", model, "--target", "tpu"), 2, "target tpu cannot be measured")
    refused(edpc("validate", model, "--target", str(machine), "--threads", "0"), 2, "--threads 0")
    refused(edpc("validate", model, "--target", str(machine), "--threads", "64"), 2, "threads")
    refused(edpc("validate", str(tmp_path / "none.onnx"), "--target", str(machine)), 3, "none.onnx")


@pytest.mark.slow
def test_a_building_block_is_exported_and_run(machine: Path) -> None:
    pytest.importorskip("onnxscript")
    done = edpc("validate", "block:mlp?batch=2", "--target", str(machine), "--seconds", "0.1", "--emit", "json")
    assert done.exit_code == 0, done.stderr
    (model,) = json.loads(done.stdout)["models"]
    assert {node["operator"] for node in model["nodes"]} >= {"Gemm"} or len(model["nodes"]) >= 2


# --- the GPU -----------------------------------------------------------------------------------------------------------


class Event:
    """A CUDA event on a device that takes 2 ms for a run."""

    def __init__(self, device: Device) -> None:
        self.device = device

    def record(self) -> None:
        self.at = self.device.now

    def synchronize(self) -> None:
        pass

    def elapsed_time(self, other: Event) -> float:
        return (other.at - self.at) * 1e3


class Device:
    """A GPU that draws 300 W while it runs."""

    def __init__(self) -> None:
        self.now = 0.0

    def run(self, *inputs: Any) -> None:
        self.now += 2e-3

    def torch(self) -> Any:
        class Mode:
            def __enter__(self) -> None: ...
            def __exit__(self, *rest: object) -> None: ...

        cuda = SimpleNamespace(Event=lambda enable_timing: Event(self), synchronize=lambda: None)
        return SimpleNamespace(cuda=cuda, inference_mode=Mode, compile=lambda module: module)

    def nvml(self) -> Any:
        return SimpleNamespace(nvmlDeviceGetTotalEnergyConsumption=lambda handle: int(self.now * 300.0 * 1e3))


def test_latency_comes_from_events_and_energy_from_the_counter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edpc.validation.gpu._ENERGY_S", 0.01)
    device = Device()
    gpu = Gpu(find_target("h100"), device.torch(), device.nvml(), None)
    latency, joules = gpu.time(device.run, 0.1)
    assert latency == pytest.approx(2e-3)
    assert joules == pytest.approx(0.6, rel=1e-3)  # 300 W for 2 ms
    assert Gpu(find_target("h100"), device.torch(), None, None).time(device.run, 0.1)[1] is None


def test_a_block_is_validated_eager_and_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    monkeypatch.setattr("edpc.validation.gpu._ENERGY_S", 0.01)
    device = Device()
    gpu = Gpu(find_target("h100"), device.torch(), device.nvml(), None)
    monkeypatch.setattr(Gpu, "_module", lambda self, source, batch: (device.run, ()))
    eager, compiled = gpu.validate("block:mlp", batch=4, seconds=0.1)
    assert (eager.mode, compiled.mode, eager.batch) == ("eager", "compiled", 4)
    assert eager.predicted_s > compiled.predicted_s  # its launches cost more
    assert eager.measured_s == pytest.approx(2e-3)
    assert 0.0 < eager.baseline_s < eager.predicted_s
    with pytest.raises(UsageError, match="--dim and --shape"):
        gpu.validate("block:mlp", dims={"batch": 1})


def test_what_pytorch_does_not_run_is_refused() -> None:
    gpu = Gpu(find_target("h100"), SimpleNamespace(), None, None)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="give a building block"):
        gpu.validate("model.onnx")


def without_gpu(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Gpu]:
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    return lambda: open_gpu(configure("h200"))


def test_a_machine_without_a_gpu_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = without_gpu(monkeypatch)
    with pytest.raises(UsageError, match="needs an NVIDIA GPU with its driver"):
        opened()
    refused(edpc("validate", "block:mlp", "--target", "h200"), 2, "needs an NVIDIA GPU")
    refused(edpc("validate", "block:mlp", "--target", "h200", "--threads", "1"), 2, "--threads is of the CPU")
