"""NVIDIA A100 SXM4 80 GB."""

from __future__ import annotations

from tests.machines.gpu import Sheet, gpu

SOURCE = "NVIDIA A100 Tensor Core GPU data sheet and architecture whitepaper, SXM4 80 GB"
MATRIX = {"fp64": 19.5e12, "fp32": 19.5e12, "tf32": 156e12, "bf16": 312e12, "fp16": 312e12, "int8": 624e12}
VECTOR = {"fp64": 9.7e12, "fp32": 19.5e12, "bf16": 39e12, "fp16": 78e12, "int32": 19.5e12}
SHEET = Sheet(SOURCE, 108, 2048, 1.41e9, MATRIX, VECTOR, 192 * 1024, 40e6, (80e9, 2.039e12), 400)
TARGET = gpu("a100-sxm", "NVIDIA A100 SXM4 80 GB, 400 W", SHEET, {})
