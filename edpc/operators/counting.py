"""What work rules are written with: assembling a `Work`, reading attributes, splitting shapes, choosing the precision."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import prod

from edpc.errors import ModelError
from edpc.ir import DTYPE_BITS, FLOAT_DTYPES, Contraction, Operator, TensorType, Work

# Element types that hold tensors or handles rather than elements; their sizes are counted where the tensors are made.
OPAQUE_DTYPES = frozenset({"sequence", "map", "optional"})

_FLOAT_PRECISION = {
    "fp64": "fp64",
    "fp32": "fp32",
    "fp16": "fp16",
    "bf16": "bf16",
    "fp8e4m3": "fp8",
    "fp8e5m2": "fp8",
    "fp8e8m0": "fp8",
    "fp6": "fp6",
    "fp4": "fp4",
    "complex64": "fp32",
    "complex128": "fp64",
}
_NARROW_INTEGERS = {"int2": "int4", "uint2": "int4", "int4": "int4", "uint4": "int4", "int8": "int8", "uint8": "int8"}


def counted(
    op: Operator,
    *,
    vector_ops: int = 0,
    transcendentals: int = 0,
    contractions: tuple[Contraction, ...] = (),
    touched: Mapping[int, int] | None = None,
    produced: Mapping[int, int] | None = None,
    rows: int = 0,
    cols: int = 0,
    arithmetic: Sequence[TensorType] | None = None,
) -> Work:
    """The work of one execution: every operand read once and every result written once, but where the rule says otherwise.

    Args:
        op: the operator.
        vector_ops: arithmetic beside the contractions.
        transcendentals: exponentials, logarithms, roots, trigonometric functions.
        contractions: iteration spaces of multiply-accumulates.
        touched: bytes read by operand slot, for slots that are not read in full; slots the operator lacks are ignored.
        produced: bytes written by result, likewise.
        rows: of a row-wise operator.
        cols: length of a row.
        arithmetic: the operands whose element types decide the precision; all of them by default.
    """
    precision = op.attribute("compute_precision")
    reads = [t.num_bytes for t in op.inputs]
    for slot, size in (touched or {}).items():
        if slot < len(reads):
            reads[slot] = size
    writes = [t.num_bytes for t in op.outputs]
    for result, size in (produced or {}).items():
        if result < len(writes):
            writes[result] = size
    return Work(
        macs=sum(c.macs for c in contractions),
        vector_ops=vector_ops,
        transcendentals=transcendentals,
        reads=tuple(reads),
        writes=tuple(writes),
        precision=precision if isinstance(precision, str) else precision_of(op.inputs if arithmetic is None else arithmetic),
        contractions=contractions,
        rows=rows,
        cols=cols,
        exact=all(t.is_static or t.dtype in OPAQUE_DTYPES for t in (*op.inputs, *op.outputs)),
    )


def precision_of(types: Iterable[TensorType]) -> str:
    """The format that arithmetic on these operands has.

    The widest floating operand decides (the first of two equally wide), so an integer weight under a floating activation
    computes in the activation's format. Without a floating operand the widest integer decides: up to 4 bits `int4`, up to
    8 bits `int8`, anything else (indices, masks, text) `int32`.
    """
    dtypes = [t.dtype for t in types]
    floats = [d for d in dtypes if d in _FLOAT_PRECISION]
    if floats:
        return _FLOAT_PRECISION[max(floats, key=DTYPE_BITS.__getitem__)]
    if dtypes and all(d in _NARROW_INTEGERS for d in dtypes):
        return _NARROW_INTEGERS[max(dtypes, key=DTYPE_BITS.__getitem__)]
    return "int32"


def is_float(t: TensorType) -> bool:
    """Whether the elements are floating-point numbers."""
    return t.dtype in FLOAT_DTYPES


def is_narrow_integer(t: TensorType) -> bool:
    """Whether the elements are integers of at most 8 bits: quantised numbers."""
    return t.dtype in _NARROW_INTEGERS


def flag(op: Operator, name: str, default: bool = False) -> bool:
    """A switch among the attributes."""
    return bool(op.attribute(name, default))


def number(op: Operator, name: str, default: float) -> float:
    """A number among the attributes.

    Raises:
        ModelError: it is none.
    """
    value = op.attribute(name, default)
    if isinstance(value, (int, float)):
        return value
    raise ModelError(f"{op.kind}: attribute {name} must be a number, not {value!r}")


def integer(op: Operator, name: str, default: int) -> int:
    """An integer among the attributes.

    Raises:
        ModelError: it is none.
    """
    value = op.attribute(name, default)
    if isinstance(value, int):
        return value
    raise ModelError(f"{op.kind}: attribute {name} must be an integer, not {value!r}")


def positive(op: Operator, name: str, default: int) -> int:
    """An integer among the attributes that is at least one.

    Raises:
        ModelError: it is not.
    """
    value = integer(op, name, default)
    if value < 1:
        raise ModelError(f"{op.kind}: attribute {name} must be at least 1, not {value}")
    return value


def integers(op: Operator, name: str) -> tuple[int, ...] | None:
    """A list of integers among the attributes, None where it is absent.

    Raises:
        ModelError: it is something else.
    """
    value = op.attribute(name)
    if value is None:
        return None
    if isinstance(value, tuple):
        found = tuple(v for v in value if isinstance(v, int))
        if len(found) == len(value):
            return found
    raise ModelError(f"{op.kind}: attribute {name} must be a list of integers, not {value!r}")


def text(op: Operator, name: str, default: str) -> str:
    """A word among the attributes, in lower case.

    Raises:
        ModelError: it is something else.
    """
    value = op.attribute(name, default)
    if isinstance(value, str):
        return value.lower()
    raise ModelError(f"{op.kind}: attribute {name} must be a word, not {value!r}")


def place(op: Operator, axis: int, rank: int) -> int:
    """The axis counted from the front.

    Raises:
        ModelError: a tensor of that rank has no such axis.
    """
    if not -rank <= axis < rank:
        raise ModelError(f"{op.kind}: axis {axis} does not exist in a tensor of {rank} axes")
    return axis % rank


def split_rows(op: Operator, t: TensorType, axes: Iterable[int]) -> tuple[int, int]:
    """(rows, cols): how many rows the tensor has when these axes form a row, and the row's length.

    A tensor without axes, or of unknown rank, is one row of one element.

    Raises:
        ModelError: an axis does not exist.
    """
    dims = t.dims()
    if not dims:
        return 1, 1
    inside = {place(op, axis, len(dims)) for axis in axes}
    cols = prod(dims[axis] for axis in inside)
    return prod(d for axis, d in enumerate(dims) if axis not in inside), cols


def combining(rows: int, cols: int) -> int:
    """Two-operand steps that reduce each row to one element: cols - 1 per row, none for an empty row."""
    return rows * max(cols - 1, 0)


def log2_steps(n: int) -> int:
    """The logarithm to base 2, rounded up; 0 for fewer than two."""
    return max(n - 1, 0).bit_length()


def agreed(*sizes: int | None) -> int:
    """The first known of sizes that ought to be equal; one where none is known."""
    return next((size for size in sizes if size is not None), 1)


def elements_in_bytes(count: int, t: TensorType) -> int:
    """Bytes of `count` elements of the tensor, at most all of it: what is touched twice counts once."""
    return min(-(-count * DTYPE_BITS[t.dtype] // 8), t.num_bytes)


def tally(vector_ops: int, transcendentals: int) -> str:
    """The counts in words: `2 operations and 1 transcendental`."""
    counts = ((vector_ops, "operation"), (transcendentals, "transcendental"))
    words = [f"{n} {noun}{'s' if n > 1 else ''}" for n, noun in counts if n]
    return " and ".join(words) or "nothing"
