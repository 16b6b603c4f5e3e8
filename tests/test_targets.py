"""Every shipped target is complete and says where its numbers come from; the dedicated machines obey the laws of machines."""

from __future__ import annotations

from importlib import import_module
from itertools import pairwise
from pkgutil import iter_modules

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import targets
from edpc.fusion.engine import fuse
from edpc.guards import GUARDS
from edpc.ir import Graph
from edpc.machine.build import build_table, singletons
from edpc.machine.catalogue import model_of
from edpc.machine.rates import served_as, unit_of
from edpc.machine.table import KernelTable
from edpc.machine.uncertainty import totals
from edpc.machine.walk import walk
from edpc.operators import KINDS
from edpc.target import Basis, Target
from tests.machine_graphs import Net

MODULES = {
    module.name: import_module(f"targets.{module.name}") for module in iter_modules(targets.__path__) if module.name[0] != "_"
}
TARGETS: dict[str, Target] = {name: module.TARGET for name, module in MODULES.items()}
OURS = ("tpu", "tpu_v1", "tpu_v5e", "kpu", "kpu_t64", "kpu_t768", "cpu")
PRECISIONS = {"fp32", "tf32", "bf16", "fp16", "fp8", "int8"}

every = pytest.mark.parametrize("name", sorted(TARGETS))
ours = pytest.mark.parametrize("name", OURS)


@every
def test_a_target_is_complete(name: str) -> None:
    target = TARGETS[name]
    assert (MODULES[name].__doc__ or "").strip().endswith(".")
    assert target.name == name.replace("_", "-")
    assert target.summary
    if not target.reference:
        assert set(target.precisions) == PRECISIONS
        assert target.rules
        assert target.modifiers
    assert target.pipeline.endswith("attribute-edp")
    model_of(target)  # every constant that the cost model reads is there


@every
def test_every_number_says_where_it_comes_from(name: str) -> None:
    for key, quantity in TARGETS[name].quantities().items():
        assert quantity.source, key
        assert quantity.unit, key


@ours
def test_what_we_assume_has_a_range_unless_the_design_states_it(name: str) -> None:
    for key, quantity in TARGETS[name].quantities().items():
        if quantity.basis is Basis.ASSUMED and "catalogue" not in quantity.source:
            assert quantity.range is not None, f"{key} is assumed and has no range"


@every
def test_memories_grow_outwards(name: str) -> None:
    capacities = [memory.capacity.value for memory in TARGETS[name].memories]
    # The private caches of a server chip add up to a little more than the one they share.
    assert all(near <= 1.1 * far for near, far in pairwise(capacities))
    assert TARGETS[name].memories[-1].role == "dram"


@every
def test_precisions_are_served_by_rates_that_exist(name: str) -> None:
    target = TARGETS[name]
    for asked, precision in target.precisions.items():
        assert precision.compute in unit_of(target, "matrix").rate, asked
        assert served_as(unit_of(target, "vector"), precision.vector) in unit_of(target, "vector").rate
        assert precision.compute == asked or precision.note, f"{asked} is served as something else without a note"


@every
def test_rules_say_why_and_ask_guards_that_exist(name: str) -> None:
    for rule in TARGETS[name].rules:
        assert rule.why, rule.name
        for stage in rule.stages:
            assert stage.kinds <= KINDS.keys(), rule.name
            assert {guard.name for guard in (*rule.guards, *stage.guards)} <= GUARDS.keys()


def test_peaks_are_those_of_the_arrays() -> None:
    tpu, v5e, v1 = (TARGETS[n].constants() for n in ("tpu", "tpu_v5e", "tpu_v1"))
    assert pytest.approx(tpu["matrix.bf16.rate"], rel=2e-3) == 2 * 4 * 128 * 128 * 2 * 1.05e9  # 275 TF/s
    assert pytest.approx(v5e["matrix.bf16.rate"], rel=2e-3) == 4 * 128 * 128 * 2 * 1.5e9  # 197 TF/s
    assert pytest.approx(v1["matrix.int8.rate"], rel=2e-3) == 256 * 256 * 2 * 0.7e9  # 92 TOP/s
    assert tpu["array.count"] * tpu["array.rows"] * tpu["array.columns"] == 8 * 128 * 128


def test_kpu_ranges_hold_every_public_revision() -> None:
    low, high = TARGETS["kpu"].units[0].rate["int8"].range or (0.0, 0.0)
    assert low <= 9.81e12
    assert high >= 734e12
    energy = TARGETS["kpu"].units[0].energy["fp32"].range or (0.0, 0.0)
    assert energy[0] <= 0.091e-12
    assert energy[1] >= 2.7e-12


# --- laws -------------------------------------------------------------------------------------------------------


def network() -> Graph:
    """A convolution, a depthwise one, a classifier and a row-wise tail: some of everything that kernels are made of."""
    net = Net("bf16")
    x = net.input("x", 1, 64, 28, 28)
    y = net.op("conv", "conv", [x, net.parameter("w", 64, 64, 3, 3)], 1, 64, 28, 28, pads=(1, 1, 1, 1))
    y = net.op("bias", "bias", [y, net.parameter("b", 64)], 1, 64, 28, 28)
    y = net.op("relu", "relu", [y], 1, 64, 28, 28)
    y = net.op("deep", "conv", [y, net.parameter("v", 64, 1, 3, 3)], 1, 64, 28, 28, groups=64, pads=(1, 1, 1, 1))
    y = net.op("sum", "add", [x, y], 1, 64, 28, 28)
    y = net.op("swap", "transpose", [y], 1, 28, 28, 64, perm=(0, 2, 3, 1))
    y = net.op("flat", "reshape", [y], 784, 64)
    y = net.op("fc", "matmul", [y, net.parameter("u", 64, 512)], 784, 512)
    y = net.op("gelu", "gelu", [y], 784, 512)
    y = net.op("norm", "layer_norm", [y, net.parameter("g", 512), net.parameter("h", 512)], 784, 512, axis=-1)
    return net.done(net.op("soft", "softmax", [y], 784, 512, axis=-1))


NETWORK = network()


def table_of(target: Target, fused: bool) -> KernelTable:
    return build_table(NETWORK, fuse(NETWORK, target.rules, target) if fused else singletons(walk(NETWORK)), target)


@ours
@pytest.mark.parametrize("fused", [True, False])
def test_more_bandwidth_higher_rates_and_lower_energies_never_hurt(name: str, fused: bool) -> None:
    target = TARGETS[name]
    model = model_of(target)
    table = table_of(target, fused)
    plan = model.plan(table, target)
    nominal = target.constants()
    energy, latency = totals(model, table, target, nominal, plan)
    scales = np.geomspace(1.0, 32.0, 11)[:, None]
    for key in nominal:
        better = nominal[key] * scales
        if key.endswith((".rate", ".bandwidth")):
            _, t = totals(model, table, target, nominal | {key: better}, plan)
            t = np.broadcast_to(t, len(scales))
            assert t[0] == pytest.approx(float(latency), rel=1e-12)
            assert (np.diff(t) <= 1e-12 * t[0]).all(), key
        elif key.endswith("energy") or key == "static_power":
            e, t = totals(model, table, target, nominal | {key: nominal[key] / scales}, plan)
            e = np.broadcast_to(e, len(scales))
            assert e[0] == pytest.approx(float(energy), rel=1e-12)
            assert (np.diff(e) <= 1e-12 * e[0]).all(), key
            # Where a power limit slows a machine down, less energy lets it run faster; elsewhere time stays the same.
            assert (np.diff(np.atleast_1d(t)) <= 1e-12 * np.max(t)).all(), key


@ours
@settings(deadline=None, max_examples=15)
@given(data=st.data())
def test_a_sweep_is_its_variants_one_by_one(name: str, data: st.DataObject) -> None:
    target = TARGETS[name]
    model = model_of(target)
    table = table_of(target, True)
    plan = model.plan(table, target)
    nominal = target.constants()
    keys = data.draw(st.lists(st.sampled_from(sorted(nominal)), min_size=1, max_size=4, unique=True))
    factors = np.array(data.draw(st.lists(st.floats(0.5, 2.0), min_size=2, max_size=4)))
    swept = nominal | {key: nominal[key] * factors[:, None] for key in keys}
    together = model.evaluate(table, target, swept, plan)
    for i, factor in enumerate(factors):
        alone = model.evaluate(table, target, nominal | {key: nominal[key] * factor for key in keys}, plan)
        for column in ("compute_s", "memory_s", "overhead_s", "compute_j", "on_chip_j", "dram_j", "overhead_j", "dram_bytes"):
            rows = np.broadcast_to(getattr(together, column), (len(factors), len(table.names)))
            assert rows[i] == pytest.approx(getattr(alone, column), rel=1e-12, abs=1e-30), column


@ours
def test_fusing_never_costs(name: str) -> None:
    target = TARGETS[name]
    model = model_of(target)
    fused, separate = table_of(target, True), table_of(target, False)
    joined, apart = (totals(model, t, target, target.constants(), model.plan(t, target)) for t in (fused, separate))
    assert len(fused.group) < len(separate.group)
    assert joined[0] < apart[0]
    assert joined[1] < apart[1]


@ours
def test_linear_bias_relu_is_two_accesses_and_one_launch(name: str) -> None:
    # As an importer sees MatMul, Add, Relu: the addition of a vector is a bias, or still a plain addition.
    for kind in ("bias", "add"):
        net = Net("bf16")
        y = net.op("linear", "matmul", [net.input("x", 64, 128), net.parameter("w", 128, 256)], 64, 256)
        y = net.op("shift", kind, [y, net.parameter("b", 256)], 64, 256)
        graph = net.done(net.op("relu", "relu", [y], 64, 256))
        target = TARGETS[name]
        fused = build_table(graph, fuse(graph, target.rules, target), target)
        apart = build_table(graph, singletons(walk(graph)), target)
        assert (fused.accesses.sum(), fused.launches.sum()) == (2, 1)
        assert (apart.accesses.sum(), apart.launches.sum()) == (6, 3)
