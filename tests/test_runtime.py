"""ONNX Runtime's own graph: the nodes that are predicted are those it executes."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edpc import api
from edpc.calibration.measure import keyed, node_key
from edpc.errors import ModelError, UsageError
from edpc.fusion.executed import node_of
from edpc.runtime import model as runtime_model
from edpc.runtime.contention import Contention
from edpc.runtime.denormals import masked_softmaxes
from edpc.runtime.executed import executed, optimise
from edpc.runtime.model import prepare, weights
from edpc.runtime.near_cores import NearCores, near_cores, pair
from edpc.runtime.origins import origins
from edpc.runtime.session import feeds_of, lowest_mean, node_times, open_session, profiled, run, settle
from tests.command_line import edpc, refused

pytest.importorskip("onnxruntime")

ROOT = Path(__file__).parents[1]
MODELS = ROOT / "tests" / "models"
LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
NETWORKS = {
    "shufflenet": LIGHT / "light_shufflenet.onnx",
    "squeezenet": LIGHT / "light_squeezenet.onnx",
    "densenet121": LIGHT / "light_densenet121.onnx",
    "mobilenet_v2": MODELS / "mobilenet_v2.onnx",
    "bert_tiny": MODELS / "bert_tiny.onnx",
    "quantized_cnn": MODELS / "quantized_cnn.onnx",
}


def conv_net(*, weight_file: str | None = None) -> onnx.ModelProto:
    """A convolution with batch norm and ReLU, without the values of its weights."""
    initializers = []
    for name, shape in (("w", (16, 16, 3, 3)), ("s", (16,)), ("b", (16,)), ("m", (16,)), ("v", (16,))):
        tensor = onnx.TensorProto(name=name, data_type=TensorProto.FLOAT, dims=shape)
        if weight_file is not None:
            tensor.data_location = TensorProto.EXTERNAL
            entry = tensor.external_data.add()
            entry.key, entry.value = "location", weight_file
        initializers.append(tensor)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["c", "s", "b", "m", "v"], ["n"]),
        helper.make_node("Relu", ["n"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("batch", 16, 8, 8))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ("batch", 16, 8, 8))],
        initializers,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


@pytest.mark.parametrize("name", NETWORKS)
def test_predicted_nodes_are_the_executed_nodes(name: str) -> None:
    """By name and operator; nodes that the runtime numbers anew in every session, by operator and size of their results."""
    prepared = prepare(NETWORKS[name], batch=1)
    values = weights(prepared)
    found = executed(prepared, values)
    api.run(found.graph, api.configure("cpu"))
    with profiled(prepared, 1, values) as session:
        feeds = feeds_of(session)
        for _ in range(2):
            run(session, feeds, name)
        ran = node_times(session)
    predicted = Counter(key[:2] for _, key in keyed(found))
    measured = Counter(node_key(node.name, node.operator, node.output_bytes)[:2] for node in ran)
    assert predicted == measured
    assert len(found.graph.groups) == len(ran) == len(found.nodes)


def test_the_runtime_folds_and_blocks() -> None:
    graph = api.load_executed(conv_net(), batch=1)
    api.run(graph, api.configure("cpu"))
    types = {graph.op(group.members[0]).location.source_type for group in graph.groups}  # type: ignore[union-attr]
    assert "com.microsoft.nchwc.Conv" in types
    assert [graph.op(name).kind for name in graph.compute_order()].count("batch_norm") == 0
    assert "4 nodes" not in graph.info.notes[-1]
    assert "3 nodes of the model run as 3" in graph.info.notes[-1]  # with the reorders in and out, and all three in one


def test_operators_are_located_at_the_models_own_nodes() -> None:
    """Whatever is fused: the activation of a convolution is the model's Relu, and a reorder is the runtime's own."""
    net = conv_net()
    for node, name in zip(net.graph.node, ("conv1", "norm1", "relu1"), strict=True):
        node.name = name
    graph = api.load_executed(net, batch=1)
    ops = [graph.op(name) for name in graph.compute_order()]
    where = {op.kind: op.location.source_name for op in ops if op.location is not None}
    assert where["conv"] == "conv1"
    assert where["relu"] == "relu1"
    assert {node_of(op) for op in ops if op.kind in ("conv", "relu")} == {"y_nchwc"}
    assert where["transpose"].startswith("Reorder")


@pytest.mark.parametrize("name", ["squeezenet", "shufflenet", "mobilenet_v2", "bert_tiny"])
def test_every_executed_node_stands_for_nodes_of_the_model(name: str) -> None:
    prepared = prepare(NETWORKS[name], batch=1)
    found = origins(prepared.proto, optimise(prepared))
    covered = [node.name for nodes in found.values() for node in nodes]
    assert len(covered) == len(set(covered))
    # What is left over was folded away: parameters that are computed, and shapes.
    arithmetic = {
        node.name for node in prepared.proto.graph.node if node.op_type in ("Conv", "MatMul", "Gemm", "Softmax", "Concat")
    }
    assert len(arithmetic - set(covered)) <= 0.05 * len(arithmetic)


def test_weight_files_are_never_opened() -> None:
    """A model that names a file as its weights is opened with made-up ones; the runtime is not told of the file."""
    prepared = prepare(conv_net(weight_file="/dev/stdin"), batch=2)
    assert set(prepared.absent) == {"w", "s", "b", "m", "v"}
    assert b"/dev/stdin" not in prepared.proto.SerializeToString()
    session = open_session(prepared)
    (y,) = session.run(None, feeds_of(session))
    assert y.shape == (2, 16, 8, 8)
    assert np.isfinite(y).all()


def test_made_up_weights_suit_their_use() -> None:
    made = weights(prepare(conv_net(), batch=1))
    assert made["w"].min() < 0.0 < made["w"].max()
    assert made["v"].min() > 0.9  # a variance
    np.testing.assert_array_equal(made["w"], weights(prepare(conv_net(), batch=1))["w"])


@pytest.mark.parametrize("name", ["bert_tiny", "shufflenet", "squeezenet"])
def test_shapes_that_a_model_spells_out_follow_the_batch(name: str) -> None:
    path = NETWORKS[name]
    session = open_session(prepare(path, batch=3))
    assert session.run(None, feeds_of(session))[0].shape[0] == 3


def test_weights_beyond_all_memory_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime_model, "MOST_WEIGHT_BYTES", 1000)
    with pytest.raises(UsageError, match="graph=model"):
        prepare(conv_net(), batch=1)


def test_a_custom_operator_is_refused_and_no_library_is_loaded() -> None:
    model = conv_net()
    model.graph.node[2].domain = "my.domain"
    model.opset_import.append(helper.make_opsetid("my.domain", 1))
    with pytest.raises(ModelError, match="ONNX Runtime refuses it"):
        api.load_executed(model, batch=1)


def test_the_report_of_the_runtimes_graph_adds_up(tmp_path: Path) -> None:
    path = str(tmp_path / "net.onnx")
    onnx.save(conv_net(), path)
    done = edpc(path, "--batch", "1", "--target", "cpu", "--set", "graph=runtime", "--emit", "json")
    assert done.exit_code == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["model"]["format"] == "onnxruntime"
    assert sum(s["edp_js"] for s in report["subgraphs"]) == pytest.approx(report["totals"]["edp_js"], rel=1e-9)
    assert sum(o["edp_js"] for o in report["operators"]) == pytest.approx(report["totals"]["edp_js"], rel=1e-9)
    assert any("ONNX Runtime" in note for note in report["coverage"]["notes"])
    both = edpc(path, "--batch", "1", "--target", "cpu,tpu", "--set", "cpu:graph=runtime", "--emit", "json")
    first, second = json.loads(both.stdout)["reports"]
    assert first == report
    assert second["model"]["format"] == "onnx"


def test_what_is_no_onnx_file_is_fused_by_rules() -> None:
    cpu = api.configure("cpu", ["graph=runtime"])
    assert api.follows_runtime("model.onnx", cpu)
    assert not api.follows_runtime("block:mlp", cpu)
    assert not api.follows_runtime("graph.edp", cpu)
    assert not api.follows_runtime("model.onnx", api.configure("cpu"))


def masked(value: float) -> onnx.ModelProto:
    nodes = [
        helper.make_node("Where", ["m", "zero", "low"], ["mask"]),
        helper.make_node("Add", ["x", "mask"], ["s"]),
        helper.make_node("Softmax", ["s"], ["y"], name="attention"),
    ]
    constants = {"zero": 0.0, "low": value}
    graph = helper.make_graph(
        nodes,
        "net",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, (4, 4)),
            helper.make_tensor_value_info("m", TensorProto.BOOL, (4, 4)),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (4, 4))],
        [numpy_helper.from_array(np.array(v, np.float32), k) for k, v in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


@pytest.mark.parametrize(("value", "warned"), [(-100.0, True), (-1e9, True), (-np.inf, True), (-80.0, False), (0.0, False)])
def test_masks_that_make_denormals_are_told(value: float, warned: bool) -> None:
    assert masked_softmaxes(masked(value)) == (["attention"] if warned else [])


def test_a_report_warns_of_denormals(tmp_path: Path) -> None:
    path = str(tmp_path / "net.onnx")
    onnx.save(masked(-100.0), path)
    done = edpc(path, "--set", "graph=runtime")
    assert "denormal" in done.stdout


def test_the_runtime_is_not_imported_without_need(tmp_path: Path) -> None:
    from tests.command_line import process

    path = str(tmp_path / "net.onnx")
    onnx.save(conv_net(), path)
    done = process(path, "--batch", "1", "--debug", PYTHONPROFILEIMPORTTIME="1")
    assert "edpc" in done.stderr
    assert "onnxruntime" not in done.stderr
    assert "scipy" not in done.stderr


def test_an_override_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    path = str(tmp_path / "net.onnx")
    onnx.save(conv_net(), path)
    refused(edpc(path, "--set", "graph=runtime"), 2, "free dimensions 'batch'")


def test_waiting_for_a_core_is_told(tmp_path: Path) -> None:
    def thread(name: str, ran: int, stood: int) -> None:
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / "schedstat").write_text(f"{ran} {stood} 7\n")

    thread("1", 1000, 500)
    watched = Contention(tmp_path)
    thread("1", 1960, 520)
    assert watched.waited() == pytest.approx(20 / 980)
    assert watched.note() == ""
    thread("2", 300, 300)  # new since
    assert watched.waited() == pytest.approx(320 / (960 + 20 + 600))
    assert "20 %" in watched.note()
    assert Contention(tmp_path / "none").waited() == 0.0
    before = watched.waited()
    with watched.paused():
        thread("1", 1960, 5000)
        thread("3", 10, 5000)
    assert watched.waited() == before
    thread("3", 20, 5030)
    assert watched.waited() == pytest.approx(350 / (960 + 20 + 600 + 10 + 30))


class Machine:
    """A clock, and when its cores are near; asking takes 10 ms."""

    def __init__(self, near_from_s: float) -> None:
        self.time_s, self.near_from_s, self.asked = 0.0, near_from_s, 0

    def gain(self) -> float:
        self.asked += 1
        self.time_s += 0.01
        return 1.6 if self.time_s >= self.near_from_s else 1.0

    def sleep(self, seconds: float) -> None:
        self.time_s += seconds

    def cores(self) -> NearCores:
        return NearCores(self.gain, lambda: self.time_s)


def test_cores_that_are_far_are_waited_for() -> None:
    machine = Machine(near_from_s=5.0)
    cores = machine.cores()
    assert not cores.now()
    assert not cores.wait(2.0, machine.sleep)
    assert 2.0 <= machine.time_s < 2.5
    assert cores.wait(20.0, machine.sleep)
    assert 5.0 <= machine.time_s < 5.5
    assert cores.given_up == 1
    asked = machine.asked
    assert cores.wait(20.0, machine.sleep)  # an answer is believed for a moment
    assert machine.asked == asked


def test_cores_that_are_never_near_are_not_waited_for_again() -> None:
    machine = Machine(near_from_s=float("inf"))
    cores = machine.cores()
    waits = []
    for _ in range(5):
        before = machine.time_s
        assert not cores.wait(20.0, machine.sleep)
        waits.append(machine.time_s - before)
    assert waits[0] == pytest.approx(20, abs=0.5)
    assert waits[1] == pytest.approx(10, abs=0.5)
    assert max(waits[2:]) < 0.5


@pytest.mark.parametrize(
    ("siblings", "sharing", "expected"),
    [("0-1", "0-3", 2), ("0,4", "0-7", 1), ("0", "0,2", 2), ("0,1,2,3", "0-3", 1), ("", "", 1), ("x", "0-1", 1)],
)
def test_the_second_core_is_another_one_near_the_first(tmp_path: Path, siblings: str, sharing: str, expected: int) -> None:
    for name, text in (("topology/thread_siblings_list", siblings), ("cache/index3/shared_cpu_list", sharing)):
        path = tmp_path / "cpu0" / name
        path.parent.mkdir(parents=True)
        path.write_text(text + "\n")
    assert pair([0, 1, 2, 3], tmp_path) == (0, expected)
    assert pair([2, 3], tmp_path) == (2, 3)  # of which nothing is said


def test_the_gain_of_a_second_thread_is_measured_here() -> None:
    allowed = os.sched_getaffinity(0)
    cores = near_cores()
    # Far cores and busy ones gain nothing; two can do no more than twice the work, but for the noise of a millisecond.
    assert 0.05 < cores.gain() < 6.0
    assert cores.now() in (True, False)
    assert os.sched_getaffinity(0) == allowed  # the thread may run where it might before
    assert near_cores() is cores


def test_large_inputs_are_random_all_the_same() -> None:
    """Of a large input only the first numbers are drawn; the rest repeat them."""
    relu = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "wide",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (3, 70_000))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (3, 70_000))],
    )
    made = helper.make_model(relu, opset_imports=[helper.make_opsetid("", 20)])
    made.ir_version = 10
    value = feeds_of(open_session(prepare(made)))["x"]
    assert value.shape == (3, 70_000)
    assert value.dtype == np.float32
    assert float(value.mean()) == pytest.approx(0.0, abs=0.02)
    assert float(value.std()) == pytest.approx(1.0, abs=0.02)


def test_the_lowest_of_the_times_count() -> None:
    times = np.array([9.0, 1.0, 3.0, 2.0, 8.0, 7.0, 4.0, 5.0, 6.0, 10.0])
    assert lowest_mean(times) == 1.0
    assert lowest_mean(times, 0.5) == 3.0
    assert lowest_mean(times[:2], 0.1) == 1.0  # of few, one


def test_threads_of_other_sessions_are_let_to_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("edpc.runtime.session.time.sleep", slept.append)
    for threads in (1, 2):
        settle(open_session(prepare(conv_net(), batch=1), threads=threads))
    assert len(slept) == 1
    assert slept[0] >= 0.1
