"""How resource times of a kernel combine into its latency, and which operator pays for what.

A kernel's resources overlap: T = overhead + (compute^q + memory^q)^(1/q), the maximum for q = infinity. The price of a
resource is its Aumann-Shapley share of T: t_i^q / (t_c^q + t_m^q) of the overlapped part. With the maximum that is all of it
for the binding resource, and half each on a tie. Operators pay the price in proportion to their use of the resource.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edpc.machine.model import spread, summed
from edpc.machine.table import Floats, KernelTable


@dataclass(frozen=True, slots=True)
class Latency:
    """Latency by component: per operator, shape (..., n), and `total` per kernel, shape (..., g)."""

    compute_s: Floats
    memory_s: Floats
    overhead_s: Floats
    total: Floats


def overlap(first: Floats, second: Floats, q: float | Floats) -> Floats:
    """The latency of two overlapping activities: (first^q + second^q)^(1/q); the longer one for q = infinity.

    Args:
        first: s, not negative.
        second: s, not negative, of a shape that broadcasts with `first`.
        q: 1 (in sequence) to infinity (perfect overlap).
    """
    total, _ = _overlap(np.asarray(first), np.asarray(second), q)
    return total


def compose(
    table: KernelTable,
    compute_s: Floats,
    memory_s: Floats,
    overhead_s: Floats,
    q: float | Floats,
    op_compute: Floats,
    op_memory: Floats,
) -> Latency:
    """Every operator's part of its kernel's latency, by component; parts sum to T = overhead + overlap(compute, memory, q).

    Overhead (launch, set-up, floors) is divided equally among the kernel's operators that are not free; a kernel of free
    operators only divides it among all of them.

    Args:
        table: the columns.
        compute_s: how long the compute resource of a kernel is busy, shape (..., g).
        memory_s: how long its memory path is busy, shape (..., g).
        overhead_s: what comes on top (launch, set-up, floors), shape (..., g).
        q: the overlap exponent, a number or shape (..., g).
        op_compute: operators' use of the compute resource, in any unit, shape (..., n).
        op_memory: operators' use of the memory path, in any unit, shape (..., n).

    Returns:
        The latency by component.
    """
    shape = np.broadcast_shapes(np.shape(compute_s), np.shape(memory_s), np.shape(overhead_s), np.shape(q))
    compute, memory, overhead = (np.broadcast_to(x, shape) for x in (compute_s, memory_s, overhead_s))
    together, share = _overlap(compute, memory, q)
    price = together * share
    busy = np.where(table.free, 0.0, 1.0)
    return Latency(
        compute_s=spread(price, op_compute, table.kernel),
        memory_s=spread(together - price, op_memory, table.kernel),
        overhead_s=spread(overhead, busy, table.kernel),
        total=together + overhead,
    )


def kernel_sum(table: KernelTable, per_operator: Floats) -> Floats:
    """Sums a column over the operators of each kernel: shape (..., n) to (..., g)."""
    return summed(np.asarray(per_operator, float), table.kernel, len(table.group))


def external_bytes(table: KernelTable) -> Floats:
    """Bytes every operator moves across its kernel's border, from and to any memory, shape (n,)."""
    return table.weight_bytes + table.cold_bytes + table.warm_bytes + table.write_bytes


def dram_bytes(table: KernelTable) -> Floats:
    """Bytes every operator moves from and to DRAM, shape (n,): weights, cold activations and all results."""
    return table.weight_bytes + table.cold_bytes + table.write_bytes


def _overlap(first: Floats, second: Floats, q: float | Floats) -> tuple[Floats, Floats]:
    """The overlapped time and the first activity's share of it."""
    longest = np.maximum(first, second)
    scale = np.where(longest > 0.0, longest, 1.0)
    exponent = np.asarray(q, float)
    sharp = np.isinf(exponent)
    power = np.where(sharp, 1.0, exponent)
    a, b = ((x / scale) for x in (first, second))
    a = np.where(sharp, a >= 1.0, a**power)
    b = np.where(sharp, b >= 1.0, b**power)
    both = a + b
    total = longest * np.where(sharp, 1.0, both ** (1.0 / power))
    share = np.where(both > 0.0, a / np.where(both > 0.0, both, 1.0), 0.0)
    return total, share
