"""`edpc serve MODEL`: what a language model costs where it is served."""

from __future__ import annotations

import json
from collections.abc import Iterator

import click

from edpc.cli.output import show, write_stdout
from edpc.emit.document import Block, Column, Heading, Lines, Table, printable
from edpc.llm_serving import CHAT_SPREAD, FIGURES, Served, serve
from edpc.units import format_quantity


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("model")
@click.option("--target", "-t", default="h100", show_default=True, metavar="NAME", help="A GPU.")
@click.option("--prompt", type=click.IntRange(min=1), required=True, metavar="N", help="Tokens of a prompt.")
@click.option("--output", type=click.FloatRange(min=1), required=True, metavar="N", help="Tokens of an answer, on average.")
@click.option("--batch", type=click.IntRange(min=1), required=True, metavar="N", help="Sequences decoded at once.")
@click.option(
    "--spread",
    type=click.FloatRange(min=0),
    default=CHAT_SPREAD,
    show_default=True,
    metavar="X",
    help="Standard deviation of answers' lengths over their mean; 0 where all are alike.",
)
@click.option("--precision", default="bf16", show_default=True, metavar="NAME", help="What to serve in.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="A constant or switch: serving=off.")
@click.option("--emit", type=click.Choice(["report", "json"]), default="report", show_default=True, help="What to write.")
def serve_command(
    model: str,
    target: str,
    prompt: int,
    output: float,
    batch: int,
    spread: float,
    precision: str,
    settings: tuple[str, ...],
    emit: str,
) -> None:
    """Say what a decoder costs where it is served: latency between tokens, power, joules per token.

    MODEL is hf:PATH of a transformers configuration, block:llama-decoder, or a file that is a decode step.
    """
    found = serve(model, target, prompt=prompt, output=output, batch=batch, spread=spread, precision=precision, set=settings)
    if emit == "json":
        write_stdout((json.dumps(found.to_dict(), indent=2) + "\n").encode())
    else:
        show(_report(found))


def _report(found: Served) -> Iterator[Block]:
    yield Heading(f"{printable(found.model)} served by {found.target} in {found.precision}")
    yield Lines(
        "",
        (
            f"{found.batch} sequences at once, prompts of {found.prompt} tokens, answers of {found.output:g} on average;",
            f"a sequence has {found.context:.0f} tokens in its cache at a random step",
        ),
    )
    names = ("inter-token latency, median", "step, mean", "board power", "throughput", "energy per token")
    rows = tuple(
        (name, _figure(figure, getattr(found, figure)), _interval(found, figure))
        for name, figure in zip(names, FIGURES, strict=True)
    )
    yield Table("", (Column("", number=False), Column("value"), Column("90 % interval", number=False)), rows)
    columns = [Column(name) for name in ("prompts", "of steps", "network", "sampling", "gap", "step", "energy")]
    yield Table(
        "Steps by prompts read in them",
        tuple(columns),
        tuple(
            (
                str(step.prompts),
                f"{100 * step.share:.1f} %",
                *(format_quantity(s, "s") for s in (step.gpu_s, step.sampling_s, step.gap_s, step.latency_s)),
                format_quantity(step.energy_j, "J"),
            )
            for step in found.steps
            if step.share >= 0.001
        ),
    )
    yield Lines("Notes", tuple(printable(note) for note in found.notes))


def _figure(name: str, value: float) -> str:
    return f"{value:.1f} tokens/s" if name == "tokens_per_s" else format_quantity(value, {"s": "s", "w": "W", "j": "J"}[name[-1]])


def _interval(found: Served, name: str) -> str:
    return " to ".join(_figure(name, value) for value in found.intervals[name])
