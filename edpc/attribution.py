"""How an energy-delay product is divided so that the parts sum to the whole.

EDP = E * T is a product of two sums and not additive. The Shapley value of the game v(S) = E(S) * T(S), where a set of parts has
the sum of their energies and of their latencies, is (E_i * T + T_i * E) / 2: for every other part j, i is added before or after
it equally often, so each cross term E_i * T_j + T_i * E_j is halved between the two, and E_i * T_i is i's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum

from edpc.ir import Cost
from edpc.target import Target


@dataclass(frozen=True, slots=True)
class Totals:
    """Energy (J) and latency (s) of a whole model."""

    energy_j: float
    latency_s: float

    @property
    def edp_js(self) -> float:
        """Energy times latency."""
        return self.energy_j * self.latency_s

    def share(self, part: Cost) -> float:
        """The part's Shapley share of the whole's EDP, in J*s; shares of parts that sum to the whole sum to its EDP."""
        return (part.energy_j * self.latency_s + part.latency_s * self.energy_j) / 2.0


def proportional(whole: float, weights: Sequence[float]) -> list[float]:
    """The whole divided in proportion to the weights, equally where all are zero; the parts sum to it.

    Args:
        whole: what is divided.
        weights: one per part, not negative.
    """
    total = fsum(weights)
    if total <= 0.0:
        return [whole / len(weights)] * len(weights)
    return [whole * (weight / total) for weight in weights]


def modified(whole: float, base: Sequence[float], factors: Sequence[float]) -> list[float]:
    """The whole divided in proportion to base times factor, as the base where all products vanish."""
    products = [share * factor for share, factor in zip(base, factors, strict=True)]
    return proportional(whole, products if any(products) else base)


def declared_modifiers(target: Target) -> dict[str, tuple[float, float]]:
    """Kind of operator to declared (fused, separate) modifier; the first that names a kind wins, others have 1 and 1."""
    found: dict[str, tuple[float, float]] = {}
    for modifier in target.modifiers:
        for kind in sorted(modifier.kinds):
            found.setdefault(kind, (modifier.fused, modifier.separate))
    return found


def fusion_benefit(cost: Cost, alone: Cost, fused: Totals, separate: Totals) -> float:
    """What of E'T' - E*T, separate minus fused, is due to one operator, in J*s.

    E'T' - E*T = ((E' - E)(T' + T) + (T' - T)(E' + E)) / 2, which is linear in the two differences, so the operators' own
    differences divide it exactly.

    Args:
        cost: the operator's part of its fused kernel.
        alone: the kernel it would be alone.
        fused: the model as compiled.
        separate: the model if nothing were fused.
    """
    energy = alone.energy_j - cost.energy_j
    latency = alone.latency_s - cost.latency_s
    return (energy * (separate.latency_s + fused.latency_s) + latency * (separate.energy_j + fused.energy_j)) / 2.0
