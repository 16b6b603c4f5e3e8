"""TPU v1: weights that stream, activations that stay, and the six workloads of its paper."""

from __future__ import annotations

import pytest

from edpc.ir import Graph
from edpc.machine.build import build_table, singletons
from edpc.machine.catalogue import model_of
from edpc.machine.table import CostColumns
from edpc.machine.walk import walk
from targets.tpu_v1 import TARGET as V1
from tests.machine_graphs import Net
from tools.tpu_v1 import WORKLOADS, Workload, predict, rate

GB_S = 0.9 * 34  # of DDR3, as reached
FOLD = 256 * 256  # B


def layer(batch: int, side: int = 2048) -> Graph:
    net = Net("int8")
    return net.done(net.op("y", "matmul", [net.input("x", batch, side), net.parameter("w", side, side)], batch, side))


def price(graph: Graph) -> CostColumns:
    model = model_of(V1)
    table = build_table(graph, singletons(walk(graph)), V1)
    return model.evaluate(table, V1, V1.constants(), model.plan(table, V1))


def test_one_row_waits_for_its_weights() -> None:
    gemv = price(layer(1))
    # 64 folds of 64 KiB at 30.6 GB/s are 137 us; 64 folds of max(M, 256) cycles are 23.7 us.
    assert gemv.busy_memory_s[0] == pytest.approx(64 * FOLD / (GB_S * 1e9), rel=1e-6)
    assert gemv.busy_compute_s[0] == pytest.approx((256 + 63 * 256 + 1 + 510) / 0.7e9, rel=1e-3)
    assert gemv.compute_s[0] == 0.0
    assert gemv.dram_bytes[0] == 64 * FOLD  # the input just arrived, and the result stays in the buffer


def test_weights_that_are_used_often_hide_behind_the_array() -> None:
    # 4,096 rows: 64 folds of 4,096 cycles are 375 us. Half the accumulators take 2,048 rows, so each fold comes twice: 274 us.
    many = price(layer(4096))
    assert many.compute_s[0] == pytest.approx((256 + 64 * 4096 + 510) / 0.7e9, rel=1e-3)
    assert many.busy_memory_s[0] == pytest.approx(2 * 64 * FOLD / (GB_S * 1e9), rel=1e-6)
    assert many.utilization[0] > 0.99


def test_a_matrix_of_600_by_600_takes_nine_steps_of_two_microseconds() -> None:
    # The paper's own example: 9 steps of 256 x 256, 18 us in all.
    seconds = price(layer(96, 600)).busy_memory_s[0]
    assert seconds == pytest.approx(9 * FOLD / (GB_S * 1e9), rel=1e-6)
    assert seconds == pytest.approx(18e-6, rel=0.1)


def test_activations_beyond_the_unified_buffer_go_to_dram() -> None:
    # 16,384 rows of 2,048 are 32 MiB in and 32 MiB out, against a buffer of 24 MiB; every fold comes eight times.
    found = price(layer(16384))
    assert found.dram_bytes[0] == 2 * 16384 * 2048 + 8 * 64 * FOLD


# Why the last two are off: an LSTM waits for its own results from step to step, and half of CNN1's cycles the array stood idle
# for reasons (dependences, weight shifts, input) that are not modelled.
TOLERANCE = {"MLP0": 0.1, "MLP1": 0.1, "LSTM0": 0.1, "LSTM1": 0.3, "CNN0": 0.1, "CNN1": 0.9}

workloads = pytest.mark.parametrize("workload", WORKLOADS, ids=lambda w: w.name)


@workloads
def test_workloads_have_the_published_totals(workload: Workload) -> None:
    model = predict(workload).model
    assert model.parameters == pytest.approx(workload.weights, rel=0.05)
    assert model.macs / model.parameters == pytest.approx(workload.macs_per_byte, rel=0.05)
    assert model.inputs[0].shape[0] == workload.batch


@workloads
def test_workloads_run_near_the_published_rates(workload: Workload) -> None:
    report = predict(workload)
    assert rate(report) == pytest.approx(workload.achieved, rel=TOLERANCE[workload.name])
    # Idle 28 W, busy about 40 W, thermal design power 75 W.
    assert 28.0 < report.totals.average_power_w < 46.0


def test_a_ranking_of_the_six_by_rate_is_the_published_one() -> None:
    by_prediction = sorted(WORKLOADS, key=lambda w: rate(predict(w)))
    assert [w.name for w in by_prediction] == [w.name for w in sorted(WORKLOADS, key=lambda w: w.achieved)]


@workloads
def test_writing_every_result_out_would_be_slower(workload: Workload) -> None:
    assert rate(predict(workload, "residency=off")) < rate(predict(workload))
