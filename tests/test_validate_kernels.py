"""What `tools.validate` predicts from columns is what the compiler says of a graph of one kernel."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edpc.api import run
from edpc.ir import Graph
from edpc.machine.annotate import annotate
from edpc.target import Target
from targets.h100 import TARGET as H100
from targets.h200 import TARGET as H200
from tests.machine_graphs import Net, group
from tests.machines.a100_pcie_80gb import TARGET as A100
from tests.machines.l4 import TARGET as L4
from tools.validate import kernels
from tools.validate.kernels import latency_and_energy, predict

TARGETS = {target.name: target for target in (H100, H200, A100, L4)}
SIZE = st.integers(2, 6000)


def compiled(graph: Graph, target: Target, precision: str) -> tuple[float, float]:
    """Latency (s) and energy (J) of a compiled graph."""
    run(graph, target, precision=precision)
    costs = [g.kernel.cost for g in graph.groups if g.kernel is not None]
    return sum(c.latency_s for c in costs), sum(c.energy_j for c in costs)


def one(*sizes: float) -> list[np.ndarray]:
    return [np.array([float(size)]) for size in sizes]


def product(dtype: str, m: int, n: int, k: int, batch: int = 0) -> Graph:
    net = Net(dtype)
    lead = (batch,) if batch else ()
    x = net.input("x", *lead, m, k)
    w = net.input("w", batch, k, n) if batch else net.parameter("w", k, n)
    return net.done(net.op("y", "matmul", [x, w], *lead, m, n))


@settings(max_examples=25, deadline=None)
@given(SIZE, SIZE, SIZE, st.sampled_from(["bf16", "fp32"]), st.sampled_from(["h100", "h200"]))
def test_a_product_of_columns_is_a_compiled_product(m: int, n: int, k: int, precision: str, name: str) -> None:
    target = TARGETS[name]
    expected = compiled(product(precision, m, n, k), target, precision)
    found = latency_and_energy(kernels.products(*one(m, n, k), precision, target), target)
    assert [float(x[0]) for x in found] == pytest.approx(expected, rel=1e-9)


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 512), SIZE, SIZE, st.integers(2, 64))
def test_a_batched_product_of_columns_is_a_compiled_one(m: int, n: int, k: int, batch: int) -> None:
    expected = compiled(product("fp32", m, n, k, batch), H100, "fp32")
    table = kernels.products(*one(m, n, k), "fp32", H100, one(batch)[0], weights=False)
    assert [float(x[0]) for x in latency_and_energy(table, H100)] == pytest.approx(expected, rel=1e-9)


@settings(max_examples=15, deadline=None)
@given(SIZE, SIZE, SIZE)
def test_an_8_bit_product_and_its_quantiser_are_the_two_compiled_kernels(m: int, n: int, k: int) -> None:
    expected, _ = compiled(product("bf16", m, n, k), H100, "fp8")
    axes = one(m, n, k)
    tables = kernels.quantisers(axes[0], axes[2], H100), kernels.products(*axes, "fp8", H100)
    # The compiled product also reads a scale for every row.
    assert sum(float(latency_and_energy(t, H100)[0][0]) for t in tables) == pytest.approx(expected, rel=2e-3)


@settings(max_examples=25, deadline=None)
@given(
    op=st.sampled_from([("add", 2, 0), ("tanh", 1, 0), ("softmax", 1, 0), ("layer_norm", 1, 2)]),
    rows=st.integers(1, 20000),
    cols=st.integers(2, 5000),
    dtype=st.sampled_from(["fp32", "fp16"]),
    name=st.sampled_from(sorted(TARGETS)),
)
def test_a_row_wise_kernel_of_columns_is_a_compiled_one(
    op: tuple[str, int, int], rows: int, cols: int, dtype: str, name: str
) -> None:
    kind, inputs, parameters = op
    target = TARGETS[name].with_setting("launch", "eager").with_quantity("launch.eager", 0.0, "timed alone")
    net = Net(dtype)
    operands = [net.input(f"x{i}", rows, cols) for i in range(inputs)] + [net.parameter(f"w{i}", cols) for i in range(parameters)]
    attributes = {"axis": -1} if kind == "softmax" else {}
    graph = net.done(net.op("y", kind, operands, rows, cols, **attributes))
    expected = compiled(graph, target, dtype)
    found = latency_and_energy(kernels.rowwise(kind, *one(rows, cols), dtype, target, inputs, parameters), target)
    assert [float(x[0]) for x in found] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("queries", "keys", "causal", "window"), [(700, 700, True, 0), (512, 512, False, 0), (1, 3000, False, 128)]
)
@pytest.mark.parametrize("shared", [1, 4])
def test_a_fused_attention_of_columns_is_a_compiled_group(
    queries: int, keys: int, causal: bool, window: int, shared: int
) -> None:
    batch, key_heads, depth = 3, 2, 64
    heads = key_heads * shared
    net = Net("bf16")
    # Query heads that share a key head are folded into the rows of the product, as frontends do.
    q = net.input("q", batch * key_heads, shared * queries, depth)
    source = net.parameter if queries == 1 else net.input
    k, v = source("k", batch * key_heads, depth, keys), source("v", batch * key_heads, keys, depth)
    s = net.op("s", "matmul", [q, k], batch * key_heads, shared * queries, keys)
    mask = {"causal": causal, "window": window, "query_group": shared}
    p = net.op("p", "softmax", [s], batch * key_heads, shared * queries, keys, axis=-1, **mask)
    graph = net.done(net.op("o", "matmul", [p, v], batch * key_heads, shared * queries, depth))
    graph.groups = [group("g0", *graph.compute_order(), kernel_class="attention")]
    annotate(graph, H100)
    (kernel,) = [g.kernel for g in graph.groups if g.kernel is not None]
    table = kernels.attentions(
        *one(batch, heads, key_heads, queries, keys, depth), H100, causal=causal, window=np.array([float(window)])
    )
    latency, _ = latency_and_energy(table, H100)
    assert float(latency[0]) == pytest.approx(kernel.cost.latency_s, rel=1e-6)


def test_the_interval_of_one_kernel_is_that_of_the_report() -> None:
    graph = product("bf16", 300, 4096, 4096)
    run(graph, H100, precision="bf16")
    found = predict(kernels.products(*one(300, 4096, 4096), "bf16", H100), H100)
    low, high = np.quantile(found.drawn_s[:, 0], [0.05, 0.95], method="hazen")
    assert graph.estimate is not None
    assert graph.estimate.latency_s == pytest.approx((low, high), rel=1e-9)
    low, high = np.quantile(found.drawn_j[:, 0], [0.05, 0.95], method="hazen")
    assert graph.estimate.energy_j == pytest.approx((low, high), rel=1e-9)
