"""Emitters: a report in, bytes out. They print what the report says and compute nothing that the JSON does not hold.

Names in a model are untrusted text: whoever writes for a terminal escapes them (`edpc.emit.document.printable`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
        explain: names of the two targets whose difference a comparison explains; None for the lowest EDP and the next.
    """

    top: int | None = 10
    explain: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class EmitKind:
    """A form a report can take.

    Attributes:
        name: as given to `--emit`. suffix: of its files. summary: one line.
        home: module with a function `emit(items, options) -> bytes`; imported when first used.
        from_graph: whether it prints graphs, so that a graph will do for a report, and several make several files.
    """

    name: str
    suffix: str
    summary: str
    home: str
    from_graph: bool = False


EMIT_KINDS: dict[str, EmitKind] = {
    kind.name: kind
    for kind in (
        EmitKind("report", ".txt", "tables for people", "edpc.emit.text"),
        EmitKind("json", ".json", "everything, as edpc/report-v1 or edpc/comparison-v1", "edpc.emit.json"),
        EmitKind("csv", ".csv", "one row per operator, plain numbers", "edpc.emit.csv"),
        EmitKind("ir", ".edp", "the annotated IR as text", "edpc.emit.ir", from_graph=True),
    )
}


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


def emit(kind: EmitKind, items: Sequence[Report] | Sequence[Graph], options: EmitOptions | None = None) -> bytes:
    """The reports (or graphs, where the form is `from_graph`) in that form.

    Raises:
        UsageError: a report does not hold what the form prints.
    """
    emitter = cast("Callable[[Sequence[Report] | Sequence[Graph], EmitOptions], bytes]", import_module(kind.home).emit)
    return emitter(items, options or EmitOptions())


def save(reports: Sequence[Report], path: Path, options: EmitOptions | None = None) -> None:
    """Writes the reports to a file, in the form that its suffix names.

    Raises:
        UsageError: no form has that suffix, or the file cannot be written.
    """
    by_suffix = {kind.suffix: kind for kind in EMIT_KINDS.values()}
    if path.suffix not in by_suffix:
        raise UsageError(f"cannot tell from {str(path)!r} what to write; suffixes known are {', '.join(by_suffix)}")
    write(path, emit(by_suffix[path.suffix], reports, options))


def write(path: Path, data: bytes) -> None:
    """Writes a file.

    Raises:
        UsageError: it cannot be written; says why.
    """
    try:
        path.write_bytes(data)
    except OSError as error:
        raise UsageError(f"cannot write {str(path)!r}: {error.strerror or error}") from None
