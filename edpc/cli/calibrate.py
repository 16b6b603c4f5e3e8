"""`edpc calibrate`: measure this machine and write the target cpu-host."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edpc.cli.output import on_terminal
from edpc.errors import UsageError
from edpc.measured import VARIABLE, default_path

if TYPE_CHECKING:
    from edpc.calibration.measure import Progress

_QUICK = 3


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--threads", metavar="N[,N...]", help="Numbers of threads to measure; default: 1 and all cores.")
@click.option(
    "-o", "--output", metavar="PATH", envvar=VARIABLE, help="Where to; default: the user's data folder, for --target cpu-host."
)
@click.option(
    "--budget", type=click.FloatRange(min=0.0), default=50.0, show_default=True, metavar="S", help="Seconds it may take."
)
@click.option("--quick", is_flag=True, help="A third of the suite: faster, and less sure.")
@click.option("--tdp", type=click.FloatRange(min=1.0), metavar="W", help="Thermal design power of the package, for energy.")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def calibrate_command(
    threads: str | None, output: str | None, budget: float, quick: bool, tdp: float | None, debug: bool
) -> None:
    """Measure this machine with ONNX Runtime and write the target cpu-host.

    Runs some hundred small models of edpc's own, never a whole network. Leave the machine alone meanwhile.
    """
    from edpc.calibration.calibrate import calibrate
    from edpc.calibration.host import cores
    from edpc.calibration.suite import suite
    from edpc.measured import write_calibration

    counts = _counts(threads) if threads else sorted({1, cores()})
    path = Path(output) if output else default_path()
    with _progress() as progress:
        found = calibrate(suite(_QUICK if quick else 1), counts, budget, progress, tdp)
    write_calibration(found, path)
    where = "edpc MODEL --target cpu-host" if path == default_path() else f"edpc MODEL --target {path}"
    for note in found.notes:
        click.echo(note, err=True)
    click.echo(f"wrote {path}; use it with: {where}", err=True)


def _counts(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(f"--threads {text}: write numbers separated by commas, for example --threads 1,2") from None


@contextmanager
def _progress() -> Iterator[Progress]:
    """Shows what is being done on stderr where that is a terminal."""
    if not (sys.stderr.isatty() and on_terminal(sys.stderr)):
        yield lambda what, part: None
        return
    from rich.console import Console
    from rich.progress import Progress as Bar

    with Bar(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=1.0)
        yield lambda what, part: bar.update(task, description=what, completed=part)
