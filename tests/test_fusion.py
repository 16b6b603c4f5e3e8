"""The fusion engine: what a rule takes, what it leaves, and that groups are convex, complete and in order."""

from __future__ import annotations

import pytest
from networks import grouped, machine, members, worked

from edpc.errors import UsageError
from edpc.fusion.engine import fuse
from edpc.operators import CONTRACTION, ELEMENTWISE, MATMUL, NORMALIZATION, SOFTMAX, VIEW
from edpc.target import ATTENTION_POINTWISE, Guard, Rule, many, maybe, one, some

SINGLE_USE = Guard("single-use")
EPILOGUE = Rule("gemm-epilogue", (one(MATMUL), many(ELEMENTWISE)), "gemm", (SINGLE_USE,))
POINTWISE = Rule("pointwise", (some(ELEMENTWISE),), "vector", (SINGLE_USE,))
ATTENTION = Rule("attention", (one(MATMUL), many(ATTENTION_POINTWISE), one(SOFTMAX), one(MATMUL)), "attention", (SINGLE_USE,))

GELU = """
  %x = input() : fp32[4,8]
  %w = parameter() : fp32[8,8]
  %h = constant() : fp32[]
  %mm = matmul(%x, %w) : fp32[4,8]
  %d = div(%mm, %h) : fp32[4,8]
  %e = erf(%d) : fp32[4,8]
  %p = add(%e, %h) : fp32[4,8]
  %m = mul(%mm, %p) : fp32[4,8]
  %s = mul(%m, %h) : fp32[4,8]
  %o = matmul(%s, %w) : fp32[4,8]
  %return = return(%o) :  ()
"""


def test_a_chain_after_a_product_joins_it() -> None:
    found = grouped(
        """%x = input() : fp32[4,8]; %w = parameter() : fp32[8,8]; %b = parameter() : fp32[8]
        %mm = matmul(%x, %w) : fp32[4,8]; %bias = bias(%mm, %b) : fp32[4,8]; %r = relu(%bias) : fp32[4,8]
        %return = return(%r) : ()""",
        EPILOGUE,
    )
    assert list(found) == ["mm"]
    group = found["mm"]
    assert (group.name, group.rule, group.kernel_class) == ("g0", "gemm-epilogue", "gemm")
    assert group.members == ("mm", "bias", "r")


def test_gelu_written_out_is_grown_as_a_region_although_its_operand_is_read_twice() -> None:
    assert members(GELU, EPILOGUE) == [("mm", "d", "e", "p", "m", "s"), ("o",)]


def test_a_value_read_twice_by_one_operator_is_one_use() -> None:
    body = """%x = input() : fp32[4]; %a = neg(%x) : fp32[4]; %s = mul(%a, %a) : fp32[4]; %return = return(%s) : ()"""
    assert members(body, POINTWISE) == [("a", "s")]


def test_a_residual_from_outside_is_only_another_operand() -> None:
    body = """%x = input() : fp32[4,8]; %w = parameter() : fp32[8,8]
    %a = matmul(%x, %w) : fp32[4,8]; %b = matmul(%a, %w) : fp32[4,8]; %s = add(%b, %a) : fp32[4,8]; %return = return(%s) : ()"""
    # %a is read by %b and %s: nothing may swallow it, and %s joins %b, its other producer.
    assert members(body, EPILOGUE) == [("a",), ("b", "s")]


def test_a_residual_is_refused_where_its_value_must_be_written_out() -> None:
    body = """%x = input() : fp32[4,8]; %w = parameter() : fp32[8,8]
    %a = matmul(%x, %w) : fp32[4,8]; %r = relu(%a) : fp32[4,8]; %b = matmul(%r, %w) : fp32[4,8]
    %s = add(%b, %r) : fp32[4,8]; %return = return(%s) : ()"""
    found = grouped(body, EPILOGUE)
    assert found["a"].members == ("a", "r")
    (no,) = found["a"].refusals
    assert (no.rule, no.operator, no.guard) == ("gemm-epilogue", "s", "single-use")
    assert no.reason == "%r is read by %s and %b, so its value must be written out"


def test_without_the_guard_a_shared_value_may_be_fused_as_long_as_the_group_is_convex() -> None:
    rule = Rule("greedy", (one(MATMUL), many(ELEMENTWISE)), "gemm")
    body = """%x = input() : fp32[4,8]; %w = parameter() : fp32[8,8]
    %a = matmul(%x, %w) : fp32[4,8]; %r = relu(%a) : fp32[4,8]; %b = matmul(%r, %w) : fp32[4,8]
    %s = add(%b, %r) : fp32[4,8]; %return = return(%s) : ()"""
    found = grouped(body, rule)
    assert found["a"].members == ("a", "r")
    (no,) = found["a"].refusals
    assert (no.operator, no.guard, no.reason) == ("s", "convex", "%s also reads %b, which waits for this group")


def test_views_between_stages_are_members_and_those_after_follow_their_producer() -> None:
    body = """%x = input() : fp32[4,8]; %w = parameter() : fp32[8,8]; %s = constant() : int64[1]
    %a = matmul(%x, %w) : fp32[4,8]; %v = reshape(%a, %s) : fp32[32]; %r = relu(%v) : fp32[32]
    %u = reshape(%r, %s) : fp32[8,4]; %return = return(%u) : ()"""
    assert members(body, EPILOGUE) == [("a", "v", "r", "u")]


def test_a_view_of_an_input_goes_with_its_only_reader_and_else_stands_alone() -> None:
    body = """%x = input() : fp32[4,8]; %v = reshape(%x) : fp32[32]; %r = relu(%v) : fp32[32]
    %u = reshape(%x) : fp32[8,4]; %return = return(%r, %u) : ()"""
    graph = worked(body)
    groups = fuse(graph, (), machine())
    assert [(g.members, g.rule, g.kernel_class) for g in groups] == [
        (("v", "r"), "separate", "vector"),
        (("u",), "separate", "none"),
    ]


ATTENDED = """
  %q = input() : fp32[2,16,8]
  %k = input() : fp32[2,8,16]
  %v = input() : fp32[2,16,8]
  %h = constant() : fp32[]
  %qk = matmul(%q, %k) : fp32[2,16,16]
  %sc = div(%qk, %h) : fp32[2,16,16]
  %sm = softmax(%sc) {axis = -1} : fp32[2,16,16]
"""


def test_attention_takes_both_products() -> None:
    body = ATTENDED + "%av = matmul(%sm, %v) : fp32[2,16,8]; %return = return(%av) : ()"
    found = grouped(body, ATTENTION, EPILOGUE)
    assert found["qk"].members == ("qk", "sc", "sm", "av")
    assert found["qk"].rule == "attention"


def test_attention_needs_its_probabilities_as_the_first_operand() -> None:
    body = ATTENDED + "%av = matmul(%v, %sm) : fp32[2,16,16]; %return = return(%av) : ()"
    found = grouped(body.replace("%v = input() : fp32[2,16,8]", "%v = input() : fp32[2,8,16]"), ATTENTION, EPILOGUE)
    # the mandatory last stage is missing: the next rule takes what it can
    assert found["qk"].rule == "gemm-epilogue"
    assert found["qk"].members == ("qk", "sc")


def test_a_rule_that_takes_only_its_anchor_leaves_it_to_the_next() -> None:
    short = Rule("short", (one(MATMUL), maybe(SOFTMAX)), "gemm")
    assert grouped(GELU, short, EPILOGUE)["mm"].rule == "gemm-epilogue"
    assert grouped(GELU, short)["mm"].rule == "separate"


def test_stages_count_what_they_take() -> None:
    two = Rule("two", (one(MATMUL), maybe(ELEMENTWISE), maybe(ELEMENTWISE)), "gemm")
    body = """%x = input() : fp32[4,8]; %w = parameter() : fp32[8,8]; %a = matmul(%x, %w) : fp32[4,8]
    %r = relu(%a) : fp32[4,8]; %s = neg(%r) : fp32[4,8]; %t = abs(%s) : fp32[4,8]; %return = return(%t) : ()"""
    assert members(body, two) == [("a", "r", "s"), ("t",)]


def test_a_prologue_joins_where_the_group_is_its_only_reader() -> None:
    rule = Rule("quantized", (one(CONTRACTION), many(ELEMENTWISE)), "gemm", prologue=frozenset({"dequantize"}))
    body = """%x = input() : int8[4,8]; %w = parameter() : int8[8,8]; %s = parameter() : fp32[]
    %dx = dequantize(%x, %s) : fp32[4,8]; %dw = dequantize(%w, %s) : fp32[8,8]; %vw = reshape(%dw) : fp32[8,8]
    %a = matmul(%dx, %vw) : fp32[4,8]; %r = relu(%a) : fp32[4,8]; %return = return(%r) : ()"""
    assert members(body, rule) == [("dx", "dw", "vw", "a", "r")]
    shared = body.replace("return(%r)", "return(%r, %dx)")
    assert members(shared, rule) == [("dx",), ("dw", "vw", "a", "r")]


def test_a_prologue_kind_with_no_reader_to_join_is_an_anchor_in_the_end() -> None:
    late = Rule("late", (one(frozenset({"dequantize"})), some(ELEMENTWISE)), "vector")
    gemm = Rule("gemm", (one(CONTRACTION),), "gemm", prologue=frozenset({"dequantize"}))
    body = """%x = input() : int8[4,8]; %s = parameter() : fp32[]
    %d = dequantize(%x, %s) : fp32[4,8]; %r = relu(%d) : fp32[4,8]; %return = return(%r) : ()"""
    assert members(body, late) == [("d", "r")]
    assert members(body, late, gemm) == [("d", "r")]


def test_groups_run_after_what_they_read_even_where_they_begin_earlier() -> None:
    body = """%x = input() : fp32[4,8]; %w = parameter() : fp32[8,8]
    %a = matmul(%x, %w) : fp32[4,8]; %n = layer_norm(%x) {axis = -1} : fp32[4,8]; %s = add(%a, %n) : fp32[4,8]
    %return = return(%s) : ()"""
    # %a takes %s, which reads %n: the norm must run first although it comes second in the network
    assert members(body, EPILOGUE) == [("n",), ("a", "s")]


def test_two_groups_never_wait_for_each_other() -> None:
    # Without single-use each of %a and %b may take a reader of the other; the knot is cut.
    rule = Rule("greedy", (one(NORMALIZATION), many(ELEMENTWISE)), "normalization")
    body = """%x = input() : fp32[4,8]
    %a = layer_norm(%x) {axis = -1} : fp32[4,8]; %b = layer_norm(%x) {axis = -1} : fp32[4,8]
    %ea = exp(%a) : fp32[4,8]; %eb = exp(%b) : fp32[4,8]
    %p = add(%a, %eb) : fp32[4,8]; %q = add(%b, %ea) : fp32[4,8]; %return = return(%p, %q) : ()"""
    found = members(body, rule)
    done: set[str] = set()
    graph = worked(body)
    for group in found:
        for name in group:
            assert all(v.node in done or v.node in group or not graph.op(v.node).is_compute for v in graph.operands(name))
        done |= set(group)
    assert ("a", "ea", "p") not in found or ("b", "eb", "q") not in found


def test_operators_without_a_rule_keep_the_class_of_their_family() -> None:
    body = """%x = input() : fp32[1,4,8,8]; %w = parameter() : fp32[4,4,1,1]
    %c = conv(%x, %w) {strides = [1, 1]} : fp32[1,4,8,8]; %p = max_pool(%c) {kernel_shape = [2, 2]} : fp32[1,4,4,4]
    %t = transpose(%p) {perm = [0, 2, 3, 1]} : fp32[1,4,4,4]; %s = softmax(%t) {axis = -1} : fp32[1,4,4,4]
    %m = reduce_sum(%s) : fp32[1]; %return = return(%m) : ()"""
    found = grouped(body)
    classes = {group.members[0]: group.kernel_class for group in found.values()}
    assert classes == {"c": "conv", "p": "pooling", "t": "movement", "s": "softmax", "m": "reduction"}
    assert {group.rule for group in found.values()} == {"separate"}


def test_an_unknown_guard_is_a_usage_error_that_names_rule_and_target() -> None:
    rule = Rule("odd", (one(MATMUL),), "gemm", (Guard("full-moon"),))
    with pytest.raises(UsageError, match=r"target machine, rule odd: there is no guard 'full-moon'"):
        fuse(worked(GELU), (rule,), machine((rule,)))


def test_views_alone_are_not_a_fusion() -> None:
    rule = Rule("odd", (one(MATMUL), many(VIEW)), "gemm")
    body = """%x = input() : fp32[4,8]; %w = parameter() : fp32[8,8]; %a = matmul(%x, %w) : fp32[4,8]
    %v = reshape(%a) : fp32[32]; %return = return(%v) : ()"""
    assert [(g.members, g.rule) for g in grouped(body, rule).values()] == [(("a", "v"), "separate")]
