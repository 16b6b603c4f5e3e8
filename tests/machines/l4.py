"""NVIDIA L4 24 GB."""

from __future__ import annotations

from edpc.target import measured
from targets._fitted import FITTED
from tests.machines.gpu import Sheet, gpu

SOURCE = "NVIDIA L4 Tensor Core GPU data sheet, and Ada architecture whitepaper"
MATRIX = {"fp32": 30.3e12, "tf32": 60e12, "bf16": 121e12, "fp16": 121e12, "fp8": 242.5e12, "int8": 242.5e12}
VECTOR = {"fp32": 30.3e12, "bf16": 30.3e12, "fp16": 30.3e12, "int32": 15.1e12}
SHEET = Sheet(SOURCE, 58, 1536, 2.04e9, MATRIX, VECTOR, 128 * 1024, 48e6, (24e9, 300e9), 72)
ENERGY = measured(5.8e-12, "J/FLOP", 5e-12, 7e-12, "the clock that the board sustains in the eager BERT-large rows (NeuSight)")
TARGET = gpu("l4", "NVIDIA L4 24 GB, 72 W", SHEET, FITTED["l4"], ENERGY)
