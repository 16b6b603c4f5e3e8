"""What a graph costs on a machine when its operators run in another machine's groups: the columns that `explain` exchanges.

A partition names operators only, so one machine's groups can be priced on another. Kernels of both machines then stand in the
same rows, and one machine's busy times, energies or powers can be put in the place of the other's, row by row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from edpc.ir import Group
from edpc.machine.build import kernelise
from edpc.machine.catalogue import model_of
from edpc.machine.compose import kernel_sum
from edpc.machine.table import Floats
from edpc.machine.walk import Walk
from edpc.target import Target, kernel_class


@dataclass(frozen=True, slots=True)
class KernelColumns:
    """Kernels of one partition on one machine, shape (g,) each.

    The latency of a kernel is overhead_s + overlap * max(compute_s, memory_s), its energy the sum of the joules and of
    background_w times the latency; both are what the cost model answers.

    Attributes:
        compute_s, memory_s: how long each resource is busy.
        overlap: the overlapped time over the longer of the two: 1 where they overlap perfectly, up to 2 in sequence.
        overhead_s: launch, set-up, floors.
        compute_j, on_chip_j, dram_j, overhead_j: energy per event.
        background_w: power drawn whatever is computed: static power, and that of clocked units where the model has it.
    """

    compute_s: Floats
    memory_s: Floats
    overlap: Floats
    overhead_s: Floats
    compute_j: Floats
    on_chip_j: Floats
    dram_j: Floats
    overhead_j: Floats
    background_w: Floats


def kernel_columns(columns: Walk, target: Target, groups: Sequence[Group], others: Sequence[str] = ()) -> KernelColumns:
    """The kernels of a graph on a target, in the order of the groups and then of the other operators, which run alone.

    Args:
        columns: of a graph whose operators carry their work.
        target: the machine.
        groups: disjoint sets of operators; names that the graph does not have are passed over.
        others: operators outside the groups. A row without an operator of the graph is zero.

    Raises:
        UsageError: the target's architecture is unknown or lacks a constant.
        KeyError: an operator of the graph is in no group and none of the others.
    """
    kinds = dict(zip(columns.names, columns.kind.tolist(), strict=True))
    rows = [*groups, *(Group(name, "separate", kernel_class(kinds.get(name, "")), (name,)) for name in others)]
    mine = [replace(group, members=tuple(name for name in group.members if name in kinds)) for group in rows]
    filled = np.array([bool(group.members) for group in mine], bool)
    table = kernelise(columns, [group for group in mine if group.members], target)
    model = model_of(target)
    constants = target.constants()
    found = model.evaluate(table, target, constants, model.plan(table, target))

    per_kernel = {
        name: kernel_sum(table, getattr(found, name)) for name in ("overhead_s", "compute_j", "on_chip_j", "dram_j", "overhead_j")
    }
    together = kernel_sum(table, found.compute_s + found.memory_s)
    longer = np.maximum(found.busy_compute_s, found.busy_memory_s)
    latency = together + per_kernel["overhead_s"]
    background = np.full(len(latency), constants["static_power"], float)
    if model.overhead_is_power:
        background += _over(per_kernel["overhead_j"], latency)
        per_kernel["overhead_j"] = np.zeros(len(latency))
    made = {
        "compute_s": found.busy_compute_s,
        "memory_s": found.busy_memory_s,
        "overlap": _over(together, longer),
        "background_w": background,
        **per_kernel,
    }
    return KernelColumns(**{f.name: _placed(made[f.name], filled) for f in fields(KernelColumns)})


def _over(part: Floats, whole: Floats) -> Floats:
    """The quotient, zero where the whole is."""
    quotient: Floats = part / np.where(whole > 0.0, whole, 1.0) * (whole > 0.0)
    return quotient


def _placed(column: Floats, filled: Floats) -> Floats:
    """The column with zeros in the rows that hold no operator."""
    placed = np.zeros(len(filled))
    placed[filled] = column
    return placed
