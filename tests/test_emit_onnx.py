"""The annotated ONNX model: its nodes sum to the report, everything else stays as it was, and it runs as before."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, parser

import edpc
from edpc.emit import emit, emit_kind
from edpc.emit.onnx import with_properties
from edpc.emit.onnx_nodes import places
from edpc.errors import ModelError, UsageError
from edpc.frontends.onnx.reader import read_model
from tests.command_line import ROOT, refused
from tests.command_line import edpc as run

MODELS = ROOT / "tests" / "models"
SHARED = ROOT.parent / "shared" / "models"
LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"


def properties(node: onnx.NodeProto | onnx.ModelProto) -> dict[str, str]:
    return {p.key: p.value for p in node.metadata_props}


def total(nodes: Iterable[onnx.NodeProto], field: str = "edp_js") -> float:
    return sum(float(properties(node).get(f"edpc.{field}", 0.0)) for node in nodes)


def annotated(path: Path, **options: object) -> tuple[edpc.Report, onnx.ModelProto]:
    report = edpc.compile(str(path), **options)  # type: ignore[arg-type]
    return report, onnx.load_from_string(emit(emit_kind("onnx"), [report]))


def every_node(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for body in [attribute.g, *attribute.graphs]:
                yield from every_node(body)


def stripped(model: onnx.ModelProto) -> bytes:
    """The model without what edpc wrote, serialised."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    nodes = [*every_node(copy.graph), *(node for function in copy.functions for node in function.node)]
    for holder in [copy, *nodes]:
        kept = [p for p in holder.metadata_props if p.key != "edpc" and not p.key.startswith("edpc.")]
        del holder.metadata_props[:]
        holder.metadata_props.extend(kept)
    return copy.SerializeToString()


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "bert_tiny", "quantized_cnn", "linear_bias_relu"])
@pytest.mark.parametrize("target", ["h100", "kpu", "tpu", "cpu"])
def test_nodes_sum_to_the_report_and_all_else_stays(name: str, target: str) -> None:
    path = MODELS / f"{name}.onnx"
    report, model = annotated(path, target=target, batch=2)
    onnx.checker.check_model(model, full_check=True)
    for field in ("edp_js", "energy_j", "latency_s"):
        assert total(model.graph.node, field) == pytest.approx(getattr(report, field), rel=1e-9)
    assert total(model.graph.node, "edp_fraction_of_model") == pytest.approx(1.0)
    assert stripped(model) == onnx.load(path).SerializeToString()
    assert properties(model)["edpc.target"] == target
    assert float(properties(model)["edpc.edp_js"]) == report.edp_js
    assert "edpc.edp_js_of_no_node" not in properties(model)


@pytest.mark.parametrize("path", sorted(SHARED.glob("*.onnx")) or [None], ids=lambda p: p.stem if p else "none")
def test_nodes_of_real_models_sum_to_the_report(path: Path | None) -> None:
    if path is None:
        pytest.skip("no model graphs beside the checkout")
    graph = onnx.load(path, load_external_data=False).graph
    free = {d.dim_param: 4 for i in graph.input for d in i.type.tensor_type.shape.dim if d.dim_param}
    report = edpc.compile(str(path), target="h100", dims=free)
    found = places(report, read_model(str(path)))
    assert not found.rest
    data = emit(emit_kind("onnx"), [report])
    model = onnx.load_from_string(data)
    assert total(model.graph.node) == pytest.approx(report.edp_js, rel=1e-9)
    assert stripped(model) == onnx.load(path, load_external_data=False).SerializeToString()


def test_a_node_says_what_people_ask() -> None:
    report, model = annotated(MODELS / "resnet18.onnx", target="kpu", batch=1)
    (node,) = [n for n in model.graph.node if n.name == "layer4/0/conv2"]
    (operator,) = [o for o in report.operators if o.source_name == "layer4/0/conv2"]
    (subgraph,) = [s for s in report.subgraphs if s.id == operator.subgraph_id]
    found = properties(node)
    assert float(found["edpc.edp_js"]) == operator.edp_js
    assert found["edpc.bound_by"] == subgraph.bottleneck
    assert found["edpc.fusion_pattern"] == subgraph.fusion_pattern
    assert found["edpc.subgraph"].startswith(f"{subgraph.id} ")
    assert f"{100 * operator.edp_fraction_of_model:.2f} % of the EDP" in found["edpc"]


def run_both(before: bytes, after: bytes, feeds: dict[str, np.ndarray]) -> None:  # type: ignore[type-arg]
    runtime = pytest.importorskip("onnxruntime")
    results = []
    for model in (before, after):
        options = runtime.SessionOptions()
        options.log_severity_level = 3
        session = runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        results.append(session.run(None, feeds))
    assert len(results[0]) == len(results[1]) > 0
    for a, b in zip(*results, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", ["light_squeezenet", "light_resnet50"])
def test_outputs_in_onnx_runtime_are_identical(name: str) -> None:
    path = LIGHT / f"{name}.onnx"
    report = edpc.compile(str(path), target="cpu")
    data = emit(emit_kind("onnx"), [report])
    onnx.checker.check_model(data)
    model = onnx.load(path)
    weights = {tensor.name for tensor in model.graph.initializer}
    (source,) = [i for i in model.graph.input if i.name not in weights]
    shape = [d.dim_value for d in source.type.tensor_type.shape.dim]
    image = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    run_both(path.read_bytes(), data, {source.name: image})


def test_bodies_of_control_flow_have_figures_and_their_node_has_the_sum(tmp_path: Path) -> None:
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["cond"], ["going"], "same"),
            helper.make_node("MatMul", ["state", "w"], ["next"], "step"),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("cond", TensorProto.BOOL, []),
            helper.make_tensor_value_info("state", TensorProto.FLOAT, [4, 4]),
        ],
        [
            helper.make_tensor_value_info("going", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, [4, 4]),
        ],
    )
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["first"], "step"),
            helper.make_node("Loop", ["trips", "yes", "first"], ["y"], "loop", body=body),
        ],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4, 4])],
        [
            helper.make_tensor("w", TensorProto.FLOAT, [4, 4], np.eye(4, dtype=np.float32).tobytes(), raw=True),
            helper.make_tensor("trips", TensorProto.INT64, [], [5]),
            helper.make_tensor("yes", TensorProto.BOOL, [], [True]),
        ],
    )
    path = tmp_path / "loop.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), path)
    report, model = annotated(path, target="cpu")
    onnx.checker.check_model(model)
    first, loop = model.graph.node
    step = loop.attribute[0].g.node[1]
    assert total([first, loop]) == pytest.approx(report.edp_js, rel=1e-9)
    assert total([loop]) >= total([step]) > 0
    # Both products are named `step`, so they share: the note says so.
    assert "share the figures" in properties(step)["edpc.note"]
    x = np.arange(16, dtype=np.float32).reshape(4, 4)
    run_both(path.read_bytes(), model.SerializeToString(), {"x": x})


def test_functions_have_figures_inside_and_at_every_call(tmp_path: Path) -> None:
    text = """
    <ir_version: 10, opset_import: ["" : 21, "local" : 1]>
    net (float[8,16] x, float[16,16] w) => (float[8,16] y) {
       [one] a = local.outer (x, w)
       [two] b = local.outer (a, w)
       [last] y = Relu (b)
    }
    <domain: "local", opset_import: ["" : 21, "local" : 1]>
    outer (x, w) => (y) { t = local.inner (x, w)  y = Tanh (t) }
    <domain: "local", opset_import: ["" : 21]>
    inner (x, w) => (y) { m = MatMul (x, w)  y = Sigmoid (m) }
    """
    path = tmp_path / "functions.onnx"
    onnx.save(parser.parse_model(text), path)
    report, model = annotated(path, target="cpu", fusion=False)
    onnx.checker.check_model(model)
    assert total(model.graph.node) == pytest.approx(report.edp_js, rel=1e-9)
    outer, inner = model.functions
    one, two, last = model.graph.node
    # A function's own nodes carry what all calls of it cost.
    assert total(outer.node) == pytest.approx(total([one, two]), rel=1e-9)
    assert total(inner.node) == pytest.approx(total(outer.node[:1]), rel=1e-9)
    assert [o.operator_type for o in report.operators].count("matmul") == 2
    assert total([last]) == pytest.approx(sum(o.edp_js for o in report.operators if o.operator_type == "relu"), rel=1e-9)
    feeds = {"x": np.ones((8, 16), np.float32), "w": np.eye(16, dtype=np.float32)}
    run_both(path.read_bytes(), model.SerializeToString(), feeds)


def test_annotating_twice_leaves_one_set_of_figures(tmp_path: Path) -> None:
    path = tmp_path / "twice.onnx"
    path.write_bytes((MODELS / "linear_bias_relu.onnx").read_bytes())
    edpc.compile(str(path), target="kpu").save(path)  # onto itself
    once = path.read_bytes()
    assert (
        edpc.compile(str(path), target="kpu").edp_js == edpc.compile(str(MODELS / "linear_bias_relu.onnx"), target="kpu").edp_js
    )
    edpc.compile(str(path), target="kpu").save(path)
    assert path.read_bytes() == once
    assert [p.name for p in tmp_path.iterdir()] == ["twice.onnx"]


def test_properties_of_others_stay(tmp_path: Path) -> None:
    model = onnx.load(MODELS / "linear_bias_relu.onnx")
    node = model.graph.node[0]
    for key in ("namespace", "edpcx", "edpc.edp_js"):
        node.metadata_props.add(key=key, value="mine")
    kept = properties(onnx.load_from_string(b"".join(with_properties(model.SerializeToString(), {}))).graph.node[0])
    assert kept == {"namespace": "mine", "edpcx": "mine"}


def test_a_graph_in_two_parts_is_one(tmp_path: Path) -> None:
    """Protobuf lets a message come in pieces, which a reader merges; the nodes count on."""
    model = onnx.load(MODELS / "linear_bias_relu.onnx")
    rest = onnx.ModelProto()
    cut = len(model.graph.node) // 2
    rest.graph.node.extend(list(model.graph.node)[cut:])
    del model.graph.node[cut:]
    path = tmp_path / "parts.onnx"
    path.write_bytes(model.SerializeToString() + rest.SerializeToString())
    report, whole = annotated(path, target="kpu")
    assert total(whole.graph.node) == pytest.approx(report.edp_js, rel=1e-9)


def test_external_data_keeps_its_references_and_is_not_opened(tmp_path: Path) -> None:
    model = onnx.load(MODELS / "resnet18.onnx")
    weight = TensorProto(name="extra", data_type=TensorProto.FLOAT, dims=[1000], data_location=TensorProto.EXTERNAL)
    weight.external_data.add(key="location", value="../../../etc/nothing-here.bin")
    model.graph.initializer.append(weight)
    path = tmp_path / "external.onnx"
    path.write_bytes(model.SerializeToString())
    _, made = annotated(path, target="cpu", batch=1)
    assert made.graph.initializer[-1] == weight


def test_large_inline_weights_go_through_untouched(tmp_path: Path) -> None:
    import tracemalloc

    size = 64 << 20
    raw = np.random.default_rng(1).bytes(size)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"], "m")],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4096])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4096])],
        [helper.make_tensor("w", TensorProto.FLOAT, [4096, 4096], raw, raw=True)],
    )
    path, made = tmp_path / "large.onnx", tmp_path / "made.onnx"
    path.write_bytes(helper.make_model(graph).SerializeToString())
    report = edpc.compile(str(path), target="h100")
    tracemalloc.start()
    report.save(made)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 16 << 20
    data = made.read_bytes()
    assert raw in data
    assert stripped(onnx.load_from_string(data)) == path.read_bytes()


def test_only_a_model_from_an_onnx_file_becomes_onnx(tmp_path: Path) -> None:
    model = str(MODELS / "linear_bias_relu.onnx")
    text = tmp_path / "net.edp"
    assert run(model, "--emit", "ir", "-o", str(text)).exit_code == 0
    out = str(tmp_path / "x.onnx")
    refused(run(str(text), "--emit", "onnx", "-o", out), 2, "only a model that was read from an ONNX file", "give the .onnx file")
    data = Path(model).read_bytes()
    refused(run("-", "--emit", "onnx", "-o", out, input=data), 2, "only a model that was read from an ONNX file")
    refused(run(model, "-t", "kpu,tpu", "--emit", "onnx"), 2, "onnx is binary", "-o")
    with pytest.raises(UsageError, match="only a model that was read from an ONNX file"):
        edpc.compile(onnx.load(model), target="kpu").save(out)
    assert not Path(out).exists()


def test_a_model_that_has_gone_is_told(tmp_path: Path) -> None:
    path = tmp_path / "gone.onnx"
    path.write_bytes((MODELS / "linear_bias_relu.onnx").read_bytes())
    report = edpc.compile(str(path), target="kpu")
    path.unlink()
    with pytest.raises(ModelError, match=r"gone\.onnx cannot be read"):
        report.save(tmp_path / "x.onnx")


def test_several_targets_make_a_file_each(tmp_path: Path) -> None:
    done = run(str(MODELS / "linear_bias_relu.onnx"), "-t", "kpu,tpu", "--emit", "onnx", "-o", f"{tmp_path}/net.onnx")
    assert done.exit_code == 0, done.stderr
    for target in ("kpu", "tpu"):
        assert properties(onnx.load(tmp_path / f"net.{target}.onnx"))["edpc.target"] == target
