"""ONNX types and small tensors as edpc's own: conversions both ways, and attribute values."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import prod
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from edpc.frontends.onnx.names import text
from edpc.frontends.onnx.typed import MAX_FOLDED_ELEMENTS
from edpc.frontends.onnx.wire import MAX_PAYLOAD_BYTES, MAX_RANK
from edpc.ir.types import DTYPE_BITS, TensorType

# Element types by their number in `TensorProto.DataType`; formats that differ in their handling of NaN only share a name.
DTYPES: dict[int, str] = {
    1: "fp32",
    2: "uint8",
    3: "int8",
    4: "uint16",
    5: "int16",
    6: "int32",
    7: "int64",
    8: "string",
    9: "bool",
    10: "fp16",
    11: "fp64",
    12: "uint32",
    13: "uint64",
    14: "complex64",
    15: "complex128",
    16: "bf16",
    17: "fp8e4m3",
    18: "fp8e4m3",
    19: "fp8e5m2",
    20: "fp8e5m2",
    21: "uint4",
    22: "int4",
    23: "fp4",
    24: "fp8e8m0",
    25: "uint2",
    26: "int2",
    27: "fp6",
    28: "fp6",
}
ELEMENT_TYPES: dict[str, int] = {name: number for number, name in reversed(DTYPES.items())}
_PLAIN = {number: np.dtype(code) for number, code in {1: "<f4", 6: "<i4", 7: "<i8", 9: "?", 11: "<f8"}.items()}
_MAX_ELEMENTS = 2**63

# A dimension as the file declares it: a size, the name of a free one, or nothing.
Dim = int | str | None


class InvalidValueError(ValueError):
    """A type or tensor of the file that cannot be; the message says why, without the name of the value."""


@dataclass(frozen=True, slots=True)
class Container:
    """The type of a sequence, an optional or a map, which hold values of type `element`."""

    kind: str
    element: Type | None


Type = TensorType | Container


def as_tensor(kind: Type) -> TensorType:
    """The type as the IR knows it: a container is opaque."""
    return kind if isinstance(kind, TensorType) else TensorType(kind.kind, None)


def is_static(kind: Type | None) -> bool:
    """Whether every dimension of a tensor is known."""
    return isinstance(kind, TensorType) and kind.is_static


def checked_shape(dims: tuple[int | None, ...]) -> tuple[int | None, ...]:
    """The dimensions, which are those of a tensor that can be.

    Raises:
        InvalidValueError: too many, a negative one, or more elements together than 64 bits can count.
    """
    if len(dims) > MAX_RANK:
        raise InvalidValueError(f"has {len(dims)} dimensions, more than {MAX_RANK}")
    count = 1
    for dim in dims:
        if dim is not None and dim < 0:
            raise InvalidValueError(f"has the negative dimension {dim}")
        count *= max(1, dim or 1)
    if count >= _MAX_ELEMENTS:
        raise InvalidValueError("has more elements than 64 bits can count")
    return dims


def dtype_of(number: int) -> str:
    """The name of an element type.

    Raises:
        InvalidValueError: the number means nothing to the installed onnx.
    """
    name = DTYPES.get(number)
    if name is None:
        raise InvalidValueError(f"has element type number {number}, which onnx {onnx.__version__} does not know")
    return name


def declared_dims(proto: onnx.TypeProto) -> tuple[Dim, ...] | None:
    """The dimensions of a tensor type as the file says them; None where it gives no shape.

    Raises:
        InvalidValueError: there are more than `MAX_RANK`.
    """
    tensor = proto.sparse_tensor_type if proto.HasField("sparse_tensor_type") else proto.tensor_type
    if not tensor.HasField("shape"):
        return None
    if len(tensor.shape.dim) > MAX_RANK:
        raise InvalidValueError(f"has {len(tensor.shape.dim)} dimensions, more than {MAX_RANK}")
    dims: list[Dim] = []
    for dim in tensor.shape.dim:
        if dim.HasField("dim_value"):
            dims.append(dim.dim_value)
        else:
            dims.append(text(dim.dim_param) or None)
    return tuple(dims)


def element_of(proto: onnx.TypeProto) -> str | None:
    """The element type of a tensor type; None where it is no tensor or undefined."""
    which = proto.WhichOneof("value")
    if which not in ("tensor_type", "sparse_tensor_type"):
        return None
    number = getattr(proto, which).elem_type
    return dtype_of(number) if number else None


def from_proto(proto: onnx.TypeProto) -> Type | None:
    """The type a `TypeProto` says, free dimensions unknown; None where it says nothing.

    Raises:
        InvalidValueError: the element type is unknown or the shape cannot be.
    """
    which = proto.WhichOneof("value")
    if which in ("tensor_type", "sparse_tensor_type"):
        dtype = element_of(proto)
        if dtype is None:
            return None
        dims = declared_dims(proto)
        shape = None if dims is None else checked_shape(tuple(d if isinstance(d, int) else None for d in dims))
        return TensorType(dtype, shape)
    if which == "sequence_type":
        return Container("sequence", from_proto(proto.sequence_type.elem_type))
    if which == "optional_type":
        return Container("optional", from_proto(proto.optional_type.elem_type))
    if which == "map_type":
        return Container("map", from_proto(proto.map_type.value_type))
    return None


@cache
def to_proto(kind: Type) -> onnx.TypeProto:
    """The `TypeProto` that says the type; one object per type, not to be changed."""
    proto = onnx.TypeProto()
    if isinstance(kind, TensorType):
        tensor = proto.tensor_type
        tensor.elem_type = ELEMENT_TYPES[kind.dtype]
        if kind.shape is not None:
            tensor.shape.SetInParent()
            for size in kind.shape:
                dim = tensor.shape.dim.add()
                if size is not None:
                    dim.dim_value = size
    elif kind.kind == "map":
        proto.map_type.key_type = onnx.TensorProto.INT64
        if kind.element is not None:
            proto.map_type.value_type.CopyFrom(to_proto(kind.element))
    else:
        target = proto.sequence_type if kind.kind == "sequence" else proto.optional_type
        target.SetInParent()
        if kind.element is not None:
            target.elem_type.CopyFrom(to_proto(kind.element))
    return proto


def tensor_type(tensor: onnx.TensorProto) -> TensorType:
    """The type of a stored tensor.

    Raises:
        InvalidValueError: the element type is unknown or the dimensions cannot be.
    """
    return TensorType(dtype_of(tensor.data_type), checked_shape(tuple(tensor.dims)))


def tensor_value(tensor: onnx.TensorProto) -> NDArray[Any] | None:
    """The values of a small tensor; None for a large one, strings, and values that are not in the model.

    External data is never looked at, however small.

    Raises:
        InvalidValueError: the values do not fill the dimensions.
    """
    dims = tuple(tensor.dims)
    count = prod(dims)
    number = tensor.data_type
    if count > MAX_FOLDED_ELEMENTS or number == onnx.TensorProto.STRING or tensor.data_location == onnx.TensorProto.EXTERNAL:
        return None
    if count * DTYPE_BITS[dtype_of(number)] > 8 * MAX_PAYLOAD_BYTES:
        return None
    if count == 0:
        return np.zeros(dims, onnx.helper.tensor_dtype_to_np_dtype(number))
    if tensor.HasField("raw_data"):
        if number in _PLAIN:
            raw = tensor.raw_data
            if len(raw) != count * _PLAIN[number].itemsize:
                raise InvalidValueError(f"has dimensions {list(dims)} and {len(raw)} bytes of data, which do not fit")
            return np.frombuffer(raw, _PLAIN[number]).reshape(dims)
    elif not (len(tensor.float_data) or len(tensor.int32_data) or len(tensor.int64_data) or len(tensor.double_data)) and not len(
        tensor.uint64_data
    ):
        return None
    try:
        return onnx.numpy_helper.to_array(tensor)
    except (ValueError, TypeError) as error:
        raise InvalidValueError(f"has values that do not fit its dimensions {list(dims)}") from error


def to_tensor(value: NDArray[Any]) -> onnx.TensorProto:
    """The tensor that stores the value."""
    return onnx.numpy_helper.from_array(value)


def attribute_values(node: onnx.NodeProto) -> dict[str, Any]:
    """Attribute values by name: numbers, text, lists, tensors and graphs as the file stores them."""
    values: dict[str, Any] = {}
    for attribute in node.attribute:
        kind = attribute.type
        if kind == onnx.AttributeProto.INT:
            values[attribute.name] = attribute.i
        elif kind == onnx.AttributeProto.FLOAT:
            values[attribute.name] = attribute.f
        elif kind == onnx.AttributeProto.STRING:
            values[attribute.name] = attribute.s.decode("utf-8", "replace")
        elif kind == onnx.AttributeProto.INTS:
            values[attribute.name] = list(attribute.ints)
        elif kind == onnx.AttributeProto.FLOATS:
            values[attribute.name] = list(attribute.floats)
        elif kind == onnx.AttributeProto.STRINGS:
            values[attribute.name] = [s.decode("utf-8", "replace") for s in attribute.strings]
        elif kind == onnx.AttributeProto.TENSOR:
            values[attribute.name] = attribute.t
        elif kind == onnx.AttributeProto.GRAPH:
            values[attribute.name] = attribute.g
        elif kind == onnx.AttributeProto.SPARSE_TENSOR:
            values[attribute.name] = attribute.sparse_tensor
        elif kind == onnx.AttributeProto.TYPE_PROTO:
            values[attribute.name] = attribute.tp
    return values
