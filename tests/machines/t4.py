"""NVIDIA T4 16 GB, 70 W."""

from __future__ import annotations

from edpc.target import measured
from tests.machines.gpu import Sheet, gpu

SOURCE = "NVIDIA T4 data sheet and TU104 whitepaper"
SUSTAINED = "the clock that the board sustains in the eager BERT-large rows (NeuSight)"
RATES = {"fp32": 8.1e12}
SHEET = Sheet(SOURCE, 40, 1024, 1.59e9, RATES, RATES, 64 * 1024, 4e6, (16e9, 320e9), 70, lanes=64)
ENERGY = measured(13.5e-12, "J/FLOP", 11e-12, 17e-12, SUSTAINED)
TARGET = gpu("t4", "NVIDIA T4 16 GB, 70 W, fp32 on its lanes", SHEET, lane_energy=ENERGY)
