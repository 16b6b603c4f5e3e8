"""Values of small tensors that follow from the graph: shapes, axes, scalars and what is computed from them.

One table row per operator, numpy on the right. A row raises `UnfoldableError` (or any error of numpy's) where the standard
leaves the result open; the value then simply stays unknown. Whoever calls has checked that the result is small.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from edpc.frontends.onnx.typed import MAX_FOLDED_ELEMENTS
from edpc.ir.types import TensorType

Array = NDArray[Any]


class UnfoldableError(ValueError):
    """The value does not follow from the operands."""


@dataclass(frozen=True, slots=True, eq=False)
class Partial:
    """An integer tensor of which some elements are known: `data` where `known` is true, nothing elsewhere."""

    data: Array
    known: Array


@dataclass(slots=True)
class Call:
    """One evaluation: operand values ('' is None), attribute values, opset version, operand types and number of results."""

    inputs: Sequence[Any]
    attributes: dict[str, Any]
    version: int
    types: Sequence[TensorType | None]
    results: int

    def get(self, slot: int) -> Array | None:
        """The operand's value; None where it is absent."""
        return self.inputs[slot] if slot < len(self.inputs) else None

    def ints(self, name: str, slot: int) -> list[int] | None:
        """A list given as an attribute in older opsets and as an operand in newer ones; None where it is in neither."""
        if name in self.attributes:
            return [int(v) for v in self.attributes[name]]
        value = self.get(slot)
        return None if value is None else [int(v) for v in value.reshape(-1)]


def _small(shape: Sequence[int]) -> list[int]:
    """The shape, which is that of a tensor worth folding: the file's own types are not to be trusted with memory."""
    if math.prod(shape) > MAX_FOLDED_ELEMENTS:
        raise UnfoldableError
    return list(shape)


def _shape(call: Call) -> Any:
    shape = call.types[0].shape if call.types[0] else None
    if shape is None:
        raise UnfoldableError
    part = shape[slice(call.attributes.get("start", 0), call.attributes.get("end"))]
    if None in part:
        raise UnfoldableError
    return np.array(part, np.int64)


def _size(call: Call) -> Any:
    kind = call.types[0]
    if kind is None or not kind.is_static:
        raise UnfoldableError
    return np.array(kind.numel, np.int64)


def _cast(call: Call, number: int) -> Any:
    target = onnx.helper.tensor_dtype_to_np_dtype(number)
    if target.kind == "O":
        raise UnfoldableError
    return call.inputs[0].astype(target)


def _slice(call: Call) -> Any:
    data = call.inputs[0]
    starts, ends = call.ints("starts", 1), call.ints("ends", 2)
    if starts is None or ends is None:
        raise UnfoldableError
    axes = call.ints("axes", 3) or range(len(starts))
    steps = call.ints("steps", 4) or [1] * len(starts)
    index = [slice(None)] * data.ndim
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        # Going backwards, an end before the first element means "including it", which numpy spells None.
        stop = None if step < 0 and end < -data.shape[axis] else end
        index[axis] = slice(start, stop, step)
    return data[tuple(index)]


def _unsqueeze(call: Call) -> Any:
    axes = call.ints("axes", 1)
    if axes is None:
        raise UnfoldableError
    return np.expand_dims(call.inputs[0], tuple(axes))


def _squeeze(call: Call) -> Any:
    axes = call.ints("axes", 1)
    return np.squeeze(call.inputs[0], None if axes is None else tuple(axes))


def _reshape(call: Call) -> Any:
    data = call.inputs[0]
    shape = call.ints("shape", 1)
    if shape is None:
        raise UnfoldableError
    if not call.attributes.get("allowzero", 0):
        shape = [data.shape[i] if size == 0 else size for i, size in enumerate(shape)]
    return data.reshape(shape)


def _flatten(call: Call) -> Any:
    data, axis = call.inputs[0], call.attributes.get("axis", 1)
    axis += data.ndim if axis < 0 else 0
    return data.reshape(math.prod(data.shape[:axis]), -1)


def _expand(call: Call) -> Any:
    data, shape = call.inputs
    return np.broadcast_to(data, _small(np.broadcast_shapes(data.shape, tuple(int(v) for v in shape))))


def _constant_of_shape(call: Call) -> Any:
    value = call.attributes.get("value")
    fill = np.zeros(1, np.float32) if value is None else onnx.numpy_helper.to_array(value)
    return np.full(_small([int(v) for v in call.inputs[0]]), fill.reshape(-1)[0], fill.dtype)


def _range(call: Call) -> Any:
    start, limit, delta = (value.reshape(()) for value in call.inputs[:3])
    _small([abs(math.ceil((float(limit) - float(start)) / float(delta)))])
    return np.arange(start, limit, delta, dtype=start.dtype)


def _tile(call: Call) -> Any:
    data, repeats = call.inputs[0], [int(v) for v in call.inputs[1]]
    _small([data.size, *repeats])
    return np.tile(data, repeats)


def _split(call: Call) -> Any:
    data, axis = call.inputs[0], call.attributes.get("axis", 0)
    sizes = call.ints("split", 1)
    if sizes is None:
        part = -(-data.shape[axis] // call.results)
        sizes = [part] * call.results
    return list(np.split(data, np.cumsum(sizes)[:-1], axis))


def _divide(call: Call) -> Any:
    a, b = call.inputs
    if a.dtype.kind not in "iu":
        return a / b
    if not np.all(b):
        raise UnfoldableError
    # The standard truncates towards zero, numpy rounds down.
    return (np.sign(a) * np.sign(b) * (np.abs(a) // np.abs(b))).astype(a.dtype)


def _mod(call: Call) -> Any:
    a, b = call.inputs
    if a.dtype.kind in "iu" and not np.all(b):
        raise UnfoldableError
    return np.fmod(a, b) if call.attributes.get("fmod", 0) else np.mod(a, b)


def _clip(call: Call) -> Any:
    low = call.attributes.get("min") if call.version < 11 else call.get(1)
    high = call.attributes.get("max") if call.version < 11 else call.get(2)
    result = call.inputs[0]
    result = result if low is None else np.maximum(result, low)
    return result if high is None else np.minimum(result, high)


def _reduce(function: Callable[..., Array]) -> Callable[[Call], Any]:
    def run(call: Call) -> Any:
        axes = call.ints("axes", 1)
        if not axes:
            if call.attributes.get("noop_with_empty_axes", 0):
                return call.inputs[0]
            axes = list(range(call.inputs[0].ndim))
        return function(call.inputs[0], axis=tuple(axes), keepdims=bool(call.attributes.get("keepdims", 1)))

    return run


def _cumsum(call: Call) -> Any:
    if call.attributes.get("exclusive", 0) or call.attributes.get("reverse", 0):
        raise UnfoldableError
    return np.cumsum(call.inputs[0], int(call.inputs[1]), dtype=call.inputs[0].dtype)


def _gather_elements(call: Call) -> Any:
    return np.take_along_axis(call.inputs[0], call.inputs[1], call.attributes.get("axis", 0))


def _gather_nd(call: Call) -> Any:
    if call.attributes.get("batch_dims", 0):
        raise UnfoldableError
    data, indices = call.inputs
    return data[tuple(np.moveaxis(indices, -1, 0))]


def _chain(function: Callable[[Array, Array], Array]) -> Callable[[Call], Any]:
    def run(call: Call) -> Any:
        result: Array = call.inputs[0]
        for other in call.inputs[1:]:
            result = function(result, other)
        return result

    return run


def _binary(function: Callable[[Array, Array], Array]) -> Callable[[Call], Any]:
    return lambda call: function(call.inputs[0], call.inputs[1])


def _unary(function: Callable[[Array], Array]) -> Callable[[Call], Any]:
    return lambda call: function(call.inputs[0])


FOLDERS: dict[str, Callable[[Call], Any]] = {
    "Shape": _shape,
    "Size": _size,
    "Identity": lambda c: c.inputs[0],
    "Cast": lambda c: _cast(c, c.attributes["to"]),
    "CastLike": lambda c: c.inputs[0].astype(c.inputs[1].dtype),
    "Gather": lambda c: np.take(c.inputs[0], c.inputs[1], axis=c.attributes.get("axis", 0)),
    "GatherElements": _gather_elements,
    "GatherND": _gather_nd,
    "Concat": lambda c: np.concatenate(c.inputs, c.attributes.get("axis", 1)),
    "Slice": _slice,
    "Unsqueeze": _unsqueeze,
    "Squeeze": _squeeze,
    "Reshape": _reshape,
    "Flatten": _flatten,
    "Transpose": lambda c: np.transpose(c.inputs[0], c.attributes.get("perm")),
    "Expand": _expand,
    "Tile": _tile,
    "Range": _range,
    "ConstantOfShape": _constant_of_shape,
    "Split": _split,
    "Trilu": lambda c: (np.triu if c.attributes.get("upper", 1) else np.tril)(
        c.inputs[0], int(c.inputs[1]) if c.get(1) is not None else 0
    ),
    "NonZero": lambda c: np.stack(np.nonzero(c.inputs[0])).astype(np.int64),
    "Add": _binary(np.add),
    "Sub": _binary(np.subtract),
    "Mul": _binary(np.multiply),
    "Div": _divide,
    "Mod": _mod,
    "Pow": lambda c: np.power(c.inputs[0], c.inputs[1]).astype(c.inputs[0].dtype),
    "Min": _chain(np.minimum),
    "Max": _chain(np.maximum),
    "Sum": _chain(np.add),
    "Clip": _clip,
    "Where": lambda c: np.where(c.inputs[0], c.inputs[1], c.inputs[2]),
    "Neg": _unary(np.negative),
    "Abs": _unary(np.abs),
    "Sign": _unary(np.sign),
    "Floor": _unary(np.floor),
    "Ceil": _unary(np.ceil),
    "Round": _unary(np.round),
    "Sqrt": _unary(np.sqrt),
    "Reciprocal": _unary(np.reciprocal),
    "Exp": _unary(np.exp),
    "Log": _unary(np.log),
    "Sin": _unary(np.sin),
    "Cos": _unary(np.cos),
    "IsNaN": _unary(np.isnan),
    "Equal": _binary(np.equal),
    "Less": _binary(np.less),
    "LessOrEqual": _binary(np.less_equal),
    "Greater": _binary(np.greater),
    "GreaterOrEqual": _binary(np.greater_equal),
    "And": _binary(np.logical_and),
    "Or": _binary(np.logical_or),
    "Xor": _binary(np.logical_xor),
    "Not": _unary(np.logical_not),
    "ReduceSum": _reduce(np.sum),
    "ReduceProd": _reduce(np.prod),
    "ReduceMax": _reduce(np.max),
    "ReduceMin": _reduce(np.min),
    "ReduceMean": _reduce(np.mean),
    "CumSum": _cumsum,
}
# Operators whose value follows from the operand's type alone.
FROM_TYPE = frozenset({"Shape", "Size"})

# Operators that move elements, with the operands that carry them (all of Concat's): they apply to `known` as they do to `data`.
_MOVES: dict[str, tuple[int, ...] | None] = {
    "Identity": (0,),
    "Cast": (0,),
    "Gather": (0,),
    "Slice": (0,),
    "Unsqueeze": (0,),
    "Squeeze": (0,),
    "Reshape": (0,),
    "Concat": None,
}
_ARITHMETIC = frozenset({"Add", "Sub", "Mul", "Div"})


def fold(operator: str, call: Call) -> list[Array] | None:
    """The results of the operator; None where they do not follow from the operands.

    All operands given must be values (not `Partial`), except for operators in `FROM_TYPE`.
    """
    try:
        with np.errstate(all="ignore"):
            result = FOLDERS[operator](call)
    except (ValueError, TypeError, IndexError, KeyError, OverflowError, ZeroDivisionError, AttributeError, MemoryError):
        return None
    values = [np.asarray(value) for value in (result if isinstance(result, list) else [result])]
    return values if all(value.size <= MAX_FOLDED_ELEMENTS for value in values) else None


def partial_shape(kind: TensorType, attributes: dict[str, Any]) -> Partial | None:
    """What `Shape` says of a tensor of known rank with unknown dimensions."""
    start, end = attributes.get("start", 0), attributes.get("end")
    if kind.shape is None or type(start) is not int or not isinstance(end, int | None):
        return None
    part = kind.shape[start:end]
    return Partial(np.array([d or 0 for d in part], np.int64), np.array([d is not None for d in part], bool))


def fold_partial(operator: str, call: Call) -> Partial | None:
    """The result of an operator on operands of which some are `Partial`; None where nothing of it is known."""
    if operator in _ARITHMETIC and len(call.inputs) == 2:
        return _partial_arithmetic(operator, call)
    if operator not in _MOVES:
        return None
    carriers = _MOVES[operator]
    slots = range(len(call.inputs)) if carriers is None else carriers
    if any(isinstance(value, Partial) and slot not in slots for slot, value in enumerate(call.inputs)):
        return None
    known = [_known(value) if slot in slots else value for slot, value in enumerate(call.inputs)]
    mask = fold("Identity" if operator == "Cast" else operator, _with_inputs(call, known))
    data = fold(operator, _with_inputs(call, [_data(value) for value in call.inputs]))
    if data is None or mask is None or data[0].dtype.kind not in "iu":
        return None
    return Partial(data[0], mask[0].astype(bool))


def _partial_arithmetic(operator: str, call: Call) -> Partial | None:
    try:
        known = np.logical_and(*(_known(value) for value in call.inputs))
    except ValueError:
        return None
    # Unknown elements stand as one, so that a division by them does not fail.
    operands = [np.where(_known(value), _data(value), 1) for value in call.inputs]
    data = fold(operator, _with_inputs(call, operands))
    return Partial(data[0], known) if data is not None and data[0].dtype.kind in "iu" else None


def _with_inputs(call: Call, inputs: list[Any]) -> Call:
    return Call(inputs, call.attributes, call.version, call.types, call.results)


def _known(value: Any) -> Any:
    if isinstance(value, Partial):
        return value.known
    return None if value is None else np.ones(value.shape, bool)


def _data(value: Any) -> Any:
    return value.data if isinstance(value, Partial) else value
