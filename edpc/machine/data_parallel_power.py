"""GPU board power and what it does to time: the clock yields until the board stays under its cap.

P(phi) = P_idle + P_active * occupancy * phi^(1 + s) + (E_arithmetic * phi^s + E_bytes) / T(phi), with phi in (0, 1] the fraction
of the full clock, s how much the square of the voltage follows it, and T(phi) = extra + overlap(compute / phi, memory). The
largest phi with P <= cap is taken, by bisection.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from edpc.machine.compose import overlap
from edpc.machine.model import Constants
from edpc.machine.table import Flags, Floats

PARAMETERS: Mapping[str, tuple[str, str]] = {
    "power.cap": ("W", "board power that the clock is held to"),
    "power.active": ("W", "drawn by clocked multiprocessors whatever the data, all of them at full clock"),
    "power.voltage": ("1", "energy of arithmetic goes with the clock to this power, as voltage squared does"),
    "power.data_activity": ("1", "bits that toggle: 1 for random data, 0 for zero weights"),
    "power.zero_arithmetic": ("1", "saving of arithmetic energy with zero weights"),
    "power.zero_dram": ("1", "saving of DRAM energy of zero weights"),
}

_LOWEST = 0.1  # a board never clocks below a tenth
_STEPS = 26  # of the bisection: resolves phi to 2e-8


def clock_fraction(
    compute: Floats, memory: Floats, extra: Floats, q: Floats, occupancy: Floats, arithmetic: Floats, moved: Floats, c: Constants
) -> Floats:
    """The fraction of the full clock at which every kernel stays under the board's cap.

    Args:
        compute: s at full clock, shape (..., g).
        memory: s, shape (..., g).
        extra: s beyond both, shape (..., g).
        q: overlap exponent, shape (..., g).
        occupancy: share of multiprocessors at work, shape (..., g).
        arithmetic: J at full clock, shape (..., g).
        moved: J of bytes, shape (..., g).
        c: constants.

    Returns:
        Shape (..., g), in (0, 1].
    """
    idle, active, cap, s = c["static_power"], c["power.active"], c["power.cap"], c["power.voltage"]

    def over(phi: Floats, at: Any) -> Flags:
        total = extra[..., at] + overlap(compute[..., at] / phi, memory[..., at], q[..., at])
        events = (arithmetic[..., at] * phi**s + moved[..., at]) / np.maximum(total, 1e-30)
        too_much: Flags = np.asarray(idle + active * occupancy[..., at] * phi ** (1.0 + s) + events > cap)
        return too_much

    phi = np.ones_like(compute)
    hot = over(phi, slice(None))
    columns = hot if hot.ndim == 1 else hot.any(axis=tuple(range(hot.ndim - 1)))
    if columns.any():
        low, high = np.full_like(compute[..., columns], _LOWEST), phi[..., columns]
        for _ in range(_STEPS):
            middle = (low + high) / 2.0
            too_much = over(middle, columns)
            low, high = np.where(too_much, low, middle), np.where(too_much, middle, high)
        phi[..., columns] = np.where(hot[..., columns], low, 1.0)
    return phi


def exposed_launches(body: Floats, launches: Floats, host_s: Floats | float) -> Floats:
    """How long the device waits for each kernel when a host launches them one after another, shape (..., g).

    The host issues without waiting, one launch every `host_s`; a kernel starts when it is issued and its predecessor is done.
    The first one always waits; in a queue of long kernels nobody else does.

    Args:
        body: s that each kernel runs, in order of execution, shape (..., g).
        launches: launches of each kernel, shape (g,).
        host_s: host time of a launch.
    """
    issued = np.cumsum(launches * host_s + np.zeros_like(body), axis=-1)
    before = np.cumsum(body, axis=-1) - body
    waited = np.maximum.accumulate(np.where(launches > 0, issued - before, 0.0), axis=-1)
    return np.diff(np.maximum(waited, 0.0), axis=-1, prepend=0.0)
