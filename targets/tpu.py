"""Google TPU v4 (one chip, both TensorCores): systolic matrix units behind a load/store path.

XLA fuses elementwise chains into the output of the contraction that feeds them, and everything else that is pointwise into loops:
a softmax or a normalisation is one loop nest with the pointwise work around it. Attention is not flash: scores are written,
normalised in a loop of their own and read again. Floors and path prices are a fit to measurements of fp16 kernels whose
operands were already on chip.
"""

from __future__ import annotations

from edpc.target import (
    ACTIVATION,
    CONTRACTION,
    ELEMENTWISE,
    NORMALIZATION,
    POOLING,
    QUANTIZATION,
    RECURRENT,
    REDUCTION,
    SOFTMAX,
    VIEW,
    Basis,
    Guard,
    Memory,
    Modifier,
    Precision,
    Quantity,
    Rule,
    Setting,
    Target,
    Unit,
    assumed,
    many,
    maybe,
    measured,
    one,
    published,
    some,
)

SYSTEM = "Google Cloud TPU v4 system architecture page"
ISCA23 = "Jouppi et al., TPU v4, ISCA 2023"
ISCA21 = "Jouppi et al., Ten Lessons From Three Generations, ISCA 2021, table of 7 nm energies"
FITTED = "fit to measured TPU v4 kernels (JAX, fp16, operands on chip, SCALE-Sim TPU data), 2-fold cross-validated"


def sheet(value: float, unit: str, source: str = SYSTEM) -> Quantity:
    """A figure of the vendor."""
    return Quantity(value, unit, Basis.DATASHEET, source)


def timed(value: float, unit: str, low: float, high: float, what: str = FITTED) -> Quantity:
    """A figure fitted to the timed kernels."""
    return measured(value, unit, low, high, what)


# --- units and memories -------------------------------------------------------------------------------------------------------

MATRIX = Unit(
    "matrix",
    rate={
        "bf16": sheet(275e12, "FLOP/s", f"{SYSTEM}: 2 cores x 4 arrays x 128 x 128 x 2 x 1.05 GHz"),
        "int8": sheet(275e12, "FLOP/s"),
    },
    energy={
        "bf16": published(
            0.30e-12, "J/FLOP", 0.16e-12, 0.62e-12, f"{ISCA21}: bf16 multiply, fp32 add; 0.62 bounds chip power / peak"
        ),
        "int8": published(0.10e-12, "J/FLOP", 0.04e-12, 0.31e-12, f"{ISCA21}: int8 multiply, int32 add, delivery of operands"),
    },
)
VECTOR = Unit(
    "vector",
    rate={"fp32": published(4.3e12, "FLOP/s", 2.15e12, 8.6e12, f"{ISCA23}: 2 cores x 128 lanes x 16 ALUs x 1.05 GHz")},
    energy={"fp32": published(0.85e-12, "J/FLOP", 0.38e-12, 2.0e-12, f"{ISCA21}: between fp32 add and multiply")},
)
SPECIAL = Unit(
    "special",
    rate={
        "fp32": assumed(2.15e12, "FLOP/s", 0.27e12, 4.3e12, "one 8 x 128 push a cycle and core; longer functions are polynomials")
    },
    energy={"fp32": assumed(5e-12, "J/FLOP", 1e-12, 15e-12, "four to six dependent fp32 operations")},
)
NEAR = published(1.75e-12, "J/B", 0.9e-12, 3.5e-12, f"{ISCA21}: 1 MB SRAM, 14 pJ per 64 bit")
FAR = assumed(4e-12, "J/B", 1.75e-12, 8e-12, "1 MB SRAM banks plus the wires across 128 MiB")
DEVICE = f"{ISCA21}: HBM2 250 to 450 pJ per 64 bit; board level up to 13.1 pJ/bit (A100)"
HBM2 = published(43.75e-12, "J/B", 31e-12, 105e-12, DEVICE)
VMEM = Memory(
    "vmem",
    "local",
    published(32 * 2**20, "B", 32 * 2**20, 32 * 2**20, f"{ISCA23}: 16 MiB per core"),
    assumed(25.8e12, "B/s", 8e12, 30e12, "two loads and a store of 4 KiB a cycle and core"),
    NEAR,
    NEAR,
)
CMEM = Memory(
    "cmem",
    "llc",
    published(128 * 2**20, "B", 128 * 2**20, 128 * 2**20, ISCA23),
    assumed(5e12, "B/s", 2.4e12, 10e12, "several times HBM; not published"),
    FAR,
    FAR,
)
HBM = Memory(
    "hbm",
    "dram",
    sheet(32 * 2**30, "B"),
    sheet(1.2e12, "B/s"),
    HBM2,
    HBM2,
)

# --- what runs as one kernel --------------------------------------------------------------------------------------------------

# A quantiser per token needs the largest element of a row first, so it is no pointwise operator.
PER_TOKEN = frozenset({"quantize_dynamic"})
POINTWISE = (ELEMENTWISE | QUANTIZATION | {"batch_norm"}) - PER_TOKEN
NORMS = NORMALIZATION - {"batch_norm"}
INDEXED = frozenset({"transpose", "slice", "split", "concat", "pad", "expand"})
ALONE, SAME, ROW = Guard("single-use"), Guard("same-shape"), Guard("row-fits", "vmem")

RULES = (
    Rule(
        "output-fusion",
        (
            one(CONTRACTION | RECURRENT),
            many(POINTWISE, ALONE, SAME),
            many(frozenset({"transpose", "split", "slice"}), ALONE),
            many(POINTWISE, ALONE, SAME),
        ),
        "gemm",
        why="XLA emits the pointwise consumers of a contraction on its result tile before the tile leaves vector memory; it "
        "gives results and operands layouts that make transposes and cuts free, and scales and converts operands on loading",
        prologue=frozenset({"dequantize", "cast", "transpose", "expand", "mul", "div"}),
    ),
    Rule(
        "row-loop",
        (one(SOFTMAX | NORMS | PER_TOKEN, ROW), many(POINTWISE, ALONE, SAME), maybe(PER_TOKEN, ROW)),
        "reduction",
        why="a softmax, a normalisation or a quantiser per token is one loop nest over rows held in vector memory; pointwise "
        "work before and after joins it, and it may write its rows both as they are and quantised",
        prologue=POINTWISE | INDEXED,
    ),
    Rule(
        "reduce-fusion",
        (some(POINTWISE, ALONE, SAME), one(REDUCTION | POOLING, ALONE)),
        "reduction",
        why="a reduction computes its input on the fly, so the producers' result is never written",
        prologue=POINTWISE | INDEXED,
    ),
    Rule(
        "loop-fusion",
        (one(POINTWISE), many(POINTWISE, ALONE)),
        "vector",
        why="one loop, one read and one write, however long the chain; cuts, joins and broadcasts are how it indexes its loads",
        prologue=POINTWISE | INDEXED,
    ),
    Rule("copy", (some(INDEXED, ALONE),), "movement", (), "copies of copies are one index computation"),
)

MODIFIERS = (
    Modifier("linear, conv, matmul", CONTRACTION | RECURRENT, 1.0, 1.0),
    Modifier("bias", frozenset({"bias"}), 0.05, 1.0),
    Modifier("relu", frozenset({"relu"}), 0.05, 1.0),
    Modifier("gelu, sigmoid, tanh", ACTIVATION - {"relu"}, 0.1, 1.2),
    Modifier("add", frozenset({"add"}), 0.05, 1.0),
    Modifier("normalisation", NORMALIZATION, 0.1, 1.5),
    Modifier("pooling", POOLING, 0.8, 1.0),
    Modifier("softmax", SOFTMAX, 1.5, 2.0),
    Modifier("view, reshape, transpose", VIEW | {"transpose"}, 0.01, 0.05),
)

ONE_PASS = "stored as fp32, multiplied in one bf16 pass with fp32 accumulation (the default precision of XLA)"
PRECISIONS = {
    "fp32": Precision("fp32", "fp32", "fp32", "bf16", "fp32", ONE_PASS),
    "tf32": Precision("fp32", "fp32", "fp32", "bf16", "fp32", f"no tf32 on a TPU: {ONE_PASS}"),
    "bf16": Precision("bf16", "bf16", "bf16", "bf16", "fp32"),
    "fp16": Precision("bf16", "bf16", "bf16", "bf16", "fp32", "no fp16 on a TPU: served as bf16, the same width"),
    "fp8": Precision(
        "int8", "bf16", "int8", "int8", "fp32", "no fp8 on this TPU: served as int8, the 8-bit format it multiplies"
    ),
    "int8": Precision("int8", "bf16", "int8", "int8", "fp32"),
}
RESIDENCY = "on: results whose readers all find them on chip are not written to DRAM; off: all results are"
SETTINGS = {
    "array": Setting(
        "measured", ("measured", "folds"), "how products are timed: the measured law, or cycles of double-buffered folds"
    ),
    "residency": Setting("off", ("off", "on"), RESIDENCY),
}

PARAMETERS = {
    "array.rows": sheet(128, "1"),
    "array.columns": sheet(128, "1"),
    "array.count": sheet(8, "1", f"{SYSTEM}: 2 cores x 4 arrays"),
    "array.efficiency": timed(0.827, "1", 0.74, 0.92, f"{FITTED}: 8.79 fs per multiply-accumulate"),
    "tile.sublanes": sheet(8, "1"),
    "tile.lanes": sheet(128, "1"),
    "matmul.large_operand": timed(1.64e-12, "s/B", 1.0e-12, 2.0e-12, f"{FITTED}: 3.28 ps per 2-byte element"),
    "matmul.small_operand": timed(4.72e-12, "s/B", 2.4e-12, 5.7e-12, f"{FITTED}: 9.44 ps per 2-byte element"),
    "matmul.result": timed(2.69e-12, "s/B", 1.6e-12, 3.2e-12, f"{FITTED}: 5.38 ps per 2-byte element"),
    "loadstore.read": timed(2.5e-12, "s/B", 1.5e-12, 3.0e-12, f"{FITTED}: 17.8 ps (two inputs) less 12.8 ps (one) per element"),
    "loadstore.write": timed(
        3.9e-12, "s/B", 2.4e-12, 4.5e-12, f"{FITTED}: 12.8 ps per element of a one-input kernel less its read"
    ),
    "loadstore.row_read": timed(2.85e-12, "s/B", 1.7e-12, 3.4e-12, f"{FITTED}: layer norm, 13.5 ps per element less the write"),
    "loadstore.row": timed(0.795e-9, "s", 0.4e-9, 1.6e-9, f"{FITTED}: layer norm, 1.59 ns per row, for two reductions"),
    "floor.matmul": timed(1.02e-6, "s", 0.9e-6, 1.2e-6),
    "floor.vector": timed(0.90e-6, "s", 0.8e-6, 1.0e-6),
    "floor.rowwise": timed(7.6e-6, "s", 1.0e-6, 8.5e-6, f"{FITTED}: layer norm; softmax is assumed to be alike"),
    "floor.copy": timed(0.60e-6, "s", 0.5e-6, 0.7e-6),
    "power.limit": published(192.0, "W", 192.0, 192.0, f"{ISCA23}: maximum power"),
    "dram.efficiency": timed(0.85, "1", 0.78, 0.92, f"{FITTED}: copies at 1.02 of 1.2 TB/s"),
    "llc.warm_fraction": assumed(
        0.8, "1", 0.5, 1.0, "XLA places short-lived tensors on chip and leaves room for prefetched weights"
    ),
}

TARGET = Target(
    name="tpu",
    summary="Google TPU v4, one chip: 8 systolic arrays of 128 x 128, 32 GiB HBM2",
    architecture="systolic-array",
    units=(MATRIX, VECTOR, SPECIAL),
    memories=(VMEM, CMEM, HBM),
    static_power=sheet(90.0, "W", f"{ISCA23}: minimum power; mean 170 W, maximum 192 W"),
    parameters=PARAMETERS,
    settings=SETTINGS,
    precisions=PRECISIONS,
    rules=RULES,
    modifiers=MODIFIERS,
    notes=("TPU v4 constants are a fit to fp16 kernels; bf16 may be faster per element.",),
)
