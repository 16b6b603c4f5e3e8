"""What it takes to turn the H100 into another NVIDIA GPU: the figures of its data sheet, and its clock.

Constants of kernels are kept; those that count clocks of a multiprocessor (its bandwidths, latencies of a step) follow the clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from edpc.target import Memory, Quantity, Target, Unit, assumed, datasheet
from targets.h100 import HBM, L1, L2, MEMORIES, PARAMETERS
from targets.h100 import TARGET as H100

H100_CLOCK = 1.83e9  # Hz, of the rates of the H100's data sheet
_PER_CLOCK = (
    *("gemm.sm_bandwidth", "gemm.epilogue_bandwidth", "gemm.sm_dram_bandwidth", "ffma.epilogue_bandwidth"),
    *("vector.broadcast", "vector.copy"),
)
# A board that its limit holds to half of its clock has no lower voltage to go to.
LOWEST = assumed(0.0, "1", 0.0, 1.0, "voltage at its floor")
_CLOCKS = ("gemm.step", "gemm.prologue")


@dataclass(frozen=True)
class Sheet:
    """A data sheet: multiprocessors, clock (Hz), dense rates by precision (FLOP/s), memories (B, B/s), board power (W).

    `lanes` are the fp32 lanes of a multiprocessor.
    """

    source: str
    sms: int
    threads: int
    clock: float
    matrix: Mapping[str, float]
    vector: Mapping[str, float]
    l1: float
    l2: float
    dram: tuple[float, float]
    board: float
    lanes: int = 128


def gpu(
    name: str, summary: str, sheet: Sheet, own: Mapping[str, Quantity] | None = None, lane_energy: Quantity | None = None
) -> Target:
    """The H100 with another machine's data, and constants of its own.

    Args:
        name, summary: of the target. sheet: its data sheet.
        own: constants that differ from the H100's.
        lane_energy: J/FLOP of fp32 arithmetic with all that is clocked for it, which says how far a board's power limit holds its
            clock down; None keeps the H100's split into arithmetic and clocked multiprocessors.
    """

    def fact(value: float, unit: str) -> Quantity:
        return datasheet(value, unit, sheet.source)

    ratio = sheet.clock / H100_CLOCK
    special = {"fp32": 16.0 * sheet.sms * sheet.clock}
    rates = {"matrix": sheet.matrix, "vector": sheet.vector, "special": special}
    energy = {u.name: u.energy if lane_energy is None or u.name == "special" else {"fp32": lane_energy} for u in H100.units}
    idle, active = (0.19, 0.32) if lane_energy is None else (0.15, 0.0)
    return replace(
        H100,
        name=name,
        summary=summary,
        units=tuple(Unit(u.name, {p: fact(r, "FLOP/s") for p, r in rates[u.name].items()}, energy[u.name]) for u in H100.units),
        memories=(
            Memory("l1", "local", fact(sheet.sms * sheet.l1, "B"), fact(128.0 * sheet.sms * sheet.clock, "B/s"), L1, L1),
            Memory("l2", "llc", fact(sheet.l2, "B"), _scaled(MEMORIES[1].bandwidth, ratio * sheet.sms / 132), L2, L2),
            Memory("hbm", "dram", fact(sheet.dram[0], "B"), fact(sheet.dram[1], "B/s"), HBM, HBM),
        ),
        static_power=assumed(idle * sheet.board, "W", 0.08 * sheet.board, 0.3 * sheet.board, "as a share of the H100's board"),
        parameters={
            **PARAMETERS,
            **{key: _scaled(PARAMETERS[key], ratio) for key in _PER_CLOCK},
            **{key: _scaled(PARAMETERS[key], 1.0 / ratio) for key in _CLOCKS},
            "sm.count": fact(sheet.sms, "1"),
            "sm.threads": fact(sheet.threads, "1"),
            "power.cap": fact(0.989 * sheet.board, "W"),
            "ffma.operand": _scaled(PARAMETERS["ffma.operand"], sheet.lanes / 128),
            "vector.warm_bandwidth": _scaled(PARAMETERS["vector.warm_bandwidth"], ratio * sheet.sms / 132),
            "power.active": assumed(active * sheet.board, "W", 0.0, 0.45 * sheet.board, "as a share of the H100's board"),
            **({} if lane_energy is None else {"power.voltage": LOWEST}),
            **(own or {}),
        },
    )


def _scaled(quantity: Quantity, by: float) -> Quantity:
    low, high = quantity.range or (quantity.value, quantity.value)
    return replace(quantity, value=quantity.value * by, range=(low * by, high * by), source=quantity.source + ", by clock")
