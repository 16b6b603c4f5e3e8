"""NVIDIA A100 PCIe 80 GB: the A100 with slower memory and less power."""

from __future__ import annotations

from dataclasses import replace

from targets._fitted import FITTED
from tests.machines.a100_sxm import SHEET as SXM
from tests.machines.gpu import gpu

SHEET = replace(SXM, source="NVIDIA A100 Tensor Core GPU data sheet, PCIe 80 GB", dram=(80e9, 1.935e12), board=300)
TARGET = gpu("a100-pcie-80gb", "NVIDIA A100 PCIe 80 GB, 300 W", SHEET, FITTED["a100-pcie-80gb"])
