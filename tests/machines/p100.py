"""NVIDIA Tesla P100 PCIe 16 GB, 250 W."""

from __future__ import annotations

from edpc.target import assumed, measured
from tests.machines.gpu import Sheet, gpu

SOURCE = "NVIDIA Tesla P100 PCIe data sheet and GP100 whitepaper"
RATES = {"fp32": 9.3e12}
SHEET = Sheet(SOURCE, 56, 2048, 1.303e9, RATES, RATES, 64 * 1024, 4e6, (16e9, 732e9), 250, lanes=64)
ENERGY = assumed(26e-12, "J/FLOP", 20e-12, 32e-12, "16 nm: as the P4")
OPERAND = measured(15.0, "1", 11.0, 18.0, "the two eager BERT-large rows (NeuSight)")
TARGET = gpu("p100", "NVIDIA Tesla P100 PCIe 16 GB, 250 W, fp32 on its lanes", SHEET, {"ffma.operand": OPERAND}, ENERGY)
