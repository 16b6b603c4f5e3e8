"""Laws of the GPU: a faster machine is never slower, a thriftier one never costs more, whatever kernel runs."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from edpc.machine.catalogue import model_of
from edpc.machine.table import KernelTable
from edpc.machine.uncertainty import totals
from targets.h100 import TARGET as H100
from tools.validate import kernels

BANDWIDTHS = ("dram.bandwidth", "llc.bandwidth")
# What one multiprocessor does in a clock: all of it follows the clock.
CLOCKED = (
    *(f"matrix.{p}.rate" for p in ("fp64", "fp32", "tf32", "bf16", "fp16", "fp8", "int8")),
    *(f"vector.{p}.rate" for p in ("fp64", "fp32", "bf16", "fp16", "int32")),
    *("special.fp32.rate", "llc.bandwidth", "gemm.sm_bandwidth", "gemm.sm_dram_bandwidth", "gemm.epilogue_bandwidth"),
    *("ffma.epilogue_bandwidth", "attention.mmha.rate", "attention.xqa.rate"),
)
ENERGIES = (*(key for key in H100.constants() if key.endswith("energy")), "static_power", "power.active")
SIZE = st.sampled_from([1, 2, 17, 64, 129, 500, 1024, 3000, 8192])


def one(*sizes: int) -> list[np.ndarray]:
    return [np.array([float(size)]) for size in sizes]


@st.composite
def tables(draw: st.DrawFn) -> KernelTable:
    """A kernel of any family."""
    family = draw(st.sampled_from(["bf16", "fp8", "fp32", "quantiser", "prefill", "encoder", "decode", "softmax", "tanh"]))
    m, n, k = draw(st.tuples(SIZE, SIZE, SIZE))
    if family in ("bf16", "fp8", "fp32"):
        return kernels.products(*one(m, n, k), family, H100)
    if family == "quantiser":
        return kernels.quantisers(*one(m, n), H100)
    if family in ("softmax", "tanh"):
        return kernels.rowwise(family, *one(m, n), draw(st.sampled_from(["fp32", "bf16"])), H100)
    key_heads, shared = draw(st.sampled_from([1, 4, 40])), draw(st.sampled_from([1, 2, 8, 64]))
    depth, width = draw(st.sampled_from([64, 80, 128, 192, 256])), draw(st.sampled_from([1.0, 2.0]))
    sizes = one(
        draw(st.sampled_from([1, 7, 64])), key_heads * shared, key_heads, 1 if family == "decode" else m, max(m, 2), depth
    )
    window = np.array([float(draw(st.sampled_from([0, 128])))])
    return kernels.attentions(*sizes, H100, key_bytes=width, causal=family == "prefill", window=window)


@settings(max_examples=150, deadline=None)
@given(tables(), st.sampled_from(BANDWIDTHS), st.floats(1.01, 4.0))
def test_more_bandwidth_never_hurts(table: KernelTable, key: str, factor: float) -> None:
    worse, better = _totals(table, {}), _totals(table, {key: H100.constants()[key] * factor})
    assert better[1] <= worse[1] * (1 + 1e-7)


@settings(max_examples=100, deadline=None)
@given(tables(), st.floats(1.01, 2.0))
def test_a_higher_clock_never_makes_a_kernel_slower(table: KernelTable, factor: float) -> None:
    c = H100.constants()
    faster = {key: c[key] * factor for key in CLOCKED} | {key: c[key] / factor for key in ("gemm.step", "gemm.prologue")}
    assert _totals(table, faster)[1] <= _totals(table, {})[1] * (1 + 1e-7)


@settings(max_examples=150, deadline=None)
@given(tables(), st.sampled_from(ENERGIES), st.floats(1.01, 10.0))
def test_lower_energy_constants_never_cost_energy_or_time(table: KernelTable, key: str, factor: float) -> None:
    (e0, t0), (e1, t1) = _totals(table, {}), _totals(table, {key: H100.constants()[key] / factor})
    assert e1 <= e0 * (1 + 1e-6)
    assert t1 <= t0 * (1 + 1e-6)


@settings(max_examples=60, deadline=None)
@given(
    tables(), st.sampled_from(["hbm.bandwidth", "l2.bandwidth", "matrix.bf16.rate", "gemm.sm_bandwidth"]), st.floats(1.01, 3.0)
)
def test_a_machine_bought_faster_chooses_no_slower_tiles(table: KernelTable, key: str, factor: float) -> None:
    # Without a cap: the library's heuristic knows nothing of power.
    free = H100.with_quantity("power.cap", 1e9, "no cap")
    better = free.with_quantity(key, free.quantities()[key].value * factor, "better")
    assert float(kernels.latency_and_energy(table, better)[0][0]) <= float(kernels.latency_and_energy(table, free)[0][0]) * (
        1 + 1e-7
    )


def _totals(table: KernelTable, change: dict[str, float]) -> tuple[float, float]:
    """Energy and latency under the plan of the nominal machine."""
    model = model_of(H100)
    energy, latency = totals(model, table, H100, {**H100.constants(), **change}, model.plan(table, H100))
    return float(energy), float(latency)
