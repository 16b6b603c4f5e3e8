"""`edpc validate MODEL...`: run models on this machine and hold the predictions against them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edpc.cli.output import show, sign_of_life, write_stdout
from edpc.errors import UsageError

if TYPE_CHECKING:
    from edpc.target import Target
    from edpc.validation.results import ModelResult


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("models", nargs=-1, required=True, metavar="MODEL...")
@click.option(
    "-t", "--target", default="cpu-host", show_default=True, metavar="NAME", help="cpu-host, or the NVIDIA GPU of this machine."
)
@click.option("--threads", metavar="N[,N...]", help="Numbers of threads; default: the target's own.")
@click.option("--batch", metavar="N[,N...]", help="Batch sizes; default: the models' own.")
@click.option("--dim", multiple=True, metavar="NAME=N", help="Value of a symbolic dimension.")
@click.option("--shape", multiple=True, metavar="NAME=1,3,224,224", help="Shape of an input.")
@click.option(
    "--seconds",
    type=click.FloatRange(min=0.1),
    default=3.0,
    show_default=True,
    metavar="S",
    help="How long to run each model for.",
)
@click.option(
    "-e", "--emit", type=click.Choice(["text", "json", "csv"]), default="text", show_default=True, help="What to write."
)
@click.option("-o", "--output", metavar="PATH", help="Where to; '-' is stdout.")
@click.option("--top", type=click.IntRange(min=0), default=10, show_default=True, metavar="N", help="Operators shown; 0: none.")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def validate_command(
    models: tuple[str, ...],
    target: str,
    threads: str | None,
    batch: str | None,
    dim: tuple[str, ...],
    shape: tuple[str, ...],
    seconds: float,
    emit: str,
    output: str | None,
    top: int,
    debug: bool,
) -> None:
    """Run each MODEL on this machine with made-up inputs and print predicted against measured.

    On cpu-host a model is an .onnx file or a building block (block:NAME), run in ONNX Runtime; on a GPU it is a building
    block, run in PyTorch.
    """
    from edpc.cli.run import dimensions, whole_shapes
    from edpc.registry import find_target
    from edpc.validation.render import document, to_csv, to_json

    machine = find_target(target)
    sizes: dict[str, Any] = {"dims": dimensions(dim), "shapes": whole_shapes(shape), "seconds": seconds}
    results: list[ModelResult] = []
    run = _backend(machine, _numbers(threads, "--threads"))
    for size in _numbers(batch, "--batch") or (None,):
        for model in models:
            with sign_of_life(f"running {model}", wanted=True):
                results += run(model, batch=size, **sizes)
    if emit == "text":
        if output in (None, "-"):
            show(document(results, machine.name, top))
            return
        from edpc.emit.document import to_text

        data = to_text(document(results, machine.name, top)).encode()
    else:
        data = to_json(results, machine.name) if emit == "json" else to_csv(results)
    if output in (None, "-"):
        write_stdout(data)
        return
    from edpc.emit import write

    write(Path(str(output)), [data])


def _backend(machine: Target, threads: list[int]) -> Callable[..., list[ModelResult]]:
    """The function that runs a model on the machine."""
    if "threads" in machine.settings:
        from edpc.validation.cpu import validate

        counts = threads or [int(machine.setting("threads"))]
        return partial(validate, targets=[machine.with_setting("threads", str(n)) for n in counts])
    if machine.architecture == "data-parallel":
        if threads:
            raise UsageError(f"--threads is of the CPU: target {machine.name} is a GPU")
        from edpc.validation.gpu import open_gpu

        return open_gpu(machine).validate
    raise UsageError(
        f"target {machine.name} cannot be measured on this machine: "
        "validate runs on cpu-host (see `edpc calibrate`) and on NVIDIA GPUs"
    )


def _numbers(text: str | None, option: str) -> list[int]:
    if not text:
        return []
    try:
        found = [int(part) for part in text.split(",")]
    except ValueError:
        found = [0]
    if min(found) < 1:
        raise UsageError(f"{option} {text}: write whole numbers from 1 on, separated by commas, for example {option} 1,8")
    return found
