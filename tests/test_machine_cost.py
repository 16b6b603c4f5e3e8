"""Composition of latency, the roofline by hand, and the laws every cost model obeys."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edpc.errors import UsageError
from edpc.ir import Cost, Graph
from edpc.machine.annotate import annotate
from edpc.machine.build import build_table
from edpc.machine.catalogue import model_of
from edpc.machine.compose import compose, dram_bytes, kernel_sum, overlap
from edpc.machine.model import MODELS, Constants, leading_shape, register
from edpc.machine.rates import per_row, served_as
from edpc.machine.roofline import Roofline
from edpc.machine.table import CostColumns, KernelTable
from edpc.machine.uncertainty import totals, uncertainty
from edpc.target import Basis, Target
from targets.h100 import TARGET as H100
from tests.machine_graphs import Net, alone, group, linear_bias_relu, q, reference

MEGA = 1e6


def fused(graph: Graph, kernel_class: str = "gemm") -> Graph:
    graph.groups = [group("g0", *graph.compute_order(), kernel_class=kernel_class)]
    return graph


# --- composition ----------------------------------------------------------------------------------------------


def test_overlap_is_a_sum_for_one_and_the_longer_for_infinity() -> None:
    assert overlap(np.array([3.0]), np.array([4.0]), 1.0)[0] == pytest.approx(7.0)
    assert overlap(np.array([3.0]), np.array([4.0]), 2.0)[0] == pytest.approx(5.0)
    assert overlap(np.array([3.0]), np.array([4.0]), np.inf)[0] == 4.0
    assert overlap(np.array([0.0]), np.array([0.0]), 2.0)[0] == 0.0


def test_the_binding_resource_pays_and_a_tie_is_shared() -> None:
    table = build_table(fused(linear_bias_relu()), [group("g0", "linear", "bias", "relu")], reference())
    use = np.array([3.0, 1.0, 0.0])
    one = np.array([1.0, 1.0, 2.0])
    bound = compose(table, np.array([2.0]), np.array([1.0]), np.array([0.3]), np.inf, use, one)
    assert bound.compute_s.tolist() == [1.5, 0.5, 0.0]
    assert bound.memory_s.tolist() == [0.0, 0.0, 0.0]
    assert bound.overhead_s == pytest.approx([0.1, 0.1, 0.1])
    tie = compose(table, np.array([2.0]), np.array([2.0]), np.array([0.0]), np.inf, use, one)
    assert tie.compute_s.sum() == tie.memory_s.sum() == 1.0
    # q = 2: T = 5, shares 9/25 and 16/25
    soft = compose(table, np.array([3.0]), np.array([4.0]), np.array([0.0]), 2.0, use, one)
    assert soft.compute_s.sum() == pytest.approx(5 * 9 / 25)
    assert soft.memory_s == pytest.approx(np.array([0.25, 0.25, 0.5]) * 5 * 16 / 25)


def test_a_missing_precision_runs_in_the_nearest_wider_format() -> None:
    unit = H100.units[0]
    assert served_as(unit, "bf16") == "bf16"
    assert served_as(unit, "int4") == "int8"
    assert served_as(unit, "int64") == "fp64"
    assert served_as(H100.units[1], "int8") == "fp16"
    assert served_as(replace(unit, rate={"fp8": q(2.0, "FLOP/s"), "int8": q(1.0, "FLOP/s")}), "fp32") == "int8"


def test_rates_broadcast_over_variants() -> None:
    constants = {**H100.constants(), "matrix.bf16.rate": np.array([[1.0], [2.0]])}
    found = per_row(H100, constants, "matrix", "rate", np.array(["bf16", "fp32", "bf16"]))
    assert found.tolist() == [[1.0, 66.9e12, 1.0], [2.0, 66.9e12, 2.0]]


# --- roofline -------------------------------------------------------------------------------------------------


def test_roofline_of_a_late_resnet_convolution_by_hand() -> None:
    net = Net()
    x, w = net.input("x", 1, 512, 7, 7), net.parameter("w", 512, 512, 3, 3)
    graph = net.done(net.op("conv", "conv", [x, w], 1, 512, 7, 7, pads=(1, 1, 1, 1), strides=(1, 1)))
    graph.groups = [group("g0", "conv", kernel_class="conv")]
    annotate(graph, reference())
    cost = graph.op("conv").cost
    assert cost is not None
    # 2 * 49 * 512 * 512 * 9 FLOP; 2,359,296 weights and 2 * 25,088 activations of 4 B
    flops, moved = 231_211_008, 9_637_888
    assert cost.dram_bytes == moved
    # memory-bound: 9.638 MB at 256 GB/s
    assert cost.latency_s == pytest.approx(37.65e-6, rel=1e-3) == moved / 256e9
    # 20.8 uJ arithmetic, 106.0 uJ memory, 338.8 uJ static
    assert cost.energy_j == pytest.approx(465.66e-6, rel=1e-4)
    assert cost.energy_j == pytest.approx(flops * 0.09e-12 + moved * 11e-12 + 9 * moved / 256e9)
    assert graph.groups[0].kernel is not None
    assert graph.groups[0].kernel.bound == "memory"
    assert graph.groups[0].kernel.utilization == pytest.approx(flops / 33.8e12 / (moved / 256e9))


def test_a_launch_is_paid_per_kernel_and_shared_by_its_operators() -> None:
    target = reference(launch=5e-6)
    graph = fused(linear_bias_relu())
    annotate(graph, target)
    costs = [graph.op(name).cost or Cost() for name in graph.compute_order()]
    assert [c.overhead_s for c in costs] == pytest.approx([5e-6 / 3] * 3)
    separate = [graph.op(name).separate for name in graph.compute_order()]
    assert [k.cost.overhead_s for k in separate if k] == [5e-6] * 3
    assert [k.launches for k in separate if k] == [1, 1, 1]
    assert [k.dram_accesses for k in separate if k] == [2, 2, 2]


# --- annotation -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "target", [reference(launch=5e-6), H100, H100.with_setting("launch", "eager")], ids=lambda t: t.architecture
)
def test_operators_sum_to_kernels_and_singletons_agree_with_running_alone(target: Target) -> None:
    graph = linear_bias_relu(512, 512, 512)
    graph.groups = [group("g0", "linear", "bias", kernel_class="gemm"), group("g1", "relu")]
    annotate(graph, target)
    for g in graph.groups:
        assert g.kernel is not None
        members = sum((graph.op(name).cost or Cost() for name in g.members), start=Cost())
        assert members.energy_j == pytest.approx(g.kernel.cost.energy_j, rel=1e-12)
        assert members.latency_s == pytest.approx(g.kernel.cost.latency_s, rel=1e-12)
    graph.groups = alone(graph)
    annotate(graph, target)
    for g in graph.groups:
        separate = graph.op(g.members[0]).separate
        assert separate is not None
        assert g.kernel is not None
        assert separate.cost.latency_s == pytest.approx(g.kernel.cost.latency_s, rel=1e-12)
        assert separate.cost.energy_j == pytest.approx(g.kernel.cost.energy_j, rel=1e-12)


def test_a_kernel_of_views_costs_nothing() -> None:
    net = Net()
    graph = net.done(net.op("v", "reshape", [net.input("x", 8, 8)], 64))
    graph.groups = alone(graph)
    for target in (reference(launch=5e-6), H100):
        annotate(graph, target)
        kernel = graph.groups[0].kernel
        assert kernel is not None
        assert (kernel.cost.latency_s, kernel.cost.energy_j, kernel.bound, kernel.launches) == (0.0, 0.0, "none", 0)


def test_a_graph_without_operators_has_an_estimate() -> None:
    net = Net()
    graph = net.done(net.input("x", 8))
    for target in (reference(), H100):
        annotate(graph, target)
        assert graph.estimate is not None
        assert graph.estimate.energy_j == (0.0, 0.0)


def test_unknown_architectures_and_missing_constants_are_refused() -> None:
    with pytest.raises(UsageError, match="did you mean 'roofline'"):
        model_of(replace(reference(), architecture="roof-line"))
    with pytest.raises(UsageError, match="'launch'"):
        model_of(replace(reference(), parameters={}))
    with pytest.raises(ValueError, match="twice"):
        register(MODELS["roofline"])


# --- uncertainty ----------------------------------------------------------------------------------------------


def test_intervals_hold_the_nominal_value_and_follow_the_ranges() -> None:
    graph = linear_bias_relu()
    table = build_table(graph, alone(graph), reference())
    target = reference()
    model = model_of(target)
    energy, latency = totals(model, table, target, target.constants(), None)
    found = uncertainty(model, table, target, None)
    assert found.latency_s == (float(latency), float(latency))  # only the energy of reads has a range
    assert found.energy_j[0] < float(energy) < found.energy_j[1]
    reads = float((dram_bytes(table) - table.write_bytes).sum())
    assert float(energy) - reads * 5.5e-12 < found.energy_j[0]
    assert found.energy_j[1] < float(energy) + reads * 11e-12
    assert uncertainty(model, table, target, None) == found


def test_the_assumed_fraction_is_the_share_of_assumed_sensitivities() -> None:
    # One kernel bound by memory: EDP = (F e + B e' + P T) T with T = B / BW. By hand, elasticities of the
    # EDP: flop energy F e / E, byte energy B e' / E, static P T / E (assumed), bandwidth -(1 + P T / E).
    net = Net()
    graph = net.done(net.op("r", "relu", [net.input("x", 1_000_000)], 1_000_000))
    target = reference()
    table = build_table(graph, alone(graph), target)
    seconds, flops, moved = 8e6 / 256e9, 1e6, 8e6
    parts = np.array([flops * 0.09e-12, moved * 11e-12, 9.0 * seconds])
    static = parts[2] / parts.sum()
    expected = static / (parts.sum() / parts.sum() + 1 + static)
    assert uncertainty(model_of(target), table, target, None).assumed_fraction == pytest.approx(expected, rel=0.02)
    known = replace(target, static_power=replace(target.static_power, basis=Basis.DATASHEET))
    assert uncertainty(model_of(known), table, known, None).assumed_fraction == 0.0


class Late(Roofline):
    """Asks for what launches take only where it sees several machines at once."""

    def evaluate(self, table: KernelTable, target: Target, constants: Constants, plan: Any) -> CostColumns:
        if not leading_shape(constants):
            constants = {key: target.constants()[key] if key == "launch" else constants[key] for key in constants}
        return super().evaluate(table, target, constants, plan)


def test_what_only_a_varied_machine_asks_for_is_varied_too() -> None:
    graph, target = linear_bias_relu(), reference(launch=1e-6)
    table = build_table(graph, alone(graph), target)
    found = {e.constant: e for e in uncertainty(Late(), table, target, None).elasticities}
    assert found == {e.constant: e for e in uncertainty(Roofline(), table, target, None).elasticities}
    assert any(e.edp for e in found.values())


def test_what_nothing_asks_for_has_no_influence() -> None:
    graph = linear_bias_relu()
    target = replace(reference(), parameters={**reference().parameters, "idle.thing": q(0.5, "s")})
    table = build_table(graph, alone(graph), target)
    found = {e.constant: e for e in uncertainty(Roofline(), table, target, None).elasticities}
    assert (found["idle.thing"].energy, found["idle.thing"].latency) == (0.0, 0.0)


def test_variants_in_one_evaluation_equal_evaluations_one_by_one() -> None:
    graph = linear_bias_relu(2048, 2048, 2048, "bf16")
    table = build_table(graph, alone(graph), H100)
    model = model_of(H100)
    plan = model.plan(table, H100)
    keys = ("dram.bandwidth", "matrix.bf16.rate", "power.active", "launch.graph", "vector.stream", "static_power")
    factors = np.array([0.7, 1.0, 1.3])
    nominal = H100.constants()
    together = totals(model, table, H100, {**nominal, **{k: nominal[k] * factors[:, None] for k in keys}}, plan)
    for i, factor in enumerate(factors):
        single = totals(model, table, H100, {**nominal, **{k: nominal[k] * factor for k in keys}}, plan)
        assert [float(x[i]) for x in together] == pytest.approx([float(x) for x in single], rel=1e-12)


def test_equal_kernels_share_their_model_error_and_different_ones_do_not() -> None:
    # Small products, 90 % of them within 0.8 and 1.3 of their prediction; nothing else is uncertain.
    exact = replace(
        H100,
        static_power=replace(H100.static_power, range=None),
        units=tuple(
            replace(
                unit,
                rate={p: replace(q, range=None) for p, q in unit.rate.items()},
                energy={p: replace(q, range=None) for p, q in unit.energy.items()},
            )
            for unit in H100.units
        ),
        memories=tuple(
            replace(m, **{part: replace(getattr(m, part), range=None) for part in ("bandwidth", "read_energy", "write_energy")})
            for m in H100.memories
        ),
        parameters={key: replace(q, range=None) for key, q in H100.parameters.items()}
        | {"gemm.error": replace(H100.parameters["gemm.error"], range=(0.8, 1.3))},
    )
    model = model_of(exact)

    def relative(widths: list[int]) -> tuple[float, float]:
        net = Net("bf16")
        x = net.input("x", 1, 4096)
        results = [net.op(f"y{i}", "matmul", [x, net.parameter(f"w{i}", 4096, n)], 1, n) for i, n in enumerate(widths)]
        graph = net.done(*results)
        table = build_table(graph, alone(graph), exact)
        plan = model.plan(table, exact)
        nominal = float(totals(model, table, exact, exact.constants(), plan)[1])
        low, high = uncertainty(model, table, exact, plan).latency_s
        return low / nominal, high / nominal

    assert relative([64]) == pytest.approx((0.8, 1.3), rel=0.01)
    assert relative([64] * 9) == pytest.approx((0.8, 1.3), rel=0.01)
    low, high = relative([64 + 8 * i for i in range(9)])
    assert 0.88 < low < 0.95
    assert 1.05 < high < 1.15


# --- laws -----------------------------------------------------------------------------------------------------

BETTER_WHEN_MORE = ("dram.bandwidth", "matrix.bf16.rate", "vector.fp32.rate", "special.fp32.rate", "llc.bandwidth")
BETTER_WHEN_LESS = ("launch.graph", "gemm.floor", "vector.floor")
CHEAPER_WHEN_LESS = (
    "matrix.bf16.energy",
    "dram.read_energy",
    "dram.write_energy",
    "llc.read_energy",
    "static_power",
    "power.active",
)


@settings(max_examples=40, deadline=None)
@given(
    size=st.tuples(*[st.sampled_from([16, 64, 200, 1024, 4096])] * 3),
    key=st.sampled_from(BETTER_WHEN_MORE + BETTER_WHEN_LESS + CHEAPER_WHEN_LESS),
    factor=st.floats(1.01, 4.0),
)
def test_a_better_machine_is_never_slower_and_a_thriftier_one_never_costs_more(
    size: tuple[int, int, int], key: str, factor: float
) -> None:
    graph = linear_bias_relu(*size, "bf16")
    table = build_table(graph, alone(graph), H100)
    model = model_of(H100)
    plan = model.plan(table, H100)
    nominal = H100.constants()
    better = {**nominal, key: nominal[key] * factor if key in BETTER_WHEN_MORE else nominal[key] / factor}
    (e0, t0), (e1, t1) = (totals(model, table, H100, c, plan) for c in (nominal, better))
    assert t1 <= t0 * (1 + 1e-7)
    if key in CHEAPER_WHEN_LESS:
        assert e1 <= e0 * (1 + 1e-7)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.integers(0, 2), min_size=2, max_size=12), st.randoms(use_true_random=False), st.sampled_from([1000, 3_000_000])
)
def test_fusing_never_adds_dram_bytes_and_kernels_conserve(kinds: list[int], rng: object, elements: int) -> None:
    net = Net()
    values = [net.input("x", elements)]
    for i, kind in enumerate(kinds):
        pick = [values[rng.randrange(len(values))] for _ in range(2)]  # type: ignore[attr-defined]
        operands = pick if kind == 2 else pick[:1]
        values.append(net.op(f"o{i}", ("relu", "exp", "add")[kind], operands, elements))
    graph = net.done(values[-1])
    order = graph.compute_order()
    cut = rng.randrange(1, len(order) + 1)  # type: ignore[attr-defined]
    groups = [group("g0", *order[:cut])] + ([group("g1", *order[cut:])] if order[cut:] else [])
    for target in (H100, reference()):
        apart, together = build_table(graph, alone(graph), target), build_table(graph, groups, target)
        assert dram_bytes(together).sum() <= dram_bytes(apart).sum()
        model = model_of(target)
        found = model.evaluate(together, target, target.constants(), model.plan(together, target))
        for column in (found.compute_s, found.memory_s, found.overhead_s, found.compute_j, found.dram_j):
            assert kernel_sum(together, column).sum() == pytest.approx(column.sum(), rel=1e-12)


def test_a_large_network_is_judged_by_a_sample_of_its_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    net = Net("bf16")
    x, w = net.input("x", 256, 256), net.parameter("w", 256, 256)
    for i in range(60):
        y = net.op(f"m{i}", "matmul", [x, w], 256, 256)
        x = net.op(f"s{i}", "softmax", [y], 256, 256, axis=-1)
    graph = net.done(x)
    table = build_table(graph, alone(graph), H100)
    model = model_of(H100)
    plan = model.plan(table, H100)
    whole = uncertainty(model, table, H100, plan)
    monkeypatch.setattr("edpc.machine.uncertainty._MOST_OPERATORS", 40)
    part = uncertainty(model, table, H100, plan)
    assert part != whole
    for a, b in ((part.energy_j, whole.energy_j), (part.latency_s, whole.latency_s), (part.edp_js, whole.edp_js)):
        assert a == pytest.approx(b, rel=0.1)
    assert part.assumed_fraction == pytest.approx(whole.assumed_fraction, abs=0.05)
