"""The host of a GPU that launches kernels one by one: how long the device waits for it.

The host runs ahead of the device, so a launch costs nothing while kernels are queued. What needs a figure back from the device
(how many elements a mask keeps) ends the queue: host and device start together again, and of a region between two such points
the longer of both counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np

from edpc.machine.model import Constants
from edpc.machine.table import Flags, Floats, KernelTable

PARAMETERS: Mapping[str, tuple[str, str]] = {
    "launch.eager": ("s", "host time of a launch by an eager framework"),
    "launch.synchronise": ("s", "until the host goes on after it has waited for the device"),
}

# Kinds whose result has a size that depends on data: the host asks the device before it can allocate it.
_ASKING = ("nonzero", "compress", "unique", "nms")


def asks(table: KernelTable) -> Flags:
    """Whether the host waits for a kernel's result before it launches the next, shape (g,)."""
    waits = np.zeros(len(table.group), bool)
    waits[table.kernel[np.isin(table.kind, _ASKING)]] = True
    return waits


def exposed_launches(body: Floats, launches: Floats, waits: Flags, c: Constants) -> Floats:
    """How long the device waits for each kernel, shape (..., g).

    Within a region the host issues without waiting, one launch every `launch.eager`; a kernel starts when it is issued and its
    predecessor is done. The first one always waits; in a queue of long kernels nobody else does.

    Args:
        body: s that each kernel runs, in order of execution, shape (..., g).
        launches: launches of each kernel, shape (g,).
        waits: whether the host waits for its end, shape (g,).
        c: constants.
    """
    idle = np.zeros_like(body)
    edges = [0, *(np.flatnonzero(waits) + 1).tolist(), body.shape[-1]]
    for number, (start, end) in enumerate(pairwise(edges)):
        part = body[..., start:end]
        behind = c["launch.synchronise"] if number else 0.0
        issued = behind + np.cumsum(launches[start:end] * c["launch.eager"] + np.zeros_like(part), axis=-1)
        before = np.cumsum(part, axis=-1) - part
        waited = np.maximum.accumulate(np.where(launches[start:end] > 0, issued - before, 0.0), axis=-1)
        idle[..., start:end] = np.diff(np.maximum(waited, 0.0), axis=-1, prepend=0.0)
    return idle
