"""Every bad input ends in one sentence that names the file and the mend: no traceback, no hang, no raw control characters."""

import io
import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, parser
from onnx import helper as h

from edpc.errors import EdpcError, ModelError, UsageError
from edpc.frontends.onnx.reader import read_model, strip_model
from edpc.frontends.onnx.shapes import infer
from edpc.frontends.onnx.wire import WireError, without_payloads

NAME = "bad.onnx"


def value(name: str, dims: list[Any] | None = None, kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return h.make_tensor_value_info(name, kind, [2, 3] if dims is None else dims)


def model(
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto] | None = None,
    outputs: list[str] | None = None,
    initializers: list[TensorProto] | None = None,
    opset: int = 17,
) -> onnx.ModelProto:
    results = [h.make_value_info(name, onnx.TypeProto()) for name in (["y"] if outputs is None else outputs)]
    graph = h.make_graph(nodes, "g", [value("x")] if inputs is None else inputs, results, initializers or [])
    return h.make_model(graph, opset_imports=[h.make_opsetid("", opset)])


def relu(source: str = "x", target: str = "y", name: str = "act") -> onnx.NodeProto:
    return h.make_node("Relu", [source], [target], name=name)


def sentence(source: Any, **overrides: Any) -> str:
    """What is said of the input, after the checks that hold for every message."""
    start = time.monotonic()
    with pytest.raises(ModelError) as caught:
        infer(read_model(source, name=NAME) if not isinstance(source, onnx.ModelProto) else source, source=NAME, **overrides)
    assert time.monotonic() - start < 5
    said = str(caught.value)
    assert said.isprintable()
    assert said.startswith(NAME)
    assert len(said) < 1000
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return said


# --- files ---------------------------------------------------------------------------------------------------


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"missing.onnx cannot be read: no such file; check the path$"):
        read_model(tmp_path / "missing.onnx")


def test_a_directory(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"it is a directory; give the \.onnx file inside it"):
        read_model(tmp_path)


def test_a_file_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "secret.onnx"
    path.write_bytes(model([relu()]).SerializeToString())
    path.chmod(0)
    if os.geteuid() == 0:

        def refuse(*_: object) -> None:
            raise PermissionError(13, "Permission denied")

        # Root may read anything, so the system's answer to everybody else stands in.
        monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(ModelError, match="no permission; make it readable"):
        read_model(path)


def test_a_device_and_a_path_that_cannot_be() -> None:
    with pytest.raises(ModelError, match="/dev/zero is a device, not a file"):
        read_model("/dev/zero")
    with pytest.raises(ModelError, match=r"a\\x00b cannot be read"):
        read_model("a\0b")


def test_an_empty_input(tmp_path: Path) -> None:
    path = tmp_path / "empty.onnx"
    path.touch()
    for source in (path, b"", io.BytesIO()):
        with pytest.raises(ModelError, match=r"is empty; give an \.onnx file"):
            read_model(source)


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"# Readme\n\nThis is text, and nothing else.\n", "it is text"),
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "it is a PNG image"),
        (b"PK\x03\x04\x14\x00\x00\x00", "it is a zip archive"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:", "Git LFS pointer"),
        (b"\x1f\x8b\x08\x00\x00", "gzip"),
        (b"\x89HDF\r\n\x1a\n", "HDF5"),
        (b"\x80\x02}q\x00.", "pickle"),
        (b"\x1c\x00\x00\x00TFL3\x14\x00", "TensorFlow Lite"),
        (b"\x08\x07", "it holds no graph"),
        (b"\x38\x01", "it holds no graph"),  # the graph's field, as a number
        (b"\xff" * 200, "has no end"),
        (b"\x0b\x00\x00", "no protobuf field begins at byte 0"),  # a group, which no ONNX message has
        (b"\x00\x00\x00\x00", "no protobuf field begins at byte 0"),
        (bytes(random.Random(1).randrange(256) for _ in range(5000)), "not an ONNX model"),
    ],
)
def test_what_is_no_onnx_model(data: bytes, what: str) -> None:
    said = sentence(data)
    assert "not an ONNX model" in said
    assert what in said


def test_every_truncation_of_a_model_is_said_to_be_one() -> None:
    weight = onnx.numpy_helper.from_array(np.ones((64, 64), np.float32), "w")
    whole = model([h.make_node("Gemm", ["x", "w"], ["y"], name="fc")], [value("x", [2, 64])], None, [weight]).SerializeToString()
    cuts = [*range(1, 120), *range(120, len(whole), 997), len(whole) - 1]
    for cut in cuts:
        with pytest.raises(ModelError, match=r"truncated or not an ONNX model|holds no graph"):
            infer(read_model(whole[:cut]))


def test_wrong_wire_types_never_pass_for_a_model() -> None:
    data = model([relu()]).SerializeToString()
    graph = data.index(b"\x3a")
    for wire in range(8):
        changed = data[:graph] + bytes([7 << 3 | wire]) + data[graph + 1 :]
        if wire != 2:
            with pytest.raises(ModelError):
                infer(read_model(changed))


def test_damaged_models_never_end_in_another_error() -> None:
    whole = parser.parse_model("""<ir_version: 8, opset_import: ["" : 17]>
        g (float[2,3] x, bool c) => (y, z) <int64[2] shape = {3, 2}, float[3] s = {1, 2, 3}> {
            r = Reshape(x, shape)
            n = Shape(r)
            e = Expand(s, n2)
            n2 = Concat<axis = 0>(n, shape)
            y = If (c) < then_branch = a () => (p) { p = Relu(r) }, else_branch = b () => (q) { q = Neg(r) } >
            z = Slice(e, n, n2)
        }""").SerializeToString()  # fmt: skip
    rng = random.Random(20)
    said = []
    for _ in range(4000):
        data = bytearray(whole)
        for _ in range(rng.choice((1, 2, 4))):
            data[rng.randrange(len(data))] = rng.randrange(256)
        try:
            infer(read_model(bytes(data)))
        except EdpcError as error:
            said.append(str(error))
    assert len(said) > 1000
    assert all(map(str.isprintable, said))


# --- depth and size ------------------------------------------------------------------------------------------


def _field(number: int, body: bytes) -> bytes:
    size, out = len(body), b""
    while size > 127:
        out += bytes([size & 127 | 128])
        size >>= 7
    tag = number << 3 | 2
    return (bytes([tag]) if tag < 128 else bytes([tag & 127 | 128, tag >> 7])) + out + bytes([size]) + body


def nested(depth: int) -> bytes:
    """If inside If, as bytes: graph(1: node(4: op_type, 5: attribute(1: name, 6: graph, 20: type 5)))."""
    graph = _field(1, _field(1, b"x") + _field(2, b"y") + _field(4, b"Relu"))
    pieces = []
    for _ in range(depth):
        graph = _field(1, _field(4, b"If") + _field(5, _field(1, b"then_branch") + _field(6, graph) + b"\xa0\x01\x05"))
        pieces.append(len(graph))
    return b"\x08\x08" + _field(7, graph)


def test_a_ten_thousand_deep_nest_of_ifs() -> None:
    data = nested(10_000)
    assert "nest more than 32 deep" in sentence(data)


@pytest.mark.parametrize("depth", [30, 31, 32, 33, 34, 40, 60])
def test_nests_around_the_limit(depth: int) -> None:
    assert "deep" in sentence(nested(depth)) or depth <= 32


@pytest.mark.parametrize("depth", [40, 500])
@pytest.mark.parametrize("name", ["short", "long" * 500])
def test_a_deep_nest_given_from_python(depth: int, name: str) -> None:
    deep = model([], [value("c", [], TensorProto.BOOL)])
    graph = deep.graph
    for _ in range(depth):
        node = graph.node.add(op_type="If", name=name, input=["c"], output=["y"])
        graph = node.attribute.add(name="then_branch", type=onnx.AttributeProto.GRAPH).g
    with pytest.raises(ModelError, match=r"nests? .*deep"):
        infer(strip_model(deep))


def test_functions_that_call_each_other() -> None:
    text = """<ir_version: 8, opset_import: ["" : 17, "l" : 1]> g (float[2] x) => (y) {{ y = l.f(x) }}
        <domain: "l", opset_import: ["" : 17, "l" : 1]> f (x) => (y) {{ y = l.g(x) }}
        <domain: "l", opset_import: ["" : 17, "l" : 1]> g (x) => (y) {{ y = l.f(x) }}"""
    assert "call each other in a circle; inline them" in sentence(parser.parse_model(text.format()))


def test_functions_that_explode() -> None:
    # Each calls the one below twice: 2^30 nodes when written out.
    text = '<ir_version: 8, opset_import: ["" : 17, "l" : 1]> g (float[2] x) => (y) { y = l.f30(x) }\n'
    for i in range(1, 31):
        below = f"l.f{i - 1}" if i > 1 else "Relu"
        text += f'<domain: "l", opset_import: ["" : 17, "l" : 1]> f{i} (x) => (y) {{ t = {below}(x) y = {below}(t) }}\n'
    assert "more than 2000000 nodes when its functions are written out" in sentence(parser.parse_model(text))


@pytest.mark.parametrize("packed", [True, False])
def test_a_huge_list_of_dimensions(packed: bool) -> None:
    dims = _field(1, b"\x02" * 5_000_000) if packed else b"\x08\x02" * 5_000_000
    data = b"\x08\x08" + _field(7, _field(5, dims + b"\x10\x01" + _field(8, b"w")))
    assert "a tensor has more than 64 dimensions" in sentence(data)


def test_a_shape_of_a_thousand_dimensions() -> None:
    assert "has 1000 dimensions, more than 64" in sentence(model([relu()], [value("x", [1] * 1000)]))
    weight = TensorProto(name="w", data_type=1, dims=[1] * 100)
    assert "initializer 'w' has 100 dimensions" in sentence(model([relu()], None, None, [weight]))


# --- types ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dims", "what"),
    [
        ([2, -3], "has the negative dimension -3"),
        ([2**62, 2**62], "more elements than 64 bits can count"),
        ([2**63 - 1, 2], "64 bits"),
    ],
)
def test_impossible_dimensions(dims: list[int], what: str) -> None:
    said = sentence(model([relu()], [value("x", dims)]))
    assert "input 'x'" in said
    assert what in said
    weight = TensorProto(name="w", data_type=1, dims=dims)
    said = sentence(model([relu()], None, None, [weight]))
    assert "initializer 'w'" in said
    assert what in said
    constant = h.make_node("Constant", [], ["c"], name="k", value=TensorProto(data_type=1, dims=dims))
    said = sentence(model([constant, relu()]))
    assert "node 'k' (Constant)" in said
    assert what in said


def test_a_negative_dimension_can_be_overridden() -> None:
    assert str(infer(model([relu()], [value("x", [-1, 3])]), shapes={"x": [4, 3]}).graph.types["y"]) == "fp32[4,3]"


def test_dimensions_that_overflow_on_the_way() -> None:
    shape = onnx.numpy_helper.from_array(np.array([2**40, 2**40, 1]), "s")
    said = sentence(model([h.make_node("Expand", ["x", "s"], ["y"], name="grow")], [value("x", [1])], None, [shape]))
    assert "node 'grow' (Expand)" in said
    assert "64 bits" in said


def test_a_dimension_that_comes_out_negative() -> None:
    weight = TensorProto(name="w", data_type=1, dims=[4, 3, 9, 9])
    said = sentence(model([h.make_node("Conv", ["x", "w"], ["y"], name="c1")], [value("x", [1, 3, 4, 4])], None, [weight]))
    assert "node 'c1' (Conv)" in said
    assert "negative dimension -4" in said


def test_unknown_element_types() -> None:
    said = sentence(model([relu()], [value("x", kind=99)]))
    assert f"input 'x' has element type number 99, which onnx {onnx.__version__} does not know" in said
    weight = TensorProto(name="w", data_type=77, dims=[1])
    assert "initializer 'w' has element type number 77" in sentence(model([relu()], None, None, [weight]))
    inside = model([relu()])
    inside.graph.value_info.append(value("y", kind=55))
    assert "value 'y' has element type number 55" in sentence(inside)
    assert "input 'x' has no element type" in sentence(model([relu()], [h.make_value_info("x", onnx.TypeProto())]))


def test_values_that_do_not_fill_their_dimensions() -> None:
    weight = TensorProto(name="w", data_type=1, dims=[3], raw_data=b"\0" * 8)
    assert "initializer 'w' has dimensions [3] and 8 bytes of data" in sentence(model([relu()], None, None, [weight]))
    weight = TensorProto(name="w", data_type=1, dims=[3], float_data=[1.0])
    assert "initializer 'w' has values that do not fit its dimensions [3]" in sentence(model([relu()], None, None, [weight]))


def test_operands_an_operator_cannot_take() -> None:
    said = sentence(model([h.make_node("MatMul", ["x", "x"], ["y"], name="fc")]))
    assert "node 'fc' (MatMul) cannot take fp32[2,3], fp32[2,3]: Incompatible dimensions" in said
    weight = TensorProto(name="w", data_type=1, dims=[4, 8, 3, 3])
    said = sentence(model([h.make_node("Conv", ["x", "w"], ["y"], name="c")], [value("x", [1, 3, 9, 9])], None, [weight]))
    assert "the data has 3 channels and the filter reads 8" in said


# --- opsets --------------------------------------------------------------------------------------------------


def test_an_opset_from_the_future() -> None:
    newest = onnx.defs.onnx_opset_version()
    said = sentence(model([relu()], opset=newest + 1))
    assert f"uses opset {newest + 1} and onnx {onnx.__version__} knows up to {newest}" in said
    assert said.endswith(f"upgrade onnx, or export with opset {newest} or older")
    assert "uses opset 0, which does not exist" in sentence(model([relu()], opset=0))


# --- graphs --------------------------------------------------------------------------------------------------


def test_graphs_without_nodes_or_outputs() -> None:
    assert "graph without nodes" in sentence(model([], outputs=["x"]))
    assert "graph without outputs" in sentence(model([relu()], outputs=[]))


def test_cycles() -> None:
    said = sentence(model([relu("b", "a", "one"), relu("a", "b", "two"), relu("b", "y", "out")]))
    assert "node 'two' (Relu) -> node 'one' (Relu) -> node 'two' (Relu) form a cycle" in said
    assert "node 'own' (Relu) reads its own result" in sentence(model([relu("a", "a", "own"), relu("a", "y")]))
    ring = [relu(f"v{(i + 1) % 50_000}", f"v{i}", f"n{i}") for i in range(50_000)]
    assert "form a cycle" in sentence(model([*ring, relu("v0", "y", "out")]))


def test_values_nobody_produces() -> None:
    said = sentence(model([relu("hidden_1", "h"), relu("hiden_1", "y", "act")], [value("hidden_1")]))
    assert "node 'act' (Relu) reads 'hiden_1', which nothing in the model produces" in said
    assert said.endswith("did you mean 'hidden_1'?")
    assert "nothing produces the graph's output 'z'" in sentence(model([relu()], outputs=["z"]))


def test_names_given_twice() -> None:
    said = sentence(model([relu(name="one"), relu(name="two")]))
    assert "value 'y' is produced by node 'two' (Relu) and by node 'one' (Relu)" in said
    assert "by an input or initializer of the graph" in sentence(model([relu("x", "x"), relu()]))
    assert "two inputs of the graph are called 'x'" in sentence(model([relu()], [value("x"), value("x")]))
    weight = TensorProto(name="w", data_type=1, dims=[1])
    assert "initializer 'w' is there twice" in sentence(model([relu()], None, None, [weight, weight]))


def test_bodies_that_do_not_fit() -> None:
    said = sentence(model([h.make_node("If", ["x"], ["y"], name="choice")]))
    assert "node 'choice' (If) has no then_branch" in said
    body = h.make_graph([relu("v", "w")], "b", [value("v")], [h.make_value_info("w", onnx.TypeProto())])
    said = sentence(model([h.make_node("Scan", ["x"], ["y", "z"], name="s", body=body, num_scan_inputs=3)], [value("x")]))
    assert "node 's' (Scan) cannot take fp32[2,3]: it scans 3 of 1 operands" in said
    said = sentence(model([h.make_node("Loop", ["", "", "x"], ["y"], name="l", body=body)]))
    assert "node 'l' (Loop) passes 3 values to a body of 1 inputs" in said


def test_an_input_that_stays_open_is_a_usage_error_with_the_flag() -> None:
    with pytest.raises(UsageError, match="--dim n=1"):
        infer(model([relu()], [value("x", ["n", 3])]))


# --- names ---------------------------------------------------------------------------------------------------

ESCAPE = "\x1b]0;owned\x07\x1b[31m\nnext\u202e"


@pytest.mark.parametrize(
    "make",
    [
        lambda: model([relu("missing" + ESCAPE)]),
        lambda: model([relu(name=ESCAPE), relu()]),
        lambda: model([h.make_node("Relu" + ESCAPE, ["gone"], ["y"])]),
        lambda: model([relu(), relu()], [value("x" + ESCAPE)]),
        lambda: model([relu()], [value("x"), value(ESCAPE, kind=99)]),
        lambda: model([relu()], None, None, [TensorProto(name=ESCAPE, data_type=99)]),
        lambda: model([h.make_node("MatMul", ["x", "x"], ["y" + ESCAPE])]),
    ],
)
def test_control_characters_in_names_are_escaped(make: Callable[[], onnx.ModelProto]) -> None:
    sentence(make())


def test_control_characters_in_the_path_and_in_free_dimensions_are_escaped() -> None:
    with pytest.raises(ModelError) as caught:
        read_model(f"no/such/{ESCAPE}.onnx")
    assert str(caught.value).isprintable()
    with pytest.raises(UsageError) as free:
        infer(model([relu()], [value("x", [ESCAPE, 3])]), source=ESCAPE)
    assert str(free.value).isprintable()


def test_long_names_are_shortened() -> None:
    assert len(sentence(model([relu("m" * 100_000)]))) < 500


def test_names_that_are_not_utf8() -> None:
    data = model([relu("x", "QQQ"), relu("QQQ", "y", "act")]).SerializeToString()
    assert "not UTF-8" in sentence(data.replace(b"QQQ", b"\xff\xfe\xfd"))
    data = model([relu("QQQ")], [value("QQQ")]).SerializeToString()
    assert "not UTF-8" in sentence(data.replace(b"QQQ", b"\xff\xfe\xfd"))


def test_the_walk_says_where_it_stopped() -> None:
    with pytest.raises(WireError, match="the field at byte 0 runs 95 bytes past its end"):
        without_payloads(b"\x3a\x64" + b"\x00" * 5)
    with pytest.raises(WireError, match="the number at byte 1 is cut off"):
        without_payloads(b"\x08\x80")
