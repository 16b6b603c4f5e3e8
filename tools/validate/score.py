"""How far predictions are off: relative errors in percent, and how often an interval holds the measurement."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edpc.machine.table import Flags, Floats


@dataclass(frozen=True, slots=True)
class Case:
    """Measured figures beside predicted ones, shape (n,).

    Attributes:
        held_out: whether no fit has seen the row.
        measured, predicted, trivial: the figure, what edpc says, what the trivial baseline says.
        low, high: 90 % intervals of the prediction.
    """

    held_out: Flags
    measured: Floats
    predicted: Floats
    trivial: Floats
    low: Floats
    high: Floats

    def where(self, flags: Flags) -> Case:
        """The rows where the flags hold."""
        return Case(*(getattr(self, name)[flags] for name in self.__slots__))


@dataclass(frozen=True, slots=True)
class Errors:
    """Errors of predicted over measured, in percent: mean, median and 90 % quantile of their magnitude, and their mean."""

    mean: float
    median: float
    p90: float
    bias: float


@dataclass(frozen=True, slots=True)
class Score:
    """Figures of a row.

    Attributes:
        fit_rows, rows: rows that a fit may have seen, and rows kept out of every fit.
        fit: errors on the former (NaN without any). ours, trivial, line: errors on the latter, of edpc, of the trivial baseline,
            and of the baseline scaled and shifted by two numbers fitted to the former.
        coverage: share of the latter inside their 90 % interval, in percent.
    """

    fit_rows: int
    rows: int
    fit: Errors
    ours: Errors
    trivial: Errors
    line: Errors
    coverage: float


def errors(predicted: Floats, measured: Floats) -> Errors:
    """Errors in percent; NaN where there are no rows."""
    if not len(measured):
        return Errors(*[float("nan")] * 4)
    off = 100.0 * (predicted / measured - 1.0)
    size = np.abs(off)
    return Errors(float(size.mean()), float(np.median(size)), float(np.quantile(size, 0.9)), float(off.mean()))


def score(case: Case) -> Score:
    """Figures of a case, apart for its two parts."""
    seen, apart = case.where(~case.held_out), case.where(case.held_out)
    slope, shift = _line(seen.trivial, seen.measured)
    inside = (apart.low <= apart.measured) & (apart.measured <= apart.high)
    return Score(
        fit_rows=len(seen.measured),
        rows=len(apart.measured),
        fit=errors(seen.predicted, seen.measured),
        ours=errors(apart.predicted, apart.measured),
        trivial=errors(apart.trivial, apart.measured),
        line=errors(slope * apart.trivial + shift, apart.measured),
        coverage=100.0 * float(inside.mean()) if len(inside) else float("nan"),
    )


def _line(x: Floats, y: Floats) -> tuple[float, float]:
    """Slope and shift of least mean relative error, by reweighted least squares; (1, 0) where there is too little to fit."""
    if len(x) < 3:
        return 1.0, 0.0
    weight = 1.0 / y
    found = np.array([1.0, 0.0])
    for _ in range(50):
        columns = np.stack([x, np.ones_like(x)], axis=1) * weight[:, None]
        found, *_ = np.linalg.lstsq(columns, y * weight, rcond=None)
        off = np.abs(found[0] * x + found[1] - y) / y
        weight = 1.0 / (y * np.sqrt(np.maximum(off, 1e-3)))
    return float(found[0]), float(found[1])
