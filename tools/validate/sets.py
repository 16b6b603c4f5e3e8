"""The sets of measured kernels, each with the columns edpc predicts it from and what its way of timing adds.

Kernels are predicted as one-kernel networks that are replayed in a graph. What a benchmark adds on top (events, the launches of
a framework that waits for each kernel) is no property of a machine and stands here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from edpc.machine.table import Flags, Floats, KernelTable
from edpc.machine.uncertainty import some_kernels
from edpc.target import Target
from targets._fitted import FITTED
from tools.validate import kernels
from tools.validate.measured import Rows, read

GEMM = "aic_h100_gemm.csv"
ATTENTION = "aic_h100_attention.csv"
H200 = "aic_h200_gemm_attention_power.csv"
FP32 = "neusight_h100_gemm_fp32.csv"
VECTOR = "neusight_a100_l4_vector_fp32.csv"
COMPASS = "llmcompass_a100_mi210.csv"


# What timing adds to a kernel that is replayed in a graph, in s, by how it was timed.
ADDED_S = {"graph": 0.0} | {name: quantity.value for name, quantity in FITTED["added"].items()}
NEUSIGHT = "PyTorch, one call at a time between CUDA events"
COMPASS_TIMING = "PyTorch, one call at a time"
GRAPH = "vLLM 0.24 kernels replayed in a CUDA graph"
TRTLLM = "TensorRT-LLM 1.3.0rc20 kernels"
VLLM_POWER = "vLLM 0.22 kernels, board power averaged by NVML"


@dataclass(frozen=True)
class Set:
    """Measured kernels and how edpc sees them.

    Attributes:
        rows: what was measured. target: on what.
        tables: kernels that one measurement times, one after another: one table for each, n kernels.
        precision: of the arithmetic that the roofline counts.
        errors: the model errors of the tables' kernels, by name; none where the rows say nothing of it.
        setup: how it was timed, a key of `ADDED_S`.
    """

    rows: Rows
    target: Target
    tables: tuple[KernelTable, ...]
    precision: str
    errors: tuple[str, ...]
    setup: str = "graph"

    def part(self, flags: Flags) -> Set:
        """The rows where the flags hold."""
        at = np.flatnonzero(flags)
        return replace(self, rows=self.rows.at(at), tables=tuple(some_kernels(table, at) for table in self.tables))


def gemm16(target: Target) -> Set:
    """bf16 products of a serving stack on H100."""
    rows = read(GEMM, lambda line: line["precision"] == "bfloat16")
    table = kernels.products(*_mnk(rows), "bf16", target)
    return Set(rows, target, (table,), "bf16", ("gemm", "gemm.long"))


def gemm8(target: Target) -> Set:
    """fp8 products of a serving stack on H100, with the quantiser of their activations."""
    rows = read(GEMM, lambda line: line["precision"] == "fp8")
    m, n, k = _mnk(rows)
    return Set(rows, target, (kernels.products(m, n, k, "fp8", target), kernels.quantisers(m, k, target)), "fp8", ("gemm8",))


def ffma(target: Target, *, batched: bool) -> Set:
    """fp32 products on the vector lanes of an H100. The file's N is the reduction, its K the columns: the grids show it."""
    rows = read(FP32, lambda line: line["op"] == ("matmul" if batched else "linear"))
    m, n, k, batch = rows.axis("M"), rows.axis("K"), rows.axis("N"), rows.axis("batch")
    table = kernels.products(m, n, k, "fp32", target, batch, weights=not batched)
    return Set(rows, target, (table,), "fp32", ("ffma",), "batched" if batched else "linear")


def attention(target: Target, op: str, *, key_bytes: float) -> Set:
    """Fused attention of a serving stack on H100: `attention_prefill_causal`, `attention_encoder_bidir`, `attention_decode`."""
    rows = read(ATTENTION, lambda line: line["op"] == op and ("fp8" in line["precision"]) == (key_bytes == 1.0))
    length = rows.axis("S", "S_kv")
    table = kernels.attentions(
        rows.axis("batch"),
        rows.axis("Hq", "H"),
        rows.axis("Hkv", "H"),
        np.ones(len(rows)) if op == "attention_decode" else length,
        length,
        rows.axis("D"),
        target,
        key_bytes=key_bytes,
        causal=op == "attention_prefill_causal",
        window=rows.axis("window"),
    )
    return Set(rows, target, (table,), "bf16", (f"attention.{op.split('_')[1]}",))


SLOWEST_METER_S = 100e-6  # shorter kernels outrun the power meter


def gemm_power(target: Target, *, zeros: bool, least_s: float = SLOWEST_METER_S) -> Set:
    """bf16 products on H200 with board power, of `least_s` and more; rows of K = 65536 read weights nobody wrote, hence zeros."""
    rows = read(
        H200,
        lambda line: line["op"] == "gemm" and float(line["latency_s"]) >= least_s and ("K=65536" in line["shape"]) == zeros,
    )
    return Set(rows, target, (kernels.products(*_mnk(rows), "bf16", target),), "bf16", () if zeros else ("gemm", "gemm.long"))


def vector(target: Target, hardware: str, op: str) -> Set:
    """fp32 elementwise and row-wise kernels of a framework."""
    rows = read(VECTOR, lambda line: line["hardware"] == hardware and line["op"] == op)
    kind, inputs, parameters = _VECTOR_OPS[op]
    table = kernels.rowwise(kind, rows.axis("rows"), rows.axis("cols"), "fp32", target, inputs, parameters)
    row = op in ("softmax", "layernorm")
    setup = f"neusight-{target.name}" + ("-norm" if op == "layernorm" else "")
    return Set(rows, target.with_setting("launch", "eager"), (table,), "fp32", ("rowwise" if row else "vector",), setup)


def compass(target: Target, op: str) -> Set:
    """fp16 kernels of a framework on an A100 of LLMCompass."""
    rows = read(COMPASS, lambda line: line["hardware"] == "A100" and line["op"] == op)
    if op == "matmul":
        table = kernels.products(*_mnk(rows), "fp16", target)
    else:
        kind, inputs, parameters = _VECTOR_OPS[op]
        sizes = (rows.axis("n"), np.ones(len(rows))) if op == "gelu" else (rows.axis("rows"), rows.axis("cols"))
        table = kernels.rowwise(kind, *sizes, "fp16", target, inputs, parameters)
        target = target.with_setting("launch", "eager")
    return Set(rows, target, (table,), "fp16", (), f"llmcompass-{op}")


# The files' names of operators: kind, tensors read, parameters read. `addu` and its like take a Python number.
_VECTOR_OPS = {
    **{name: (name, 2, 0) for name in ("add", "mul", "div", "pow")},
    **{f"{name}u": (name, 1, 0) for name in ("add", "mul", "div", "pow")},
    **{name: (name, 1, 0) for name in ("relu", "gelu", "tanh", "softmax")},
    "layernorm": ("layer_norm", 1, 2),
}
VECTOR_OPS = tuple(_VECTOR_OPS)


def _mnk(rows: Rows) -> tuple[Floats, Floats, Floats]:
    return rows.axis("M"), rows.axis("N"), rows.axis("K")
