"""NVIDIA H100 PCIe: the H100 with 114 multiprocessors, HBM2e and half the power. It fuses what the SXM5 part fuses."""

from __future__ import annotations

from dataclasses import replace

from edpc.target import Memory, Quantity, Unit, assumed
from targets.h100 import HBM, L1, MEMORIES, PARAMETERS, UNITS, sheet
from targets.h100 import TARGET as SXM

# --- units and memories ---------------------------------------------------------------------------------------

SHEET = "NVIDIA H100 Tensor Core GPU data sheet, PCIe, dense"
RATES = {
    "matrix": {"fp64": 51.2e12, "fp32": 51.2e12, "tf32": 378e12, "bf16": 756e12, "fp16": 756e12, "fp8": 1513e12, "int8": 1513e12},
    "vector": {"fp64": 25.6e12, "fp32": 51.2e12, "bf16": 102.4e12, "fp16": 102.4e12, "int32": 25.6e12},
    "special": {"fp32": 2.955e12},
}
# Voltage follows the clock, 1.755 instead of 1.98 GHz: an operation takes its square, clocked multiprocessors its cube.
CLOCK = 1.755 / 1.98
FOLLOWS = "; scaled by clock, which voltage follows"


def slower(quantity: Quantity) -> Quantity:
    """The energy of an operation at the lower voltage."""
    low, high = quantity.range or (quantity.value, quantity.value)
    by = CLOCK**2
    return replace(quantity, value=quantity.value * by, range=(low * by, high * by), source=quantity.source + FOLLOWS)


TARGET = replace(
    SXM,
    name="h100-pcie",
    summary="NVIDIA H100 PCIe 80 GB, 350 W, compiled runtime with CUDA graphs",
    units=tuple(
        Unit(
            u.name,
            {p: sheet(r, "FLOP/s", SHEET) for p, r in RATES[u.name].items()},
            {p: slower(energy) for p, energy in u.energy.items()},
        )
        for u in UNITS
    ),
    memories=(
        Memory("l1", "local", sheet(114 * 262144, "B", SHEET), sheet(23.6e12, "B/s", SHEET), L1, L1),
        MEMORIES[1],
        Memory("hbm", "dram", sheet(80e9, "B", SHEET), sheet(2.0e12, "B/s", SHEET), HBM, HBM),
    ),
    static_power=assumed(80, "W", 50, 110, "scaled from the SXM5 board by its power limit"),
    parameters={
        **PARAMETERS,
        "sm.count": sheet(114, "1", SHEET),
        "power.cap": assumed(346, "W", 340, 350, "0.989 of the limit of 350 W, as on the SXM5 board"),
        "serving.active_power": assumed(144, "W", 95, 205, "scaled from the SXM5 board as power.active"),
        "serving.matrix_energy": slower(PARAMETERS["serving.matrix_energy"]),
        "power.active": assumed(133, "W", 90, 190, "scaled from the SXM5 board by multiprocessors and the cube of the clock"),
    },
    notes=(*SXM.notes, "kernel constants were fitted on the SXM5 part"),
)
