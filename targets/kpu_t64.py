"""Stillwater KPU T64: the T256's design at a quarter of the tiles and 475 MHz, for a few watts. Design intent, all assumed."""

from __future__ import annotations

from edpc.target import Memory, Target, Unit
from targets.kpu import (
    CATALOGUE,
    MATRIX,
    MODIFIERS,
    NOTES,
    PRECISIONS,
    RULES,
    SETTINGS,
    SPECIAL,
    VECTOR,
    design,
    given,
    level,
    mesh,
    peak,
    runtime,
    tile,
)

TARGET = Target(
    name="kpu-t64",
    summary="KPU T64 (design intent): 64 domain-flow tiles of 32 x 32, 8 GB LPDDR5",
    architecture="domain-flow",
    units=(
        Unit(
            "matrix", {"int4": peak(85.6e12), "int8": peak(62.3e12), "bf16": peak(31.1e12), "fp32": peak(3.16e12)}, MATRIX.energy
        ),
        Unit("vector", {"int8": peak(31.1e12), "bf16": peak(15.6e12), "fp32": peak(1.58e12)}, VECTOR.energy),
        Unit("special", {"bf16": peak(1.95e12), "fp32": peak(0.2e12)}, SPECIAL.energy),
    ),
    memories=(
        level("l1", "local", 64 * 4 * 2**10, 1.95e12, 0.3e-12, 0.4e-12),
        level("l2", "middle", 64 * 32 * 2**10, 1.95e12, 0.8e-12, 1.0e-12),
        level("l3", "llc", 64 * 256 * 2**10, 1.95e12, 2.0e-12, 2.5e-12),
        Memory(
            "lpddr5",
            "dram",
            given(8e9, "B"),
            design(64e9, "B/s", 32e9, 128e9),
            design(
                10e-12, "J/B", 8e-12, 40e-12, f"{CATALOGUE}: 1.25 pJ/bit, of which published devices take three to four times"
            ),
            design(12e-12, "J/B", 9.6e-12, 48e-12, f"{CATALOGUE}: 1.2 times a read"),
        ),
    ),
    static_power=design(0.46, "W", 0.23, 2.3, f"{CATALOGUE}: idle"),
    parameters={
        **tile("int8", 44, 32, 32, int4=4096, int8=2048, bf16=1024),
        **tile("bf16", 13, 32, 32, int8=2048, bf16=1024, fp32=512),
        **tile("matrix", 7, 32, 32, int8=2048, bf16=1024),
        **runtime(64, 32, 32, low=(350e6, 2.2), default=(475e6, 4.3), high=(550e6, 7.1)),
        **mesh(8, 8, 16, 64e9),
    },
    settings=SETTINGS,
    precisions=PRECISIONS,
    rules=RULES,
    modifiers=MODIFIERS,
    notes=NOTES,
)
