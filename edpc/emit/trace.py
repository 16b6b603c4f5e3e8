"""The predicted timeline in the Chrome trace event format, which Perfetto and chrome://tracing read.

Each report is a process. Its first track shows the subgraphs one after the other with their operators inside; three more show
the engines, as the cost model charges time to them: overhead, compute, memory. What an engine's track shows is what the
latency is charged to, not how long the engine was busy: where two overlap, the one that binds pays. So the durations of the
subgraphs sum to the latency, those of the operators inside too, and those of the three engines too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from edpc.emit import EmitOptions
from edpc.emit.annotated import Part, parts
from edpc.emit.document import printable
from edpc.report import Report

_MICRO = 1e6  # timestamps and durations are in microseconds
_TIMELINE = 0


class _Engine(NamedTuple):
    """A track, and the field of a cost that is charged to it."""

    name: str
    field: str


_ENGINES = (_Engine("overhead", "overhead_s"), _Engine("compute", "compute_s"), _Engine("memory", "memory_s"))


def emit(reports: Sequence[Report], options: EmitOptions) -> bytes:
    """The timelines of the reports as one JSON object with `traceEvents`.

    Raises:
        UsageError: a report came from a file and has no graph, which holds the time by engine.
    """
    events = [event for number, report in enumerate(reports, 1) for event in _process(report, number)]
    whole = {
        "displayTimeUnit": "ns",
        "traceEvents": events,
        "otherData": {
            "edpc_version": reports[0].edpc_version,
            "latency_s": {_label(report): report.latency_s for report in reports},
        },
    }
    return msgspec.json.format(msgspec.json.encode(whole), indent=0) + b"\n"


def _label(report: Report) -> str:
    target = report.target
    return printable(f"{report.model.name} on {target.name}, {target.precision}, batch {target.batch}")


def _process(report: Report, pid: int) -> Iterator[dict[str, Any]]:
    yield _metadata(pid, _TIMELINE, "process_name", name=_label(report))
    for tid, name in enumerate(("subgraphs", *(engine.name for engine in _ENGINES))):
        yield _metadata(pid, tid, "thread_name", name=name)
        yield _metadata(pid, tid, "thread_sort_index", sort_index=tid)
    start = 0.0
    for part in parts(report):
        yield from _subgraph(part, pid, start)
        start += part.subgraph.latency_s * _MICRO
    yield from _counters(pid, start, 0.0, 0.0)


def _subgraph(part: Part, pid: int, start: float) -> Iterator[dict[str, Any]]:
    """One subgraph on its track and on the engines' ones, and the level of the counters while it runs."""
    subgraph, latency = part.subgraph, part.subgraph.latency_s
    facts = {
        "id": subgraph.id,
        "pattern": subgraph.fusion_pattern,
        "bound_by": subgraph.bottleneck,
        "energy_j": subgraph.energy_j,
        "latency_s": latency,
        "edp_js": subgraph.edp_js,
        "edp_fraction": subgraph.edp_fraction,
        "utilization": subgraph.utilization,
    }
    yield _slice(pid, _TIMELINE, start, latency, "subgraph", subgraph.name, facts)
    at = start
    for operator in part.operators:
        facts = {
            "operator_id": operator.operator_id,
            "energy_j": operator.energy_j,
            "latency_s": operator.latency_s,
            "edp_js": operator.edp_js,
            "flops": operator.flops,
        }
        yield _slice(pid, _TIMELINE, at, operator.latency_s, operator.operator_type, operator.source_name, facts)
        at += operator.latency_s * _MICRO
    at = start
    for tid, engine in enumerate(_ENGINES, 1):
        seconds = getattr(part.kernel.cost, engine.field)
        if seconds > 0.0:
            yield _slice(pid, tid, at, seconds, engine.name, subgraph.name, {"id": subgraph.id, "latency_s": seconds})
            at += seconds * _MICRO
    if latency > 0.0:
        yield from _counters(pid, start, subgraph.energy_j / latency, part.kernel.cost.dram_bytes / latency)


def _slice(pid: int, tid: int, start: float, seconds: float, category: str, name: str, facts: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": printable(name),
        "cat": printable(category),
        "ph": "X",
        "ts": start,
        "dur": seconds * _MICRO,
        "pid": pid,
        "tid": tid,
        "args": facts,
    }


def _counters(pid: int, at: float, power_w: float, bandwidth: float) -> Iterator[dict[str, Any]]:
    """The levels from here on; power in W, bandwidth of DRAM in B/s, shown in GB/s."""
    yield {"name": "power", "ph": "C", "ts": at, "pid": pid, "args": {"W": power_w}}
    yield {"name": "DRAM bandwidth", "ph": "C", "ts": at, "pid": pid, "args": {"GB/s": bandwidth / 1e9}}


def _metadata(pid: int, tid: int, what: str, **args: Any) -> dict[str, Any]:
    return {"name": what, "ph": "M", "ts": 0, "pid": pid, "tid": tid, "args": args}
