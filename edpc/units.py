"""Quantities with units: read from people (`3.35 TB/s`), written for people (`23.11 nJ*s`). Inside edpc everything is SI.

A unit is a product of atoms over an optional atom: `B`, `B/s`, `FLOP/s`, `J`, `J/B`, `J*s`, `W`, `s`, `Hz`, `1`. Reading is
exact: the decimal the user wrote is scaled as a fraction and rounded once.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal
from fractions import Fraction

from edpc.errors import UsageError

_SMALL = {"a": -18, "f": -15, "p": -12, "n": -9, "u": -6, "µ": -6, "μ": -6, "m": -3}
_LARGE = {"k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_PREFIXES: dict[str, Fraction] = (
    {"": Fraction(1)}
    | {prefix: Fraction(10) ** exponent for prefix, exponent in (_SMALL | _LARGE).items()}
    | {prefix: Fraction(2**exponent) for prefix, exponent in _BINARY.items()}
)

# Spellings of atoms: (the atom they stand for, how many of it one is). An operation counts as a FLOP: edpc rates integer and
# floating-point units alike, a multiply-accumulate being two.
_ATOMS: dict[str, tuple[str, Fraction]] = {
    "B": ("B", Fraction(1)),
    "byte": ("B", Fraction(1)),
    "bytes": ("B", Fraction(1)),
    "bit": ("B", Fraction(1, 8)),
    "bits": ("B", Fraction(1, 8)),
    "b": ("B", Fraction(1, 8)),
    "FLOP": ("FLOP", Fraction(1)),
    "OP": ("FLOP", Fraction(1)),
    "J": ("J", Fraction(1)),
    "W": ("W", Fraction(1)),
    "s": ("s", Fraction(1)),
    "Hz": ("Hz", Fraction(1)),
}
_WHOLE = frozenset({"B", "FLOP", "OP"})  # there is no thousandth of a byte or of an operation, so `mB` is a slip for `MB`
_RATES = {"FLOPS": "FLOP/s", "FLOPs": "FLOP/s", "OPS": "OP/s"}  # `TFLOPS` as data sheets print it

_EXAMPLES = {
    "B": "50MiB or 80GB",
    "B/s": "3.35TB/s",
    "FLOP/s": "989.4TFLOP/s",
    "OP/s": "1979TOP/s",
    "J": "50pJ",
    "J/B": "13.1pJ/bit or 10pJ/B",
    "J/FLOP": "0.49pJ/FLOP",
    "W": "700W",
    "s": "2.5us",
    "Hz": "1.83GHz",
    "1": "0.8 or 80%",
}
_NUMBER = re.compile(r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*(.*?)\s*", re.DOTALL)

_ENGINEERING = ("a", "f", "p", "n", "u", "m", "", "k", "M", "G", "T", "P", "E")


def parse_quantity(text: str, unit: str) -> float:
    """The value of `text` in `unit`; a bare number is taken to be in that unit already.

    Takes SI prefixes from atto to exa, binary ones from Ki to Ei, bits for bytes and OP for FLOP; `80%` where the unit is `1`.

    Args:
        text: such as `4.8TB/s`, `3.35 TB/s`, `2.5us`, `50MiB`, `0.49 pJ/FLOP`, `1.2e12`.
        unit: the unit wanted, such as `B/s`.

    Raises:
        UsageError: not a number, not finite, or a unit that is not a multiple of the one wanted; gives an example.
    """
    match = _NUMBER.fullmatch(text)
    number, written = match.groups() if match else ("nan", "")
    if not math.isfinite(float(number)):
        raise UsageError(f"{text!r} is not a number in {unit}; write for example {_example(unit)}")
    scale = _scale(written, unit) if written else Fraction(1)
    if scale is None:
        raise UsageError(f"{text!r} is not given in {unit}; write for example {_example(unit)}")
    if float(number) == 0.0:
        return 0.0
    try:
        return float(Fraction(Decimal(number)) * scale)
    except OverflowError:
        raise UsageError(f"{text!r} is too large a number; write for example {_example(unit)}") from None


def format_quantity(value: float, unit: str, digits: int = 4) -> str:
    """The value with an engineering prefix and `digits` significant digits: `23.11 nJ*s`, `3.350 TB/s`, `1.814 GFLOP`.

    The prefix goes to the unit's first atom. Bytes and operations take none below one, seconds none above; the unit `1` takes
    none at all, and an empty unit means a count (`1.814 G`). An integer below a thousand is written as it is.
    """
    if isinstance(value, int) and abs(value) < 1000:
        return f"{value} {unit}".removesuffix(" 1").rstrip()
    if unit == "1" or value == 0 or not math.isfinite(value):
        number = f"{value:.{digits}g}"
        return number if unit in ("", "1") else f"{number} {unit}"
    first = re.split(r"[/*]", unit, maxsplit=1)[0]
    lowest = 0 if first in _WHOLE or not first else -6
    highest = 0 if first == "s" else 6
    rounded = Decimal(f"{value:.{digits - 1}e}")  # rounded before the prefix is chosen: 999.96 us is 1.000 ms
    step = max(lowest, min(highest, rounded.adjusted() // 3))
    decimals = max(digits - 1 - rounded.adjusted() + 3 * step, 0)
    number = f"{rounded.scaleb(-3 * step):.{decimals}f}"
    prefix = _ENGINEERING[step + 6]
    return f"{number} {prefix}{unit}".rstrip()


def _example(unit: str) -> str:
    return _EXAMPLES.get(unit, f"1.5{unit}")


def _scale(written: str, unit: str) -> Fraction | None:
    """How many of `unit` one of `written` is; None where they do not measure the same."""
    if unit == "1":
        return Fraction(1, 100) if written == "%" else None
    for rate, spelled in _RATES.items():
        if written.endswith(rate):
            written = written.removesuffix(rate) + spelled
    wanted_parts = _parts(unit)
    given_parts = _parts(written)
    if [len(side) for side in wanted_parts] != [len(side) for side in given_parts]:
        return None
    scale = Fraction(1)
    for wanted_side, given_side, power in zip(wanted_parts, given_parts, (1, -1), strict=True):
        for wanted, given in zip(wanted_side, given_side, strict=True):
            name, size = _ATOMS.get(wanted, (wanted, Fraction(1)))
            found = _atom(given, name)
            if found is None:
                return None
            scale *= (found / size) ** power
    return scale


def _parts(unit: str) -> tuple[list[str], list[str]]:
    """Atoms above and below the stroke."""
    over, _, under = unit.partition("/")
    return [a.strip() for a in over.split("*")], [a.strip() for a in under.split("*")] if under else []


def _atom(written: str, name: str) -> Fraction | None:
    """How many of the atom `name` the prefixed atom `written` is; None where it is another atom."""
    for spelling, (atom, size) in (_ATOMS | {name: _ATOMS.get(name, (name, Fraction(1)))}).items():
        prefix = written.removesuffix(spelling)
        if atom == name and written.endswith(spelling) and prefix in _PREFIXES and not (name in _WHOLE and prefix in _SMALL):
            return _PREFIXES[prefix] * size
    return None
