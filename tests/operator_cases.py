"""One or more operators of every kind with the work they must have, each counted by hand in its comment.

Shapes are small and uneven, so that a swapped axis shows.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from edpc.ir import Attribute, Operator, TensorType, attributes

Shape = tuple[int | None, ...]


@dataclass(frozen=True)
class Case:
    """An operator and its work; reads and writes are those of whole tensors where none are given."""

    kind: str
    inputs: list[TensorType]
    outputs: list[TensorType]
    attributes: dict[str, Attribute] = field(default_factory=dict)
    macs: int = 0
    vector: int = 0
    special: int = 0
    reads: tuple[int, ...] | None = None
    writes: tuple[int, ...] | None = None

    @property
    def operator(self) -> Operator:
        return Operator(self.kind, tuple(self.inputs), tuple(self.outputs), attributes(**self.attributes))


def f(*shape: int | None) -> TensorType:
    return TensorType("fp32", shape)


def t(dtype: str, *shape: int | None) -> TensorType:
    return TensorType(dtype, shape)


def i(*shape: int | None) -> TensorType:
    return TensorType("int64", shape)


SEQUENCE = TensorType("sequence", None)

# Per element of the result: (vector operations, transcendentals), counted from the formula in the comment.
UNARY = {
    "neg": (1, 0),
    "abs": (1, 0),
    "sign": (1, 0),
    "floor": (1, 0),
    "ceil": (1, 0),
    "round": (1, 0),
    "reciprocal": (1, 0),
    "cast": (1, 0),
    "sqrt": (0, 1),
    "rsqrt": (0, 1),
    "exp": (0, 1),
    "log": (0, 1),
    "log1p": (1, 1),  # 1 +, log
    "expm1": (1, 1),  # exp, - 1
    "erf": (0, 1),
    "sin": (0, 1),
    "cos": (0, 1),
    "tan": (0, 1),
    "asin": (0, 1),
    "acos": (0, 1),
    "atan": (0, 1),
    "sinh": (0, 1),
    "cosh": (0, 1),
    "asinh": (0, 1),
    "acosh": (0, 1),
    "atanh": (0, 1),
    "relu": (1, 0),  # max
    "leaky_relu": (3, 0),  # compare, multiply, select
    "thresholded_relu": (2, 0),  # compare, select
    "clip": (2, 0),  # max, min
    "elu": (4, 1),  # compare, exp, - 1, * alpha, select
    "selu": (5, 1),  # elu, * gamma
    "celu": (6, 1),  # / alpha, exp, - 1, * alpha, min, max, add
    "gelu": (4, 1),  # / sqrt(2), erf, + 1, * x, * 0.5
    "quick_gelu": (5, 1),  # * 1.702, sigmoid (3, 1), * x
    "sigmoid": (3, 1),  # negate, exp, + 1, divide
    "hard_sigmoid": (4, 0),  # * alpha, + beta, min, max
    "silu": (4, 1),  # sigmoid (3, 1), * x
    "hard_swish": (5, 0),  # hard_sigmoid (4, 0), * x
    "tanh": (0, 1),
    "softplus": (1, 2),  # exp, + 1, log
    "softsign": (3, 0),  # abs, + 1, divide
    "mish": (2, 3),  # softplus (1, 2), tanh, * x
    "shrink": (6, 0),  # two compares, two sums, two selections
    "dropout": (3, 1),  # draw, compare, scale, select
    "logical_not": (1, 0),
    "bitwise_not": (1, 0),
    "is_nan": (1, 0),
    "is_inf": (1, 0),
}
BINARY = {
    "add": (1, 0),
    "sub": (1, 0),
    "mul": (1, 0),
    "div": (1, 0),
    "mod": (4, 0),  # divide, floor, multiply, subtract
    "pow": (1, 2),  # log, multiply, exp
    "min": (1, 0),
    "max": (1, 0),
    "sum_n": (1, 0),
    "mean_n": (2, 0),  # add, divide
    "bias": (1, 0),
    "prelu": (3, 0),  # compare, multiply, select
    "swiglu": (5, 1),  # silu (4, 1), multiply
    "equal": (1, 0),
    "not_equal": (1, 0),
    "greater": (1, 0),
    "less": (1, 0),
    "greater_equal": (1, 0),
    "less_equal": (1, 0),
    "logical_and": (1, 0),
    "logical_or": (1, 0),
    "logical_xor": (1, 0),
    "bitwise_and": (1, 0),
    "bitwise_or": (1, 0),
    "bitwise_xor": (1, 0),
    "bit_shift": (1, 0),
}
X = f(2, 3)
ELEMENTWISE = [
    *(Case(k, [X], [X], vector=6 * v, special=6 * s) for k, (v, s) in UNARY.items()),
    # The second operand is broadcast: 3 elements read once, 6 results.
    *(Case(k, [X, f(3)], [X], vector=6 * v, special=6 * s, reads=(24, 12)) for k, (v, s) in BINARY.items()),
    Case("where", [t("bool", 2, 1), X, f()], [X], vector=6, reads=(2, 24, 4)),
    Case("max", [X, X, X, X], [X], vector=18),  # three comparisons per element
    Case("mean_n", [X, X, X], [X], vector=18),  # two additions, a division
    Case("max", [X], [X]),  # nothing to compare with
    Case("gelu", [X], [X], {"approximate": "tanh"}, vector=48, special=6),  # x*x*x (2), *c, +x, *c, tanh, +1, *x, *0.5
    Case("silu", [X], [X], {"alpha": 1.5}, vector=30, special=6),
    Case("pow", [X, f()], [X], {"exponent": 2}, vector=6),  # x * x
    Case("pow", [X, f()], [X], {"exponent": 3.0}, vector=12),  # x * x * x
    Case("pow", [X, f()], [X], {"exponent": -1}, vector=6),  # 1 / x
    Case("pow", [X, f()], [X], {"exponent": 0.5}, special=6),  # sqrt
    Case("pow", [X, f()], [X], {"exponent": 1.7}, vector=6, special=12),
]

Y = f(2, 3, 5)  # 30 elements
REDUCTIONS = [
    # Over axis 1: 10 rows of 3; 2 steps per row.
    *(Case(k, [Y], [f(2, 5)], {"axes": (1,)}, vector=20) for k in ("reduce_sum", "reduce_max", "reduce_min", "reduce_prod")),
    *(Case(k, [Y], [i(2, 5)], {"axis": 1}, vector=20) for k in ("argmax", "argmin")),
    Case("reduce_mean", [Y], [f(2, 5)], {"axes": (1,)}, vector=30),  # 20 + a division per row
    Case("reduce_l1", [Y], [f(2, 5)], {"axes": (1,)}, vector=50),  # 30 magnitudes + 20
    Case("reduce_l2", [Y], [f(2, 5)], {"axes": (1,)}, vector=50, special=10),  # 30 squares + 20, a root per row
    Case("reduce_sum_square", [Y], [f(2, 5)], {"axes": (1,)}, vector=50),
    Case("reduce_log_sum", [Y], [f(2, 5)], {"axes": (1,)}, vector=20, special=10),
    # Maximum 20, subtraction 30, exp 30, sum 20, log 10, addition 10.
    Case("reduce_log_sum_exp", [Y], [f(2, 5)], {"axes": (1,)}, vector=80, special=40),
    Case("reduce_sum", [Y], [f(2, 1, 1)], {"axes": (-2, -1)}, vector=28),  # 2 rows of 15
    Case("reduce_sum", [Y], [f()], vector=29),  # everything, as the result says
    Case("reduce_sum", [f(2, 0)], [f(2)], {"axes": (1,)}),  # empty rows
    Case("cumsum", [Y, i()], [Y], {"axis": 2}, vector=24),  # 6 rows of 5, 4 steps
    Case("cumprod", [Y, i()], [Y], {"axis": 2}, vector=24),
]

N = f(2, 6, 4)  # 48 elements
NORMALIZATIONS = [
    Case("batch_norm", [N, f(6), f(6), f(6), f(6)], [N], vector=96),  # scale and shift
    # Training: 6 * 48 + 7 * 6 channels, a root per channel.
    Case("batch_norm", [N, f(6), f(6), f(6), f(6)], [N, f(6), f(6)], {"training_mode": True}, vector=330, special=6),
    Case("layer_norm", [N, f(4), f(4)], [N], {"axis": -1}, vector=348, special=12),  # 48 * 7 + 12 rows
    Case("layer_norm", [N], [N], {"axis": 1}, vector=242, special=2),  # 48 * 5 + 2 rows
    Case("rms_norm", [N, f(4)], [N], {"axis": -1}, vector=204, special=12),  # 48 * 4 + 12 rows
    Case("group_norm", [N, f(6), f(6)], [N], {"groups": 3}, vector=342, special=6),  # 48 * 7 + 2 * 3 rows
    Case("instance_norm", [N, f(6), f(6)], [N], vector=348, special=12),  # 48 * 7 + 2 * 6 rows
    Case("mean_variance_norm", [f(2, 3, 2, 2)], [f(2, 3, 2, 2)], vector=123, special=3),  # 24 * 5 + 3 rows (channels)
    Case("lp_norm", [N], [N], {"axis": 1, "p": 2}, vector=144, special=8),  # 3 * 48, 2 * 4 rows
    Case("lp_norm", [N], [N], {"axis": 1, "p": 1}, vector=144),
    # Size 5: square 1, window sum 4, product 1, sum 1, power 1 + (2), division 1 = 9.
    Case("lrn", [N], [N], {"size": 5}, vector=432, special=96),
    Case("softmax", [N], [N], {"axis": -1}, vector=192, special=48),
    Case("softmax", [N], [N], {"axes": (1, 2), "causal": True}, vector=192, special=48),
    Case("log_softmax", [N], [N], {"axis": 1}, vector=192, special=56),  # 48 exponentials, 2 * 4 logarithms
    Case("hardmax", [N], [N], vector=96),
]

IMAGE = f(2, 3, 4, 4)  # 96 elements
HALF = f(2, 3, 2, 2)  # 24 elements
WINDOW: dict[str, Attribute] = {"kernel_shape": (2, 2), "strides": (2, 2)}
POOLING = [
    Case("max_pool", [IMAGE], [HALF, t("int64", 2, 3, 2, 2)], WINDOW, vector=72, writes=(96, 192)),  # 3 comparisons
    Case("average_pool", [IMAGE], [HALF], WINDOW, vector=96),  # 3 additions, 1 division
    Case("lp_pool", [IMAGE], [HALF], {**WINDOW, "p": 2}, vector=168, special=24),  # 4 squares, 3 additions, a root
    Case("lp_pool", [IMAGE], [HALF], {**WINDOW, "p": 1}, vector=168),
    # p = 3: 4 powers (1, 2), 3 additions, root (1, 2): 8 operations and 10 transcendentals.
    Case("lp_pool", [IMAGE], [HALF], {**WINDOW, "p": 3}, vector=192, special=240),
    Case("global_max_pool", [IMAGE], [f(2, 3, 1, 1)], vector=90),  # 6 maps, 15 comparisons
    Case("global_average_pool", [IMAGE], [f(2, 3, 1, 1)], vector=96),
    Case("global_lp_pool", [IMAGE], [f(2, 3, 1, 1)], {"p": 2}, vector=186, special=6),  # 96 squares, 90 additions
    Case("max_unpool", [HALF, i(2, 3, 2, 2)], [IMAGE], WINDOW),
    Case("max_roi_pool", [IMAGE, f(5, 5)], [f(5, 3, 2, 2)], vector=180),  # 5 * 3 maps of 16, 4 bins: 12 comparisons each
    # 60 results, 4 samples of 9 operations and 4 for the mean; reads all 96 elements.
    Case("roi_align", [IMAGE, f(5, 4), i(5)], [f(5, 3, 2, 2)], {"sampling_ratio": 2}, vector=2400, reads=(384, 80, 40)),
    # One region of one bin: 3 results, 1 sample, reads 4 * 3 elements.
    Case("roi_align", [IMAGE, f(1, 4), i(1)], [f(1, 3, 1, 1)], {"sampling_ratio": 1}, vector=30, reads=(48, 16, 8)),
]

SMALL = t("int8", 2, 3)
QUANTIZATION = [
    Case("quantize", [X, f(), t("int8")], [SMALL], vector=30, reads=(24, 4, 1), writes=(6,)),  # scale, round, zero, 2 clips
    Case("quantize", [X, f()], [t("fp8e4m3", 2, 3)], vector=24, writes=(6,)),
    Case("dequantize", [SMALL, f(), t("int8")], [X], vector=18, reads=(6, 4, 1), writes=(24,)),  # convert, zero, scale
    Case("dequantize", [t("int4", 3, 3), f()], [f(3, 3)], vector=18, reads=(5, 4)),  # 9 * 4 bits are 5 bytes
    # Per tensor: 7 * 6 + 5; per row without a zero point: 6 * 6 + 2 rows.
    Case("quantize_dynamic", [X], [t("uint8", 2, 3), f(), t("uint8")], vector=47),
    Case("quantize_dynamic", [X], [SMALL, f(2, 1)], vector=38),
]

TABLE = f(10, 4)  # 160 bytes
GATHER = [
    Case("gather", [TABLE, i(2, 3)], [f(2, 3, 4)], {"axis": 0}, reads=(96, 48)),  # 6 rows of 16 bytes
    Case("gather", [f(2, 4), i(9)], [f(9, 4)], reads=(32, 72)),  # 9 rows from a table of 2: at most the table
    Case("gather_elements", [TABLE, i(2, 4)], [f(2, 4)], reads=(32, 64)),
    Case("gather_nd", [TABLE, i(3, 1)], [f(3, 4)], reads=(48, 24)),
    Case("scatter_elements", [TABLE, i(2, 4), f(2, 4)], [TABLE], reads=(160, 64, 32), writes=(160,)),
    Case("scatter_nd", [TABLE, i(3, 1), f(3, 4)], [TABLE], {"reduction": "add"}, vector=12, reads=(160, 24, 48)),
    Case("scatter_nd", [TABLE, i(3, 1), f(3, 4)], [TABLE], {"in_place": True}, reads=(0, 24, 48), writes=(48,)),
    Case("tensor_scatter", [f(2, 8, 4), f(2, 1, 4), i(2)], [f(2, 8, 4)], reads=(0, 32, 16), writes=(32,)),
]
