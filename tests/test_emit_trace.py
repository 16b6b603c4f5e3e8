"""The timeline: valid by the rules of the Chrome trace event format, nested, and as long as the report says."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from itertools import pairwise
from typing import Any

import msgspec
import pytest

import edpc
from edpc.emit import emit, emit_kind
from edpc.errors import UsageError
from edpc.report import Report, build_report
from tests.command_line import ROOT
from tests.hand_made import CHAIN, annotated, renamed, toy_target

MODELS = ROOT / "tests" / "models"
# Metadata events that the format defines, and the argument each needs.
METADATA = {"process_name": ("name", str), "thread_name": ("name", str), "thread_sort_index": ("sort_index", int)}


def trace(*reports: Report) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(emit(emit_kind("trace"), reports))
    return made


def check(event: dict[str, Any]) -> None:
    """An event has the fields that its phase requires, of the types the format gives them."""
    assert type(event["name"]) is str
    assert type(event["pid"]) is int
    assert event["ph"] in ("X", "C", "M")
    assert type(event["ts"]) in (int, float)
    assert event["ts"] >= 0
    if event["ph"] == "X":
        assert type(event["cat"]) is str
        assert type(event["tid"]) is int
        assert event["dur"] >= 0
        assert math.isfinite(event["dur"])
    elif event["ph"] == "C":
        assert all(type(value) in (int, float) and math.isfinite(value) for value in event["args"].values())
        assert len(event["args"]) == 1
    else:
        argument, kind = METADATA[event["name"]]
        assert type(event["args"][argument]) is kind


def tracks(made: dict[str, Any]) -> dict[tuple[int, str], list[dict[str, Any]]]:
    """The complete events of every process and track, by the track's name."""
    names = {(e["pid"], e["tid"]): e["args"]["name"] for e in made["traceEvents"] if e["name"] == "thread_name"}
    found: dict[tuple[int, str], list[dict[str, Any]]] = defaultdict(list)
    for event in made["traceEvents"]:
        if event["ph"] == "X":
            found[event["pid"], names[event["pid"], event["tid"]]].append(event)
    return found


def check_nesting(events: list[dict[str, Any]]) -> None:
    """Events of a track lie in one another or behind one another, to the rounding of a float."""
    end = max(e["ts"] + e["dur"] for e in events)
    open_until = []
    for event in events:  # parents come before what they hold
        while open_until and event["ts"] >= open_until[-1] - 1e-9 * end:
            open_until.pop()
        stop = event["ts"] + event["dur"]
        assert not open_until or stop <= open_until[-1] + 1e-9 * end
        open_until.append(stop)


@pytest.mark.parametrize("name", ["resnet18", "bert_tiny", "quantized_cnn"])
@pytest.mark.parametrize("target", ["h100", "kpu", "tpu", "cpu"])
def test_durations_sum_to_the_latency_on_every_track(name: str, target: str) -> None:
    report = edpc.compile(str(MODELS / f"{name}.onnx"), target=target, batch=2)
    made = trace(report)
    for event in made["traceEvents"]:
        check(event)
    found = tracks(made)
    subgraphs = [e for e in found[1, "subgraphs"] if e["cat"] == "subgraph"]
    operators = [e for e in found[1, "subgraphs"] if e["cat"] != "subgraph"]
    engines = [e for engine in ("overhead", "compute", "memory") for e in found.get((1, engine), [])]
    assert (len(subgraphs), len(operators)) == (len(report.subgraphs), len(report.operators))
    for part in (subgraphs, operators, engines):
        assert math.fsum(e["dur"] for e in part) * 1e-6 == pytest.approx(report.latency_s, rel=1e-9)
    last = max(e["ts"] + e["dur"] for e in subgraphs)
    assert last * 1e-6 == pytest.approx(report.latency_s, rel=1e-9)
    by_engine = {
        engine: math.fsum(e["dur"] for e in found.get((1, engine), [])) * 1e-6 for engine in ("compute", "memory", "overhead")
    }
    assert by_engine == pytest.approx(msgspec.structs.asdict(report.totals.latency_by_component), rel=1e-9)
    for events in found.values():
        check_nesting(events)


def test_operators_lie_inside_their_subgraph() -> None:
    report = edpc.compile(str(MODELS / "resnet18.onnx"), target="tpu", batch=1)
    holder: dict[str, Any] = {}
    inside = 0
    for event in tracks(trace(report))[1, "subgraphs"]:
        if event["cat"] == "subgraph":
            holder = event
            continue
        inside += 1
        subgraph = next(s for s in report.subgraphs if s.id == holder["args"]["id"])
        assert event["args"]["operator_id"] in subgraph.operators
        assert event["ts"] >= holder["ts"] - 1e-9
        assert event["ts"] + event["dur"] <= holder["ts"] + holder["dur"] + 1e-6
    assert inside == len(report.operators)


def test_counters_integrate_to_energy_and_traffic() -> None:
    report = edpc.compile(str(MODELS / "bert_tiny.onnx"), target="h100", batch=4)
    events = trace(report)["traceEvents"]
    for name, scale, expected in (("power", 1.0, report.energy_j), ("DRAM bandwidth", 1e9, report.totals.dram_bytes)):
        levels = [(e["ts"], next(iter(e["args"].values()))) for e in events if e["ph"] == "C" and e["name"] == name]
        assert levels[-1][1] == 0.0
        area = sum(level * (after - at) for (at, level), (after, _) in pairwise(levels)) * 1e-6
        assert area * scale == pytest.approx(expected, rel=1e-6)


def test_each_report_is_a_process() -> None:
    one, two = (build_report(annotated(), toy_target(name)) for name in ("one", "two"))
    made = trace(one, two)
    names = [e["args"]["name"] for e in made["traceEvents"] if e["name"] == "process_name"]
    assert names == ["chain on one, fp32, batch 1", "chain on two, fp32, batch 1"]
    assert {e["pid"] for e in made["traceEvents"]} == {1, 2}


def test_names_are_text_and_an_empty_network_is_a_trace() -> None:
    hostile = trace(build_report(annotated(renamed(CHAIN, "\x1b[31m</script>")), toy_target()))
    assert any("\\x1b[31m</script>" in e["name"] for e in hostile["traceEvents"])
    empty = trace(build_report(annotated([]), toy_target()))
    assert not [e for e in empty["traceEvents"] if e["ph"] == "X"]


def test_a_report_from_a_file_has_no_engines() -> None:
    report = msgspec.json.decode(build_report(annotated(), toy_target()).to_json(), type=Report)
    with pytest.raises(UsageError, match="no graph to print; compile the model again"):
        trace(report)
