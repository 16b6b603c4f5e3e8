"""Domain-flow tiles: the closed form against a tile stepped cycle by cycle, and what the KPU model counts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edpc.errors import UsageError
from edpc.ir import Graph, Group
from edpc.machine import domain_forms as forms
from edpc.machine.build import build_table, singletons
from edpc.machine.catalogue import model_of
from edpc.machine.domain_flow import peak_operations, tile_kinds
from edpc.machine.table import CostColumns, KernelTable
from edpc.machine.walk import walk
from edpc.target import Target
from targets.kpu import MATRIX, SPECIAL, VECTOR, peak, tile
from targets.kpu import TARGET as LIMITED
from targets.kpu_t64 import TARGET as T64
from targets.kpu_t768 import TARGET as T768
from tests import domain_flow_simulator as simulator
from tests.machine_graphs import Net, group

SMALL = st.integers(1, 6)
# Cycles are counted on a machine that may draw what it likes.
T256 = LIMITED
for profile in ("low", "default", "high"):
    T256 = T256.with_quantity(f"tdp.{profile}", 1e3, "no limit")


def price(graph: Graph, target: Target, groups: list[Group] | None = None) -> tuple[KernelTable, CostColumns]:
    model = model_of(target)
    table = build_table(graph, groups or singletons(walk(graph)), target)
    return table, model.evaluate(table, target, target.constants(), model.plan(table, target))


def layer(m: int, n: int, k: int, dtype: str = "int8") -> Graph:
    net = Net(dtype)
    return net.done(net.op("y", "matmul", [net.input("x", m, k), net.parameter("w", k, n)], m, n))


# --- the recurrence ---------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=120)
@given(rows=SMALL, columns=SMALL, k=SMALL, blocks=SMALL, interval=st.integers(1, 3))
def test_the_closed_form_equals_a_tile_stepped_cycle_by_cycle(
    rows: int, columns: int, k: int, blocks: int, interval: int
) -> None:
    a = [np.arange(rows * k).reshape(rows, k) % 7 - 3 + b for b in range(blocks)]
    w = [np.arange(k * columns).reshape(k, columns) % 5 - 2 - b for b in range(blocks)]
    trace = simulator.run(a, w, interval)
    assert all((block == x @ y).all() for block, x, y in zip(trace.blocks, a, w, strict=True))
    steady = k * interval
    assert trace.cycles == forms.tile_cycles(blocks, steady, rows, columns)
    assert trace.busy / trace.cycles == forms.utilization(blocks, steady, rows, columns)


def machine(rows: int, columns: int, kinds: list[tuple[int, int]], l2: int = 32 * 1024) -> Target:
    """A chip of such tiles at one cycle a second; a kind is (tiles, cycles a step takes)."""
    others = {key: quantity for key, quantity in T256.parameters.items() if not key.startswith("tile.")}
    tiles = {}
    for i, (count, interval) in enumerate(kinds):
        tiles |= tile(f"kind{i}", count, rows, columns, int8=2.0 * rows * columns / interval)
    target = replace(T256, units=(replace(MATRIX, rate={"int8": peak(1.0)}), VECTOR, SPECIAL), parameters=others | tiles)
    cycles = sum(2.0 * count * rows * columns / interval for count, interval in kinds)
    changes = {"matrix.int8.rate": cycles, "fabric.fill": rows, "fabric.drain": columns, "l2.capacity": l2}
    for key, value in changes.items():
        target = target.with_quantity(key, value, "stepped")
    return target


@settings(deadline=None, max_examples=80)
@given(
    mnk=st.tuples(st.integers(1, 14), st.integers(1, 14), SMALL),
    mesh=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    kinds=st.lists(st.tuples(st.integers(1, 4), st.integers(1, 4)), min_size=1, max_size=3),
)
def test_products_take_the_cycles_of_a_chip_stepped_tile_by_tile(
    mnk: tuple[int, int, int], mesh: tuple[int, int], kinds: list[tuple[int, int]]
) -> None:
    m, n, k = mnk
    _, found = price(layer(m, n, k), machine(*mesh, kinds))
    blocks = -(-m // mesh[0]) * -(-n // mesh[1])
    assert found.busy_compute_s[0] == pytest.approx(simulator.chip(blocks, kinds, *mesh, k), rel=1e-9)


@settings(deadline=None, max_examples=80)
@given(
    mnk=st.tuples(st.integers(1, 14), st.integers(1, 14), SMALL),
    mesh=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    l2=st.integers(2, 60),
)
def test_streams_carry_the_bytes_of_a_chip_stepped_block_by_block(
    mnk: tuple[int, int, int], mesh: tuple[int, int], l2: int
) -> None:
    m, n, k = mnk
    target = machine(*mesh, [(1, 1)], l2)
    graph = layer(m, n, k)
    streams = model_of(target).plan(build_table(graph, singletons(walk(graph)), target), target)
    into_fabric, out_of_l3 = simulator.streamed(m, n, k, *mesh, l2 // 2, 1)
    assert (streams.block_bytes.sum(), streams.l3_bytes.sum()) == (into_fabric, out_of_l3)


@settings(deadline=None, max_examples=60)
@given(m=st.integers(2, 40), n=st.integers(2, 40), k=st.integers(2, 40), room=st.integers(1, 400))
def test_dram_reads_are_those_of_weights_loaded_in_passes(m: int, n: int, k: int, room: int) -> None:
    # Activations are cold: no part of L3 keeps them.
    target = T256.with_quantity("l3.capacity", room, "small").with_quantity("resident.fraction", 1.0, "all")
    table, found = price(layer(m, n, k), target.with_quantity("llc.warm_fraction", 0.0, "none"))
    resident = n * k <= room
    expected = m * k if resident else simulator.passes(n * k, room, m * k)
    assert found.dram_bytes.sum() - table.write_bytes.sum() == expected


def test_neighbouring_blocks_overlap_fill_and_drain() -> None:
    # 10 blocks of 64 steady cycles with a fill and drain of 32 each: 640/(640 + 64), not 64/(64 + 64).
    assert forms.utilization(10, 64, 32, 32) == pytest.approx(640 / 704)
    # A block shorter than the drain waits for its predecessor's results: 9 periods of 32, then 16 + 64.
    assert forms.tile_cycles(10, 16, 32, 32) == 9 * 32 + 16 + 64
    assert forms.tile_cycles(0, 16, 32, 32) == 0


def test_slower_formats_take_more_cycles_a_step() -> None:
    # 32 x 32 elements: 2,048 operations a cycle are a step each, 1,024 a step every other cycle, 4,096 two steps a cycle.
    assert [float(forms.steady_cycles(64, 32, 32, ops)) for ops in (2048, 1024, 4096)] == [64, 128, 32]


# --- the machine ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (T64, {"int8": 62.3, "bf16": 31.1, "fp32": 3.16, "int4": 85.6}),
        (T256, {"int8": 314.6, "bf16": 157.3, "fp32": 15.67, "int4": 439.9}),
        (T768, {"int8": 1353.8, "bf16": 676.9, "fp32": 27.1, "int4": 756.1}),
    ],
    ids=["t64", "t256", "t768"],
)
def test_peaks_are_tiles_times_clock_of_those_that_support_the_format(target: Target, expected: dict[str, float]) -> None:
    constants = target.constants()
    kinds = tile_kinds(constants)
    for precision, tera in expected.items():
        assert peak_operations(kinds, precision) * constants["profile.default"] / 1e12 == pytest.approx(tera, rel=2e-3)
        assert constants[f"matrix.{precision}.rate"] == pytest.approx(tera * 1e12, rel=1e-9)


def test_a_product_takes_the_cycles_of_its_busiest_tile() -> None:
    # 1024 x 1024 int8: 32 * 32 blocks on 256 tiles are 4 each; 4 * 512 + 64 cycles at 600 MHz.
    _, found = price(layer(1024, 1024, 512), T256)
    assert found.busy_compute_s[0] == pytest.approx((4 * 512 + 64) / 600e6, rel=1e-3)
    # fp32 runs on the 51 BF16 tiles alone, at a step in four cycles: ceil(1024/51) = 21 blocks.
    _, found = price(layer(1024, 1024, 512, "fp32"), T256)
    assert found.busy_compute_s[0] == pytest.approx((21 * 2048 + 64) / 600e6, rel=1e-3)


def test_unlike_tiles_are_not_pooled_and_the_best_kind_may_work_alone() -> None:
    # T768, one 8 x 8 block: a matrix tile (4,096 MACs a cycle) takes 4096/64 cycles, a 16 x 8 tile 4096/2.
    _, found = price(layer(8, 8, 4096), T768)
    assert found.busy_compute_s[0] == pytest.approx((64 + 32) / 1.375e9, rel=1e-3)


def test_a_depthwise_convolution_maps_channels_to_columns() -> None:
    net = Net("int8")
    x, w = net.input("x", 1, 256, 32, 32), net.parameter("w", 256, 1, 3, 3)
    _, found = price(net.done(net.op("y", "conv", [x, w], 1, 256, 32, 32, groups=256, pads=(1, 1, 1, 1))), T256)
    # 1,024 pixels by 256 channels are 32 * 8 blocks, one per tile: 9 + 64 cycles.
    assert found.busy_compute_s[0] == pytest.approx((9 + 64) / 600e6, rel=1e-3)


def test_weights_that_fit_stay_on_chip_and_others_stream() -> None:
    # 80 % of 64 MiB are 53.7 MB: 16.8 MB of weights stay, 67 MB do not.
    table, found = price(layer(64, 4096, 4096), T256)
    assert found.dram_bytes.sum() == table.write_bytes.sum() + table.cold_bytes.sum()
    table, found = price(layer(64, 4096, 16384), T256)
    assert found.dram_bytes.sum() >= 4096 * 16384


def test_a_kernel_whose_weights_outgrow_the_tiles_reads_its_activations_again() -> None:
    # 400 MB of weights against 53.7 MB: 8 passes; 40 MB of activations do not fit the warm part of L3, so they are cold.
    m, n, k = 2048, 20480, 20480
    table, found = price(layer(m, n, k), T256)
    passes = np.ceil(n * k / (0.8 * 2**26))
    assert passes == 8
    assert table.cold_bytes.sum() == m * k
    assert found.dram_bytes.sum() == n * k + passes * m * k + m * n


def chain() -> Graph:
    net = Net("int8")
    y = net.op("mm", "matmul", [net.input("x", 256, 256), net.parameter("w", 256, 256)], 256, 256)
    z = net.op("bias", "bias", [y, net.parameter("b", 256)], 256, 256)
    return net.done(net.op("act", "relu", [z], 256, 256))


def test_what_streams_out_of_the_fabric_makes_no_dram_access() -> None:
    graph = chain()
    table, fused = price(graph, T256, [group("g0", "mm", "bias", "act", kernel_class="gemm")])
    _, separate = price(graph, T256)
    assert table.accesses.sum() == 2
    assert fused.dram_bytes.tolist() == [0, 0, 256 * 256]
    assert separate.dram_bytes.sum() == 3 * 256 * 256
    assert fused.busy_compute_s[0] == pytest.approx(separate.busy_compute_s[0])
    assert fused.on_chip_j.sum() < separate.on_chip_j.sum()


def test_a_program_is_loaded_when_the_operator_kind_changes() -> None:
    net = Net("int8")
    value = net.input("x", 256, 256)
    for i, kind in enumerate(("relu", "relu", "neg", "relu")):
        value = net.op(f"n{i}", kind, [value], 256, 256)
    _, found = price(net.done(value), T256)
    # Load and set-up, set-up alone for the second relu, then a load at each change.
    assert found.overhead_s == pytest.approx([1.2e-6, 0.2e-6, 1.2e-6, 1.2e-6])
    assert found.overhead_j == pytest.approx([256 * 75e-12, 0.0, 256 * 75e-12, 256 * 75e-12])


@settings(deadline=None, max_examples=60)
@given(st.lists(st.sampled_from(["relu", "neg", "exp", "reshape"]), min_size=1, max_size=12))
def test_loads_are_those_of_a_machine_that_holds_one_program(kinds: list[str]) -> None:
    net = Net("int8")
    value = net.input("x", 16, 16)
    for i, kind in enumerate(kinds):
        value = net.op(f"n{i}", kind, [value], 16, 16)
    _, found = price(net.done(value), T256)
    held, expected = "", []
    for kind in kinds:
        runs = kind != "reshape"  # a view runs nothing and leaves the program where it is
        expected.append(0.2e-6 * runs + 1.0e-6 * (runs and kind != held))
        held = kind if runs else held
    assert found.overhead_s == pytest.approx(expected)


def test_profiles_scale_the_fabric_and_leave_the_dram() -> None:
    slow, usual, fast = (price(layer(4096, 4096, 4096), T256.with_setting("profile", p))[1] for p in ("low", "default", "high"))
    assert slow.busy_compute_s[0] / usual.busy_compute_s[0] == pytest.approx(600 / 450)
    assert fast.busy_compute_s[0] / usual.busy_compute_s[0] == pytest.approx(600 / 700)
    assert slow.dram_j.sum() == usual.dram_j.sum()


def test_a_kernel_that_would_exceed_the_power_limit_is_stretched_until_it_meets_it() -> None:
    _, free = price(layer(1024, 1024, 512), T256)
    _, held = price(layer(1024, 1024, 512), LIMITED)
    dynamic = (held.compute_j + held.on_chip_j + held.dram_j + held.overhead_j).sum()
    # 20.9 W of which 1.79 W are static.
    seconds = (held.compute_s + held.memory_s + held.overhead_s).sum()
    assert seconds == pytest.approx(dynamic / (20.9 - 1.79), rel=1e-9)
    assert seconds > 2 * (free.compute_s + free.memory_s + free.overhead_s).sum()
    # Set-up is not what a slower clock stretches, and no event is counted twice.
    assert held.overhead_s.sum() == free.overhead_s.sum()
    assert dynamic == (free.compute_j + free.on_chip_j + free.dram_j + free.overhead_j).sum()
    assert held.utilization[0] < free.utilization[0]
    assert held.notes[0][0].startswith("power-limited, ")
    assert not free.notes


def test_a_kernel_below_the_power_limit_keeps_its_time() -> None:
    (_, free), (_, held) = price(layer(16, 64, 64), T256), price(layer(16, 64, 64), LIMITED)
    assert (held.compute_s == free.compute_s).all()
    assert not held.notes


def test_arithmetic_and_streams_are_priced_by_counted_events() -> None:
    graph = layer(32, 32, 32)
    _, found = price(graph, T256)
    # An int8 result of int8 operands is rescaled: five operations an element beside its multiply-accumulates.
    assert found.compute_j.sum() == pytest.approx(32**3 * 0.30e-12 + 5 * 32 * 32 * 0.15e-12)
    size = 1024.0  # both operand panels and the result; weights are resident, the input just arrived
    flits, hops = 3 * size / 16, 32 / 3
    on_chip = (
        3 * size * 2.0e-12  # L3: two operands and the result on its way out
        + size * 2.5e-12  # the result into L3
        + 3 * size * (0.8e-12 + 1.0e-12)  # L2
        + 3 * size * (0.3e-12 + 0.4e-12)  # L1
        + flits * hops * 0.5e-12
    )
    assert found.on_chip_j.sum() == pytest.approx(on_chip)
    assert found.dram_j.sum() == pytest.approx(size * 12e-12)


def test_a_rate_without_tiles_is_refused_by_name() -> None:
    without = {key: q for key, q in T256.parameters.items() if key != "tile.bf16.fp32"}
    with pytest.raises(UsageError, match="no tile supports fp32"):
        model_of(replace(T256, parameters=without))
