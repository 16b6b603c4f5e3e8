"""`edpc`: the group of commands, whose default is to compile the model named first."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NoReturn

import click
from click.shell_completion import CompletionItem

from edpc.errors import EdpcError
from edpc.version import __version__

# command: (module, attribute, one line). The default command is the first; it needs no name.
_COMMANDS = {
    "compile": ("edpc.cli.compile", "compile_command", "say where a model's energy-delay product goes (the default command)"),
    "serve": ("edpc.cli.serve", "serve_command", "say what a language model costs where it is served"),
    "explain": ("edpc.cli.explain", "explain_command", "what fusion saved and was refused, modifiers tested, elasticities"),
    "targets": ("edpc.cli.targets", "targets_command", "list targets; every constant of one, with unit, basis and source"),
    "blocks": ("edpc.cli.blocks", "blocks_command", "list building blocks; the parameters of one"),
    "calibrate": ("edpc.cli.calibrate", "calibrate_command", "measure this machine and write the target cpu-host"),
    "validate": ("edpc.cli.validate", "validate_command", "predicted against measured, per operator and per model"),
    "passes": ("edpc.cli.passes", "passes_command", "list passes; the documentation of one"),
    "sweep": ("edpc.cli.sweep", "sweep_command", "batches, precisions, targets and machine constants in one grid"),
    "diff": ("edpc.cli.diff", "diff_command", "what changed between two models or two saved reports; gates for CI"),
}
_DEFAULT = "compile"
_GROUP_OPTIONS = frozenset({"--help", "-h", "--version"})


class EdpcGroup(click.Group):
    """Commands by name, imported when used; anything else is a model to compile."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands in the order the help shows them."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, imported now."""
        if cmd_name not in _COMMANDS:
            return None
        module, attribute, _ = _COMMANDS[cmd_name]
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Puts the default command before arguments that begin with no command; no arguments at all ask for help."""
        if args and args[0] not in _COMMANDS and args[0] not in _GROUP_OPTIONS:
            args = [_DEFAULT, *args]
        return super().parse_args(ctx, args or ["--help"])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Completions of the group and of its default command."""
        command = self.get_command(ctx, _DEFAULT)
        assert command is not None
        inner = command.context_class(command, info_name=_DEFAULT, parent=ctx, resilient_parsing=True)
        return [*super().shell_complete(ctx, incomplete), *command.shell_complete(inner, incomplete)]

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The help of the default command, then the other commands."""
        command = self.get_command(ctx, _DEFAULT)
        assert command is not None
        command.format_help(command.context_class(command, info_name=_DEFAULT, parent=ctx), formatter)
        with formatter.section("Commands (edpc COMMAND --help)"):
            formatter.write_dl([(name, summary) for name, (_, _, summary) in _COMMANDS.items()])

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> NoReturn:
        """Runs a command and exits: an error is one sentence on stderr and its exit code, never a traceback without --debug."""
        given = list(sys.argv[1:] if args is None else args)
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):  # names of the model may not fit the terminal's encoding
                stream.reconfigure(errors="backslashreplace")
        try:
            # With standalone_mode off, click answers an exit code where a callback or --help left early.
            code = super().main(given, prog_name or "edpc", complete_var, standalone_mode=False, **extra)
        except click.ClickException as error:
            _fail(error.format_message(), 2)
        except (click.Abort, KeyboardInterrupt):
            _fail("interrupted", 130)
        except Exception as error:
            from edpc.cli.failure import explain

            if "--debug" in given:
                import traceback

                traceback.print_exc()
            _fail(explain(error), error.exit_code if isinstance(error, EdpcError) else 4)
        sys.exit(code if isinstance(code, int) else 0)


@click.group(
    name="edpc",
    cls=EdpcGroup,
    context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "EDPC"},
)
@click.version_option(__version__, prog_name="edpc", message="%(prog)s %(version)s")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Say where a neural network's energy-delay product goes, on which machine, and why."""
    from edpc.cli.settings import read_defaults

    if ctx.invoked_subcommand is not None:
        ctx.default_map = read_defaults(ctx)


def main() -> NoReturn:
    """Entry point of the `edpc` script. The process ends with the command: taking a large graph apart first helps nobody."""
    code = 0
    try:
        cli.main()
    except SystemExit as done:
        code = done.code if isinstance(done.code, int) else 0
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # the reader may have left, or closed it
            stream.flush()
    os._exit(code)


def _fail(message: str, code: int) -> NoReturn:
    """One sentence on stderr, control characters escaped: a message may quote a name of the model."""
    from edpc.emit.document import printable

    sentence = printable(" ".join(message.split()))
    with contextlib.suppress(OSError):
        click.echo(f"edpc: error: {sentence}", err=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
