"""KPU T256 as a single-roofline estimator of 2025 had it: a historical reference, no model of the machine.

It fuses nothing. Every operator reads its inputs and weights from DRAM and writes its results there, in fp32, at the machine's
int8 peak and full bandwidth; nothing is launched. Six constants reproduce the figures it published.
"""

from __future__ import annotations

from collections.abc import Mapping

from edpc.target import Basis, Memory, Precision, Quantity, Target, Unit

SOURCE = "single-roofline estimator of 2025: constant that reproduces its published ResNet-18 figures"
UNREAD = "not read by the roofline model"
NOTE = "historical reference of 2025: no fusion, one peak for all arithmetic, no caches, no launches beyond a fixed time"


def constant(value: float, unit: str, source: str = SOURCE) -> Quantity:
    """A constant of the estimator: a choice it made, exact because it is the definition of the reference."""
    return Quantity(value, unit, Basis.LITERATURE, source)


def reference(name: str, summary: str, capacity: float, figures: Mapping[str, float]) -> Target:
    """A target whose one unit and one memory are the estimator's.

    Args:
        name: of the target.
        summary: one line.
        capacity: of DRAM, B.
        figures: `peak` (FLOP/s), `flop` (J/FLOP), `bandwidth` (B/s), `byte` (J/B), `static` (W) and `launch` (s).
    """
    byte = constant(figures["byte"], "J/B")
    return Target(
        name=name,
        summary=summary,
        reference=True,
        architecture="roofline",
        units=(
            Unit(
                "vector",
                rate={"fp32": constant(figures["peak"], "FLOP/s")},
                energy={"fp32": constant(figures["flop"], "J/FLOP")},
            ),
        ),
        memories=(Memory("dram", "dram", constant(capacity, "B", UNREAD), constant(figures["bandwidth"], "B/s"), byte, byte),),
        static_power=constant(figures["static"], "W"),
        parameters={"launch": constant(figures["launch"], "s")},
        precisions={"fp32": Precision("fp32", "fp32", "fp32", "fp32", "fp32")},
        rules=(),
        notes=(NOTE,),
    )


TARGET = reference(
    "ref-kpu-2025",
    "historical reference: the KPU T256 of a single-roofline estimator of 2025, fp32 on an int8 peak",
    32e9,
    {"peak": 33.8e12, "flop": 0.09e-12, "bandwidth": 256e9, "byte": 11e-12, "static": 9.0, "launch": 0.0},
)
