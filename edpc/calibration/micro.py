"""Micro-models: a few nodes each, written by hand, with weights that the runtime is given made up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET = 20
_DOMAINS = (("", OPSET), ("com.microsoft", 1))


@dataclass
class Micro:
    """One micro-model under construction; methods answer the name of the value they made.

    Attributes:
        name: unique in the suite; every node and value is named after it, so that models can stand side by side in one.
    """

    name: str
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    initializers: list[onnx.TensorProto] = field(default_factory=list)
    inputs: list[onnx.ValueInfoProto] = field(default_factory=list)
    outputs: list[onnx.ValueInfoProto] = field(default_factory=list)

    def feed(self, *shape: int, dtype: int = TensorProto.FLOAT) -> str:
        """A graph input."""
        name = f"{self.name}.x{len(self.inputs)}"
        self.inputs.append(helper.make_tensor_value_info(name, dtype, shape))
        return name

    def weight(self, *shape: int, dtype: int = TensorProto.FLOAT) -> str:
        """A parameter; its values are made up when a session is opened."""
        name = f"{self.name}.w{len(self.initializers)}"
        tensor = self.initializers_add(name)
        tensor.data_type = dtype
        tensor.dims.extend(shape)
        return name

    def constant(self, value: NDArray[Any]) -> str:
        """A constant that the graph holds: axes, shapes, scalars."""
        name = f"{self.name}.c{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(value, name))
        return name

    def ints(self, *values: int) -> str:
        """A vector of integers."""
        return self.constant(np.array(values, np.int64))

    def initializers_add(self, name: str) -> onnx.TensorProto:
        """A tensor of that name without type, shape and values."""
        self.initializers.append(onnx.TensorProto(name=name))
        return self.initializers[-1]

    def op(self, op_type: str, *operands: str, results: int = 1, domain: str = "", **attributes: Any) -> Any:
        """Appends a node; answers the name of its result, or a list of names."""
        label = f"{self.name}.{op_type.lower()}{len(self.nodes)}"
        names = [label if results == 1 else f"{label}.{i}" for i in range(results)]
        self.nodes.append(helper.make_node(op_type, operands, names, name=label, domain=domain, **attributes))
        return names[0] if results == 1 else names

    def done(self, *results: str) -> Micro:
        """The micro-model with these results, whose shapes are left to inference."""
        self.outputs += [helper.make_empty_tensor_value_info(name) for name in results]
        return self


def model_of(parts: Sequence[Micro]) -> onnx.ModelProto:
    """Micro-models side by side in one graph; the graph of one where there is one."""
    graph = onnx.GraphProto(name="calibration")
    for part in parts:
        graph.node.extend(part.nodes)
        graph.initializer.extend(part.initializers)
        graph.input.extend(part.inputs)
        graph.output.extend(part.outputs)
    opsets = [helper.make_opsetid(*each) for each in _DOMAINS]
    model = helper.make_model(graph, opset_imports=opsets, producer_name="edpc")
    model.ir_version = 10
    typed = onnx.shape_inference.infer_shapes(model)
    types = {value.name: value for value in (*typed.graph.value_info, *typed.graph.output)}
    del model.graph.output[:]
    model.graph.output.extend(types[value.name] for part in parts for value in part.outputs)
    return model


Build = Callable[[Micro], Micro]
# A node that keeps what follows from reading a graph input, whose data comes from memory as no activation inside a network does.
ENTRY = "Abs"


def conv(m: Micro, x: str, channels: int, filters: int, kernel: int, stride: int = 1, groups: int = 1, relu: bool = True) -> str:
    """A convolution with bias that keeps the size of the image but for its stride; answers the name of its result."""
    w = m.weight(filters, channels // groups, kernel, kernel)
    b = m.weight(filters)
    pad = kernel // 2
    y: str = m.op("Conv", x, w, b, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[pad] * 4, group=groups)
    return m.op("Relu", y) if relu else y
