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
from functools import lru_cache
from typing import Any
from zlib import crc32

import numpy as np

from edpc.ir import Elasticity
from edpc.machine.compose import kernel_sum
from edpc.machine.model import Asked, Constants, CostModel
from edpc.machine.table import CostColumns, Floats, Ints, KernelTable
from edpc.target import Basis, Quantity, Target

_Figures = Callable[[CostModel, KernelTable, Target, Constants, Any], tuple[Floats, Floats]]  # energy and latency
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
    return _summed(model.evaluate(table, target, constants, plan), target, constants)


def _summed(found: CostColumns, target: Target, constants: Constants) -> tuple[Floats, Floats]:
    """As `totals`, of columns."""
    latency = (found.compute_s + found.memory_s + found.overhead_s).sum(axis=-1)
    dynamic = (found.compute_j + found.on_chip_j + found.dram_j + found.overhead_j).sum(axis=-1)
    static = np.asarray(constants.get("static_power", target.static_power.value), float)
    return dynamic + (static[..., 0] if static.ndim else static) * latency, latency


def uncertainty(model: CostModel, table: KernelTable, target: Target, plan: Any) -> Uncertainty:
    """How sure the totals of a table are on a target; the nominal totals lie inside the intervals."""
    known = _by_role(target)
    asked = Asked({key: quantity.value for key, quantity in known.items()})
    nominal = model.evaluate(table, target, asked, plan)
    energy, latency = (float(total) for total in _summed(nominal, target, asked))
    here = energy, latency
    if len(table.names) > _MOST_OPERATORS:
        table = _sample(table)
        plan = model.plan(table, target)
        nominal = model.evaluate(table, target, asked, plan)
        part_j, part_s = _summed(nominal, target, asked)
        here = float(part_j), float(part_s)

    varied, draws, nudged = _varied(model, table, target, plan, asked, nominal)
    relative = [column / total if total > 0.0 else np.ones_like(column) for column, total in zip(varied, here, strict=True)]
    energies, latencies = (column[:draws] for column in relative)
    step = np.log1p(_NUDGE)
    pairs = list(zip(*((np.log(column[draws:]) / step).tolist() for column in relative), strict=True))
    slopes = dict(zip(nudged, pairs[1:], strict=True))
    names = target.names()
    elasticities = tuple(
        Elasticity(names[key], quantity.basis.value, *pair)
        for key, quantity in known.items()
        if quantity.value != 0.0 and not key.endswith(ERROR)
        # What no figure asks for has no influence: its machine is the nominal one.
        if any(pair := slopes.get(key, pairs[0])) or not _is_count(quantity)
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


def _varied(
    model: CostModel, table: KernelTable, target: Target, plan: Any, asked: Asked, nominal: CostColumns
) -> tuple[tuple[Floats, Floats], int, list[str]]:
    """Totals of the drawn machines, of the nominal one, and of one for each constant with that constant nudged.

    Only constants that a figure asks for are varied. Which these are is seen in the asking, here too: a drawn machine may ask
    for more than the nominal one.

    Returns:
        Energy and latency, one figure per machine in that order; how many draws there are; and the nudged constants.
    """
    known = _by_role(target)
    while True:
        before = set(asked.names)
        keys = [key for key in known if key in before]
        drawn = _drawn(target, table, nominal, asked, keys)
        draws = len(next(iter(drawn.values())))
        nudged = [key for key in keys if known[key].value != 0.0 and not key.endswith(ERROR)]
        variants = {}
        for key, column in drawn.items():
            others = np.full((1 + len(nudged), column.shape[1]), known[key].value, float)
            variants[key] = np.concatenate([column, others])
        for number, key in enumerate(nudged, draws + 1):
            variants[key][number] *= 1.0 + _NUDGE
        found = _in_parts(totals, model, table, target, asked, variants, plan)
        if asked.names == before:
            return found, draws, nudged


def _is_ranged(quantity: Quantity) -> bool:
    return quantity.range is not None and quantity.range[0] < quantity.range[1]


def share_constants(first: Target, second: Target) -> bool:
    """Whether a constant that is uncertain is the same unknown on both machines: of the same name and source."""
    one, other = ({_identity(key, q) for key, q in _by_role(t).items() if _is_ranged(q)} for t in (first, second))
    return not one.isdisjoint(other)


def _is_count(quantity: Quantity) -> bool:
    """Whether it counts parts of the machine. A model that asks only its plan about one knows no fraction of a part."""
    return quantity.unit == "1" and quantity.range is None and float(quantity.value).is_integer()


def _identity(key: str, quantity: Quantity) -> int:
    """Tells uncertain constants apart, across machines too."""
    return crc32(f"{key}\n{quantity.source}".encode())


def kernel_draws(model: CostModel, table: KernelTable, target: Target, plan: Any) -> tuple[Floats, Floats]:
    """Energy (J) and latency (s) of every kernel under the draws that `uncertainty` makes, shape (draws, kernels) each."""
    asked, variants = _all_drawn(model, table, target, plan)
    return _in_parts(_by_kernel, model, table, target, asked, variants, plan)


def total_draws(model: CostModel, table: KernelTable, target: Target, plan: Any) -> tuple[Floats, Floats]:
    """Energy (J) and latency (s) of all kernels: of the nominal machine, then under these draws, shape (1 + draws,) each."""
    asked, variants = _all_drawn(model, table, target, plan)
    nominal_first = {key: np.vstack([np.full_like(column[:1], asked.held[key]), column]) for key, column in variants.items()}
    return _in_parts(totals, model, table, target, asked, nominal_first, plan)


def constant_draws(target: Target) -> dict[str, Floats]:
    """Every constant but model errors, nominal and then drawn, by the names of `Target.constants`, shape (1 + draws,) each."""
    known = {key: quantity for key, quantity in _by_role(target).items() if not key.endswith(ERROR)}
    draws = DRAWS if any(map(_is_ranged, _by_role(target).values())) else 1
    found = {key: np.full(1 + draws, quantity.value, float) for key, quantity in known.items()}
    for key, quantity in known.items():
        if _is_ranged(quantity):
            found[key][1:] = _draws_of(_identity(key, quantity), quantity.value, *(quantity.range or ()))[:, 0]
    return found


def interval(draws: Floats, nominal: float) -> tuple[float, float]:
    """The middle 90 % of draws of a figure, widened to its nominal value where that lies outside."""
    return _interval(draws / nominal, nominal)


def _all_drawn(model: CostModel, table: KernelTable, target: Target, plan: Any) -> tuple[Asked, dict[str, Floats]]:
    """The nominal constants, and draws of all of them."""
    asked = Asked(target.constants())
    nominal = model.evaluate(table, target, asked, plan)
    return asked, _drawn(target, table, nominal, asked, list(asked))


def _by_kernel(model: CostModel, table: KernelTable, target: Target, constants: Constants, plan: Any) -> tuple[Floats, Floats]:
    """As `totals`, kernel by kernel."""
    return _per_kernel(model.evaluate(table, target, constants, plan), table, constants)


def _per_kernel(found: CostColumns, table: KernelTable, constants: Constants) -> tuple[Floats, Floats]:
    latency = kernel_sum(table, found.compute_s + found.memory_s + found.overhead_s)
    dynamic = kernel_sum(table, found.compute_j + found.on_chip_j + found.dram_j + found.overhead_j)
    return dynamic + constants["static_power"] * latency, latency


def _drawn(target: Target, table: KernelTable, nominal: CostColumns, constants: Constants, keys: list[str]) -> dict[str, Floats]:
    """Draws of the constants `keys`, (draws, 1); model errors (draws, kernels). One variant where nothing is uncertain.

    Args:
        target: the machine.
        table: the columns.
        nominal: what they cost at its nominal constants.
        constants: these constants.
        keys: what to draw.
    """
    known = _by_role(target)
    ranged = {key: q for key, q in known.items() if _is_ranged(q)}
    errors = {key: q for key, q in ranged.items() if key.endswith(ERROR)}
    draws = DRAWS if ranged else 1
    variants = {}
    for key in keys:
        if key not in ranged:
            variants[key] = np.full((draws, 1), known[key].value, float)
        elif key not in errors:
            variants[key] = _draws_of(_identity(key, known[key]), known[key].value, *(known[key].range or ()))
    if asked := [key for key in keys if key in errors]:
        alike = np.stack(_per_kernel(nominal, table, constants))
        _, kernel = np.unique(alike, axis=1, return_inverse=True)
        rng = np.random.default_rng([_SEED, *(_identity(key, q) for key, q in errors.items())])
        strata = _strata(rng, draws, int(kernel.max(initial=-1)) + 1)
        for key in asked:
            variants[key] = _tails(strata, errors[key])[:, kernel.reshape(-1)]
    return variants


@lru_cache(maxsize=4096)
def _draws_of(identity: int, peak: float, low: float, high: float) -> Floats:
    """The draws of a constant, (draws, 1); they are not to be written to."""
    rng = np.random.default_rng([_SEED, identity])
    drawn = _triangle(_strata(rng, DRAWS, 1), low, peak, high)
    drawn.setflags(write=False)
    return drawn


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
    return {key: quantities[name] for key, name in target.names().items()}


def _triangle(probability: Floats, low: float, peak: float, high: float) -> Floats:
    """Quantiles of the triangle from low to high with that peak; over logarithms if the range is positive."""
    positive = low > 0.0
    a, peak, b = (np.log(x) if positive else x for x in (low, peak, high))
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
    figures: _Figures,
    model: CostModel,
    table: KernelTable,
    target: Target,
    asked: Asked,
    variants: dict[str, Floats],
    plan: Any,
) -> tuple[Floats, Floats]:
    """Energy and latency of every variant, so many at a time that memory stays bounded; other constants are `asked`."""
    count = len(next(iter(variants.values())))
    step = max(1, _FIGURES // max(len(table.names), 1))
    parts = []
    for start in range(0, count, step):
        some = {key: column[start : start + step] for key, column in variants.items()}
        constants = Asked({**asked.held, **some}, asked.names)
        parts.append(figures(model, table, target, constants, plan))
    energies, latencies = (np.concatenate(column) for column in zip(*parts, strict=True))
    return energies, latencies


def _interval(draws: Floats, nominal: float) -> tuple[float, float]:
    """The middle 90 % of draws relative to the nominal value, widened to it where it lies outside."""
    ascending = np.sort(draws)
    # Draws are the middles of slices of probability. (`numpy.quantile` would import masked arrays for it.)
    low, high = np.interp(np.array([0.05, 0.95]) * len(draws) - 0.5, np.arange(len(draws)), ascending)
    return min(float(low), 1.0) * nominal, max(float(high), 1.0) * nominal
