"""Google TPU v1 (2015): one 256 x 256 int8 array, weights from DDR3 through a FIFO, activations in a unified buffer.

Nothing but 8-bit products runs here. Weights live in DRAM and stream tile by tile at 34 GB/s, so a network without weight reuse
(an LSTM, a GEMV) waits for them; activations stay in the 24 MiB buffer. Sums leave the accumulators through the activation
pipeline (bias, nonlinearity, pooling) on their way back to the buffer, which is all that fuses.
"""

from __future__ import annotations

from edpc.target import (
    CONTRACTION,
    POOLING,
    RECURRENT,
    Guard,
    Memory,
    Precision,
    Rule,
    Setting,
    Target,
    Unit,
    assumed,
    many,
    maybe,
    one,
    published,
    some,
)
from targets.tpu import MODIFIERS, POINTWISE, RESIDENCY, sheet

ISCA17 = "Jouppi et al., In-Datacenter Performance Analysis of a TPU, ISCA 2017"
HOROWITZ = "Horowitz, ISSCC 2014 (45 nm), halved for 28 nm"
BUFFER = f"{ISCA17}: 256 B a cycle at 700 MHz between unified buffer and array or activation pipeline"
HIDDEN = f"{ISCA17}: operands stream as the array takes them, inside the cycles of its folds"


# --- units and memories -------------------------------------------------------------------------------------------------------

MATRIX = Unit(
    "matrix",
    rate={"int8": published(91.75e12, "FLOP/s", 91.75e12, 91.75e12, f"{ISCA17}: 256 x 256 x 2 x 700 MHz = 92 TOP/s")},
    energy={
        "int8": published(
            0.075e-12, "J/FLOP", 0.05e-12, 0.3e-12, f"{HOROWITZ}: int8 multiply and int32 add, 0.3 pJ together, two FLOP"
        )
    },
)
VECTOR = Unit(
    "vector",
    rate={
        "int8": published(179.2e9, "FLOP/s", 179.2e9, 717e9, BUFFER),
        "fp32": published(179.2e9, "FLOP/s", 179.2e9, 717e9, BUFFER),
    },
    energy={
        "int8": published(0.10e-12, "J/FLOP", 0.03e-12, 0.5e-12, HOROWITZ),
        "fp32": published(0.6e-12, "J/FLOP", 0.1e-12, 3e-12, f"{HOROWITZ}: 32-bit accumulators"),
    },
)
SPECIAL = Unit(
    "special",
    rate={"int8": published(179.2e9, "FLOP/s", 90e9, 179.2e9, f"{BUFFER}: nonlinearities are table look-ups")},
    energy={"int8": assumed(1e-12, "J/FLOP", 0.3e-12, 5e-12, "a look-up in a small table")},
)
NEAR = published(2.0e-12, "J/B", 1e-12, 6e-12, f"{HOROWITZ}: between 32 KB and 1 MB SRAM")
FAR = published(6.25e-12, "J/B", 4e-12, 16e-12, f"{HOROWITZ}: 1 MB SRAM, 100 pJ per 64 bit")
CHANNEL = published(240e-12, "J/B", 160e-12, 325e-12, "Horowitz, ISSCC 2014: DRAM 1300 to 2600 pJ per 64 bit")
ACCUMULATORS = Memory(
    "accumulators",
    "local",
    published(4 * 2**20, "B", 4 * 2**20, 4 * 2**20, ISCA17),
    published(716.8e9, "B/s", 716.8e9, 716.8e9, f"{ISCA17}: 256 sums of 32 bit a cycle"),
    NEAR,
    NEAR,
)
UNIFIED_BUFFER = Memory(
    "buffer",
    "llc",
    published(24 * 2**20, "B", 24 * 2**20, 24 * 2**20, ISCA17),
    published(179.2e9, "B/s", 167e9, 358e9, BUFFER),
    FAR,
    FAR,
)
DDR3 = Memory(
    "ddr3",
    "dram",
    published(8e9, "B", 8e9, 8e9, ISCA17),
    published(34e9, "B/s", 30e9, 34e9, f"{ISCA17}: 34 GB/s, of which about 30 GB/s is reached"),
    CHANNEL,
    CHANNEL,
)

# --- what runs as one instruction sequence ------------------------------------------------------------------------------------

ALONE = Guard("single-use")

RULES = (
    Rule(
        "activation-pipeline",
        (one(CONTRACTION | RECURRENT), many(POINTWISE, ALONE, Guard("same-shape")), maybe(POOLING, ALONE)),
        "gemm",
        why="sums leave the accumulators through the activation pipeline: bias, nonlinearity, then pooling",
        prologue=frozenset({"dequantize", "quantize", "cast"}),
    ),
    Rule(
        "vector-sequence",
        (one(POINTWISE), some(POINTWISE, ALONE, Guard("same-shape"))),
        "vector",
        why="vector instructions chain without leaving the activation pipeline",
    ),
)

ONLY = "the array multiplies 8-bit integers only: served as int8"
EIGHT = Precision("int8", "int8", "int8", "int8", "int8", ONLY)

TARGET = Target(
    name="tpu-v1",
    summary="Google TPU v1: one 256 x 256 int8 array, weights from DDR3 at 34 GB/s",
    architecture="systolic-array",
    units=(MATRIX, VECTOR, SPECIAL),
    memories=(ACCUMULATORS, UNIFIED_BUFFER, DDR3),
    static_power=published(28.0, "W", 26.0, 30.0, f"{ISCA17}: idle; busy 40 W, TDP 75 W"),
    parameters={
        "array.rows": sheet(256, "1", ISCA17),
        "array.columns": sheet(256, "1", ISCA17),
        "array.count": sheet(1, "1", ISCA17),
        "array.efficiency": assumed(1.0, "1", 0.8, 1.0, "the folds are exact; synchronisation with the host is not counted"),
        "tile.sublanes": sheet(1, "1", ISCA17),
        "tile.lanes": sheet(256, "1", ISCA17),
        "matmul.large_operand": published(0.0, "s/B", 0.0, 5.58e-12, HIDDEN),
        "matmul.small_operand": published(0.0, "s/B", 0.0, 5.58e-12, HIDDEN),
        "matmul.result": published(5.58e-12, "s/B", 0.0, 5.98e-12, BUFFER),
        "loadstore.read": published(5.58e-12, "s/B", 2.8e-12, 5.98e-12, BUFFER),
        "loadstore.write": published(5.58e-12, "s/B", 2.8e-12, 5.98e-12, BUFFER),
        "loadstore.row_read": published(5.58e-12, "s/B", 2.8e-12, 12e-12, BUFFER),
        "loadstore.row": assumed(1.43e-9, "s", 0.5e-9, 12e-9, "one cycle per row; v1 had no row reductions of its own"),
        "floor.matmul": published(29e-9, "s", 14e-9, 1e-6, f"{ISCA17}: instructions take 10 to 20 cycles each; host not counted"),
        "floor.vector": published(29e-9, "s", 14e-9, 1e-6, f"{ISCA17}: instructions take 10 to 20 cycles each; host not counted"),
        "floor.rowwise": assumed(29e-9, "s", 14e-9, 10e-6, "as other instructions; the host may have to help"),
        "floor.copy": published(29e-9, "s", 14e-9, 1e-6, f"{ISCA17}: instructions take 10 to 20 cycles each; host not counted"),
        "dram.efficiency": published(0.9, "1", 0.8, 1.0, f"{ISCA17}: about 30 of 34 GB/s reached by weight-bound networks"),
        "power.limit": published(75.0, "W", 75.0, 75.0, f"{ISCA17}: thermal design power"),
        "llc.warm_fraction": assumed(1.0, "1", 0.5, 1.0, "the unified buffer holds activations only"),
    },
    settings={
        "array": Setting(
            "folds", ("measured", "folds"), "how products are timed: MACs at peak, or cycles of double-buffered folds"
        ),
        "residency": Setting("on", ("off", "on"), RESIDENCY),
        "weights": Setting(
            "streamed",
            ("buffered", "streamed"),
            "streamed: whole folds from DRAM into the array, again for every accumulator-full of rows",
        ),
    },
    precisions={
        "fp32": EIGHT,
        "tf32": EIGHT,
        "bf16": EIGHT,
        "fp16": EIGHT,
        "fp8": EIGHT,
        "int8": Precision("int8", "int8", "int8", "int8", "int8"),
    },
    rules=RULES,
    modifiers=MODIFIERS,
    notes=("TPU v1 multiplies 8-bit integers only; floating-point networks are costed as if quantised.",),
)
