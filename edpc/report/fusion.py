"""Fused against separate: what running operators as one kernel saved, by cause, for a model and for each of its subgraphs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import fields
from operator import attrgetter

from edpc.ir import Cost, Kernel
from edpc.report.records import ByCause, Execution, Fusion, Saved

_components = attrgetter(*(field.name for field in fields(Cost)))


_NOTHING = Saved(0.0, 0.0, 0.0, 0, 0, 0.0, ByCause(0.0, 0.0, 0.0, 0.0))


def total_cost(costs: Iterable[Cost]) -> Cost:
    """The exact sum, component by component."""
    columns = zip(*map(_components, costs), strict=True)
    return Cost(*map(math.fsum, columns))


def execution(cost: Cost, kernels: Iterable[Kernel]) -> Execution:
    """What these kernels cost together.

    Args:
        cost: the sum of their costs.
        kernels: counted for accesses and launches.
    """
    counts = [(kernel.dram_accesses, kernel.launches) for kernel in kernels]
    return Execution(
        energy_j=cost.energy_j,
        latency_s=cost.latency_s,
        edp_js=cost.energy_j * cost.latency_s,
        dram_accesses=sum(accesses for accesses, _ in counts),
        launches=sum(launches for _, launches in counts),
        dram_bytes=cost.dram_bytes,
    )


class Saving:
    """What fusing saved, as a model of two executions whose difference divides over its subgraphs.

    E_s T_s - E_f T_f = (E_s - E_f) Tm + (T_s - T_f) Em, with Tm and Em the means of both, is linear in the differences: those
    of a subgraph are its part.

    Attributes:
        fused, separate: the model both ways.
    """

    def __init__(self, fused: Execution, separate: Execution) -> None:
        """Takes the model both ways."""
        self.fused = fused
        self.separate = separate
        self._mean_s = (separate.latency_s + fused.latency_s) / 2
        self._mean_j = (separate.energy_j + fused.energy_j) / 2

    def of_model(self, together: Cost, apart: Cost) -> Fusion:
        """The model's saving by cause, given the sums of its kernels' costs fused and of its operators' apart."""
        whole = self.separate.edp_js - self.fused.edp_js
        return Fusion(
            fused=self.fused, separate=self.separate, saved=self._saved(self.fused, self.separate, together, apart, whole)
        )

    def of_part(self, together: Cost, kernel: Kernel, alone: Sequence[Kernel]) -> Saved:
        """What one subgraph saves, given its cost, its kernel and its operators' kernels."""
        if len(alone) == 1 and (alone[0].cost, alone[0].launches) == (together, kernel.launches):
            return _NOTHING
        apart = total_cost(kernel.cost for kernel in alone)
        before, after = execution(apart, alone), execution(together, (kernel,))
        energy, latency = before.energy_j - after.energy_j, before.latency_s - after.latency_s
        return self._saved(after, before, together, apart, energy * self._mean_s + latency * self._mean_j)

    def _saved(self, fused: Execution, separate: Execution, together: Cost, apart: Cost, edp_js: float) -> Saved:
        """The differences, and the saved EDP by cause."""
        dram = (apart.dram_j - together.dram_j) * self._mean_s
        static = (apart.static_j - together.static_j) * self._mean_s
        launch_s, launch_j = apart.overhead_s - together.overhead_s, apart.overhead_j - together.overhead_j
        launch = launch_s * self._mean_j + launch_j * self._mean_s
        return Saved(
            energy_j=separate.energy_j - fused.energy_j,
            latency_s=separate.latency_s - fused.latency_s,
            edp_js=edp_js,
            dram_accesses=separate.dram_accesses - fused.dram_accesses,
            launches=separate.launches - fused.launches,
            dram_bytes=separate.dram_bytes - fused.dram_bytes,
            by_cause=ByCause(dram, static, launch, math.fsum((edp_js, -dram, -static, -launch))),
        )
