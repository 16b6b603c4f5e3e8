"""Small expressions that composites are written with: each adds an operator and works out its result type.

Unknown dimensions stay unknown; nothing here fails on them.
"""

from __future__ import annotations

from collections.abc import Sequence

from edpc.frontends.emitter import Emitter
from edpc.ir import Attribute, TensorType, Value

Dim = int | None
Shape = tuple[Dim, ...]


def times(*dims: Dim) -> Dim:
    """The product of dimensions, unknown if one of them is."""
    result = 1
    for d in dims:
        if d is None:
            return None
        result *= d
    return result


def over(dim: Dim, divisor: Dim) -> Dim:
    """The dimension divided, unknown if either is or if it does not divide."""
    return None if dim is None or not divisor or dim % divisor else dim // divisor


def plus(*dims: Dim) -> Dim:
    """The sum of dimensions, unknown if one of them is."""
    known = [d for d in dims if d is not None]
    return sum(known) if len(known) == len(dims) else None


def shape_of(site: Emitter, value: Value, rank: int) -> Shape:
    """The value's shape; unknown dimensions where it is not known to have that rank."""
    shape = site.type_of(value).shape
    return shape if shape is not None and len(shape) == rank else (None,) * rank


def broadcast(a: Shape | None, b: Shape | None) -> Shape | None:
    """The shape two operands broadcast to."""
    if a is None or b is None:
        return None
    rank = max(len(a), len(b))
    pairs = zip((1,) * (rank - len(a)) + a, (1,) * (rank - len(b)) + b, strict=True)
    return tuple(y if x == 1 else x if y == 1 or x is not None else y for x, y in pairs)


def apply(site: Emitter, kind: str, value: Value, part: str, **options: Attribute) -> Value:
    """An operator whose result has the type of its operand."""
    return site.emit(kind, (value,), (site.type_of(value),), part, **options)


def combine(site: Emitter, kind: str, a: Value, b: Value, part: str, **options: Attribute) -> Value:
    """An elementwise operator of two operands; the result has the first one's element type."""
    ta, tb = site.type_of(a), site.type_of(b)
    return site.emit(kind, (a, b), (TensorType(ta.dtype, broadcast(ta.shape, tb.shape)),), part, **options)


def convert(site: Emitter, value: Value, dtype: str, part: str) -> Value:
    """The value in another element type."""
    kept = site.type_of(value)
    return value if kept.dtype == dtype else site.emit("cast", (value,), (TensorType(dtype, kept.shape),), part)


def view(site: Emitter, value: Value, shape: Shape | None, part: str) -> Value:
    """The same elements under another shape; the value itself where the shape does not change."""
    kept = site.type_of(value)
    return value if kept.shape == shape else site.emit("reshape", (value,), (TensorType(kept.dtype, shape),), part)


def is_free_permutation(shape: Shape | None, perm: Sequence[int]) -> bool:
    """Whether a transpose leaves the elements where they are: the axes longer than one keep their order."""
    if shape is None or sorted(perm) != list(range(len(shape))):
        return False
    moved = [axis for axis in perm if shape[axis] != 1]
    return moved == sorted(moved)


def transpose(site: Emitter, value: Value, perm: tuple[int, ...], part: str) -> Value:
    """The value with its axes in another order; a view where no element moves."""
    kept = site.type_of(value)
    shape = None if kept.shape is None or len(kept.shape) != len(perm) else tuple(kept.shape[axis] for axis in perm)
    if is_free_permutation(kept.shape, perm):
        return view(site, value, shape, part)
    return site.emit("transpose", (value,), (TensorType(kept.dtype, shape),), part, perm=perm)


def matmul(site: Emitter, a: Value, b: Value, part: str, *extra: Value, dtype: str = "", **options: Attribute) -> Value:
    """Numpy's matmul of a and b, with an addend or scales after them; `transpose_b` as in the vocabulary."""
    ta, tb = site.type_of(a), site.type_of(b)
    shape: Shape | None = None
    if ta.shape is not None and tb.shape is not None and len(ta.shape) > 1 and len(tb.shape) > 1:
        n = tb.shape[-2] if options.get("transpose_b") else tb.shape[-1]
        lead = broadcast(ta.shape[:-2], tb.shape[:-2])
        shape = None if lead is None else (*lead, ta.shape[-2], n)
    return site.emit("matmul", (a, b, *extra), (TensorType(dtype or ta.dtype, shape),), part, **options)


def split(site: Emitter, value: Value, sizes: Sequence[Dim], axis: int, part: str) -> tuple[Value, ...]:
    """The value cut along an axis into parts of these sizes."""
    kept = site.type_of(value)
    outputs = []
    for size in sizes:
        shape = None if kept.shape is None else (*kept.shape[:axis], size, *kept.shape[axis + 1 :])
        outputs.append(TensorType(kept.dtype, shape))
    first = site.emit("split", (value,), outputs, part, axis=axis)
    return tuple(Value(first.node, number) for number in range(len(outputs)))


def concat(site: Emitter, values: Sequence[Value], axis: int, part: str) -> Value:
    """The values joined along an axis."""
    types = [site.type_of(value) for value in values]
    shape: Shape | None = None
    dims = [t.shape for t in types if t.shape is not None and len(t.shape) > axis]
    if len(dims) == len(types):
        shape = (*dims[0][:axis], plus(*(d[axis] for d in dims)), *dims[0][axis + 1 :])
    return site.emit("concat", tuple(values), (TensorType(types[0].dtype, shape),), part, axis=axis)


def gather_rows(site: Emitter, table: Value, indices: Value, part: str) -> Value:
    """Rows of a table by index: the shape of the indices, then that of a row."""
    kept, where = site.type_of(table), site.type_of(indices)
    shape = None if kept.shape is None or where.shape is None else (*where.shape, *kept.shape[1:])
    return site.emit("gather", (table, indices), (TensorType(kept.dtype, shape),), part, axis=0)


def deliver(site: Emitter, result: int, value: Value) -> None:
    """Says that the value is that result of the node, under the inferred shape where only the shape differs."""
    if not site.wants(result):
        return
    have, want = site.type_of(value), site.result_type(result)
    if (
        want.is_static
        and have.dtype == want.dtype
        and have.shape != want.shape
        and (not have.is_static or have.numel == want.numel)
    ):
        value = site.emit("reshape", (value,), (want,), "shape")
    site.bind(result, value)
