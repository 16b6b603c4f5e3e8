"""Pooling: what every result combines, windows taken as full (padding counts) and operands read in full.

Regions of interest have sizes that depend on data: `max_roi_pool` is counted as if each covered the whole map, `roi_align` by
its samples, two by two per bin where the sampling ratio is adaptive.
"""

from __future__ import annotations

from math import prod

from edpc.ir import Operator, Work
from edpc.operators.convolution import BILINEAR_OPS
from edpc.operators.counting import combining, counted, elements_in_bytes, integer, integers, number, text
from edpc.operators.kind import Family, OperatorKind


def _combined(kind: str, p: float, results: int, window: int) -> tuple[int, int]:
    """(vector_ops, transcendentals) of combining `window` elements into each of `results`.

    Maximum: window - 1 comparisons. Average: window - 1 additions and a division. Lp: the magnitude's power (1 operation for
    p = 1 and 2, one and two transcendentals otherwise), window - 1 additions, the root (none for p = 1, one transcendental for
    p = 2, one operation and two transcendentals otherwise).
    """
    steps = combining(results, window)
    if "max" in kind:
        return steps, 0
    if "average" in kind:
        return steps + results, 0
    if p == 1:
        return steps + results * window, 0
    if p == 2:
        return steps + results * window, results
    return steps + results * (window + 1), 2 * results * (window + 1)


def _windowed(op: Operator) -> Work:
    window = prod(integers(op, "kernel_shape") or (1,))
    vector, transcendental = _combined(op.kind, number(op, "p", 2.0), op.outputs[0].numel, window)
    return counted(op, vector_ops=vector, transcendentals=transcendental, arithmetic=op.inputs[:1])


def _global(op: Operator) -> Work:
    x = op.inputs[0]
    rows = prod(x.dims()[:2])
    cols = x.numel // max(rows, 1)
    vector, transcendental = _combined(op.kind, number(op, "p", 2.0), rows, cols)
    return counted(op, vector_ops=vector, transcendentals=transcendental, rows=rows, cols=cols, arithmetic=op.inputs[:1])


def _max_unpool(op: Operator) -> Work:
    return counted(op, arithmetic=op.inputs[:1])


def _max_roi_pool(op: Operator) -> Work:
    regions, channels, *bins = (*op.outputs[0].dims(), 1, 1)[: max(len(op.outputs[0].dims()), 2)]
    area = prod(op.inputs[0].dims()[2:])
    return counted(op, vector_ops=regions * channels * max(area - prod(bins), 0), arithmetic=op.inputs[:1])


def _roi_align(op: Operator) -> Work:
    """Per bin ratio * ratio bilinear samples of 9 operations, combined by mean (as many operations) or maximum (one less)."""
    x, result = op.inputs[0], op.outputs[0]
    samples = (integer(op, "sampling_ratio", 0) or 2) ** 2
    joined = combining(result.numel, samples) if text(op, "mode", "avg") == "max" else result.numel * samples
    return counted(
        op,
        vector_ops=result.numel * samples * BILINEAR_OPS + joined,
        touched={0: elements_in_bytes(4 * samples * result.numel, x)},
        arithmetic=op.inputs[:1],
    )


DEFINITIONS: tuple[OperatorKind, ...] = (
    *(
        OperatorKind(name, Family.POOLING, rule, summary, operands)
        for name, rule, operands, summary in (
            (
                "max_pool",
                _windowed,
                1,
                "x; kernel_shape, strides, pads, dilations: window - 1 comparisons per element of the result.",
            ),
            (
                "average_pool",
                _windowed,
                1,
                "x; kernel_shape, strides, pads, dilations: window operations per element of the result.",
            ),
            (
                "lp_pool",
                _windowed,
                1,
                "x; kernel_shape, strides, pads, dilations, p: window powers, window - 1 additions, a root per element of the "
                "result.",
            ),
            ("global_max_pool", _global, 1, "x [N, C, ...]: a comparison less than elements per channel and image."),
            ("global_average_pool", _global, 1, "x [N, C, ...]: as many operations as elements."),
            ("global_lp_pool", _global, 1, "x [N, C, ...]; p: a power per element, their sum and a root per channel and image."),
            ("max_unpool", _max_unpool, 2, "x, indices: scatters without arithmetic and writes the whole result."),
            ("max_roi_pool", _max_roi_pool, 2, "x [N, C, H, W], regions: comparisons as if each region covered the whole map."),
            (
                "roi_align",
                _roi_align,
                2,
                "x [N, C, H, W], regions [, image numbers]; sampling_ratio (2 where adaptive), mode: 9 operations per bilinear "
                "sample and their mean or maximum; reads four elements per sample, at most all.",
            ),
        )
    ),
)
