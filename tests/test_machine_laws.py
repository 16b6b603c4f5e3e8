"""Laws of the dedicated machines on random networks: a better machine is never slower, and a thriftier one never costs more."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edpc.fusion.engine import fuse
from edpc.ir import Graph
from edpc.machine.build import build_table, singletons
from edpc.machine.catalogue import model_of
from edpc.machine.domain_flow import peak_operations, tile_kinds
from edpc.machine.uncertainty import totals
from edpc.machine.walk import walk
from edpc.target import Target
from targets.kpu import TARGET as KPU
from targets.kpu_t64 import TARGET as T64
from targets.kpu_t768 import TARGET as T768
from targets.tpu import TARGET as V4
from targets.tpu_v1 import TARGET as V1
from targets.tpu_v5e import TARGET as V5E
from tests.machine_graphs import Net

MACHINES = {
    "tpu": V4,
    "tpu-folds": V4.with_setting("array", "folds").with_setting("residency", "on"),
    "tpu-v1": V1,
    "tpu-v5e": V5E,
    "kpu": KPU,
    "kpu-high": KPU.with_setting("profile", "high").with_setting("residency", "on"),
    "kpu-t64": T64,
    "kpu-t768": T768,
}
machines = pytest.mark.parametrize("name", MACHINES)
ROUNDING = 1e-9

MORE = ("rate", "bandwidth", "efficiency", "limit")
LESS = ("energy", "static_power", "large_operand", "small_operand", "result", "read", "write", "row_read", "row", "time")
SIZES = st.sampled_from([1, 7, 32, 128, 200, 513, 2048])


@st.composite
def networks(draw: st.DrawFn) -> Graph:
    """A chain of products, convolutions, row-wise and pointwise operators on matrices and images, of any sizes."""
    net = Net(draw(st.sampled_from(["bf16", "int8", "fp32"])))
    rows, columns = draw(SIZES), draw(SIZES)
    x = net.input("x", rows, columns)
    for i, kind in enumerate(draw(st.lists(st.sampled_from(["matmul", "softmax", "gelu", "add", "transpose"]), max_size=6))):
        if kind == "matmul":
            width = draw(SIZES)
            x = net.op(f"o{i}", kind, [x, net.parameter(f"w{i}", columns, width)], rows, width)
            columns = width
        elif kind == "transpose":
            rows, columns = columns, rows
            x = net.op(f"o{i}", kind, [x], rows, columns, perm=(1, 0))
        else:
            attributes = {"axis": -1} if kind == "softmax" else {}
            x = net.op(f"o{i}", kind, [x, x] if kind == "add" else [x], rows, columns, **attributes)
    depth, side = draw(st.sampled_from([3, 16, 64])), draw(st.sampled_from([7, 14, 56]))
    image = net.input("image", 1, depth, side, side)
    filters, groups = (depth, depth) if draw(st.booleans()) else (draw(st.sampled_from([8, 256])), 1)
    weights = net.parameter("filters", filters, depth // groups, 3, 3)
    image = net.op("conv", "conv", [image, weights], 1, filters, side, side, groups=groups, pads=(1, 1, 1, 1))
    return net.done(x, net.op("act", "relu", [image], 1, filters, side, side))


def cost(graph: Graph, target: Target, fused: bool = True) -> tuple[float, float]:
    """Energy and latency."""
    groups = fuse(graph, target.rules, target) if fused else singletons(walk(graph))
    model = model_of(target)
    table = build_table(graph, groups, target)
    energy, latency = totals(model, table, target, target.constants(), model.plan(table, target))
    return float(energy), float(latency)


def changed(target: Target, keys: Iterable[str], factor: float) -> Target:
    """The target with these constants multiplied."""
    for key in keys:
        target = target.with_quantity(key, target.quantities()[key].value * factor, "a better machine")
    return target


def better(before: tuple[float, float], after: tuple[float, float]) -> bool:
    """Neither energy nor latency has risen."""
    return all(b <= a * (1 + ROUNDING) for a, b in zip(before, after, strict=True))


@machines
@settings(max_examples=25, deadline=None)
@given(graph=networks(), data=st.data(), factor=st.floats(1.01, 8.0), fused=st.booleans())
def test_improving_any_constants_never_hurts(name: str, graph: Graph, data: st.DataObject, factor: float, fused: bool) -> None:
    target = MACHINES[name]
    last = {key: key.rsplit(".", 1)[-1] for key in target.quantities()}
    up = [key for key, part in last.items() if part in MORE or key.startswith("tdp.")]
    down = [key for key, part in last.items() if part in LESS or part.endswith("_energy") or key.startswith("floor.")]
    chosen = data.draw(st.lists(st.sampled_from(up + down), min_size=1, max_size=5, unique=True))
    # A fraction of a bandwidth is at most all of it.
    most = min([factor, *(1.0 / target.quantities()[key].value for key in chosen if last[key] == "efficiency")])
    improved = changed(target, [key for key in chosen if key in up], most)
    improved = changed(improved, [key for key in chosen if key in down], 1.0 / factor)
    assert better(cost(graph, target, fused), cost(graph, improved, fused)), chosen


@machines
@settings(max_examples=25, deadline=None)
@given(graph=networks(), factor=st.integers(2, 4), fused=st.booleans())
def test_more_arrays_or_tiles_of_the_same_clock_never_hurt(name: str, graph: Graph, factor: int, fused: bool) -> None:
    target = MACHINES[name]
    counts = [key for key in target.quantities() if key == "array.count" or (key.startswith("tile.") and key.endswith(".count"))]
    rates = [key for key in target.quantities() if key.startswith("matrix.") and key.endswith(".rate")]
    assert better(cost(graph, target, fused), cost(graph, changed(target, counts + rates, factor), fused))


@pytest.mark.parametrize("name", ["kpu", "kpu-t64", "kpu-t768"])
@settings(max_examples=25, deadline=None)
@given(graph=networks(), factor=st.integers(2, 4), data=st.data())
def test_more_tiles_of_one_kind_never_hurt(name: str, graph: Graph, factor: int, data: st.DataObject) -> None:
    target = MACHINES[name]
    kind = data.draw(st.sampled_from(["int8", "bf16", "matrix"]))
    larger = changed(target, [f"tile.{kind}.count"], factor)
    before, after = (tile_kinds(t.constants()) for t in (target, larger))
    for precision in target.units[0].rate:
        # The clock stays: the peak grows by what the new tiles add to it.
        growth = peak_operations(after, precision) / peak_operations(before, precision)
        larger = changed(larger, [f"matrix.{precision}.rate"], growth)
    assert better(cost(graph, target), cost(graph, larger))


@pytest.mark.parametrize("name", ["kpu", "kpu-t64", "kpu-t768"])
@settings(max_examples=20, deadline=None)
@given(graph=networks())
def test_a_higher_profile_is_never_slower(name: str, graph: Graph) -> None:
    low, usual, high = (cost(graph, MACHINES[name].with_setting("profile", p))[1] for p in ("low", "default", "high"))
    assert high * (1 - ROUNDING) <= usual <= low * (1 + ROUNDING)


@machines
@settings(max_examples=25, deadline=None)
@given(graph=networks())
def test_no_kernel_draws_more_than_the_limit_and_no_figure_is_negative(name: str, graph: Graph) -> None:
    target = MACHINES[name]
    model = model_of(target)
    table = build_table(graph, fuse(graph, target.rules, target), target)
    constants = target.constants()
    found = model.evaluate(table, target, constants, model.plan(table, target))
    for column in ("compute_s", "memory_s", "overhead_s", "compute_j", "on_chip_j", "dram_j", "overhead_j", "dram_bytes"):
        assert (getattr(found, column) >= 0.0).all(), column
    limit = constants.get("power.limit") or constants["tdp." + target.setting("profile")]
    energy, latency = cost(graph, target)
    assert energy <= limit * latency * (1 + ROUNDING)
