"""Points spread over processes or a cluster, each written down when it is done, so that a killed sweep goes on where it was."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import asdict
from pathlib import Path
from typing import TextIO

import msgspec

from edpc.errors import UsageError
from edpc.sweep.evaluate import Priced, price
from edpc.sweep.grid import Point, Sweep
from edpc.version import __version__

JOURNAL = "sweep.jsonl"
PATIENCE_S = 10.0  # how long a scheduler may take to answer
_AHEAD = 4  # points handed to a worker before it is done with the first


class Outcome(msgspec.Struct, frozen=True):
    """A sweep that is done: its points and what each answered, in the same order."""

    points: tuple[Point, ...]
    priced: tuple[Priced, ...]

    @property
    def failures(self) -> list[tuple[Point, str]]:
        """The points that could not be compiled, and why."""
        return [(point, one.error) for point, one in zip(self.points, self.priced, strict=True) if one.error]


def run_sweep(
    sweep: Sweep,
    *,
    jobs: int = 1,
    scheduler: str | None = None,
    folder: str | Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Outcome:
    """Every point of the sweep is priced.

    Args:
        sweep: the grid.
        jobs: processes on this machine; 1 stays in this one.
        scheduler: address of a dask.distributed scheduler, whose workers are used instead.
        folder: keeps a journal of finished points there; those that it holds already are not computed again.
        progress: called with how many points are done and how many there are.

    Raises:
        UsageError: the grid is not valid, the folder cannot be written or holds the journal of another sweep, or the cluster
            cannot be reached.
    """
    points = sweep.points()
    tell = progress or (lambda done, total: None)
    done: dict[int, Priced] = {}
    journal = _Journal(Path(folder), _signature(points), len(points)) if folder is not None else None
    if journal is not None:
        done = journal.found
    tell(len(done), len(points))
    left = [(number, point) for number, point in enumerate(points) if number not in done]
    try:
        for number, priced in _priced(left, jobs, scheduler):
            done[number] = priced
            if journal is not None:
                journal.add(number, priced)
            tell(len(done), len(points))
    finally:
        if journal is not None:
            journal.close()
    return Outcome(points, tuple(done[number] for number in range(len(points))))


def _priced(left: Sequence[tuple[int, Point]], jobs: int, scheduler: str | None) -> Iterator[tuple[int, Priced]]:
    if scheduler is not None:
        return _on_cluster(left, scheduler)
    if jobs == 1 or len(left) <= 1:
        return ((number, price(point)) for number, point in left)
    return _on_processes(left, min(jobs, len(left)))


def _on_processes(left: Sequence[tuple[int, Point]], jobs: int) -> Iterator[tuple[int, Priced]]:
    """In the order in which they finish. Workers start afresh: threads of this process may not be copied."""
    # What stands side by side shares its network, so a worker gets neighbours.
    waiting = iter(left)
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        running: dict[Future[Priced], int] = {}
        try:
            while True:
                while len(running) < _AHEAD * jobs and (entry := next(waiting, None)) is not None:
                    running[pool.submit(price, entry[1])] = entry[0]
                if not running:
                    return
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    yield running.pop(future), future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _on_cluster(left: Sequence[tuple[int, Point]], address: str) -> Iterator[tuple[int, Priced]]:
    try:
        from distributed import Client, as_completed
    except ImportError:
        raise UsageError("--scheduler needs dask.distributed: pip install 'edpc[cluster]'") from None
    try:
        client = Client(address, timeout=PATIENCE_S, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise UsageError(f"--scheduler {address}: no dask scheduler answers there ({error})") from None
    with client:
        futures = {client.submit(price, point, pure=False): number for number, point in left}
        for future in as_completed(list(futures), loop=client.loop):
            yield futures[future], client.gather(future)


# --- the journal ---------------------------------------------------------------------------------------------


class _Journal:
    """A line of JSON that says which sweep it is, then one per finished point. A line that was cut off is not one."""

    def __init__(self, folder: Path, signature: str, count: int) -> None:
        self.path = folder / JOURNAL
        self.found: dict[int, Priced] = {}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            kept = self._read(signature, count)
            self._file: TextIO = self.path.open("r+" if kept else "w", encoding="utf-8")
            self._file.truncate(kept)
            self._file.seek(kept)
            if not kept:
                self._write({"sweep": signature, "points": count, "edpc_version": __version__})
        except OSError as error:
            raise UsageError(f"cannot write {str(self.path)!r}: {error.strerror or error}") from None

    def _read(self, signature: str, count: int) -> int:
        """Takes over what is there; answers how many bytes of it are whole lines."""
        try:
            lines = self.path.read_bytes().splitlines(keepends=True)
        except FileNotFoundError:
            return 0
        kept = 0
        for place, line in enumerate(lines):
            if not line.endswith(b"\n"):
                break
            try:
                entry = json.loads(line)
                if place == 0:
                    if entry["sweep"] != signature:
                        raise UsageError(
                            f"{str(self.path)!r} is the journal of another sweep (other options, models or version of edpc); "
                            "name another folder or remove it"
                        )
                elif 0 <= (number := entry.pop("point")) < count:
                    self.found[number] = Priced(**{**entry, "rows": tuple(map(tuple, entry["rows"]))})
            except (ValueError, KeyError, TypeError):
                if place == 0:
                    raise UsageError(f"{str(self.path)!r} is not the journal of a sweep; name another folder") from None
                break
            kept += len(line)
        return kept

    def add(self, number: int, priced: Priced) -> None:
        """The point is written down and will be found again."""
        self._write({"point": number, **asdict(priced)})

    def _write(self, entry: dict[str, object]) -> None:
        self._file.write(json.dumps(entry, separators=(",", ":")) + "\n")
        self._file.flush()

    def close(self) -> None:
        """The file is closed."""
        self._file.close()


def _signature(points: Iterable[Point]) -> str:
    """What a sweep is of: every option, and the files by size and time of change."""
    digest = hashlib.sha256(__version__.encode())
    files: set[str] = set()
    for point in points:
        digest.update(repr(point).encode("utf-8", "backslashreplace"))
        files |= {point.model, point.target}
    for name in sorted(files):
        try:
            found = os.stat(name)
        except (OSError, ValueError):
            continue
        digest.update(f"{name}:{found.st_size}:{found.st_mtime_ns}".encode("utf-8", "backslashreplace"))
    return digest.hexdigest()
