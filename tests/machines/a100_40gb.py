"""NVIDIA A100 PCIe 40 GB, 250 W."""

from __future__ import annotations

from tests.machines.gpu import Sheet, gpu

SOURCE = "NVIDIA A100 Tensor Core GPU data sheet and GA100 whitepaper, PCIe 40 GB"
RATES = {"fp32": 19.5e12}
SHEET = Sheet(SOURCE, 108, 2048, 1.41e9, RATES, RATES, 192 * 1024, 40e6, (40e9, 1555e9), 250, lanes=64)
TARGET = gpu("a100-40gb", "NVIDIA A100 PCIe 40 GB, 250 W, fp32 on its lanes", SHEET)
