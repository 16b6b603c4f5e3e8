"""apply-precision and annotate-operators: what a network is served in, where operands are quantised, and what is told."""

from __future__ import annotations

import pytest
from networks import machine, network

from edpc.errors import UsageError
from edpc.ir import Graph
from edpc.ir.verify import verify
from edpc.pipeline.base import PassContext
from edpc.serving import NEAREST, served_as
from edpc.target import Precision
from passes.annotate_operators import AnnotateOperators
from passes.apply_precision import ApplyPrecision

FP32 = Precision("fp32", "fp32", "fp32", "fp32", "fp32")
TF32 = Precision("fp32", "fp32", "fp32", "tf32", "fp32")
BF16 = Precision("bf16", "bf16", "bf16", "bf16", "fp32")
FP8 = Precision("fp8e4m3", "bf16", "fp8e4m3", "fp8", "fp32", "quantised per token")
INT8 = Precision("int8", "bf16", "int8", "int8", "fp32", "quantised per token")
ALL = {"fp32": FP32, "tf32": TF32, "bf16": BF16, "fp8": FP8, "int8": INT8}

LINEAR = """%x = input() : fp32[4,8]; %w = parameter() : fp32[8,8]; %v = parameter() : fp32[8,8]; %b = parameter() : fp32[8]
  %q = matmul(%x, %w) : fp32[4,8] loc("q", "MatMul", "encoder"); %k = matmul(%x, %v, %b) : fp32[4,8]
  %s = matmul(%q, %k) {transpose_b = true} : fp32[4,4]; %p = softmax(%s) {axis = -1} : fp32[4,4]; %return = return(%p) : ()"""


def served(body: str, precision: str | None = None, offered: dict[str, Precision] | None = None) -> Graph:
    """The graph after the pass, which then has nothing left to do."""
    graph = network(body)
    target = machine(precisions=ALL if offered is None else offered)
    ApplyPrecision().run(graph, PassContext(target, precision))
    verify(graph)
    again = graph.copy()
    assert not ApplyPrecision().run(again, PassContext(target))
    assert again == graph
    return graph


def types(graph: Graph) -> dict[str, str]:
    """First result type by name."""
    return {name: graph.op(name).outputs[0].dtype for name in graph.order() if graph.op(name).outputs}


def multiplies(graph: Graph) -> dict[str, object]:
    """compute_precision by name, where there is one."""
    found = {name: graph.op(name).attribute("compute_precision") for name in graph.order()}
    return {name: how for name, how in found.items() if how}


def test_the_models_own_precision_is_kept_where_the_target_has_it() -> None:
    graph = served(LINEAR)
    assert graph.info.precision == "fp32"
    assert set(types(graph).values()) == {"fp32"}
    assert multiplies(graph) == {"q": "fp32", "k": "fp32", "s": "fp32"}
    assert graph.info.notes == ()


def test_floats_are_retyped_and_integers_are_not() -> None:
    graph = served(
        """%i = input() : int64[4]; %e = parameter() : fp32[100,8]; %m = input() : bool[4,8]; %w = parameter() : fp32[8,8]
        %g = gather(%e, %i) {axis = 0} : fp32[4,8]; %z = where(%m, %g, %g) : fp32[4,8]; %y = matmul(%z, %w) : fp32[4,8]
        %a = argmax(%y) {axes = [1]} : int64[4]; %return = return(%a) : ()""",
        "bf16",
    )
    assert types(graph) == {
        "i": "int64", "e": "bf16", "m": "bool", "w": "bf16", "g": "bf16", "z": "bf16", "y": "bf16", "a": "int64",
    }  # fmt: skip


def test_tf32_is_stored_as_fp32_and_multiplied_as_tf32() -> None:
    graph = served(LINEAR, "tf32")
    assert set(types(graph).values()) == {"fp32"}
    assert set(multiplies(graph).values()) == {"tf32"}


@pytest.mark.parametrize(("name", "dtype"), [("fp8", "fp8e4m3"), ("int8", "int8")])
def test_narrow_operands_are_quantised_once_per_activation(name: str, dtype: str) -> None:
    graph = served(LINEAR, name)
    assert [n for n in graph.order() if graph.op(n).kind == "quantize_dynamic"] == ["q.quantize"]
    quantizer = graph.op("q.quantize")
    assert [str(t) for t in quantizer.outputs] == [f"{dtype}[4,8]", "fp32[4,1]"]
    location = quantizer.location
    assert location is not None
    assert (location.source_name, location.source_type, location.module_path) == ("q", "QuantizeDynamic", "encoder")
    # both products read it and its scales; the bias of the second is still its addend
    assert [str(t) for t in graph.op("q").inputs] == [f"{dtype}[4,8]", f"{dtype}[8,8]", "fp32[4,1]"]
    assert graph.op("q").attribute("addend") is False
    assert [str(t) for t in graph.op("k").inputs] == [f"{dtype}[4,8]", f"{dtype}[8,8]", "bf16[8]", "fp32[4,1]"]
    assert graph.op("k").attribute("addend") is True
    assert multiplies(graph) == {"q": name, "k": name, "s": "bf16"}
    assert types(graph)["k"] == types(graph)["p"] == "bf16"
    assert graph.info.notes == ("quantised per token",)


def test_a_convolution_is_quantised_per_image() -> None:
    graph = served(
        """%x = input() : fp32[2,3,8,8]; %w = parameter() : fp32[4,3,1,1]; %b = parameter() : fp32[4]
        %c = conv(%x, %w, %b) : fp32[2,4,8,8]; %return = return(%c) : ()""",
        "int8",
    )
    assert [str(t) for t in graph.op("c.quantize").outputs] == ["int8[2,3,8,8]", "fp32[2,1,1,1]"]
    assert graph.op("c").attribute("bias") is True


def test_a_weight_that_a_lookup_shares_stays_in_the_activations_type() -> None:
    graph = served(
        """%i = input() : int64[4]; %e = parameter() : fp32[100,8]; %g = gather(%e, %i) {axis = 0} : fp32[4,8]
        %y = matmul(%g, %e) {transpose_b = true} : fp32[4,100]; %return = return(%y) : ()""",
        "fp8",
    )
    assert types(graph)["e"] == "bf16"
    assert multiplies(graph) == {"y": "bf16"}


def test_casts_between_floats_that_are_served_alike_are_gone() -> None:
    graph = served(
        """%x = input() : fp16[4,8]; %w = parameter() : fp16[8,8]; %y = matmul(%x, %w) : fp16[4,8]; %u = cast(%y) : fp32[4,8]
        %s = softmax(%u) {axis = -1} : fp32[4,8]; %d = cast(%s) : fp16[4,8]; %n = cast(%d) : int32[4,8]
        %return = return(%n) : ()""",
        "bf16",
    )
    assert [graph.op(n).kind for n in graph.order()] == ["input", "parameter", "matmul", "softmax", "cast", "return"]


def test_what_a_target_lacks_is_mapped_and_told() -> None:
    half = LINEAR.replace("fp32", "fp16")
    graph = served(half, offered={"fp32": FP32, "bf16": BF16})
    assert graph.info.precision == "bf16"
    assert graph.info.notes == ("fp16 is not native to machine: served as bf16",)


@pytest.mark.parametrize("wanted", NEAREST)
def test_every_precision_finds_one_that_is_offered(wanted: str) -> None:
    name, precision = served_as(wanted, machine(precisions={"fp32": FP32, "int8": INT8}))
    assert (name, precision) in {("fp32", FP32), ("int8", INT8)}


def test_a_graph_that_is_served_already_is_not_served_otherwise() -> None:
    graph = served(LINEAR, "bf16")
    with pytest.raises(UsageError, match="this graph is served in bf16 already; serve the model itself in fp8"):
        ApplyPrecision().run(graph, PassContext(machine(precisions=ALL), "fp8"))


def test_no_such_precision() -> None:
    with pytest.raises(UsageError, match="there is no precision 'fp17'; target machine offers fp32"):
        served(LINEAR, "fp17", {"fp32": FP32})


QDQ = """%x = input() : int8[4,8]; %w = parameter() : int8[8,8]; %s = parameter() : fp32[]; %f = parameter() : fp32[8,8]
  %dx = dequantize(%x, %s) : fp32[4,8]; %dw = dequantize(%w, %s) : fp32[8,8]; %a = matmul(%dx, %dw) : fp32[4,8]
  %q = quantize(%a, %s) : int8[4,8]; %d = dequantize(%q, %s) : fp32[4,8]; %b = matmul(%d, %f) : fp32[4,8]
  %return = return(%b) : ()"""


def test_a_network_that_came_quantised_keeps_its_tensors_and_its_floats_are_told() -> None:
    graph = served(QDQ)
    assert graph.info.precision == "int8"
    assert [str(graph.op(n).outputs[0]) for n in ("x", "w", "dx", "q", "f")] == [
        "int8[4,8]", "int8[8,8]", "bf16[4,8]", "int8[4,8]", "bf16[8,8]",
    ]  # fmt: skip
    assert multiplies(graph) == {"a": "int8", "b": "bf16"}
    assert graph.info.notes == ("1 of 2 contractions run in bf16 although the model is quantised",)


def test_a_network_that_came_quantised_is_not_quantised_otherwise() -> None:
    graph = served(QDQ, "fp8")
    assert graph.info.precision == "int8"
    assert graph.info.notes[0] == "the model came quantised and is served in its own int8, not in fp8"
    graph = served(QDQ, "fp32")
    assert graph.info.notes[0] == "1 contractions came quantised and multiply int8"
    assert multiplies(graph) == {"a": "int8", "b": "fp32"}


def test_quantised_contractions_on_a_target_without_integers_are_told() -> None:
    graph = served(QDQ, offered={"bf16": BF16})
    assert multiplies(graph) == {"a": "bf16", "b": "bf16"}
    assert graph.info.notes == (
        "int8 is not native to machine: served as bf16",
        "1 quantised contractions run in bf16: machine does not multiply int8",
        "1 of 2 contractions run in bf16 although the model is quantised",
    )


def test_weight_only_quantisation_multiplies_in_the_activations_format() -> None:
    graph = served(
        """%x = input() : fp16[4,8]; %w = parameter() : int4[8,8]; %s = parameter() : fp16[8]
        %a = matmul(%x, %w, %s) {addend = false} : fp16[4,8]; %return = return(%a) : ()"""
    )
    assert types(graph)["w"] == "int4"
    assert multiplies(graph) == {"a": "bf16"}
    assert graph.info.precision == "bf16"


def worked(body: str, precision: str) -> Graph:
    graph = served(body, precision)
    ctx = PassContext(machine(precisions=ALL), precision)
    assert AnnotateOperators().run(graph, ctx)
    assert not AnnotateOperators().run(graph, ctx)
    return graph


def test_contractions_compute_as_decided_and_others_in_the_vector_format() -> None:
    graph = worked(LINEAR, "fp8")
    found = {name: graph.op(name).work.precision for name in graph.compute_order()}  # type: ignore[union-attr]
    assert found == {"q.quantize": "fp32", "q": "fp8", "k": "fp8", "s": "bf16", "p": "fp32"}


def test_integer_arithmetic_stays_integer_and_unknown_kinds_are_movement() -> None:
    graph = worked(
        """%x = input() : int64[4]; %a = add(%x, %x) : int64[4]; %u = "com.acme.Twist"(%a) : int64[4]
        %return = return(%u) : ()""",
        "bf16",
    )
    add, unknown = graph.op("a").work, graph.op("u").work
    assert add is not None
    assert add.precision == "int32"
    assert unknown is not None
    assert (unknown.flops, unknown.reads, unknown.writes) == (0, (32,), (32,))
