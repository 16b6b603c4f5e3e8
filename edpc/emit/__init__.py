"""Emitters: a report in, bytes out. They print what the report says and compute nothing that the JSON does not hold.

Names in a model are untrusted text: whoever writes for a terminal escapes them (`edpc.emit.document.printable`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, cast

from edpc.errors import UsageError

if TYPE_CHECKING:
    from edpc.ir import Graph
    from edpc.report import Report


@dataclass(frozen=True, slots=True)
class EmitOptions:
    """What readers may ask of an emitter.

    Attributes:
        top: how many subgraphs the tables show; None for all.
        depth: how many levels of modules the report shows; None for no such table.
        explain: names of the two targets whose difference a comparison explains; None for the lowest EDP and the next.
    """

    top: int | None = 10
    depth: int | None = None
    explain: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class EmitKind:
    """A form a report can take.

    Attributes:
        name: as given to `--emit`. suffix: of its files. summary: one line.
        home: module with a function `emit(items, options)` that answers bytes, or pieces of them; imported when first used.
        from_graph: whether it prints graphs, so that a graph will do for a report.
        one_each: whether several reports make several files.
        binary: whether it is no text, and so never for a terminal.
    """

    name: str
    suffix: str
    summary: str
    home: str
    from_graph: bool = False
    one_each: bool = False
    binary: bool = False


EMIT_KINDS: dict[str, EmitKind] = {
    kind.name: kind
    for kind in (
        EmitKind("report", ".txt", "tables for people", "edpc.emit.text"),
        EmitKind("json", ".json", "everything, as edpc/report-v1 or edpc/comparison-v1", "edpc.emit.json"),
        EmitKind("csv", ".csv", "one row per operator, plain numbers", "edpc.emit.csv"),
        EmitKind("md", ".md", "tables in Markdown, for pull requests", "edpc.emit.markdown"),
        EmitKind("html", ".html", "one self-contained interactive page", "edpc.emit.html"),
        EmitKind("svg", ".svg", "plots: roofline, EDP by component, cumulative share, targets", "edpc.emit.svg"),
        EmitKind("png", ".png", "the same plots as a picture", "edpc.emit.png", binary=True),
        EmitKind("trace", ".trace.json", "the predicted timeline, for Perfetto or chrome://tracing", "edpc.emit.trace"),
        EmitKind("onnx", ".onnx", "the model with its figures on every node", "edpc.emit.onnx", one_each=True, binary=True),
        EmitKind("dot", ".dot", "the fused graph for Graphviz", "edpc.emit.dot", one_each=True),
        EmitKind("model-explorer", ".me.json", "an overlay for Model Explorer", "edpc.emit.model_explorer", one_each=True),
        EmitKind("ir", ".edp", "the annotated IR as text", "edpc.emit.ir", from_graph=True, one_each=True),
    )
}


_Emitter = Callable[["Sequence[Report] | Sequence[Graph]", EmitOptions], bytes | Iterable[bytes]]


def emit_kind(name: str) -> EmitKind:
    """The form of that name.

    Raises:
        UsageError: there is none; says which one may be meant and lists all.
    """
    if name in EMIT_KINDS:
        return EMIT_KINDS[name]
    close = get_close_matches(name, EMIT_KINDS, 1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    raise UsageError(f"there is no emit kind {name!r}; {hint}Known are {', '.join(EMIT_KINDS)}")


def emit_kind_of(path: Path) -> EmitKind | None:
    """The form that the file's name ends in (`.trace.json` before `.json`); None where there is none."""
    ends = [kind for kind in EMIT_KINDS.values() if path.name.endswith(kind.suffix)]
    return max(ends, key=lambda kind: len(kind.suffix), default=None)


def pieces(kind: EmitKind, items: Sequence[Report] | Sequence[Graph], options: EmitOptions | None = None) -> Iterable[bytes]:
    """The reports (or graphs, where the form is `from_graph`) in that form, piece by piece: a model may be large.

    Raises:
        UsageError: a report does not hold what the form prints.
    """
    emitter = cast("_Emitter", import_module(kind.home).emit)
    made = emitter(items, options or EmitOptions())
    return (made,) if isinstance(made, bytes) else made


def emit(kind: EmitKind, items: Sequence[Report] | Sequence[Graph], options: EmitOptions | None = None) -> bytes:
    """The same in one piece.

    Raises:
        UsageError: a report does not hold what the form prints.
    """
    return b"".join(pieces(kind, items, options))


def save(reports: Sequence[Report], path: Path, options: EmitOptions | None = None) -> None:
    """Writes the reports to a file, in the form that its suffix names.

    Raises:
        UsageError: no form has that suffix, it takes one report a file, or the file cannot be written.
    """
    kind = emit_kind_of(path)
    if kind is None:
        suffixes = ", ".join(kind.suffix for kind in EMIT_KINDS.values())
        raise UsageError(f"cannot tell from {str(path)!r} what to write; suffixes known are {suffixes}")
    if kind.one_each and len(reports) > 1:
        raise UsageError(f"{kind.name} holds one report a file; save the {len(reports)} reports one by one")
    write(path, pieces(kind, reports, options))


def write(path: Path, data: Iterable[bytes]) -> None:
    """Writes a file, piece by piece, and puts it in place when it is whole: what is read to make it may be the file itself.

    Raises:
        UsageError: it cannot be written; says why.
    """
    made = iter(data)
    first = next(made, b"")  # before anything is opened: what cannot be made leaves nothing behind
    place = path.resolve()
    whole = place.with_name(f".{place.name}.part") if place.is_file() or not place.exists() else place
    try:
        with whole.open("wb") as file:
            file.write(first)
            file.writelines(made)
        if whole != place:
            whole.replace(place)
    except OSError as error:
        raise UsageError(f"cannot write {str(path)!r}: {error.strerror or error}") from None
    finally:
        if whole != place:
            whole.unlink(missing_ok=True)
