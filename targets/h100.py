"""NVIDIA H100 SXM5 under a compiled runtime that replays CUDA graphs.

Fused: attention into one flash kernel; bias, activation and residual into the products and convolutions that make their operand;
chains of elementwise operators and reductions into one generated kernel that reads every input once. `launch=eager` models a
framework that launches kernel by kernel. 8-bit products read activations that a kernel of its own quantises per
token, unless the row-wise kernel that makes them does.
"""

from __future__ import annotations

from edpc.target import (
    ACTIVATION,
    ATTENTION_POINTWISE,
    CONVOLUTION,
    ELEMENTWISE,
    MATMUL,
    NORMALIZATION,
    POOLING,
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
    fitted,
    many,
    maybe,
    one,
    some,
)

SHEET = "NVIDIA H100 Tensor Core GPU architecture whitepaper and data sheet, SXM5, dense"
GEMM16 = "fit to 3,789 bf16 GEMMs on H100 SXM (aiconfigurator, vLLM 0.24, CUDA graphs)"
GEMM8 = "fit to 1,452 fp8 GEMMs on H100 SXM (aiconfigurator, vLLM 0.24 CUTLASS, CUDA graphs)"
GEMM32 = "fit to 521 linear and 1,056 batched fp32 products on H100 (NeuSight, no TF32)"
NODES = "fit to the fp32 nodes of BERT-large and GPT2-large on H100, eager (NeuSight)"
ATTENTION = "fit to {} attention kernels on H100 SXM (aiconfigurator, TensorRT-LLM 1.3.0rc20)"
ROWWISE = "fit to fp32 softmax and layer normalisation on A100 and L4, eager (NeuSight)"
POWER = "fit to 701 GEMMs of 100 us and more on H200 SXM with board power, clock coupled in (aiconfigurator)"


def sheet(value: float, unit: str, source: str = SHEET) -> Quantity:
    """A figure of the data sheet, exact."""
    return Quantity(value, unit, Basis.DATASHEET, source)


# --- units and memories ---------------------------------------------------------------------------------------

FFMA = "scaled from bf16 by operand width and Horowitz, ISSCC 2014"
UNITS = (
    Unit(
        "matrix",
        rate={
            "fp64": sheet(66.9e12, "FLOP/s"),
            "fp32": sheet(66.9e12, "FLOP/s", SHEET + "; fp32 products run on the vector lanes"),
            "tf32": sheet(494.7e12, "FLOP/s"),
            "bf16": sheet(989.4e12, "FLOP/s"),
            "fp16": sheet(989.4e12, "FLOP/s"),
            "fp8": sheet(1978.9e12, "FLOP/s"),
            "int8": sheet(1978.9e12, "FLOP/s"),
        },
        energy={
            "fp64": assumed(4.0e-12, "J/FLOP", 2e-12, 6e-12, FFMA),
            "fp32": assumed(1.5e-12, "J/FLOP", 0.7e-12, 4e-12, FFMA),
            "tf32": assumed(0.75e-12, "J/FLOP", 0.5e-12, 1.2e-12, FFMA),
            # 0.49 fits H200; the H100 GEMMs run too fast for more than 0.37 under the same cap.
            "bf16": Quantity(0.36e-12, "J/FLOP", Basis.MEASURED, GEMM16 + ", by the clock under the cap", (0.29e-12, 0.49e-12)),
            "fp16": Quantity(0.36e-12, "J/FLOP", Basis.MEASURED, GEMM16 + ", as bf16", (0.29e-12, 0.49e-12)),
            "fp8": Quantity(0.30e-12, "J/FLOP", Basis.MEASURED, GEMM8 + ", by the clock under the cap", (0.2e-12, 0.35e-12)),
            "int8": assumed(0.25e-12, "J/FLOP", 0.12e-12, 0.35e-12, "as fp8, cheaper by the exponent's share"),
        },
    ),
    Unit(
        "vector",
        rate={
            "fp64": sheet(33.5e12, "FLOP/s"),
            "fp32": sheet(66.9e12, "FLOP/s"),
            "bf16": sheet(133.8e12, "FLOP/s"),
            "fp16": sheet(133.8e12, "FLOP/s"),
            "int32": sheet(33.5e12, "FLOP/s"),
        },
        energy={"fp32": assumed(1.5e-12, "J/FLOP", 0.7e-12, 4e-12, FFMA)},
    ),
    Unit(
        "special",
        rate={"fp32": sheet(3.865e12, "FLOP/s", SHEET + ": 16 per clock and multiprocessor at 1.83 GHz")},
        energy={"fp32": assumed(6e-12, "J/FLOP", 2e-12, 15e-12, "four fp32 operations")},
    ),
)
SRAM = "Jouppi et al., ISCA 2021: SRAM at 7 nm, 32 KB and 1 MB"
L1 = Quantity(1.06e-12, "J/B", Basis.LITERATURE, SRAM, (0.3e-12, 4e-12))
L2 = assumed(2.0e-12, "J/B", 0.0, 6e-12, SRAM + "; H200 power readings cannot tell it from arithmetic")
HBM = Quantity(51.2e-12, "J/B", Basis.MEASURED, POWER + ": 6.4 pJ/bit of random data", (34e-12, 76e-12))
L2_BANDWIDTH = fitted("l2", GEMM16, 0.3, bandwidth=(5.44e12, "B/s"))["l2.bandwidth"]
MEMORIES = (
    Memory(
        "l1", "local", sheet(132 * 262144, "B"), sheet(30.9e12, "B/s", SHEET + ": 128 B per clock and multiprocessor"), L1, L1
    ),
    Memory("l2", "llc", sheet(50e6, "B"), L2_BANDWIDTH, L2, L2),
    Memory("hbm", "dram", sheet(80e9, "B"), sheet(3.35e12, "B/s"), HBM, HBM),
)

PARAMETERS = {
    "sm.count": sheet(132, "1"),
    "sm.threads": sheet(2048, "1"),
    "l1.tile_capacity": sheet(232448, "B", SHEET + ": shared memory of one multiprocessor"),
    **fitted("llc", GEMM16 + ": activations below 37.6 MB are warm", 0.1, warm_fraction=(0.752, "1")),
    **fitted("launch", GEMM16 + ": floor of 2.38 us less the kernel's own 1.43", 0.3, graph=(0.95e-6, "s")),
    **fitted("launch", "floor of eager kernels timed by events on H100 (NeuSight)", 0.2, eager=(6.8e-6, "s")),
    "recurrent.step": assumed(2.5e-6, "s", 1e-6, 6e-6, "a grid-wide synchronisation or a kernel in a graph"),
    **fitted("gemm", GEMM16, 0.1, floor=(1.43e-6, "s"), sm_dram_bandwidth=(29.0e9, "B/s"), write_efficiency=(0.85, "1")),
    **fitted("gemm", GEMM16, 0.1, split=(2.33e-6, "s"), split_bandwidth=(5.5e12, "B/s"), overlap=(4.17, "1")),
    **fitted("gemm", GEMM16, 0.05, efficiency=(0.851, "1"), sm_bandwidth=(117e9, "B/s"), epilogue_bandwidth=(33.1e9, "B/s")),
    **fitted("gemm", GEMM16 + "; weakly determined", 0.5, step=(0.0934e-6, "s"), prologue=(0.0165e-6, "s"), ramp=(0.22e-6, "s")),
    **fitted("gemm", GEMM16, 0.015, read_efficiency=(0.985, "1")),
    **fitted("gemm8", GEMM8 + ": half of two kernels' 3.62 us less their launches", 0.3, floor=(0.86e-6, "s")),
    **fitted("gemm8", GEMM8, 0.1, efficiency=(0.875, "1"), step=(0.165e-6, "s"), prologue=(1.31e-6, "s")),
    **fitted("gemm8", GEMM8, 0.1, efficiency_dram=(0.812, "1"), ramp=(0.71e-6, "s"), overlap=(1.93, "1")),
    "conv8.overlap": assumed(3.82, "1", 1.9, 6.0, "as 16-bit products; holds within 9 % on MLPerf ResNet-50 int8"),
    "ffma.floor": assumed(1.43e-6, "s", 1e-6, 14e-6, "as 16-bit products; no fp32 product was timed in a graph"),
    **fitted("ffma", NODES, 0.1, floor_eager=(14e-6, "s"), floor_eager_batched=(13.5e-6, "s")),
    **fitted("ffma", GEMM32, 0.05, efficiency=(1.03, "1"), operand=(23.5, "1"), epilogue_bandwidth=(22.1e9, "B/s")),
    **fitted("ffma", GEMM32, 0.05, read_efficiency=(0.866, "1"), write_efficiency=(0.821, "1"), overlap=(4.0, "1")),
    **fitted("attention.prefill", ATTENTION.format("1,491 causal"), 0.1, floor=(11.25e-6, "s"), rate=(1.334, "1")),
    **fitted("attention.prefill", ATTENTION.format("1,491 causal"), 0.1, softmax=(0.138e-6, "s"), cta=(2.64e-6, "s")),
    **fitted("attention.prefill", ATTENTION.format("1,491 causal"), 0.1, tail=(1.0, "1"), relayout_bandwidth=(4.07e12, "B/s")),
    **fitted("attention.prefill", ATTENTION.format("1,491 causal"), 0.1, wide_saving=(3.62e-6, "s"), window=(0.6e-6, "s")),
    **fitted("attention.prefill", ATTENTION.format("1,491 causal"), 0.1, rate8=(0.835, "1"), softmax8=(1.38, "1")),
    **fitted("attention.encoder", ATTENTION.format("1,031 encoder"), 0.1, floor=(10.25e-6, "s"), rate=(0.677, "1")),
    **fitted("attention.encoder", ATTENTION.format("1,031 encoder"), 0.1, softmax=(0.34e-6, "s"), cta=(1.77e-6, "s")),
    **fitted("attention.encoder", ATTENTION.format("1,031 encoder"), 0.1, tail=(0.23, "1"), relayout_bandwidth=(4.23e12, "B/s")),
    **fitted("attention", ATTENTION.format("2,522"), 0.05, read_efficiency=(0.866, "1"), overlap=(4.0, "1")),
    **fitted("attention.encoder", ATTENTION.format("1,031 encoder"), 0.05, padded_head=(0.945, "1")),
    **fitted("attention.mmha", ATTENTION.format("1,540 decode"), 0.1, floor=(7.6e-6, "s"), key=(10.9e-9, "s"), cta=(9.7e-9, "s")),
    **fitted(
        "attention.xqa", ATTENTION.format("1,540 decode"), 0.1, floor=(8.85e-6, "s"), key=(2.15e-9, "s"), cta=(32.8e-9, "s")
    ),
    **fitted(
        "attention.xqa8", ATTENTION.format("1,540 decode"), 0.1, floor=(5.25e-6, "s"), key=(2.15e-9, "s"), cta=(20.4e-9, "s")
    ),
    **fitted("attention", ATTENTION.format("1,540 decode"), 0.1, **{"mmha.rate": (3.5e12, "1/s"), "xqa.rate": (3.4e13, "1/s")}),
    **fitted("attention.xqa", ATTENTION.format("1,540 decode"), 0.1, cta8=(5.0e-9, "s")),
    **fitted("attention.decode", ATTENTION.format("1,540 decode"), 0.1, combine_bandwidth=(1.08e12, "B/s"), merge=(6.9e-6, "s")),
    **fitted("attention.decode", ATTENTION.format("1,540 decode"), 0.1, blocks=(947, "1"), warm_bandwidth=(5.5e12, "B/s")),
    **fitted("attention.decode", ATTENTION.format("1,540 decode"), 0.05, read_efficiency=(0.910, "1"), overlap=(1.5, "1")),
    **fitted("vector", NODES, 0.03, stream=(0.919, "1"), broadcast=(0.731, "1"), copy=(0.687, "1"), strided=(0.239, "1")),
    **fitted("vector", NODES, 0.03, softmax=(0.887, "1"), softmax_long=(0.776, "1"), norm=(0.896, "1")),
    **fitted("vector", NODES, 0.2, floor=(1.5e-6, "s"), norm_floor=(7e-6, "s")),
    **fitted("vector", GEMM8 + ": its quantiser", 0.1, quantise=(0.443, "1"), quantise_row=(6.83e-9, "s")),
    **fitted("vector", GEMM8 + ": its quantiser", 0.1, quantise_floor=(0.86e-6, "s"), quantise_overlap=(1.87, "1")),
    "vector.warm_bandwidth": assumed(5.5e12, "B/s", 3.35e12, 8.8e12, "as warm operands of products and decode attention"),
    **fitted("vector", ROWWISE, 0.2, norm_start=(1.64e-6, "s"), norm_step=(1.92e-6, "s"), softmax_start=(1.45e-6, "s")),
    **fitted("vector", ROWWISE, 0.2, softmax_step=(2.75e-6, "s"), softmax_tail=(1.8e-6, "s"), row_overlap=(3.0, "1")),
    **fitted("vector", ROWWISE, 0.2, resident=(0.554, "1")),
    **{
        f"{name}.error": assumed(1.0, "1", 0.9, 1.12, "to be fitted")
        for name in (
            "gemm",
            "gemm8",
            "conv8",
            "ffma",
            "attention.prefill",
            "attention.encoder",
            "attention.decode",
            "vector",
            "power",
        )
    },
    "power.cap": Quantity(692, "W", Basis.MEASURED, "NVML average at a limit of 700 W", (688, 700)),
    **fitted("power", POWER, 0.15, active=(222, "W")),
    "power.data_activity": Quantity(1.0, "1", Basis.ASSUMED, "random data"),
    **fitted("power", POWER + ": rows that stream zeros", 0.2, zero_arithmetic=(0.41, "1"), zero_dram=(1.0, "1")),
}

# --- rules ----------------------------------------------------------------------------------------------------

ALONE = Guard("single-use")
HEAD = Guard("head-dim-at-most", 256)
SCORES = ATTENTION_POINTWISE | {"bias"}  # a mask that is one row of parameters is a bias
LOOP = ELEMENTWISE | REDUCTION | NORMALIZATION | SOFTMAX
INDEXED = frozenset({"transpose", "slice", "concat", "split", "pad", "expand", "tile", "gather"})
STORED = frozenset({"bias", "batch_norm", "add", "mul", "cast", "clip"}) | ACTIVATION
QUANTISED = frozenset({"quantize", "dequantize"})
RULES = (
    Rule(
        "attention",
        (
            one(MATMUL, HEAD),
            many(SCORES),
            one(SOFTMAX),
            many(SCORES),
            one(MATMUL, HEAD),
            maybe(frozenset({"transpose"})),
        ),
        "attention",
        (ALONE,),
        "flash attention never writes scores; it scales its operands, reads them by strides and writes its result by strides",
        frozenset({"transpose", "expand", "split", "slice", "mul", "div"}),
    ),
    Rule(
        "qdq-gemm",
        (one(MATMUL, Guard("int8-operands")), many(STORED | QUANTISED, Guard("same-shape"))),
        "gemm",
        (ALONE, Guard("operands-at-most", 12)),
        "an integer product rescales and requantises its accumulators as it stores them; the scale may be a product of scales",
        frozenset({"dequantize", "mul"}),
    ),
    Rule(
        "qdq-conv",
        (one(CONVOLUTION, Guard("int8-operands")), many(STORED | QUANTISED, Guard("same-shape"))),
        "conv",
        (ALONE, Guard("operands-at-most", 12)),
        "TensorRT folds scales, bias, activation and residual into the int8 convolution",
        frozenset({"dequantize"}),
    ),
    Rule(
        "gemm-epilogue",
        (one(MATMUL), many(ELEMENTWISE, Guard("same-shape")), maybe(frozenset({"transpose", "split"}))),
        "gemm",
        (ALONE, Guard("operands-at-most", 8)),
        "the accumulators pass through registers on their way out; permuted or cut operands and results are a matter of strides",
        frozenset({"transpose"}),
    ),
    Rule(
        "conv-epilogue",
        (one(CONVOLUTION), many(STORED, Guard("same-shape"))),
        "conv",
        (ALONE, Guard("operands-at-most", 8)),
        "TensorRT folds bias, batch normalisation, activation and residual into the convolution",
    ),
    Rule(
        "loop",
        (some(LOOP, Guard("row-fits", "l1"), Guard("operands-at-most", 8)), maybe(frozenset({"quantize_dynamic"}))),
        "vector",
        why="a generated kernel reads each input once and keeps rows on chip; copies and gathers are how it indexes its loads",
        prologue=INDEXED | ELEMENTWISE,
    ),
    Rule("copy", (some(INDEXED, ALONE),), "movement", (), "copies of copies are one index computation"),
)

# --- modifiers ------------------------------------------------------------------------------------------------

MODIFIERS = (
    Modifier("Linear, Conv, MatMul", MATMUL | CONVOLUTION, 1.0, 1.0),
    Modifier("Bias", frozenset({"bias"}), 0.8, 3.0),
    Modifier("ReLU", frozenset({"relu"}), 0.5, 3.0),
    Modifier("GELU, Sigmoid, Tanh", frozenset({"gelu", "quick_gelu", "sigmoid", "tanh", "silu"}), 0.8, 3.0),
    Modifier("Add (residual)", frozenset({"add"}), 0.5, 3.0),
    Modifier("BatchNorm, LayerNorm", NORMALIZATION, 1.0, 1.5),
    Modifier("Pooling", POOLING, 1.0, 1.2),
    Modifier("Softmax", SOFTMAX, 1.0, 1.2),
    Modifier("view, reshape, transpose", VIEW | {"transpose"}, 0.01, 0.05),
)

# --- target ---------------------------------------------------------------------------------------------------

QUANTISER = "activations are bf16 between kernels and are quantised per token before each product"
PRECISIONS = {
    "fp32": Precision("fp32", "fp32", "fp32", "fp32", "fp32", "no TF32: products run on the fp32 lanes"),
    "tf32": Precision("fp32", "fp32", "fp32", "tf32", "fp32"),
    "bf16": Precision("bf16", "bf16", "bf16", "bf16", "fp32"),
    "fp16": Precision("fp16", "fp16", "fp16", "fp16", "fp32"),
    "fp8": Precision("fp8e4m3", "bf16", "fp8e4m3", "fp8", "fp32", QUANTISER),
    "int8": Precision("int8", "bf16", "int8", "int8", "fp32", QUANTISER),
}

TARGET = Target(
    name="h100",
    summary="NVIDIA H100 SXM5 80 GB, 700 W, compiled runtime with CUDA graphs",
    architecture="data-parallel",
    units=UNITS,
    memories=MEMORIES,
    static_power=Quantity(
        131, "W", Basis.MEASURED, "lowest board power readings with a context, H200 (aiconfigurator)", (110, 140)
    ),
    parameters=PARAMETERS,
    precisions=PRECISIONS,
    rules=RULES,
    modifiers=MODIFIERS,
    settings={"launch": Setting("graph", ("graph", "eager"), "kernels are replayed in a CUDA graph, or launched one by one")},
    notes=(
        "energy by level is inferred: board power cannot tell L2 from arithmetic, nor HBM from clocked multiprocessors",
        "overhead energy is what clocked multiprocessors draw whatever they compute",
    ),
)
