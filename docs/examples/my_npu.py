"""An example of a target outside the tree: an 8-TOP/s edge accelerator that fuses what streams behind its matrix engine.

edpc model.onnx --target ./my_npu.py --precision int8
"""

from __future__ import annotations

from edpc.target import (
    ACTIVATION,
    CONVOLUTION,
    ELEMENTWISE,
    MATMUL,
    Basis,
    Guard,
    Memory,
    Modifier,
    Precision,
    Quantity,
    Rule,
    Target,
    Unit,
    many,
    one,
)

SHEET = "the vendor's data sheet, revision 3"


def sheet(value: float, unit: str) -> Quantity:
    """A figure of the data sheet."""
    return Quantity(value, unit, Basis.DATASHEET, SHEET)


def guess(value: float, unit: str, factor: float) -> Quantity:
    """A figure nobody measured, with the range it may lie in."""
    return Quantity(value, unit, Basis.ASSUMED, "design estimate", (value / factor, value * factor))


# --- units and memories -----------------------------------------------------------------------------------------

MATRIX = Unit(
    name="matrix",
    rate={"int8": sheet(8e12, "FLOP/s"), "fp16": sheet(4e12, "FLOP/s")},
    energy={"int8": guess(0.4e-12, "J/FLOP", 2), "fp16": guess(1.0e-12, "J/FLOP", 2)},
)
VECTOR = Unit(name="vector", rate={"fp16": sheet(0.25e12, "FLOP/s")}, energy={"fp16": guess(2e-12, "J/FLOP", 2)})
SPECIAL = Unit(name="special", rate={"fp16": sheet(0.06e12, "FLOP/s")}, energy={"fp16": guess(8e-12, "J/FLOP", 2)})
SRAM = Memory("sram", "llc", sheet(8 * 2**20, "B"), sheet(400e9, "B/s"), guess(1.5e-12, "J/B", 2), guess(1.5e-12, "J/B", 2))
LPDDR = Memory("lpddr", "dram", sheet(8e9, "B"), sheet(51.2e9, "B/s"), guess(40e-12, "J/B", 1.5), guess(45e-12, "J/B", 1.5))

# --- what runs as one program -----------------------------------------------------------------------------------

RULES = (
    Rule(
        name="streamed-epilogue",
        stages=(one(MATMUL | CONVOLUTION), many(ACTIVATION | frozenset({"bias", "add", "batch_norm", "clip"}))),
        kernel_class="gemm",
        guards=(Guard("single-use"), Guard("same-shape")),
        why="results pass a fixed chain of scale, add and activation on their way to memory",
    ),
    Rule(
        name="pointwise-chain",
        stages=(one(ELEMENTWISE), many(ELEMENTWISE)),
        kernel_class="vector",
        guards=(Guard("single-use"), Guard("same-shape")),
        why="the vector engine keeps a tile in its registers",
    ),
)
MODIFIERS = (Modifier("activation", ACTIVATION, fused=0.1, separate=2.0),)

# --- the machine ------------------------------------------------------------------------------------------------

TARGET = Target(
    name="my-npu",
    summary="an 8-TOP/s edge accelerator",
    architecture="roofline",
    units=(MATRIX, VECTOR, SPECIAL),
    memories=(SRAM, LPDDR),
    static_power=guess(0.8, "W", 1.5),
    parameters={"launch": guess(10e-6, "s", 2)},
    precisions={
        "fp16": Precision("fp16", "fp16", "fp16", "fp16", "fp16"),
        "int8": Precision("int8", "fp16", "int8", "int8", "fp16"),
    },
    rules=RULES,
    modifiers=MODIFIERS,
)
