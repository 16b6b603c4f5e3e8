"""Google TPU v5e (one chip, one TensorCore): the v4's design with four faster arrays and less bandwidth.

It fuses as the v4 does. Rates and memories are the vendor's; path prices are the v4's measured ones scaled by cores and clock
(2 x 1.05 GHz against 1 x 1.5 GHz, a factor of 1.4), which nobody has measured. The vendor publishes no power.
"""

from __future__ import annotations

from edpc.target import Basis, Memory, Quantity, Target, Unit, assumed, published
from targets.tpu import FITTED, ISCA21, MODIFIERS, PARAMETERS, PRECISIONS, RULES, SETTINGS, sheet

SYSTEM = "Google Cloud TPU v5e system architecture page"
SCALED = f"v4 figure times 1.4 for one core at 1.5 GHz instead of two at 1.05 GHz; v4: {FITTED}"
UNPUBLISHED = "no power or energy is published for the v5e; v4 figures with a wide range"
CLOCK = "clock of 1.5 GHz"


def scaled(name: str) -> Quantity:
    """The v4's price of the load/store path on one core at the higher clock."""
    value = PARAMETERS[name].value * 1.4
    return Quantity(value, PARAMETERS[name].unit, Basis.ASSUMED, SCALED, (value / 2.0, value * 2.0))


def alike(name: str) -> Quantity:
    """The v4's measured figure, taken over: nobody measured it on a v5e."""
    there = PARAMETERS[name]
    low, high = there.range or (there.value, there.value)
    most = 1.0 if there.unit == "1" else high * 1.25
    return assumed(there.value, there.unit, low / 1.25, most, f"as on the v4; v4: {there.source}")


# --- units and memories -------------------------------------------------------------------------------------------------------

MATRIX = Unit(
    "matrix",
    rate={
        "bf16": sheet(197e12, "FLOP/s", f"{SYSTEM}: 4 arrays x 128 x 128 x 2 x 1.5 GHz"),
        "int8": sheet(394e12, "FLOP/s", SYSTEM),
    },
    energy={
        "bf16": assumed(0.30e-12, "J/FLOP", 0.12e-12, 0.62e-12, UNPUBLISHED),
        "int8": assumed(0.10e-12, "J/FLOP", 0.03e-12, 0.31e-12, UNPUBLISHED),
    },
)
VECTOR = Unit(
    "vector",
    rate={"fp32": assumed(3.07e12, "FLOP/s", 1.5e12, 6.2e12, f"128 lanes x 16 ALUs as on the v4, {CLOCK}")},
    energy={"fp32": assumed(0.85e-12, "J/FLOP", 0.38e-12, 2.0e-12, UNPUBLISHED)},
)
SPECIAL = Unit(
    "special",
    rate={"fp32": assumed(1.54e12, "FLOP/s", 0.19e12, 3.1e12, f"one 8 x 128 push a cycle, {CLOCK}")},
    energy={"fp32": assumed(5e-12, "J/FLOP", 1e-12, 15e-12, UNPUBLISHED)},
)
VREG = Memory(
    "vreg",
    "local",
    assumed(256 * 2**10, "B", 128 * 2**10, 512 * 2**10, "64 vector registers of 4 KiB"),
    assumed(18.4e12, "B/s", 6e12, 25e12, f"two loads and a store of 4 KiB a cycle, {CLOCK}"),
    published(1.1e-12, "J/B", 0.5e-12, 1.75e-12, f"{ISCA21}: 32 KB SRAM, 8.5 pJ per 64 bit"),
    published(1.1e-12, "J/B", 0.5e-12, 1.75e-12, f"{ISCA21}: 32 KB SRAM, 8.5 pJ per 64 bit"),
)
VMEM = Memory(
    "vmem",
    "llc",
    published(128 * 2**20, "B", 48 * 2**20, 128 * 2**20, "on-chip vector memory of the v5e class, as compilers report it"),
    assumed(5e12, "B/s", 2.4e12, 18e12, "not published"),
    assumed(4e-12, "J/B", 1.75e-12, 8e-12, "1 MB SRAM banks plus the wires across 128 MiB"),
    assumed(4e-12, "J/B", 1.75e-12, 8e-12, "1 MB SRAM banks plus the wires across 128 MiB"),
)
HBM = Memory(
    "hbm",
    "dram",
    sheet(16e9, "B", SYSTEM),
    sheet(819e9, "B/s", SYSTEM),
    published(43.75e-12, "J/B", 31e-12, 105e-12, f"{ISCA21}: HBM2 250 to 450 pJ per 64 bit"),
    published(43.75e-12, "J/B", 31e-12, 105e-12, f"{ISCA21}: HBM2 250 to 450 pJ per 64 bit"),
)

# --- the machine --------------------------------------------------------------------------------------------------------------

PATH = (
    "matmul.large_operand",
    "matmul.small_operand",
    "matmul.result",
    "loadstore.read",
    "loadstore.write",
    "loadstore.row_read",
    "loadstore.row",
)

TARGET = Target(
    name="tpu-v5e",
    summary="Google TPU v5e, one chip: 4 systolic arrays of 128 x 128, 16 GB HBM2",
    architecture="systolic-array",
    units=(MATRIX, VECTOR, SPECIAL),
    memories=(VREG, VMEM, HBM),
    static_power=assumed(60.0, "W", 30.0, 110.0, UNPUBLISHED),
    parameters={
        **PARAMETERS,
        **{name: alike(name) for name, q in PARAMETERS.items() if q.basis is Basis.MEASURED},
        **{name: scaled(name) for name in PATH},
        "array.rows": sheet(128, "1", SYSTEM),
        "array.columns": sheet(128, "1", SYSTEM),
        "array.count": sheet(4, "1", SYSTEM),
        "power.limit": assumed(192.0, "W", 120.0, 250.0, UNPUBLISHED),
    },
    settings=SETTINGS,
    precisions=PRECISIONS,
    rules=RULES,
    modifiers=MODIFIERS,
    notes=("TPU v5e floors are the v4's, its path prices the v4's scaled by clock and cores, and its power is assumed.",),
)
