"""How sure a total is: 90 % intervals under the constants' ranges and the model's error, and how much rests on assumptions.

Every constant that has a range is drawn from a triangle over it with its peak at the nominal value (over logarithms where the
range is positive), independently of the others and always from the same seed: that of its name and source, so that a constant
which two machines share is the same in both. All draws are one evaluation under the plan of the nominal machine: the machine
that was built is uncertain, not what its compiler chose.

A constant `FAMILY.error` is what measurements of a kernel family came to over their predictions: nominally 1, its range the 5 %
and 95 % quantiles. It is drawn anew for every distinct kernel of a network, from exponential tails on either side that have
those quantiles: the model errs by shape, so equal kernels share an error and different ones do not.

Draws are stratified: each of them takes one of as many equal slices of probability. A very large network is judged by a random
sample of its kernels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any
from zlib import crc32

import numpy as np

from edpc.ir import Elasticity
from edpc.machine.compose import kernel_sum
from edpc.machine.model import Constants, CostModel
from edpc.machine.table import Floats, Ints, KernelTable
from edpc.target import Basis, Quantity, Target

DRAWS = 64
ERROR = ".error"  # ends the names of model errors
_SEED = 20_250_101
_NUDGE = 1e-4  # relative step of an elasticity: small against what bends, large against rounding
# Variants evaluated at a time hold about this many operator figures per column: bounds the memory.
_FIGURES = 1_000_000
_MOST_OPERATORS = 10_000  # of a sample
_PER_CONTRACTION = frozenset({"owner", "batch", "m", "n", "k", "steps"})
_PER_KERNEL = frozenset({"group", "kernel_class", "rule", "launches", "anchor", "causal", "window", "query_group"})
_PER_OPERATOR = frozenset(f.name for f in fields(KernelTable)) - _PER_CONTRACTION - _PER_KERNEL


@dataclass(frozen=True, slots=True)
class Uncertainty:
    """90 % intervals [lo, hi] of the totals and the share of the EDP's sensitivity that rests on assumed constants.

    Elasticities and draws are as in `Estimate`.
    """

    energy_j: tuple[float, float]
    latency_s: tuple[float, float]
    edp_js: tuple[float, float]
    assumed_fraction: float
    elasticities: tuple[Elasticity, ...] = ()
    draws: tuple[tuple[float, float], ...] = ()


def totals(model: CostModel, table: KernelTable, target: Target, constants: Constants, plan: Any) -> tuple[Floats, Floats]:
    """Energy (J) and latency (s) of all kernels together, static energy included; one figure per variant of the constants.

    Args:
        model: the target's cost model.
        table: the columns.
        target: settings and nominal constants.
        constants: what overrides the nominal values, floats or (variants, 1).
        plan: the model's choices.
    """
    found = model.evaluate(table, target, constants, plan)
    latency = (found.compute_s + found.memory_s + found.overhead_s).sum(axis=-1)
    dynamic = (found.compute_j + found.on_chip_j + found.dram_j + found.overhead_j).sum(axis=-1)
    static = np.asarray(constants.get("static_power", target.static_power.value), float)
    return dynamic + (static[..., 0] if static.ndim else static) * latency, latency


def uncertainty(model: CostModel, table: KernelTable, target: Target, plan: Any) -> Uncertainty:
    """How sure the totals of a table are on a target; the nominal totals lie inside the intervals."""
    known = _by_role(target)
    nominal = {key: quantity.value for key, quantity in known.items()}
    energy, latency = (float(total) for total in totals(model, table, target, nominal, plan))
    here = energy, latency
    if len(table.names) > _MOST_OPERATORS:
        table = _sample(table)
        plan = model.plan(table, target)
        part_j, part_s = totals(model, table, target, nominal, plan)
        here = float(part_j), float(part_s)

    def relative(found: tuple[Floats, Floats]) -> list[Floats]:
        return [column / total if total > 0.0 else np.ones_like(column) for column, total in zip(found, here, strict=True)]

    energies, latencies = relative(_in_parts(totals, model, table, target, _drawn(model, table, target, plan), plan))
    nudged = [key for key, q in known.items() if q.value != 0.0 and not key.endswith(ERROR)]
    variants = {key: np.full((len(nudged), 1), value, float) for key, value in nominal.items()}
    for number, key in enumerate(nudged):
        variants[key][number] *= 1.0 + _NUDGE
    nudged_j, nudged_s = relative(_in_parts(totals, model, table, target, variants, plan))
    step = np.log1p(_NUDGE)
    slopes = zip((np.log(nudged_j) / step).tolist(), (np.log(nudged_s) / step).tolist(), strict=True)
    names = _names(target)
    elasticities = tuple(
        Elasticity(names[key], known[key].basis.value, *pair)
        for key, pair in zip(nudged, slopes, strict=True)
        if any(pair) or not _is_count(known[key])
    )
    weight = sum(abs(e.edp) for e in elasticities)
    assumed = sum(abs(e.edp) for e in elasticities if e.basis == Basis.ASSUMED)
    return Uncertainty(
        energy_j=_interval(energies, energy),
        latency_s=_interval(latencies, latency),
        edp_js=_interval(energies * latencies, energy * latency),
        assumed_fraction=assumed / weight if weight > 0.0 else 0.0,
        elasticities=elasticities,
        draws=tuple(zip((energies * energy).tolist(), (latencies * latency).tolist(), strict=True)),
    )


def share_constants(first: Target, second: Target) -> bool:
    """Whether a constant that is uncertain is the same unknown on both machines: of the same name and source."""
    one, other = (
        {_identity(key, q) for key, q in _by_role(t).items() if q.range is not None and q.range[0] < q.range[1]}
        for t in (first, second)
    )
    return not one.isdisjoint(other)


def _is_count(quantity: Quantity) -> bool:
    """Whether it counts parts of the machine. A model that asks only its plan about one knows no fraction of a part."""
    return quantity.unit == "1" and quantity.range is None and float(quantity.value).is_integer()


def _identity(key: str, quantity: Quantity) -> int:
    """Tells uncertain constants apart, across machines too."""
    return crc32(f"{key}\n{quantity.source}".encode())


def kernel_draws(model: CostModel, table: KernelTable, target: Target, plan: Any) -> tuple[Floats, Floats]:
    """Energy (J) and latency (s) of every kernel under the draws that `uncertainty` makes, shape (draws, kernels) each."""
    return _in_parts(_by_kernel, model, table, target, _drawn(model, table, target, plan), plan)


def _by_kernel(model: CostModel, table: KernelTable, target: Target, constants: Constants, plan: Any) -> tuple[Floats, Floats]:
    """As `totals`, kernel by kernel."""
    found = model.evaluate(table, target, constants, plan)
    latency = kernel_sum(table, found.compute_s + found.memory_s + found.overhead_s)
    dynamic = kernel_sum(table, found.compute_j + found.on_chip_j + found.dram_j + found.overhead_j)
    return dynamic + constants["static_power"] * latency, latency


def _drawn(model: CostModel, table: KernelTable, target: Target, plan: Any) -> dict[str, Floats]:
    """Every constant's draws, (draws, 1); model errors (draws, kernels). One nominal variant where nothing is uncertain."""
    known = _by_role(target)
    ranged = {key: q for key, q in known.items() if q.range is not None and q.range[0] < q.range[1]}
    draws = DRAWS if ranged else 1
    variants = {key: np.full((draws, 1), quantity.value, float) for key, quantity in known.items()}
    for key, quantity in ranged.items():
        if not key.endswith(ERROR):
            rng = np.random.default_rng([_SEED, _identity(key, quantity)])
            variants[key] = _triangle(_strata(rng, draws, 1), quantity)
    errors = [key for key in ranged if key.endswith(ERROR)]
    if errors:
        nominal = {key: np.array([[q.value]], float) for key, q in known.items()}
        alike = np.stack(_by_kernel(model, table, target, nominal, plan))[:, 0, :]
        _, kernel = np.unique(alike, axis=1, return_inverse=True)
        rng = np.random.default_rng([_SEED, *(_identity(key, ranged[key]) for key in errors)])
        strata = _strata(rng, draws, int(kernel.max(initial=-1)) + 1)
        for key in errors:
            variants[key] = _tails(strata, ranged[key])[:, kernel.reshape(-1)]
    return variants


def _strata(rng: np.random.Generator, draws: int, columns: int) -> Floats:
    """Probabilities of shape (draws, columns): in every column the middles of equal slices, in random order."""
    middles = (np.arange(draws) + 0.5) / draws
    return rng.permuted(np.broadcast_to(middles[:, None], (draws, columns)), axis=0)


def _sample(table: KernelTable) -> KernelTable:
    """Kernels drawn at random, without replacement and in order, that hold about `_MOST_OPERATORS` operators."""
    g, n = len(table.group), len(table.names)
    count = max(1, g * _MOST_OPERATORS // n)
    return some_kernels(table, np.sort(np.random.default_rng(_SEED).choice(g, count, replace=False)))


def some_kernels(table: KernelTable, chosen: Ints) -> KernelTable:
    """The table of the chosen kernels, ascending, with their operators and contractions."""
    g, n = len(table.group), len(table.names)
    kernel_at = np.full(g, -1)
    kernel_at[chosen] = np.arange(len(chosen))
    rows = np.flatnonzero(kernel_at[table.kernel] >= 0)
    row_at = np.full(n, -1)
    row_at[rows] = np.arange(len(rows))
    products = np.flatnonzero(row_at[table.owner] >= 0)
    by_length: dict[str, Any] = {}
    for f in fields(KernelTable):
        column = getattr(table, f.name)
        index = rows if f.name in _PER_OPERATOR else products if f.name in _PER_CONTRACTION else chosen
        by_length[f.name] = column[index] if isinstance(column, np.ndarray) else tuple(column[i] for i in index if column)
    taken = replace(table, **by_length)
    return replace(taken, kernel=kernel_at[taken.kernel], owner=row_at[taken.owner], anchor=row_at[taken.anchor])


def _by_role(target: Target) -> dict[str, Quantity]:
    """Every constant with its basis and range, by the names of `Target.constants`."""
    quantities = target.quantities()
    return {key: quantities[name] for key, name in _names(target).items()}


def _names(target: Target) -> dict[str, str]:
    """The names of `Target.constants`, each with the one that `--set` takes."""
    roles = {memory.name: memory.role for memory in target.memories}
    found = {}
    for name in target.quantities():
        head, _, rest = name.partition(".")
        found[f"{roles[head]}.{rest}" if head in roles else name] = name
    return found


def _triangle(probability: Floats, quantity: Quantity) -> Floats:
    """Quantiles of the triangle over a constant's range with its peak at the nominal value; over logarithms if positive."""
    low, high = quantity.range or (quantity.value, quantity.value)
    positive = low > 0.0
    a, peak, b = (np.log(x) if positive else x for x in (low, quantity.value, high))
    left = (peak - a) / (b - a)
    below = a + np.sqrt(probability * (b - a) * (peak - a))
    above = b - np.sqrt((1.0 - probability) * (b - a) * (b - peak))
    drawn: Floats = np.where(probability < left, below, above)
    return np.exp(drawn) if positive else drawn


def _tails(probability: Floats, quantity: Quantity) -> Floats:
    """Quantiles of a model error: its logarithm decays exponentially on both sides of 0, 5 % of it beyond each end."""
    low, high = quantity.range or (1.0, 1.0)
    side = np.where(probability < 0.5, np.log(low), np.log(high))
    beyond = 2.0 * np.minimum(probability, 1.0 - probability)
    drawn: Floats = np.exp(side * np.log(beyond) / np.log(0.1))
    return drawn


def _in_parts(
    figures: Callable[[CostModel, KernelTable, Target, Constants, Any], tuple[Floats, Floats]],
    model: CostModel,
    table: KernelTable,
    target: Target,
    variants: dict[str, Floats],
    plan: Any,
) -> tuple[Floats, Floats]:
    """Energy and latency of every variant, evaluated so many at a time that memory stays bounded."""
    count = len(next(iter(variants.values())))
    step = max(1, _FIGURES // max(len(table.names), 1))
    parts = []
    for start in range(0, count, step):
        constants = {key: column[start : start + step] for key, column in variants.items()}
        parts.append(figures(model, table, target, constants, plan))
    energies, latencies = (np.concatenate(column) for column in zip(*parts, strict=True))
    return energies, latencies


def _interval(draws: Floats, nominal: float) -> tuple[float, float]:
    """The middle 90 % of draws relative to the nominal value, widened to it where it lies outside."""
    ascending = np.sort(draws)
    # Draws are the middles of slices of probability. (`numpy.quantile` would import masked arrays for it.)
    low, high = np.interp(np.array([0.05, 0.95]) * len(draws) - 0.5, np.arange(len(draws)), ascending)
    return min(float(low), 1.0) * nominal, max(float(high), 1.0) * nominal
