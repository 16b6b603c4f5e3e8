"""Laws that the work of every kind obeys, and oracles that are not edpc's own: numpy's products, torch's FLOP counter."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from operator_cases import f
from operator_cases_structured import CASES

from edpc.errors import ModelError
from edpc.ir import DTYPE_BITS, Operator, TensorType, Work, attributes
from edpc.operators import KINDS, VIEW, work

SIZES = st.sampled_from([0, 1, 2, 3, 5, 16, None])
SHAPES = st.one_of(st.none(), st.lists(SIZES, max_size=5).map(tuple))
TYPES = st.builds(TensorType, st.sampled_from(sorted(DTYPE_BITS)), SHAPES)
SMALL = st.integers(1, 6)


@st.composite
def any_operator(draw: st.DrawFn) -> Operator:
    kind = KINDS[draw(st.sampled_from(sorted(KINDS)))]
    inputs = draw(st.lists(TYPES, min_size=kind.operands, max_size=kind.operands + 3))
    outputs = draw(st.lists(TYPES, min_size=kind.results, max_size=kind.results + 2))
    return Operator(kind.name, tuple(inputs), tuple(outputs), attributes(equation="...ab,...bc->...ac"))


def sane(found: Work) -> None:
    counts = (found.macs, found.vector_ops, found.transcendentals, found.rows, found.cols, *found.reads, *found.writes)
    assert all(type(n) is int and n >= 0 for n in counts)
    assert found.macs == sum(c.macs for c in found.contractions)
    assert found.flops == 2 * found.macs + found.vector_ops + found.transcendentals


@given(any_operator())
@settings(max_examples=500, deadline=None)
def test_whatever_the_types_the_work_is_sane_or_refused(op: Operator) -> None:
    try:
        found = work(op)
    except ModelError:  # the types do not fit the equation or the axis
        return
    sane(found)
    assert len(found.reads) == len(op.inputs)
    assert len(found.writes) == len(op.outputs)
    if op.kind in VIEW:
        assert found.flops == sum(found.reads) == sum(found.writes) == 0


@pytest.mark.parametrize("op", [case.operator for case in CASES], ids=[case.kind for case in CASES])
def test_executions_scale_every_kind_linearly(op: Operator) -> None:
    once = work(op)
    often = work(replace(op, attributes=tuple(sorted((*op.attributes, ("executions", 5))))))
    sane(often)
    assert (often.flops, often.macs) == (5 * once.flops, 5 * once.macs)
    assert (sum(often.reads), sum(often.writes)) == (5 * sum(once.reads), 5 * sum(once.writes))
    assert often.precision == once.precision


def per_image(batch: int) -> list[Operator]:
    """Operators whose work is proportional to the batch."""
    x, w = f(batch, 4, 6, 6), f(8, 4, 3, 3)
    return [
        Operator("conv", (x, w, f(8)), (f(batch, 8, 4, 4),)),
        Operator("conv_transpose", (x, f(4, 8, 3, 3)), (f(batch, 8, 8, 8),)),
        Operator("matmul", (f(batch, 5, 4), f(4, 3)), (f(batch, 5, 3),)),
        Operator("matmul", (f(batch, 5, 4), f(batch, 4, 3)), (f(batch, 5, 3),)),
        Operator("einsum", (f(batch, 5, 4), f(batch, 4, 3)), (f(batch, 5, 3),), attributes(equation="bij,bjk->bik")),
        Operator("lstm", (f(7, batch, 4), f(1, 12, 4), f(1, 12, 3)), (f(7, 1, batch, 3),)),
        Operator("softmax", (x,), (x,)),
        Operator("layer_norm", (x,), (x,)),
        Operator("batch_norm", (x, f(4), f(4), f(4), f(4)), (x,)),
        Operator("gelu", (x,), (x,)),
        Operator("max_pool", (x,), (f(batch, 4, 3, 3),), attributes(kernel_shape=(2, 2))),
        Operator("global_average_pool", (x,), (f(batch, 4, 1, 1),)),
        Operator("reduce_mean", (x,), (f(batch, 4),), attributes(axes=(2, 3))),
    ]


@given(st.integers(0, 9))
def test_twice_the_batch_is_twice_the_work(batch: int) -> None:
    for small, large in zip(map(work, per_image(batch)), map(work, per_image(2 * batch)), strict=True):
        assert large.macs == 2 * small.macs
        assert large.flops == 2 * small.flops
        assert sum(large.writes) == 2 * sum(small.writes)


@given(st.lists(SMALL, max_size=3), st.data())
def test_matmul_counts_the_products_that_numpy_forms(lead: list[int], data: st.DataObject) -> None:
    m, k, n = (data.draw(SMALL) for _ in range(3))
    shrink = st.lists(st.booleans(), min_size=len(lead), max_size=len(lead))
    cut_a, cut_b = data.draw(st.integers(0, len(lead))), data.draw(st.integers(0, len(lead)))
    lead_a = [1 if one else d for d, one in zip(lead, data.draw(shrink), strict=True)][cut_a:]
    lead_b = [1 if one else d for d, one in zip(lead, data.draw(shrink), strict=True)][cut_b:]
    transpose_a, transpose_b = data.draw(st.booleans()), data.draw(st.booleans())
    a, b = np.ones((*lead_a, m, k)), np.ones((*lead_b, k, n))
    product = np.matmul(a, b)
    shape_a = (*lead_a, k, m) if transpose_a else a.shape
    shape_b = (*lead_b, n, k) if transpose_b else b.shape
    given_attributes = attributes(transpose_a=transpose_a, transpose_b=transpose_b)
    found = work(Operator("matmul", (f(*shape_a), f(*shape_b)), (f(*product.shape),), given_attributes))
    # All ones: every element of the product is the number of products summed into it.
    assert found.macs == int(product.sum())


@given(st.dictionaries(st.sampled_from("abcde"), SMALL, min_size=2), st.data())
def test_einsum_of_two_operands_counts_the_products_that_numpy_forms(sizes: dict[str, int], data: st.DataObject) -> None:
    some = st.lists(st.sampled_from(sorted(sizes)), unique=True, min_size=1)
    left, right = data.draw(some), data.draw(some)
    shared = sorted(set(left) & set(right))
    if not shared:
        return
    # At least one shared index is summed, and no other is, so that every product ends in the result.
    summed = data.draw(st.lists(st.sampled_from(shared), unique=True, min_size=1))
    result = sorted((set(left) | set(right)) - set(summed))
    equation = f"{''.join(left)},{''.join(right)}->{''.join(result)}"
    shapes = [[sizes[c] for c in term] for term in (left, right)]
    product = np.einsum(equation, *(np.ones(shape) for shape in shapes))
    found = work(Operator("einsum", tuple(f(*s) for s in shapes), (f(*product.shape),), attributes(equation=equation)))
    assert found.macs == int(product.sum())
    assert found.vector_ops == 0


def test_a_transform_of_twice_the_points_costs_a_little_more_than_twice() -> None:
    ops = [work(Operator("dft", (f(1, n, 2),), (f(1, n, 2),))).vector_ops for n in (8, 16, 32, 64)]
    assert all(2 * small < large < 3 * small for small, large in pairwise(ops))


def test_products_agree_with_the_flop_counter_of_torch() -> None:
    torch = pytest.importorskip("torch")
    from torch.utils.flop_counter import FlopCounterMode

    def flops(function: object, *shapes: tuple[int, ...], **options: object) -> tuple[int, tuple[int, ...]]:
        with FlopCounterMode(display=False) as counter:
            result = function(*(torch.empty(s, device="meta") for s in shapes), **options)  # type: ignore[operator]
        return counter.get_total_flops(), tuple(result.shape)

    functional = torch.nn.functional
    for kind, function, shapes, options in (
        ("matmul", torch.matmul, [(7, 5), (5, 3)], {}),
        ("matmul", torch.matmul, [(2, 4, 7, 5), (2, 4, 5, 3)], {}),
        ("matmul", torch.matmul, [(6, 7, 5), (5, 3)], {}),
        ("conv", functional.conv1d, [(2, 4, 9), (6, 4, 3)], {"padding": 1}),
        ("conv", functional.conv2d, [(2, 4, 9, 8), (6, 4, 3, 3)], {"stride": 2}),
        ("conv", functional.conv2d, [(2, 6, 9, 8), (12, 1, 3, 3)], {"groups": 6}),
        ("conv", functional.conv3d, [(1, 2, 5, 5, 5), (3, 2, 2, 2, 2)], {"dilation": 2}),
        ("conv_transpose", functional.conv_transpose2d, [(2, 4, 5, 5), (4, 6, 3, 3)], {"stride": 2}),
    ):
        expected, result = flops(function, *shapes, **options)
        given_attributes = attributes(groups=options.get("groups", 1))
        found = work(Operator(kind, tuple(f(*s) for s in shapes), (f(*result),), given_attributes))
        assert 2 * found.macs == expected, (kind, shapes)
