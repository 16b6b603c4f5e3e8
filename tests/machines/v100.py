"""NVIDIA Tesla V100 PCIe 32 GB, 250 W."""

from __future__ import annotations

from edpc.target import assumed, measured
from tests.machines.gpu import Sheet, gpu

SOURCE = "NVIDIA Tesla V100 data sheet and GV100 whitepaper, PCIe"
RATES = {"fp32": 14.0e12}
SHEET = Sheet(SOURCE, 80, 2048, 1.38e9, RATES, RATES, 128 * 1024, 6e6, (32e9, 900e9), 250, lanes=64)
ENERGY = assumed(13.5e-12, "J/FLOP", 11e-12, 17e-12, "12 nm: as the T4")
OPERAND = measured(1.2, "1", 0.0, 4.0, "the two eager BERT-large rows (NeuSight)")
TARGET = gpu("v100", "NVIDIA Tesla V100 PCIe 32 GB, 250 W, fp32 on its lanes", SHEET, {"ffma.operand": OPERAND}, ENERGY)
