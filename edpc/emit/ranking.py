"""Which subgraphs matter: Aumann-Shapley shares of the chosen metric, ranked and accumulated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from edpc.report import Report, SubgraphReport
from edpc.report.records import EXPONENTS

LEVELS = (50, 80, 90, 95, 99)


@dataclass(frozen=True, slots=True)
class Ranked:
    """A subgraph with its share of the metric, and the share of it and all before it."""

    subgraph: SubgraphReport
    share: float
    cumulative: float


def rank(report: Report) -> list[Ranked]:
    """Subgraphs by falling share of the report's metric; equals in order of execution."""
    energy, latency = EXPONENTS[report.metric]
    shares = [((energy * s.energy_fraction + latency * s.latency_fraction) / (energy + latency), s) for s in report.subgraphs]
    shares.sort(key=lambda pair: -pair[0])
    running = accumulate(share for share, _ in shares)
    return [Ranked(subgraph, share, total) for (share, subgraph), total in zip(shares, running, strict=True)]


def counts(ranked: Sequence[Ranked]) -> dict[int, int]:
    """How many of the first subgraphs make 50, 80, 90, 95 and 99 % of the metric."""
    return {
        level: next((i for i, r in enumerate(ranked, 1) if r.cumulative >= level / 100 - 1e-12), len(ranked)) for level in LEVELS
    }
