"""What is fitted together to what, and which rows may be left out: the data of `python -m tools.fit`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from edpc.machine.table import Flags
from targets.h100 import TARGET as H100
from targets.h200 import TARGET as H200
from tests.machines.a100_sxm import TARGET as A100
from tests.machines.l4 import TARGET as L4
from tools.validate import sets
from tools.validate.measured import Rows
from tools.validate.rows import COMPASS_OPS, MACHINES, ZEROS
from tools.validate.sets import Set


@dataclass(frozen=True)
class Family:
    """Constants that are fitted together.

    Attributes:
        data: what that is, for the constants' sources. sets: the measured kernels.
        constants: `NAME` of all machines, `MACHINE/NAME` of one, `added/SETUP` of what timing adds; with a first guess where the
            machine has none.
        most: upper bounds of some, where physics sets one.
        power: whether board power is fitted beside latency.
    """

    data: str
    sets: Callable[[], Sequence[Set]]
    constants: tuple[str, ...]
    most: Mapping[str, float] = field(default_factory=dict)
    power: bool = False


def _named(prefix: str, names: str) -> tuple[str, ...]:
    return tuple(f"{prefix}.{name}" for name in names.split())


def _attention(op: str, *widths: float) -> Callable[[], list[Set]]:
    return lambda: [sets.attention(H100, op, key_bytes=width) for width in widths]


def _vectors() -> list[Set]:
    return [
        sets.vector(machine, hardware, op)
        for hardware, machine in MACHINES.items()
        for op in sets.VECTOR_OPS
        if not (op == "gelu" and machine is not L4)
    ]


SHARES = {f"{form}.{name}": 0.99 for form in ("gemm", "ffma") for name in ("read_efficiency", "write_efficiency")}
FAMILIES: dict[str, Family] = {
    "gemm": Family(
        "bf16 GEMMs on H100 SXM (aiconfigurator, vLLM 0.24, CUDA graphs)",
        lambda: [sets.gemm16(H100)],
        (
            *_named("gemm", "floor efficiency sm_bandwidth step prologue epilogue_bandwidth read_efficiency sm_dram_bandwidth"),
            *_named("gemm", "write_efficiency overlap split"),
            *("l2.bandwidth", "matrix.bf16.energy"),
        ),
        SHARES | {"gemm.efficiency": 1.0, "gemm.overlap": 8.0},
    ),
    "gemm8": Family(
        "fp8 GEMMs with their quantiser on H100 SXM (aiconfigurator, vLLM 0.24 CUTLASS, CUDA graphs)",
        lambda: [sets.gemm8(H100)],
        (
            *_named("gemm8", "floor efficiency step prologue efficiency_dram ramp overlap"),
            *_named("vector", "quantise quantise_row quantise_overlap"),
            "matrix.fp8.energy",
        ),
        {"gemm8.efficiency": 1.0, "gemm8.efficiency_dram": 0.99, "gemm8.overlap": 8.0, "vector.quantise_overlap": 8.0},
    ),
    "ffma": Family(
        "fp32 linear and batched products on H100 (NeuSight, no TF32, PyTorch)",
        lambda: [sets.ffma(H100, batched=False), sets.ffma(H100, batched=True)],
        (*_named("ffma", "efficiency operand epilogue_bandwidth"), "added/linear", "added/batched"),
        {},
    ),
    "prefill": Family(
        "causal attentions on H100 SXM (aiconfigurator, TensorRT-LLM 1.3.0rc20)",
        _attention("attention_prefill_causal", 2.0, 1.0),
        _named("attention.prefill", "floor rate softmax cta tail relayout_bandwidth wide_saving window rate8 softmax8 widen8"),
    ),
    "encoder": Family(
        "encoder attentions on H100 SXM (aiconfigurator, TensorRT-LLM 1.3.0rc20)",
        _attention("attention_encoder_bidir", 2.0),
        _named("attention.encoder", "floor rate softmax cta tail relayout_bandwidth padded_head"),
    ),
    "decode": Family(
        "decode attentions on H100 SXM (aiconfigurator, TensorRT-LLM 1.3.0rc20)",
        _attention("attention_decode", 2.0, 1.0),
        (
            *_named("attention.mmha", "floor cta key loop second rate"),
            *_named("attention.xqa", "floor floor8 cta cta8 key rate"),
            *_named("attention.xqa8", "floor cta wide"),
            *_named("attention.decode", "merge read_efficiency overlap"),
        ),
        {"attention.decode.read_efficiency": 0.99, "attention.decode.overlap": 8.0},
    ),
    "vector": Family(
        "fp32 elementwise, softmax and layer normalisation kernels on A100 PCIe 80 GB and L4 (NeuSight, PyTorch eager)",
        _vectors,
        (
            *_named("vector", "norm_step softmax_start softmax_step softmax_tail row_overlap resident"),
            *_named("vector", "softmax softmax_long norm"),
            *(f"{machine.name}/vector.stream" for machine in MACHINES.values()),
            *(f"added/neusight-{machine.name}{what}" for machine in MACHINES.values() for what in ("", "-norm")),
        ),
        {"vector.row_overlap": 8.0},
    ),
    "compass": Family(
        "fp16 matmuls, softmax, layer normalisation and GELU on A100 SXM (LLMCompass, PyTorch)",
        lambda: [sets.compass(A100, op) for op in COMPASS_OPS],
        tuple(f"added/llmcompass-{op}" for op in COMPASS_OPS),
    ),
    "h200": Family(
        "bf16 GEMMs on H200 SXM with board power where 100 us and more (aiconfigurator, vLLM 0.22)",
        # Rows of zeros are few and alone tell data from clocks: they count three times.
        lambda: [sets.gemm_power(H200, zeros=False), *[sets.gemm_power(ZEROS, zeros=True)] * 3],
        (
            *_named("gemm", "read_efficiency efficiency"),
            *("matrix.bf16.energy", "hbm.read_energy", "power.active", "power.voltage", "power.zero_arithmetic"),
        ),
        SHARES | {"gemm.efficiency": 1.0, "power.voltage": 2.0},
        power=True,
    ),
    "h200-short": Family(
        "bf16 GEMMs on H200 SXM (aiconfigurator, vLLM 0.22)",
        lambda: [sets.gemm_power(H200, zeros=False, least_s=0.0)],
        _named("gemm", "sm_dram_bandwidth floor"),
    ),
}


# Which rows are left out of a fit.
SPLITS: dict[str, Callable[[Rows], Flags]] = {
    "layers": lambda rows: rows.held_out,
    "large": lambda rows: np.maximum(rows.axis("N", "Hq", "H", "cols"), rows.axis("K")) >= _large(rows),
    "odd": lambda rows: (rows.axis("M", "batch") % 2 == 1) & (rows.axis("M", "batch") > 1),
}


def _large(rows: Rows) -> float:
    """A third of all rows has sizes of this and more."""
    return float(np.quantile(np.maximum(rows.axis("N", "Hq", "H", "cols"), rows.axis("K")), 0.67))
