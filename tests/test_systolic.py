"""Systolic arrays: closed forms against a cycle-stepped array, and the TPU model against the laws it was fitted with."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edpc.ir import Graph
from edpc.machine import systolic_forms as forms
from edpc.machine.build import build_table, singletons
from edpc.machine.catalogue import model_of
from edpc.machine.systolic_array import padding
from edpc.machine.table import CostColumns
from edpc.machine.walk import walk
from edpc.target import Target
from targets.tpu import TARGET as V4
from targets.tpu_v1 import TARGET as V1
from tests import systolic_simulator as simulator
from tests.machine_graphs import Net, group

SMALL = st.integers(1, 7)


def price(graph: Graph, target: Target) -> CostColumns:
    """Every operator on its own."""
    model = model_of(target)
    table = build_table(graph, singletons(walk(graph)), target)
    return model.evaluate(table, target, target.constants(), model.plan(table, target))


def latency_us(graph: Graph, target: Target = V4) -> float:
    found = price(graph, target)
    return float((found.compute_s + found.memory_s + found.overhead_s).sum() * 1e6)


def product(m: int, n: int, k: int) -> Graph:
    net = Net("fp16")
    return net.done(net.op("y", "matmul", [net.input("a", m, k), net.input("b", k, n)], m, n))


# --- the closed forms -------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=60)
@given(m=SMALL, n=SMALL, k=SMALL, rows=SMALL, columns=SMALL)
@pytest.mark.parametrize("dataflow", ["weight_stationary", "output_stationary", "input_stationary"])
def test_raw_forms_equal_an_array_stepped_cycle_by_cycle(dataflow: str, m: int, n: int, k: int, rows: int, columns: int) -> None:
    a = np.arange(m * k).reshape(m, k) % 7 - 3
    w = np.arange(k * n).reshape(k, n) % 5 - 2
    trace = getattr(simulator, dataflow)(a, w, rows, columns)
    run = getattr(forms, dataflow)(m, n, k, rows, columns)
    assert (trace.product == a @ w).all()
    assert counts(run) == [trace.last_cycle, trace.a_reads, trace.w_reads, trace.o_writes]


def counts(run: forms.Run) -> list[float]:
    return [float(x) for x in (run.cycles, run.a_reads, run.w_reads, run.o_writes)]


def test_raw_forms_by_hand() -> None:
    # M, N, K = 10, 20, 30 on 8 x 4. Weight stationary: ceil(30/8) = 4 by ceil(20/4) = 5 folds of 2*8 + 4 + 10 - 2 = 28.
    run = forms.weight_stationary(10, 20, 30, 8, 4)
    assert counts(run) == [20 * 28 - 1, 10 * 30 * 5, 30 * 20, 10 * 20 * 4]
    # Output stationary: ceil(10/8) = 2 by 5 folds of 8 + 4 + 30 - 2 = 40.
    run = forms.output_stationary(10, 20, 30, 8, 4)
    assert counts(run) == [10 * 40 - 1, 10 * 30 * 5, 30 * 20 * 2, 10 * 20]
    # Input stationary: 4 by ceil(10/4) = 3 folds of 2*8 + 4 + 20 - 2 = 38.
    run = forms.input_stationary(10, 20, 30, 8, 4)
    assert counts(run) == [12 * 38 - 1, 10 * 30, 30 * 20 * 3, 10 * 20 * 4]


@settings(deadline=None, max_examples=80)
@given(
    mnk=st.tuples(st.integers(1, 12), SMALL, SMALL), rows=SMALL, columns=SMALL, arrays=st.integers(1, 3), batch=st.integers(1, 3)
)
def test_double_buffered_weights_equal_the_stepped_array(
    mnk: tuple[int, int, int], rows: int, columns: int, arrays: int, batch: int
) -> None:
    m, n, k = mnk
    count = -(-k // rows) * -(-n // columns) * batch
    stepped = simulator.pipelined_cycles(m, count, rows, columns, arrays)
    assert stepped == forms.pipelined_cycles(m, n, k, rows, columns, arrays, batch)


@settings(deadline=None, max_examples=60)
@given(mnk=st.tuples(*[st.integers(1, 12)] * 3), rows=SMALL, columns=SMALL, arrays=st.integers(1, 3), batch=st.integers(1, 3))
def test_the_model_takes_the_cycles_of_the_stepped_array(
    mnk: tuple[int, int, int], rows: int, columns: int, arrays: int, batch: int
) -> None:
    m, n, k = mnk
    target = V4.with_setting("array", "folds")
    cells = rows * columns * arrays
    for key, value in {
        "array.rows": rows,
        "array.columns": columns,
        "array.count": arrays,
        "array.efficiency": 1.0,
        "matrix.bf16.rate": 2.0 * cells,  # one cycle a second
    }.items():
        target = target.with_quantity(key, value, "stepped")
    net = Net("bf16")
    graph = net.done(net.op("y", "matmul", [net.input("a", batch, m, k), net.input("b", batch, k, n)], batch, m, n))
    count = -(-k // rows) * -(-n // columns) * batch
    assert price(graph, target).busy_compute_s[0] == pytest.approx(simulator.pipelined_cycles(m, count, rows, columns, arrays))


@settings(deadline=None, max_examples=60)
@given(mnk=st.tuples(st.integers(1, 40), SMALL, SMALL), rows=SMALL, columns=SMALL, depth=st.integers(1, 20))
def test_streamed_weights_are_the_folds_that_a_stepped_array_takes_in(
    mnk: tuple[int, int, int], rows: int, columns: int, depth: int
) -> None:
    m, n, k = mnk
    target = V1
    # Accumulators of 32 bit, of which one half takes sums while the other empties.
    for key, value in {"array.rows": rows, "array.columns": columns, "accumulators.capacity": 8.0 * columns * depth}.items():
        target = target.with_quantity(key, value, "stepped")
    net = Net("int8")
    graph = net.done(net.op("y", "matmul", [net.input("a", m, k), net.parameter("w", k, n)], m, n))
    table = build_table(graph, singletons(walk(graph)), target)
    layout = model_of(target).plan(table, target)
    folds = simulator.fetched_folds(m, n, k, rows, columns, depth)
    assert layout.weight_fetches[0] * k * n == pytest.approx(folds * rows * columns)


def test_one_fold_costs_what_the_raw_form_says_and_a_later_one_max_of_m_and_r() -> None:
    one = forms.pipelined_cycles(10, 4, 8, 8, 4)
    assert one == forms.weight_stationary(10, 4, 8, 8, 4).cycles + 1
    assert forms.pipelined_cycles(10, 8, 8, 8, 4) - one == 10  # rows to stream outlast 8 rows of weights
    assert forms.pipelined_cycles(3, 8, 8, 8, 4) - forms.pipelined_cycles(3, 4, 8, 8, 4) == 8  # weights outlast 3 rows


# --- the TPU v4's measured law ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("m", "n", "k"), [(32, 32, 32), (128, 512, 1024), (512, 128, 256), (1024, 1024, 1024), (4096, 2048, 4096)]
)
def test_a_v4_product_follows_the_five_constants(m: int, n: int, k: int) -> None:
    law = 1.02 + 5.38e-6 * m * n + 3.28e-6 * k * max(m, n) + 9.44e-6 * k * min(m, n) + 8.79e-9 * m * n * k
    assert latency_us(product(m, n, k)) == pytest.approx(law, rel=2e-3)


def test_equal_prices_give_the_law_of_three_constants() -> None:
    target = V4
    for key in ("matmul.large_operand", "matmul.small_operand", "matmul.result"):
        target = target.with_quantity(key, 5.25e-12 / 2, "three-constant law")
    target = target.with_quantity("array.efficiency", 2 / 9.27e-15 / 275e12, "three-constant law")
    m, n, k = 512, 384, 768
    law = 1.02 + 5.25e-6 * (m * n + m * k + n * k) + 9.27e-9 * m * n * k
    assert latency_us(product(m, n, k), target) == pytest.approx(law, rel=1e-6)


def test_v4_elementwise_copies_and_layer_norm_follow_their_lines() -> None:
    rows, columns = 1024, 2048
    size = rows * columns
    net = Net("fp16")
    add = net.done(net.op("y", "add", [net.input("a", rows, columns), net.input("b", rows, columns)], rows, columns))
    assert latency_us(add) == pytest.approx(0.90 + 17.8e-6 * size, rel=1e-6)
    net = Net("fp16")
    relu = net.done(net.op("y", "relu", [net.input("a", rows, columns)], rows, columns))
    assert latency_us(relu) == pytest.approx(0.90 + 12.8e-6 * size, rel=1e-6)
    net = Net("fp16")
    operands = [net.input("a", rows, columns), net.parameter("g", columns), net.parameter("b", columns)]
    norm = net.done(net.op("y", "layer_norm", operands, rows, columns, axis=-1))
    assert latency_us(norm) == pytest.approx(7.6 + 13.5e-6 * size + 1.59e-3 * rows, rel=2e-3)
    net = Net("fp16")
    copy = net.done(net.op("y", "transpose", [net.input("a", rows, columns)], columns, rows, perm=(1, 0)))
    assert latency_us(copy) == pytest.approx(0.60 + 2 * size / 1.02e6, rel=1e-6)  # 1.02 TB/s is 1.02e6 B/us


def test_padding_takes_the_better_layout() -> None:
    assert padding((8, 128), 8, 128) == 1.0
    assert padding((1000,), 8, 128) == 1024 / 1000
    assert padding((1, 1000), 8, 128) == 1024 / 1000
    assert padding((128, 7), 8, 128) == 8 / 7  # channels go to the lanes, whichever axis they are
    assert padding((1, 64, 7, 7), 8, 128) == 8 / 7 * 2  # 7 rows to 8, 64 lanes to 128
    assert padding((0, 4), 8, 128) == 1.0


def test_a_padded_kernel_pays_for_its_padding_and_says_so() -> None:
    net = Net("fp16")
    found = price(net.done(net.op("y", "relu", [net.input("a", 3, 5, 7)], 3, 5, 7)), V4)
    # The best layout of 3 x 5 x 7 is 7 rows padded to 8 and 5 lanes padded to 128.
    assert found.memory_s.sum() == pytest.approx(105 * (8 / 7) * (128 / 5) * 12.8e-12, rel=1e-6)
    assert "pads 29.3x" in found.notes[0][0]


def test_a_fused_epilogue_pays_one_floor_and_no_trip_through_the_load_store_path() -> None:
    net = Net("bf16")
    y = net.op("mm", "matmul", [net.input("a", 256, 512), net.parameter("w", 512, 1024)], 256, 1024)
    graph = net.done(net.op("act", "relu", [y], 256, 1024))
    model = model_of(V4)
    table = build_table(graph, [group("g0", "mm", "act", kernel_class="gemm")], V4)
    found = model.evaluate(table, V4, V4.constants(), model.plan(table, V4))
    fused = float((found.compute_s + found.memory_s + found.overhead_s).sum()) * 1e6
    plain = Net("bf16")
    alone = plain.done(plain.op("mm", "matmul", [plain.input("a", 256, 512), plain.parameter("w", 512, 1024)], 256, 1024))
    assert fused == pytest.approx(latency_us(alone), rel=1e-9)
    assert latency_us(graph) > fused + 0.9


def test_a_depthwise_convolution_runs_on_the_vector_unit() -> None:
    net = Net("bf16")
    x, w = net.input("x", 1, 256, 28, 28), net.parameter("w", 256, 1, 3, 3)
    found = price(net.done(net.op("y", "conv", [x, w], 1, 256, 28, 28, groups=256, pads=(1, 1, 1, 1))), V4)
    assert "vector unit" in found.notes[0][0]
    macs = 256 * 28 * 28 * 9
    assert found.busy_compute_s[0] == pytest.approx(2 * macs / 4.3e12, rel=1e-6)


def test_groups_of_a_convolution_share_a_fold() -> None:
    def cycles(groups: int) -> float:
        net = Net("bf16")
        x, w = net.input("x", 1, 256, 32, 32), net.parameter("w", 256, 256 // groups, 1, 1)
        conv = net.op("y", "conv", [x, w], 1, 256, 32, 32, groups=groups)
        target = V4.with_setting("array", "folds").with_quantity("array.count", 1, "one array")
        return float(price(net.done(conv), target).busy_compute_s[0]) * 275e12 * 0.827 / (2 * 128 * 128)

    # 256 x 256 weights are four folds of 1,024 rows; in two groups two; 16 groups of 16 x 16 stand eight to a fold, in two.
    assert cycles(1) == pytest.approx(128 + 4 * 1024 + 254)
    assert cycles(2) == cycles(16) == pytest.approx(128 + 2 * 1024 + 254)


@pytest.mark.parametrize("form", ["measured", "folds"])
def test_doubling_a_large_product_doubles_its_time(form: str) -> None:
    target = V4.with_setting("array", form)
    once, twice = (latency_us(product(m, 4096, 4096), target) for m in (8192, 16384))
    assert twice / once == pytest.approx(2.0, rel=0.05)
