"""Sizes that depend on free dimensions: their expressions evaluated without running anything they say.

The notation is that of Python calls (`FloorDiv(Symbol('s0', integer=True), Integer(2))`), parsed as syntax and walked: a name
that is not listed here makes the size unknown, so a hostile archive can at worst make a shape unknown.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from functools import reduce
from math import prod

from edpc.frontends.fx.program import Size

# Longer than any expression of sizes a network has; a deeper one could exhaust the parser's stack.
MAX_EXPRESSION = 4096
_LARGEST = 2**63
_MAX_EXPONENT = 64

Number = int | float


def _power(base: Number, exponent: Number) -> Number:
    if abs(exponent) > _MAX_EXPONENT or abs(base) > _LARGEST:
        raise ValueError
    result: Number = base**exponent
    return result


_FUNCTIONS: dict[str, Callable[..., Number]] = {
    "Add": lambda *terms: sum(terms),
    "Mul": lambda *factors: prod(factors),
    "Pow": _power,
    "PowByNatural": _power,
    "FloorDiv": lambda a, b: a // b,
    "CleanDiv": lambda a, b: a // b,
    "CeilDiv": lambda a, b: -(-a // b),
    "IntTrueDiv": lambda a, b: a / b,
    "FloatTrueDiv": lambda a, b: a / b,
    "Rational": lambda a, b: a / b,
    "Mod": lambda a, b: a % b,
    "PythonMod": lambda a, b: a % b,
    "ModularIndexing": lambda a, b, c: a // b % c,
    "Max": lambda *terms: reduce(max, terms),
    "Min": lambda *terms: reduce(min, terms),
    "ToFloat": float,
    "Float": float,
    "Integer": int,
    "TruncToInt": int,
    "FloorToInt": lambda a: int(a // 1),
    "CeilToInt": lambda a: -int(-a // 1),
    "RoundToInt": round,
    "Abs": abs,
    "Identity": lambda a: a,
}


class Sizes:
    """Evaluates sizes, given the free dimensions that are set."""

    def __init__(self, known: Mapping[str, int]) -> None:
        self._known = dict(known)
        self._found: dict[str, int | None] = {}

    def __call__(self, size: Size | None) -> int | None:
        """The size as a number; None where it depends on data or on a dimension that is not set."""
        if not isinstance(size, str):
            return size
        if size not in self._found:
            self._found[size] = self._evaluated(size)
        return self._found[size]

    def _evaluated(self, text: str) -> int | None:
        tree = _parsed(text)
        if tree is None:
            return None
        try:
            value = self._walk(tree)
            return int(value) if value is not None and abs(value) < _LARGEST else None
        except (ValueError, TypeError, ArithmeticError, RecursionError):
            return None

    def _walk(self, node: ast.expr) -> Number | None:
        if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
            return node.value
        if isinstance(node, ast.Constant) and isinstance(node.value, str):  # Float('0.5', precision=53)
            return float(node.value)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            inner = self._walk(node.operand)
            return None if inner is None else -inner
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            return None
        symbol = _symbol(node)
        if symbol is not None:
            return self._known.get(symbol)
        function = _FUNCTIONS.get(node.func.id)
        operands = [self._walk(each) for each in node.args]
        known = [each for each in operands if each is not None]
        return function(*known) if function is not None and len(known) == len(operands) else None


def symbols(size: Size | None) -> list[str]:
    """Names of the free dimensions in a size, in order of appearance."""
    tree = _parsed(size) if isinstance(size, str) else None
    if tree is None:
        return []
    found = [_symbol(node) for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return list(dict.fromkeys(name for name in found if name is not None))


def single_symbol(size: Size | None) -> str | None:
    """The free dimension that the size is, where it is nothing else."""
    tree = _parsed(size) if isinstance(size, str) else None
    return _symbol(tree) if isinstance(tree, ast.Call) else None


def _parsed(text: str) -> ast.expr | None:
    if len(text) > MAX_EXPRESSION:
        return None
    try:
        return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _symbol(call: ast.Call) -> str | None:
    if isinstance(call.func, ast.Name) and call.func.id == "Symbol" and call.args and isinstance(call.args[0], ast.Constant):
        return str(call.args[0].value)
    return None
