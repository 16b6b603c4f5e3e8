"""One point of a sweep: the network is compiled once, and every variant of the constants is priced on its columns."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from edpc import api
from edpc.errors import EdpcError
from edpc.ir import Graph
from edpc.machine.build import kernelise
from edpc.machine.catalogue import model_of
from edpc.machine.model import CostModel
from edpc.machine.table import Floats, KernelTable
from edpc.machine.walk import walk
from edpc.pipeline.base import Fact
from edpc.pipeline.text import Element, Fixpoint, parse_pipeline
from edpc.registry import apply_set
from edpc.sweep.grid import Point
from edpc.target import Target

# Operator figures of one evaluation per column: bounds its memory.
_FIGURES = 2_000_000
# What a row says of a variant, in order.
FIGURES = ("energy_j", "latency_s", "edp_js", "average_power_w", "dram_bytes")


@dataclass(frozen=True, slots=True)
class Priced:
    """A point's answer.

    Attributes:
        precision: the network was served in. batch: of its inputs. operators: how many it has.
        rows: the figures of `FIGURES`, variant by variant. error: why there are none; empty where there are.
    """

    precision: str = ""
    batch: int = 0
    operators: int = 0
    rows: tuple[tuple[float, ...], ...] = ()
    error: str = ""


def price(point: Point) -> Priced:
    """The rows of a point; a point that cannot be compiled says why instead, for others can."""
    try:
        return _price(point)
    except EdpcError as error:
        return Priced(error=str(error))


def _price(point: Point) -> Priced:
    target = api.configure(point.target, point.settings)
    follows = api.follows_runtime(point.model, target)
    graph = _loaded(point.model, point.batch, point.dims, follows).copy()
    elements = tuple(_without_costs(parse_pipeline(target.pipeline)))
    if not point.fusion:
        elements = api.without_fusion(elements)
    api.run_elements(graph, target, elements, precision=point.precision)
    table = kernelise(walk(graph), graph.groups, target)
    rows = tuple(map(tuple, _figures(model_of(target), table, target, point).tolist()))
    return Priced(graph.info.precision, graph.info.batch, len(table.names), rows)


@lru_cache(maxsize=2)
def _loaded(model: str, batch: int | None, dims: tuple[tuple[str, int], ...], executed: bool) -> Graph:
    """The network before any pass, or what a runtime makes of it: neighbours in a sweep share it."""
    read = api.load_executed if executed else api.load
    return read(model, batch=batch, dims=dict(dims))


def _without_costs(elements: tuple[Element, ...]) -> Iterator[Element]:
    """The passes up to the groups: costs are what the sweep computes itself, and shares it does not show."""
    unwanted = {Fact.COST, Fact.SHARES}
    for element in elements:
        if isinstance(element, Fixpoint):
            kept = tuple(each for each in element.passes if not unwanted & each.produces)
            if kept:
                yield replace(element, passes=kept)
        elif not unwanted & element.produces:
            yield element


def _figures(model: CostModel, table: KernelTable, target: Target, point: Point) -> Floats:
    """The figures of all variants, shape (variants, len(FIGURES)). Variants under the same plan are one evaluation."""
    plans: dict[bytes, tuple[Any, list[int]]] = {}
    machines = []
    for number, values in enumerate(point.variants):
        machine = target
        for column, value in zip(point.columns, values, strict=True):
            machine = apply_set(machine, f"{column.key}={value}")
        plan = model.plan(table, machine)
        plans.setdefault(pickle.dumps(plan), (plan, []))[1].append(number)
        machines.append(machine.constants())
    found = np.zeros((len(machines), len(FIGURES)))
    step = max(1, _FIGURES // max(len(table.names), 1))
    for plan, members in plans.values():
        for start in range(0, len(members), step):
            part = members[start : start + step]
            constants = {key: np.array([[machines[i][key]] for i in part]) for key in machines[part[0]]}
            found[part] = _evaluated(model, table, target, constants, plan)
    return found


def _evaluated(model: CostModel, table: KernelTable, target: Target, constants: dict[str, Floats], plan: Any) -> Floats:
    cost = model.evaluate(table, target, constants, plan)
    latency = (cost.compute_s + cost.memory_s + cost.overhead_s).sum(axis=-1)
    dynamic = (cost.compute_j + cost.on_chip_j + cost.dram_j + cost.overhead_j).sum(axis=-1)
    energy = dynamic + constants["static_power"][:, 0] * latency
    power = np.divide(energy, latency, out=np.zeros_like(energy), where=latency > 0.0)
    dram = np.broadcast_to(cost.dram_bytes, (*energy.shape, len(table.names))).sum(axis=-1)
    return np.stack(np.broadcast_arrays(energy, latency, energy * latency, power, dram), axis=-1)
