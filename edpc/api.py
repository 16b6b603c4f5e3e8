"""The Python API: from a model and a target to a report. Prints nothing and keeps no state.

report = edpc.compile("model.onnx", target="h100", precision="bf16", batch=8)
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from edpc import frontends
from edpc.errors import UsageError
from edpc.ir import Graph
from edpc.operators import KINDS
from edpc.pipeline.base import Pass, PassContext
from edpc.pipeline.manager import Instrumentation, Statistics, run_pipeline
from edpc.pipeline.text import Fixpoint, Pipeline, parse_pipeline
from edpc.registry import apply_set, find_target
from edpc.report import Comparison, Report, build_comparison, build_report
from edpc.report.records import Attribution, Metric, Phase
from edpc.target import Target

if TYPE_CHECKING:
    import onnx
    import torch

    Model = str | os.PathLike[str] | bytes | onnx.ModelProto | torch.nn.Module | torch.export.ExportedProgram | Graph

Settings = Mapping[str, str | float] | Iterable[str]

_FUSION = "fuse-operators"


def compile(
    source: Model,
    target: str | Target = "cpu",
    precision: str | None = None,
    batch: int | None = None,
    dims: Mapping[str, int] | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    *,
    trip_count: Mapping[str, int] | None = None,
    example_inputs: Any = None,
    seq: int | None = None,
    phase: Phase | None = None,
    past: int | None = None,
    set: Settings = (),
    fusion: bool = True,
    attribution: Attribution = "events",
    metric: Metric = "edp",
    pipeline: str | None = None,
) -> Report:
    """The report of a model on a target.

    Args:
        source: path of an .onnx, .pt2 or .edp file, `-` for stdin, `package.module:factory`, `block:NAME?key=value`, `hf:PATH` of
            a transformers configuration, ONNX bytes, an `onnx.ModelProto`, a `torch.nn.Module`, a `torch.export.ExportedProgram`,
            a `torch.fx.GraphModule`, or a graph from `load`.
        target: name of a target, path of a file that holds one, or a target.
        precision: what to serve the network in (`bf16`, `int8`, ...); None for the model's own.
        batch: leading dimension of the network's inputs.
        dims: sizes of free dimensions by name.
        shapes: whole shapes by name of input.
        trip_count: iterations of loops by node name.
        example_inputs: what an `nn.Module` is called with: a tensor, a tuple or a dict of arguments.
        seq: of a configuration, the length of its main input: tokens, or frames or samples of a recording. In decode, tokens a
            run adds.
        phase: of a configuration that generates text: `prefill` reads a prompt, `decode` adds tokens to a cache.
        past: of the same, tokens in the cache before the run.
        set: constants and settings of the target to exchange: `{"hbm.bandwidth": "4.8TB/s"}` or `["hbm.bandwidth=4.8TB/s"]`.
        fusion: whether the target's fusion rules apply; False makes every operator a kernel of its own.
        attribution: how a subgraph's EDP goes to its operators: `events`, `flops` or `modifiers`.
        metric: what tables rank by: `edp`, `energy`, `latency` or `ed2p`.
        pipeline: passes to run rather than the target's, as text.

    Raises:
        ModelError: the model cannot be read or is invalid.
        UsageError: an argument does not fit the model or the target.
        PassError: a pass failed; the error holds a reproducer.
    """
    check_choice("attribution", attribution, ("events", "flops", "modifiers"))
    check_choice("metric", metric, ("edp", "energy", "latency", "ed2p"))
    machine = configure(target, set)
    graph = load_for(
        machine,
        source,
        batch=batch,
        dims=dims,
        shapes=shapes,
        trip_count=trip_count,
        example_inputs=example_inputs,
        seq=seq,
        phase=phase,
        past=past,
    )
    run(graph, machine, precision=precision, fusion=fusion, pipeline=pipeline)
    return build_report(graph, machine, attribution=attribution, metric=metric)


def compare(reports: Iterable[Report], explain: tuple[str, str] | None = None) -> Comparison:
    """The reports side by side; the first is the baseline of the ratios.

    Args:
        reports: at least one.
        explain: names of two of their targets, whose EDP ratio is divided into causes; None for the lowest EDP and the next.

    Raises:
        UsageError: there are no reports, or the two cannot be explained.
    """
    return build_comparison(tuple(reports), explain)


def load(
    source: Model,
    *,
    batch: int | None = None,
    dims: Mapping[str, int] | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    trip_count: Mapping[str, int] | None = None,
    example_inputs: Any = None,
    seq: int | None = None,
    phase: Phase | None = None,
    past: int | None = None,
) -> Graph:
    """The graph of a model, before any pass; arguments as of `compile`. A graph is copied.

    Raises:
        ModelError: the model cannot be read or is invalid.
        UsageError: an argument does not fit the model.
    """
    if phase is not None:
        check_choice("phase", phase, ("prefill", "decode"))
    for name, value, least in (("seq", seq, 1), ("past", past, 0)):
        if value is not None and value < least:
            raise UsageError(f"{name} is {least} or more, not {value}")
    return frontends.load(
        source,
        batch=batch,
        dims=dims,
        shapes=shapes,
        trip_count=trip_count,
        example_inputs=example_inputs,
        seq=seq,
        phase=phase,
        past=past,
    )


def load_for(target: Target, source: Model, **given: Any) -> Graph:
    """The graph that the target runs: of the model, or of what a runtime makes of it; arguments as of `load`.

    Raises:
        ModelError: the model cannot be read or is invalid.
        UsageError: an argument does not fit the model.
    """
    sizes = {name: given.get(name) for name in ("batch", "dims", "shapes")}
    if follows_runtime(source, target) and not any(value for name, value in given.items() if name not in sizes):
        return load_executed(source, **sizes)
    return load(source, **given)


def follows_runtime(source: Model, target: Target) -> bool:
    """Whether the target runs what a runtime makes of the model (its setting `graph`), and the model is one the runtime reads."""
    if "graph" not in target.settings or target.setting("graph") != "runtime":
        return False
    if isinstance(source, str | os.PathLike):
        name = os.fspath(source)
        return name.lower().endswith(".onnx") and not name.startswith("block:")
    return isinstance(source, bytes) or type(source).__name__ == "ModelProto"


def load_executed(
    source: Model,
    *,
    batch: int | None = None,
    dims: Mapping[str, int] | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
) -> Graph:
    """The graph that ONNX Runtime makes of a model on this machine, before any pass; arguments as of `compile`.

    Raises:
        ModelError: the model cannot be read, or the runtime refuses it.
        UsageError: an override does not fit, or onnxruntime is not installed.
    """
    from edpc.runtime.executed import executed_graph

    return executed_graph(source, batch=batch, dims=dims, shapes=shapes)


def configure(target: str | Target, settings: Settings = ()) -> Target:
    """The target with constants and settings exchanged.

    Args:
        target: its name, the path of a file that holds it, or the target itself.
        settings: by name, or as `KEY=VALUE` texts. A number is in the constant's own unit.

    Raises:
        UsageError: no such target, constant or setting, or a value of another unit or out of range.
    """
    machine = find_target(target) if isinstance(target, str) else target
    if isinstance(settings, Mapping):
        settings = [f"{key}={value}" for key, value in settings.items()]
    for text in [settings] if isinstance(settings, str) else settings:
        machine = apply_set(machine, text)
    return machine


def run(
    graph: Graph,
    target: Target,
    *,
    precision: str | None = None,
    fusion: bool = True,
    pipeline: str | None = None,
    passes: Mapping[str, type[Pass]] | None = None,
    instrumentation: Instrumentation | None = None,
) -> Statistics:
    """The graph is as the pipeline leaves it, changed in place; answers what each pass did.

    Args:
        graph: from `load`.
        target: the machine.
        precision: as of `compile`.
        fusion: as of `compile`.
        pipeline: its text; None for the target's own.
        passes: passes beside the registered ones that the text may name.
        instrumentation: verification, printing and dumping; None verifies and prints nothing.

    Raises:
        UsageError: the pipeline is not valid, or the target serves nothing near that precision.
        PassError: a pass failed.
    """
    elements = parse_pipeline(target.pipeline if pipeline is None else pipeline, passes)
    if not fusion:
        elements = without_fusion(elements)
    return run_elements(graph, target, elements, precision=precision, instrumentation=instrumentation)


def run_elements(
    graph: Graph,
    target: Target,
    pipeline: Pipeline,
    *,
    precision: str | None = None,
    instrumentation: Instrumentation | None = None,
) -> Statistics:
    """As `run`, of a pipeline that is parsed already."""
    around = instrumentation or Instrumentation(kinds=frozenset(KINDS))
    return run_pipeline(graph, pipeline, PassContext(target, precision), around)


def without_fusion(pipeline: Pipeline) -> Pipeline:
    """The pipeline with its fusion pass told to leave every operator a kernel of its own."""

    def told(each: Pass) -> Pass:
        options: dict[str, Any] = {"enabled": False}
        return replace(each, **options) if each.name == _FUSION else each

    return tuple(
        replace(element, passes=tuple(map(told, element.passes))) if isinstance(element, Fixpoint) else told(element)
        for element in pipeline
    )


def check_choice(what: str, value: str, choices: Sequence[str]) -> None:
    """Refuses a value that is not one of the choices."""
    if value not in choices:
        raise UsageError(f"{what} is one of {', '.join(choices)}, not {value!r}")
