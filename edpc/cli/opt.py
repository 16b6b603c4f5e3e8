"""`edpc-opt`: textual IR in, a textual pipeline over it, textual IR out. For authors of passes and for tests."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from edpc.errors import EdpcError, ModelError, UsageError

_INTERNAL = 4


@click.command(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 2 wrong usage, 3 the IR cannot be read or is invalid, 4 a pass failed (a reproducer is written).",
)
@click.argument("file")
@click.option("-p", "--pass-pipeline", metavar="TEXT", help="Passes to run; default: those of the file's RUN line.")
@click.option("-t", "--target", metavar="NAME", help="The machine, by name or as a file ./my_npu.py.")
@click.option("--precision", metavar="NAME", help="What the network is served in; default: the model's own.")
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="A constant or switch: hbm.bandwidth=4.8TB/s.")
@click.option("--pass-file", "pass_files", multiple=True, metavar="FILE", help="A Python file with passes of your own.")
@click.option("--print-ir-before", multiple=True, metavar="PASS", help="Print the IR before a pass, to stderr; or 'all'.")
@click.option("--print-ir-after", multiple=True, metavar="PASS", help="The same after a pass; 'all', or 'changed'.")
@click.option("--dump-ir", metavar="DIR", type=click.Path(path_type=Path), help="Write the IR after each pass to a file.")
@click.option("--timing", is_flag=True, help="Print how long each pass took, to stderr.")
@click.option("--no-verify", is_flag=True, help="Do not verify the IR, neither as it is read nor between passes.")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.pass_context
def opt(ctx: click.Context, /, file: str, debug: bool, **options: Any) -> None:
    """Read textual IR from FILE ('-' is stdin), run passes over it, and print it.

    Facts that the IR shows (work, groups, costs, shares) need no pass to produce them. That the graph is clean and has the types
    it is served in does not show: FILE is taken at its word.
    """
    text = _read(file)
    _take_from_run_line(ctx, text, options)
    _run(text, file, **options)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of the `edpc-opt` script: answers the exit code; an error is one sentence on stderr.

    Args:
        argv: arguments without the program's name; None for those of the process.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        code = opt.main(arguments, prog_name="edpc-opt", standalone_mode=False)
    except click.ClickException as error:
        return _fail(error.format_message(), UsageError.exit_code)
    except (click.Abort, KeyboardInterrupt):
        return _fail("interrupted", 130)
    except BrokenPipeError:
        # The reader of our output has seen enough; what is left in the buffer must not fail again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        from edpc.cli.failure import explain

        if "--debug" in arguments:
            traceback.print_exc()
        return _fail(explain(error), error.exit_code if isinstance(error, EdpcError) else _INTERNAL)
    return code if isinstance(code, int) else 0


def _run(
    text: str,
    file: str,
    pass_pipeline: str | None,
    target: str | None,
    precision: str | None,
    sets: Sequence[str],
    pass_files: Sequence[str],
    print_ir_before: tuple[str, ...],
    print_ir_after: tuple[str, ...],
    dump_ir: Path | None,
    timing: bool,
    no_verify: bool,
) -> None:
    from edpc.ir.text import parse_graph, print_graph
    from edpc.ir.verify import verify_input
    from edpc.operators import KINDS
    from edpc.pipeline.base import PassContext
    from edpc.pipeline.contract import INVISIBLE
    from edpc.pipeline.manager import Instrumentation, run_pipeline
    from edpc.pipeline.text import parse_pipeline
    from edpc.registry import find_target, load_all_passes

    kinds = frozenset(KINDS)
    name = "<stdin>" if file == "-" else file
    graph = parse_graph(text, name)
    if not no_verify:
        verify_input(graph, name, kinds)
    if sets and target is None:
        raise UsageError("--set changes a constant of a target; give one with --target")
    machine = None if target is None else find_target(target, sets)
    pipeline = parse_pipeline(pass_pipeline or "", load_all_passes(pass_files))
    flags = [
        *(() if target is None else ("--target", target)),
        *(() if precision is None else ("--precision", precision)),
        *(word for each in sets for word in ("--set", each)),
        *(word for each in pass_files for word in ("--pass-file", each)),
    ]
    around = Instrumentation(
        verify=not no_verify,
        kinds=kinds,
        print_before=print_ir_before,
        print_after=print_ir_after,
        dump_to=dump_ir,
        write=lambda printed: click.echo(printed, nl=False, err=True),
        flags=flags,
    )
    statistics = run_pipeline(graph, pipeline, PassContext(machine, precision), around, INVISIBLE)
    click.echo(print_graph(graph), nl=False)
    if timing:
        click.echo(statistics.table(), nl=False, err=True)


def _read(file: str) -> str:
    """The text of a file, or of stdin."""
    try:
        data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise ModelError(f"cannot read {file}: {error.strerror or error}") from error
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ModelError(f"{file} is not textual IR: byte {error.start} is not UTF-8") from error


def _take_from_run_line(ctx: click.Context, text: str, options: dict[str, Any]) -> None:
    """Fills in what the command line leaves out and the RUN line of the file says, so that a reproducer replays by itself.

    A command line that names a pipeline says everything.
    """
    from edpc.pipeline.reproducer import run_line

    if options["pass_pipeline"] is not None or not (arguments := run_line(text)):
        return
    told = opt.make_context("RUN line", ["%s", *arguments], parent=ctx)
    for name in ("pass_pipeline", "target", "precision", "sets", "pass_files"):
        if not options[name]:
            options[name] = told.params[name]


def _fail(message: str, code: int) -> int:
    click.echo(f"edpc-opt: error: {' '.join(message.split())}", err=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
