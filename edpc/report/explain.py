"""Why one machine's EDP differs from another's: the ratio as a product of causes, exact and in no order.

Both machines run the same network. A *cause* is what one of them may take from the other: how long its arithmetic keeps its
units busy, what a FLOP costs, and so on; *fusion* is which operators it runs as one kernel. Where a cause is exchanged, every
kernel takes that column of the other machine, priced for the same operators in the same groups. With eight causes there are
256 mixtures of the two machines, each with its EDP; the part of a cause is its Shapley value in the logarithm of the EDP, the
mean change it makes over all orders in which the causes could be exchanged.
"""

from __future__ import annotations

import math
from itertools import product

import numpy as np
from numpy.typing import NDArray

from edpc.errors import UsageError
from edpc.machine.exchange import KernelColumns, kernel_columns
from edpc.machine.walk import walk
from edpc.report.records import Record, Report

# Axes of the mixtures, in this order: 0 takes the first machine's column, 1 the second's.
CAUSES = {
    "peak_compute": "peak compute and utilisation",
    "arithmetic_energy": "arithmetic energy",
    "dram_bandwidth": "DRAM bandwidth",
    "dram_energy": "DRAM energy",
    "on_chip_traffic": "on-chip traffic",
    "static_power": "static power",
    "launch_overhead": "launch overhead",
    "fusion": "fusion",
}
Sides = tuple[KernelColumns, KernelColumns]


class CausePart(Record, frozen=True):
    """A cause's factor of the EDP ratio; log_ratio is its logarithm, fraction its share of the ratio's, null for a ratio of 1."""

    cause: str
    factor: float
    log_ratio: float
    fraction: float | None


class Explanation(Record, frozen=True):
    """EDP of the first target over that of the second, as a product of causes; the parts' factors multiply to the ratio."""

    first: str
    second: str
    edp_ratio: float
    parts: tuple[CausePart, ...]
    sentence: str


def explain(first: Report, second: Report) -> Explanation:
    """The ratio of two reports' EDPs by cause.

    Args:
        first: of a graph on a target, compiled in this process.
        second: of the same network.

    Raises:
        UsageError: a report was read from a file, the networks differ, or one costs nothing.
    """
    names = _label(first, second), _label(second, first)
    graphs, targets = (first.graph, second.graph), (first.machine, second.machine)
    if graphs[0] is None or graphs[1] is None or targets[0] is None or targets[1] is None:
        raise UsageError("a comparison is explained from the graphs; a report that was read from a file does not hold its own")
    operators = [dict.fromkeys(graph.compute_order()) for graph in (graphs[0], graphs[1])]
    if not operators[0].keys() & operators[1].keys():
        raise UsageError(f"{first.model.name} and {second.model.name} share no operator; an explanation needs one network")
    walks = walk(graphs[0]), walk(graphs[1])
    partitions = []
    for graph in (graphs[0], graphs[1]):
        inside = {name for group in graph.groups for name in group.members}
        others = [name for name in operators[0] | operators[1] if name not in inside]
        partitions.append(
            (
                kernel_columns(walks[0], targets[0], graph.groups, others),
                kernel_columns(walks[1], targets[1], graph.groups, others),
            )
        )
    edp = mixtures(partitions[0], partitions[1])
    if not np.all(edp > 0.0) or not np.all(np.isfinite(edp)):
        raise UsageError(f"{first.model.name} costs nothing on {names[0]} or {names[1]}, so there is no ratio to explain")
    parts = shapley(np.log(edp))
    ratio = first.edp_js / second.edp_js
    whole = math.log(ratio)
    # What the columns were summed in another order leaves goes in proportion, so that the factors multiply to the ratio.
    rest = whole - math.fsum(parts)
    size = math.fsum(map(abs, parts))
    parts = [part + (rest * abs(part) / size if size else 0.0) for part in parts]
    found = tuple(
        CausePart(cause, math.exp(part), part, part / whole if whole else None) for cause, part in zip(CAUSES, parts, strict=True)
    )
    return Explanation(*names, ratio, found, _sentence(*names, ratio, found))


def mixtures(own: Sides, other: Sides) -> NDArray[np.float64]:
    """The EDP of every mixture of two machines, shape (2,) * 8 with the axes of `CAUSES`.

    Args:
        own: kernels in the first machine's groups, on the first machine and on the second.
        other: the same in the second machine's groups.
    """
    edp = np.zeros((2,) * len(CAUSES))
    for fusion, sides in enumerate((own, other)):
        joules = {
            name: [float(getattr(side, name).sum()) for side in sides]
            for name in ("compute_j", "dram_j", "on_chip_j", "overhead_j")
        }
        for compute, memory, launch in product((0, 1), repeat=3):
            busy = np.maximum(sides[compute].compute_s, sides[memory].memory_s)
            latency = sides[launch].overhead_s + sides[compute].overlap * busy
            total = float(latency.sum())
            background = [float((side.background_w * latency).sum()) for side in sides]
            for flop, byte, chip, static in product((0, 1), repeat=4):
                energy = (
                    joules["compute_j"][flop]
                    + joules["dram_j"][byte]
                    + joules["on_chip_j"][chip]
                    + joules["overhead_j"][launch]
                    + background[static]
                )
                edp[compute, flop, memory, byte, chip, static, launch, fusion] = energy * total
    return edp


def shapley(value: NDArray[np.float64]) -> list[float]:
    """Every axis's mean change of `value` from index 1 to index 0, over all orders of the axes; the sum is the whole change.

    Args:
        value: shape (2,) * n.
    """
    n = value.ndim
    ones = np.indices((2,) * (n - 1)).sum(axis=0)
    weight = np.array([math.factorial(k) * math.factorial(n - 1 - k) / math.factorial(n) for k in range(n)])[ones]
    return [float((weight * (value.take(0, axis) - value.take(1, axis))).sum()) for axis in range(n)]


def _label(report: Report, beside: Report) -> str:
    """The target's name, with what tells two reports of one target apart."""
    target, other = report.target, beside.target
    if target.name != other.name:
        return target.name
    return f"{target.name} {target.precision}" if target.precision != other.precision else f"{target.name} batch {target.batch}"


def _sentence(first: str, second: str, ratio: float, parts: tuple[CausePart, ...]) -> str:
    """What makes most of the ratio, and what works against it."""
    if ratio < 1.0:
        first, second, ratio = second, first, 1.0 / ratio
        parts = tuple(CausePart(p.cause, 1.0 / p.factor, -p.log_ratio, p.fraction) for p in parts)
    by_size = sorted(parts, key=lambda p: -p.log_ratio)
    towards = [p for p in by_size if p.factor >= 1.05]
    against = [p for p in reversed(by_size) if p.factor <= 1.0 / 1.05]
    text = f"{first} needs {ratio:.3g} times the EDP of {second}"
    if towards:
        text += ": " + ", ".join(f"{CAUSES[p.cause]} makes {p.factor:.3g} times" for p in towards[:4])
    if against:
        text += "; against that, " + ", ".join(f"{CAUSES[p.cause]} {1.0 / p.factor:.3g} times less" for p in against[:3])
    return text + "."
