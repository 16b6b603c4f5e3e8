"""NVIDIA H200 SXM: the H100 SXM5 with 141 GB of HBM3e at 4.8 TB/s. It fuses what the H100 fuses."""

from __future__ import annotations

from dataclasses import replace

from edpc.target import Basis, Memory, Quantity, Unit, fitted
from targets.h100 import HBM, MEMORIES, PARAMETERS, POWER, UNITS, sheet
from targets.h100 import TARGET as H100

# --- units and memories ---------------------------------------------------------------------------------------

SHEET = "NVIDIA H200 Tensor Core GPU data sheet, SXM, dense"
GEMM16 = "fit to 2,904 bf16 GEMMs on H200 SXM (aiconfigurator, vLLM 0.22)"
BF16 = Quantity(0.49e-12, "J/FLOP", Basis.MEASURED, POWER, (0.44e-12, 0.54e-12))
MATRIX = UNITS[0]
TARGET = replace(
    H100,
    name="h200",
    summary="NVIDIA H200 SXM 141 GB, 700 W, compiled runtime with CUDA graphs",
    units=(Unit("matrix", MATRIX.rate, {**MATRIX.energy, "bf16": BF16, "fp16": BF16}), *UNITS[1:]),
    memories=(*MEMORIES[:2], Memory("hbm", "dram", sheet(141e9, "B", SHEET), sheet(4.8e12, "B/s", SHEET), HBM, HBM)),
    parameters={
        **PARAMETERS,
        **fitted("gemm", GEMM16, 0.05, read_efficiency=(0.90, "1"), sm_dram_bandwidth=(50e9, "B/s")),
    },
    notes=(*H100.notes, "kernel constants other than power and DRAM were fitted on the H100"),
)
