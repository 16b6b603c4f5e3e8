"""Masks that make a softmax slow: exp(-87) is the last exponential that is a normal fp32 number."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnx

# exp(x) < 2^-126, the smallest normal number, from here on; the runtime's exponential does not go below that.
LOWEST_NORMAL = -87.0
_LOOKED_THROUGH = frozenset({"Reshape", "Unsqueeze", "Squeeze", "Cast", "Identity", "Expand", "Dropout", "Transpose"})
_MASKING = frozenset({"Add", "Where", "Sub"})
_MOST_STEPS = 8


def masked_softmaxes(model: onnx.ModelProto) -> list[str]:
    """Names of softmax nodes that read a constant mask with values below -87, as far as the model holds the values."""
    graph = model.graph
    makers = {output: node for node in graph.node for output in node.output}
    constants = {tensor.name: tensor for tensor in graph.initializer}
    found = []
    for node in graph.node:
        if node.op_type not in {"Softmax", "LogSoftmax"}:
            continue
        maker = _through(makers, node.input[0])
        if maker is None or maker.op_type not in _MASKING:
            continue
        if any(_is_low(name, makers, constants) for name in maker.input):
            found.append(node.name or node.output[0])
    return found


def _through(makers: dict[str, onnx.NodeProto], name: str) -> onnx.NodeProto | None:
    """The node behind a value, views looked through."""
    for _ in range(_MOST_STEPS):
        node = makers.get(name)
        if node is None or node.op_type not in _LOOKED_THROUGH:
            return node
        name = node.input[0]
    return None


def _is_low(name: str, makers: dict[str, onnx.NodeProto], constants: dict[str, onnx.TensorProto]) -> bool:
    """Whether the value is a constant, or made from one by a selection or a product, that goes below -87."""
    pending, steps = [name], 0
    while pending and steps < _MOST_STEPS:
        steps += 1
        name = pending.pop()
        node = makers.get(name)
        values = _values(constants[name]) if name in constants else _constant_of(node)
        if values is not None and values.size and float(values.min()) < LOWEST_NORMAL:
            return True
        if node is not None and node.op_type in {"Where", "Mul", *_LOOKED_THROUGH}:
            pending += node.input
    return False


def _constant_of(node: onnx.NodeProto | None) -> Any:
    if node is None or node.op_type not in {"Constant", "ConstantOfShape"}:
        return None
    import numpy as np

    for attribute in node.attribute:
        if attribute.name == "value":
            return _values(attribute.t)
        if attribute.name == "value_float":
            return np.array(attribute.f)
    return None


def _values(tensor: onnx.TensorProto) -> Any:
    """The numbers of a tensor; None where the model does not hold them."""
    import onnx
    from onnx import numpy_helper

    if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.data_type not in {
        onnx.TensorProto.FLOAT,
        onnx.TensorProto.DOUBLE,
        onnx.TensorProto.FLOAT16,
    }:
        return None
    try:
        return numpy_helper.to_array(tensor)
    except (ValueError, TypeError):  # its values were left out
        return None
