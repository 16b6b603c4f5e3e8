"""Builds the sample models of `tests/models`: small, without weights, by onnx.helper alone.

    python -m tools.sample_models [DIRECTORY]

Every weight comes out of a ConstantOfShape node, so a file holds shapes and no data, and still runs in any ONNX runtime.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, helper

OPSET = 20
FLOAT = TensorProto.FLOAT


class Net:
    """Writes one ONNX graph, node by node; methods answer the name of the value they made."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.scope: list[str] = []

    def path(self, name: str) -> str:
        """The name under the current module path."""
        return "/".join([*self.scope, name])

    def input(self, name: str, shape: Sequence[int | str], dtype: int = FLOAT) -> str:
        """Declares a graph input."""
        self.inputs.append(helper.make_tensor_value_info(name, dtype, list(shape)))
        return name

    def integers(self, name: str, values: Sequence[int]) -> str:
        """A small integer tensor: axes, shapes, indices."""
        path = self.path(name)
        self.initializers.append(helper.make_tensor(path, TensorProto.INT64, [len(values)], list(values)))
        return path

    def scalar(self, name: str, value: float) -> str:
        """A scalar constant."""
        path = self.path(name)
        self.initializers.append(helper.make_tensor(path, FLOAT, [], [value]))
        return path

    def weight(self, name: str, *shape: int) -> str:
        """A weight of that shape, produced by ConstantOfShape."""
        dims = self.integers(f"{name}.shape", shape)
        value = helper.make_tensor("value", FLOAT, [1], [0.01])
        return self.op("ConstantOfShape", name, dims, value=value)

    def op(self, op_type: str, name: str, *operands: str, **attributes: Any) -> str:
        """Appends a node of one output; answers its name."""
        path = self.path(name)
        self.nodes.append(helper.make_node(op_type, list(operands), [f"{path}.out"], name=path, **attributes))
        return f"{path}.out"

    def conv(self, name: str, x: str, c_in: int, c_out: int, kernel: int, stride: int = 1, groups: int = 1) -> str:
        """A convolution without bias, padded to keep the size at stride one."""
        w = self.weight(f"{name}.weight", c_out, c_in // groups, kernel, kernel)
        pad = kernel // 2
        return self.op("Conv", name, x, w, strides=[stride] * 2, pads=[pad] * 4, group=groups, kernel_shape=[kernel] * 2)

    def batch_norm(self, name: str, x: str, channels: int) -> str:
        """Batch normalisation at inference."""
        parts = [self.weight(f"{name}.{p}", channels) for p in ("weight", "bias", "mean", "var")]
        return self.op("BatchNormalization", name, x, *parts)

    def linear(self, name: str, x: str, n_in: int, n_out: int) -> str:
        """A matrix product and a bias, as two nodes."""
        y = self.op("MatMul", f"{name}/MatMul", x, self.weight(f"{name}.weight", n_in, n_out))
        return self.op("Add", f"{name}/Add", y, self.weight(f"{name}.bias", n_out))

    def layer_norm(self, name: str, x: str, width: int) -> str:
        """Layer normalisation over the last axis."""
        scale, bias = self.weight(f"{name}.weight", width), self.weight(f"{name}.bias", width)
        return self.op("LayerNormalization", name, x, scale, bias, axis=-1)

    def heads(self, name: str, x: str, tokens: Sequence[int], heads: int, width: int) -> str:
        """[batch, tokens, heads * width] as [batch, heads, tokens, width]."""
        shape = self.integers(f"{name}.shape", [*tokens, heads, width])
        return self.op("Transpose", f"{name}/Transpose", self.op("Reshape", f"{name}/Reshape", x, shape), perm=[0, 2, 1, 3])

    def model(self, *outputs: tuple[str, Sequence[int | str]]) -> onnx.ModelProto:
        """The checked model."""
        results = [helper.make_tensor_value_info(name, FLOAT, list(shape)) for name, shape in outputs]
        graph = helper.make_graph(self.nodes, self.name, self.inputs, results, self.initializers)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="edpc sample models")
        model.ir_version = 10
        onnx.checker.check_model(model, full_check=True)
        return model


def linear_bias_relu() -> onnx.ModelProto:
    """The chain of the README: 64 tokens, 256 to 512 features."""
    net = Net("linear_bias_relu")
    y = net.linear("fc", net.input("x", [64, 256]), 256, 512)
    return net.model((net.op("Relu", "relu", y), [64, 512]))


def resnet18() -> onnx.ModelProto:
    """ResNet-18 at 224x224 with its batch norms: 69 operators, one of them the flattening view."""
    net = Net("resnet18")
    x = net.input("image", ["batch", 3, 224, 224])
    x = net.op("Relu", "relu", net.batch_norm("bn1", net.conv("conv1", x, 3, 64, 7, 2), 64))
    x = net.op("MaxPool", "maxpool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    channels = 64
    for layer, width in enumerate((64, 128, 256, 512), 1):
        for block in range(2):
            net.scope = [f"layer{layer}", str(block)]
            stride = 2 if layer > 1 and block == 0 else 1
            y = net.op("Relu", "relu1", net.batch_norm("bn1", net.conv("conv1", x, channels, width, 3, stride), width))
            y = net.batch_norm("bn2", net.conv("conv2", y, width, width, 3), width)
            if stride == 2:
                x = net.batch_norm("downsample/bn", net.conv("downsample/conv", x, channels, width, 1, 2), width)
            x = net.op("Relu", "relu2", net.op("Add", "add", y, x))
            channels = width
    net.scope = []
    x = net.op("Flatten", "flatten", net.op("GlobalAveragePool", "avgpool", x))
    y = net.op("Gemm", "fc", x, net.weight("fc.weight", 1000, 512), net.weight("fc.bias", 1000), transB=1)
    return net.model((y, ["batch", 1000]))


def mobilenet_v2() -> onnx.ModelProto:
    """MobileNetV2 at 224x224, width 1.0, with its batch norms and ReLU6 as Clip."""
    net = Net("mobilenet_v2")
    low, high = net.scalar("zero", 0.0), net.scalar("six", 6.0)

    def block(name: str, x: str, c_in: int, c_out: int, kernel: int, stride: int, groups: int, clip: bool) -> str:
        y = net.batch_norm(f"{name}.bn", net.conv(f"{name}.conv", x, c_in, c_out, kernel, stride, groups), c_out)
        return net.op("Clip", f"{name}.relu6", y, low, high) if clip else y

    x = block("stem", net.input("image", ["batch", 3, 224, 224]), 3, 32, 3, 2, 1, True)
    channels = 32
    plan = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]
    for stage, (expand, width, repeats, first_stride) in enumerate(plan, 1):
        for number in range(repeats):
            net.scope = [f"stage{stage}", str(number)]
            stride = first_stride if number == 0 else 1
            hidden = channels * expand
            y = x if expand == 1 else block("expand", x, channels, hidden, 1, 1, 1, True)
            y = block("depthwise", y, hidden, hidden, 3, stride, hidden, True)
            y = block("project", y, hidden, width, 1, 1, 1, False)
            x = net.op("Add", "add", y, x) if stride == 1 and channels == width else y
            channels = width
    net.scope = []
    x = block("head", x, channels, 1280, 1, 1, 1, True)
    x = net.op("Flatten", "flatten", net.op("GlobalAveragePool", "avgpool", x))
    y = net.op(
        "Gemm", "classifier", x, net.weight("classifier.weight", 1000, 1280), net.weight("classifier.bias", 1000), transB=1
    )
    return net.model((y, ["batch", 1000]))


def transformer_layer(net: Net, x: str, tokens: int, width: int, heads: int, mask: str | None) -> str:
    """One post-norm encoder layer: attention, residual, norm, feed-forward, residual, norm."""
    shape, head = [0, tokens], width // heads
    q, k, v = (
        net.heads(f"attention/{p}", net.linear(f"attention/{p}", x, width, width), shape, heads, head)
        for p in ("query", "key", "value")
    )
    scores = net.op("MatMul", "attention/qk", q, net.op("Transpose", "attention/kT", k, perm=[0, 1, 3, 2]))
    scores = net.op("Mul", "attention/scale", scores, net.scalar("attention/scale.factor", head**-0.5))
    if mask is not None:
        scores = net.op("Add", "attention/mask", scores, mask)
    y = net.op("MatMul", "attention/av", net.op("Softmax", "attention/softmax", scores, axis=-1), v)
    y = net.op("Transpose", "attention/merge/Transpose", y, perm=[0, 2, 1, 3])
    y = net.op("Reshape", "attention/merge/Reshape", y, net.integers("attention/merge.shape", [0, tokens, width]))
    y = net.op("Add", "attention/residual", net.linear("attention/output", y, width, width), x)
    x = net.layer_norm("attention/norm", y, width)
    y = net.op("Gelu", "ffn/gelu", net.linear("ffn/up", x, width, 4 * width))
    y = net.op("Add", "ffn/residual", net.linear("ffn/down", y, 4 * width, width), x)
    return net.layer_norm("ffn/norm", y, width)


def bert(layers: int, width: int, heads: int, tokens: int, vocabulary: int) -> onnx.ModelProto:
    """A BERT encoder: embeddings and `layers` layers; MACs are those of its matrix products."""
    net = Net(f"bert_{layers}x{width}")
    ids = net.input("input_ids", ["batch", tokens], TensorProto.INT64)
    mask = net.input("attention_bias", ["batch", 1, 1, tokens])
    net.scope = ["embeddings"]
    x = net.op("Gather", "word", net.weight("word.weight", vocabulary, width), ids)
    x = net.layer_norm("norm", net.op("Add", "position", x, net.weight("position.weight", tokens, width)), width)
    for layer in range(layers):
        net.scope = ["encoder", str(layer)]
        x = transformer_layer(net, x, tokens, width, heads, mask)
    net.scope = []
    return net.model((x, ["batch", tokens, width]))


def quantized_cnn() -> onnx.ModelProto:
    """Two int8 convolutions in QDQ form and a classifier left in floating point."""
    net = Net("quantized_cnn")
    scale = net.scalar("scale", 0.02)

    def int8(name: str, x: str) -> str:
        zero = net.path(f"{name}.zero")
        net.initializers.append(helper.make_tensor(zero, TensorProto.INT8, [], [0]))
        return net.op("DequantizeLinear", f"{name}/dq", net.op("QuantizeLinear", f"{name}/q", x, scale, zero), scale, zero)

    def stored(name: str, *shape: int) -> str:
        dims, value = net.integers(f"{name}.shape", shape), helper.make_tensor("value", TensorProto.INT8, [1], [1])
        zero = net.path(f"{name}.zero")
        net.initializers.append(helper.make_tensor(zero, TensorProto.INT8, [], [0]))
        return net.op("DequantizeLinear", f"{name}/dq", net.op("ConstantOfShape", name, dims, value=value), scale, zero)

    x, channels = int8("image", net.input("x", [1, 3, 64, 64])), 3
    for number, width in enumerate((32, 64), 1):
        w = stored(f"conv{number}.weight", width, channels, 3, 3)
        y = net.op("Conv", f"conv{number}", x, w, pads=[1] * 4, strides=[2, 2], kernel_shape=[3, 3])
        x, channels = int8(f"act{number}", net.op("Relu", f"relu{number}", y)), width
    x = net.op("Flatten", "flatten", net.op("GlobalAveragePool", "avgpool", x))
    y = net.op("Gemm", "fc", x, net.weight("fc.weight", 10, 64), net.weight("fc.bias", 10), transB=1)
    return net.model((y, [1, 10]))


MODELS: dict[str, Callable[[], onnx.ModelProto]] = {
    "linear_bias_relu": linear_bias_relu,
    "resnet18": resnet18,
    "mobilenet_v2": mobilenet_v2,
    "bert_base": lambda: bert(12, 768, 12, 128, 30522),
    "bert_tiny": lambda: bert(2, 128, 2, 32, 1000),
    "quantized_cnn": quantized_cnn,
}


def main(directory: str = "tests/models") -> None:
    """Writes every model; the same program writes the same bytes."""
    folder = Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    for name, build in MODELS.items():
        (folder / f"{name}.onnx").write_bytes(build().SerializeToString(deterministic=True))


if __name__ == "__main__":
    main(*sys.argv[1:])
