"""Running the suite: every micro-model alone (hot), and all of them side by side in one large model (cold)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edpc import api
from edpc.calibration.micro import Micro, model_of
from edpc.fusion.executed import node_of
from edpc.ir import Value
from edpc.machine.build import kernelise
from edpc.machine.catalogue import model_of as cost_model
from edpc.machine.stored_program import Executed as Plan
from edpc.machine.stored_program_lines import LINES
from edpc.machine.table import Flags, Floats, KernelTable
from edpc.machine.walk import walk
from edpc.registry import find_target
from edpc.runtime.executed import Executed, executed
from edpc.runtime.model import Prepared, prepare, weights
from edpc.runtime.near_cores import near_cores
from edpc.runtime.session import LOWEST, feeds_of, lowest_mean, node_times, profiled, run

if TYPE_CHECKING:
    import onnx

Progress = Callable[[str, float], None]
Key = tuple[str, str, int]  # name without number, operator, bytes of its results where they tell more

_PLAN = "import-cleanup,apply-precision,annotate-operators,fuse-operators"
# Nodes of the large model that read a graph input find it in memory, as no activation inside a network is; these read little.
_ENTRY_LINES = frozenset({"first_conv", "gather"})
# Runs of a model at each visit: at least so many, and of small ones as many as fill so many seconds, up to the most.
_LEAST_RUNS, _LEAST_S, _MOST_RUNS = 3, 4e-3, 60
# Among others the better half of the runs counts: a long network cannot wait for a quiet moment.
_USUAL = 0.5
# How long a pass waits for cores that share a cache, for what it could not measure on such.
_WAIT_S = 4.0
# Operators that the runtime inserts: the first of them under a name without a number.
_INSERTED = frozenset({"ReorderInput", "ReorderOutput", "Reshape", "Transpose", "Cast"})


@dataclass(frozen=True)
class Suite:
    """The suite as the cost model sees it: one row per executed node.

    Attributes:
        parts: the micro-models. whole: all of them side by side. values: the weights that the runtime is given.
        table: the columns. plan: how the kernels run.
        rows: rows by key of the node.
        entry: whether a node reads a graph input, shape (g,).
    """

    parts: Sequence[Micro]
    whole: Prepared
    values: dict[str, Any]
    table: KernelTable
    plan: Plan
    rows: dict[Key, list[int]]
    entry: Flags


def lay_out(parts: Sequence[Micro]) -> Suite:
    """The suite's executed nodes with their features; nothing is timed."""
    whole = prepare(model_of(parts))
    values = weights(whole)
    found = executed(whole, values)
    stand_in = find_target("cpu")  # its constants are not used
    api.run(found.graph, stand_in, pipeline=_PLAN)
    table = kernelise(walk(found.graph), found.graph.groups, stand_in)
    sources = {value.name for part in parts for value in part.inputs}
    rows: dict[Key, list[int]] = {}
    entry = np.zeros(len(table.group), bool)
    for row, (node, key) in enumerate(keyed(found)):
        rows.setdefault(key, []).append(row)
        entry[row] = any(name in sources for name in node.input)
    plan: Plan = cost_model(stand_in).plan(table, stand_in)
    return Suite(parts, whole, values, table, plan, rows, entry)


def time_alone(suite: Suite, counts: Sequence[int], budget_s: float, progress: Progress) -> dict[int, Floats]:
    """What nodes take where nothing else is in the caches, in s, by number of threads and row; NaN where one was not seen.

    Every micro-model is visited a few runs at a time, and again a pass later while the budget lasts: what disturbs a machine for
    a moment or for seconds is seen through, and hits all numbers of threads alike. While cores share no cache, visits with
    several threads are put off to the end of the pass.
    """
    best = {n: np.full(len(suite.table.group), np.inf) for n in counts}

    def visit(part: Micro, threads: Iterable[int]) -> None:
        prepared = prepare(model_of([part]))
        given = {name: suite.values[name] for name in prepared.absent}
        for n in threads:
            best[n] = np.fmin(best[n], _profile(suite, prepared, n, given, 0.0))

    many = [n for n in counts if n > 1]
    start, passes = time.perf_counter(), 0
    while not passes or (time.perf_counter() - start) * (passes + 1) / passes < budget_s:
        postponed, allowance = [], _WAIT_S
        for number, part in enumerate(suite.parts):
            progress("kernels alone", number / len(suite.parts))
            is_far = bool(many) and not near_cores().now()
            visit(part, (n for n in counts if n == 1 or not is_far))
            if is_far:
                postponed.append(part)
        for part in postponed:
            begin = time.perf_counter()
            near_cores().wait(allowance)
            allowance = max(allowance - (time.perf_counter() - begin), 0.0)
            visit(part, many)
        passes += 1
    return {n: np.where(np.isfinite(column), column, np.nan) for n, column in best.items()}


def time_among(suite: Suite, threads: int, budget_s: float, progress: Progress) -> Floats:
    """What nodes take in a model so large that everything has left the caches between two runs, in s, by row as `time_alone`."""
    progress(f"kernels among others, threads: {threads}", 0.0)
    begin = time.perf_counter()
    if threads > 1:
        near_cores().wait(_WAIT_S)
    left = max(budget_s - (time.perf_counter() - begin), 0.0)
    seconds = _profile(suite, suite.whole, threads, suite.values, left, _USUAL)
    inside = np.array([LINES[line] in _ENTRY_LINES for line in suite.plan.line]) | ~suite.entry
    return np.where(inside, seconds, np.nan)


def keyed(found: Executed) -> Iterator[tuple[onnx.NodeProto, Key]]:
    """The executed node behind every group of a graph that has been grouped, and what it is found again by."""
    graph = found.graph
    for group in graph.groups:
        inside = set(group.members)
        node = found.nodes[node_of(graph.op(group.members[0]))]
        leaving = {Value(name, use.result) for name in inside for use in graph.uses(name) if use.consumer not in inside}
        types = (graph.type_of(value) for value in leaving)
        yield node, node_key(node.name, node.op_type, sum(kind.num_bytes for kind in types if kind.is_static))


def node_key(name: str, operator: str, output_bytes: int) -> Key:
    """What a node is found again by: its name, and its output where the runtime may have numbered it, differently each time."""
    stem, numbered, _ = name.partition("_token_")
    return stem, operator, output_bytes if numbered or stem == operator or operator in _INSERTED else 0


def _profile(
    suite: Suite, prepared: Prepared, threads: int, values: dict[str, Any], budget_s: float, part: float = LOWEST
) -> Floats:
    start = time.perf_counter()
    with profiled(prepared, threads, values) as session:
        feeds = feeds_of(session)
        runs = 0
        spent = run(session, feeds, prepared.name)
        least = int(np.clip(_LEAST_S / max(spent, 1e-6), _LEAST_RUNS, _MOST_RUNS))
        while runs < least or (time.perf_counter() - start) * (runs + 1) / runs < budget_s:
            run(session, feeds, prepared.name)
            runs += 1
        times = node_times(session)
    found: dict[int, list[float]] = {}
    for node in times:
        for row in suite.rows.get(node_key(node.name, node.operator, node.output_bytes), ()):
            found.setdefault(row, []).append(lowest_mean(node.times, part))
    column = np.full(len(suite.table.group), np.nan)
    for row, seconds in found.items():
        column[row] = np.mean(seconds)
    return column
