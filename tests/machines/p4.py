"""NVIDIA Tesla P4 8 GB, 75 W."""

from __future__ import annotations

from edpc.target import measured
from tests.machines.gpu import Sheet, gpu

SOURCE = "NVIDIA Tesla P4 data sheet and GP104 specifications"
SUSTAINED = "the clock that the board sustains in the eager BERT-large rows (NeuSight)"
RATES = {"fp32": 5.5e12}
SHEET = Sheet(SOURCE, 20, 2048, 1.063e9, RATES, RATES, 96 * 1024, 2e6, (8e9, 192e9), 75)
ENERGY = measured(26e-12, "J/FLOP", 20e-12, 32e-12, SUSTAINED)
TARGET = gpu("p4", "NVIDIA Tesla P4 8 GB, 75 W, fp32 on its lanes", SHEET, lane_energy=ENERGY)
