"""Strides: where the elements of a tensor lie, as frameworks that keep views compute them. In elements, outermost axis first."""

from __future__ import annotations

from collections.abc import Sequence

Shape = tuple[int, ...]
Strides = tuple[int, ...]


def dense(shape: Sequence[int]) -> Strides:
    """Strides of elements laid out row by row."""
    found: list[int] = []
    step = 1
    for size in reversed(shape):
        found.append(step)
        step *= max(size, 1)
    return tuple(reversed(found))


def is_dense(shape: Sequence[int], strides: Sequence[int]) -> bool:
    """Whether the elements lie row by row; axes of one element do not matter."""
    return all(size == 1 or have == want for size, have, want in zip(shape, strides, dense(shape), strict=True))


def in_order(shape: Sequence[int], strides: Sequence[int]) -> tuple[int, ...]:
    """The axes from the one with the longest stride to the one with the shortest, as the tensor lies in memory."""
    return tuple(sorted(range(len(shape)), key=lambda axis: (-strides[axis], shape[axis] == 1, axis)))


def fills_memory(shape: Sequence[int], strides: Sequence[int]) -> bool:
    """Whether the elements are all of a piece of memory, each once, in whatever order of axes."""
    order = [axis for axis in in_order(shape, strides) if shape[axis] != 1]
    return is_dense([shape[axis] for axis in order], [strides[axis] for axis in order])


def viewed(shape: Sequence[int], strides: Sequence[int], want: Sequence[int]) -> Strides | None:
    """Strides of the same memory seen under another shape of as many elements, or None where only a copy has that shape.

    Axes merge where the outer one steps over exactly what the inner ones span; every wanted axis must lie within one merged run.
    """
    runs: list[tuple[int, int]] = []  # (elements, innermost stride) of maximal merged runs, innermost first
    for size, step in reversed([pair for pair in zip(shape, strides, strict=True) if pair[0] != 1]):
        if runs and step == runs[-1][0] * runs[-1][1]:
            runs[-1] = (runs[-1][0] * size, runs[-1][1])
        else:
            runs.append((size, step))
    found: list[int] = []
    at, taken = 0, 1
    for size in reversed(want):
        if size == 1:
            found.append(runs[at][1] * taken if at < len(runs) else 1)
            continue
        if at < len(runs) and taken == runs[at][0]:
            at, taken = at + 1, 1
        if at == len(runs) or runs[at][0] % (taken * size):
            return None
        found.append(runs[at][1] * taken)
        taken *= size
    return tuple(reversed(found))


def is_matrix_stack(shape: Sequence[int], strides: Sequence[int]) -> bool:
    """Whether a library's batched product can read (or write) it as it lies: one step between matrices, one axis of step one."""
    *lead, rows, columns = shape
    count = 1
    for size in lead:
        count *= size
    seen = viewed(shape, strides, (count, rows, columns))
    if seen is None:
        return False
    return seen[2] == 1 or seen[1] == 1 or columns == 1 or rows == 1
