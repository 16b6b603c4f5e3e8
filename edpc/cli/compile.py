"""`edpc MODEL`: the options of the default command; `edpc.cli.run` does the work."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

Command = Callable[..., Any]


class TopCommand(click.Command):
    """A command that is called by the group's own name."""

    class context_class(click.Context):  # noqa: D106  # click looks for this name
        @property
        def command_path(self) -> str:
            """How the command is called: as the group is."""
            return self.parent.command_path if self.parent is not None else "edpc"


def _complete_targets(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from edpc.registry import target_names

    return _complete_last(["all", *target_names()], incomplete)


def _complete_emit(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from edpc.emit import EMIT_KINDS

    return _complete_last(EMIT_KINDS, incomplete)


def _complete_last(names: Iterable[str], incomplete: str) -> list[CompletionItem]:
    """Completions of the last name of a comma-separated list."""
    before, comma, last = incomplete.rpartition(",")
    return [CompletionItem(before + comma + name) for name in names if name.startswith(last)]


TARGET = click.option(
    "-t",
    "--target",
    default="cpu",
    show_default=True,
    metavar="NAME[,NAME...]",
    shell_complete=_complete_targets,
    help="Machines, or 'all' for h100,kpu,tpu,cpu; a file ./my_npu.py is a target too.",
)
SIZES = (
    click.option("--precision", metavar="NAME", help="Serve in fp32, tf32, bf16, fp16, fp8 or int8; default: the model's own."),
    click.option("--batch", type=click.IntRange(min=1), metavar="N", help="Batch size."),
    click.option("--seq", type=click.IntRange(min=1), metavar="N", help="Tokens (frames, samples) of a configuration's input."),
    click.option("--phase", type=click.Choice(["prefill", "decode"]), help="Of a configuration: read a prompt, or add to it."),
    click.option("--past", type=click.IntRange(min=0), metavar="N", help="Tokens in the key/value cache before the run."),
    click.option("--dim", multiple=True, metavar="NAME=N", help="Value of a symbolic dimension."),
    click.option("--shape", multiple=True, metavar="NAME=1,3,224,224", help="Shape of an input."),
    click.option("--trip-count", multiple=True, metavar="NODE=N", help="How often a loop runs."),
    click.option(
        "--set",
        "settings",
        multiple=True,
        metavar="KEY=VALUE",
        help="A constant or switch: hbm.bandwidth=4.8TB/s; h100:KEY=VALUE for one target of several.",
    ),
)


def options(*each: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Puts options on a command, in the order in which the help shows them."""

    def decorated(command: Command) -> Command:
        for option in reversed(each):
            command = option(command)
        return command

    return decorated


@click.command(
    cls=TopCommand,
    context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "EDPC"},
    epilog="Options are also read from EDPC_* variables and from [tool.edpc] of ./pyproject.toml or ./edpc.toml. "
    "Exit codes: 0 done, 1 a gate failed, 2 wrong usage, 3 the model cannot be read, 4 an internal error.",
)
@click.argument("model")
@options(TARGET)
@click.option(
    "-e",
    "--emit",
    default="report",
    show_default=True,
    metavar="KIND[,KIND...]",
    shell_complete=_complete_emit,
    help="What to write: report, json, csv, md, html, svg, png, trace, onnx, dot, model-explorer, ir.",
)
@click.option(
    "-o",
    "--output",
    metavar="PATH",
    help="Where to: a file for one kind; a folder (DIR/) or the stem of the files' names for several. '-' is stdout.",
)
@options(*SIZES)
@click.option("--fusion", type=click.Choice(["on", "off"]), default="on", show_default=True, help="Fuse operators.")
@click.option(
    "--attribution",
    type=click.Choice(["events", "flops", "modifiers"]),
    default="events",
    show_default=True,
    help="How a subgraph's EDP goes to its operators.",
)
@click.option(
    "--metric",
    type=click.Choice(["edp", "energy", "latency", "ed2p"]),
    default="edp",
    show_default=True,
    help="What subgraphs are ranked by.",
)
@click.option("--top", type=click.IntRange(min=0), default=10, show_default=True, metavar="N", help="Subgraphs shown; 0: all.")
@click.option("--depth", type=click.IntRange(min=1), metavar="N", help="Show the modules of the model too, N levels deep.")
@click.option(
    "--explain",
    metavar="A,B",
    shell_complete=_complete_targets,
    help="Why target A's EDP differs from B's, cause by cause; without --target, these two are compared.",
)
@click.option("--strict", is_flag=True, help="Fail (exit 1) when an operator of the model is not known.")
@click.option("--pass-pipeline", metavar="TEXT", help="Run these passes rather than the target's.")
@click.option("--pass-file", multiple=True, metavar="FILE", help="A Python file with passes of your own.")
@click.option("--print-ir-before", multiple=True, metavar="PASS", help="Print the IR before a pass, to stderr; or 'all'.")
@click.option("--print-ir-after", multiple=True, metavar="PASS", help="The same after a pass; 'all', or 'changed'.")
@click.option("--dump-ir", metavar="DIR", help="Write the IR after each pass to a numbered file.")
@click.option("--timing", is_flag=True, help="Print how long each pass took, to stderr.")
@click.option("--no-verify", is_flag=True, help="Do not verify the IR between passes.")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def compile_command(model: str, **options: Any) -> None:
    """Say where the energy-delay product of MODEL goes on a target.

    MODEL is an .onnx, .pt2 or .edp file, '-' for stdin, package.module:factory, block:NAME, or hf:PATH of a transformers
    configuration.
    """
    from edpc.cli.run import Request, run

    options.pop("debug")
    if options["explain"] and click.get_current_context().get_parameter_source("target") is not ParameterSource.COMMANDLINE:
        options["target"] = options["explain"]
    run(Request(model=model, **options))
