"""The host that launches kernels one by one: queues, regions between synchronisations, whole graphs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edpc.ir import Graph
from edpc.machine.annotate import annotate
from edpc.machine.build import build_table
from edpc.machine.data_parallel_host import asks, exposed_launches
from edpc.target import Target
from targets.h100 import TARGET as H100
from tests.machine_graphs import Net, alone

C = H100.constants()
EAGER = H100.with_setting("launch", "eager")


def latency(graph: Graph, target: Target) -> float:
    graph.groups = alone(graph)
    annotate(graph, target)
    return sum(group.kernel.cost.latency_s for group in graph.groups if group.kernel is not None)


def waits(body: list[float], at: list[bool], host: float, synchronise: float = 0.0) -> list[float]:
    c = {"launch.eager": host, "launch.synchronise": synchronise}
    return exposed_launches(np.array(body), np.ones(len(body)), np.array(at), c).tolist()


def test_a_queue_hides_launches_behind_long_kernels() -> None:
    # issued at 6.8, 13.6, 20.4; a first kernel of 10 hides the second launch, the third is waited for 2.6
    assert waits([10.0, 1.0, 1.0], [False] * 3, 6.8) == pytest.approx([6.8, 0.0, 2.6])
    # kernels that launch nothing wait for nothing
    c = {"launch.eager": 5.0, "launch.synchronise": 0.0}
    found = exposed_launches(np.array([0.0, 1.0]), np.array([0.0, 1.0]), np.zeros(2, bool), c)
    assert found == pytest.approx([0.0, 5.0])


def test_a_synchronisation_ends_the_queue() -> None:
    # The second kernel is queued behind the first (issued at 4, begun at 12) and waits for nothing. The host waits for its end,
    # goes on 3 later and launches in 2: the third waits 5, the fourth is issued 2 after the third began and hides behind it.
    assert waits([10.0, 1.0, 4.0, 1.0], [False, True, False, False], 2.0, 3.0) == pytest.approx([2.0, 0.0, 5.0, 0.0])


@given(
    body=st.lists(st.floats(0.0, 20.0), min_size=1, max_size=8),
    host=st.floats(0.1, 10.0),
    data=st.data(),
)
def test_a_region_takes_the_longer_of_host_and_device(body: list[float], host: float, data: st.DataObject) -> None:
    at = data.draw(st.lists(st.booleans(), min_size=len(body), max_size=len(body)))
    found = waits(body, at, host)
    assert min(found) >= 0.0
    starts = [0, *(i + 1 for i, waiting in enumerate(at) if waiting)]
    for start, end in zip(starts, [*starts[1:], len(body)], strict=True):
        taken = sum(body[start:end]) + sum(found[start:end])
        launches = (end - start) * host
        if end > start:
            assert taken >= max(launches, host + sum(body[start:end])) - 1e-9
            assert taken <= launches + sum(body[start:end]) + 1e-9


def test_who_asks_the_device_for_a_size() -> None:
    net = Net()
    x = net.input("x", 1024)
    mask = net.input("mask", 1024)
    kept = net.op("kept", "compress", [x, mask], 512)
    graph = net.done(net.op("r", "relu", [kept], 512))
    graph.groups = alone(graph)
    assert asks(build_table(graph, graph.groups, EAGER)).tolist() == [True, False]


def test_eager_execution_exposes_launches_of_short_kernels() -> None:
    def chain(length: int) -> Graph:
        net = Net()
        x = net.input("x", 1024)
        for i in range(length):
            x = net.op(f"r{i}", "relu", [x], 1024)
        return net.done(x)

    # ten launches of 6.8 us, and the last kernel's own time
    last = latency(chain(1), H100) - C["launch.graph"]
    assert latency(chain(10), EAGER) == pytest.approx(10 * 6.8e-6 + last, rel=1e-6)
    assert latency(chain(10), H100) == pytest.approx(10 * (last + C["launch.graph"]), rel=1e-6)
