"""The suite: which kernels at which sizes. Shapes are chosen to span sizes of each kernel kind, not after any network."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from onnx import TensorProto

from edpc.calibration.micro import Micro

_Build = Callable[[Micro], Micro]
_ENTRY = "Sigmoid"  # a node that keeps what follows from reading a graph input


def suite() -> list[Micro]:
    """All micro-models, in the order of their families."""
    return [build(Micro(f"{family}{number}")) for family, builds in _FAMILIES.items() for number, build in enumerate(builds())]


def reduced_suite() -> list[Micro]:
    """Every third micro-model of each family: for a quick look, and for tests."""
    kept = [list(builds())[::3] for builds in _FAMILIES.values()]
    return [build(Micro(f"{family}{number}")) for family, some in zip(_FAMILIES, kept, strict=True) for number, build in enumerate(some)]


# --- convolutions ----------------------------------------------------------------------------------------------------------------


def _conv(m: Micro, x: str, channels: int, filters: int, kernel: int, stride: int = 1, groups: int = 1, relu: bool = True) -> str:
    w = m.weight(filters, channels // groups, kernel, kernel)
    b = m.weight(filters)
    pad = kernel // 2
    y: str = m.op(
        "Conv", x, w, b, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[pad] * 4, group=groups
    )
    return m.op("Relu", y) if relu else y


def _convs(kernel: int, *sizes: tuple[int, ...]) -> Iterator[_Build]:
    """Two convolutions each, (channels, filters, side, stride, batch): the first brings the blocked layout, the second is inside."""
    for channels, filters, side, *rest in sizes:
        stride, batch = (*rest, 1, 1)[:2]

        def build(m: Micro, c: int = channels, f: int = filters, h: int = side, s: int = stride, n: int = batch) -> Micro:
            x = m.op(_ENTRY, m.feed(n, c, h, h))
            x = _conv(m, x, c, c, 1)
            return m.done(_conv(m, x, c, f, kernel, s))

        yield build


def _direct() -> Iterator[_Build]:
    yield from _convs(3, (32, 32, 56), (64, 64, 28), (96, 96, 35), (128, 128, 28, 2), (128, 160, 14), (192, 192, 14), (256, 256, 14))
    yield from _convs(3, (256, 384, 13), (384, 256, 7), (512, 512, 7), (64, 96, 56, 2), (32, 64, 80), (64, 192, 28, 1, 4), (32, 48, 14, 1, 8))
    yield from _convs(5, (32, 64, 28), (48, 64, 14), (96, 256, 13))


def _pointwise() -> Iterator[_Build]:
    yield from _convs(1, (64, 256, 28), (256, 64, 28), (128, 512, 14), (512, 128, 14), (192, 64, 28), (480, 96, 14), (832, 256, 7))
    yield from _convs(1, (1024, 256, 7), (512, 1024, 7), (64, 64, 56), (32, 192, 56), (256, 512, 28, 2), (128, 128, 28, 1, 4))
    yield from _convs(1, (64, 128, 7, 1, 8), (96, 24, 28), (320, 640, 7), (32, 16, 14), (768, 192, 12))


def _depthwise() -> Iterator[_Build]:
    for channels, side, kernel, stride, batch in (
        *((32, 112, 3, 1, 1), (96, 56, 3, 2, 1), (192, 28, 3, 1, 1), (384, 14, 3, 1, 1), (576, 14, 3, 2, 1)),
        *((960, 7, 3, 1, 1), (128, 28, 5, 1, 1), (480, 14, 5, 1, 1), (64, 56, 3, 1, 4), (240, 14, 3, 1, 4)),
    ):

        def build(m: Micro, c: int = channels, h: int = side, k: int = kernel, s: int = stride, n: int = batch) -> Micro:
            x = _conv(m, m.op(_ENTRY, m.feed(n, c, h, h)), c, c, 1)
            return m.done(_conv(m, x, c, c, k, s, groups=c))

        yield build


def _first() -> Iterator[_Build]:
    for filters, side, kernel, stride, batch in (
        *((64, 224, 7, 2, 1), (32, 224, 3, 2, 1), (64, 112, 3, 1, 1), (96, 227, 11, 4, 1), (32, 160, 5, 2, 1), (64, 128, 3, 1, 1)),
        *((64, 96, 7, 2, 4), (24, 128, 3, 2, 4)),
    ):

        def build(m: Micro, f: int = filters, h: int = side, k: int = kernel, s: int = stride, n: int = batch) -> Micro:
            return m.done(_conv(m, m.feed(n, 3, h, h), 3, f, k, s))

        yield build


def _columns() -> Iterator[_Build]:
    """Channels that fill no blocks, and groups of a few channels."""
    for channels, filters, side, kernel, groups, batch in (
        *((20, 30, 28, 3, 1, 1), (50, 70, 14, 1, 1, 1), (90, 90, 14, 3, 1, 1), (100, 200, 28, 1, 1, 1), (60, 60, 28, 1, 4, 1)),
        *((120, 120, 14, 1, 4, 1), (240, 240, 7, 1, 4, 1), (180, 60, 28, 1, 3, 1), (36, 36, 28, 3, 2, 1), (300, 300, 7, 3, 1, 1)),
        *((60, 120, 14, 1, 4, 8), (84, 84, 14, 3, 1, 4), (28, 28, 56, 1, 2, 1), (140, 420, 14, 1, 4, 1), (420, 140, 7, 1, 4, 1)),
    ):

        def build(m: Micro, c: int = channels, f: int = filters, h: int = side, k: int = kernel, g: int = groups, n: int = batch) -> Micro:
            return m.done(_conv(m, m.op(_ENTRY, m.feed(n, c, h, h)), c, f, k, groups=g))

        yield build


def _residual() -> Iterator[_Build]:
    """Blocks as networks are built of: three convolutions and a sum."""
    for channels, side, batch in ((64, 28, 1), (128, 14, 1), (256, 14, 1), (256, 7, 1), (32, 56, 1), (96, 14, 4)):

        def build(m: Micro, c: int = channels, h: int = side, n: int = batch) -> Micro:
            x = _conv(m, m.op(_ENTRY, m.feed(n, c, h, h)), c, c, 3)
            y = _conv(m, _conv(m, x, c, c // 2, 1), c // 2, c, 3, relu=False)
            return m.done(m.op("Relu", m.op("Add", y, x)))

        yield build


# --- products --------------------------------------------------------------------------------------------------------------------


def _gemm() -> Iterator[_Build]:
    for rows, depth, columns in (
        *((8, 256, 256), (16, 512, 512), (32, 768, 768), (64, 512, 2048), (128, 256, 1024), (128, 768, 768), (196, 384, 384)),
        *((49, 1024, 1024), (100, 640, 2560), (256, 512, 512), (384, 192, 768), (32, 2048, 512), (8, 2048, 2048), (64, 128, 128)),
        *((8, 4096, 4096), (197, 768, 3072), (512, 128, 512), (24, 1536, 384)),
    ):

        def build(m: Micro, r: int = rows, k: int = depth, c: int = columns) -> Micro:
            x = m.op(_ENTRY, m.feed(r, k))
            return m.done(m.op("Add", m.op("MatMul", x, m.weight(k, c)), m.weight(c)))

        yield build


def _feed_forward() -> Iterator[_Build]:
    """Normalisation, two products with a Gelu between, and the residual, of three axes as in transformers."""
    for batch, tokens, width in ((1, 64, 256), (1, 128, 384), (2, 100, 512), (4, 48, 192)):

        def build(m: Micro, n: int = batch, t: int = tokens, d: int = width) -> Micro:
            x = m.op(_ENTRY, m.feed(n, t, d))
            y = m.op("LayerNormalization", x, m.weight(d), m.weight(d), axis=-1, epsilon=1e-5)
            y = m.op("Gelu", m.op("Add", m.op("MatMul", y, m.weight(d, 4 * d)), m.weight(4 * d)))
            return m.done(m.op("Add", m.op("Add", m.op("MatMul", y, m.weight(4 * d, d)), m.weight(d)), x))

        yield build


def _gemv() -> Iterator[_Build]:
    for depth, columns in ((256, 256), (512, 1000), (1024, 1000), (1280, 1000), (2048, 1000), (2048, 2048), (4096, 1024), (4096, 4096)):

        def build(m: Micro, k: int = depth, c: int = columns) -> Micro:
            x = m.op(_ENTRY, m.feed(1, k))
            return m.done(m.op("Gemm", x, m.weight(c, k), m.weight(c), transB=1))

        yield build


def _batched() -> Iterator[_Build]:
    """Scores, softmax and values of attention."""
    for heads, tokens, width in ((4, 64, 32), (8, 128, 64), (12, 100, 64), (6, 196, 32), (16, 49, 32), (32, 64, 64), (2, 256, 64)):

        def build(m: Micro, h: int = heads, t: int = tokens, d: int = width) -> Micro:
            q, k, v = (m.op(_ENTRY, m.feed(1, h, t, d)) for _ in range(3))
            s = m.op("MatMul", q, m.op("Transpose", k, perm=[0, 1, 3, 2]))
            p = m.op("Softmax", m.op("Mul", s, m.constant(np.array(0.125, np.float32))), axis=-1)
            return m.done(m.op("MatMul", p, v))

        yield build


def _plain_batched() -> Iterator[_Build]:
    for batch, rows, depth, columns in ((8, 64, 64, 64), (12, 128, 64, 128), (4, 197, 197, 64), (64, 49, 32, 49), (16, 16, 128, 256)):

        def build(m: Micro, b: int = batch, r: int = rows, k: int = depth, c: int = columns) -> Micro:
            return m.done(m.op("MatMul", m.op(_ENTRY, m.feed(b, r, k)), m.op(_ENTRY, m.feed(b, k, c))))

        yield build


def _integer() -> Iterator[_Build]:
    for rows, depth, columns in ((16, 256, 256), (64, 512, 512), (128, 768, 768), (128, 256, 1024)):

        def build(m: Micro, r: int = rows, k: int = depth, c: int = columns) -> Micro:
            x, scale, zero = m.op("DynamicQuantizeLinear", m.op(_ENTRY, m.feed(r, k)), results=3)
            y = m.op("MatMulInteger", x, m.weight(k, c, dtype=TensorProto.INT8), zero)
            return m.done(m.op("Mul", m.op("Cast", y, to=TensorProto.FLOAT), scale))

        yield build


def _quantized() -> Iterator[_Build]:
    for elements in (4096, 65536, 1048576):

        def build(m: Micro, n: int = elements) -> Micro:
            scale, zero = m.constant(np.array(0.02, np.float32)), m.constant(np.array(3, np.uint8))
            q = m.op("QuantizeLinear", m.op(_ENTRY, m.feed(1, n)), scale, zero)
            return m.done(m.op("DequantizeLinear", m.op("Reshape", q, m.ints(n)), scale, zero))

        yield build


def _recurrent() -> Iterator[_Build]:
    for steps, width, hidden in ((8, 128, 128), (16, 256, 256), (32, 64, 128)):

        def build(m: Micro, t: int = steps, d: int = width, h: int = hidden) -> Micro:
            x = m.op(_ENTRY, m.feed(t, 1, d))
            w, r, b = m.weight(1, 4 * h, d), m.weight(1, 4 * h, h), m.weight(1, 8 * h)
            y, _, _ = m.op("LSTM", x, w, r, b, results=3, hidden_size=h)
            return m.done(y)

        yield build


# --- what is bound by the tensors it moves ------------------------------------------------------------------------------------------

_ELEMENTS = (2048, 32768, 200704, 1605632)


def _unary() -> Iterator[_Build]:
    for op_type in ("Relu", "Neg", "Abs"):
        for elements in _ELEMENTS:

            def build(m: Micro, kind: str = op_type, n: int = elements) -> Micro:
                return m.done(m.op(kind, m.op(_ENTRY, m.feed(1, n))))

            yield build


def _binary() -> Iterator[_Build]:
    for op_type in ("Add", "Mul", "Sub"):
        for elements in _ELEMENTS:

            def build(m: Micro, kind: str = op_type, n: int = elements) -> Micro:
                return m.done(m.op(kind, m.op(_ENTRY, m.feed(1, n)), m.op(_ENTRY, m.feed(1, n))))

            yield build


def _broadcast() -> Iterator[_Build]:
    for channels, side in ((64, 56), (256, 28), (512, 14)):

        def build(m: Micro, c: int = channels, h: int = side) -> Micro:
            x = m.op(_ENTRY, m.feed(1, c, h, h))
            return m.done(m.op("Add", m.op("Mul", x, m.weight(c, 1, 1)), m.weight(c, 1, 1)))

        yield build


def _sums() -> Iterator[_Build]:
    for elements in (25088, 200704, 802816):

        def build(m: Micro, n: int = elements) -> Micro:
            return m.done(m.op("Sum", m.op(_ENTRY, m.feed(1, n)), m.op(_ENTRY, m.feed(1, n))))

        yield build


def _transcendental() -> Iterator[_Build]:
    for op_type in ("Sigmoid", "Tanh", "Exp", "Sqrt", "HardSwish"):
        for elements in (4096, 100352, 802816):

            def build(m: Micro, kind: str = op_type, n: int = elements) -> Micro:
                return m.done(m.op(kind, m.op("Relu", m.op("Abs", m.feed(1, n)))))

            yield build


def _gelu() -> Iterator[_Build]:
    for rows, columns in ((16, 512), (64, 1024), (128, 3072), (196, 1536), (512, 2048)):

        def build(m: Micro, r: int = rows, c: int = columns) -> Micro:
            return m.done(m.op("Gelu", m.op(_ENTRY, m.feed(r, c))))

        yield build


def _softmax() -> Iterator[_Build]:
    for rows, columns in ((1, 1000), (8, 1000), (512, 64), (1536, 128), (1200, 197), (3072, 49), (128, 2048)):

        def build(m: Micro, r: int = rows, c: int = columns) -> Micro:
            return m.done(m.op("Softmax", m.op(_ENTRY, m.feed(r, c)), axis=-1))

        yield build


def _layer_norm() -> Iterator[_Build]:
    for rows, columns in ((16, 256), (128, 768), (197, 768), (1024, 96), (3136, 96), (64, 2048), (512, 512)):

        def build(m: Micro, r: int = rows, c: int = columns) -> Micro:
            x = m.op(_ENTRY, m.feed(1, r, c))
            return m.done(m.op("LayerNormalization", x, m.weight(c), m.weight(c), axis=-1, epsilon=1e-5))

        yield build


def _skip_layer_norm() -> Iterator[_Build]:
    for rows, columns in ((32, 512), (128, 768), (256, 384), (1024, 256)):

        def build(m: Micro, r: int = rows, c: int = columns) -> Micro:
            x = m.op("Add", m.op(_ENTRY, m.feed(1, r, c)), m.op(_ENTRY, m.feed(1, r, c)))
            return m.done(m.op("LayerNormalization", x, m.weight(c), m.weight(c), axis=-1, epsilon=1e-5))

        yield build


def _local_norm() -> Iterator[_Build]:
    for channels, side in ((64, 28), (96, 27), (128, 27), (64, 56)):

        def build(m: Micro, c: int = channels, h: int = side) -> Micro:
            return m.done(m.op("LRN", m.op(_ENTRY, m.feed(1, c, h, h)), size=5))

        yield build


def _batch_norm() -> Iterator[_Build]:
    for channels, side in ((64, 56), (128, 28), (512, 14), (256, 7)):

        def build(m: Micro, c: int = channels, h: int = side) -> Micro:
            x = _conv(m, m.op(_ENTRY, m.feed(1, c, h, h)), c, c, 1)
            y = m.op("BatchNormalization", x, *(m.weight(c) for _ in range(4)))
            return m.done(_conv(m, m.op("Relu", y), c, c, 1))

        yield build


def _reduction() -> Iterator[_Build]:
    for rows, columns in ((64, 512), (196, 768), (1024, 256), (128, 4096)):

        def build(m: Micro, r: int = rows, c: int = columns) -> Micro:
            x = m.op(_ENTRY, m.feed(1, r, c))
            return m.done(m.op("ReduceMean", x, m.ints(-1)), m.op("ReduceSum", x, m.ints(1)))

        yield build


def _pool() -> Iterator[_Build]:
    for kind, channels, side, kernel, stride, batch in (
        *(("MaxPool", 64, 112, 3, 2, 1), ("MaxPool", 192, 28, 3, 1, 1), ("MaxPool", 256, 28, 2, 2, 1), ("MaxPool", 480, 14, 3, 1, 1)),
        *(("AveragePool", 128, 28, 2, 2, 1), ("AveragePool", 64, 35, 3, 1, 1), ("AveragePool", 512, 7, 7, 1, 1), ("MaxPool", 64, 28, 3, 2, 4)),
    ):

        def build(m: Micro, op: str = kind, c: int = channels, h: int = side, k: int = kernel, s: int = stride, n: int = batch) -> Micro:
            x = _conv(m, m.op(_ENTRY, m.feed(n, c, h, h)), c, c, 1)
            pads = [k // 2 if s == 1 and k < h else 0] * 4
            return m.done(m.op(op, x, kernel_shape=[k] * 2, strides=[s] * 2, pads=pads))

        yield build
    for channels, side in ((512, 7), (1280, 7), (256, 14)):

        def mean(m: Micro, c: int = channels, h: int = side) -> Micro:
            return m.done(m.op("GlobalAveragePool", _conv(m, m.op(_ENTRY, m.feed(1, c, h, h)), c, c, 1)))

        yield mean


# --- copies --------------------------------------------------------------------------------------------------------------------------


def _concat() -> Iterator[_Build]:
    for parts, channels, side, batch in ((2, 64, 28, 1), (4, 64, 14, 1), (2, 128, 56, 1), (3, 32, 28, 4), (4, 96, 28, 1), (2, 256, 7, 1)):

        def build(m: Micro, p: int = parts, c: int = channels, h: int = side, n: int = batch) -> Micro:
            x = _conv(m, m.op(_ENTRY, m.feed(n, c, h, h)), c, c, 1)
            return m.done(m.op("Concat", *(_conv(m, x, c, c, 1) for _ in range(p)), axis=1))

        yield build
    for rows, columns in ((64, 64), (256, 512), (2048, 64)):

        def flat(m: Micro, r: int = rows, c: int = columns) -> Micro:
            return m.done(m.op("Concat", m.op(_ENTRY, m.feed(r, c)), m.op(_ENTRY, m.feed(r, c)), axis=-1))

        yield flat


def _split() -> Iterator[_Build]:
    for shape, axis, parts in (((64, 768), 1, 3), ((1, 256, 28, 28), 1, 2), ((128, 2304), 1, 3), ((1024, 128), 1, 2), ((1, 64, 56, 56), 1, 4)):

        def build(m: Micro, s: tuple[int, ...] = shape, a: int = axis, p: int = parts) -> Micro:
            return m.done(*m.op("Split", m.op(_ENTRY, m.feed(*s)), results=p, axis=a, num_outputs=p))

        yield build


def _slice() -> Iterator[_Build]:
    for shape in ((64, 256), (128, 1024), (1024, 1024)):

        def build(m: Micro, s: tuple[int, int] = shape) -> Micro:
            x = m.op(_ENTRY, m.feed(*s))
            half = m.op("Slice", x, m.ints(0), m.ints(s[1] // 2), m.ints(1))
            pad = m.op("Pad", x, m.ints(0, 0, 0, 8))
            return m.done(half, pad, m.op("Expand", m.op("Unsqueeze", half, m.ints(0)), m.ints(2, s[0], s[1] // 2)))

        yield build


def _transpose() -> Iterator[_Build]:
    for shape, perm in (
        *(((1, 128, 12, 64), (0, 2, 1, 3)), ((1, 196, 8, 32), (0, 2, 1, 3)), ((1, 4, 28, 784), (0, 2, 1, 3)), ((1, 64, 16, 64), (0, 2, 1, 3))),
        *(((1, 4, 60, 196), (0, 2, 1, 3)), ((1, 3, 40, 3136), (0, 2, 1, 3)), ((4, 100, 8, 64), (0, 2, 1, 3)), ((8, 4, 50, 49), (0, 2, 1, 3))),
    ):

        def block(m: Micro, s: tuple[int, ...] = shape, p: tuple[int, ...] = perm) -> Micro:
            return m.done(m.op("Transpose", m.op(_ENTRY, m.feed(*s)), perm=list(p)))

        yield block
    for shape, perm in (
        *(((1, 12, 128, 64), (0, 1, 3, 2)), ((1, 96, 56, 56), (0, 2, 3, 1)), ((1, 49, 512), (0, 2, 1)), ((1, 14, 14, 384), (0, 3, 1, 2))),
        *(((256, 256), (1, 0)), ((1, 8, 196, 32), (0, 1, 3, 2))),
    ):

        def inner(m: Micro, s: tuple[int, ...] = shape, p: tuple[int, ...] = perm) -> Micro:
            return m.done(m.op("Transpose", m.op(_ENTRY, m.feed(*s)), perm=list(p)))

        yield inner


def _reorder() -> Iterator[_Build]:
    """Into the blocked layout and out of it, three times in a row, between operators that do not know it."""
    for channels, side, batch in ((64, 56, 1), (128, 28, 1), (256, 14, 1), (512, 7, 1), (32, 28, 4)):

        def build(m: Micro, c: int = channels, h: int = side, n: int = batch) -> Micro:
            x = m.op("Tanh", m.feed(n, c, h, h))
            return m.done(m.op("Tanh", _conv(m, m.op("Tanh", _conv(m, x, c, c, 1, relu=False)), c, c, 1, relu=False)))

        yield build


def _gather() -> Iterator[_Build]:
    for rows, columns, picked in ((1000, 256, 64), (8000, 768, 128), (5000, 64, 512)):

        def build(m: Micro, r: int = rows, c: int = columns, p: int = picked) -> Micro:
            return m.done(m.op("Gather", m.weight(r, c), m.feed(1, p, dtype=TensorProto.INT64)))

        yield build


def _views() -> Iterator[_Build]:
    for elements in (1024, 65536, 802816):

        def build(m: Micro, n: int = elements) -> Micro:
            x = m.op(_ENTRY, m.feed(1, n))
            a, b = m.op("Reshape", x, m.ints(2, n // 2)), m.op("Unsqueeze", x, m.ints(0))
            return m.done(m.op("Abs", a), m.op("Neg", b), m.op("Relu", m.op("Squeeze", m.op("Abs", b), m.ints(0))))

        yield build


_FAMILIES: dict[str, Callable[[], Iterator[_Build]]] = {
    "direct": _direct,
    "pointwise": _pointwise,
    "depthwise": _depthwise,
    "first": _first,
    "columns": _columns,
    "residual": _residual,
    "gemm": _gemm,
    "ffn": _feed_forward,
    "gemv": _gemv,
    "attention": _batched,
    "batched": _plain_batched,
    "integer": _integer,
    "quantized": _quantized,
    "recurrent": _recurrent,
    "unary": _unary,
    "binary": _binary,
    "broadcast": _broadcast,
    "sum": _sums,
    "transcendental": _transcendental,
    "gelu": _gelu,
    "softmax": _softmax,
    "layernorm": _layer_norm,
    "skipnorm": _skip_layer_norm,
    "lrn": _local_norm,
    "batchnorm": _batch_norm,
    "reduction": _reduction,
    "pool": _pool,
    "concat": _concat,
    "split": _split,
    "slice": _slice,
    "transpose": _transpose,
    "reorder": _reorder,
    "gather": _gather,
    "view": _views,
}
