"""Sessions of ONNX Runtime: opened without weight files, run on made-up inputs, timed as a whole and node by node."""

from __future__ import annotations

import json
import math
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edpc.errors import ModelError, UsageError
from edpc.runtime.model import Prepared, weights

Feeds = dict[str, NDArray[Any]]

_QUIET = 3  # errors only
_SUFFIX = "_kernel_time"
# The profiler cuts durations to whole microseconds.
_CUT_S = 0.5e-6
# Which part of the runs is believed: disturbances only ever lengthen one.
LOWEST = 0.1
# So many numbers are drawn for an input, and repeated: drawing all of a large one would take longer than running the model.
_DRAWN = 1 << 16
# Threads of a session that was run look for more work for 60 to 100 ms (measured with ONNX Runtime 1.32), on cores that another
# session's threads then lack.
_SPINNING_S = 0.15


def onnxruntime() -> Any:
    """The module.

    Raises:
        UsageError: it is not installed.
    """
    try:
        import onnxruntime
    except ImportError:
        raise UsageError("ONNX Runtime is not installed; install it with: pip install onnxruntime") from None
    return onnxruntime


def open_session(
    prepared: Prepared,
    *,
    threads: int = 1,
    values: Mapping[str, NDArray[Any]] | None = None,
    configure: Callable[[Any], None] | None = None,
) -> Any:
    """A session on the CPU with all of the runtime's optimisations.

    Args:
        prepared: the model.
        threads: that share a node's work.
        values: of its absent weights; None makes them up.
        configure: sets further options.

    Raises:
        ModelError: the runtime refuses the model.
    """
    ort = onnxruntime()
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = _QUIET
    made = weights(prepared) if values is None else values
    if made:
        options.add_external_initializers(list(made), [ort.OrtValue.ortvalue_from_numpy(value) for value in made.values()])
    if configure is not None:
        configure(options)
    try:
        return ort.InferenceSession(prepared.proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's errors share no base class
        raise ModelError(f"{prepared.name}: ONNX Runtime refuses it: {_first_line(error)}") from error


def feeds_of(session: Any) -> Feeds:
    """Random activations; ones for integers and flags, which are valid tokens, masks and lengths nearly everywhere."""
    rng = np.random.default_rng(0)
    made: Feeds = {}
    for each in session.get_inputs():
        shape = [size if isinstance(size, int) else 1 for size in each.shape]
        dtype = _NUMPY.get(each.type)
        if dtype is None:
            raise ModelError(f"input {each.name!r} is of type {each.type}; edpc makes up inputs of numbers only")
        if dtype[0] == "f":
            drawn = rng.standard_normal(min(math.prod(shape), _DRAWN)).astype(dtype)
            made[each.name] = np.resize(drawn, shape)
        else:
            made[each.name] = np.ones(shape, dtype)
    return made


def settle(session: Any) -> None:
    """Waits until the threads of other sessions that ran before are asleep; at once where this one has no threads to disturb."""
    if session.get_session_options().intra_op_num_threads > 1:
        time.sleep(_SPINNING_S)


_NUMPY = {
    f"tensor({name})": name for name in ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool")
} | {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(float16)": "float16",
}


def run(session: Any, feeds: Feeds, name: str) -> float:
    """Runs the model once and answers how long it took, in s.

    On one thread that is the time this thread was on a core: the wall time of a machine that does nothing else.

    Raises:
        ModelError: the runtime cannot run it.
    """
    clock = time.thread_time if session.get_session_options().intra_op_num_threads == 1 else time.perf_counter
    start = clock()
    try:
        session.run(None, feeds)
    except Exception as error:  # the runtime's errors share no base class
        raise ModelError(f"{name}: ONNX Runtime cannot run it: {_first_line(error)}") from error
    return clock() - start


def repeat(session: Any, feeds: Feeds, name: str, least_runs: int, least_s: float) -> NDArray[np.float64]:
    """Times of so many runs, and of more until so much time has passed; the first, which fills memory pools, is left out."""
    run(session, feeds, name)
    times: list[float] = []
    while len(times) < least_runs or sum(times) < least_s:
        times.append(run(session, feeds, name))
    return np.array(times)


def lowest_mean(times: NDArray[np.float64], part: float = LOWEST) -> float:
    """Mean of the lowest times, a tenth of them or another part."""
    kept = np.sort(times)[: max(1, round(part * len(times)))]
    return float(kept.mean())


@contextmanager
def profiled(prepared: Prepared, threads: int, values: Mapping[str, NDArray[Any]] | None = None) -> Iterator[Any]:
    """A session whose profile `node_times` reads; it stands in a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="edpc-") as folder:

        def configure(options: Any) -> None:
            options.enable_profiling = True
            options.profile_file_prefix = str(Path(folder) / "profile")

        yield open_session(prepared, threads=threads, values=values, configure=configure)


@dataclass(frozen=True, slots=True)
class NodeTime:
    """An executed node: its name and operator, the bytes it writes, and its time in every run, in s."""

    name: str
    operator: str
    output_bytes: int
    times: NDArray[np.float64]

    @property
    def seconds(self) -> float:
        """What is believed of the times: the mean of the lowest."""
        return lowest_mean(self.times)


def node_times(session: Any, skip: int = 1) -> list[NodeTime]:
    """Ends the profile of a session: what every executed node took, in order of execution; nodes of one name are added up.

    Args:
        session: from `profiled`.
        skip: runs to leave out at the start.
    """
    events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8", errors="replace"))
    runs = max(sum(1 for event in events if event.get("name") == "model_run"), 1)
    found: dict[tuple[str, str], list[float]] = {}
    sizes: dict[tuple[str, str], int] = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith(_SUFFIX):
            key = event["name"].removesuffix(_SUFFIX), event["args"]["op_name"]
            found.setdefault(key, []).append(event["dur"] * 1e-6 + _CUT_S)
            sizes[key] = int(event["args"].get("output_size") or 0)
    made = []
    for (name, operator), durations in found.items():
        # A node of a loop's body runs several times in one run of the model.
        per_run = max(len(durations) // runs, 1)
        whole = np.array(durations[: per_run * (len(durations) // per_run)]).reshape(-1, per_run).sum(axis=1)
        made.append(NodeTime(name, operator, sizes[name, operator], whole[skip:] if len(whole) > skip else whole))
    return made


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
