"""Costs written on a graph: every operator's part of its kernel, what it would cost alone, every kernel, and how sure it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from functools import cache

import numpy as np

from edpc.ir import Cost, Estimate, Graph, Group, Kernel
from edpc.machine.build import kernelise, singletons
from edpc.machine.catalogue import model_of
from edpc.machine.compose import kernel_sum
from edpc.machine.table import CostColumns, Floats, KernelTable
from edpc.machine.uncertainty import Uncertainty, uncertainty
from edpc.machine.walk import Walk, walk
from edpc.target import Target

_COMPONENTS = tuple(f.name for f in fields(Cost))


def annotate(graph: Graph, target: Target) -> None:
    """Every operator carries its cost in its group and alone, every group its kernel, and the graph its estimate.

    Static energy is static power times latency, operator by operator, so that it sums like the rest.

    Args:
        graph: operators carry their work; groups partition them.
        target: the machine.

    Raises:
        UsageError: the target's architecture is unknown or lacks a constant.
        VerifyError: an operator carries no work.
    """
    model = model_of(target)
    columns = walk(graph)
    if not columns.names:
        graph.estimate = _estimate(target, graph.info.precision, Uncertainty((0.0, 0.0), (0.0, 0.0), (0.0, 0.0), 0.0))
        return
    fused = kernelise(columns, graph.groups, target)
    alone = kernelise(columns, singletons(columns), target)
    plan = model.plan(fused, target)
    constants = target.constants()
    found = model.evaluate(fused, target, constants, plan)
    apart = model.evaluate(alone, target, constants, model.plan(alone, target))

    static = constants["static_power"]
    costs = _costs(found, static)
    separate = _kernels(alone, apart, static)
    for name, cost, kernel in zip(fused.names, costs, separate, strict=True):
        graph.annotate(name, cost=cost, separate=kernel)
    kernels = _kernels(fused, found, static)
    graph.groups = [replace(group, kernel=kernel) for group, kernel in zip(graph.groups, kernels, strict=True)]

    precision = graph.info.precision or _main_precision(fused)
    graph.estimate = _estimate(target, precision, uncertainty(model, fused, target, plan))


def price(columns: Walk, groups: Sequence[Group], target: Target) -> list[Kernel]:
    """What each of these groups costs on a target.

    Args:
        columns: of a graph whose operators carry their work.
        groups: a partition of its operators, in order of execution.
        target: the machine.

    Raises:
        UsageError: the target's architecture is unknown or lacks a constant.
    """
    model, table = model_of(target), kernelise(columns, groups, target)
    constants = target.constants()
    found = model.evaluate(table, target, constants, model.plan(table, target))
    return _kernels(table, found, constants["static_power"])


def _estimate(target: Target, precision: str, sure: Uncertainty) -> Estimate:
    return Estimate(
        target=target.name,
        architecture=target.architecture,
        precision=precision,
        energy_j=sure.energy_j,
        latency_s=sure.latency_s,
        edp_js=sure.edp_js,
        assumed_fraction=sure.assumed_fraction,
        elasticities=sure.elasticities,
        draws=sure.draws,
        notes=(*target.notes, *(f"{name} = {target.setting(name)}: {s.doc}" for name, s in target.settings.items())),
    )


def _columns(found: CostColumns, static_power: float) -> list[Floats]:
    """The components of `Cost` in its order, shape (n,) each."""
    latency = found.compute_s + found.memory_s + found.overhead_s
    return [static_power * latency if name == "static_j" else getattr(found, name) for name in _COMPONENTS]


def _costs(found: CostColumns, static_power: float) -> list[Cost]:
    shared = cache(Cost)  # layers repeat: equal costs are one record
    return [shared(*row) for row in np.stack(_columns(found, static_power), axis=1).tolist()]


def _kernels(table: KernelTable, found: CostColumns, static_power: float) -> list[Kernel]:
    """Every kernel's cost, the sum over its operators, and what binds it."""
    sums = np.stack([kernel_sum(table, column) for column in _columns(found, static_power)], axis=1)
    accesses = np.rint(kernel_sum(table, table.accesses)).astype(int).tolist()
    launches = np.rint(table.launches).astype(int).tolist()
    notes = [found.notes.get(number, ()) for number in range(len(sums))]
    shared = cache(_kernel)  # layers repeat: equal kernels are one record
    rows = zip(map(tuple, sums.tolist()), found.utilization.tolist(), accesses, launches, notes, strict=True)
    return [shared(*row) for row in rows]


def _kernel(
    components: tuple[float, ...], utilization: float, dram_accesses: int, launches: int, notes: tuple[str, ...]
) -> Kernel:
    """A kernel whose cost has these components, in the order of `Cost`."""
    cost = Cost(*components)
    parts = {"compute": cost.compute_s, "memory": cost.memory_s, "overhead": cost.overhead_s}
    bound = max(parts, key=parts.__getitem__) if cost.latency_s > 0.0 else "none"
    return Kernel(cost, bound, utilization, dram_accesses, launches, notes)


def _main_precision(table: KernelTable) -> str:
    """The format that most arithmetic runs in, for graphs nobody has decided it for."""
    flops = 2.0 * table.macs + table.vector_ops + table.transcendentals
    formats, inverse = np.unique(table.precision, return_inverse=True)
    return str(formats[np.argmax(np.bincount(inverse, flops))])
