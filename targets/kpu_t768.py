"""Stillwater KPU T768: 7 nm, HBM3, smaller meshes and matrix tiles of 64-lane cells. Design intent, all assumed."""

from __future__ import annotations

from edpc.target import Memory, Target, Unit
from targets.kpu import (
    CATALOGUE,
    MODIFIERS,
    NOTES,
    PRECISIONS,
    RULES,
    SETTINGS,
    design,
    given,
    level,
    mesh,
    peak,
    per_mac,
    runtime,
    tile,
)

TARGET = Target(
    name="kpu-t768",
    summary="KPU T768 (design intent): 768 domain-flow tiles of 16 x 8, matrix tiles of 8 x 8 cells, 64 GB HBM3",
    architecture="domain-flow",
    units=(
        Unit(
            "matrix",
            rate={"int4": peak(756.1e12), "int8": peak(1353.8e12), "bf16": peak(676.9e12), "fp32": peak(27.1e12)},
            energy={"int4": per_mac(0.065e-12), "int8": per_mac(0.13e-12), "bf16": per_mac(0.253e-12), "fp32": per_mac(1.1e-12)},
        ),
        Unit(
            "vector",
            rate={"int8": peak(243e12), "bf16": peak(122e12), "fp32": peak(13.6e12)},
            energy={"int8": per_mac(0.13e-12), "bf16": per_mac(0.253e-12), "fp32": per_mac(1.1e-12)},
        ),
        Unit(
            "special",
            rate={"bf16": peak(15.2e12), "fp32": peak(1.7e12)},
            energy={"bf16": per_mac(2e-12), "fp32": per_mac(8.8e-12)},
        ),
    ),
    memories=(
        level("l1", "local", 768 * 4 * 2**10, 67.6e12, 0.3e-12, 0.4e-12),
        level("l2", "middle", 768 * 32 * 2**10, 67.6e12, 0.8e-12, 1.0e-12),
        level("l3", "llc", 768 * 256 * 2**10, 67.6e12, 2.0e-12, 2.5e-12),
        Memory(
            "hbm3",
            "dram",
            given(64e9, "B"),
            design(1.638e12, "B/s", 0.819e12, 3.35e12),
            design(
                6e-12, "J/B", 4.8e-12, 48e-12, f"{CATALOGUE}: 0.75 pJ/bit, of which published devices take four to eight times"
            ),
            design(7.2e-12, "J/B", 5.8e-12, 58e-12, f"{CATALOGUE}: 1.2 times a read"),
        ),
    ),
    static_power=design(3.35, "W", 1.7, 17.0, f"{CATALOGUE}: idle"),
    parameters={
        **tile("int8", 537, 16, 8, int4=1024, int8=512, bf16=256),
        **tile("bf16", 154, 16, 8, int8=512, bf16=256, fp32=128),
        **tile("matrix", 77, 8, 8, int8=8192, bf16=4096),
        **runtime(768, 16, 16, low=(1.075e9, 21.1), default=(1.375e9, 41.5), high=(1.55e9, 68.3)),
        **mesh(32, 24, 32, 1.024e12),
    },
    settings=SETTINGS,
    precisions=PRECISIONS,
    rules=RULES,
    modifiers=MODIFIERS,
    notes=NOTES,
)
