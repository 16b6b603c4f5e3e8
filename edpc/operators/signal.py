"""Signal processing and linear algebra. A Fourier transform of n points counts 5 n ceil(log2 n) operations.

That is n/2 log2 n butterflies of ten operations (a complex product and two complex additions), taken at any length; a real
signal needs half. Twiddle factors are constants.
"""

from __future__ import annotations

from math import prod

from edpc.ir import Operator, Work
from edpc.operators.counting import counted, flag, integer, log2_steps, place, positive
from edpc.operators.kind import Family, OperatorKind


def fourier_ops(points: int, real: bool) -> int:
    """Operations of one transform."""
    return 5 * points * log2_steps(points) // (2 if real else 1)


def _dft(op: Operator) -> Work:
    """An inverse transform adds a multiplication per real and imaginary part for the scale."""
    x, result = op.inputs[0], op.outputs[0]
    dims = x.dims()
    if len(dims) < 2:
        return counted(op, arithmetic=(x,))
    axis = place(op, integer(op, "axis", -2), len(dims))
    onesided, inverse = flag(op, "onesided"), flag(op, "inverse")
    sizes = result.dims()
    across = dims[axis] if onesided and not inverse else sizes[axis] if len(sizes) == len(dims) else dims[axis]
    points = max(integer(op, "length", across), 0)
    lines = prod(d for a, d in enumerate(dims[:-1]) if a != axis)
    real = dims[-1] == 1 or onesided
    vector = lines * fourier_ops(points, real) + (result.numel if inverse else 0)
    return counted(op, vector_ops=vector, rows=lines, cols=points, arithmetic=(x,))


def _stft(op: Operator) -> Work:
    """Frames are windowed (a multiplication per sample) and transformed."""
    images, frames, bins, *_ = (*op.outputs[0].dims(), 1, 1, 1)
    onesided = flag(op, "onesided", True)
    points = max(integer(op, "frame_length", 2 * (bins - 1) if onesided else bins), 0)
    real = onesided or (op.inputs[0].dims() or (1,))[-1] == 1
    lines = images * frames
    vector = lines * (points + fourier_ops(points, real))
    return counted(op, vector_ops=vector, rows=lines, cols=points, arithmetic=op.inputs[:1])


def _mel_weight_matrix(op: Operator) -> Work:
    """Per weight two differences, two quotients, a minimum and a maximum; per band edge the mel scale and its inverse."""
    result = op.outputs[0]
    edges = (1, *result.dims())[-1] + 2
    return counted(op, vector_ops=6 * result.numel + 4 * edges, transcendentals=2 * edges, arithmetic=op.outputs[:1])


def _det(op: Operator) -> Work:
    """Elimination: below the k-th pivot n-k quotients and (n-k)^2 products and subtractions; then the diagonal's product."""
    dims = op.inputs[0].dims()
    n = dims[-1] if dims else 1
    matrices = prod(dims[:-2])
    eliminated = n * (n - 1) // 2 + 2 * ((n - 1) * n * (2 * n - 1) // 6)
    return counted(op, vector_ops=matrices * (eliminated + max(n - 1, 0)), arithmetic=op.inputs[:1])


def _inverse(op: Operator) -> Work:
    """Gauss-Jordan in place: for each of n pivots n quotients, and n products and subtractions in n - 1 rows."""
    dims = op.inputs[0].dims()
    n = dims[-1] if dims else 1
    return counted(op, vector_ops=prod(dims[:-2]) * max(2 * n - 1, 0) * n * n, arithmetic=op.inputs[:1])


def _tfidf(op: Operator) -> Work:
    return counted(op, vector_ops=op.inputs[0].numel * positive(op, "max_gram_length", 1) * (integer(op, "max_skip", 0) + 1))


def _decoder(op: Operator) -> Work:
    return counted(op, arithmetic=op.outputs)


DEFINITIONS: tuple[OperatorKind, ...] = (
    *(
        OperatorKind(name, Family.OTHER, rule, summary, operands)
        for name, rule, operands, summary in (
            (
                "dft",
                _dft,
                1,
                "x [..., 1 or 2] [, length]; axis (default -2), length, inverse, onesided: 5 n ceil(log2 n) operations per "
                "line, half for a real signal, 1 more per element of the result for an inverse.",
            ),
            (
                "stft",
                _stft,
                1,
                "signal [, step, window, length]; frame_length (default: from the bins), onesided: per frame n products with "
                "the window and 5 n ceil(log2 n) operations, half for a real signal.",
            ),
            (
                "mel_weight_matrix",
                _mel_weight_matrix,
                0,
                "scalars: 6 operations per weight, 4 and 2 transcendentals per band edge.",
            ),
            ("det", _det, 1, "x [..., n, n]: Gaussian elimination, 2/3 n^3 operations and lower orders exactly."),
            ("inverse", _inverse, 1, "x [..., n, n]: Gauss-Jordan elimination, 2 n^3 - n^2 operations."),
            ("tfidf", _tfidf, 1, "x; max_gram_length, max_skip: a lookup per token, n-gram length and skip."),
            (
                "image_decoder",
                _decoder,
                1,
                "an encoded image: reads it and writes pixels; decoding is not arithmetic that is counted.",
            ),
        )
    ),
)
