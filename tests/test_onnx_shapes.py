"""Shape inference with folding: every value of a model gets its type, under overrides too."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, parser
from onnx import helper as h

from edpc.errors import ModelError, UsageError
from edpc.frontends.onnx.reader import read_model
from edpc.frontends.onnx.shapes import infer
from edpc.frontends.onnx.typed import TypedGraph, TypedModel
from tests.node_models import node_models

SHARED = Path(__file__).parents[2] / "shared" / "models"
LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the shared model graphs are not here")


def typed(text: str, **overrides: Any) -> TypedModel:
    """The typed model of ONNX's own text form."""
    return infer(parser.parse_model(text), **overrides)


def types(model: TypedModel) -> dict[str, str]:
    return {name: str(kind) for name, kind in model.graph.types.items()}


def is_static(graph: TypedGraph) -> bool:
    inside = (body for bodies in graph.subgraphs.values() for body in bodies.values())
    return all(kind.is_static for kind in graph.types.values()) and all(map(is_static, inside))


# --- models --------------------------------------------------------------------------------------------------


@needs_shared
@pytest.mark.parametrize(
    ("name", "dims", "tensors"),
    [("gpt2_dyn", {"s72": 1, "s70": 128}, 675), ("bert_base_dyn", {"s43": 1, "s53": 128}, 543)],
)
def test_every_tensor_of_a_dynamic_transformer_is_known(name: str, dims: dict[str, int], tensors: int) -> None:
    model = infer(read_model(SHARED / f"{name}.onnx"), dims=dims)
    outputs = [output for node in model.graph.nodes for output in node.output if output]
    assert len(outputs) == tensors
    assert all(model.graph.types[output].is_static for output in outputs)
    assert model.notes == []


@needs_shared
def test_inference_agrees_with_the_types_the_exporter_wrote() -> None:
    # The file's own types say nothing about values once an override is given, so setting the shape it has infers them all.
    for name in (
        "bert_base",
        "llama_tiny",
        "llama_tiny_kv",
        "resnet18",
        "bert_tiny_fp16",
        "bert_tiny_opset17",
        "bert_tiny_opset23",
    ):
        proto = read_model(SHARED / f"{name}.onnx")
        first = proto.graph.input[0]
        shape = [dim.dim_value for dim in first.type.tensor_type.shape.dim]
        written, inferred = infer(proto), infer(proto, shapes={first.name: shape})
        assert written.graph.types == inferred.graph.types, name
        # With the file's types taken out, nothing is left but inference.
        bare = onnx.ModelProto()
        bare.CopyFrom(proto)
        del bare.graph.value_info[:]
        assert infer(bare).graph.types == written.graph.types, name


@needs_shared
def test_every_shared_model_is_fully_typed() -> None:
    overrides: dict[str, dict[str, int]] = {
        "gpt2_dyn.onnx": {"s72": 2, "s70": 64},
        "bert_base_dyn.onnx": {"s43": 2, "s53": 64},
    }
    for path in sorted(SHARED.glob("*.onnx")):
        assert is_static(infer(read_model(path), dims=overrides.get(path.name, {})).graph), path.name


@needs_shared
def test_contrib_rules_agree_with_the_types_the_runtime_wrote() -> None:
    # An optimised BERT, its own types taken out: every operator of ONNX Runtime's is inferred by rule.
    for name in ("bert_tiny_ort_extended", "resnet18_qoperator_int8", "llama_tiny_matmulnbits4"):
        proto = read_model(SHARED / f"{name}.onnx")
        written = infer(proto)
        del proto.graph.value_info[:]
        assert infer(proto).graph.types == written.graph.types, name


@needs_shared
def test_a_large_model_is_inferred_in_little_time() -> None:
    proto = read_model(SHARED / "llama3_8b.onnx")
    start = time.process_time()
    model = infer(proto)
    assert time.process_time() - start < 1.5
    assert is_static(model.graph)
    assert str(model.graph.types[model.graph.outputs[0]]) == "bf16[1,128,128256]"


@pytest.mark.parametrize("path", sorted(LIGHT.glob("*.onnx")), ids=lambda path: path.stem)
def test_light_models_are_fully_typed(path: Path) -> None:
    model = infer(read_model(path))
    assert is_static(model.graph)
    # Weights made by ConstantOfShape are no graph inputs, and neither are initializers that older files list among them.
    assert len(model.graph.inputs) == 1


def test_a_chain_of_a_hundred_thousand_nodes_is_linear() -> None:
    def seconds(count: int) -> float:
        nodes = [h.make_node("Relu", [f"x{i}"], [f"x{i + 1}"]) for i in range(count)]
        value = h.make_tensor_value_info
        model = h.make_model(h.make_graph(nodes, "g", [value("x0", 1, ["n", 64])], [value(f"x{count}", 1, None)]))
        start = time.process_time()
        assert str(infer(model, batch=8).graph.types[f"x{count}"]) == "fp32[8,64]"
        return time.process_time() - start

    assert seconds(100_000) < 8


@pytest.mark.slow
def test_onnx_node_tests_are_typed() -> None:
    models = node_models()
    static, free = 0, []
    for name, proto in models.items():
        try:
            static += is_static(infer(proto, source=name).graph)
        except UsageError:
            free.append(name)
    print(f"{static} of {len(models)} node tests have static types throughout, {len(free)} ask for a free dimension")
    assert len(models) >= 1884
    # The rest hold sequences or optionals, or a size that an input's value decides.
    assert static >= 1806
    assert all("sequence_map" in name for name in free)


# --- folding -------------------------------------------------------------------------------------------------


def test_a_shape_computed_from_shapes_is_known() -> None:
    # [2, 6, 4] -> [2, 3, 2, 4]: 6 splits into heads of 6 / 3 = 2, computed the way torch exports it.
    model = typed("""<ir_version: 8, opset_import: ["" : 17]>
        g (float[n,6,4] x) => (y) <int64 zero = {0}, int64[1] one = {1}, int64[1] heads = {3}, int64[1] rest = {-1}> {
            s = Shape(x)
            n = Gather(s, zero)
            n1 = Unsqueeze(n, one_axis)
            one_axis = Constant<value_ints = [0]>()
            width = Gather(s, one)
            depth = Div(width, heads)
            target = Concat<axis = 0>(n1, heads, depth, rest)
            y = Reshape(x, target)
        }""", dims={"n": 2})  # fmt: skip
    assert types(model)["y"] == "fp32[2,3,2,4]"
    assert model.graph.constants["target"].tolist() == [2, 3, 2, -1]
    # Everything but the Reshape is known before the run; the nodes stand in an order in which values come before their use.
    assert [node.op_type for i, node in enumerate(model.graph.nodes) if i not in model.graph.folded] == ["Reshape"]
    position = {node.output[0]: i for i, node in enumerate(model.graph.nodes)}
    assert position["one_axis"] < position["n1"]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("y = Slice(a, i1, i3)", [8, 9]),
        ("y = Slice(a, m1, low, i0, m1)", [5, 9, 8, 7]),
        ("y = Div(neg, i3)", [-2, -2, 2]),  # -7/3 and -8/3 truncate to -2, 8/3 to 2
        ("y = Mod(neg, i3)", [2, 1, 2]),
        ("y = Mod<fmod = 1>(neg, i3)", [-1, -2, 2]),
        ("y = ReduceProd<keepdims = 0>(a)", 7 * 8 * 9 * 5),
        ("y = ReduceMax<keepdims = 1>(a)", [9]),
        ("y = Range(z, five, two)", [0, 2, 4]),
        ("y = ConstantOfShape<value = int64[1] {4}>(i3)", [4, 4, 4]),
        ("y = Expand(i1, i3)", [1, 1, 1]),
        ("y = Tile(i1, i3)", [1, 1, 1]),
        ("c = Greater(a, seven) y = Where(c, a, seven)", [7, 8, 9, 7]),
        ("c = Equal(a, seven) d = Not(c) y = Cast<to = 7>(d)", [0, 1, 1, 1]),
        ("p, q = Split<axis = 0>(a) y = Concat<axis = 0>(q, p)", [9, 5, 7, 8]),
        ("f = Cast<to = 1>(a) g = Sqrt(f) c = Ceil(g) y = Cast<to = 7>(c)", [3, 3, 3, 3]),
        ("y = Min(a, seven)", [7, 7, 7, 5]),
        ("y = Clip(a, six, seven)", [7, 7, 7, 6]),
        ("r = Unsqueeze(a, i0) s = Transpose<perm = [1, 0]>(r) y = Squeeze(s, i1)", [7, 8, 9, 5]),
        ("y = CumSum(a, z)", [7, 15, 24, 29]),
        ("s = Size(a) y = Add(s, two)", 6),
        ("r = Reshape(a, sq) y = Gather<axis = 1>(r, i1)", [[8], [5]]),
        ("c = Less(a, seven) r = NonZero(c) y = Squeeze(r, i0)", [3]),
    ],
)
def test_values_follow_from_values(body: str, expected: Any) -> None:
    model = typed(f"""<ir_version: 8, opset_import: ["" : 17]>
        g (float[1] x) => (y, o)
        <int64[4] a = {{7, 8, 9, 5}}, int64[3] neg = {{-7, -8, 8}}, int64[1] i0 = {{0}}, int64[1] i1 = {{1}},
            int64[1] i3 = {{3}}, int64[1] m1 = {{-1}}, int64[1] low = {{-99}}, int64[2] sq = {{2, -1}},
            int64 z = {{0}}, int64 two = {{2}}, int64 five = {{5}}, int64 six = {{6}}, int64 seven = {{7}}> {{
            {body}
            o = Relu(x)
        }}""")  # fmt: skip
    assert model.graph.constants["y"].tolist() == expected
    assert model.graph.types["y"].shape == np.shape(expected)


def test_large_and_undefined_values_are_not_folded() -> None:
    model = typed("""<ir_version: 8, opset_import: ["" : 17]>
        g (float[1] x) => (big, quotient, count) <int64[2] shape = {4096, 4096}, int64[1] a = {1}, int64[1] zero = {0},
            int64 start = {0}, int64 end = {2000000000}, int64 step = {1}> {
            big = ConstantOfShape(shape)
            quotient = Div(a, zero)
            count = Range(start, end, step)
        }""")  # fmt: skip
    assert types(model)["big"] == "fp32[4096,4096]"
    assert types(model)["count"] == "int64[2000000000]"
    assert not {"big", "quotient", "count"} & set(model.graph.constants)


def test_a_lying_type_cannot_make_folding_take_memory() -> None:
    # The file says 4 elements, the operands say 4e9: nothing of that size is ever made.
    model = typed("""<ir_version: 8, opset_import: ["" : 17]>
        g (float[1] x) => (float[4] a, float[4] b, int64[4] c)
        <int64[1] size = {4000000000}, float[1] one = {1}, int64 z = {0}, int64 n = {4000000000}, int64 d = {1}> {
            a = ConstantOfShape(size)
            b = Tile(one, size)
            c = Range(z, n, d)
        }""")  # fmt: skip
    assert not {"a", "b", "c"} & set(model.graph.constants)


def test_sizes_known_in_part_go_through_shape_arithmetic() -> None:
    # NonZero finds n places, n unknown: [2, n] -> [n, 2] -> [n, 2, 1] -> Reshape to [2n, ...] leaves only what depends on n open.
    model = typed("""<ir_version: 8, opset_import: ["" : 17]>
        g (float[4,8] x) => (y, filled, wide) <int64[1] last = {1}, int64[1] i0 = {0}, int64[1] eight = {8}, int64[1] two = {2}> {
            places = NonZero(x)
            s = Shape(places)
            n = Gather(s, last)
            target = Concat<axis = 0>(n, two)
            y = Reshape(places, target)
            double = Mul(n, two)
            sizes = Concat<axis = 0>(double, eight)
            filled = ConstantOfShape(sizes)
            row = Gather(x, i0)
            wide = Expand(row, sizes)
        }""")  # fmt: skip
    assert types(model)["places"] == "int64[2,?]"
    assert types(model)["y"] == "int64[?,2]"
    assert types(model)["filled"] == "fp32[?,8]"
    assert types(model)["wide"] == "fp32[?,8]"
    assert len(model.notes) == 1
    assert "not known before the run" in model.notes[0]


def test_repeated_layers_are_inferred_once() -> None:
    nodes = [h.make_node("MatMul", ["x" if i == 0 else f"h{i - 1}", "w"], [f"h{i}"]) for i in range(50)]
    value = h.make_tensor_value_info
    weight = TensorProto(name="w", data_type=1, dims=[64, 64])
    model = h.make_model(h.make_graph(nodes, "g", [value("x", 1, [1, 64])], [value("h49", 1, None)], [weight]))
    calls = []
    real = onnx.shape_inference.infer_node_outputs

    def counted(*args: Any, **kwargs: Any) -> Any:
        calls.append(args[1].op_type)
        return real(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnx.shape_inference, "infer_node_outputs", counted)
        assert is_static(infer(model).graph)
    assert calls == ["MatMul"]


def test_types_in_the_file_bridge_an_unknown_operator() -> None:
    text = """<ir_version: 8, opset_import: ["" : 17, "acme" : 1]>
        g (float[2,3] x) => (y) {types} {{
            m = acme.Magic(x)
            y = Relu(m)
        }}"""
    assert types(typed(text.format(types="<float[5,7] m>")))["y"] == "fp32[5,7]"
    blind = typed(text.format(types=""))
    assert types(blind)["y"] == "fp32[*]"
    assert len(blind.notes) == 1
    # A new shape of the input makes the file's types void, except for the element type.
    moved = typed(text.format(types="<float16[5,7] m>"), shapes={"x": [4, 3]})
    assert types(moved)["y"] == "fp16[*]"


def test_formats_the_schema_does_not_list_are_inferred_all_the_same() -> None:
    # Conv of opset 11 lists no bf16; the runtime that wrote the model had it.
    model = typed("""<ir_version: 8, opset_import: ["" : 11]>
        g (bfloat16[1,3,8,8] x, bfloat16[4,3,3,3] w) => (y) { y = Conv(x, w) }""")
    assert types(model)["y"] == "bf16[1,4,6,6]"


def test_attributes_the_schema_does_not_know_do_not_matter() -> None:
    model = typed("""<ir_version: 8, opset_import: ["" : 17]>
        g (float[1,3,8,8] x, float[4,3,3,3] w) => (y) { y = Conv<vendor_hint = 3>(x, w) }""")
    assert types(model)["y"] == "fp32[1,4,6,6]"


@pytest.mark.parametrize("opset", [7, 9, 11, 13, 18, 21, onnx.defs.onnx_opset_version()])
def test_opsets_from_seven_to_the_newest(opset: int) -> None:
    axes = "axes = [1]" if opset < 13 else ""
    operand = "" if opset < 13 else ", axis"
    model = typed(f"""<ir_version: 4, opset_import: ["" : {opset}]>
        g (float[2,3] x) => (y) <int64[1] axis = {{1}}> {{
            u = Unsqueeze<{axes}>(x{operand})
            r = Relu(u)
            y, mask = Dropout(r)
        }}""".replace("<>", ""))  # fmt: skip
    assert types(model)["y"] == "fp32[2,1,3]"
    assert types(model)["mask"] == ("bool[2,1,3]" if opset >= 10 else "fp32[2,1,3]")


# --- overrides -----------------------------------------------------------------------------------------------

TWO_INPUTS = """<ir_version: 8, opset_import: ["" : 17]>
    g (float[b,s,8] x, float[b,"s + 1"] mask, float[8] scale) => (y, m) {
        y = Mul(x, scale)
        m = Relu(mask)
    }"""


def test_dims_bind_names_and_expressions_of_names() -> None:
    assert types(typed(TWO_INPUTS, dims={"b": 2, "s": 5}))["m"] == "fp32[2,6]"


def test_free_dimensions_are_listed_with_flags_to_paste() -> None:
    with pytest.raises(UsageError, match=r"free dimensions 'b', 's'; set them, for instance --dim b=1 --dim s=128"):
        typed(TWO_INPUTS)
    with pytest.raises(UsageError, match=r"free dimensions 's'; .* --dim s=128$"):
        typed(TWO_INPUTS, batch=4)


def test_a_shape_binds_the_names_it_meets() -> None:
    assert types(typed(TWO_INPUTS, shapes={"x": [3, 7, 8]}))["m"] == "fp32[3,8]"


def test_inputs_without_names_or_shape_ask_for_a_shape() -> None:
    text = '<ir_version: 8, opset_import: ["" : 17]> g (float[?,3] x, float[] z, float w) => (y) {{ y = Relu(x) }}'
    with pytest.raises(UsageError, match=r"--shape x=1,3"):
        typed(text.format())


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"dims": {"seq": 4}}, "no free dimension 'seq', only 'b', 's'"),
        ({"dims": {"bb": 4}}, r"did you mean 'b'\?"),
        ({"dims": {"b": -1}}, "negative"),
        ({"batch": 0}, "no batch size"),
        ({"batch": 2, "dims": {"b": 3}}, "set the same dimension"),
        ({"shapes": {"xx": [1]}}, r"did you mean 'x'\?"),
        ({"shapes": {"x": [1, 2]}}, "has 3 dimensions and --shape gives 2"),
        ({"shapes": {"x": [1, 2, -8]}}, "negative"),
        ({"shapes": {"x": [1, 2, 8], "mask": [2, 3]}}, "'b' to 1 and to 2"),
        ({"dims": {"b": 1, "s": 1}, "trip_count": {"loop": 3}}, "no Loop or Scan 'loop'"),
    ],
)
def test_an_override_that_fits_nothing_is_refused(overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        typed(TWO_INPUTS, **overrides)


FIXED = """<ir_version: 8, opset_import: ["" : 17]>
    g (float[1,4,8] x, float[1,8] t, float[4,8] table) => (y) <int64[3] shape = {{{shape}}}, float[1,4,8] a> {{
        a = Add(x, table)
        b = Reshape(a, shape)
        y = Mul(b, b)
    }}"""


def test_batch_moves_every_input_with_the_first_ones_leading_dimension() -> None:
    model = typed(FIXED.format(shape="0, 8, 4"), batch=16)
    found = types(model)
    assert (found["x"], found["t"], found["table"]) == ("fp32[16,4,8]", "fp32[16,8]", "fp32[4,8]")
    assert (found["a"], found["y"]) == ("fp32[16,4,8]", "fp32[16,8,4]")
    # What `shapes` says of an input stands.
    assert types(typed(FIXED.format(shape="0, 8, 4"), batch=16, shapes={"t": [1, 8]}))["t"] == "fp32[1,8]"


@pytest.mark.parametrize("shape", ["1, 8, 4", "1, 4, 8", "1, 0, 8", "1, 32, 1"])
def test_a_batch_that_a_reshape_spells_out_is_taken_as_the_new_one(shape: str) -> None:
    model = typed(FIXED.format(shape=shape), batch=16)
    sizes = [int(size) for size in shape.split(", ")]
    assert types(model)["y"] == f"fp32[16,{sizes[1] or 4},{sizes[2]}]"
    (note,) = model.notes
    assert "the batch of 1" in note
    assert "the Reshape node that produces 'b'" in note
    assert typed(FIXED.format(shape=shape), batch=1).notes == []


@pytest.mark.parametrize("shape", ["8, 1, 4", "1, 8, 5", "2, 8, 4"])
def test_a_baked_in_batch_that_does_not_lead_is_an_error_that_names_the_reshape(shape: str) -> None:
    with pytest.raises(ModelError, match=r"produces 'b' cannot take .*\[16, 4, 8\] and .*export the model with a dynamic batch"):
        typed(FIXED.format(shape=shape), batch=16)


def test_a_batch_that_minus_one_swallows_is_noted_and_named_when_it_contradicts() -> None:
    model = typed(FIXED.format(shape="1, -1, 4"), batch=16)
    assert types(model)["y"] == "fp32[1,128,4]"
    assert any("keeps the batch of 1" in note and "'b'" in note for note in model.notes)
    later = FIXED.format(shape="1, -1, 4").replace("y = Mul(b, b)", "y = Concat<axis = 1>(b, x)")
    with pytest.raises(ModelError, match="old batch is baked into the Reshape node that produces 'b'"):
        typed(later.replace("Concat<axis = 1>", "Add"), batch=16)


def test_an_override_that_changes_nothing_changes_no_type() -> None:
    assert types(typed(FIXED.format(shape="1, 8, 4"), batch=1)) == types(typed(FIXED.format(shape="1, 8, 4")))


# --- functions -----------------------------------------------------------------------------------------------

FUNCTIONS = """<ir_version: 8, opset_import: ["" : 17, "local" : 1]>
    g (float[2,4] x) => (y) {
        [first] t = local.block <slope = 0.5> (x)
        [second] y = local.block (t)
    }
    <domain: "local", opset_import: ["" : 17, "local" : 1]>
    block <slope: float = 0.25> (x) => (y) {
        [act] a = LeakyRelu <alpha: float = @slope> (x)
        [tail] y = local.tail (a, a)
    }
    <domain: "local", opset_import: ["" : 17]>
    tail (x, z) => (y) { [sum] y = Add(x, z) }"""


def test_local_functions_are_written_out_under_traceable_names() -> None:
    proto = parser.parse_model(FUNCTIONS)
    model = infer(proto)
    assert [node.name for node in model.graph.nodes] == ["first/act", "first/tail/sum", "second/act", "second/tail/sum"]
    assert types(model) == dict.fromkeys(["x", "first/a", "t", "second/a", "y"], "fp32[2,4]")
    # The caller's attribute, then the function's default.
    assert [model.graph.nodes[i].attribute[0].f for i in (0, 2)] == [0.5, 0.25]
    assert len(proto.functions) == 2


def test_a_function_body_captures_the_callers_values() -> None:
    model = typed("""<ir_version: 8, opset_import: ["" : 17, "local" : 1]>
        g (bool c, float[3] x, float[3] a) => (y, z) {
            [one] y = local.pick(c, x)
            [two] z = local.pick(c, a)
        }
        <domain: "local", opset_import: ["" : 17]>
        pick (c, x) => (y) {
            y = If (c) <
                then_branch = yes () => (a) { a = Relu(x) },
                else_branch = no () => (a) { a = Neg(x) }
            >
        }""")
    bodies = model.graph.subgraphs[1]
    assert bodies["then_branch"].nodes[0].input[0] == "a"
    assert bodies["then_branch"].outputs == ["two/a"]
    assert is_static(model.graph)


# --- control flow --------------------------------------------------------------------------------------------


def test_both_branches_are_typed_and_their_results_joined() -> None:
    model = typed("""<ir_version: 8, opset_import: ["" : 17]>
        g (bool c, float[2,3] x, float[2,5] w) => (y) {
            y = If (c) <
                then_branch = yes () => (a) { a = Relu(x) },
                else_branch = no () => (b) { b = Relu(w) }
            >
        }""")
    bodies = model.graph.subgraphs[0]
    assert str(bodies["then_branch"].types["a"]) == "fp32[2,3]"
    assert bodies["then_branch"].type_of("x") == model.graph.types["x"]
    assert types(model)["y"] == "fp32[2,?]"


def test_a_known_condition_decides_and_the_dead_branch_may_be_wrong() -> None:
    model = typed("""<ir_version: 8, opset_import: ["" : 17]>
        g (float[2,3] x, float[4,5] w) => (y) {
            s = Size(x)
            six = Constant<value_int = 6>()
            c = Equal(s, six)
            y = If (c) <
                then_branch = yes () => (a) { a = Relu(x) },
                else_branch = no () => (b) { b = MatMul(x, w) }
            >
        }""")
    assert types(model)["y"] == "fp32[2,3]"


def loop(limit: str, condition: str = "Identity(go)", body: str = "n = Add(v, step)") -> str:
    return f"""<ir_version: 8, opset_import: ["" : 17]>
        g (int64 m, float[4] x, float[4] step) => (last, stack) <int64 limit = {{{limit}}}> {{
            yes = Constant<value_int = 1>()
            on = Cast<to = 9>(yes)
            [steps] last, stack = Loop ({"m" if limit == "0" else "limit"}, on, x)
            <body = iteration (int64 i, bool go, v) => (more, n, each) {{
                more = {condition}
                {body}
                each = Unsqueeze(v, zero)
                zero = Constant<value_ints = [0]>()
            }}>
        }}"""


def test_a_loop_runs_as_often_as_its_limit_says() -> None:
    model = typed(loop("12"))
    index = next(iter(model.graph.subgraphs))
    assert model.graph.trip_counts == {index: 12}
    assert types(model)["last"] == "fp32[4]"
    assert types(model)["stack"] == "fp32[12,1,4]"
    assert model.graph.subgraphs[index]["body"].inputs == ["i", "go", "v"]


def test_a_loop_of_unknown_length_says_so_and_takes_a_stated_count() -> None:
    unknown = typed(loop("0"))
    assert list(unknown.graph.trip_counts.values()) == [None]
    assert types(unknown)["stack"] == "fp32[?,1,4]"
    assert any("--trip-count steps=N" in note for note in unknown.notes)
    stated = typed(loop("0"), trip_count={"steps": 7})
    assert list(stated.graph.trip_counts.values()) == [7]
    assert types(stated)["stack"] == "fp32[7,1,4]"
    assert not any("--trip-count" in note for note in stated.notes)
    with pytest.raises(UsageError, match=r"did you mean 'steps'\?"):
        typed(loop("0"), trip_count={"step": 7})


def test_a_condition_on_data_leaves_the_count_open() -> None:
    data = "Not(go)"
    assert list(typed(loop("12", condition=data)).graph.trip_counts.values()) == [None]


def test_a_carried_shape_that_grows_is_unknown_where_it_grows() -> None:
    model = typed(loop("3", body="n = Concat<axis = 0>(v, step)"))
    assert types(model)["last"] == "fp32[?]"
    # Not the count of the loop but the shape changes: each slice differs.
    assert types(model)["stack"] == "fp32[3,1,?]"


def test_scan_runs_along_its_axis() -> None:
    model = typed("""<ir_version: 8, opset_import: ["" : 17]>
        g (float[4] state, float[4,9] sequence) => (last, all) {
            last, all = Scan <num_scan_inputs = 1, scan_input_axes = [1], scan_output_axes = [1], body = step (s, e) => (n, o) {
                n = Add(s, e)
                o = Relu(n)
            }> (state, sequence)
        }""")
    assert model.graph.trip_counts == {0: 9}
    assert types(model)["last"] == "fp32[4]"
    assert types(model)["all"] == "fp32[4,9]"


def test_sequences_carry_the_type_of_their_elements() -> None:
    model = typed("""<ir_version: 8, opset_import: ["" : 17]>
        g (float[2,3] x) => (y) <int64 first = {0}> {
            s = SequenceConstruct(x, x)
            y = SequenceAt(s, first)
        }""")
    assert types(model)["s"] == "sequence[*]"
    assert types(model)["y"] == "fp32[2,3]"


# --- ONNX Runtime's own operators ----------------------------------------------------------------------------


def contrib(call: str, inputs: str, names: str = "y", weights: str = "") -> dict[str, str]:
    model = typed(f"""<ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1]>
        g ({inputs}) => ({names}) {weights} {{ {names} = com.microsoft.{call} }}""")
    return {name: types(model)[name] for name in names.split(", ")}


@pytest.mark.parametrize(
    ("call", "inputs", "expected"),
    [
        ("BiasGelu(x, b)", "float[2,8] x, float[8] b", ["fp32[2,8]"]),
        ("FastGelu(x)", "float16[2,8] x", ["fp16[2,8]"]),
        (
            "SkipLayerNormalization(x, x, g)",
            "float[2,5,8] x, float[8] g",
            ["fp32[2,5,8]", "fp32[2,5,1]", "fp32[2,5,1]", "fp32[2,5,8]"],
        ),
        ("SimplifiedLayerNormalization(x, g)", "float[2,5,8] x, float[8] g", ["fp32[2,5,8]", "fp32[2,5,1]"]),
        ("FusedMatMul<transB = 1>(x, w)", "float[3,2,8] x, float[3,5,8] w", ["fp32[3,2,5]"]),
        ('FusedGemm<transA = 1, activation = "Relu">(x, w)', "float[8,2] x, float[8,5] w", ["fp32[2,5]"]),
        ('FusedConv<pads = [1,1,1,1], activation = "Relu">(x, w)', "float[1,3,8,8] x, float[4,3,3,3] w", ["fp32[1,4,8,8]"]),
        ("NhwcConv<strides = [2,2]>(x, w)", "float[1,9,9,3] x, float[4,3,3,3] w", ["fp32[1,4,4,4]"]),
        (
            "MatMulNBits<K = 32, N = 64, bits = 4, block_size = 32>(x, w, s)",
            "float[1,7,32] x, uint8[64,1,16] w, float[64] s",
            ["fp32[1,7,64]"],
        ),
        ("DynamicQuantizeMatMul(x, w, s)", "float[2,8] x, int8[8,5] w, float s", ["fp32[2,5]"]),
        ("QGemm(x, s, z, w, s, z)", "uint8[2,8] x, float s, uint8 z, uint8[8,5] w", ["fp32[2,5]"]),
        ("QLinearAdd(x, s, z, x, s, z, s, z)", "uint8[2,8] x, float s, uint8 z", ["uint8[2,8]"]),
        ("QLinearConcat<axis = 1>(s, z, x, s, z, w, s, z)", "float s, uint8 z, uint8[2,3] x, uint8[2,4] w", ["uint8[2,7]"]),
        ("QLinearGlobalAveragePool(x, s, z, s, z)", "uint8[2,3,7,7] x, float s, uint8 z", ["uint8[2,3,1,1]"]),
        ("QLinearAveragePool<kernel_shape = [2,2]>(x, s, z, s, z)", "uint8[2,3,7,7] x, float s, uint8 z", ["uint8[2,3,6,6]"]),
        ("Attention<num_heads = 2>(x, w, b)", "float[1,5,8] x, float[8,24] w, float[24] b", ["fp32[1,5,8]", "fp32[2,1,2,5,4]"]),
        (
            "QAttention<num_heads = 2>(x, w, b, s, s)",
            "uint8[1,5,8] x, uint8[8,24] w, float[24] b, float s",
            ["fp32[1,5,8]"],
        ),
        (
            "MultiHeadAttention<num_heads = 2>(x, k, k)",
            "float[1,5,8] x, float[1,9,8] k",
            ["fp32[1,5,8]", "fp32[1,2,9,4]", "fp32[1,2,9,4]"],
        ),
        ("RotaryEmbedding(x, p, c, c)", "float[1,5,8] x, int64[1,5] p, float[9,4] c", ["fp32[1,5,8]"]),
        (
            "EmbedLayerNormalization(i, i, t, t, t, g, g)",
            "int32[2,5] i, float[9,8] t, float[8] g",
            ["fp32[2,5,8]", "int32[2]"],
        ),
        ("QMoE<k = 2>(x, r)", "float[5,8] x, float[5,4] r", ["fp32[5,8]"]),
        ("BiasSplitGelu(x, b)", "float[1,5,8] x, float[8] b", ["fp32[1,5,4]"]),
    ],
)
def test_contrib_shapes(call: str, inputs: str, expected: list[str]) -> None:
    names = ", ".join("ypqr"[: len(expected)])
    assert list(contrib(call, inputs, names).values()) == expected


def test_grouped_attention_extends_its_cache() -> None:
    # 8 query heads and 2 key heads of 4: packed width (8 + 2 + 2) * 4 = 48; 255 cached tokens and 1 new.
    found = contrib(
        "GroupQueryAttention<num_heads = 8, kv_num_heads = 2>(x, , , k, k, l, t)",
        "float[1,1,48] x, float[1,2,255,4] k, int32[1] l",
        "y, p, q",
        "<int32 t = {256}>",
    )
    assert found == {"y": "fp32[1,1,32]", "p": "fp32[1,2,256,4]", "q": "fp32[1,2,256,4]"}


def test_operators_of_the_runtime_in_the_standard_domain_are_known() -> None:
    model = typed("""<ir_version: 8, opset_import: ["" : 17]>
        g (float[2,8] x, float[8] g) => (y) { y = SimplifiedLayerNormalization(x, g) }""")
    assert types(model)["y"] == "fp32[2,8]"
