"""What validation answers, and the figures of merit over it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

WITHIN = 0.15


@dataclass(frozen=True, slots=True)
class NodeResult:
    """One operator as the machine runs it: predicted and measured time in s. `kind` is the kernel kind that prices it."""

    name: str
    operator: str
    kind: str
    predicted_s: float
    measured_s: float


@dataclass(frozen=True, slots=True)
class ModelResult:
    """One model under one way of running it.

    Attributes:
        model: as the user gave it. mode: how it was run (`1 thread`, `eager`).
        predicted_s, measured_s: latency of one run. baseline_s: FLOPs over the measured peak, the trivial prediction.
        nodes: its operators. predicted_j, measured_j: energy of one run, None where nothing measures it.
        notes: what a reader must know, one sentence each.
    """

    model: str
    mode: str
    batch: int
    predicted_s: float
    measured_s: float
    baseline_s: float
    nodes: tuple[NodeResult, ...] = ()
    predicted_j: float | None = None
    measured_j: float | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Errors:
    """Errors of predictions against measurements, as fractions.

    Attributes:
        count: how many. mape: mean of |p/m - 1|. median, p90: of the same. bias: mean of p/m - 1. within: part within 15 %.
    """

    count: int
    mape: float
    median: float
    p90: float
    bias: float
    within: float


@dataclass(frozen=True, slots=True)
class Summary:
    """Figures over the models of one mode; `nodes` is sum |p - m| / sum m over their operators, weighted by time that is."""

    mode: str
    model: Errors
    baseline: Errors
    nodes: float
    kinds: dict[str, tuple[float, float, float]] = field(default_factory=dict)


def errors(pairs: Iterable[tuple[float, float]]) -> Errors:
    """Errors of (predicted, measured) pairs; those without a measured time are left out."""
    ratio = np.array([p / m - 1.0 for p, m in pairs if m > 0.0])
    if not len(ratio):
        return Errors(0, 0.0, 0.0, 0.0, 0.0, 0.0)
    off = np.abs(ratio)
    return Errors(
        len(off),
        float(off.mean()),
        float(np.median(off)),
        float(np.quantile(off, 0.9)),
        float(ratio.mean()),
        float((off <= WITHIN).mean()),
    )


def summaries(results: Sequence[ModelResult]) -> list[Summary]:
    """One summary per mode, in the order modes appear; with each kernel kind's part of the time, error and bias."""
    found = []
    for mode in dict.fromkeys(result.mode for result in results):
        mine = [result for result in results if result.mode == mode]
        nodes = [node for result in mine for node in result.nodes if node.measured_s > 0.0]
        whole = sum(node.measured_s for node in nodes)
        kinds: dict[str, tuple[float, float, float]] = {}
        for kind in dict.fromkeys(node.kind for node in nodes):
            same = [node for node in nodes if node.kind == kind]
            time = sum(node.measured_s for node in same)
            off = sum(abs(node.predicted_s - node.measured_s) for node in same)
            kinds[kind] = time / whole, off / time, sum(node.predicted_s for node in same) / time
        off = sum(abs(node.predicted_s - node.measured_s) for node in nodes)
        found.append(
            Summary(
                mode,
                errors((result.predicted_s, result.measured_s) for result in mine),
                errors((result.baseline_s, result.measured_s) for result in mine),
                off / whole if whole else 0.0,
                dict(sorted(kinds.items(), key=lambda item: -item[1][0])),
            )
        )
    return found
