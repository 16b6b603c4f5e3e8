"""Whether others used this machine's cores meanwhile, which times cannot tell from slow kernels."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_TASKS = Path("/proc/self/task")
# Threads that waited for a core for a larger part of their time were disturbed.
TOLERABLE = 0.05


class Contention:
    """Counts how long this process's threads ran and waited for a core since it was made; nothing where the system hides it."""

    def __init__(self, tasks: Path = _TASKS) -> None:
        self._tasks = tasks
        self._before = self._times()

    def waited(self) -> float:
        """The part of their runnable time that threads, those that still live, waited for a core, from 0 to 1."""
        ran = stood = 0
        for thread, (now_ran, now_stood) in self._times().items():
            before = self._before.get(thread, (0, 0))
            ran += now_ran - before[0]
            stood += now_stood - before[1]
        return stood / (ran + stood) if ran + stood else 0.0

    def note(self) -> str:
        """What a reader must know; empty where the machine was quiet."""
        part = self.waited()
        if part <= TOLERABLE:
            return ""
        return f"the machine was busy, threads waited for a core {100 * part:.0f} % of the time: its own times are shorter"

    @contextmanager
    def paused(self) -> Iterator[None]:
        """What happens meanwhile does not count."""
        begin = self._times()
        yield
        for thread, now in self._times().items():
            ran, stood = begin.get(thread, (0, 0))
            before = self._before.get(thread, (0, 0))
            self._before[thread] = before[0] + now[0] - ran, before[1] + now[1] - stood

    def _times(self) -> dict[str, tuple[int, int]]:
        found = {}
        for task in self._tasks.glob("*/schedstat"):
            try:
                ran, stood, *_ = task.read_text().split()
                found[task.parent.name] = int(ran), int(stood)
            except (OSError, ValueError):  # the thread has ended
                continue
        return found
