"""`edpc diff A B`: what changed between two models or two saved reports, and gates for CI."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import click

from edpc.errors import GateError, UsageError


@dataclass(frozen=True, slots=True)
class Gate:
    """A metric that may grow by at most so much, as a fraction."""

    metric: str
    limit: float


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("a")
@click.argument("b")
@click.option("-t", "--target", default=None, metavar="NAME[,NAME...]", help="Machines; default: the saved report's, or cpu.")
@click.option("--precision", metavar="NAME", help="Serve in this precision; default: the saved report's, or the model's own.")
@click.option("--batch", type=click.IntRange(min=1), metavar="N", help="Batch size.")
@click.option("--dim", multiple=True, metavar="NAME=N", help="Value of a symbolic dimension.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="A constant or switch of the target.")
@click.option("-e", "--emit", type=click.Choice(["report", "md", "json"]), default="report", show_default=True)
@click.option("-o", "--output", metavar="PATH", help="A file rather than stdout.")
@click.option("--top", type=click.IntRange(min=0), default=10, show_default=True, metavar="N", help="Operators shown; 0: all.")
@click.option(
    "--fail-above",
    multiple=True,
    metavar="[METRIC=]N%",
    help="Exit 1 where the metric (edp, energy, latency, ...; default edp) of B is more than N % above that of A.",
)
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def diff_command(
    a: str,
    b: str,
    target: str | None,
    precision: str | None,
    batch: int | None,
    dim: Sequence[str],
    settings: Sequence[str],
    emit: str,
    output: str | None,
    top: int,
    fail_above: Sequence[str],
    debug: bool,
) -> None:
    """Say what changed from A to B: each a model, or a report that `edpc --emit json` saved.

    A model is compiled for the machine, precision and batch of the saved report it is held against.
    """
    from edpc.cli.difference import Compared, differences, write_differences
    from edpc.report.difference import METRICS

    gates = [_gate(text, tuple(METRICS)) for text in fail_above]
    found = differences(Compared(a, b, target, precision, batch, tuple(dim), tuple(settings)))
    write_differences(found, emit, output, top or None)
    broken = []
    for difference in found:
        where = f" on {difference.b.target}" if len(found) > 1 else ""
        for gate in gates:
            change = difference.metric(gate.metric)
            grown = change.relative if change.relative is not None else float("inf")
            if grown > gate.limit:
                broken.append(f"{gate.metric}{where} grew by {100 * grown:.2f} %, more than {100 * gate.limit:g} %")
    if broken:
        raise GateError(f"--fail-above: {'; '.join(broken)}")


def _gate(text: str, metrics: Sequence[str]) -> Gate:
    """`5%` or `latency=5%`.

    Raises:
        UsageError: it is neither, or the metric is unknown.
    """
    metric, equals, limit = text.rpartition("=")
    metric = metric.strip().replace("_", "-") if equals else "edp"
    if metric not in metrics:
        raise UsageError(f"--fail-above {text}: there is no metric {metric!r}; known are {', '.join(metrics)}")
    number = limit.strip()
    try:
        value = float(number.removesuffix("%"))
    except ValueError:
        value = -1.0
    if not number.endswith("%") or not 0.0 <= value < float("inf"):
        raise UsageError(f"--fail-above {text}: write a percentage from 0, for example 5% or latency=2.5%")
    return Gate(metric, value / 100)
