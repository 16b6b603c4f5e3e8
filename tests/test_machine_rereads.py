"""Masks and other operands that are repeated: what is read again, and at which rate."""

from __future__ import annotations

import pytest

from edpc.ir import Graph
from edpc.machine.annotate import annotate
from edpc.target import Target
from targets.h100 import TARGET as H100
from tests.machine_graphs import Net, alone

C = H100.constants()
EAGER = H100.with_setting("launch", "eager")
RATE = 3.35e12 * C["vector.stream"]
SCALAR = 132 * C["vector.broadcast"]


def masked(batch: int, heads: int, tokens: int, *mask: int) -> Graph:
    net = Net()
    scores = net.op("scores", "exp", [net.input("x", batch, heads, tokens, tokens)], batch, heads, tokens, tokens)
    return net.done(net.op("sum", "add", [scores, net.input("mask", *mask)], batch, heads, tokens, tokens))


def memory_s(graph: Graph, target: Target = H100) -> float:
    graph.groups = alone(graph)
    annotate(graph, target)
    kernel = graph.groups[-1].kernel
    assert kernel is not None
    return kernel.cost.memory_s


def test_a_mask_that_outgrows_the_cache_between_heads_is_read_for_each() -> None:
    # 2048^2 * 4 B = 16.8 MB of mask, of scores and of results between two uses: 50 MB, more than 37.6 MB stay
    size = 4 * 2048**2
    assert memory_s(masked(1, 32, 2048, 1, 1, 2048, 2048)) == pytest.approx(3 * 32 * size / RATE, rel=1e-6)
    # of 1024 tokens a quarter passes, so it is read once
    small = 4 * 1024**2
    assert memory_s(masked(1, 32, 1024, 1, 1, 1024, 1024)) == pytest.approx((2 * 32 + 1) * small / RATE, rel=1e-2)


def test_a_row_that_is_repeated_stays_at_hand() -> None:
    size = 4 * 2048**2
    row = 4 * 2048
    assert memory_s(masked(1, 32, 2048, 1, 1, 1, 2048)) == pytest.approx((2 * 32 * size + 32 * row) / RATE, rel=1e-3)


def test_an_eager_kernel_is_held_up_by_its_elements_or_by_its_bytes() -> None:
    size = 4 * 2048**2
    elements = (2 * 32 + 1) * size / SCALAR
    streamed = 3 * 32 * size / RATE
    assert memory_s(masked(1, 32, 2048, 1, 1, 2048, 2048), EAGER) == pytest.approx(max(elements, streamed), rel=1e-6)
    small = 4 * 1024**2
    assert memory_s(masked(1, 32, 1024, 1, 1, 1024, 1024), EAGER) == pytest.approx((2 * 32 + 1) * small / SCALAR, rel=1e-2)
