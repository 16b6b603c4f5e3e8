"""Free dimensions bound and fixed ones changed, as the user asked: what every graph input's type becomes."""

from __future__ import annotations

import ast
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import onnx

from edpc.errors import ModelError, UsageError
from edpc.frontends.onnx.names import did_you_mean, shown, text
from edpc.frontends.onnx.values import Dim, InvalidValueError, Type, checked_shape, declared_dims, element_of, from_proto
from edpc.ir.types import TensorType

_MAX_EXPRESSION = 200
_MAX_LISTED = 20


@dataclass(slots=True)
class Bound:
    """What the overrides come to.

    Attributes:
        types: of the graph's inputs.
        symbols: size by name of free dimension.
        given: whether anything was overridden, so that types in the file are no longer taken as they are.
        refixed: whether a fixed dimension changed, so that shapes in the file are void.
        batch_before, batch: the leading dimension that `batch` replaced and its new size; None where it replaced no fixed one.
    """

    types: dict[str, Type] = field(default_factory=dict)
    symbols: dict[str, int] = field(default_factory=dict)
    given: bool = False
    refixed: bool = False
    batch_before: int | None = None
    batch: int | None = None


def bind(
    inputs: Sequence[onnx.ValueInfoProto],
    others: Iterable[onnx.ValueInfoProto],
    *,
    dims: Mapping[str, int],
    batch: int | None,
    shapes: Mapping[str, Sequence[int]],
    where: str,
) -> Bound:
    """The types of the graph's inputs under the overrides.

    `shapes` sets whole inputs and binds the free dimensions it meets; `dims` binds free dimensions by name; `batch` sets the
    leading dimension of the first input that has one, and of every other input whose leading dimension is the same (the
    same name, or the same fixed size). An input in `shapes` is left as it says.

    Args:
        inputs: the graph's inputs without initializers.
        others: values whose types may name further free dimensions.
        dims: size by name of free dimension.
        batch: the new leading dimension.
        shapes: whole shape by name of input.
        where: what messages start with, the name of the file.

    Raises:
        UsageError: an override names nothing in the model or contradicts another, or free dimensions remain.
        ModelError: an input's type cannot be.
    """
    for value in inputs:
        if type(value.name) is not str:
            raise ModelError(f"{where}: input {shown(value.name)} has a name that is not UTF-8; rename it")
    declared = {value.name: _declared(value, where) for value in inputs}
    bound = Bound(given=bool(dims or shapes) or batch is not None)
    _check_sizes(dims, batch, shapes)
    if dims:
        _bind_dims(dims, declared, others, bound)
    wanted: dict[str, tuple[Dim, ...]] = {name: d for name, d in declared.items() if d is not None}
    for name, shape in shapes.items():
        _bind_shape(name, tuple(shape), declared, wanted, bound, dims)
    if batch is not None:
        _bind_batch(batch, wanted, shapes, bound)
    free: dict[str, Dim] = {}
    shapeless: list[str] = []
    for value in inputs:
        dims_of = wanted.get(value.name)
        dtype = _element(value, where)
        if dtype is None:
            bound.types[value.name] = _container(value, where)
            continue
        if dims_of is None:
            shapeless.append(f"--shape {shlex.quote(value.name)}=1")
            continue
        sizes = tuple(size_of(dim, bound.symbols) for dim in dims_of)
        for axis, (dim, size) in enumerate(zip(dims_of, sizes, strict=True)):
            if size is None and isinstance(dim, str):
                for name in free_names(dim):
                    if name not in bound.symbols:
                        free.setdefault(name, 1 if axis == 0 else 128)
        if any(size is None and dim is None for dim, size in zip(dims_of, sizes, strict=True)):
            example = ",".join(str(1 if size is None else size) for size in sizes)
            shapeless.append(f"--shape {shlex.quote(value.name)}={example}")
        try:
            bound.types[value.name] = TensorType(dtype, checked_shape(sizes))
        except InvalidValueError as error:
            raise ModelError(f"{where}: input {shown(value.name)} {error}; set it with --shape {value.name}=...") from None
    if free or shapeless:
        flags = " ".join(([f"--dim {shlex.quote(f'{name}={size}')}" for name, size in free.items()] + shapeless)[:_MAX_LISTED])
        listed = ", ".join(shown(name) for name in list(free)[:_MAX_LISTED])
        named = f"free dimensions {listed}" if free else "inputs of unknown shape"
        raise UsageError(f"{where} has {named}; set them, for instance {printable(flags)}")
    return bound


def size_of(dim: Dim, symbols: Mapping[str, int]) -> int | None:
    """The size of a declared dimension: itself, what its name is bound to, or what an expression of bound names comes to."""
    if not isinstance(dim, str):
        return dim
    if dim in symbols:
        return symbols[dim]
    if not symbols or dim.isidentifier():
        return None
    tree = _expression(dim)
    return None if tree is None else _evaluate(tree, symbols)


def free_names(dim: str) -> list[str]:
    """The names to bind for a dimension: itself, or those in it where it is an expression such as `past + 1`."""
    tree = None if dim.isidentifier() else _expression(dim)
    if tree is None or _evaluate(tree, _Ones()) is None:
        return [dim]
    return sorted({node.id for node in ast.walk(tree) if isinstance(node, ast.Name)})


def printable(message: str) -> str:
    """The text with control characters escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in message)


class _Ones(dict[str, int]):
    def __missing__(self, key: str) -> int:
        return 1


def _expression(dim: str) -> ast.expr | None:
    if len(dim) > _MAX_EXPRESSION:
        return None
    try:
        return ast.parse(dim.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _evaluate(tree: ast.expr, symbols: Mapping[str, int]) -> int | None:
    """The value of a sum, difference, product or floor quotient of names and integers; None for anything else."""
    if isinstance(tree, ast.Constant):
        return tree.value if type(tree.value) is int else None
    if isinstance(tree, ast.Name):
        return symbols[tree.id] if tree.id in symbols or isinstance(symbols, _Ones) else None
    if isinstance(tree, ast.BinOp):
        left, right = _evaluate(tree.left, symbols), _evaluate(tree.right, symbols)
        if left is None or right is None:
            return None
        if isinstance(tree.op, ast.Add):
            return left + right
        if isinstance(tree.op, ast.Sub):
            return left - right
        if isinstance(tree.op, ast.Mult):
            return left * right
        if isinstance(tree.op, ast.FloorDiv) and right:
            return left // right
    return None


def _declared(value: onnx.ValueInfoProto, where: str) -> tuple[Dim, ...] | None:
    try:
        return declared_dims(value.type) if element_of(value.type) else None
    except InvalidValueError as error:
        raise ModelError(f"{where}: input {shown(value.name)} {error}; repair or export the model again") from None


def _element(value: onnx.ValueInfoProto, where: str) -> str | None:
    """The element type of a tensor input; None for a sequence, optional or map."""
    which = value.type.WhichOneof("value")
    dtype = element_of(value.type)
    if dtype is None and which not in ("sequence_type", "optional_type", "map_type"):
        raise ModelError(f"{where}: input {shown(value.name)} has no element type; repair or export the model again")
    return dtype


def _container(value: onnx.ValueInfoProto, where: str) -> Type:
    try:
        kind = from_proto(value.type)
    except InvalidValueError as error:
        raise ModelError(f"{where}: input {shown(value.name)} {error}; repair or export the model again") from None
    assert kind is not None
    return kind


def _check_sizes(dims: Mapping[str, int], batch: int | None, shapes: Mapping[str, Sequence[int]]) -> None:
    for name, size in dims.items():
        if size < 0:
            raise UsageError(f"--dim {printable(name)}={size} is negative; give a size")
    if batch is not None and batch < 1:
        raise UsageError(f"--batch {batch} is no batch size; give 1 or more")
    for name, shape in shapes.items():
        if any(size < 0 for size in shape):
            raise UsageError(f"--shape {printable(name)} has a negative dimension; give sizes")


def _bind_dims(
    dims: Mapping[str, int],
    declared: Mapping[str, tuple[Dim, ...] | None],
    others: Iterable[onnx.ValueInfoProto],
    bound: Bound,
) -> None:
    known: dict[str, None] = {}
    for dims_of in declared.values():
        for dim in dims_of or ():
            if isinstance(dim, str):
                known.update(dict.fromkeys([dim, *free_names(dim)]))
    inside = dict(known)
    for value in others:
        for part in value.type.tensor_type.shape.dim:
            if part.dim_param:
                name = text(part.dim_param)
                known[name] = None
                inside.update(dict.fromkeys([name, *free_names(name)]))
    for name, size in dims.items():
        if name not in inside:
            if not inside:
                raise UsageError(f"the model has no free dimension {shown(name)}: all are fixed; use --batch or --shape")
            listed = ", ".join(shown(other) for other in list(known)[:_MAX_LISTED])
            raise UsageError(f"the model has no free dimension {shown(name)}, only {listed}{did_you_mean(name, inside)}")
        bound.symbols[name] = size


def _bind_shape(
    name: str,
    shape: tuple[int, ...],
    declared: Mapping[str, tuple[Dim, ...] | None],
    wanted: dict[str, tuple[Dim, ...]],
    bound: Bound,
    dims: Mapping[str, int],
) -> None:
    if name not in declared:
        listed = ", ".join(shown(other) for other in list(declared)[:_MAX_LISTED])
        raise UsageError(f"the model has no input {shown(name)}, only {listed}{did_you_mean(name, declared)}")
    before = declared[name]
    if before is not None:
        if len(before) != len(shape):
            raise UsageError(f"input {shown(name)} has {len(before)} dimensions and --shape gives {len(shape)}; give as many")
        for dim, size in zip(before, shape, strict=True):
            if isinstance(dim, str) and dim not in dims:
                if bound.symbols.setdefault(dim, size) != size:
                    raise UsageError(
                        f"--shape binds the free dimension {shown(dim)} to {bound.symbols[dim]} and to {size}; choose one"
                    )
            elif isinstance(dim, int) and dim != size:
                bound.refixed = True
    wanted[name] = shape


def _bind_batch(batch: int, wanted: dict[str, tuple[Dim, ...]], shapes: Mapping[str, Sequence[int]], bound: Bound) -> None:
    leading = next((dims_of[0] for name, dims_of in wanted.items() if dims_of and name not in shapes), None)
    if not any(wanted.values()):
        raise UsageError("no input of the model has a leading dimension that --batch could set")
    if isinstance(leading, str):
        if bound.symbols.setdefault(leading, batch) != batch:
            other = f"{printable(leading)}={bound.symbols[leading]}"
            raise UsageError(f"--batch {batch} and --dim {other} set the same dimension; give one of them")
        return
    for name, dims_of in wanted.items():
        if dims_of and name not in shapes and dims_of[0] == leading:
            wanted[name] = (batch, *dims_of[1:])
    if leading is not None and leading != batch:
        bound.refixed, bound.batch_before, bound.batch = True, leading, batch
