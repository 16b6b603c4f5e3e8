"""Library kernels on cores: which line prices what, threads, the residency clock and power."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edpc.ir import Graph, Operator, TensorType, attributes
from edpc.machine.build import build_table, singletons
from edpc.machine.catalogue import model_of
from edpc.machine.stored_program import _cold_part
from edpc.machine.stored_program_lines import FUSED_LINES, LINES, line_of
from edpc.machine.table import CostColumns
from edpc.machine.walk import walk
from edpc.operators import work
from edpc.target import Target
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
        ("movement", operator("concat", [(4, 8), (4, 8)], (8, 8), axis=0)),
    ],
)
def test_an_operator_is_priced_by_the_kernel_that_executes_it(line: str, op: Operator) -> None:
    assert line_of(op) == line


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
    assert LINES[model.plan(table, CPU).kernel[0]] == "gemm"
    net = Net()
    value = net.op("erf", "erf", [net.input("x", 64, 64)], 64, 64)
    graph = net.done(net.op("one", "mul", [value, net.parameter("c", 1)], 64, 64))
    table = build_table(graph, [group("g0", "erf", "one", kernel_class="layer_norm")], CPU)
    assert LINES[model.plan(table, CPU).kernel[0]] == "layer_norm"
    fused = model.evaluate(table, CPU, CPU.constants(), model.plan(table, CPU))
    assert seconds(fused) < seconds(price(graph))


def test_amx_formats_are_derated() -> None:
    rate = 60 * 2048 * 1.9e9
    net = Net("bf16")
    found = price(net.done(net.op("y", "matmul", [net.input("x", 2048, 2048), net.parameter("w", 2048, 2048)], 2048, 2048)))
    assert found.busy_compute_s[0] == pytest.approx(2 * 2048**3 / (0.8 * 0.35 * rate), rel=1e-6)


def test_doubling_a_large_product_doubles_its_time() -> None:
    assert seconds(price(layer(16384, 4096, 4096))) / seconds(price(layer(8192, 4096, 4096))) == pytest.approx(2.0, rel=0.02)
