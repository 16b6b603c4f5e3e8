"""The plain roofline: T = max(F/peak, B/BW) + launch, E = F e_flop + B e_byte; a reference, not a model of a machine.

Every kernel reads its operands and weights from DRAM and writes its results there, at peak rates; nothing else happens.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from edpc.machine.compose import compose, external_bytes, kernel_sum
from edpc.machine.model import Constants, CostModel, completed, register
from edpc.machine.rates import arithmetic_energy, arithmetic_time, utilization
from edpc.machine.table import CostColumns, KernelTable
from edpc.target import Target


class Roofline(CostModel):
    """See the module."""

    architecture: ClassVar[str] = "roofline"
    parameters: ClassVar[Mapping[str, tuple[str, str]]] = {"launch": ("s", "time on top of every kernel")}

    def plan(self, table: KernelTable, target: Target) -> Any:
        """Nothing to choose."""
        return None

    def evaluate(self, table: KernelTable, target: Target, constants: Constants, plan: Any) -> CostColumns:
        """The longer of arithmetic at peak and bytes at bandwidth, per kernel."""
        c = completed(constants, target)
        bytes_moved = external_bytes(table)
        seconds = arithmetic_time(table, target, c)
        compute = kernel_sum(table, seconds)
        memory = kernel_sum(table, bytes_moved) / c["dram.bandwidth"]
        latency = compose(table, compute, memory, table.launches * c["launch"], np.inf, seconds, bytes_moved)
        read = bytes_moved - table.write_bytes
        dram = read * c["dram.read_energy"] + table.write_bytes * c["dram.write_energy"]
        shape = latency.compute_s.shape
        nothing = np.zeros(shape)
        return CostColumns(
            compute_s=latency.compute_s,
            memory_s=latency.memory_s,
            overhead_s=latency.overhead_s,
            compute_j=np.broadcast_to(arithmetic_energy(table, target, c), shape),
            on_chip_j=nothing,
            dram_j=np.broadcast_to(dram, shape),
            overhead_j=nothing,
            dram_bytes=np.broadcast_to(bytes_moved, shape),
            busy_compute_s=np.broadcast_to(compute, latency.total.shape),
            busy_memory_s=np.broadcast_to(memory, latency.total.shape),
            utilization=utilization(table, target, c, latency.total),
            notes={},
        )


register(Roofline())
