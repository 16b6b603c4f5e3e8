"""import-cleanup: what it removes, what it recognises, and that it settles at once and keeps what remains as it was."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from networks import network
from test_fusion_laws import networks

from edpc.ir import Graph, Value
from edpc.ir.verify import verify
from edpc.operators import work
from edpc.pipeline.base import PassContext
from passes.import_cleanup import ImportCleanup


def cleaned(body: str) -> Graph:
    """The graph after the pass, which then has nothing left to do."""
    graph = network(body)
    ImportCleanup().run(graph, PassContext())
    verify(graph)
    again = graph.copy()
    assert not ImportCleanup().run(again, PassContext())
    assert again == graph
    return graph


def kinds(graph: Graph) -> dict[str, str]:
    """Kind by name."""
    return {name: graph.op(name).kind for name in graph.order()}


def test_identities_are_gone_wherever_they_stand() -> None:
    graph = cleaned("""%x = input() : fp32[4,8]; %a = identity(%x) : fp32[4,8]; %b = cast(%a) : fp32[4,8]
        %c = dropout(%b) : (fp32[4,8]) -> (fp32[4,8], fp32[4,8]); %d = reshape(%c) : fp32[4,8]
        %e = transpose(%d) {perm = [0, 1]} : fp32[4,8]; %f = concat(%e) {axis = 0} : fp32[4,8]; %r = relu(%f) : fp32[4,8]
        %return = return(%r, %f) : ()""")
    assert kinds(graph) == {"x": "input", "r": "relu", "return": "return"}
    assert graph.operands("return") == (Value("r"), Value("x"))


def test_a_change_of_type_or_shape_is_no_identity() -> None:
    graph = cleaned("""%x = input() : fp32[4,8]; %a = cast(%x) : bf16[4,8]; %b = reshape(%a) : bf16[32]
        %d = dropout(%b) {training = true} : bf16[32]; %s = slice(%d) : bf16[32]; %return = return(%s) : ()""")
    assert list(kinds(graph).values()) == ["input", "cast", "reshape", "dropout", "slice", "return"]


def test_a_dropout_with_a_mask_that_is_read_stays() -> None:
    graph = cleaned("""%x = input() : fp32[4]; %d = dropout(%x) : (fp32[4]) -> (fp32[4], bool[4])
        %return = return(%d, %d#1) : ()""")
    assert kinds(graph)["d"] == "dropout"


def test_transposes_of_transposes_are_one() -> None:
    graph = cleaned("""%x = input() : fp32[2,3,4]; %a = transpose(%x) {perm = [1, 0, 2]} : fp32[3,2,4]
        %b = transpose(%a) {perm = [0, 2, 1]} : fp32[3,4,2]; %c = transpose(%b) {perm = [1, 0, 2]} : fp32[4,3,2]
        %r = relu(%b) : fp32[3,4,2]; %return = return(%r, %c) : ()""")
    # Axis 0 of %b is axis 1 of %x, axis 1 its axis 2, axis 2 its axis 0; %c turns all round.
    assert kinds(graph) == {"x": "input", "b": "transpose", "c": "transpose", "r": "relu", "return": "return"}
    assert [graph.op(name).attribute("perm") for name in "bc"] == [(1, 2, 0), (2, 1, 0)]
    assert graph.operands("b") == graph.operands("c") == (Value("x"),)


def test_what_nobody_reads_is_gone_but_inputs_stay() -> None:
    graph = cleaned("""%x = input() : fp32[4]; %y = input() : fp32[4]; %w = parameter() : fp32[4]
        %dead = relu(%y) : fp32[4]; %deader = mul(%dead, %w) : fp32[4]; %r = relu(%x) : fp32[4]; %return = return(%r) : ()""")
    assert list(kinds(graph)) == ["x", "y", "r", "return"]


def test_a_graph_without_a_return_keeps_its_ends() -> None:
    assert list(kinds(cleaned("%x = input() : fp32[4]; %r = relu(%x) : fp32[4]"))) == ["x", "r"]


def test_what_is_made_of_parameters_is_a_parameter() -> None:
    graph = cleaned("""%x = input() : fp32[4,8]; %w = parameter() : fp32[16,8]; %h = constant() : fp32[]
        %t = transpose(%w) {perm = [1, 0]} : fp32[8,16] loc("transposed", "Transpose"); %k = mul(%h, %h) : fp32[]
        %two = split(%t) {axis = 1} : (fp32[8,16]) -> (fp32[8,8], fp32[8,8])
        %a = matmul(%x, %t) : fp32[4,16]; %b = matmul(%x, %two#1) : fp32[4,8]; %m = mul(%b, %k) : fp32[4,8]
        %return = return(%a, %m) : ()""")
    assert kinds(graph) == {
        "x": "input", "t": "parameter", "k": "constant", "two.1": "parameter",
        "a": "matmul", "b": "matmul", "m": "mul", "return": "return",
    }  # fmt: skip
    assert graph.operands("b") == (Value("x"), Value("two.1"))
    location = graph.op("t").location
    assert location is not None
    assert location.source_name == "transposed"


def test_random_numbers_and_unknown_sizes_are_not_folded() -> None:
    graph = cleaned("""%w = parameter() : fp32[4]; %r = bernoulli(%w) : fp32[4]; %n = nonzero(%w) : int64[1,?]
        %return = return(%r, %n) : ()""")
    assert kinds(graph)["r"] == "bernoulli"
    assert kinds(graph)["n"] == "nonzero"


def test_an_integer_weight_keeps_its_dequantisation_and_is_stored_rearranged() -> None:
    graph = cleaned("""%x = input() : fp32[4,8]; %w = parameter() : int8[16,8]; %s = parameter() : fp32[]
        %d = dequantize(%w, %s) : fp32[16,8]; %t = transpose(%d) {perm = [1, 0]} : fp32[8,16]; %a = matmul(%x, %t) : fp32[4,16]
        %q = parameter() : fp32[8]; %i = quantize(%q, %s) : int32[8]; %j = dequantize(%i, %s) : fp32[8]
        %e = mul(%a, %a) : fp32[4,16]; %return = return(%e, %j) : ()""")
    assert graph.operands("a") == (Value("x"), Value("d"))
    assert str(graph.op("d").outputs[0]) == "fp32[8,16]"
    assert str(graph.op("d").inputs[0]) == "int8[8,16]"
    # the dequantised bias is no factor of a contraction: folded
    assert kinds(graph)["j"] == "parameter"


def test_dequantised_activations_are_not_shared_with_a_contraction() -> None:
    graph = cleaned("""%x = input() : fp32[4,8]; %w = parameter() : fp32[8,8]; %s = parameter() : fp32[]
        %q = quantize(%x, %s) : int8[4,8]; %d = dequantize(%q, %s) : fp32[4,8]
        %a = matmul(%d, %w) : fp32[4,8]; %r = add(%a, %d) : fp32[4,8]; %return = return(%r) : ()""")
    assert graph.operands("a")[0] == Value("d")
    assert graph.operands("r")[1] == Value("d.1")
    assert graph.operands("d.1") == graph.operands("d")


def test_dequantised_activations_without_a_contraction_stay_shared() -> None:
    graph = cleaned("""%x = input() : int8[4]; %s = parameter() : fp32[]; %d = dequantize(%x, %s) : fp32[4]
        %a = relu(%d) : fp32[4]; %r = add(%a, %d) : fp32[4]; %return = return(%r) : ()""")
    assert "d.1" not in graph


def test_the_addition_of_a_parameter_per_channel_is_a_bias() -> None:
    graph = cleaned("""%x = input() : fp32[2,8,4,4]; %c = parameter() : fp32[8,1,1]; %v = parameter() : fp32[4]
        %m = constant() : fp32[4]; %y = input() : fp32[2,8,4,4]; %one = parameter() : fp32[1]
        %image = add(%c, %x) : fp32[2,8,4,4]; %last = add(%image, %v) : fp32[2,8,4,4]; %two = sum_n(%last, %v) : fp32[2,8,4,4]
        %mask = add(%two, %m) : fp32[2,8,4,4]; %residual = add(%mask, %y) : fp32[2,8,4,4]
        %scalar = add(%residual, %one) : fp32[2,8,4,4]
        %return = return(%scalar) : ()""")
    found = kinds(graph)
    assert [found[n] for n in ("image", "last", "two")] == ["bias"] * 3
    assert [found[n] for n in ("mask", "residual", "scalar")] == ["add"] * 3
    assert graph.operands("image") == (Value("x"), Value("c"))


def test_a_bias_that_broadcasts_the_activation_is_an_addition() -> None:
    graph = cleaned(
        """%x = input() : fp32[1,8]; %v = parameter() : fp32[4,1]; %s = add(%x, %v) : fp32[4,8]; %return = return(%s) : ()"""
    )
    assert kinds(graph)["s"] == "add"


def test_a_transpose_that_moves_no_two_elements_apart_is_a_view() -> None:
    graph = cleaned("""%x = input() : fp32[1,8,1,4]; %a = transpose(%x) {perm = [2, 1, 0, 3]} : fp32[1,8,1,4]
        %b = transpose(%a) {executions = 2, perm = [1, 0, 2, 3]} : fp32[8,1,1,4]
        %c = transpose(%b) {perm = [3, 1, 2, 0]} : fp32[4,1,1,8]; %return = return(%c) : ()""")
    assert kinds(graph) == {"x": "input", "b": "reshape", "c": "transpose", "return": "return"}
    assert graph.op("b").attributes == (("executions", 2),)


def test_a_transpose_and_its_inverse_are_nothing() -> None:
    graph = cleaned("""%x = input() : fp32[2,3,4]; %a = transpose(%x) {perm = [1, 2, 0]} : fp32[3,4,2]
        %b = transpose(%a) {perm = [2, 0, 1]} : fp32[2,3,4]; %r = relu(%b) : fp32[2,3,4]; %return = return(%r) : ()""")
    assert list(kinds(graph)) == ["x", "r", "return"]


@settings(max_examples=60, deadline=None)
@given(networks())
def test_it_settles_verifies_and_adds_no_work(graph: Graph) -> None:
    before = sum(work(graph.op(name)).flops for name in graph.compute_order())
    ImportCleanup().run(graph, PassContext())
    verify(graph)
    assert sum(work(graph.op(name)).flops for name in graph.compute_order()) <= before
    again = graph.copy()
    assert not ImportCleanup().run(again, PassContext())
    assert again == graph


def test_a_transpose_of_a_transpose_reads_what_the_first_one_read() -> None:
    text = """%x = input() : fp32[2,3,4,5]; %a = transpose(%x) {perm = [0, 2, 1, 3]} : fp32[2,4,3,5]
        %b = transpose(%a) {perm = [0, 1, 3, 2]} : fp32[2,4,5,3]; %return = return(%b) : ()"""
    graph = cleaned(text)
    assert kinds(graph) == {"x": "input", "b": "transpose", "return": "return"}
    # Axis i of %b is axis perm[i] of %a, which is axis first[perm[i]] of %x.
    assert graph.op("b").attribute("perm") == (0, 2, 3, 1)
    read_by_others = cleaned(text.replace("return(%b)", "return(%b, %a)"))
    assert kinds(read_by_others)["a"] == "transpose"
    assert read_by_others.op("b").attribute("perm") == (0, 2, 3, 1)


def test_a_mean_over_an_image_is_a_pooling() -> None:
    text = """%x = input() : fp32[2,64,7,7]; %m = reduce_mean(%x) {axes = [2, 3]} : fp32[2,64,1,1]
        %return = return(%m) : ()"""
    assert kinds(cleaned(text))["m"] == "global_average_pool"
    rows = text.replace("axes = [2, 3]", "axes = [3]").replace("fp32[2,64,1,1]", "fp32[2,64,7,1]")
    assert kinds(cleaned(rows))["m"] == "reduce_mean"


@pytest.mark.parametrize(
    ("mask", "shape", "is_causal"),
    [("trilu(%ones) {upper = 0}", "8,8", True), ("relu(%ones)", "8,8", False), ("trilu(%ones) {upper = 0}", "1,8", False)],
)
def test_scores_under_a_triangle_are_causal(mask: str, shape: str, is_causal: bool) -> None:
    graph = cleaned(f"""%s = input() : fp32[2,4,8,8]; %ones = constant() : fp32[{shape}]; %t = {mask} : fp32[{shape}]
        %log = log(%t) : fp32[{shape}]; %masked = add(%s, %log) : fp32[2,4,8,8]
        %p = softmax(%masked) {{axis = 3}} : fp32[2,4,8,8]; %return = return(%p) : ()""")
    assert bool(graph.op("p").attribute("causal")) == is_causal
    assert kinds(graph)["masked"] == "add"  # the mask is still applied, and costs what it costs
