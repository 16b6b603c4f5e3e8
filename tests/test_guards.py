"""Every guard, in a case in which it refuses and in one beside it in which it does not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from networks import grouped, machine, worked

from edpc.errors import UsageError
from edpc.fusion.engine import fuse
from edpc.guards import GUARDS, check
from edpc.ir import Refusal
from edpc.operators import CONTRACTION, ELEMENTWISE, MATMUL, SOFTMAX
from edpc.target import Guard, Rule, many, maybe, one

HEAD = "%x = input() : fp32[4,8]; %w = parameter() : fp32[8,8]; %b = parameter() : fp32[8]; %a = matmul(%x, %w) : fp32[4,8];"


def refusals(body: str, *guards: Guard, rule: Rule | None = None) -> dict[str, tuple[Refusal, ...]]:
    """Refusals of the groups by their first member, under a rule of a product and what follows it."""
    rule = rule or Rule("epilogue", (one(MATMUL), many(ELEMENTWISE | SOFTMAX | MATMUL, *guards)), "gemm")
    return {name: group.refusals for name, group in grouped(body, rule).items()}


def reason(body: str, *guards: Guard, rule: Rule | None = None) -> str:
    """The only reason in the only refusal."""
    found = [no for nos in refusals(body, *guards, rule=rule).values() for no in nos]
    assert [no.guard for no in found] == [guards[0].name if guards else (rule or found[0]).guards[0].name]  # type: ignore[union-attr]
    return found[0].reason


def test_single_use_wants_no_other_reader() -> None:
    body = HEAD + "%r = relu(%a) : fp32[4,8]; %return = return(%r, %a) : ()"
    assert reason(body, Guard("single-use")) == "%a is read by %r and %return, so its value must be written out"
    assert not any(refusals(body.replace("(%r, %a)", "(%r)"), Guard("single-use")).values())


def test_single_use_looks_through_views() -> None:
    body = (
        HEAD + "%v = reshape(%a) : fp32[32]; %r = relu(%a) : fp32[4,8]; %t = tile(%v) : fp32[64]; %return = return(%r, %t) : ()"
    )
    assert reason(body, Guard("single-use")) == "%a is read by %r and %t, so its value must be written out"


def test_single_use_names_only_the_first_of_many_readers() -> None:
    readers = ";".join(f"%t{i} = tile(%a) : fp32[64]" for i in range(9))
    body = HEAD + f"%r = relu(%a) : fp32[4,8]; {readers}; %return = return(%r, {', '.join(f'%t{i}' for i in range(9))}) : ()"
    assert reason(body, Guard("single-use")) == (
        "%a is read by %r, %t0, %t1, %t2 and %t3 (and more), so its value must be written out"
    )


def test_same_shape_wants_an_element_for_an_element() -> None:
    body = HEAD + "%y = input() : fp32[2,4,8]; %s = add(%a, %y) : fp32[2,4,8]; %return = return(%s) : ()"
    assert reason(body, Guard("same-shape")) == "%s makes fp32[2,4,8] of fp32[4,8]"
    assert not any(refusals(body.replace("[2,4,8]", "[4,8]"), Guard("same-shape")).values())


def test_scalar_factor_wants_a_single_number() -> None:
    body = HEAD + "%y = input() : fp32[4,8]; %s = mul(%a, %y) : fp32[4,8]; %return = return(%s) : ()"
    assert reason(body, Guard("scalar-factor")) == "operand 1 of %s is fp32[4,8], not a single number"
    assert not any(refusals(body.replace("%y = input() : fp32[4,8]", "%y = input() : fp32[]"), Guard("scalar-factor")).values())


def test_scalar_factor_lets_an_anchor_have_one_tensor() -> None:
    rule = Rule("scaled", (one(frozenset({"mul"}), Guard("scalar-factor")), one(MATMUL)), "gemm")
    body = "%x = input() : fp32[4,8]; %y = input() : fp32[SHAPE]; %w = parameter() : fp32[8,8]; %s = mul(%x, %y) : fp32[4,8];"
    body += "%a = matmul(%s, %w) : fp32[4,8]; %return = return(%a) : ()"
    assert reason(body.replace("SHAPE", "4,8"), rule=replace(rule, guards=(Guard("scalar-factor"),))).startswith(
        "operand 1 of %s"
    )
    assert not any(refusals(body.replace("SHAPE", ""), rule=rule).values())


def test_vector_bias_wants_a_parameter_along_one_axis() -> None:
    body = HEAD + "%y = input() : fp32[8]; %s = add(%a, %y) : fp32[4,8]; %return = return(%s) : ()"
    assert reason(body, Guard("vector-bias")) == "operand 1 of %s is computed, not a parameter"
    body = HEAD + "%s = add(%a, %p) : fp32[4,8]; %return = return(%s) : ()"
    assert reason("%p = parameter() : fp32[4,8];" + body, Guard("vector-bias")) == "operand 1 of %s is fp32[4,8], not a vector"
    assert not any(refusals("%p = parameter() : fp32[1,8];" + body, Guard("vector-bias")).values())


def test_row_fits_wants_the_reduced_row_in_a_memory() -> None:
    # the machine's local memory holds 1024 B; a row of 8 fp32 is 32 B, one of 512 is 2048 B
    body = HEAD + "%s = softmax(%a) {axis = -1} : fp32[4,8]; %return = return(%s) : ()"
    assert not any(refusals(body, Guard("row-fits", "local")).values())
    wide = body.replace("[4,8]", "[4,512]").replace("[8,8]", "[512,512]").replace("[8]", "[512]")
    assert reason(wide, Guard("row-fits", "local")) == "a row of %s is 2048 B and local holds 1024 B"


def test_head_dim_at_most_wants_narrow_heads() -> None:
    attention = Rule(
        "attention",
        (one(MATMUL, Guard("head-dim-at-most", 16)), one(SOFTMAX), one(MATMUL, Guard("head-dim-at-most", 16))),
        "attention",
    )
    body = """%q = input() : fp32[2,64,16]; %k = input() : fp32[2,16,64]; %v = input() : fp32[2,64,16]
    %qk = matmul(%q, %k) : fp32[2,64,64]; %s = softmax(%qk) {axis = -1} : fp32[2,64,64]; %av = matmul(%s, %v) : fp32[2,64,16]
    %return = return(%av) : ()"""
    assert grouped(body, attention)["qk"].rule == "attention"
    # wide keys: the anchor is refused, and told because the rule would have taken more than what is left
    wide = body.replace("[2,64,16]", "[2,64,32]").replace("[2,16,64]", "[2,32,64]")
    (no,) = grouped(wide, attention)["qk"].refusals
    assert (no.operator, no.reason) == ("qk", "the head dimension of %qk is 32, more than 16")
    # wide values only
    wide = body.replace("%v = input() : fp32[2,64,16]", "%v = input() : fp32[2,64,32]")
    wide = wide.replace("%av = matmul(%s, %v) : fp32[2,64,16]", "%av = matmul(%s, %v) : fp32[2,64,32]")
    (no,) = grouped(wide, attention)["qk"].refusals
    assert (no.operator, no.reason) == ("av", "the head dimension of %av is 32, more than 16")


def test_static_shape_wants_known_sizes() -> None:
    body = HEAD + "%s = add(%a, %b) : fp32[?,8]; %return = return(%s) : ()"
    assert reason(body, Guard("static-shape")) == "%s makes fp32[?,8], whose size is not known"


def test_operands_at_most_counts_tensors_but_no_constants() -> None:
    body = (
        HEAD
        + """%y = input() : fp32[4,8]; %h = constant() : fp32[]; %s = mul(%a, %h) : fp32[4,8]; %t = add(%s, %y) : fp32[4,8]
    %return = return(%t) : ()"""
    )
    # %x and %w are read by the product, %y is the third
    assert reason(body, Guard("operands-at-most", 2)) == "with %t the kernel would read 3 tensors, more than 2"
    assert not any(refusals(body, Guard("operands-at-most", 3)).values())


def test_no_second_contraction() -> None:
    body = HEAD + "%s = matmul(%a, %w) : fp32[4,8]; %return = return(%s) : ()"
    assert reason(body, Guard("no-second-contraction")) == "%s is a second contraction"


def test_int8_operands() -> None:
    rule = Rule("integer", (one(CONTRACTION, Guard("int8-operands")), maybe(ELEMENTWISE)), "gemm")
    body = HEAD + "%r = relu(%a) : fp32[4,8]; %return = return(%r) : ()"
    (no,) = refusals(body, rule=rule)["a"]
    assert (no.operator, no.reason) == ("a", "%a multiplies fp32, not int8")
    quantized = body.replace("%x = input() : fp32", "%x = input() : int8").replace(
        "%w = parameter() : fp32", "%w = parameter() : int8"
    )
    assert grouped(quantized, rule)["a"].rule == "integer"
    marked = body.replace("matmul(%x, %w)", 'matmul(%x, %w) {compute_precision = "int8"}')
    assert grouped(marked, rule)["a"].rule == "integer"


@pytest.mark.parametrize(
    ("guard", "message"),
    [
        (Guard("moon"), "target machine, rule odd: there is no guard 'moon'; there are single-use, same-shape"),
        (Guard("row-fits", "cellar"), "target machine, rule odd: guard row-fits needs one of the memories dram, local"),
        (Guard("operands-at-most"), "target machine, rule odd: guard operands-at-most needs a number"),
        (Guard("head-dim-at-most", "wide"), "target machine, rule odd: guard head-dim-at-most needs a number"),
    ],
)
def test_guards_that_cannot_be_asked_are_refused_by_name(guard: Guard, message: str) -> None:
    for rule in (Rule("odd", (one(MATMUL),), "gemm", (guard,)), Rule("odd", (one(MATMUL, guard),), "gemm")):
        with pytest.raises(UsageError, match="rule odd") as caught:
            check((rule,), machine((rule,)))
        assert str(caught.value).startswith(message)


def test_every_guard_has_a_summary() -> None:
    assert all(guard.__doc__ for guard in GUARDS.values())


SCORES = "%x = input() : fp32[{b},4,8]; %v = reshape(%x) : fp32[{b},4,2,4]; %t = transpose(%v) {{perm = {perm}}} : fp32[{shape}];"


@pytest.mark.parametrize(
    ("batch", "perm", "shape", "fits"),
    [
        (2, "[0, 2, 1, 3]", "2,2,4,4", False),  # heads of two sequences
        (1, "[0, 2, 1, 3]", "1,2,4,4", True),
        (2, "[0, 1, 3, 2]", "2,4,4,2", True),  # the matrices themselves, transposed
    ],
)
def test_matrix_strides_wants_one_step_between_operands(batch: int, perm: str, shape: str, fits: bool) -> None:
    body = SCORES.format(b=batch, perm=perm, shape=shape) + f"%y = input() : fp32[{shape.replace('4,4,2', '4,2,4')}];"
    out = shape.replace("4,4,2", "4,4,4")
    side = " {transpose_b = true}" if shape.endswith("4,4") else ""
    body += f"%a = matmul(%t, %y){side} : fp32[{out}]; %return = return(%a) : ()"
    rule = Rule("product", (one(MATMUL),), "gemm", prologue=frozenset({"transpose"}), prologue_guards=(Guard("matrix-strides"),))
    assert (
        "t" in {member for group in grouped(body, rule).values() if len(group.members) > 2 for member in group.members}
    ) is fits


def test_matrix_strides_says_why_a_result_is_copied() -> None:
    body = HEAD.replace("[4,8]", "[2,2,8]")
    body += (
        "%v = reshape(%a) : fp32[2,2,4,2]; %t = transpose(%v) {perm = [0, 2, 1, 3]} : fp32[2,4,2,2]; %return = return(%t) : ()"
    )
    rule = Rule("out", (one(MATMUL), maybe(frozenset({"transpose"}), Guard("matrix-strides"))), "gemm")
    (no,) = [no for nos in refusals(body, rule=rule).values() for no in nos]
    assert no.reason == "%t leaves fp32[2,2,8] with more than one step between matrices, so it is copied"
    one_sequence = body.replace("[2,2,8]", "[1,4,8]").replace("[2,2,4,2]", "[4,8,1,1]").replace("[2,4,2,2]", "[4,1,8,1]")
    assert not any(refusals(one_sequence, rule=rule).values())


def test_plain_epilogue_wants_what_the_vendors_wide_products_do() -> None:
    body = HEAD + "%s = bias(%a, %b) : fp32[4,8]; %r = relu(%s) : fp32[4,8]; %g = gelu(%r) : fp32[4,8]; %return = return(%g) : ()"
    said = "is more than the library's fp32 products do as they store: add a tensor, rectify"
    assert reason(body, Guard("plain-epilogue")) == f"%g {said}"
    assert not any(refusals(body.replace("fp32", "bf16"), Guard("plain-epilogue")).values())
    # One tensor is added as the accumulators start; the product that has a bias already takes no second one.
    residual = HEAD + "%y = input() : fp32[4,8]; %s = add(%a, %y) : fp32[4,8]; %return = return(%s) : ()"
    assert not any(refusals(residual, Guard("plain-epilogue")).values())
    assert reason(residual.replace("(%x, %w)", "(%x, %w, %b)"), Guard("plain-epilogue")) == f"%s {said}"
    assert reason(residual.replace("[4,8]", "[2,4,8]").replace("[8,8]", "[2,8,8]"), Guard("plain-epilogue")) == f"%s {said}"


def test_one_call_wants_the_same_source() -> None:
    body = HEAD + "%r = relu(%a) : fp32[4,8]; %return = return(%r) : ()"
    assert reason(body, Guard("one-call")) == "%r is a call of its own"
    at = ' loc("call")'
    named = body.replace("matmul(%x, %w) : fp32[4,8]", f"matmul(%x, %w) : fp32[4,8]{at}").replace(
        "relu(%a) : fp32[4,8]", f"relu(%a) : fp32[4,8]{at}"
    )
    assert not any(refusals(named, Guard("one-call")).values())


def test_bits_at_most_wants_narrow_operands() -> None:
    body = HEAD + "%r = relu(%a) : fp32[4,8]; %return = return(%r) : ()"
    assert reason(body, Guard("bits-at-most", 16)) == "%r reads fp32[4,8], wider than 16 bits"
    assert not any(refusals(body.replace("fp32", "bf16"), Guard("bits-at-most", 16)).values())


def test_a_rule_holds_only_under_its_setting() -> None:
    rule = Rule("epilogue", (one(MATMUL), many(ELEMENTWISE)), "gemm", when=("launch", "graph"))
    target = machine((rule,))
    graph = worked(HEAD + "%r = relu(%a) : fp32[4,8]; %return = return(%r) : ()")
    assert [group.rule for group in fuse(graph, target.rules, target)] == ["epilogue"]
    eager = target.with_setting("launch", "eager")
    assert [group.rule for group in fuse(graph, eager.rules, eager)] == ["separate", "separate"]
    with pytest.raises(ValueError, match=r"there is no setting launch=lazy for the rule epilogue"):
        machine((replace(rule, when=("launch", "lazy")),))
