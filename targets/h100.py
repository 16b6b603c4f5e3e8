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
from targets._fitted import FITTED

SHEET = "NVIDIA H100 Tensor Core GPU architecture whitepaper and data sheet, SXM5, dense"
VLLM = "fit to 39 rows of Llama-3.1-8B, Qwen3-14B and Nemotron-9B decoded in bf16 on one H100 (ML.ENERGY, vLLM)"
H200_GEMM = "fit of power and clock to bf16 GEMMs of 100 us and more on H200 (aiconfigurator), without voltage"
NODES = "fit to the fp32 nodes of BERT-large and GPT2-large on H100, eager (NeuSight)"
# What `python -m tools.fit` fitted; data, rows and split stand in every source.
OWN = FITTED["h100"]
BOARD = FITTED["h200"]  # no H100's board power was measured with kernels: the H200 is the same die


def sheet(value: float, unit: str, source: str = SHEET) -> Quantity:
    """A figure of the data sheet, exact."""
    return Quantity(value, unit, Basis.DATASHEET, source)


# --- units and memories ---------------------------------------------------------------------------------------

BF16 = OWN["matrix.bf16.energy"]
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
            "bf16": BF16,
            "fp16": BF16,
            "fp8": OWN["matrix.fp8.energy"],
            "int8": assumed(
                0.11e-12, "J/FLOP", 0.08e-12, 0.3e-12, "0.31 of bf16, as the arithmetic alone (Jouppi et al., ISCA 2021)"
            ),
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
HBM = BOARD["hbm.read_energy"]
MEMORIES = (
    Memory(
        "l1", "local", sheet(132 * 262144, "B"), sheet(30.9e12, "B/s", SHEET + ": 128 B per clock and multiprocessor"), L1, L1
    ),
    Memory("l2", "llc", sheet(50e6, "B"), OWN["l2.bandwidth"], L2, L2),
    Memory("hbm", "dram", sheet(80e9, "B"), sheet(3.35e12, "B/s"), HBM, HBM),
)

PARAMETERS = {
    "sm.count": sheet(132, "1"),
    "sm.threads": sheet(2048, "1"),
    "l1.tile_capacity": sheet(232448, "B", SHEET + ": shared memory of one multiprocessor"),
    **{key: quantity for key, quantity in OWN.items() if not key.startswith(("matrix.", "l2."))},
    **fitted(
        "llc",
        "scan in steps of 5 % over the bf16 GEMMs on H100 SXM (aiconfigurator) that are not held out",
        0.1,
        warm_fraction=(0.75, "1"),
    ),
    "launch.graph": assumed(
        0.95e-6, "s", 0.7e-6, 1.2e-6, "a share of the 2.4 us that the shortest GEMM takes in a graph; only the sum is fitted"
    ),
    **fitted("launch", "floor of eager kernels timed by events on H100 (NeuSight)", 0.2, eager=(6.8e-6, "s")),
    **fitted("serving", VLLM, 0.3, step_gap=(1.6e-3, "s"), sampling=(0.25e-9, "s")),
    "serving.sampling_bandwidth": assumed(2.5e12, "B/s", 1.5e12, 3.3e12, "a sort at the rate of copies"),
    **fitted("serving", VLLM + ", by board power; GEMMs on H200 say less", 0.25, dram_energy=(72e-12, "J/B")),
    # What else the fit of that energy took for granted.
    **fitted("serving", H200_GEMM, 0.1, active_power=(222.0, "W")),
    **fitted("serving", H200_GEMM, 0.4, matrix_energy=(0.49e-12, "J/FLOP")),
    **fitted("serving", VLLM + "; with the launch of a kernel", 0.4, attention_floor=(8.85e-6, "s")),
    "serving.mixed_attention": assumed(6e-6, "s", 3e-6, 12e-6, "floor of a second attention kernel"),
    "serving.prompt_stall": assumed(
        0.0, "s", 0.0, 1e-3, "none seen in plain decoders; set 35 ms for hybrids of Mamba and attention (vLLM)"
    ),
    "launch.synchronise": assumed(20e-6, "s", 8e-6, 40e-6, "a boolean index in eager PyTorch: a copy to the host and its wait"),
    "recurrent.step": assumed(2.5e-6, "s", 1e-6, 6e-6, "a grid-wide synchronisation or a kernel in a graph"),
    "gemm.split_bandwidth": assumed(5.5e12, "B/s", 3e12, 9e12, "as the last-level cache"),
    "conv8.overlap": assumed(3.82, "1", 1.9, 6.0, "as 16-bit products; holds within 9 % on MLPerf ResNet-50 int8"),
    "conv8.error": assumed(
        1.0, "1", 0.85, 1.15, "no 8-bit convolution was measured; MLPerf ResNet-50 as a whole holds within 9 %"
    ),
    "ffma.read_efficiency": assumed(0.866, "1", 0.8, 0.95, "as attention"),
    "ffma.write_efficiency": assumed(0.821, "1", 0.75, 0.9, "as 16-bit products"),
    "ffma.overlap": assumed(4.0, "1", 2.0, 8.0, "as 16-bit products"),
    "ffma.floor": assumed(1.4e-6, "s", 1e-6, 4e-6, "as 16-bit products; no short fp32 kernel was timed without its harness"),
    **fitted("ffma", NODES + ", beyond the event floor", 0.1, ends=(12.6e-6, "s"), ends_batched=(12.1e-6, "s")),
    "attention.read_efficiency": assumed(0.866, "1", 0.8, 0.95, "as fp32 products; a prefill is seldom bound by memory"),
    "attention.overlap": assumed(4.0, "1", 2.0, 8.0, "as 16-bit products"),
    "attention.decode.combine_bandwidth": assumed(1.2e12, "B/s", 0.8e12, 2.0e12, "a second pass over few bytes a thread block"),
    **fitted("vector", NODES, 0.03, stream=(0.919, "1"), strided=(0.26, "1")),
    # 0.795 and 0.748 of streaming on 132 multiprocessors
    **fitted("vector", NODES, 0.03, broadcast=(18.54e9, "B/s"), copy=(17.45e9, "B/s")),
    **fitted("vector", NODES, 0.2, floor=(1.5e-6, "s"), norm_floor=(7e-6, "s")),
    "vector.quantise_floor": assumed(
        0.86e-6, "s", 0.5e-6, 1.5e-6, "half of what the quantiser and its 8-bit product take at least"
    ),
    "vector.warm_bandwidth": assumed(5.5e12, "B/s", 3.35e12, 8.8e12, "as warm operands of products and decode attention"),
    "power.cap": Quantity(692, "W", Basis.MEASURED, "NVML average at a limit of 700 W", (688, 700)),
    **{
        key: BOARD[key] for key in ("power.active", "power.voltage", "power.zero_arithmetic", "power.error", "power.capped.error")
    },
    "power.data_activity": Quantity(1.0, "1", Basis.ASSUMED, "random data"),
    "power.zero_dram": assumed(1.0, "1", 0.6, 1.0, "zeros toggle no bit on the way from DRAM"),
}

# --- rules ----------------------------------------------------------------------------------------------------

ALONE = Guard("single-use")
HEAD = Guard("head-dim-at-most", 256)
SCORES = ATTENTION_POINTWISE | {"bias"}  # a mask that is one row of parameters is a bias
LOOP = ELEMENTWISE | REDUCTION | NORMALIZATION | SOFTMAX
INDEXED = frozenset({"transpose", "slice", "concat", "split", "pad", "expand", "tile", "gather"})
STORED = frozenset({"bias", "batch_norm", "add", "mul", "cast", "clip"}) | ACTIVATION
QUANTISED = frozenset({"quantize", "dequantize"})
COMPILED, EAGER = ("launch", "graph"), ("launch", "eager")
NARROW, CALL, STRIDED = Guard("bits-at-most", 16), Guard("one-call"), Guard("matrix-strides")
SAME = Guard("same-shape")
PLAIN = Guard("plain-epilogue")
PERMUTED = maybe(frozenset({"transpose"}))
FLASH = (one(MATMUL, HEAD), many(SCORES), one(SOFTMAX), many(SCORES), one(MATMUL, HEAD))
BY_STRIDES = frozenset({"transpose", "expand", "split", "slice", "mul", "div"})
RULES = (
    Rule(
        "attention",
        (one(MATMUL, HEAD, NARROW), *FLASH[1:], PERMUTED),
        "attention",
        (ALONE,),
        "flash attention never writes scores; it scales its operands, reads them by strides and writes its result by strides",
        BY_STRIDES,
        when=COMPILED,
    ),
    Rule(
        "attention-call",
        FLASH,
        "attention",
        (ALONE, CALL),
        "a model that calls for fused attention gets it in 32 bits too",
        BY_STRIDES,
    ),
    Rule(
        "qdq-gemm",
        (one(MATMUL, Guard("int8-operands")), many(STORED | QUANTISED, SAME)),
        "gemm",
        (ALONE, Guard("operands-at-most", 12)),
        "an integer product rescales and requantises its accumulators as it stores them; the scale may be a product of scales",
        frozenset({"dequantize", "mul"}),
        when=COMPILED,
    ),
    Rule(
        "qdq-conv",
        (one(CONVOLUTION, Guard("int8-operands")), many(STORED | QUANTISED, SAME)),
        "conv",
        (ALONE, Guard("operands-at-most", 12)),
        "TensorRT folds scales, bias, activation and residual into the int8 convolution",
        frozenset({"dequantize"}),
        when=COMPILED,
    ),
    Rule(
        "gemm-epilogue",
        (one(MATMUL), many(ELEMENTWISE, SAME, PLAIN), maybe(frozenset({"transpose", "split"}), STRIDED, PLAIN)),
        "gemm",
        (ALONE, Guard("operands-at-most", 8)),
        "the accumulators pass through registers on their way out; operands and results lie as strides can say",
        frozenset({"transpose"}),
        (STRIDED,),
        COMPILED,
    ),
    Rule(
        "conv-epilogue",
        (one(CONVOLUTION), many(STORED, SAME)),
        "conv",
        (ALONE, Guard("operands-at-most", 8)),
        "TensorRT folds bias, batch normalisation, activation and residual into the convolution",
        when=COMPILED,
    ),
    Rule(
        "loop",
        (some(LOOP, Guard("row-fits", "l1"), Guard("operands-at-most", 8)), maybe(frozenset({"quantize_dynamic"}))),
        "vector",
        why="a generated kernel reads each input once and keeps rows on chip; copies and gathers are how it indexes its loads",
        prologue=INDEXED | ELEMENTWISE,
        when=COMPILED,
    ),
    Rule("copy", (some(INDEXED, ALONE),), "movement", (), "copies of copies are one index computation", when=COMPILED),
    Rule(
        "call-gemm",
        (one(MATMUL | CONVOLUTION), many(ELEMENTWISE)),
        "gemm",
        (ALONE, CALL),
        "one call of the framework is one kernel, or one and what hides behind it",
        when=EAGER,
    ),
    Rule("call", (some(LOOP | INDEXED),), "vector", (CALL,), "one call of the framework is one kernel", when=EAGER),
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
    pipeline="import-cleanup,apply-precision,place-copies,annotate-operators,fuse-operators,annotate-cost,attribute-edp",
    settings={
        "launch": Setting("graph", ("graph", "eager"), "kernels are replayed in a CUDA graph, or launched one by one"),
        "serving": Setting(
            "on", ("on", "off"), "edpc serve adds what vLLM adds to a network: step gap, sampler, prompts between"
        ),
    },
    notes=(
        "energy by level is inferred: board power cannot tell L2 from arithmetic, nor HBM from clocked multiprocessors",
        "overhead energy is what clocked multiprocessors draw whatever they compute",
    ),
)
