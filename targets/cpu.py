"""Intel Xeon Platinum 8490H running ONNX Runtime's CPU provider on all 60 cores of one socket; not calibrated.

The runtime folds batch normalisation, bias, activation and a residual addition into convolutions, bias and activation into Gemm,
and recomposes Gelu, LayerNorm and SkipLayerNorm; attention stays separate nodes. Quantised models run QLinear kernels that
absorb the (de)quantise nodes around them. Constants per kernel kind come from micro-benchmarks of ONNX Runtime 1.32 on a
two-core AVX-512 virtual machine, restated per core; that they hold per core on 60 is an assumption.
"""

from __future__ import annotations

from edpc.target import (
    ACTIVATION,
    CONTRACTION,
    ELEMENTWISE,
    NORMALIZATION,
    POOLING,
    RECURRENT,
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
    one,
    some,
)

SHEET = "Intel Xeon Platinum 8490H product specification and Sapphire Rapids optimisation guide"
BENCH = (
    "micro-benchmarks of ONNX Runtime 1.32 on a 2-core AVX-512 VM (3.5 GHz assumed), per core; scaling to this socket is assumed"
)
BUDGET = "so that a fully busy socket draws about 0.7 of TDP (measured on desktop parts), less idle"
AMX = "AMX tiles reach a smaller part of peak than FMA loops; operands come from L2"


def sheet(value: float, unit: str, source: str = SHEET) -> Quantity:
    """A figure of the data sheet."""
    return Quantity(value, unit, Basis.DATASHEET, source)


def turbo(per_cycle: float, what: str) -> Quantity:
    """A peak rate of 60 cores at base clock, up to the single-core turbo."""
    base = 60 * per_cycle * 1.9e9
    return Quantity(base, "FLOP/s", Basis.DATASHEET, f"{SHEET}: 60 cores x {what} x 1.9 GHz", (base, base * 3.5 / 1.9))


def line(
    kind: str,
    node_us: tuple[float, float],
    flop: tuple[float, float],
    gb_s: tuple[float, float],
    weight_gb_s: tuple[float, float] | None = None,
    call_ns: tuple[float, float] = (0.0, 0.0),
    pass_ns: tuple[float, float] = (0.0, 0.0),
) -> dict[str, Quantity]:
    """The line of a kernel kind, hot and cold: dispatch, part of a core's peak, bytes a core moves, starts, activations."""
    found = {}
    columns = zip(("hot", "cold"), node_us, flop, gb_s, weight_gb_s or gb_s, call_ns, pass_ns, strict=True)
    for heat, node, part, rate, weights, call, passed in columns:
        found[f"line.{kind}.node_{heat}"] = assumed(node * 1e-6, "s", node * 0.5e-6, node * 2e-6, BENCH)
        found[f"line.{kind}.flop_{heat}"] = assumed(part, "1", part * 0.7, min(part * 1.3, 1.0), BENCH)
        found[f"line.{kind}.byte_{heat}"] = assumed(rate * 1e9, "B/s", rate * 0.6e9, rate * 1.6e9, BENCH)
        found[f"line.{kind}.far_{heat}"] = assumed(1e12, "B/s", 0.5e12, 2e12, "the socket's caches and DRAM are priced as such")
        found[f"line.{kind}.weight_{heat}"] = assumed(weights * 1e9, "B/s", weights * 0.6e9, weights * 1.6e9, BENCH)
        found[f"line.{kind}.call_{heat}"] = assumed(call * 1e-9, "s", call * 0.5e-9, call * 2e-9, BENCH)
        found[f"line.{kind}.pass_{heat}"] = assumed(passed * 1e-9, "s", passed * 0.5e-9, passed * 2e-9, BENCH)
    return found


# --- units and memories -------------------------------------------------------------------------------------------------------

MATRIX = Unit(
    "matrix",
    rate={
        "fp32": turbo(64, "64 FLOP a cycle (two AVX-512 FMA)"),
        "bf16": turbo(2048, "2,048 FLOP a cycle (AMX)"),
        "int8": turbo(4096, "4,096 OP a cycle (AMX)"),
    },
    energy={
        "fp32": assumed(28e-12, "J/FLOP", 14e-12, 42e-12, BUDGET),
        "bf16": assumed(2.4e-12, "J/FLOP", 0.8e-12, 4.8e-12, BUDGET),
        "int8": assumed(1.4e-12, "J/FLOP", 0.4e-12, 2.8e-12, BUDGET),
    },
)
VECTOR = Unit(
    "vector",
    rate={"fp32": turbo(32, "32 operations a cycle (two AVX-512 ports)")},
    energy={"fp32": assumed(56e-12, "J/FLOP", 28e-12, 84e-12, f"{BUDGET}; an operation is half an FMA's FLOPs")},
)
SPECIAL = Unit(
    "special",
    rate={
        "fp32": assumed(0.456e12, "FLOP/s", 0.1e12, 0.9e12, "4 a cycle and core: polynomials of about eight vector operations")
    },
    energy={"fp32": assumed(400e-12, "J/FLOP", 200e-12, 600e-12, BUDGET)},
)
NEAR = assumed(1.0e-12, "J/B", 0.3e-12, 3e-12, "small SRAM, 8 to 10 pJ per 64 bit; delivery counts with the arithmetic")
MIDDLE = assumed(4e-12, "J/B", 1.75e-12, 12e-12, "1 MB SRAM, 14 to 100 pJ per 64 bit between 7 and 45 nm")
SHARED = assumed(125e-12, "J/B", 60e-12, 190e-12, BUDGET)
CHANNEL = assumed(500e-12, "J/B", 240e-12, 750e-12, f"{BUDGET}; DRAM itself 160 to 325 pJ/B (Horowitz, ISSCC 2014)")
L1 = Memory(
    "l1",
    "local",
    sheet(60 * 48 * 2**10, "B"),
    assumed(60 * 128 * 1.9e9, "B/s", 60 * 64 * 1.9e9, 60 * 192 * 1.9e9, "two 64-byte loads a cycle and core"),
    NEAR,
    NEAR,
)
L2 = Memory(
    "l2",
    "middle",
    sheet(60 * 2 * 2**20, "B"),
    assumed(60 * 48 * 1.9e9, "B/s", 60 * 24 * 1.9e9, 60 * 64 * 1.9e9, "48 B a cycle and core sustained"),
    MIDDLE,
    MIDDLE,
)
L3 = Memory(
    "l3",
    "llc",
    sheet(112.5 * 2**20, "B"),
    assumed(1.2e12, "B/s", 0.6e12, 2.4e12, "60 cores at 20 to 24 GB/s each, as one core of the benchmarked VM"),
    SHARED,
    SHARED,
)
DDR5 = Memory(
    "ddr5",
    "dram",
    sheet(8 * 64e9, "B", f"{SHEET}: 8 channels; 64 GB modules"),
    sheet(307.2e9, "B/s", f"{SHEET}: 8 channels of DDR5-4800"),
    CHANNEL,
    CHANNEL,
)

# --- what runs as one node ----------------------------------------------------------------------------------------------------

ALONE, SAME, VEC = Guard("single-use"), Guard("same-shape"), Guard("vector-bias")
SCALAR = Guard("scalar-factor")
CONV, MATMUL = frozenset({"conv"}), frozenset({"matmul"})
FOLDED = frozenset({"batch_norm", "bias"})
ACTIVATIONS = frozenset({"relu", "sigmoid", "tanh", "leaky_relu", "clip", "hard_sigmoid"})
ADD, MUL, DIV, POW, TANH = (frozenset({kind}) for kind in ("add", "mul", "div", "pow", "tanh"))
MEAN, SQRT, TRANSPOSE, CAST = (frozenset({kind}) for kind in ("reduce_mean", "sqrt", "transpose", "cast"))
QUANTIZE, DEQUANTIZE, DYNAMIC = (frozenset({kind}) for kind in ("quantize", "dequantize", "quantize_dynamic"))

RULES = (
    Rule(
        "qlinear-contraction",
        (one(CONV | MATMUL), maybe(FOLDED | ADD, ALONE, VEC), maybe(ACTIVATIONS, ALONE), one(QUANTIZE, ALONE)),
        "conv",
        why="QDQ around a contraction becomes one QLinearConv or QLinearMatMul; the clip of the output range is the activation",
        prologue=DEQUANTIZE,
    ),
    Rule(
        "qlinear-elementwise",
        (one((ELEMENTWISE | POOLING) - FOLDED), maybe(ACTIVATIONS, ALONE), one(QUANTIZE, ALONE)),
        "vector",
        why="QDQ around an addition, multiplication, sigmoid or pooling becomes its QLinear kernel",
        prologue=DEQUANTIZE,
    ),
    Rule(
        "conv-activation",
        (one(CONV), many(FOLDED | MUL, ALONE, VEC), maybe(ADD, ALONE, SAME), maybe(ACTIVATIONS, ALONE)),
        "conv",
        why="batch normalisation and factors and bias per channel fold into the weights, a residual is the Sum input of the "
        "NCHWc kernel, and the activation runs on the output block in registers",
        prologue=DEQUANTIZE,
    ),
    Rule(
        "dynamic-quantize-matmul",
        (
            one(DYNAMIC),
            some(MATMUL | MUL, ALONE, SCALAR, Guard("int8-operands"), Guard("no-second-contraction")),
            many(CAST | MUL | FOLDED, ALONE, VEC),
        ),
        "gemm",
        why="a quantiser that one integer product reads becomes DynamicQuantizeMatMul with the cast, the scales and the bias",
    ),
    Rule(
        "integer-matmul",
        (one(MATMUL, Guard("int8-operands")), maybe(CAST), maybe(MUL, SCALAR), maybe(FOLDED, VEC)),
        "gemm",
        (ALONE,),
        "MatMulIntegerToFloat multiplies its accumulators by the product of both scales and adds the bias as it stores them",
        MUL,
    ),
    Rule(
        "fused-matmul",
        (one(MUL | DIV, SCALAR), one(MATMUL, ALONE)),
        "gemm",
        why="FusedMatMul has the scalar factors of both operands as its alpha",
        prologue=MUL | DIV,
    ),
    Rule(
        "scaled-matmul",
        (one(MATMUL), one(MUL | DIV, ALONE, SCALAR)),
        "gemm",
        why="a scalar factor of the result is FusedMatMul's alpha; nothing else fuses with that kernel",
    ),
    Rule(
        "gemm-activation",
        (one(MATMUL), maybe(ADD | FOLDED, ALONE, VEC), maybe(ACTIVATIONS, ALONE)),
        "gemm",
        why="MatMul and Add become Gemm, and the activation FusedGemm",
        prologue=DEQUANTIZE,
    ),
    Rule(
        "gelu",
        (one(DIV | MUL), one(frozenset({"erf"}), ALONE), one(ADD, ALONE), one(MUL, ALONE), maybe(MUL, ALONE)),
        "gelu",
        why="the five operators of an exported Gelu are recomposed to one node; the half may come first",
        prologue=MUL,
    ),
    Rule(
        "fast-gelu",
        (one(POW), one(MUL, SCALAR), one(ADD), one(MUL, SCALAR), one(TANH), one(ADD, SCALAR), one(MUL), maybe(MUL, SCALAR)),
        "gelu",
        (ALONE,),
        "the eight operators of a Gelu by tanh are recomposed to FastGelu; the half may come first",
        MUL,
    ),
    Rule("bias-gelu", (one(frozenset({"bias"})), one(frozenset({"gelu"}), ALONE)), "gelu", (), "BiasGelu reads its input once"),
    Rule(
        "layer-norm",
        (
            *(one(MEAN), one(frozenset({"sub"})), one(POW | MUL), one(MEAN), one(ADD), one(SQRT)),
            *(one(DIV), maybe(MUL), maybe(ADD | FOLDED)),
        ),
        "layer_norm",
        (ALONE,),
        "the operators of an exported LayerNorm are recomposed to one node",
    ),
    Rule(
        "rms-norm",
        (one(POW | MUL), one(MEAN), one(ADD), one(SQRT), one(DIV), maybe(MUL)),
        "layer_norm",
        (ALONE,),
        "an exported RMSNorm that divides by its root becomes SimplifiedLayerNormalization; the form with a reciprocal does not",
    ),
    Rule(
        "skip-layer-norm",
        (one(ADD), one(NORMALIZATION - {"batch_norm"})),
        "skip_norm",
        why="SkipLayerNormalization adds the residual while it normalises, and hands out the sum where others need it",
    ),
    Rule("quick-gelu", (one(frozenset({"sigmoid"})), one(MUL, ALONE)), "transcendental", (), "x * sigmoid(x) is QuickGelu"),
    Rule(
        "batch-norm-activation",
        (one(frozenset({"batch_norm"})), one(ACTIVATIONS, ALONE)),
        "vector",
        why="a batch normalisation of its own is a depthwise NCHWc kernel, which runs the activation in registers",
    ),
    Rule("transpose", (some(TRANSPOSE, ALONE),), "movement", (), "transposes of transposes are one"),
)

MODIFIERS = (
    Modifier("linear, conv, matmul", CONTRACTION | RECURRENT, 1.0, 1.0),
    Modifier("bias", frozenset({"bias"}), 0.8, 3.0),
    Modifier("relu", frozenset({"relu"}), 0.5, 3.0),
    Modifier("gelu, sigmoid, tanh", ACTIVATION - {"relu"}, 0.8, 3.0),
    Modifier("add", frozenset({"add"}), 0.5, 3.0),
    Modifier("normalisation", NORMALIZATION, 1.0, 1.5),
    Modifier("pooling", POOLING, 1.0, 1.2),
    Modifier("softmax", SOFTMAX, 1.2, 1.5),
    Modifier("view, reshape, transpose", VIEW | {"transpose"}, 0.01, 0.05),
)

TARGET = Target(
    name="cpu",
    summary="Intel Xeon Platinum 8490H, 60 cores, ONNX Runtime (uncalibrated)",
    architecture="stored-program",
    units=(MATRIX, VECTOR, SPECIAL),
    memories=(L1, L2, L3, DDR5),
    static_power=assumed(90.0, "W", 60.0, 130.0, "idle of a server package with its fabric awake"),
    parameters={
        "cores": sheet(60, "1"),
        "thread.grain": assumed(3.5e-6, "s", 0.6e-6, 3.6e-6, "64 Ki multiply-accumulates per thread in GEMM, more elsewhere"),
        "thread.fork_join": assumed(2.5e-6, "s", 2.5e-6, 5e-6, f"{BENCH}: nodes on two threads take 2 to 5 us longer"),
        "thread.power": assumed(100.0, "W", 30.0, 160.0, "idle threads spin between nodes"),
        "residency.start": assumed(4.5e-3, "s", 2e-3, 10e-3, f"{BENCH}: a property of host and moment"),
        "residency.span": assumed(12.5e-3, "s", 5e-3, 40e-3, f"{BENCH}: a property of host and moment"),
        "dram.efficiency": assumed(0.8, "1", 0.65, 0.92, "streams on a loaded DDR5 socket"),
        "llc.warm_fraction": assumed(0.7, "1", 0.3, 1.0, "the rest holds weights and other tenants' lines"),
        "attained.bf16": assumed(0.35, "1", 0.1, 0.6, AMX),
        "attained.int8": assumed(0.30, "1", 0.1, 0.6, AMX),
        **line("direct_conv", (2, 4), (0.83, 0.83), (60, 26)),
        **line("pointwise_conv", (2, 4), (0.85, 0.83), (60, 30), pass_ns=(0.175, 0.196)),
        **line("depthwise_conv", (2, 4), (0.77, 0.77), (50, 30)),
        **line("scale_conv", (2, 4), (0.77, 0.77), (50, 30)),
        **line("first_conv", (2, 4), (0.87, 0.87), (60, 30)),
        **line("im2col_conv", (3, 5), (0.50, 0.50), (25, 16)),
        **line("gemm", (2, 4), (0.80, 0.72), (60, 26)),
        **line("gemv", (3, 8), (1.00, 1.00), (27, 14)),
        **line("batched_matmul", (3, 5), (0.68, 0.68), (30, 25), call_ns=(200, 220)),
        **line("integer", (3, 5), (0.80, 0.72), (60, 26)),
        **line("recurrent", (5, 10), (0.30, 0.30), (27, 14)),
        **line("unary", (1.5, 3), (1.0, 1.0), (42, 30)),
        **line("binary", (1.5, 3), (1.0, 1.0), (45, 21)),
        **line("transcendental", (1.5, 3), (1.0, 1.0), (30, 25)),
        **line("gelu", (2, 4), (1.0, 1.0), (15, 14)),
        **line("softmax", (2, 4), (1.0, 1.0), (30, 25), call_ns=(10, 10)),
        **line("layer_norm", (2, 4), (1.0, 1.0), (17, 14), call_ns=(46, 46)),
        **line("skip_norm", (2, 4), (1.0, 1.0), (10, 9), call_ns=(46, 46)),
        **line("lrn", (2, 4), (1.0, 1.0), (0.35, 0.35)),
        **line("reduction", (2, 4), (1.0, 1.0), (25, 20)),
        **line("reduction_inner", (2, 4), (1.0, 1.0), (3, 3)),
        **line("pool", (2, 4), (1.0, 1.0), (36, 25)),
        **line("concat", (1.5, 3), (1.0, 1.0), (62, 24), call_ns=(7, 47)),
        **line("split", (1.5, 3), (1.0, 1.0), (70, 24), call_ns=(7, 47)),
        **line("movement", (1.5, 3), (1.0, 1.0), (50, 24)),
        **line("transpose", (1.5, 3), (1.0, 1.0), (45, 25), call_ns=(5, 5)),
        **line("transpose_inner", (1.5, 3), (1.0, 1.0), (5, 5)),
        **line("reorder", (1.5, 3), (1.0, 1.0), (50, 25)),
        **line("gather", (1.5, 3), (1.0, 1.0), (50, 14)),
        **line("quantize", (1.5, 3), (1.0, 1.0), (30, 20)),
        **line("view", (4, 7), (1.0, 1.0), (50, 50)),
    },
    precisions={
        "fp32": Precision("fp32", "fp32", "fp32", "fp32", "fp32"),
        "tf32": Precision("fp32", "fp32", "fp32", "fp32", "fp32", "no tf32 on a CPU: served as fp32"),
        "bf16": Precision(
            "bf16", "bf16", "bf16", "bf16", "fp32", "contractions on AMX; everything else widens to fp32 in registers"
        ),
        "fp16": Precision("fp16", "fp32", "fp32", "fp32", "fp32", "weights stored as fp16, widened to fp32 for every kernel"),
        "fp8": Precision(
            "int8", "fp32", "int8", "int8", "fp32", "no fp8 on a CPU: served as int8, the 8-bit format it multiplies"
        ),
        "int8": Precision("int8", "fp32", "int8", "int8", "fp32"),
    },
    rules=RULES,
    modifiers=MODIFIERS,
    settings={
        "graph": Setting(
            "model",
            ("model", "runtime"),
            "whose operators run: the model's own, fused by rules, or for an ONNX file those that ONNX Runtime, which must be "
            "installed, makes of them on this machine",
        )
    },
    notes=(
        "CPU figures are not calibrated: constants of a two-core VM scaled to 60 cores; run `edpc calibrate` for this machine.",
        "Between 5 and 17 ms a model's weights are partly in cache, and its latency is least certain there.",
    ),
)
