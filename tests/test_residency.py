"""Results that stay on chip: which ones do, and that neither accesses nor the laws of fusion notice the switch."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import edpc
from edpc.fusion.engine import fuse
from edpc.ir import Graph, Group
from edpc.machine.build import build_table, singletons
from edpc.machine.catalogue import model_of
from edpc.machine.table import CostColumns, KernelTable
from edpc.machine.walk import walk
from edpc.target import Target
from targets.kpu import TARGET as KPU
from targets.tpu import TARGET as V4
from targets.tpu_v1 import TARGET as V1
from tests.chain_model import chain as linear_bias_relu
from tests.machine_graphs import Net, alone, group

MACHINES = [t.with_setting("residency", "on") for t in (V4, V1, KPU)]
machines = pytest.mark.parametrize("target", MACHINES, ids=lambda t: t.name)


def small(target: Target, room: float) -> Target:
    """The machine with so many bytes for activations on chip."""
    llc = next(memory.name for memory in target.memories if memory.role == "llc")
    return target.with_quantity(f"{llc}.capacity", room, "small").with_quantity("llc.warm_fraction", 1.0, "small")


def price(graph: Graph, target: Target, groups: list[Group] | None = None) -> tuple[KernelTable, CostColumns]:
    model = model_of(target)
    table = build_table(graph, groups or alone(graph), target)
    return table, model.evaluate(table, target, target.constants(), model.plan(table, target))


def chain(*elements: int) -> Graph:
    """One relu after the other; the name of each is r0, r1, ..."""
    net = Net("int8")
    x = net.input("x", elements[0])
    for i, size in enumerate(elements[1:]):
        x = net.op(f"r{i}", "relu", [x], size)
    return net.done(x)


@machines
def test_a_chain_that_fits_writes_nothing_and_one_that_does_not_writes_all(target: Target) -> None:
    graph = chain(1000, 1000, 1000, 1000)
    table, found = price(graph, small(target, 1000))
    assert table.resident_bytes.tolist() == table.write_bytes.tolist() == [1000] * 3
    assert found.dram_bytes.tolist() == [0, 0, 0]
    table, found = price(graph, small(target, 999))
    assert table.resident_bytes.tolist() == [0, 0, 0]
    # Input and intermediates no longer fit either: three reads, three writes.
    assert found.dram_bytes.tolist() == [2000] * 3


def branch(late: int) -> Graph:
    """`a` is read at once, and again after so many other kernels of 1000 B each way."""
    net = Net("int8")
    a = net.op("a", "relu", [net.input("x", 1000)], 1000)
    y = a
    for i in range(late):
        y = net.op(f"b{i}", "relu", [y], 1000)
    return net.done(net.op("sum", "add", [a, y], 1000))


def test_a_result_that_is_read_again_later_stays_only_if_all_between_fits() -> None:
    target = small(V1, 4000)
    # Two kernels of 2000 B between `a` and its last reader fit into 4000 B, three do not: `a` is written, the others stay.
    assert price(branch(2), target)[0].resident_bytes.tolist() == [1000] * 4
    assert price(branch(3), target)[0].resident_bytes.tolist() == [0, 1000, 1000, 1000, 1000]


def test_a_result_of_the_network_stays_only_if_all_after_it_fits() -> None:
    net = Net("int8")
    a = net.op("a", "relu", [net.input("x", 1000)], 1000)
    graph = net.done(a, net.op("b", "relu", [a], 1000))
    assert price(graph, small(V1, 2000))[0].resident_bytes.tolist() == [1000, 1000]
    assert price(graph, small(V1, 1999))[0].resident_bytes.tolist() == [0, 1000]


@machines
def test_the_switch_leaves_accesses_and_launches_as_they_are(target: Target) -> None:
    report = edpc.compile(linear_bias_relu(), target=target)
    assert (report.fusion.separate.dram_accesses, report.fusion.separate.launches) == (6, 3)
    assert (report.fusion.fused.dram_accesses, report.fusion.fused.launches) == (2, 1)


@machines
def test_time_and_energy_are_no_more_than_with_everything_written(target: Target) -> None:
    graph = chain(4096, 4096, 4096)
    (_, kept), (_, written) = price(graph, target), price(graph, target.with_setting("residency", "off"))
    assert written.dram_bytes.sum() - kept.dram_bytes.sum() == 2 * 4096
    assert kept.dram_j.sum() < written.dram_j.sum()
    assert kept.memory_s.sum() <= written.memory_s.sum()
    assert (kept.on_chip_j == written.on_chip_j).all()


@settings(max_examples=60, deadline=None)
@given(
    kinds=st.lists(st.integers(0, 3), min_size=2, max_size=12),
    pick=st.randoms(use_true_random=False),
    room=st.integers(100, 40_000),
    on=st.booleans(),
)
@machines
def test_fusing_never_adds_dram_bytes(target: Target, kinds: list[int], pick: object, room: int, on: bool) -> None:
    net = Net("int8")
    values = [net.input("x", 32, 32), net.input("z", 32, 32)]
    for i, kind in enumerate(kinds):
        operands = [values[pick.randrange(len(values))] for _ in range(2)]  # type: ignore[attr-defined]
        if kind == 3:
            operands[1] = net.parameter(f"w{i}", 32, 32)
        name = ("relu", "exp", "add", "matmul")[kind]
        values.append(net.op(f"o{i}", name, operands if kind > 1 else operands[:1], 32, 32))
    graph = net.done(values[-1], values[-2])
    target = small(target, room).with_setting("residency", "on" if on else "off")
    cut = pick.randrange(1, len(kinds) + 1)  # type: ignore[attr-defined]
    order = graph.compute_order()
    halves = [group("g0", *order[:cut])] + ([group("g1", *order[cut:])] if order[cut:] else [])
    _, apart = price(graph, target, list(singletons(walk(graph))))
    # Fusion as the machine does it; on a KPU a kernel of many products would run in more passes, and never exists.
    schedules = [fuse(graph, target.rules, target)] + ([halves] if target.name != "kpu" else [])
    for groups in schedules:
        _, together = price(graph, target, groups)
        assert together.dram_bytes.sum() <= apart.dram_bytes.sum()
