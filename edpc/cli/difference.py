"""What `edpc diff` does: find or make the reports of both sides, pair them by target, write what changed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edpc import api
from edpc.cli.output import on_terminal, show, write_stdout
from edpc.cli.run import dimensions, machines_named
from edpc.emit import write
from edpc.emit.difference import difference_blocks
from edpc.emit.document import to_text
from edpc.emit.markdown import to_markdown
from edpc.errors import UsageError
from edpc.report import Report, build_report
from edpc.report.difference import Difference, diff, read_reports


@dataclass(frozen=True, slots=True)
class Compared:
    """The two sides as they were given, and how a side that is a model is compiled; None: as the saved report has it."""

    a: str
    b: str
    target: str | None
    precision: str | None
    batch: int | None
    dim: Sequence[str]
    settings: Sequence[str]


def differences(asked: Compared) -> list[Difference]:
    """What changed, target by target.

    Raises:
        ModelError: a side is neither a report nor a model that can be read.
        UsageError: no target is common to both sides, or an option fits neither.
    """
    saved = [read_reports(path) for path in (asked.a, asked.b)]
    if all(reports is not None for reports in saved):
        for option in ("target", "precision", "batch", "dim", "settings"):
            if getattr(asked, option):
                name = "set" if option == "settings" else option
                raise UsageError(f"--{name} says how a model is compiled, and both sides are saved reports")
    pattern = next((reports for reports in saved if reports is not None), None)
    sides = [
        reports if reports is not None else _compiled(path, asked, pattern)
        for path, reports in zip((asked.a, asked.b), saved, strict=True)
    ]
    return [diff(a, b) for a, b in _paired(*sides)]


def write_differences(found: Sequence[Difference], kind: str, output: str | None, top: int | None) -> None:
    """Writes them in one of the forms `report`, `md` and `json`, to a file or to stdout.

    Raises:
        UsageError: the file cannot be written.
    """
    blocks = [block for difference in found for block in difference_blocks(difference, top)]
    to_stdout = output in (None, "-")
    if kind == "report" and to_stdout and on_terminal(sys.stdout):
        show(blocks)
        return
    if kind == "json":
        lines = [difference.to_json() for difference in found]
        data = (lines[0] if len(lines) == 1 else b"[" + b",".join(lines) + b"]") + b"\n"
    else:
        data = (to_markdown(blocks) if kind == "md" else to_text(blocks)).encode()
    if output is None or to_stdout:
        write_stdout(data)
    else:
        write(Path(output), [data])


def _compiled(path: str, asked: Compared, pattern: Sequence[Report] | None) -> tuple[Report, ...]:
    """The reports of a model, for the targets asked for or those of the saved reports of the other side."""
    if asked.target is not None or pattern is None:
        jobs = [(name, asked.precision, asked.batch) for name in machines_named(asked.target or "cpu")]
    else:
        jobs = [(r.target.name, asked.precision or r.target.precision, asked.batch or r.target.batch) for r in pattern]
    dims = dimensions(asked.dim)
    found = []
    for name, precision, batch in jobs:
        machine = api.configure(name, asked.settings)
        graph = api.load_for(machine, path, batch=batch, dims=dims)
        api.run(graph, machine, precision=precision)
        found.append(build_report(graph, machine))
    return tuple(found)


def _paired(a: Sequence[Report], b: Sequence[Report]) -> list[tuple[Report, Report]]:
    """Reports of the same target; two that stand alone belong together whatever their targets."""
    if len(a) == len(b) == 1:
        return [(a[0], b[0])]
    by_target = {report.target.name: report for report in b}
    pairs = [(report, by_target[report.target.name]) for report in a if report.target.name in by_target]
    if not pairs:
        raise UsageError(
            f"no target is on both sides: {', '.join(r.target.name for r in a)} against {', '.join(by_target)}; "
            "name one with --target"
        )
    return pairs
