"""From times to constants: one bounded least-squares fit per kernel kind, set and number of threads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edpc.machine.compose import kernel_sum
from edpc.machine.stored_program import TERMS, Executed, Loads
from edpc.machine.stored_program_lines import LINES
from edpc.machine.table import Floats, KernelTable

# Relative errors count, down to this time: below it the profiler's own steps show.
_LEAST_S = 8e-6
# From this relative residual on a point pulls with constant force only: a disturbed run is no property of the kernel.
_ROBUST = 0.08
_ROUNDS = 6
# What is hidden behind something else costs nothing in the fit; these stand for "at least so much", per core.
_MOST = {"flop": 20.0, "byte": 1e12, "far": 1e12, "weight": 1e12}
# No core of a machine that runs networks streams slower than this, B/s: bounds what few large kernels can be fitted to.
_LEAST = {"far": 5e9, "weight": 3e9}
# Kinds that read enough weights to tell their rate from that of activations; elsewhere both move at one rate.
_WEIGHTY = frozenset({"direct_conv", "pointwise_conv", "im2col_conv", "gemm", "integer", "recurrent"})
# Fewest points that a line is fitted to.
_FEWEST = 4
# How far constants may be off at least, whatever the residuals say: the machine drifts by so much within the hour.
_DRIFT = 0.05
_COVERING = 1.64  # standard deviations to 90 %


@dataclass(frozen=True, slots=True)
class Line:
    """Constants of one kernel kind and set, in the units of `TERMS`.

    Attributes:
        constants: by term. spread: how far they may be off, relative. points: nodes they were fitted to.
    """

    constants: Mapping[str, float]
    spread: float
    points: int


def design(table: KernelTable, plan: Executed, loads: Loads, threads: int) -> Floats:
    """What the terms of lines are multiplied with, in the order of `TERMS`, in s, B and counts; shape (g, 7)."""
    return np.stack(
        [
            plan.launches,
            kernel_sum(table, loads.serial) / threads,
            kernel_sum(table, loads.moved) / threads,
            kernel_sum(table, loads.far) / threads,
            kernel_sum(table, loads.weights) / threads,
            plan.calls / threads,
            plan.passed / threads,
        ],
        axis=1,
    )


def fit_lines(features: Floats, plan: Executed, seconds: Floats) -> dict[str, Line]:
    """A line per kernel kind that has points.

    Args:
        features: from `design`.
        plan: which row is of which kind.
        seconds: measured, NaN where a row was not seen, shape (g,).
    """
    found = {}
    for number, kind in enumerate(LINES):
        rows = (plan.line == number) & np.isfinite(seconds)
        if rows.sum() >= _FEWEST:
            found[kind] = _fit(features[rows], seconds[rows], kind in _WEIGHTY)
    return found


def completed(lines: Mapping[str, Line], others: Mapping[str, Line]) -> dict[str, Line]:
    """Lines of one set for every kind that either has: one that is missing takes the other set's constants, less surely."""
    taken = {kind: Line(line.constants, 2.0 * line.spread, line.points) for kind, line in others.items()}
    return {**taken, **lines}


def _fit(x: Floats, y: Floats, weighty: bool) -> Line:
    """Least squares of relative errors with bounds, robust against outliers."""
    from scipy.optimize import lsq_linear

    moved, weights = list(TERMS).index("byte"), list(TERMS).index("weight")
    if not weighty:
        x = x.copy()
        x[:, moved] += x[:, weights]
        x[:, weights] = 0.0
    # Columns of very different units are brought to one scale; an empty one keeps a coefficient of zero.
    scale = np.maximum(x.max(axis=0), 1e-300)
    upper = np.array([scale[i] / _LEAST[t] if t in _LEAST else np.inf for i, t in enumerate(TERMS)])
    bounds = 0.0, np.where(x.any(axis=0), np.maximum(upper, 1e-12), 1e-12)
    weight = 1.0 / np.maximum(y, _LEAST_S)
    pull = np.ones_like(y)
    for _ in range(_ROUNDS):
        w = weight * np.sqrt(pull)
        coefficients = np.maximum(lsq_linear(x / scale * w[:, None], y * w, bounds, method="bvls").x, 0.0)
        residual = np.abs(x @ (coefficients / scale) - y) * weight
        pull = np.minimum(1.0, _ROBUST / np.maximum(residual, 1e-12))
    per_unit = np.where(x.any(axis=0), coefficients / scale, 0.0)
    off = float(np.sqrt(np.average(residual**2, weights=pull)))
    constants = {}
    for term, value in zip(TERMS, per_unit.tolist(), strict=True):
        most = _MOST.get(term)
        constants[term] = value if most is None else (1.0 / value if value * most > 1.0 else most)
    if not weighty:
        constants["weight"] = constants["byte"]
    return Line(constants, max(_COVERING * off, _DRIFT), len(y))


def predicted(features: Floats, line: Line) -> Floats:
    """What a line says of rows, in s."""
    per_unit = [1.0 / line.constants[t] if t in _MOST else line.constants[t] for t in TERMS]
    return np.asarray(features @ np.array(per_unit), float)
