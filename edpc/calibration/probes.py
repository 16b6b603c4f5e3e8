"""What no kernel's line holds: the profiler's own cost, what a run costs, and how long weights stay in the shared cache."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from edpc.calibration.micro import Micro, model_of
from edpc.machine.table import Floats
from edpc.runtime.model import prepare
from edpc.runtime.session import feeds_of, lowest_mean, node_times, open_session, profiled, repeat, run, settle

_CHAINS = (10, 120)  # nodes in a row
_SHARED = 64  # side of a product that the runtime divides among threads, and that takes a few microseconds
_CHAIN_RUNS, _CHAIN_ROUNDS = 100, 2
_GEMV = (1024, 2048)  # 8 MiB of weights: more than a second-level cache, less than a last-level one
_DELAYS_S = (0.0, 2e-3, 4e-3, 8e-3, 12e-3, 20e-3, 32e-3)
_DELAY_RUNS = 9
# The clock runs from where so much of the way from hot to cold is gone to where so much is.
_FROM, _TO = 0.15, 0.85
# Less difference than this between hot and cold is no clock to read.
_VISIBLE = 1.15


@dataclass(frozen=True, slots=True)
class Overheads:
    """What the profiler adds to every node, and what a run costs beside its nodes, in s."""

    profiler_s: float
    run_s: float


def overheads(threads: int) -> Overheads:
    """Read off chains of nodes: their unprofiled time is that of a run, and their profiled time less the profiler's.

    A node that several threads share costs the profiler more than a tiny one; networks have both, and half of each counts.
    """
    per_node, starts = zip(*(_chained(threads, make) for make in (_tiny, _shared)), strict=True)
    return Overheads(max(float(np.mean(per_node)), 0.0), max(starts[0], 0.0))


def _tiny(m: Micro, length: int) -> str:
    x = m.feed(1, 16)
    for node in range(length):
        x = m.op("Neg" if node % 2 else "Abs", x)
    return x


def _shared(m: Micro, length: int) -> str:
    x = m.feed(_SHARED, _SHARED)
    for _ in range(length):
        x = m.op("MatMul", x, m.weight(_SHARED, _SHARED))
    return x


def _chained(threads: int, make: Callable[[Micro, int], str]) -> tuple[float, float]:
    """What the profiler adds to a node of such a chain, and what a run of it costs beside its nodes, in s."""
    sums, walls = np.full(len(_CHAINS), np.inf), np.full(len(_CHAINS), np.inf)
    for number, length in [*enumerate(_CHAINS)] * _CHAIN_ROUNDS:
        m = Micro(f"chain{length}")
        prepared = prepare(model_of([m.done(make(m, length))]))
        with profiled(prepared, threads) as session:
            feeds = feeds_of(session)
            for _ in range(_CHAIN_RUNS):
                run(session, feeds, m.name)
            sums[number] = min(sums[number], sum(node.seconds for node in node_times(session, skip=5)))
        session = open_session(prepared, threads=threads)
        settle(session)
        walls[number] = min(walls[number], lowest_mean(repeat(session, feeds_of(session), m.name, _CHAIN_RUNS, 0.0)))
    gap, start = np.polyfit(_CHAINS, walls - sums, 1)
    return -float(gap), float(start)


@dataclass(frozen=True, slots=True)
class Clock:
    """How long weights stay in the last-level cache while something else runs, in s; None where no difference was seen."""

    start_s: float
    span_s: float


def clock() -> Clock | None:
    """Times a product with 8 MiB of weights after ever longer work that needs no cache of its own.

    On one thread: those of the other work would still be looking for more when the product runs.
    """
    m = Micro("clock")
    session = open_session(prepare(model_of([m.done(m.op("MatMul", m.feed(1, _GEMV[0]), m.weight(*_GEMV)))])))
    feeds = feeds_of(session)
    other = Micro("other")
    filler = open_session(prepare(model_of([other.done(other.op("MatMul", other.feed(32, 32), other.weight(32, 32)))])))
    filler_feeds = feeds_of(filler)
    run(session, feeds, "clock")

    def after(delay_s: float) -> float:
        times = []
        for _ in range(_DELAY_RUNS):
            run(session, feeds, "clock")
            start = time.perf_counter()
            while time.perf_counter() - start < delay_s:
                run(filler, filler_feeds, "clock")
            times.append(run(session, feeds, "clock"))
        return float(np.median(times))

    return clock_of(np.array(_DELAYS_S), np.array([after(delay) for delay in _DELAYS_S]))


def clock_of(delays: Floats, times: Floats) -> Clock | None:
    """When times begin to rise and when they are up, from how long the weights were left alone.

    Args:
        delays: ascending, in s.
        times: of the same work after each delay, in s.
    """
    times = np.maximum.accumulate(times)
    hot, cold = float(times[0]), float(times[-1])
    if cold < _VISIBLE * hot:
        return None
    way = (times - hot) / (cold - hot)
    start, end = (float(np.interp(part, way, delays)) for part in (_FROM, _TO))
    return Clock(start, max(end - start, 1e-4))


def busy(shape: tuple[int, int, int], threads: int) -> Callable[[], Any]:
    """A function that multiplies matrices of this shape (m, k, n) once."""
    rows, depth, columns = shape
    m = Micro("busy")
    session = open_session(
        prepare(model_of([m.done(m.op("MatMul", m.feed(rows, depth), m.weight(depth, columns)))])), threads=threads
    )
    feeds = feeds_of(session)
    return lambda: session.run(None, feeds)
