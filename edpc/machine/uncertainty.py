"""How sure a total is: 90 % intervals under the constants' ranges, and how much of it rests on assumptions.

Every constant that has a range is drawn from a triangle over it with its peak at the nominal value (over logarithms where the
range is positive), independently of the others, in equally probable strata (a Latin hypercube) and always from the same seed:
that of its name and source, so that a constant which two machines share is the same in both. All draws are one evaluation
under the plan of the nominal machine: the machine that was built is uncertain, not what its compiler chose. A very large
network is judged by a random sample of its kernels.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any
from zlib import crc32

import numpy as np

from edpc.ir import Elasticity
from edpc.machine.model import Constants, CostModel
from edpc.machine.table import Floats, KernelTable
from edpc.target import Basis, Quantity, Target

DRAWS = 64
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
    ranged = {key: q for key, q in known.items() if q.range is not None and q.range[0] < q.range[1]}
    nudged = [key for key, q in known.items() if q.value != 0.0]
    draws = DRAWS if ranged else 0

    # One column of variants per constant: first the draws, then one nudge each.
    variants = {key: np.full(draws + len(nudged), value, float) for key, value in nominal.items()}
    for key, quantity in ranged.items():
        variants[key][:draws] = _draw(np.random.default_rng([_SEED, _identity(key, quantity)]), quantity, draws)
    for number, key in enumerate(nudged):
        variants[key][draws + number] *= 1.0 + _NUDGE
    energies, latencies = (
        column / total if total > 0.0 else np.ones_like(column)
        for column, total in zip(_in_parts(model, table, target, variants, plan), here, strict=True)
    )
    step = np.log1p(_NUDGE)
    slopes = zip((np.log(energies[draws:]) / step).tolist(), (np.log(latencies[draws:]) / step).tolist(), strict=True)
    names = _names(target)
    elasticities = tuple(
        Elasticity(names[key], known[key].basis.value, *pair)
        for key, pair in zip(nudged, slopes, strict=True)
        if any(pair) or not _is_count(known[key])
    )
    weight = sum(abs(e.edp) for e in elasticities)
    assumed = sum(abs(e.edp) for e in elasticities if e.basis == Basis.ASSUMED)
    return Uncertainty(
        energy_j=_interval(energies[:draws], energy),
        latency_s=_interval(latencies[:draws], latency),
        edp_js=_interval((energies * latencies)[:draws], energy * latency),
        assumed_fraction=assumed / weight if weight > 0.0 else 0.0,
        elasticities=elasticities,
        draws=tuple(zip((energies[:draws] * energy).tolist(), (latencies[:draws] * latency).tolist(), strict=True)),
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


def _sample(table: KernelTable) -> KernelTable:
    """Kernels drawn at random, without replacement and in order, that hold about `_MOST_OPERATORS` operators."""
    g, n = len(table.group), len(table.names)
    count = max(1, g * _MOST_OPERATORS // n)
    chosen = np.sort(np.random.default_rng(_SEED).choice(g, count, replace=False))
    kernel_at = np.full(g, -1)
    kernel_at[chosen] = np.arange(count)
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


def _draw(rng: np.random.Generator, quantity: Quantity, count: int) -> Floats:
    """Values from a triangle over the range, one from each of `count` equally probable strata, in random order."""
    low, high = quantity.range or (quantity.value, quantity.value)
    peak = quantity.value
    positive = low > 0.0
    if positive:
        low, peak, high = np.log(low), np.log(peak), np.log(high)
    chance = (rng.permutation(count) + rng.random(count)) / count
    rising = (peak - low) / (high - low)
    drawn = np.where(
        chance < rising,
        low + np.sqrt(chance * (high - low) * (peak - low)),
        high - np.sqrt((1.0 - chance) * (high - low) * (high - peak)),
    )
    return np.exp(drawn) if positive else drawn


def _in_parts(
    model: CostModel, table: KernelTable, target: Target, variants: dict[str, Floats], plan: Any
) -> tuple[Floats, Floats]:
    """Energy and latency of every variant, evaluated so many at a time that memory stays bounded."""
    count = len(next(iter(variants.values())))
    step = max(1, _FIGURES // max(len(table.names), 1))
    energies, latencies = np.zeros(count), np.zeros(count)
    for start in range(0, count, step):
        part = slice(start, start + step)
        constants = {key: column[part, None] for key, column in variants.items()}
        energies[part], latencies[part] = totals(model, table, target, constants, plan)
    return energies, latencies


def _interval(draws: Floats, nominal: float) -> tuple[float, float]:
    """The middle 90 % of draws relative to the nominal value, widened to it where it lies outside."""
    if not len(draws):
        return nominal, nominal
    ascending = np.sort(draws)
    # As `numpy.quantile`, which would import masked arrays for it.
    low, high = np.interp(np.array([0.05, 0.95]) * (len(draws) - 1), np.arange(len(draws)), ascending)
    return min(float(low), 1.0) * nominal, max(float(high), 1.0) * nominal
