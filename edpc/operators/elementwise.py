"""Elementwise kinds: one table of what each function costs per element of the result.

`vector_ops` and `transcendentals` follow from the formula beside them: every addition, multiplication, division, comparison,
selection and conversion is one vector operation, every exponential, logarithm, root, power of e and trigonometric or
hyperbolic function one transcendental. Operands are read once, whatever is broadcast.
"""

from __future__ import annotations

from typing import NamedTuple

from edpc.ir import Operator, Work
from edpc.operators.counting import counted, number, tally, text
from edpc.operators.kind import Family, OperatorKind


class Function(NamedTuple):
    """An elementwise function: its counts per element of the result, its operands and the formula that is counted."""

    vector_ops: int
    transcendentals: int
    operands: int
    formula: str


ARITHMETIC: dict[str, Function] = {
    "add": Function(1, 0, 1, "a + b"),
    "sub": Function(1, 0, 1, "a - b"),
    "mul": Function(1, 0, 1, "a * b"),
    "div": Function(1, 0, 1, "a / b"),
    "mod": Function(4, 0, 1, "a - floor(a / b) * b"),
    "min": Function(1, 0, 1, "min(a, b, ...)"),
    "max": Function(1, 0, 1, "max(a, b, ...)"),
    "sum_n": Function(1, 0, 1, "a + b + ..."),
    "mean_n": Function(1, 0, 1, "(a + b + ...) / n"),
    "pow": Function(1, 2, 1, "exp(b * log(a))"),
    "neg": Function(1, 0, 1, "-x"),
    "abs": Function(1, 0, 1, "|x|"),
    "sign": Function(1, 0, 1, "sign(x)"),
    "floor": Function(1, 0, 1, "floor(x)"),
    "ceil": Function(1, 0, 1, "ceil(x)"),
    "round": Function(1, 0, 1, "round(x)"),
    "reciprocal": Function(1, 0, 1, "1 / x"),
    "cast": Function(1, 0, 1, "x as another element type"),
    "bias": Function(1, 0, 2, "x + parameter per channel"),
}

TRANSCENDENTAL: dict[str, Function] = {
    "sqrt": Function(0, 1, 1, "sqrt(x)"),
    "rsqrt": Function(0, 1, 1, "1 / sqrt(x), one function"),
    "exp": Function(0, 1, 1, "exp(x)"),
    "log": Function(0, 1, 1, "log(x)"),
    "log1p": Function(1, 1, 1, "log(1 + x)"),
    "expm1": Function(1, 1, 1, "exp(x) - 1"),
    "erf": Function(0, 1, 1, "erf(x)"),
    "sin": Function(0, 1, 1, "sin(x)"),
    "cos": Function(0, 1, 1, "cos(x)"),
    "tan": Function(0, 1, 1, "tan(x)"),
    "asin": Function(0, 1, 1, "asin(x)"),
    "acos": Function(0, 1, 1, "acos(x)"),
    "atan": Function(0, 1, 1, "atan(x)"),
    "sinh": Function(0, 1, 1, "sinh(x)"),
    "cosh": Function(0, 1, 1, "cosh(x)"),
    "asinh": Function(0, 1, 1, "asinh(x)"),
    "acosh": Function(0, 1, 1, "acosh(x)"),
    "atanh": Function(0, 1, 1, "atanh(x)"),
}

ACTIVATIONS: dict[str, Function] = {
    "relu": Function(1, 0, 1, "max(x, 0)"),
    "leaky_relu": Function(3, 0, 1, "x < 0 ? alpha * x : x"),
    "prelu": Function(3, 0, 2, "x < 0 ? slope * x : x"),
    "thresholded_relu": Function(2, 0, 1, "x > alpha ? x : 0"),
    "clip": Function(2, 0, 1, "min(max(x, low), high)"),
    "elu": Function(4, 1, 1, "x < 0 ? alpha * (exp(x) - 1) : x"),
    "selu": Function(5, 1, 1, "gamma * elu(x)"),
    "celu": Function(6, 1, 1, "max(x, 0) + min(0, alpha * (exp(x / alpha) - 1))"),
    "gelu": Function(4, 1, 1, "0.5 * x * (1 + erf(x / sqrt(2)))"),
    "quick_gelu": Function(5, 1, 1, "x * sigmoid(1.702 * x)"),
    "sigmoid": Function(3, 1, 1, "1 / (1 + exp(-x))"),
    "hard_sigmoid": Function(4, 0, 1, "max(0, min(1, alpha * x + beta))"),
    "silu": Function(4, 1, 1, "x * sigmoid(x)"),
    "hard_swish": Function(5, 0, 1, "x * hard_sigmoid(x)"),
    "swiglu": Function(5, 1, 1, "silu(a) * b"),
    "tanh": Function(0, 1, 1, "tanh(x)"),
    "softplus": Function(1, 2, 1, "log(1 + exp(x))"),
    "softsign": Function(3, 0, 1, "x / (1 + |x|)"),
    "mish": Function(2, 3, 1, "x * tanh(softplus(x))"),
    "shrink": Function(6, 0, 1, "x < -lambda ? x + bias : x > lambda ? x - bias : 0"),
    "dropout": Function(3, 1, 1, "uniform() < keep ? x * scale : 0, in training (at inference it is an identity)"),
}

LOGIC: dict[str, Function] = {
    "equal": Function(1, 0, 1, "a == b"),
    "not_equal": Function(1, 0, 1, "a != b"),
    "greater": Function(1, 0, 1, "a > b"),
    "less": Function(1, 0, 1, "a < b"),
    "greater_equal": Function(1, 0, 1, "a >= b"),
    "less_equal": Function(1, 0, 1, "a <= b"),
    "logical_and": Function(1, 0, 1, "a and b"),
    "logical_or": Function(1, 0, 1, "a or b"),
    "logical_xor": Function(1, 0, 1, "a xor b"),
    "logical_not": Function(1, 0, 1, "not x"),
    "bitwise_and": Function(1, 0, 1, "a & b"),
    "bitwise_or": Function(1, 0, 1, "a | b"),
    "bitwise_xor": Function(1, 0, 1, "a ^ b"),
    "bitwise_not": Function(1, 0, 1, "~x"),
    "bit_shift": Function(1, 0, 1, "a << b or a >> b"),
    "is_nan": Function(1, 0, 1, "x is not a number"),
    "is_inf": Function(1, 0, 1, "x is infinite"),
    "where": Function(1, 0, 1, "condition ? a : b"),
}

FUNCTIONS: dict[str, Function] = {**ARITHMETIC, **TRANSCENDENTAL, **ACTIVATIONS, **LOGIC}

# Attributes that change the count (see `per_element`).
_ATTRIBUTES = {
    "gelu": "; approximate (none; tanh: 8 operations and 1 transcendental)",
    "silu": "; alpha (1 operation more unless it is 1)",
    "swiglu": "; alpha (1 operation more unless it is 1)",
    "pow": "; exponent (a known constant: repeated squaring, or one root for 0.5)",
}
# Functions of any number of operands: one step for each operand after the first.
_CHAINS = frozenset({"add", "mul", "sum_n", "min", "max", "logical_and", "logical_or", "logical_xor"})


def per_element(op: Operator) -> tuple[int, int]:
    """(vector_ops, transcendentals) of an elementwise operator per element of its result.

    Attributes that change the count: `approximate="tanh"` of gelu (0.5 x (1 + tanh(c (x + 0.044715 x^3))): 8 and 1), `alpha`
    of silu and swiglu other than 1 (one multiplication more), and `exponent` of pow, a known constant: an integer is
    multiplied out by repeated squaring (and inverted if negative), 0.5 and -0.5 are one root.
    """
    vector, transcendental, _, _ = FUNCTIONS[op.kind]
    if op.kind in _CHAINS:
        return max(len(op.inputs) - 1, 0 if op.kind in {"sum_n", "min", "max"} else 1), 0
    if op.kind == "mean_n":
        return len(op.inputs), 0
    if op.kind == "gelu" and text(op, "approximate", "none") == "tanh":
        return 8, 1
    if op.kind in {"silu", "swiglu"} and number(op, "alpha", 1.0) != 1.0:
        return vector + 1, transcendental
    if op.kind == "pow" and op.attribute("exponent") is not None:
        return _power(number(op, "exponent", 1.0))
    return vector, transcendental


def _power(exponent: float) -> tuple[int, int]:
    if abs(exponent) == 0.5:
        return 0, 1
    if not float(exponent).is_integer():
        return 1, 2
    n = abs(int(exponent))
    # Squarings for the length of the exponent, one multiplication for each further set bit, one division if negative.
    return max(n.bit_length() - 1, 0) + max(n.bit_count() - 1, 0) + (exponent < 0), 0


def _elementwise(op: Operator) -> Work:
    vector, transcendental = per_element(op)
    count = op.outputs[0].numel
    arithmetic = op.inputs
    if op.kind == "where":  # the condition only steers the choice
        arithmetic = op.inputs[1:]
    elif op.kind == "cast":  # converts in the wider of the two formats
        arithmetic = (*op.inputs, *op.outputs)
    return counted(op, vector_ops=vector * count, transcendentals=transcendental * count, arithmetic=arithmetic)


def _summary(name: str, function: Function) -> str:
    """The formula names the operands in the order of their slots."""
    count = tally(function.vector_ops, function.transcendentals)
    if name in _CHAINS:
        count += " for every operand after the first"
    elif name == "mean_n":
        count += " for every operand"
    return f"{function.formula}{_ATTRIBUTES.get(name, '')}: {count} per element of the result."


DEFINITIONS: tuple[OperatorKind, ...] = (
    *(OperatorKind(name, Family.ELEMENTWISE, _elementwise, _summary(name, f), f.operands) for name, f in FUNCTIONS.items()),
)

# Functions of one tensor that a network puts after a product.
ACTIVATION = frozenset(ACTIVATIONS) - {"dropout", "swiglu"}
