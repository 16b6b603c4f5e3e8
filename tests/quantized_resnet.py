"""ResNet-50 as TensorRT is given it for int8: static scales, batch norms folded, quantised between convolutions."""

from __future__ import annotations

import onnx
from onnx import TensorProto, helper


class Quantized:
    """Adds convolutions whose operands and results are quantised; weights are shapes only (external, never read)."""

    def __init__(self, batch: int) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = [
            helper.make_tensor("scale", TensorProto.FLOAT, (), [0.1]),
            helper.make_tensor("zero", TensorProto.INT8, (), [0]),
        ]
        self.x = helper.make_tensor_value_info("image", TensorProto.INT8, (batch, 3, 224, 224))

    def add(self, kind: str, *inputs: str, **options: object) -> str:
        name = f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **options))
        return name

    def _weight(self, dtype: int, *shape: int) -> str:
        tensor = onnx.TensorProto(name=f"w{len(self.weights)}", data_type=dtype, dims=shape)
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="absent.bin")
        self.weights.append(tensor)
        return tensor.name

    def wide(self, x: str) -> str:
        return self.add("DequantizeLinear", x, "scale", "zero")

    def narrow(self, x: str) -> str:
        return self.add("QuantizeLinear", x, "scale", "zero")

    def conv(self, x: str, inputs: int, filters: int, kernel: int, stride: int) -> str:
        """A convolution of an 8-bit tensor, its result not yet narrowed."""
        weight = self.wide(self._weight(TensorProto.INT8, filters, inputs, kernel, kernel))
        bias = self._weight(TensorProto.FLOAT, filters)
        pad = kernel // 2
        return self.add("Conv", self.wide(x), weight, bias, strides=[stride, stride], pads=[pad] * 4)

    def block(self, x: str, inputs: int, width: int, stride: int) -> str:
        """Bottleneck with its stride in the 3 x 3 convolution."""
        y = self.narrow(self.add("Relu", self.conv(x, inputs, width, 1, 1)))
        y = self.narrow(self.add("Relu", self.conv(y, width, width, 3, stride)))
        y = self.conv(y, width, 4 * width, 1, 1)
        if inputs != 4 * width or stride != 1:
            x = self.narrow(self.conv(x, inputs, 4 * width, 1, stride))
        return self.narrow(self.add("Relu", self.add("Add", y, self.wide(x))))

    def linear(self, x: str, inputs: int, outputs: int) -> str:
        weight = self.wide(self._weight(TensorProto.INT8, outputs, inputs))
        return self.add("Gemm", self.wide(x), weight, self._weight(TensorProto.FLOAT, outputs), transB=1)


def resnet50_int8(batch: int) -> onnx.ModelProto:
    """The network, without weights."""
    net = Quantized(batch)
    x = net.narrow(net.add("Relu", net.conv("image", 3, 64, 7, 2)))
    x = net.add("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    inputs = 64
    for width, count, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for number in range(count):
            x = net.block(x, inputs, width, stride if number == 0 else 1)
            inputs = 4 * width
    x = net.narrow(net.add("GlobalAveragePool", net.wide(x)))
    out = net.linear(net.add("Flatten", x), 2048, 1000)
    y = helper.make_tensor_value_info(out, TensorProto.FLOAT, (batch, 1000))
    graph = helper.make_graph(net.nodes, "resnet50_int8", [net.x], [y], net.weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
