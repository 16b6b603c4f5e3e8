"""What this machine says of itself: processor, caches, memory, and the energy counters of its package."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
POWERCAP = Path("/sys/class/powercap")
# Where the machine does not say: a core's second level and a server's last level.
_L2_BYTES, _L3_BYTES = 2**20, 32 * 2**20
_SETTLE_S = 0.3


@dataclass(frozen=True, slots=True)
class Host:
    """This machine. `l2_bytes` is per core, `l3_bytes` per socket as far as this machine sees it."""

    cpu: str
    cores: int
    l2_bytes: int
    l3_bytes: int
    memory_bytes: int


def host() -> Host:
    """What the operating system knows of this machine; sizes of caches that it does not tell are those of a common server."""
    sizes = {}
    for index in sorted(_CACHES.glob("index*")):
        level, size = _read(index / "level"), _read(index / "size")
        if level and size and _read(index / "type") != "Instruction":
            sizes[level] = int(re.sub(r"\D", "", size)) * (2**20 if size.endswith("M") else 2**10)
    names = re.findall(r"^model name\s*:\s*(.+)$", _read(_CPUINFO), re.MULTILINE)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Host(
        names[0].strip() if names else "unknown processor", cores(), sizes.get("2", _L2_BYTES), sizes.get("3", _L3_BYTES), memory
    )


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True, slots=True)
class PackagePower:
    """Mean power of all packages, in W: idle, in arithmetic, and in streams."""

    idle: float
    arithmetic: float
    streams: float


class EnergyCounter:
    """The RAPL counters of all packages, in J since some moment; reading them may need permission."""

    def __init__(self, root: Path = POWERCAP) -> None:
        # Sub-zones (intel-rapl:0:1) are parts of their package and would count twice.
        self.zones = [zone for zone in sorted(root.glob("*-rapl:*")) if zone.name.count(":") == 1]
        self._last = [self._microjoules(zone) for zone in self.zones]
        self._total = 0.0

    @property
    def readable(self) -> bool:
        """Whether there is a counter and this process may read it."""
        return bool(self.zones) and all(value is not None for value in self._last)

    def joules(self) -> float:
        """Energy since the counter was made; a counter that has wrapped since the last reading is continued."""
        for number, zone in enumerate(self.zones):
            now, before = self._microjoules(zone), self._last[number]
            if now is None or before is None:
                continue
            step = now - before
            if step < 0:
                step += int(_read(zone / "max_energy_range_uj") or 0)
            self._total += step * 1e-6
            self._last[number] = now
        return self._total

    @staticmethod
    def _microjoules(zone: Path) -> int | None:
        text = _read(zone / "energy_uj")
        return int(text) if text.isdigit() else None


def package_power(counter: EnergyCounter, arithmetic: Callable[[], object], streams: Callable[[], object]) -> PackagePower:
    """Power of the packages idle and at work, from a counter that is readable."""

    def mean(work: Callable[[], object]) -> float:
        before, start = counter.joules(), time.perf_counter()
        while time.perf_counter() - start < _SETTLE_S:
            work()
        return (counter.joules() - before) / (time.perf_counter() - start)

    return PackagePower(mean(lambda: time.sleep(_SETTLE_S)), mean(arithmetic), mean(streams))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
