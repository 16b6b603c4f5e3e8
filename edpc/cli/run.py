"""What `edpc MODEL` does: read the model once, compile it for every target, write what was asked for."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TypeVar

from edpc import api
from edpc.cli.output import on_terminal, show, sign_of_life, write_stdout
from edpc.cli.places import Place, places
from edpc.emit import EmitKind, EmitOptions, emit_kind, pieces, write
from edpc.errors import EdpcError, GateError, ModelError, PassError, UsageError, VerifyError
from edpc.ir import Graph
from edpc.operators import KINDS, Family
from edpc.pipeline.base import Pass
from edpc.pipeline.manager import Instrumentation
from edpc.pipeline.reproducer import reproducer
from edpc.registry import find_target, load_all_passes
from edpc.report import Report, build_report
from edpc.report.records import Attribution, Metric, Phase
from edpc.target import Target

T = TypeVar("T")

ALL_TARGETS = ("h100", "kpu", "tpu", "cpu")
_COMMANDS = ("serve", "explain", "sweep", "diff", "targets", "blocks", "passes", "calibrate", "validate")


@dataclass(frozen=True, slots=True)
class Request:
    """The options of the command line as they were given."""

    model: str
    target: str
    precision: str | None
    batch: int | None
    seq: int | None
    phase: Phase | None
    past: int | None
    dim: Sequence[str]
    shape: Sequence[str]
    trip_count: Sequence[str]
    settings: Sequence[str]
    emit: str = "report"
    output: str | None = None
    fusion: str = "on"
    attribution: Attribution = "events"
    metric: Metric = "edp"
    top: int = 0
    depth: int | None = None
    explain: str | None = None
    strict: bool = False
    pass_pipeline: str | None = None
    pass_file: Sequence[str] = ()
    print_ir_before: Sequence[str] = ()
    print_ir_after: Sequence[str] = ()
    dump_ir: str | None = None
    timing: bool = False
    no_verify: bool = False


@dataclass(frozen=True, slots=True)
class _Machine:
    """A target as it was asked for: how, with which constants exchanged, and what came of it."""

    asked: str
    settings: tuple[str, ...]
    target: Target


def run(request: Request) -> None:
    """Does what the command line asks.

    Raises:
        UsageError: an option makes no sense; found before the model is read wherever possible.
        ModelError: the model cannot be read or is invalid.
        GateError: `--strict`, and an operator is not known; what was asked for has been written all the same.
    """
    kinds = [emit_kind(name) for name in _names(request.emit, "--emit")]
    machines = _machines(request)
    options = EmitOptions(request.top or None, request.depth, _pair_to_explain(request, machines))
    passes = load_all_passes(request.pass_file)
    needs_report = not all(kind.from_graph for kind in kinds)
    plan = places(request.output, kinds, request.model, [machine.target.name for machine in machines])
    _refuse_stdout(plan)
    _refuse_rewriting(kinds, request.model)
    graphs, reports, unknown = _compiled(request, machines, passes, needs_report)
    for place in plan:
        with _replayable(f"writing {place.kind.name}", graphs[place.which[0]], machines[place.which[0]], request):
            _write(place, graphs, reports, options)
    if request.strict and unknown:
        listed = ", ".join(f"{count} x {name}" for name, count in unknown.items())
        raise GateError(f"--strict: {request.model} has operators that edpc does not know: {listed}")


def reports_of(request: Request) -> list[Report]:
    """The reports of the model on every target; raises as `run` does."""
    return _compiled(request, _machines(request), load_all_passes(request.pass_file), needs_report=True)[1]


def _compiled(
    request: Request, machines: Sequence[_Machine], passes: Mapping[str, type[Pass]], needs_report: bool
) -> tuple[list[Graph], list[Report], Counter[str]]:
    """The graph annotated for every target, the reports where they are needed, and which operators edpc does not know."""
    watched = bool(request.print_ir_before or request.print_ir_after or request.timing)
    graphs: list[Graph] = []
    reports: list[Report] = []
    with sign_of_life(f"compiling {request.model}", wanted=not watched):
        loaded: dict[bool, Graph] = {}
        for machine in machines:
            executed = api.follows_runtime(request.model, machine.target)
            if executed not in loaded:
                loaded[executed] = _load(request, machine.target)
        unknown = _unknown(loaded.get(False) or loaded[True])
        for machine in machines:
            graph = loaded[api.follows_runtime(request.model, machine.target)]
            annotated = graph if machine is machines[-1] else graph.copy()
            _compile(request, annotated, machine, passes, several=len(machines) > 1)
            graphs.append(annotated)
            if needs_report:
                with _replayable("building the report", annotated, machine, request):
                    report = build_report(annotated, machine.target, attribution=request.attribution, metric=request.metric)
                reports.append(report)
    return graphs, reports, unknown


def _refuse_stdout(plan: Sequence[Place]) -> None:
    """Refuses binary forms on a terminal, and on stdout beside others."""
    binary = [place.kind.name for place in plan if place.path is None and place.kind.binary]
    if binary and (len(plan) > 1 or sys.stdout.isatty()):
        where = "beside others on stdout" if len(plan) > 1 else "on a terminal"
        raise UsageError(f"{binary[0]} is binary and does not go {where}; say with -o where to")


def _refuse_rewriting(kinds: Sequence[EmitKind], model: str) -> None:
    """Refuses to write as ONNX what is read from no ONNX file: textual IR may remember such a file, but is none."""
    named = model.lower()
    if any(kind.name == "onnx" for kind in kinds) and (
        named == "-" or named.startswith("block:") or named.endswith((".edp", ".pt2"))
    ):
        what = "only a model that was read from an ONNX file can be written as ONNX"
        raise UsageError(f"--emit onnx: {what}, and {model} is none; give the .onnx file")


def _names(text: str, option: str) -> list[str]:
    """The names of a comma-separated list, each once."""
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise UsageError(f"{option} {text!r} holds an empty name; separate names by single commas")
    return list(dict.fromkeys(names))


def machines_named(text: str) -> list[str]:
    """The targets of a comma-separated list, each once; `all` stands for the four default machines."""
    names = _names(text, "--target")
    return list(dict.fromkeys(each for name in names for each in (ALL_TARGETS if name == "all" else (name,))))


def _machines(request: Request) -> list[_Machine]:
    """The targets asked for; a setting `NAME:KEY=VALUE` is for the target of that name, one without a name for all."""
    asked = machines_named(request.target)
    for text in request.settings:
        if (scope := _scope(text)) and scope not in asked:
            raise UsageError(f"--set {text}: target {scope!r} is not among {', '.join(asked)}")
    made = []
    for name in asked:
        mine = tuple(text.removeprefix(f"{name}:") for text in request.settings if _scope(text) in ("", name))
        made.append(_Machine(name, mine, find_target(name, mine)))
    return made


def _pair_to_explain(request: Request, machines: Sequence[_Machine]) -> tuple[str, str] | None:
    """The names of the two targets of `--explain`, which must be among those compiled for."""
    if request.explain is None:
        return None
    names = _names(request.explain, "--explain")
    if len(names) != 2:
        raise UsageError(f"--explain {request.explain}: name two different targets, as in --explain h100,kpu")
    by_asked = {machine.asked: machine.target.name for machine in machines}
    for name in names:
        if name not in by_asked:
            raise UsageError(f"--explain {request.explain}: {name!r} is not among the targets {', '.join(by_asked)}")
    return by_asked[names[0]], by_asked[names[1]]


def _scope(setting: str) -> str:
    """The target that a setting names; empty where it is for all."""
    return setting.partition("=")[0].rpartition(":")[0]


def _load(request: Request, target: Target) -> Graph:
    """The graph that the target runs, with the sizes that were given."""
    dims, shapes = dimensions(request.dim), whole_shapes(request.shape)
    trips = dict(_pair(text, "--trip-count", "loop=10", _count) for text in request.trip_count)
    try:
        return api.load_for(
            target,
            request.model,
            batch=request.batch,
            dims=dims,
            shapes=shapes,
            trip_count=trips,
            seq=request.seq,
            phase=request.phase,
            past=request.past,
        )
    except ModelError as error:
        if (close := get_close_matches(request.model, _COMMANDS, 1)) and not Path(request.model).exists():
            raise ModelError(f"{error}; or is the command {close[0]!r} meant?") from error
        raise
    except EdpcError:
        raise
    except Exception as error:
        raise EdpcError(f"internal error while reading {request.model}, {type(error).__name__}: {error}") from error


def dimensions(texts: Sequence[str]) -> dict[str, int]:
    """Sizes of free dimensions by name, from texts like `batch=8`.

    Raises:
        UsageError: a text is not of that form.
    """
    return dict(_pair(text, "--dim", "batch=8", _count) for text in texts)


def whole_shapes(texts: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Shapes by name of input, from texts like `input=1,3,224,224`.

    Raises:
        UsageError: a text is not of that form.
    """
    return dict(_pair(text, "--shape", "input=1,3,224,224", _shape) for text in texts)


def _pair(text: str, option: str, example: str, read: Callable[[str], T]) -> tuple[str, T]:
    """NAME=VALUE; a name may hold an equals sign, a value may not."""
    name, equals, value = text.rpartition("=")
    try:
        if equals and name.strip():
            return name.strip(), read(value)
    except ValueError:
        pass
    raise UsageError(f"{option} {text}: write for example {option} {example}")


def _count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise ValueError(text)
    return number


def _shape(text: str) -> tuple[int, ...]:
    return tuple(_count(size) for size in text.strip("[]").split(",")) if text.strip("[]") else ()


def _unknown(graph: Graph) -> Counter[str]:
    """How many operators edpc does not know, by what the model calls them."""
    found: Counter[str] = Counter()
    for name in graph.compute_order():
        op = graph.op(name)
        if op.kind not in KINDS or KINDS[op.kind].family is Family.UNKNOWN:
            found[op.location.source_type if op.location and op.location.source_type else op.kind] += 1
    return found


def _compile(request: Request, graph: Graph, machine: _Machine, passes: Mapping[str, type[Pass]], several: bool) -> None:
    """Runs the pipeline, and prints what was asked to be printed around it."""
    folder = Path(request.dump_ir) if request.dump_ir else None
    around = Instrumentation(
        verify=not request.no_verify,
        kinds=frozenset(KINDS),
        print_before=tuple(request.print_ir_before),
        print_after=tuple(request.print_ir_after),
        dump_to=folder / machine.target.name if folder and several else folder,
        flags=_flags(machine, request),
    )
    statistics = api.run(
        graph,
        machine.target,
        precision=request.precision,
        fusion=request.fusion == "on",
        pipeline=request.pass_pipeline,
        passes=passes,
        instrumentation=around,
    )
    if request.timing:
        sys.stderr.write(f"{machine.target.name}\n{statistics.table()}" if several else statistics.table())


def _flags(machine: _Machine, request: Request) -> list[str]:
    """How `edpc-opt` is called to replay a failure."""
    flags = ["--target", machine.asked]
    for text in machine.settings:
        flags += ["--set", text]
    for path in request.pass_file:
        flags += ["--pass-file", path]
    return [*flags, "--precision", request.precision] if request.precision else flags


@contextmanager
def _replayable(what: str, graph: Graph, machine: _Machine, request: Request) -> Iterator[None]:
    """Turns a failure that is nobody's fault but edpc's into one with a reproducer: the graph as it is."""
    try:
        yield
    except Exception as error:
        if isinstance(error, EdpcError) and not isinstance(error, VerifyError):
            raise
        said = str(error) if isinstance(error, VerifyError) else f"{type(error).__name__}: {error}"
        raise PassError(f"{what} failed: {said}", reproducer(graph, (), _flags(machine, request), said)) from error


def _write(place: Place, graphs: Sequence[Graph], reports: Sequence[Report], options: EmitOptions) -> None:
    """Writes one form to its place; tables on a terminal go through rich."""
    if place.path is None and place.kind.name == "report" and on_terminal(sys.stdout):
        from edpc.emit.text import document

        show(document([reports[i] for i in place.which], options))
        return
    if place.kind.from_graph:
        data = pieces(place.kind, [graphs[i] for i in place.which], options)
    else:
        data = pieces(place.kind, [reports[i] for i in place.which], options)
    if place.path is None:
        write_stdout(data)
        return
    try:
        place.path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot make the folder {str(place.path.parent)!r}: {error.strerror or error}") from None
    write(place.path, data)
