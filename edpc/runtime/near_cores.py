"""Whether threads run on cores that share a last-level cache.

A virtual machine's processors may be moved between cores at any moment, and stay for seconds. Two threads on cores without a
common cache pass everything that one writes and the other reads through memory: short operators take half as long again, while
none of them waits for a core and one thread alone sees nothing. Times of both kinds do not belong into one calibration.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from onnx import TensorProto, helper

from edpc.runtime.model import prepare
from edpc.runtime.session import feeds_of, open_session

# A chain of elementwise operators over 1 MiB, the least that the runtime divides and a size that every such cache holds.
_LENGTH, _ELEMENTS = 20, 1 << 18
_RUNS = 8
# Two threads gain 1.4 to 1.9 times on cores that share a cache, and 0.7 to 1.3 on others (AMD EPYC, ONNX Runtime 1.32).
LEAST_GAIN = 1.35
FAR = "two threads were hardly faster than one, if only for a time, as on cores that share no cache: short operators took longer"
_TOPOLOGY = Path("/sys/devices/system/cpu")
_BELIEVED_S = 0.25  # an answer is not asked for again so soon
_PAUSE_S = 0.1
_PATIENCE_S = 30.0


class NearCores:
    """Asks the machine, and waits for it.

    Attributes:
        gain: measures how much faster two threads are than one.
        given_up: how often it was waited for in vain.
    """

    def __init__(self, gain: Callable[[], float], clock: Callable[[], float] = time.perf_counter) -> None:
        """Takes what measures the gain of a second thread, and a clock in s."""
        self.gain, self._clock = gain, clock
        self._asked = -_BELIEVED_S
        self._last = True
        self._patience_s = _PATIENCE_S
        self.given_up = 0

    def now(self) -> bool:
        """Whether two threads run on cores that share a cache."""
        if self._clock() - self._asked >= _BELIEVED_S:
            self._last, self._asked = self.gain() >= LEAST_GAIN, self._clock()
            if self._last:
                self._patience_s = _PATIENCE_S
        return self._last

    def wait(self, most_s: float = _PATIENCE_S, sleep: Callable[[float], None] = time.sleep) -> bool:
        """Waits until they do, and answers whether they do.

        A machine whose cores were not near in all the time that is waited at the most is taken as it is, and not waited for
        again until they are.

        Args:
            most_s: how long to wait.
            sleep: waits so many s.
        """
        start = self._clock()
        while not self.now():
            spent = self._clock() - start
            if spent >= min(most_s, self._patience_s):
                self._patience_s = max(self._patience_s - spent, 0.0)
                self.given_up += 1
                return False
            sleep(_PAUSE_S)
        return True


@cache
def near_cores() -> NearCores:
    """What asks this machine; sessions are opened once. Where threads cannot be given a core, cores always count as near."""
    allowed = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if len(allowed) < 2:
        return NearCores(lambda: LEAST_GAIN)
    own, other = pair(allowed)
    one, two = _session(1), _session(2, other)
    feeds = feeds_of(one)

    def gain() -> float:
        # Left alone, the system often wakes the second thread on the core that the first one is using.
        os.sched_setaffinity(0, {own})
        try:
            return _fastest(one, feeds) / _fastest(two, feeds)
        finally:
            os.sched_setaffinity(0, allowed)

    return NearCores(gain)


def pair(allowed: Sequence[int], root: Path = _TOPOLOGY) -> tuple[int, int]:
    """Two of these processors that are not threads of one core and share a cache, as far as the system says."""
    own, *others = allowed
    siblings = _listed(root / f"cpu{own}" / "topology" / "thread_siblings_list")
    sharing = _listed(root / f"cpu{own}" / "cache" / "index3" / "shared_cpu_list")
    return own, min(others, key=lambda other: (other in siblings, other not in sharing))


def _listed(path: Path) -> set[int]:
    """The processors of a list such as 0-3,8; none where it cannot be read."""
    try:
        ranges = [part.partition("-") for part in path.read_text().strip().split(",")]
        return {number for first, _, last in ranges for number in range(int(first), int(last or first) + 1)}
    except (OSError, ValueError):
        return set()


def _session(threads: int, core: int | None = None) -> Any:
    """The chain on so many threads, the second of them on that core."""

    def configure(options: Any) -> None:
        options.add_session_config_entry("session.force_spinning_stop", "1")  # nobody else is disturbed
        if core is not None:
            options.add_session_config_entry("session.intra_op_thread_affinities", str(core + 1))

    shape = (1, _ELEMENTS)
    nodes = [helper.make_node(("Abs", "Neg")[i % 2], [f"t{i}"], [f"t{i + 1}"]) for i in range(_LENGTH)]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("t0", f"t{_LENGTH}")]
    graph = helper.make_graph(nodes, "chain", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return open_session(prepare(model), threads=threads, configure=configure)


def _fastest(session: Any, feeds: Any) -> float:
    times = []
    for _ in range(_RUNS):
        start = time.perf_counter()
        session.run(None, feeds)
        times.append(time.perf_counter() - start)
    return min(times)
