"""What was measured beside what edpc and the trivial baselines predict, per set of kernels and per figure."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edpc.machine.table import Floats
from tools.validate.kernels import Prediction, predict, roofline
from tools.validate.score import Case
from tools.validate.sets import ADDED_S, Set


def prediction(measured: Set) -> Prediction:
    """What a measurement of each row is predicted to see: its kernels one after another, and what the timing adds."""
    parts = [predict(table, measured.target) for table in measured.tables]
    added, static = ADDED_S[measured.setup], measured.target.static_power.value
    return Prediction(
        np.sum([p.latency_s for p in parts], axis=0) + added,
        np.sum([p.energy_j for p in parts], axis=0) + static * added,
        np.sum([p.drawn_s for p in parts], axis=0) + added,
        np.sum([p.drawn_j for p in parts], axis=0) + static * added,
    )


def rooflines(measured: Set) -> Floats:
    """The trivial baseline of latency: the roofline at peaks of the data sheet, of the largest kernel of each row."""
    return roofline(measured.tables[0], measured.target, measured.precision)


def latency(*sets: Set) -> Case:
    """Latency of all rows of some sets, in s."""
    return _case(sets, lambda s, p: (s.rows.latency_s, p.latency_s, rooflines(s), p.drawn_s))


def power(*sets: Set) -> Case:
    """Board power in W, latency predicted too. Trivial: what half of the rows that fits have seen exceed."""

    def figures(s: Set, p: Prediction) -> tuple[Floats, Floats, Floats, Floats]:
        return s.rows.power_w, p.energy_j / p.latency_s, _usual_power(s), p.drawn_j / p.drawn_s

    return _case(sets, figures)


def edp(*sets: Set) -> Case:
    """Energy-delay product in J*s, both predicted. Trivial: the usual power for as long as the roofline says."""

    def figures(s: Set, p: Prediction) -> tuple[Floats, Floats, Floats, Floats]:
        measured = s.rows.power_w * s.rows.latency_s**2
        return measured, p.energy_j * p.latency_s, _usual_power(s) * rooflines(s) ** 2, p.drawn_j * p.drawn_s

    return _case(sets, figures)


def _usual_power(s: Set) -> Floats:
    seen = ~s.rows.held_out
    return np.full(len(s.rows), np.median(s.rows.power_w[seen] if seen.any() else s.rows.power_w))


def _case(sets: tuple[Set, ...], figures: Callable[[Set, Prediction], tuple[Floats, Floats, Floats, Floats]]) -> Case:
    held, columns = [], []
    for s in sets:
        measured, predicted, trivial, drawn = figures(s, prediction(s))
        low, high = np.quantile(drawn, [0.05, 0.95], axis=0, method="hazen")
        held.append(s.rows.held_out)
        columns.append((measured, predicted, trivial, np.minimum(low, predicted), np.maximum(high, predicted)))
    return Case(np.concatenate(held), *(np.concatenate(column) for column in zip(*columns, strict=True)))
