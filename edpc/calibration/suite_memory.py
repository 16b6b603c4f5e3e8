"""Micro-models of kernels that are bound by the tensors they move: elementwise, rows, windows and copies."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from onnx import TensorProto

from edpc.calibration.micro import ENTRY, Build, Micro, conv

# --- what is bound by the tensors it moves ---

_ELEMENTS = (2048, 32768, 200704, 1605632)
_MANY = 4816896


def _unary() -> Iterator[Build]:
    for op_type in ("Relu", "Neg", "Abs"):
        for elements in (*_ELEMENTS, _MANY) if op_type == "Neg" else _ELEMENTS:

            def build(m: Micro, kind: str = op_type, n: int = elements) -> Micro:
                return m.done(m.op(kind, m.op(ENTRY, m.feed(1, n))))

            yield build


def _binary() -> Iterator[Build]:
    for op_type in ("Add", "Mul", "Sub"):
        for elements in (*_ELEMENTS, _MANY) if op_type == "Add" else _ELEMENTS:

            def build(m: Micro, kind: str = op_type, n: int = elements) -> Micro:
                return m.done(m.op(kind, m.op(ENTRY, m.feed(1, n)), m.op(ENTRY, m.feed(1, n))))

            yield build


def _broadcast() -> Iterator[Build]:
    for channels, side, batch in ((64, 56, 1), (256, 28, 1), (512, 14, 1), (96, 56, 6), (160, 60, 6)):

        def build(m: Micro, c: int = channels, h: int = side, n: int = batch) -> Micro:
            x = m.op(ENTRY, m.feed(n, c, h, h))
            return m.done(m.op("Add", m.op("Mul", x, m.weight(c, 1, 1)), m.weight(c, 1, 1)))

        yield build


def _sums() -> Iterator[Build]:
    for elements in (25088, 200704, 802816):

        def build(m: Micro, n: int = elements) -> Micro:
            return m.done(m.op("Sum", m.op(ENTRY, m.feed(1, n)), m.op(ENTRY, m.feed(1, n))))

        yield build


def _transcendental() -> Iterator[Build]:
    for op_type in ("Sigmoid", "Tanh", "Exp", "Sqrt", "HardSwish"):
        for elements in (4096, 100352, 802816):

            def build(m: Micro, kind: str = op_type, n: int = elements) -> Micro:
                return m.done(m.op(kind, m.op("Relu", m.op("Abs", m.feed(1, n)))))

            yield build


def _gelu() -> Iterator[Build]:
    for rows, columns in ((16, 512), (64, 1024), (128, 3072), (196, 1536), (512, 2048), (1600, 2560)):

        def build(m: Micro, r: int = rows, c: int = columns) -> Micro:
            return m.done(m.op("Gelu", m.op(ENTRY, m.feed(r, c))))

        yield build


def _softmax() -> Iterator[Build]:
    for rows, columns in (
        (1, 1000),
        (8, 1000),
        (48, 24),
        (512, 64),
        (1536, 128),
        (1200, 197),
        (3072, 49),
        (128, 2048),
        (12000, 128),
        (16000, 200),
    ):

        def build(m: Micro, r: int = rows, c: int = columns) -> Micro:
            return m.done(m.op("Softmax", m.op(ENTRY, m.feed(r, c)), axis=-1))

        yield build


def _layer_norm() -> Iterator[Build]:
    for rows, columns in (
        (16, 256),
        (128, 768),
        (197, 768),
        (1024, 96),
        (3136, 96),
        (3136, 384),
        (64, 2048),
        (512, 512),
        (1600, 1024),
    ):

        def build(m: Micro, r: int = rows, c: int = columns) -> Micro:
            x = m.op(ENTRY, m.feed(1, r, c))
            return m.done(m.op("LayerNormalization", x, m.weight(c), m.weight(c), axis=-1, epsilon=1e-5))

        yield build


def _skip_layer_norm() -> Iterator[Build]:
    for rows, columns in (
        (20, 96),
        (32, 512),
        (128, 768),
        (256, 384),
        (1024, 256),
        (64, 128),
        (200, 128),
        (16, 1024),
        (1600, 1024),
    ):

        def build(m: Micro, r: int = rows, c: int = columns) -> Micro:
            x = m.op("Add", m.op(ENTRY, m.feed(1, r, c)), m.op(ENTRY, m.feed(1, r, c)))
            return m.done(m.op("LayerNormalization", x, m.weight(c), m.weight(c), axis=-1, epsilon=1e-5))

        yield build


def _local_norm() -> Iterator[Build]:
    for channels, side in ((32, 14), (64, 14), (64, 28), (96, 27), (192, 14)):

        def build(m: Micro, c: int = channels, h: int = side) -> Micro:
            return m.done(m.op("LRN", m.op(ENTRY, m.feed(1, c, h, h)), size=5))

        yield build


def _batch_norm() -> Iterator[Build]:
    for channels, side, batch in (
        (64, 56, 1),
        (128, 28, 1),
        (512, 14, 1),
        (256, 7, 1),
        (96, 28, 4),
        (352, 14, 6),
        (672, 8, 6),
        (96, 60, 6),
        (176, 52, 8),
        (320, 30, 6),
    ):

        def build(m: Micro, c: int = channels, h: int = side, n: int = batch) -> Micro:
            x = conv(m, m.op(ENTRY, m.feed(n, c, h, h)), c, c, 1)
            y = m.op("BatchNormalization", x, *(m.weight(c) for _ in range(4)))
            return m.done(conv(m, m.op("Relu", y), c, c, 1))

        yield build


def _reduction() -> Iterator[Build]:
    for rows, columns in ((64, 512), (196, 768), (1024, 256), (128, 4096)):

        def build(m: Micro, r: int = rows, c: int = columns) -> Micro:
            x = m.op(ENTRY, m.feed(1, r, c))
            return m.done(m.op("ReduceMean", x, m.ints(-1)), m.op("ReduceSum", x, m.ints(1)))

        yield build


def _pool() -> Iterator[Build]:
    for kind, channels, side, kernel, stride, batch in (
        ("MaxPool", 64, 112, 3, 2, 1),
        ("MaxPool", 192, 28, 3, 1, 1),
        ("MaxPool", 256, 28, 2, 2, 1),
        ("MaxPool", 480, 14, 3, 1, 1),
        ("AveragePool", 128, 28, 2, 2, 1),
        ("AveragePool", 64, 35, 3, 1, 1),
        ("AveragePool", 512, 7, 7, 1, 1),
        ("MaxPool", 64, 112, 3, 2, 3),
        ("MaxPool", 64, 28, 3, 2, 4),
        ("MaxPool", 48, 120, 3, 2, 6),
        ("MaxPool", 144, 40, 3, 2, 6),
        ("MaxPool", 96, 64, 2, 2, 8),
        ("MaxPool", 80, 100, 2, 2, 8),
        ("AveragePool", 128, 48, 2, 2, 6),
        ("AveragePool", 256, 24, 2, 2, 6),
    ):

        def build(
            m: Micro, op: str = kind, c: int = channels, h: int = side, k: int = kernel, s: int = stride, n: int = batch
        ) -> Micro:
            x = conv(m, m.op(ENTRY, m.feed(n, c, h, h)), c, c, 1)
            pads = [k // 2 if s == 1 and k < h else 0] * 4
            return m.done(m.op(op, x, kernel_shape=[k] * 2, strides=[s] * 2, pads=pads))

        yield build
    for channels, side in ((512, 7), (1280, 7), (256, 14)):

        def mean(m: Micro, c: int = channels, h: int = side) -> Micro:
            return m.done(m.op("GlobalAveragePool", conv(m, m.op(ENTRY, m.feed(1, c, h, h)), c, c, 1)))

        yield mean


# --- copies ---


def _concat() -> Iterator[Build]:
    for parts, channels, side, batch in (
        (2, 64, 28, 1),
        (4, 64, 14, 1),
        (2, 128, 56, 1),
        (3, 32, 28, 4),
        (4, 96, 28, 1),
        (2, 64, 56, 6),
        (2, 256, 7, 1),
        (2, 112, 60, 6),
        (3, 48, 60, 6),
    ):

        def build(m: Micro, p: int = parts, c: int = channels, h: int = side, n: int = batch) -> Micro:
            x = conv(m, m.op(ENTRY, m.feed(n, c, h, h)), c, c, 1)
            return m.done(m.op("Concat", *(conv(m, x, c, c, 1) for _ in range(p)), axis=1))

        yield build
    for rows, columns in ((64, 64), (256, 512), (2048, 64)):

        def flat(m: Micro, r: int = rows, c: int = columns) -> Micro:
            return m.done(m.op("Concat", m.op(ENTRY, m.feed(r, c)), m.op(ENTRY, m.feed(r, c)), axis=-1))

        yield flat


def _split() -> Iterator[Build]:
    for shape, axis, parts in (
        ((64, 768), 1, 3),
        ((20, 192), 1, 3),
        ((1, 256, 28, 28), 1, 2),
        ((128, 2304), 1, 3),
        ((1024, 128), 1, 2),
        ((1, 64, 56, 56), 1, 4),
        ((1600, 2304), 1, 3),
    ):

        def build(m: Micro, s: tuple[int, ...] = shape, a: int = axis, p: int = parts) -> Micro:
            return m.done(*m.op("Split", m.op(ENTRY, m.feed(*s)), results=p, axis=a, num_outputs=p))

        yield build


def _slice() -> Iterator[Build]:
    for shape in ((64, 256), (128, 1024), (1024, 1024)):

        def build(m: Micro, s: tuple[int, int] = shape) -> Micro:
            x = m.op(ENTRY, m.feed(*s))
            half = m.op("Slice", x, m.ints(0), m.ints(s[1] // 2), m.ints(1))
            pad = m.op("Pad", x, m.ints(0, 0, 0, 8))
            return m.done(half, pad, m.op("Expand", m.op("Unsqueeze", half, m.ints(0)), m.ints(2, s[0], s[1] // 2)))

        yield build


_TRANSPOSES: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = (
    # whole rows move
    ((1, 128, 12, 64), (0, 2, 1, 3)),
    ((1, 196, 8, 32), (0, 2, 1, 3)),
    ((1, 4, 28, 784), (0, 2, 1, 3)),
    ((1, 64, 16, 64), (0, 2, 1, 3)),
    ((1, 4, 60, 196), (0, 2, 1, 3)),
    ((1, 3, 40, 3136), (0, 2, 1, 3)),
    ((4, 100, 8, 64), (0, 2, 1, 3)),
    ((8, 4, 50, 49), (0, 2, 1, 3)),
    ((8, 196, 12, 64), (0, 2, 1, 3)),
    ((6, 200, 16, 48), (0, 2, 1, 3)),
    ((6, 4, 30, 3600), (0, 2, 1, 3)),
    ((1, 24, 2, 32), (0, 2, 1, 3)),
    ((1, 20, 4, 48), (0, 2, 1, 3)),
    ((2, 48, 4, 32), (0, 2, 1, 3)),
    # the innermost axis moves
    ((1, 12, 128, 64), (0, 1, 3, 2)),
    ((1, 96, 56, 56), (0, 2, 3, 1)),
    ((1, 49, 512), (0, 2, 1)),
    ((1, 14, 14, 384), (0, 3, 1, 2)),
    ((256, 256), (1, 0)),
    ((1, 8, 196, 32), (0, 1, 3, 2)),
    ((6, 200, 12, 64), (0, 2, 3, 1)),
    ((2, 100, 8, 64), (0, 2, 3, 1)),
    ((4, 60, 60, 96), (0, 3, 1, 2)),
    ((1, 2, 24, 32), (0, 1, 3, 2)),
    ((1, 4, 20, 48), (0, 1, 3, 2)),
    ((2, 4, 48, 32), (0, 1, 3, 2)),
)


def _transpose() -> Iterator[Build]:
    for shape, perm in _TRANSPOSES:

        def build(m: Micro, s: tuple[int, ...] = shape, p: tuple[int, ...] = perm) -> Micro:
            return m.done(m.op("Transpose", m.op(ENTRY, m.feed(*s)), perm=list(p)))

        yield build


def _reorder() -> Iterator[Build]:
    """Into the blocked layout and out of it, three times in a row, between operators that do not know it."""
    for channels, side, batch in (
        (64, 56, 1),
        (128, 28, 1),
        (256, 14, 1),
        (512, 7, 1),
        (32, 28, 4),
        (32, 56, 8),
        (80, 96, 4),
        (160, 60, 6),
        (48, 100, 8),
    ):

        def build(m: Micro, c: int = channels, h: int = side, n: int = batch) -> Micro:
            x = m.op("Neg", m.feed(n, c, h, h))
            return m.done(m.op("Neg", conv(m, m.op("Neg", conv(m, x, c, c, 1, relu=False)), c, c, 1, relu=False)))

        yield build


def _gather() -> Iterator[Build]:
    for rows, columns, picked in ((1000, 256, 64), (8000, 768, 128), (5000, 64, 512)):

        def build(m: Micro, r: int = rows, c: int = columns, p: int = picked) -> Micro:
            return m.done(m.op("Gather", m.weight(r, c), m.feed(1, p, dtype=TensorProto.INT64)))

        yield build


def _views() -> Iterator[Build]:
    for elements in (1024, 65536, 802816):

        def build(m: Micro, n: int = elements) -> Micro:
            x = m.op(ENTRY, m.feed(1, n))
            a, b = m.op("Reshape", x, m.ints(2, n // 2)), m.op("Unsqueeze", x, m.ints(0))
            return m.done(m.op("Abs", a), m.op("Neg", b), m.op("Relu", m.op("Squeeze", m.op("Abs", b), m.ints(0))))

        yield build


MEMORY: dict[str, Callable[[], Iterator[Build]]] = {
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
