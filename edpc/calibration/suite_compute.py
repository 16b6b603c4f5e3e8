"""Micro-models of kernels whose time is mostly arithmetic or weights: convolutions and products."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from onnx import TensorProto

from edpc.calibration.micro import ENTRY, Build, Micro, conv

# --- convolutions ---


def _convs(kernel: int, *sizes: tuple[int, ...]) -> Iterator[Build]:
    """Two convolutions for each (channels, filters, side, stride, batch): the first brings the blocked layout."""
    for channels, filters, side, *rest in sizes:
        stride, batch = (*rest, 1, 1)[:2]

        def build(m: Micro, c: int = channels, f: int = filters, h: int = side, s: int = stride, n: int = batch) -> Micro:
            x = m.op(ENTRY, m.feed(n, c, h, h))
            x = conv(m, x, c, c, 1)
            return m.done(conv(m, x, c, f, kernel, s))

        yield build


def _direct() -> Iterator[Build]:
    yield from _convs(
        3, (32, 32, 56), (64, 64, 28), (96, 96, 35), (128, 128, 28, 2), (128, 160, 14), (192, 192, 14), (256, 256, 14)
    )
    yield from _convs(
        3,
        (256, 384, 13),
        (384, 256, 7),
        (512, 512, 7),
        (64, 96, 56, 2),
        (32, 64, 80),
        (64, 96, 14, 1, 4),
        (32, 48, 14, 1, 8),
        (16, 32, 56, 1, 8),
        (16, 16, 112, 1, 2),
        (48, 48, 60, 1, 6),
    )
    yield from _convs(5, (32, 64, 28), (48, 64, 14), (96, 256, 13))


def _pointwise() -> Iterator[Build]:
    yield from _convs(
        1, (64, 256, 28), (256, 64, 28), (128, 512, 14), (512, 128, 14), (192, 64, 28), (480, 96, 14), (832, 256, 7)
    )
    yield from _convs(1, (1024, 256, 7), (512, 1024, 7), (64, 64, 56), (32, 192, 56), (256, 512, 28, 2), (128, 128, 28, 1, 4))
    yield from _convs(
        1,
        (64, 128, 7, 1, 8),
        (16, 96, 56, 1, 8),
        (64, 64, 56, 1, 6),
        (24, 64, 80, 1, 4),
        (96, 24, 28),
        (320, 640, 7),
        (32, 16, 14),
        (768, 192, 12),
        (48, 144, 60, 1, 6),
    )


def _depthwise() -> Iterator[Build]:
    for channels, side, kernel, stride, batch in (
        (32, 112, 3, 1, 1),
        (96, 56, 3, 2, 1),
        (192, 28, 3, 1, 1),
        (384, 14, 3, 1, 1),
        (576, 14, 3, 2, 1),
        (960, 7, 3, 1, 1),
        (128, 28, 5, 1, 1),
        (480, 14, 5, 1, 1),
        (64, 56, 3, 1, 4),
        (240, 14, 3, 1, 4),
        (96, 56, 3, 1, 8),
        (64, 112, 3, 1, 2),
        (80, 104, 3, 2, 6),
        (144, 60, 3, 2, 6),
        (128, 60, 3, 1, 6),
    ):

        def build(m: Micro, c: int = channels, h: int = side, k: int = kernel, s: int = stride, n: int = batch) -> Micro:
            x = conv(m, m.op(ENTRY, m.feed(n, c, h, h)), c, c, 1)
            return m.done(conv(m, x, c, c, k, s, groups=c))

        yield build


def _activated() -> Iterator[Build]:
    """An expansion and a depthwise convolution whose results are clipped, and a first convolution."""
    for channels, filters, side in ((16, 96, 56), (24, 144, 28), (64, 384, 14), (160, 960, 7)):

        def build(m: Micro, c: int = channels, f: int = filters, h: int = side) -> Micro:
            x = conv(m, m.op(ENTRY, m.feed(1, c, h, h)), c, c, 1)
            x = _clipped(m, conv(m, x, c, f, 1, relu=False))
            return m.done(_clipped(m, conv(m, x, f, f, 3, groups=f, relu=False)))

        yield build
    for filters, side in ((32, 112), (48, 64)):

        def first(m: Micro, f: int = filters, h: int = side) -> Micro:
            return m.done(_clipped(m, conv(m, m.feed(1, 3, 2 * h, 2 * h), 3, f, 3, 2, relu=False)))

        yield first
    for channels, side in ((32, 28), (64, 14), (24, 40)):

        def full(m: Micro, c: int = channels, h: int = side) -> Micro:
            x = conv(m, m.op(ENTRY, m.feed(1, c, h, h)), c, c, 1)
            return m.done(m.op("Sigmoid", conv(m, x, c, c, 3, relu=False)))

        yield full


def _clipped(m: Micro, x: str) -> str:
    low, high = (m.constant(np.array(edge, np.float32)) for edge in (0.0, 6.0))
    y: str = m.op("Clip", x, low, high)
    return y


def _first() -> Iterator[Build]:
    for filters, side, kernel, stride, batch in (
        (64, 224, 7, 2, 1),
        (32, 224, 3, 2, 1),
        (64, 112, 3, 1, 1),
        (96, 227, 11, 4, 1),
        (32, 160, 5, 2, 1),
        (64, 128, 3, 1, 1),
        (64, 96, 7, 2, 4),
        (24, 128, 3, 2, 4),
        (48, 200, 7, 2, 6),
        (32, 176, 3, 1, 6),
    ):

        def build(m: Micro, f: int = filters, h: int = side, k: int = kernel, s: int = stride, n: int = batch) -> Micro:
            return m.done(conv(m, m.feed(n, 3, h, h), 3, f, k, s))

        yield build


def _columns() -> Iterator[Build]:
    """Channels that fill no blocks, and groups of a few channels."""
    for channels, filters, side, kernel, groups, batch in (
        (20, 30, 28, 3, 1, 1),
        (50, 70, 14, 1, 1, 1),
        (90, 90, 14, 3, 1, 1),
        (100, 200, 28, 1, 1, 1),
        (60, 60, 28, 1, 4, 1),
        (120, 120, 14, 1, 4, 1),
        (240, 240, 7, 1, 4, 1),
        (180, 60, 28, 1, 3, 1),
        (36, 36, 28, 3, 2, 1),
        (300, 300, 7, 3, 1, 1),
        (60, 120, 14, 1, 4, 8),
        (84, 84, 14, 3, 1, 4),
        (28, 28, 56, 1, 2, 1),
        (140, 420, 14, 1, 4, 1),
        (420, 140, 7, 1, 4, 1),
        (32, 120, 52, 1, 4, 6),
        (144, 144, 30, 1, 4, 6),
        (240, 240, 16, 1, 4, 8),
        (480, 480, 8, 1, 4, 8),
        (72, 144, 30, 3, 2, 4),
        (56, 56, 40, 3, 1, 6),
    ):

        def build(
            m: Micro, c: int = channels, f: int = filters, h: int = side, k: int = kernel, g: int = groups, n: int = batch
        ) -> Micro:
            return m.done(conv(m, m.op(ENTRY, m.feed(n, c, h, h)), c, f, k, groups=g))

        yield build


def _residual() -> Iterator[Build]:
    """Blocks as networks are built of: three convolutions and a sum."""
    for channels, side, batch in ((64, 28, 1), (128, 14, 1), (256, 14, 1), (256, 7, 1), (32, 56, 1), (96, 14, 4)):

        def build(m: Micro, c: int = channels, h: int = side, n: int = batch) -> Micro:
            x = conv(m, m.op(ENTRY, m.feed(n, c, h, h)), c, c, 3)
            y = conv(m, conv(m, x, c, c // 2, 1), c // 2, c, 3, relu=False)
            return m.done(m.op("Relu", m.op("Add", y, x)))

        yield build


# --- products ---


def _gemm() -> Iterator[Build]:
    for rows, depth, columns in (
        (8, 256, 256),
        (16, 512, 512),
        (32, 768, 768),
        (64, 512, 2048),
        (128, 256, 1024),
        (128, 768, 768),
        (196, 384, 384),
        (49, 1024, 1024),
        (100, 640, 2560),
        (256, 512, 512),
        (384, 192, 768),
        (32, 2048, 512),
        (8, 2048, 2048),
        (64, 128, 128),
        (4, 4096, 2048),
        (96, 768, 1536),
        (512, 128, 512),
        (24, 1536, 384),
        (1568, 128, 512),
        (1024, 96, 384),
        (1600, 640, 1280),
        (900, 1536, 512),
    ):

        def build(m: Micro, r: int = rows, k: int = depth, c: int = columns) -> Micro:
            x = m.op(ENTRY, m.feed(r, k))
            return m.done(m.op("Add", m.op("MatMul", x, m.weight(k, c)), m.weight(c)))

        yield build


def _feed_forward() -> Iterator[Build]:
    """Normalisation, two products with a Gelu between, and the residual, of three axes as in transformers."""
    for batch, tokens, width in ((1, 64, 256), (1, 128, 384), (2, 50, 512), (4, 48, 192)):

        def build(m: Micro, n: int = batch, t: int = tokens, d: int = width) -> Micro:
            x = m.op(ENTRY, m.feed(n, t, d))
            y = m.op("LayerNormalization", x, m.weight(d), m.weight(d), axis=-1, epsilon=1e-5)
            y = m.op("Gelu", m.op("Add", m.op("MatMul", y, m.weight(d, 4 * d)), m.weight(4 * d)))
            return m.done(m.op("Add", m.op("Add", m.op("MatMul", y, m.weight(4 * d, d)), m.weight(d)), x))

        yield build


def _gemv() -> Iterator[Build]:
    for depth, columns in (
        (256, 256),
        (512, 1000),
        (1024, 1000),
        (1280, 1000),
        (2048, 1000),
        (2048, 2048),
        (4096, 1024),
        (4096, 4096),
    ):

        def build(m: Micro, k: int = depth, c: int = columns) -> Micro:
            x = m.op(ENTRY, m.feed(1, k))
            return m.done(m.op("Gemm", x, m.weight(c, k), m.weight(c), transB=1))

        yield build


def _batched() -> Iterator[Build]:
    """Scores, softmax and values of attention."""
    for heads, tokens, width in (
        (2, 24, 32),
        (4, 20, 48),
        (4, 64, 32),
        (8, 128, 64),
        (12, 100, 64),
        (6, 196, 32),
        (16, 49, 32),
        (32, 64, 64),
        (2, 256, 64),
        (64, 120, 64),
        (48, 200, 64),
    ):

        def build(m: Micro, h: int = heads, t: int = tokens, d: int = width) -> Micro:
            q, k, v = (m.op(ENTRY, m.feed(1, h, t, d)) for _ in range(3))
            s = m.op("MatMul", q, m.op("Transpose", k, perm=[0, 1, 3, 2]))
            p = m.op("Softmax", m.op("Mul", s, m.constant(np.array(0.125, np.float32))), axis=-1)
            return m.done(m.op("MatMul", p, v))

        yield build


def _plain_batched() -> Iterator[Build]:
    for batch, rows, depth, columns in (
        (8, 64, 64, 64),
        (12, 128, 64, 128),
        (4, 197, 197, 64),
        (64, 49, 32, 49),
        (16, 16, 128, 256),
    ):

        def build(m: Micro, b: int = batch, r: int = rows, k: int = depth, c: int = columns) -> Micro:
            return m.done(m.op("MatMul", m.op(ENTRY, m.feed(b, r, k)), m.op(ENTRY, m.feed(b, k, c))))

        yield build


def _integer() -> Iterator[Build]:
    for rows, depth, columns in ((16, 256, 256), (64, 512, 512), (128, 768, 768), (128, 256, 1024)):

        def build(m: Micro, r: int = rows, k: int = depth, c: int = columns) -> Micro:
            x, scale, zero = m.op("DynamicQuantizeLinear", m.op(ENTRY, m.feed(r, k)), results=3)
            y = m.op("MatMulInteger", x, m.weight(k, c, dtype=TensorProto.INT8), zero)
            return m.done(m.op("Mul", m.op("Cast", y, to=TensorProto.FLOAT), scale))

        yield build


def _quantized() -> Iterator[Build]:
    for elements in (4096, 65536, 1048576):

        def build(m: Micro, n: int = elements) -> Micro:
            scale, zero = m.constant(np.array(0.02, np.float32)), m.constant(np.array(3, np.uint8))
            q = m.op("QuantizeLinear", m.op(ENTRY, m.feed(1, n)), scale, zero)
            return m.done(m.op("DequantizeLinear", m.op("Reshape", q, m.ints(n)), scale, zero))

        yield build


def _recurrent() -> Iterator[Build]:
    for steps, width, hidden in ((8, 128, 128), (16, 256, 256), (32, 64, 128)):

        def build(m: Micro, t: int = steps, d: int = width, h: int = hidden) -> Micro:
            x = m.op(ENTRY, m.feed(t, 1, d))
            w, r, b = m.weight(1, 4 * h, d), m.weight(1, 4 * h, h), m.weight(1, 8 * h)
            y, _, _ = m.op("LSTM", x, w, r, b, results=3, hidden_size=h)
            return m.done(y)

        yield build


COMPUTE: dict[str, Callable[[], Iterator[Build]]] = {
    "direct": _direct,
    "pointwise": _pointwise,
    "depthwise": _depthwise,
    "activated": _activated,
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
}
