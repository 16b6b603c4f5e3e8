"""The kernel table: what crosses borders, what is warm, what is counted."""

from __future__ import annotations

import numpy as np
import pytest

from edpc.errors import VerifyError
from edpc.ir import Graph
from edpc.machine.build import build_table
from edpc.machine.compose import dram_bytes
from targets.h100 import TARGET as H100
from tests.machine_graphs import Net, alone, group, linear_bias_relu, reference


def chain(count: int, elements: int) -> Graph:
    net = Net()
    x = net.input("x", elements)
    for i in range(count):
        x = net.op(f"r{i}", "relu", [x], elements)
    return net.done(x)


def test_linear_bias_relu_makes_six_accesses_and_three_launches_apart() -> None:
    graph = linear_bias_relu()
    table = build_table(graph, alone(graph), reference())
    assert table.accesses.tolist() == [2, 2, 2]
    assert table.launches.tolist() == [1, 1, 1]
    # x 128*256*4, w 256*512*4, y 128*512*4, b 512*4
    assert table.weight_bytes.tolist() == [524288, 2048, 0]
    assert table.cold_bytes.tolist() == [131072, 262144, 262144]
    assert table.write_bytes.tolist() == [262144, 262144, 262144]


def test_linear_bias_relu_makes_two_accesses_and_one_launch_fused() -> None:
    table = build_table(linear_bias_relu(), [group("g0", "linear", "bias", "relu")], reference())
    assert table.accesses.sum() == 2
    assert table.launches.tolist() == [1]
    assert table.accesses.tolist() == [1, 0, 1]
    assert table.weight_bytes.tolist() == [524288, 2048, 0]
    assert dram_bytes(table).sum() == 131072 + 524288 + 2048 + 262144
    # two intermediates are written and read inside
    assert table.on_chip_bytes.tolist() == [262144, 2 * 262144, 262144]
    assert table.anchor.tolist() == [0]


def test_an_external_tensor_is_read_once_per_kernel_by_its_first_reader() -> None:
    net = Net()
    x, w = net.input("x", 64, 64), net.parameter("w", 64, 64)
    a = net.op("a", "matmul", [x, w], 64, 64)
    b = net.op("b", "matmul", [x, w], 64, 64)
    square = net.op("c", "mul", [a, a], 64, 64)
    graph = net.done(net.op("d", "add", [square, b], 64, 64))
    one = build_table(graph, [group("g0", "a", "b", "c", "d")], reference())
    size = 64 * 64 * 4
    assert one.cold_bytes.tolist() == [size, 0, 0, 0]
    assert one.weight_bytes.tolist() == [size, 0, 0, 0]
    assert one.accesses.tolist() == [1, 0, 0, 1]
    apart = build_table(graph, alone(graph), reference())
    # c reads one tensor in two slots: one access
    assert apart.accesses.tolist() == [2, 2, 2, 3]


def test_views_are_looked_through_and_cost_nothing() -> None:
    net = Net()
    x = net.input("x", 8, 16)
    a = net.op("a", "relu", [x], 8, 16)
    v = net.op("v", "reshape", [a], 128)
    b = net.op("b", "relu", [v], 128)
    graph = net.done(b, net.op("w", "reshape", [v], 2, 64))
    table = build_table(graph, [group("g0", "a", "v"), group("g1", "b"), group("g2", "w")], reference())
    assert table.launches.tolist() == [1, 1, 0]
    assert table.free.tolist() == [False, True, False, True]
    # the view's reader reads a, and the returned view is a, written once
    assert table.write_bytes.tolist() == [512, 0, 512, 0]
    assert table.cold_bytes.tolist() == [512, 0, 512, 0]
    fused = build_table(graph, [group("g0", "a", "v", "b"), group("g1", "w")], reference())
    assert fused.write_bytes.tolist() == [512, 0, 512, 0]
    assert fused.accesses.sum() == 3


def test_a_broadcast_view_is_read_at_the_size_it_has_in_memory() -> None:
    net = Net()
    x = net.input("x", 1, 256)
    wide = net.op("wide", "view_expand", [x], 64, 256)
    graph = net.done(net.op("a", "relu", [wide], 64, 256))
    table = build_table(graph, alone(graph), reference())
    assert table.cold_bytes.sum() == 256 * 4


def test_single_elements_are_no_accesses() -> None:
    net = Net()
    x, s = net.input("x", 256), net.input("s", 1)
    graph = net.done(net.op("a", "mul", [x, s], 256))
    table = build_table(graph, alone(graph), reference())
    assert table.accesses.tolist() == [2]
    assert table.weight_bytes.tolist() == [4]


def test_writing_a_part_in_place_warms_no_more_than_that_part() -> None:
    net = Net()
    cache, token = net.input("cache", 1024, 1024), net.input("token", 1, 1024)
    x = net.input("x", 16 * 1024, 1024)
    other = net.op("other", "relu", [x], 16 * 1024, 1024)  # 64 MB in and out push the cache out of an L2 of 50 MB
    kept = net.op("write", "tensor_scatter", [cache, token], 1024, 1024, axis=0)
    again = net.op("again", "tensor_scatter", [kept, token], 1024, 1024, axis=0)
    graph = net.done(net.op("read", "relu", [again], 1024, 1024), other)
    table = build_table(graph, alone(graph), H100)
    row = table.names.index("read")
    assert (table.cold_bytes[row], table.warm_bytes[row]) == (4 * 1024 * 1024, 0)
    # A whole tensor of the same size that was just written is warm.
    net = Net()
    fresh = net.op("copy", "relu", [net.input("cache", 1024, 1024)], 1024, 1024)
    graph = net.done(net.op("read", "relu", [fresh], 1024, 1024))
    table = build_table(graph, alone(graph), H100)
    assert table.warm_bytes[table.names.index("read")] == 4 * 1024 * 1024


def test_operands_are_warm_when_they_and_the_traffic_since_fit_the_cache() -> None:
    # warm part of the L2: 0.75 * 50 MB = 37.5 MB; 8 M fp32 elements are 32 MB, 10 M are 40 MB
    small, large = chain(3, 8_000_000), chain(3, 10_000_000)
    assert build_table(small, alone(small), H100).cold_bytes.sum() == 0
    assert build_table(large, alone(large), H100).warm_bytes.sum() == 0
    assert build_table(small, alone(small), reference()).warm_bytes.sum() == 0


def test_traffic_between_producer_and_consumer_turns_an_operand_cold() -> None:
    net = Net()
    x = net.input("x", 4_000_000)
    a = net.op("a", "relu", [x], 4_000_000)
    b = net.op("b", "exp", [a], 4_000_000)
    c = net.op("c", "exp", [b], 4_000_000)
    graph = net.done(net.op("d", "add", [a, c], 4_000_000))
    table = build_table(graph, alone(graph), H100)
    # between a and d, b and c move 4 tensors of 16 MB
    assert table.cold_bytes.tolist() == [0, 0, 0, 16e6]
    assert table.warm_bytes.tolist() == [16e6, 16e6, 16e6, 16e6]
    # fused, b and c are one kernel that moves 2 tensors of 16 MB: 32 MB fit
    fused = build_table(graph, [group("g0", "a"), group("g1", "b", "c"), group("g2", "d")], H100)
    assert fused.cold_bytes.sum() == 0


def test_executions_multiply_bytes_and_launches_and_an_untaken_branch_costs_nothing() -> None:
    net = Net()
    x = net.input("x", 256)
    a = net.op("a", "relu", [x], 256, executions=5)
    graph = net.done(a, net.op("b", "exp", [a], 256, executions=0))
    table = build_table(graph, alone(graph), reference())
    assert table.launches.tolist() == [5, 0]
    assert table.write_bytes.tolist() == [5 * 1024, 0]
    assert table.cold_bytes.tolist() == [5 * 1024, 0]


def test_the_anchor_does_most_arithmetic_and_attention_keeps_its_mask() -> None:
    net = Net()
    x, w = net.input("q", 2, 64, 32), net.input("k", 2, 32, 64)
    s = net.op("s", "matmul", [x, w], 2, 64, 64)
    p = net.op("p", "softmax", [s], 2, 64, 64, axis=-1, causal=True, window=16, query_group=4)
    graph = net.done(net.op("o", "matmul", [p, net.input("v", 2, 64, 32)], 2, 64, 32))
    table = build_table(graph, [group("g0", "s", "p", "o", kernel_class="attention")], reference())
    assert table.kind[table.anchor[0]] == "matmul"
    assert (table.causal[0], table.window[0], table.query_group[0]) == (True, 16.0, 4.0)
    other = build_table(graph, alone(graph), reference())
    assert not other.causal.any()
    assert other.query_group.tolist() == [1, 1, 1]


def test_an_operator_without_work_is_refused_by_name() -> None:
    graph = linear_bias_relu()
    graph.annotate("bias", work=None)
    with pytest.raises(VerifyError, match="%bias"):
        build_table(graph, alone(graph), reference())


def test_sums_do_not_depend_on_the_partition() -> None:
    graph = linear_bias_relu()
    apart, fused = (build_table(graph, g, reference()) for g in (alone(graph), [group("g0", "linear", "bias", "relu")]))
    for column in ("macs", "vector_ops", "weight_bytes"):
        assert np.array_equal(getattr(apart, column), getattr(fused, column))
