"""Library kernels on cores: which line prices what, threads, the residency clock and power."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edpc.errors import UsageError
from edpc.ir import Graph, Location, Operator, TensorType, attributes
from edpc.machine.build import build_table, singletons
from edpc.machine.catalogue import model_of
from edpc.machine.stored_program import _cold_part
from edpc.machine.stored_program_lines import FUSED_LINES, LINES, calls_of, line_of
from edpc.machine.table import CostColumns
from edpc.machine.walk import walk
from edpc.operators import work
from edpc.target import Basis, Quantity, Setting, Target
from targets.cpu import TARGET as CPU
from tests.machine_graphs import Net, group


def price(graph: Graph, target: Target = CPU) -> CostColumns:
    model = model_of(target)
    table = build_table(graph, singletons(walk(graph)), target)
    return model.evaluate(table, target, target.constants(), model.plan(table, target))


def seconds(found: CostColumns) -> float:
    return float((found.compute_s + found.memory_s + found.overhead_s).sum())


def layer(m: int, n: int, k: int) -> Graph:
    net = Net()
    return net.done(net.op("y", "matmul", [net.input("x", m, k), net.parameter("w", k, n)], m, n))


def operator(kind: str, inputs: list[tuple[int, ...]], output: tuple[int, ...], **attrs: tuple[int, ...] | int) -> Operator:
    op = Operator(kind, tuple(TensorType("fp32", s) for s in inputs), (TensorType("fp32", output),), attributes(**attrs))
    return Operator(op.kind, op.inputs, op.outputs, op.attributes, work=work(op))


@pytest.mark.parametrize(
    ("line", "op"),
    [
        ("direct_conv", operator("conv", [(1, 64, 56, 56), (64, 64, 3, 3)], (1, 64, 54, 54))),
        ("pointwise_conv", operator("conv", [(1, 64, 56, 56), (128, 64, 1, 1)], (1, 128, 56, 56))),
        ("depthwise_conv", operator("conv", [(1, 64, 56, 56), (64, 1, 3, 3)], (1, 64, 54, 54), groups=64)),
        ("scale_conv", operator("conv", [(1, 64, 56, 56), (64, 1, 1, 1)], (1, 64, 56, 56), groups=64)),
        ("first_conv", operator("conv", [(1, 3, 224, 224), (64, 3, 7, 7)], (1, 64, 218, 218))),
        ("im2col_conv", operator("conv", [(1, 24, 56, 56), (24, 24, 3, 3)], (1, 24, 54, 54))),
        ("im2col_conv", operator("conv", [(1, 64, 100), (64, 64, 3)], (1, 64, 98))),
        ("gemm", operator("matmul", [(128, 768), (768, 768)], (128, 768))),
        ("gemv", operator("matmul", [(1, 768), (768, 1000)], (1, 1000))),
        ("batched_matmul", operator("matmul", [(12, 128, 64), (12, 64, 128)], (12, 128, 128))),
        ("unary", operator("relu", [(8, 8)], (8, 8))),
        ("binary", operator("add", [(8, 8), (8, 8)], (8, 8))),
        ("transcendental", operator("tanh", [(8, 8)], (8, 8))),
        ("gelu", operator("gelu", [(8, 8)], (8, 8))),
        ("softmax", operator("softmax", [(8, 8)], (8, 8), axis=-1)),
        ("transpose", operator("transpose", [(4, 8, 16)], (8, 4, 16), perm=(1, 0, 2))),
        ("transpose_inner", operator("transpose", [(4, 8, 16)], (4, 16, 8), perm=(0, 2, 1))),
        ("concat", operator("concat", [(4, 8), (4, 8)], (8, 8), axis=0)),
        ("split", operator("split", [(8, 8)], (4, 8), axis=0)),
        ("movement", operator("slice", [(8, 8)], (4, 8))),
        ("view", operator("reshape", [(4, 8)], (32,))),
        ("reduction", operator("reduce_mean", [(4, 8)], (4, 1), axes=(1,), keepdims=1)),
        ("reduction_inner", operator("reduce_mean", [(4, 8)], (1, 8), axes=(0,), keepdims=1)),
    ],
)
def test_an_operator_is_priced_by_the_kernel_that_executes_it(line: str, op: Operator) -> None:
    assert line_of(op) == line


@pytest.mark.parametrize(
    ("calls", "line", "op"),
    [
        (8, "softmax", operator("softmax", [(8, 16)], (8, 16), axis=-1)),
        (12, "batched_matmul", operator("matmul", [(12, 128, 64), (12, 64, 128)], (12, 128, 128))),
        (128 * 96, "gemm", operator("matmul", [(128, 768), (768, 96)], (128, 96))),
        (2 * 54 * 2, "direct_conv", operator("conv", [(2, 64, 56, 56), (128, 64, 3, 3)], (2, 128, 54, 54))),  # sets of 64 filters
        (4 * 8, "transpose", operator("transpose", [(4, 8, 16)], (8, 4, 16), perm=(1, 0, 2))),  # blocks of 16
        (4 * 2, "concat", operator("concat", [(4, 8), (4, 8)], (4, 16), axis=1)),
        (0, "unary", operator("relu", [(8, 8)], (8, 8))),
    ],
)
def test_starts_of_inner_loops_are_counted(calls: int, line: str, op: Operator) -> None:
    assert line_of(op) == line
    assert calls_of(op, line) == calls


def test_integer_products_have_a_line_of_their_own() -> None:
    op = operator("matmul", [(8, 16), (16, 8)], (8, 8))
    assert op.work is not None
    assert line_of(op.having(work=replace(op.work, precision="int8"))) == "integer"


def test_what_the_runtime_blocks_is_said_by_its_own_graph() -> None:
    """24 channels fill no block of 16; a runtime with blocks of 8 lays them out all the same."""
    op = operator("conv", [(1, 24, 56, 56), (24, 24, 3, 3)], (1, 24, 54, 54))
    assert line_of(op) == "im2col_conv"
    assert line_of(op.having(location=Location("c", "com.microsoft.nchwc.Conv"))) == "direct_conv"


def test_the_target_has_every_line() -> None:
    assert set(LINES) > FUSED_LINES
    model_of(CPU)


def test_a_small_node_runs_on_one_core_and_a_large_one_on_all() -> None:
    # 4 KiB in and out at 42 GB/s of one core: 0.2 us, below the grain of a thread.
    net = Net()
    small = price(net.done(net.op("y", "relu", [net.input("x", 1024)], 1024)))
    assert small.overhead_s[0] == pytest.approx(1.5e-6)
    assert small.memory_s[0] == pytest.approx(8192 / 42e9)
    assert small.compute_s[0] == pytest.approx(1024 / (32 * 1.9e9))  # 32 operations a cycle on the one core
    # A product of 1,024 cubed: 2.1 GFLOP at 0.8 of 7.3 TF/s on 60 cores, with log2(60) forks and joins.
    large = price(layer(1024, 1024, 1024))
    assert large.overhead_s[0] == pytest.approx(2e-6 + 2.5e-6 * np.log2(60))
    assert large.compute_s[0] == pytest.approx(2 * 1024**3 / (0.8 * 7.296e12), rel=1e-6)


def test_the_clock_blends_hot_and_cold() -> None:
    """Weights are read at the speed of L3 in a short network and of DRAM in a long one, and only then come from DRAM."""
    net = Net()
    value = net.input("x", 1, 4096)
    value = net.op("fc", "matmul", [value, net.parameter("w", 4096, 4096)], 1, 4096)
    short = price(net.done(value))
    assert short.dram_bytes[0] == 4096 * 4  # the result alone
    net = Net()
    value = net.op("slow", "matmul", [net.input("x", 8192, 8192), net.parameter("v", 8192, 8192)], 8192, 8192)  # 0.19 s
    other = net.op("fc", "matmul", [net.input("z", 1, 4096), net.parameter("w", 4096, 4096)], 1, 4096)
    long = price(net.done(value, other))
    assert long.dram_bytes[1] == 4096 * 4096 * 4 + 2 * 4096 * 4  # and the input, long pushed out
    assert short.memory_s[0] == pytest.approx((4096 * 4096 + 2 * 4096) * 4 / 1.2e12, rel=1e-6)
    assert long.memory_s[1] == pytest.approx((4096 * 4096 + 2 * 4096) * 4 / (0.8 * 307.2e9), rel=1e-6)


@given(hot=st.floats(0.0, 0.1), longer=st.floats(0.0, 0.05))
def test_lambda_is_the_least_fixed_point(hot: float, longer: float) -> None:
    constants = {"residency.start": 4.5e-3, "residency.span": 12.5e-3}
    part = float(_cold_part(np.array([hot]), np.array([longer]), constants)[0])

    def step(value: float) -> float:
        return min(max((hot + value * longer - 4.5e-3) / 12.5e-3, 0.0), 1.0)

    assert part == pytest.approx(step(part), abs=1e-9)
    reached = 0.0
    for _ in range(200):
        assert reached <= part + 1e-9  # iterating from the hot set climbs towards it and never beyond
        reached = step(reached)


@settings(deadline=None)
@given(first=st.floats(1e-4, 0.1), second=st.floats(1e-4, 0.1), longer=st.floats(0.0, 0.05))
def test_a_longer_model_is_never_warmer(first: float, second: float, longer: float) -> None:
    constants = {"residency.start": 4.5e-3, "residency.span": 12.5e-3}
    low, high = (float(_cold_part(np.array([t]), np.array([longer]), constants)[0]) for t in sorted((first, second)))
    assert low <= high


def test_a_fully_busy_socket_draws_about_seven_tenths_of_its_tdp() -> None:
    budget = 0.7 * 350.0
    busy = price(layer(8192, 8192, 8192))
    power = 90.0 + float((busy.compute_j + busy.on_chip_j + busy.dram_j + busy.overhead_j).sum()) / seconds(busy)
    assert power == pytest.approx(budget, rel=0.1)
    net = Net()
    stream = price(net.done(net.op("y", "add", [net.input("a", 2**26), net.input("b", 2**26)], 2**26)))
    power = 90.0 + float((stream.compute_j + stream.on_chip_j + stream.dram_j + stream.overhead_j).sum()) / seconds(stream)
    assert power == pytest.approx(budget, rel=0.15)


def test_a_fused_kernel_is_its_anchors_and_a_rule_may_name_another() -> None:
    net = Net()
    value = net.op("mm", "matmul", [net.input("x", 128, 256), net.parameter("w", 256, 256)], 128, 256)
    graph = net.done(net.op("act", "relu", [value], 128, 256))
    model = model_of(CPU)
    table = build_table(graph, [group("g0", "mm", "act", kernel_class="gemm")], CPU)
    assert LINES[model.plan(table, CPU).line[0]] == "gemm"
    net = Net()
    value = net.op("erf", "erf", [net.input("x", 64, 64)], 64, 64)
    graph = net.done(net.op("one", "mul", [value, net.parameter("c", 1)], 64, 64))
    table = build_table(graph, [group("g0", "erf", "one", kernel_class="layer_norm")], CPU)
    assert LINES[model.plan(table, CPU).line[0]] == "layer_norm"
    fused = model.evaluate(table, CPU, CPU.constants(), model.plan(table, CPU))
    assert seconds(fused) < seconds(price(graph))


def test_amx_formats_are_derated() -> None:
    rate = 60 * 2048 * 1.9e9
    net = Net("bf16")
    found = price(net.done(net.op("y", "matmul", [net.input("x", 2048, 2048), net.parameter("w", 2048, 2048)], 2048, 2048)))
    assert found.busy_compute_s[0] == pytest.approx(2 * 2048**3 / (0.8 * 0.35 * rate), rel=1e-6)


def test_doubling_a_large_product_doubles_its_time() -> None:
    assert seconds(price(layer(16384, 4096, 4096))) / seconds(price(layer(8192, 4096, 4096))) == pytest.approx(2.0, rel=0.02)


def calibrated(**lines: float) -> Target:
    """The target as if measured for one and for two threads, with these constants of one line changed for two threads."""
    parameters = {k: q for k, q in CPU.parameters.items() if not k.startswith("line.")}
    parameters |= {f"threads.{n}.{k}": q for n in (1, 2) for k, q in CPU.parameters.items() if k.startswith("line.")}
    for key, value in lines.items():
        name = f"threads.2.line.{key.replace('__', '.')}"
        parameters[name] = Quantity(value, parameters[name].unit, Basis.MEASURED, "test")
    parameters["cores"] = Quantity(2, "1", Basis.MEASURED, "test")
    setting = Setting("2", ("1", "2"), "threads")
    return replace(CPU, parameters=parameters, settings={**CPU.settings, "threads": setting})


def test_a_calibrated_machine_has_constants_for_each_number_of_threads() -> None:
    machine = calibrated(unary__node_hot=7e-6)
    net = Net()
    graph = net.done(net.op("y", "relu", [net.input("x", 1024)], 1024))
    two, one = price(graph, machine), price(graph, machine.with_setting("threads", "1"))
    assert two.overhead_s[0] == pytest.approx(7e-6)
    assert one.overhead_s[0] == pytest.approx(1.5e-6)
    assert two.memory_s[0] == pytest.approx(8192 / 42e9 / 2)  # shared by two threads, however small
    assert one.memory_s[0] == pytest.approx(8192 / 42e9)


def test_a_calibrated_machine_lacks_no_constant_for_any_number_of_threads() -> None:
    machine = calibrated()
    missing = {k: q for k, q in machine.parameters.items() if k != "threads.1.line.gemv.pass_cold"}
    with pytest.raises(UsageError, match=r"threads\.1\.line\.gemv\.pass_cold"):
        model_of(replace(machine, parameters=missing))


def test_a_run_costs_what_the_launches_share() -> None:
    machine = calibrated()
    overhead = Quantity(10e-6, "s", Basis.MEASURED, "test")
    slower = replace(machine, parameters={**machine.parameters, "run.overhead": overhead})
    net = Net()
    value = net.op("a", "relu", [net.input("x", 1024)], 1024)
    graph = net.done(net.op("b", "relu", [value], 1024))
    assert seconds(price(graph, slower)) - seconds(price(graph, machine)) == pytest.approx(10e-6)


def test_activations_beyond_the_caches_cost_more() -> None:
    machine = calibrated(binary__far_hot=10e9)
    room = machine.constants()["local.capacity"]  # of the two cores
    elements = int(room) // 4
    net = Net()
    graph = net.done(net.op("y", "add", [net.input("a", elements), net.input("b", elements)], elements))
    more = price(graph, machine).memory_s[0] - price(graph, calibrated()).memory_s[0]
    # Three tensors of the caches' size: two of them stand beyond, over two threads.
    assert more == pytest.approx(2 * room / (2 * 10e9) - 2 * room / (2 * 1e12), rel=1e-3)


def test_a_fused_activation_that_is_no_relu_is_a_pass() -> None:
    def fused(kind: str, machine: Target) -> float:
        net = Net()
        value = net.op("c", "conv", [net.input("x", 1, 64, 14, 14), net.parameter("w", 64, 64, 1, 1)], 1, 64, 14, 14)
        graph = net.done(net.op("act", kind, [value], 1, 64, 14, 14))
        model = model_of(machine)
        table = build_table(graph, [group("g0", "c", "act", kernel_class="conv")], machine)
        return float(model.evaluate(table, machine, machine.constants(), model.plan(table, machine)).overhead_s.sum())

    machine = calibrated(pointwise_conv__pass_hot=1e-9)
    assert fused("clip", machine) - fused("relu", machine) == pytest.approx(64 * 14 * 14 * 1e-9 / 2)


def test_a_runtime_dispatches_views_too() -> None:
    net = Net()
    graph = net.done(net.op("y", "reshape", [net.input("x", 4, 8)], 32))
    model = model_of(CPU)
    table = build_table(graph, [group("g0", "y", kernel_class="none", rule="runtime-node")], CPU)
    assert seconds(model.evaluate(table, CPU, CPU.constants(), model.plan(table, CPU))) == pytest.approx(4e-6)
    assert seconds(price(graph)) == 0.0
