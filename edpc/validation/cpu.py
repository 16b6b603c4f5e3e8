"""The CPU backend: the model in ONNX Runtime on this machine, against the target that was calibrated here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from edpc import api
from edpc.blocks import PREFIX
from edpc.calibration.host import EnergyCounter
from edpc.calibration.measure import Key, keyed, node_key
from edpc.ir import Graph
from edpc.machine.build import kernelise
from edpc.machine.catalogue import model_of
from edpc.machine.stored_program_lines import LINES
from edpc.machine.walk import walk
from edpc.report import build_report
from edpc.runtime.contention import Contention
from edpc.runtime.executed import Executed, executed
from edpc.runtime.model import Prepared, prepare, weights
from edpc.runtime.near_cores import FAR, near_cores
from edpc.runtime.session import feeds_of, lowest_mean, node_times, open_session, profiled, run, settle
from edpc.target import Target
from edpc.validation.results import ModelResult, NodeResult

# Runs are spread over rounds, with and without the profiler in turn: a disturbance hits both alike, and passes.
_ROUNDS, _LEAST_RUNS, _MOST_RUNS = 10, 20, 400
# A run that takes so long is repeated once a round, and in fewer of them.
_LONG_S, _LONG_ROUNDS = 0.4, 4


@dataclass(frozen=True, slots=True)
class Measured:
    """What the machine did.

    Attributes:
        wall_s: latency of a run. nodes: time of every node by key, in s. energy_j: of a run, where it can be read.
        note: whether others used the machine meanwhile, or threads were far apart.
    """

    wall_s: float
    nodes: Mapping[Key, float]
    energy_j: float | None
    note: str


def validate(
    source: Any,
    targets: Sequence[Target],
    *,
    batch: int | None = None,
    dims: Mapping[str, int] | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    seconds: float = 3.0,
    name: str | None = None,
) -> list[ModelResult]:
    """Predicted and measured time of a model and of every node that ONNX Runtime executes.

    Inputs are made up, and weights where the model has none at hand. The model is judged by its unprofiled runs; what the
    profiler adds to a node (`profiler.node`, from the calibration) is taken off the nodes' times.

    Args:
        source: an ONNX model: path, bytes or `onnx.ModelProto`; or `block:NAME`, which PyTorch exports.
        targets: from `edpc calibrate`, one for each number of threads to run it with.
        batch: leading dimension of the inputs.
        dims: sizes of free dimensions by name.
        shapes: whole shapes by name of input.
        seconds: how long to run it for, at least.
        name: what the result calls the model.

    Raises:
        ModelError: the model cannot be read or run.
        UsageError: an override does not fit.
    """
    if isinstance(source, str) and source.startswith(PREFIX):
        from edpc.validation.export import exported

        name, source, batch = name or source, exported(source, batch), None
    prepared = prepare(source, batch=batch, dims=dims, shapes=shapes)
    values = weights(prepared)
    found = executed(prepared, values)
    label = name or prepared.name
    return [_under(target, replace(found, graph=found.graph.copy()), prepared, values, seconds, label) for target in targets]


def _under(
    target: Target, found: Executed, prepared: Prepared, values: Mapping[str, Any], seconds: float, name: str
) -> ModelResult:
    """The result under one target."""
    threads = int(target.setting("threads"))
    api.run(found.graph, target)
    report = build_report(found.graph, target)
    measured = measure(prepared, values, threads, seconds)
    profiler = target.constants()[f"threads.{threads}.profiler.node"]
    nodes, unmatched = compare(found, target, measured, profiler)
    peak = target.constants()["matrix.fp32.rate"] * threads / target.constants()["cores"]
    notes = [note for note in found.graph.info.notes if "denormal" in note]
    if measured.note:
        notes.append(measured.note)
    if unmatched:
        notes.append(f"{len(unmatched)} executed nodes were not predicted, the first is {unmatched[0][0]} ({unmatched[0][1]})")
    return ModelResult(
        name,
        f"{threads} thread{'s' if threads > 1 else ''}",
        found.graph.info.batch,
        report.latency_s,
        measured.wall_s,
        report.model.flops / peak,
        tuple(nodes),
        report.energy_j,
        measured.energy_j,
        tuple(notes),
    )


def measure(prepared: Prepared, values: Mapping[str, Any], threads: int, seconds: float) -> Measured:
    """Runs a prepared model: latency, and what its nodes take."""
    counter, contention = EnergyCounter(), Contention()
    with profiled(prepared, threads, values) as watched:
        plain = open_session(prepared, threads=threads, values=values)
        feeds = feeds_of(plain)
        walls: list[float] = []
        once = run(plain, feeds, prepared.name)
        run(watched, feeds, prepared.name)
        rounds, least = (_ROUNDS, _LEAST_RUNS) if once < _LONG_S else (_LONG_ROUNDS, _LONG_ROUNDS)
        each = -(-int(np.clip(seconds / 2 / max(once, 1e-6), least, _MOST_RUNS)) // rounds)
        joules, is_near = 0.0, True

        def ready(session: Any) -> bool:
            settle(session)
            with contention.paused():
                return threads == 1 or near_cores().wait()

        for _ in range(rounds):
            is_near &= ready(plain)
            if once < _LONG_S:
                run(plain, feeds, prepared.name)
            before = counter.joules()
            walls += [run(plain, feeds, prepared.name) for _ in range(each)]
            joules += counter.joules() - before
            is_near &= ready(watched)
            for _ in range(each):
                run(watched, feeds, prepared.name)
        note = contention.note() or ("" if is_near else FAR)
        nodes: dict[Key, float] = {}
        for node in node_times(watched, skip=2):
            key = node_key(node.name, node.operator, node.output_bytes)
            nodes[key] = nodes.get(key, 0.0) + node.seconds
    return Measured(lowest_mean(np.array(walls)), nodes, joules / len(walls) if counter.readable else None, note)


def compare(found: Executed, target: Target, measured: Measured, profiler_s: float) -> tuple[list[NodeResult], list[Key]]:
    """Every predicted node with its measured time, and the keys of executed nodes that were not predicted.

    Nodes that only a session's own numbers tell apart are one result: their operator, stem and output are the same.
    """
    graph: Graph = found.graph
    table = kernelise(walk(graph), graph.groups, target)
    lines = model_of(target).plan(table, target).line
    pooled: dict[Key, list[int]] = {}
    for row, (_, key) in enumerate(keyed(found)):
        pooled.setdefault(key, []).append(row)
    made = []
    for key, rows in pooled.items():
        predicted = sum(kernel.cost.latency_s for row in rows if (kernel := graph.groups[row].kernel) is not None)
        took = max(measured.nodes[key] - len(rows) * profiler_s, 0.0) if key in measured.nodes else 0.0
        name = key[0] if len(rows) == 1 else f"{key[0]} ({len(rows)} alike)"
        made.append(NodeResult(name, key[1], LINES[lines[rows[0]]], predicted, took))
    return made, [key for key in measured.nodes if key not in pooled]
