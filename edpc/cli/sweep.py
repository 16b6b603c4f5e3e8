"""`edpc sweep MODEL...`: batches, precisions, targets and machine constants in one grid."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import click

from edpc.errors import ModelError, UsageError
from edpc.report.records import Metric

T = TypeVar("T")

_FORMS = ("table", "csv", "parquet", "svg")


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("models", nargs=-1, required=True, metavar="MODEL...")
@click.option("-t", "--target", default="cpu", show_default=True, metavar="NAME[,NAME...]", help="Machines, or 'all'.")
@click.option("--precision", metavar="NAME[,NAME...]", help="Precisions; default: the model's own.")
@click.option("--batch", metavar="N[,N...]", help="Batch sizes.")
@click.option("--dim", multiple=True, metavar="NAME=N[,N...]", help="Sizes of a symbolic dimension.")
@click.option("--fusion", default="on", show_default=True, metavar="on|off|on,off", help="Fuse operators.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="A constant or switch that holds throughout.")
@click.option(
    "--vary",
    multiple=True,
    metavar="KEY=VALUES",
    help="A constant or switch and its values: hbm.bandwidth=2TB/s,4TB/s or =1TB/s:8TB/s:100[:log]; h100:KEY=... for one target.",
)
@click.option("-e", "--emit", default="table", show_default=True, metavar="FORM[,FORM...]", help=f"{', '.join(_FORMS)}.")
@click.option(
    "-o",
    "--output",
    metavar="DIR",
    help="A folder for the forms and the journal; a sweep that was killed goes on from its journal.",
)
@click.option("--jobs", type=click.IntRange(min=1), metavar="N", help="Processes; default: one per core where it pays.")
@click.option("--scheduler", metavar="ADDRESS", help="Workers of a dask.distributed scheduler rather than of this machine.")
@click.option("--metric", type=click.Choice(["edp", "energy", "latency", "ed2p"]), default="edp", show_default=True)
@click.option("--top", type=click.IntRange(min=0), default=20, show_default=True, metavar="N", help="Rows shown; 0: all.")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def sweep_command(
    models: Sequence[str],
    target: str,
    precision: str | None,
    batch: str | None,
    dim: Sequence[str],
    fusion: str,
    settings: Sequence[str],
    vary: Sequence[str],
    emit: str,
    output: str | None,
    jobs: int | None,
    scheduler: str | None,
    metric: Metric,
    top: int,
    debug: bool,
) -> None:
    """Price every combination of what is listed; a row is what `edpc MODEL --set KEY=VALUE` would answer."""
    from edpc import api
    from edpc.cli.output import show, write_stdout
    from edpc.cli.run import machines_named
    from edpc.emit import write
    from edpc.sweep import Sweep, axis, forms, run_sweep

    wanted = _listed("--emit", emit, str)
    for form in wanted:
        if form not in _FORMS:
            raise UsageError(f"--emit {form}: a sweep is written as {', '.join(_FORMS)}")
    if output is None and (len(wanted) > 1 or wanted[0] in ("parquet", "svg")):
        raise UsageError(f"--emit {emit} needs a folder: name one with --output")
    targets = machines_named(target)
    grid = Sweep(
        models=tuple(models),
        targets=tuple(targets),
        precisions=_listed("--precision", precision, str) if precision else (None,),
        batches=_listed("--batch", batch, _positive) if batch else (None,),
        dims=tuple(_dimension(text) for text in dim),
        fusions=_listed("--fusion", fusion, _switch),
        settings=tuple(settings),
        axes=tuple(axis(text, api.configure(_home(text, targets))) for text in vary),
    )
    folder = Path(output) if output is not None else None
    with _progress() as progress:
        outcome = run_sweep(grid, jobs=jobs or os.cpu_count() or 1, scheduler=scheduler, folder=folder, progress=progress)
    for form in wanted:
        path = folder / f"sweep.{form}" if folder is not None else None
        if form == "table":
            show(forms.blocks(outcome, metric, top or None))
        elif form == "parquet" and path is not None:
            forms.write_parquet(outcome, path)
        else:
            data = forms.to_csv(outcome) if form == "csv" else forms.to_svg(outcome, metric)
            write(path, [data]) if path is not None else write_stdout(data)
    if outcome.failures:
        point, error = outcome.failures[0]
        count = len(outcome.failures)
        raise ModelError(f"{count} of {len(outcome.points)} points failed, the first {point.model} on {point.target}: {error}")


def _listed(option: str, text: str, read: Callable[[str], T]) -> tuple[T, ...]:
    """The values of a comma-separated list, each once."""
    try:
        return tuple(dict.fromkeys(read(part.strip()) for part in text.split(",")))
    except ValueError:
        raise UsageError(f"{option} {text}: not a list of values separated by commas") from None


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def _switch(text: str) -> bool:
    if text not in ("on", "off"):
        raise ValueError(text)
    return text == "on"


def _dimension(text: str) -> tuple[str, tuple[int, ...]]:
    name, equals, sizes = text.rpartition("=")
    if not (equals and name.strip()):
        raise UsageError(f"--dim {text}: write for example --dim sequence=128,512")
    return name.strip(), _listed("--dim", sizes, _positive)


def _home(text: str, targets: Sequence[str]) -> str:
    """The target that an axis is for, or the first, which knows the unit of its values."""
    scope = text.partition("=")[0].rpartition(":")[0].strip()
    if scope and scope not in targets:
        raise UsageError(f"--vary {text}: target {scope!r} is not among {', '.join(targets)}")
    return scope or targets[0]


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None] | None]:
    """A bar on stderr where that is a terminal, once the sweep has taken more than a second."""
    from edpc.cli.output import on_terminal

    if not (sys.stderr.isatty() and on_terminal(sys.stderr)):
        yield None
        return
    import time

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    started = time.monotonic()
    columns = (TextColumn("sweep"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=Console(stderr=True), transient=True)
    task = bar.add_task("sweep")

    def told(done: int, total: int) -> None:
        if not bar.live.is_started and time.monotonic() - started > 1.0:
            bar.start()
        bar.update(task, completed=done, total=total)

    try:
        yield told
    finally:
        bar.stop()
