"""Quantities: what people write is read exactly, what edpc writes can be read back."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edpc.errors import UsageError
from edpc.units import format_quantity, parse_quantity

UNITS = ["B", "B/s", "FLOP/s", "OP/s", "J", "J/B", "J/FLOP", "W", "s", "Hz", "J*s"]


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [
        ("4.8TB/s", "B/s", 4.8e12),
        ("3.35 TB/s", "B/s", 3.35e12),
        ("700W", "W", 700.0),
        ("2.5us", "s", 2.5e-6),
        ("2.5µs", "s", 2.5e-6),
        ("50MiB", "B", 50 * 2**20),
        ("0.49pJ/FLOP", "J/FLOP", 0.49e-12),
        ("0.3 pJ/OP", "J/FLOP", 0.3e-12),
        ("1.2e12", "B/s", 1.2e12),
        (" .5 ", "s", 0.5),
        ("80%", "1", 0.8),
        ("0.8", "1", 0.8),
        ("13.1pJ/bit", "J/B", 104.8e-12),  # 13.1 pJ per bit times 8 bits per byte
        ("400Gb/s", "B/s", 50e9),  # 400 Gbit/s over 8
        ("989.4TFLOPS", "FLOP/s", 989.4e12),
        ("1979TOPS", "FLOP/s", 1979e12),
        ("1.83GHz", "Hz", 1.83e9),
        ("0.5pJ/flit", "J/flit", 0.5e-12),
        ("64B/cycle", "B/cycle", 64.0),
        ("8pJ/B", "J/bit", 1e-12),
        ("0", "W", 0.0),
        ("0e999999999", "W", 0.0),
        ("-1ns", "s", -1e-9),
        ("5EB", "B", 5e18),
    ],
)
def test_reads_what_people_write(text: str, unit: str, value: float) -> None:
    assert parse_quantity(text, unit) == value


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("fast", "B/s"),
        ("", "B/s"),
        ("nan", "W"),
        ("inf", "W"),
        ("1e999", "W"),
        ("1e308 EB", "B"),
        ("4.8TB", "B/s"),
        ("700W", "B/s"),
        ("50mB", "B"),  # a thousandth of a byte
        ("50KB", "B"),  # 1000 or 1024? say kB or KiB
        ("2.5 s/B", "s"),
        ("80%", "W"),
        ("1 2W", "W"),
    ],
)
def test_refuses_with_an_example(text: str, unit: str) -> None:
    with pytest.raises(UsageError, match="write for example"):
        parse_quantity(text, unit)


def test_tiny_exponents_are_read_without_big_arithmetic() -> None:
    assert parse_quantity("1e-999999999", "s") == 0.0


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (2.311e-8, "J*s", "23.11 nJ*s"),
        (3.35e12, "B/s", "3.350 TB/s"),
        (1814073344, "FLOP", "1.814 GFLOP"),
        (1814073344, "", "1.814 G"),
        (0.0004610, "s", "461.0 us"),
        (12346.0, "s", "12350 s"),
        (999.96e-6, "s", "1.000 ms"),
        (0.99996, "s", "1.000 s"),
        (9.9996, "W", "10.00 W"),
        (0.25, "B", "0.2500 B"),
        (0.0, "J", "0 J"),
        (-2.5e-6, "J", "-2.500 uJ"),
        (0.123456, "1", "0.1235"),
        (4.9e-13, "J/FLOP", "490.0 fJ/FLOP"),
        (math.inf, "W", "inf W"),
        (64, "FLOP", "64 FLOP"),
        (999, "", "999"),
        (1000, "", "1.000 k"),
        (7, "1", "7"),
    ],
)
def test_writes_engineering_prefixes(value: float, unit: str, text: str) -> None:
    assert format_quantity(value, unit) == text


@given(st.floats(min_value=1e-17, max_value=1e20), st.sampled_from(UNITS))
def test_four_digits_read_back_within_their_rounding(value: float, unit: str) -> None:
    whole = unit.startswith(("B", "FLOP", "OP"))
    if whole and value < 1:
        value += 1
    assert parse_quantity(format_quantity(value, unit), unit) == pytest.approx(value, rel=5.001e-4)


@given(st.floats(min_value=1e-17, max_value=1e20), st.sampled_from(UNITS))
def test_seventeen_digits_read_back_exactly_enough(value: float, unit: str) -> None:
    assert parse_quantity(format_quantity(value, unit, digits=17), unit) == pytest.approx(value, rel=1e-14)
