"""The free dimensions of a program, set as the user asked."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

from edpc.errors import UsageError
from edpc.frontends.fx.program import Program, Size, TensorInfo
from edpc.frontends.fx.sizes import Sizes, single_symbol, symbols
from edpc.frontends.onnx.names import did_you_mean, shown

_MAX_LISTED = 20
_EXPORT_AGAIN = "export it again with other example inputs, or with dynamic_shapes"


def bind(
    program: Program,
    dims: Mapping[str, int] | None,
    batch: int | None,
    shapes: Mapping[str, Sequence[int]] | None,
    where: str,
) -> Sizes:
    """What every size of the program comes to.

    Args:
        program: the program.
        dims: size by symbol (`s0`) or by the name the dimension was given when it was exported.
        batch: leading dimension of the first input that has one.
        shapes: whole shape by name of input.
        where: what messages call the program.

    Raises:
        UsageError: an override names nothing in the program or contradicts it, or free dimensions remain.
    """
    declared = _declared(program)
    aliases = {name: symbol for symbol, name in program.dimension_names.items()}
    known = {symbol: program.dimension_names.get(symbol, symbol) for info in declared.values() for symbol in _free(info)}
    bound: dict[str, int] = {}
    for name, size in (dims or {}).items():
        symbol = aliases.get(name, name)
        if symbol not in known:
            if not known:
                raise UsageError(f"{where} has no free dimension {shown(name)}: all are fixed; {_EXPORT_AGAIN}")
            listed = ", ".join(map(shown, list(known.values())[:_MAX_LISTED]))
            raise UsageError(f"{where} has no free dimension {shown(name)}, only {listed}{did_you_mean(name, known.values())}")
        _bind_one(bound, symbol, size, f"--dim {name}={size}")
    for name, shape in (shapes or {}).items():
        if name not in declared:
            listed = ", ".join(map(shown, list(declared)[:_MAX_LISTED]))
            raise UsageError(f"{where} has no input {shown(name)}, only {listed}{did_you_mean(name, declared)}")
        _bind_shape(bound, name, declared[name], shape, where)
    if batch is not None:
        _bind_batch(bound, declared, batch, where)
    free = {known[symbol]: 1 if axis == 0 else 128 for symbol, axis in _axes(declared).items() if symbol not in bound}
    if free:
        flags = " ".join(f"--dim {shlex.quote(f'{name}={size}')}" for name, size in list(free.items())[:_MAX_LISTED])
        listed = ", ".join(map(shown, list(free)[:_MAX_LISTED]))
        raise UsageError(f"{where} has free dimensions {listed}; set them, for instance {flags}")
    return Sizes(bound)


def _declared(program: Program) -> dict[str, TensorInfo]:
    """Types of the tensors a caller passes."""
    found = {}
    for source in program.sources:
        info = program.body.values.get(source.name)
        if source.kind == "input" and isinstance(info, TensorInfo):
            found[source.name] = info
    return found


def _free(info: TensorInfo) -> list[str]:
    return [symbol for size in info.shape for symbol in symbols(size)]


def _axes(declared: Mapping[str, TensorInfo]) -> dict[str, int]:
    """The axis each free dimension is first seen on."""
    found: dict[str, int] = {}
    for info in declared.values():
        for axis, size in enumerate(info.shape):
            for symbol in symbols(size):
                found.setdefault(symbol, axis)
    return found


def _bind_one(bound: dict[str, int], symbol: str, size: int, asked: str) -> None:
    if size < 1:
        raise UsageError(f"{asked} is no size of a dimension; give 1 or more")
    if bound.setdefault(symbol, size) != size:
        raise UsageError(f"{asked} contradicts {bound[symbol]}, which the same dimension is set to; give one of them")


def _bind_shape(bound: dict[str, int], name: str, info: TensorInfo, shape: Sequence[int], where: str) -> None:
    if len(shape) != len(info.shape):
        raise UsageError(f"input {shown(name)} has {len(info.shape)} dimensions and --shape gives {len(shape)}; give as many")
    for axis, (declared, size) in enumerate(zip(info.shape, shape, strict=True)):
        _bind_size(bound, declared, size, f"--shape {name} with {size} on axis {axis}", where)


def _bind_batch(bound: dict[str, int], declared: Mapping[str, TensorInfo], batch: int, where: str) -> None:
    leading = next((info.shape[0] for info in declared.values() if info.shape), None)
    if leading is None:
        raise UsageError(f"no input of {where} has a leading dimension that --batch could set")
    _bind_size(bound, leading, batch, f"--batch {batch}", where)


def _bind_size(bound: dict[str, int], declared: Size, size: int, asked: str, where: str) -> None:
    symbol = single_symbol(declared)
    if symbol is not None:
        _bind_one(bound, symbol, size, asked)
        return
    fixed = Sizes(bound)(declared)
    if fixed != size:
        is_now = "an expression of others" if fixed is None else f"fixed at {fixed}"
        raise UsageError(f"{asked} cannot be: the dimension is {is_now} in {where}; {_EXPORT_AGAIN}")
