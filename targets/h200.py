"""NVIDIA H200 SXM: the H100 SXM5 with 141 GB of HBM3e at 4.8 TB/s. It fuses what the H100 fuses."""

from __future__ import annotations

from dataclasses import replace

from edpc.target import Memory, Unit
from targets._fitted import FITTED
from targets.h100 import MEMORIES, PARAMETERS, UNITS, sheet
from targets.h100 import TARGET as H100

# --- units and memories ---------------------------------------------------------------------------------------

SHEET = "NVIDIA H200 Tensor Core GPU data sheet, SXM, dense"
# What `python -m tools.fit` fitted; data, rows and split stand in every source.
OWN = FITTED["h200"]
BF16, HBM = OWN["matrix.bf16.energy"], OWN["hbm.read_energy"]
MATRIX = UNITS[0]
TARGET = replace(
    H100,
    name="h200",
    summary="NVIDIA H200 SXM 141 GB, 700 W, compiled runtime with CUDA graphs",
    units=(Unit("matrix", MATRIX.rate, {**MATRIX.energy, "bf16": BF16, "fp16": BF16}), *UNITS[1:]),
    memories=(*MEMORIES[:2], Memory("hbm", "dram", sheet(141e9, "B", SHEET), sheet(4.8e12, "B/s", SHEET), HBM, HBM)),
    parameters={**PARAMETERS, **{key: q for key, q in OWN.items() if not key.startswith(("matrix.", "hbm."))}},
    notes=(*H100.notes, "kernel constants other than power and DRAM were fitted on the H100"),
)
