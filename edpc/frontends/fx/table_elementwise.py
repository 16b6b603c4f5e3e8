"""ATen's elementwise functions: one line each."""

from __future__ import annotations

from edpc.frontends.fx import options as o
from edpc.frontends.fx.rows import Chain, Lowering, Row

X = ("self",)
XY = ("self", "other")

_UNARY = (
    "abs acos acosh asin asinh atan atanh bitwise_not ceil cos cosh erf exp expm1 floor log log1p logical_not mish neg "
    "reciprocal relu round rsqrt selu sigmoid sign sin sinh softplus sqrt tan tanh"
)
_BINARY = "bitwise_and bitwise_or bitwise_xor logical_and logical_or logical_xor mul"

ELEMENTWISE: dict[str, Lowering] = {
    **{name: Row(name, X) for name in _UNARY.split()},
    **{name: Row(name, XY) for name in _BINARY.split()},
    "__and__": Row("bitwise_and", XY),
    "__or__": Row("bitwise_or", XY),
    "__xor__": Row("bitwise_xor", XY),
    "__lshift__": Row("bit_shift", XY),
    "__rshift__": Row("bit_shift", XY),
    "absolute": Row("abs", X),
    "atan2": Chain(("div", "atan"), XY),
    "bitwise_left_shift": Row("bit_shift", XY),
    "bitwise_right_shift": Row("bit_shift", XY),
    "celu": Row("celu", X, o.numbers(alpha=("alpha", 1.0))),
    "clamp_max": Row("min", ("self", "max")),
    "clamp_min": Row("max", ("self", "min")),
    "diff": Row("sub", X),
    "elu": Row("elu", X, o.numbers(alpha=("alpha", 1.0))),
    "eq": Row("equal", XY),
    "erfc": Chain(("erf", "sub")),
    "exp2": Row("exp", X),
    "floor_divide": Chain(("div", "floor"), XY),
    "fmax": Row("max", XY),
    "fmin": Row("min", XY),
    "fmod": Row("mod", XY),
    "ge": Row("greater_equal", XY),
    "gelu": Row("gelu", X, o.word("approximate", "approximate", "none")),
    "gt": Row("greater", XY),
    "hardshrink": Row("shrink", X),
    "hardsigmoid": Row("hard_sigmoid", X),
    "hardswish": Row("hard_swish", X),
    "hardtanh": Row("clip", X, o.numbers(min=("min_val", -1.0), max=("max_val", 1.0))),
    "isfinite": Row("is_inf", X),
    "isinf": Row("is_inf", X),
    "isnan": Row("is_nan", X),
    "le": Row("less_equal", XY),
    "leaky_relu": Row("leaky_relu", X, o.numbers(alpha=("negative_slope", 0.01))),
    "log10": Row("log", X),
    "log2": Row("log", X),
    "log_sigmoid": Chain(("neg", "softplus", "neg")),
    "logaddexp": Chain(("exp", "add", "log"), XY),
    "logit": Chain(("div", "log")),
    "lt": Row("less", XY),
    "masked_fill": Row("where", ("mask", "self", "value")),
    "maximum": Row("max", XY),
    "minimum": Row("min", XY),
    "multiply": Row("mul", XY),
    "nan_to_num": Chain(("is_nan", "where")),
    "ne": Row("not_equal", XY),
    "negative": Row("neg", X),
    "not_equal": Row("not_equal", XY),
    "pow": Row("pow", ("self", "exponent"), o.exponent),
    "prelu": Row("prelu", ("self", "weight")),
    "_prelu_kernel": Row("prelu", ("self", "weight")),
    "relu6": Row("clip", X, o.fixed(min=0.0, max=6.0)),
    "remainder": Row("mod", XY),
    "rrelu": Row("leaky_relu", X),
    "rrelu_with_noise": Row("leaky_relu", X),
    "sgn": Row("sign", X),
    "silu": Row("silu", X),
    "softshrink": Row("shrink", X),
    "special_erf": Row("erf", X),
    "special_expm1": Row("expm1", X),
    "square": Row("pow", X, o.fixed(exponent=2)),
    "threshold": Row("thresholded_relu", X),
    "true_divide": Row("div", XY),
    "trunc": Row("floor", X),
    "fix": Row("floor", X),
    "xlogy": Chain(("log", "mul"), XY),
}
