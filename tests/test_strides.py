"""Strides against torch, which computes them for real tensors."""

from __future__ import annotations

from math import prod

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from edpc.strides import dense, fills_memory, in_order, is_dense, is_matrix_stack, viewed

SIZES = st.lists(st.sampled_from([1, 2, 3, 4, 6]), min_size=1, max_size=4)


@st.composite
def laid_out(draw: st.DrawFn) -> torch.Tensor:
    """A tensor whose axes are permuted, perhaps cut and perhaps broadcast."""
    shape = draw(SIZES)
    x = torch.empty(shape).permute(draw(st.permutations(range(len(shape)))))
    if draw(st.booleans()):
        x = x[..., : max(1, x.shape[-1] // 2)]
    if draw(st.booleans()):
        x = x.unsqueeze(draw(st.integers(0, x.dim())))
        x = x.expand([3 if size == 1 and draw(st.booleans()) else size for size in x.shape])
    return x


@given(x=laid_out(), data=st.data())
def test_a_view_has_the_strides_torch_gives_it_or_none_where_torch_refuses(x: torch.Tensor, data: st.DataObject) -> None:
    want, left = [], x.numel()
    while left > 1 and len(want) < 4:
        size = data.draw(st.sampled_from([d for d in range(1, left + 1) if left % d == 0]))
        want.append(size)
        left //= size
    want.append(left)
    found = viewed(tuple(x.shape), x.stride(), want)
    try:
        expected = x.view(want).stride()
    except RuntimeError:
        assert found is None
        return
    assert found is not None
    assert [s for s, d in zip(found, want, strict=True) if d != 1] == [s for s, d in zip(expected, want, strict=True) if d != 1]


@given(x=laid_out())
def test_dense_is_what_torch_calls_contiguous(x: torch.Tensor) -> None:
    assert is_dense(x.shape, x.stride()) == x.is_contiguous()
    assert is_dense(x.shape, dense(x.shape))


@given(shape=SIZES, data=st.data())
def test_a_permuted_tensor_fills_memory_and_its_order_undoes_the_permutation(shape: list[int], data: st.DataObject) -> None:
    x = torch.empty(shape).permute(data.draw(st.permutations(range(len(shape)))))
    assert fills_memory(x.shape, x.stride())
    assert x.permute(in_order(x.shape, x.stride())).is_contiguous()
    assert fills_memory((2,), (2,)) is False
    assert prod(shape) == x.numel()


@pytest.mark.parametrize(
    ("batch", "perm", "fits"),
    [
        (8, (0, 2, 1, 3), False),  # heads of several sequences: two steps between matrices
        (1, (0, 2, 1, 3), True),  # of one sequence: the step between heads is the only one
        (8, (0, 2, 3, 1), False),  # keys transposed
        (8, (0, 1, 3, 2), True),  # the matrices themselves transposed: a flag of the library
        (8, (0, 3, 1, 2), False),  # the innermost axis outermost: no axis of step one is left
    ],
)
def test_heads_that_do_not_merge_are_no_stack_of_matrices(batch: int, perm: tuple[int, ...], fits: bool) -> None:
    x = torch.empty(batch, 16, 4, 8).permute(perm)
    assert is_matrix_stack(tuple(x.shape), x.stride()) is fits
