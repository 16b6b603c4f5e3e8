"""The operator vocabulary: complete, documented, and counted by hand for every kind."""

from __future__ import annotations

import time

import pytest
from operator_cases import Case, f, i, t
from operator_cases_structured import CASES

import edpc.target
from edpc import operators
from edpc.errors import ModelError
from edpc.ir import RETURN_KIND, SOURCE_KINDS, Contraction, Operator, TensorType, attributes
from edpc.operators import KINDS, Family, define, of_family, work


def matmul(*inputs: TensorType, out: TensorType, **given: bool) -> tuple[Contraction, ...]:
    return work(Operator("matmul", inputs, (out,), attributes(**given))).contractions


@pytest.mark.parametrize("case", CASES, ids=[f"{n}-{case.kind}" for n, case in enumerate(CASES)])
def test_work_is_what_the_formula_says(case: Case) -> None:
    found = work(case.operator)
    reads = tuple(x.num_bytes for x in case.inputs) if case.reads is None else case.reads
    writes = tuple(x.num_bytes for x in case.outputs) if case.writes is None else case.writes
    assert (found.macs, found.vector_ops, found.transcendentals) == (case.macs, case.vector, case.special)
    assert (found.reads, found.writes) == (reads, writes)


def test_every_kind_is_counted_by_hand() -> None:
    assert {case.kind for case in CASES} == set(KINDS)


def test_every_kind_says_what_it_counts() -> None:
    for name, kind in KINDS.items():
        assert kind.name == name
        assert kind.summary.endswith("."), name
        assert len(kind.summary) >= 15, name
        assert "\n" not in kind.summary, name


def test_families_partition_the_kinds() -> None:
    members = [of_family(family) for family in Family]
    assert all(members)
    assert sum(map(len, members)) == len(KINDS)
    assert frozenset().union(*members) == set(KINDS)
    assert not set(KINDS) & (SOURCE_KINDS | {RETURN_KIND})


def test_sets_for_targets_are_those_of_the_families() -> None:
    assert of_family(Family.MATMUL, Family.CONVOLUTION) == edpc.target.CONTRACTION
    assert {"softmax", "log_softmax"} <= edpc.target.SOFTMAX
    assert {"transpose", "concat"} <= edpc.target.DATA_MOVEMENT
    assert {"reshape", "view_expand"} <= edpc.target.VIEW
    for name in ("ACTIVATION", "ATTENTION_POINTWISE"):
        assert getattr(edpc.target, name) == getattr(operators, name) <= edpc.target.ELEMENTWISE
    assert {"relu", "gelu", "silu", "hard_swish", "clip"} <= edpc.target.ACTIVATION


def test_a_name_is_defined_once() -> None:
    with pytest.raises(ValueError, match="'relu' is defined twice"):
        define([KINDS["relu"]])


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(ModelError, match="'layernorm' is not in the vocabulary; did you mean 'layer_norm'"):
        work(Operator("layernorm", (f(2),), (f(2),)))


def test_missing_operands_and_results_are_refused() -> None:
    with pytest.raises(ModelError, match="conv needs at least 2 operands, not 1"):
        work(Operator("conv", (f(1, 2, 3),), (f(1, 2, 3),)))
    with pytest.raises(ModelError, match="relu needs at least 1 results, not 0"):
        work(Operator("relu", (f(2),), ()))


@pytest.mark.parametrize(
    ("kind", "given", "message"),
    [
        ("softmax", {"axis": 2}, "axis 2 does not exist in a tensor of 2 axes"),
        ("softmax", {"axis": "last"}, "axis must be an integer"),
        ("reduce_sum", {"axes": 1}, "axes must be a list of integers"),
        ("reduce_sum", {"axes": (1.5,)}, "axes must be a list of integers"),
        ("group_norm", {"groups": 0}, "groups must be at least 1"),
        ("lp_pool", {"p": "two"}, "p must be a number"),
        ("resize", {"mode": 3}, "mode must be a word"),
        ("relu", {"executions": -1}, "executions must be a count"),
        ("einsum", {}, "must be an einsum equation"),
        ("einsum", {"equation": "ab,bc->ac"}, "2 terms for 1 operands"),
        ("einsum", {"equation": "abc->a"}, "does not fit"),
    ],
)
def test_attributes_that_make_no_sense_are_refused(kind: str, given: dict[str, object], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        work(Operator(kind, (f(2, 3),), (f(2, 3),), attributes(**given)))  # type: ignore[arg-type]


def test_a_shared_weight_folds_leading_axes_into_rows() -> None:
    # [4, 2, 3] by [3, 5] is one product of 8 rows.
    assert matmul(f(4, 2, 3), f(3, 5), out=f(4, 2, 5)) == (Contraction(1, 8, 5, 3),)
    # ... but not if a is stored transposed: its rows are no longer one behind the other.
    assert matmul(f(4, 3, 2), f(3, 5), out=f(4, 2, 5), transpose_a=True) == (Contraction(4, 2, 5, 3),)


def test_query_heads_that_share_a_key_head_are_rows() -> None:
    # 2 images, 4 key heads, 3 query heads each, 5 queries of width 8 against 7 keys.
    assert matmul(f(2, 4, 3, 5, 8), f(2, 4, 1, 8, 7), out=f(2, 4, 3, 5, 7)) == (Contraction(8, 15, 7, 8),)


def test_attention_heads_stay_a_batch() -> None:
    assert matmul(f(2, 12, 128, 64), f(2, 12, 64, 128), out=f(2, 12, 128, 128)) == (Contraction(24, 128, 128, 64),)


def test_a_broadcast_first_operand_is_a_batch() -> None:
    assert matmul(f(2, 3), f(6, 3, 5), out=f(6, 2, 5)) == (Contraction(6, 2, 5, 3),)


def test_convolution_is_one_product_per_group() -> None:
    # ResNet-18's first layer: 112 * 112 pixels, 64 filters, 7 * 7 * 3 products: 118,013,952.
    found = work(Operator("conv", (f(1, 3, 224, 224), f(64, 3, 7, 7)), (f(1, 64, 112, 112),), attributes(strides=(2, 2))))
    assert found.contractions == (Contraction(1, 12544, 64, 147),)
    assert found.macs == 118_013_952
    depthwise = work(Operator("conv", (f(2, 8, 5, 5), f(8, 1, 3, 3)), (f(2, 8, 3, 3),), attributes(groups=8)))
    assert depthwise.contractions == (Contraction(8, 18, 1, 9),)


def test_recurrent_products_of_the_state_run_in_sequence() -> None:
    found = work(Operator("lstm", (f(3, 2, 4), f(1, 20, 4), f(1, 20, 5)), (f(3, 1, 2, 5),)))
    assert found.contractions == (Contraction(1, 6, 20, 4), Contraction(1, 2, 20, 5, steps=3))


def test_experts_share_the_rows_evenly() -> None:
    # 5 tokens by 2 of 4 experts: 10 rows, two experts with 3 and two with 2.
    found = work(Operator("expert_matmul", (f(5, 6), f(4, 6, 7)), (f(5, 2, 7),), attributes(top_k=2)))
    assert found.contractions == (Contraction(2, 3, 7, 6), Contraction(2, 2, 7, 6))


def test_executions_multiply_everything_that_is_a_total() -> None:
    once = Operator("matmul", (f(2, 3), f(3, 5), f(5)), (f(2, 5),))
    found = work(Operator("matmul", once.inputs, once.outputs, attributes(executions=7)))
    assert (found.macs, found.vector_ops) == (7 * 30, 7 * 10)
    assert (found.reads, found.writes) == ((7 * 24, 7 * 60, 7 * 20), (7 * 40,))
    assert found.contractions == (Contraction(1, 2, 5, 3, steps=7),)
    never = work(Operator("matmul", once.inputs, once.outputs, attributes(executions=0)))
    assert never.flops == 0
    assert set(never.reads) | set(never.writes) == {0}


@pytest.mark.parametrize(
    ("kind", "operands", "result", "precision"),
    [
        ("add", ["fp32", "fp32"], "fp32", "fp32"),
        ("add", ["bf16", "bf16"], "bf16", "bf16"),
        ("add", ["fp16", "bf16"], "fp16", "fp16"),
        ("add", ["fp16", "fp32"], "fp32", "fp32"),
        ("add", ["fp64", "fp64"], "fp64", "fp64"),
        ("add", ["int64", "int64"], "int64", "int32"),
        ("add", ["int8", "int8"], "int8", "int8"),
        ("logical_and", ["bool", "bool"], "bool", "int32"),
        ("where", ["bool", "bf16", "bf16"], "bf16", "bf16"),
        ("where", ["bool", "int64", "int64"], "int64", "int32"),
        ("cast", ["int64"], "fp16", "fp16"),
        ("cast", ["fp32"], "fp16", "fp32"),
        ("quantize", ["fp32", "fp32", "int8"], "int8", "fp32"),
        ("dequantize", ["int8", "fp16", "int8"], "fp16", "fp16"),
        ("quantize", ["bf16", "fp32"], "fp8e4m3", "fp32"),
        ("matmul", ["uint8", "int8", "fp32", "uint8"], "int8", "int8"),
        ("matmul", ["fp16", "int4", "fp16"], "fp16", "fp16"),
        ("matmul", ["fp32", "int4", "fp32"], "fp32", "fp32"),
        ("matmul", ["int4", "uint4"], "int32", "int4"),
        ("matmul", ["int8", "int4"], "int32", "int8"),
        ("matmul", ["int16", "int8"], "int32", "int32"),
        ("matmul", ["fp8e4m3", "fp8e5m2", "fp32"], "bf16", "fp8"),
        ("matmul", ["bf16", "fp4"], "bf16", "bf16"),
        ("gather", ["fp16", "int64"], "fp16", "fp16"),
        ("scaler", ["int64"], "fp32", "fp32"),
    ],
)
def test_precision_follows_the_arithmetic_operands(kind: str, operands: list[str], result: str, precision: str) -> None:
    op = Operator(kind, tuple(t(dtype, 4, 4) for dtype in operands), (t(result, 4, 4),))
    assert work(op).precision == precision


def test_a_stated_precision_wins() -> None:
    op = Operator("matmul", (f(2, 3), f(3, 5)), (f(2, 5),), attributes(compute_precision="tf32"))
    assert work(op).precision == "tf32"


def test_an_unknown_size_counts_as_one_and_is_confessed() -> None:
    found = work(Operator("matmul", (f(None, 3), f(3, 5)), (f(None, 5),)))
    assert (found.macs, found.exact) == (15, False)
    # The size is known from the other operand.
    assert work(Operator("matmul", (f(2, None), f(3, 5)), (f(2, 5),))).macs == 30
    rankless = TensorType("fp32", None)
    assert not work(Operator("relu", (rankless,), (rankless,))).exact
    assert work(Operator("relu", (f(2),), (f(2),))).exact


def test_rows_are_what_a_row_wise_operator_walks() -> None:
    for kind, given, rows, cols in (
        ("softmax", {"axis": 1}, 8, 6),
        ("layer_norm", {"axis": 1}, 2, 24),
        ("rms_norm", {"axis": -1}, 12, 4),
        ("group_norm", {"groups": 3}, 6, 8),
        ("reduce_sum", {"axes": (0, 2)}, 6, 8),
    ):
        found = work(Operator(kind, (f(2, 6, 4),), (f(2, 6, 4),), attributes(**given)))
        assert (found.rows, found.cols) == (rows, cols), kind
    per_token = work(Operator("quantize_dynamic", (f(2, 6, 4),), (t("int8", 2, 6, 4), f(2, 6, 1))))
    assert (per_token.rows, per_token.cols) == (12, 4)


def test_a_normalisation_counts_what_its_decomposition_counts() -> None:
    x, row, scale = f(5, 8), f(5, 1), f(8)
    mean = Operator("reduce_mean", (x,), (row,), attributes(axes=(1,)))
    steps = [
        mean,
        Operator("sub", (x, row), (x,)),
        Operator("pow", (x, f()), (x,), attributes(exponent=2)),
        mean,
        Operator("add", (row, f()), (row,)),
        Operator("sqrt", (row,), (row,)),
        Operator("div", (x, row), (x,)),
        Operator("mul", (x, scale), (x,)),
        Operator("add", (x, scale), (x,)),
    ]
    whole = work(Operator("layer_norm", (x, scale, scale), (x,)))
    assert whole.vector_ops == sum(work(s).vector_ops for s in steps)
    assert whole.transcendentals == sum(work(s).transcendentals for s in steps)


def test_sub_byte_elements_are_packed() -> None:
    # 3 * 5 weights of 4 bits: 7.5 bytes.
    assert work(Operator("transpose", (t("int4", 3, 5),), (t("int4", 5, 3),))).reads == (8,)


def test_opaque_values_have_no_bytes_and_spoil_no_count() -> None:
    found = work(Operator("sequence_op", (TensorType("sequence", None),), (i(),)))
    assert (found.reads, found.writes, found.exact) == ((0,), (0,), True)


def test_a_hundred_thousand_operators_take_seconds() -> None:
    layers = [Operator("matmul", (f(n, 64), f(64, 64), f(64)), (f(n, 64),), attributes(addend=True)) for n in range(1, 51)] + [
        Operator("layer_norm", (f(n, 64), f(64)), (f(n, 64),), attributes(axis=-1)) for n in range(1, 51)
    ]
    start = time.process_time()
    for _ in range(1000):
        for op in layers:
            work(op)
    assert time.process_time() - start < 4.0
