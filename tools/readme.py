"""Keeps the outputs shown in the documents true.

    python -m tools.readme [--check] [FILE...]

A line `<!-- output: COMMAND -->` before a fenced block says where the block comes from. Every such command (edpc or edpc-opt and
its arguments, and ` | head N` or ` | from TEXT` to shorten what it prints) is run from the root and its block replaced; with
`--check` nothing is written and a block that would change is an error.

Between `<!-- table: tools.validate ARGUMENTS -->` and `<!-- end -->` stands the table that `python -m tools.validate ARGUMENTS`
prints; it is left alone where the measurements are not at hand.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import re
import shlex
import sys
from pathlib import Path

import click
from click.testing import CliRunner

from edpc.cli.main import cli as edpc
from edpc.cli.opt import opt
from tools.validate.__main__ import main as validate
from tools.validate.measured import FOLDER

ROOT = Path(__file__).parents[1]
DOCUMENTS = ("README.md", "docs/attribution.md", "docs/passes.md", "docs/reference.md", "docs/targets.md")
BLOCK = re.compile(r"(?P<mark><!-- output: (?P<command>.+?) -->\n```\w*\n)(?P<text>.*?)(?P<end>^```$)", re.DOTALL | re.MULTILINE)
TABLE = re.compile(r"(?P<mark><!-- table: (?P<command>.+?) -->\n)(?P<text>.*?)(?P<end>^<!-- end -->$)", re.DOTALL | re.MULTILINE)
_WIDTH = 78  # of help, as where there is no terminal
PROGRAMS: dict[str, click.Command] = {"edpc": edpc, "edpc-opt": opt, "tools.validate": validate}


def output_of(command: str) -> str:
    """What a command prints, shortened as it says.

    Raises:
        SystemExit: the command fails.
    """
    first, *filters = command.split(" | ")
    program, *arguments = shlex.split(first)
    # Documents describe no machine in particular: whatever was calibrated here is left out.
    with contextlib.chdir(ROOT):
        done = CliRunner(env={"EDPC_CPU_HOST": os.devnull}).invoke(
            PROGRAMS[program], arguments, prog_name=program, terminal_width=_WIDTH
        )
    if done.exit_code:
        raise SystemExit(f"{first} answered {done.exit_code}: {done.stderr.strip() or done.exception!r}")
    lines = done.stdout.rstrip("\n").split("\n")
    for text in filters:
        name, _, argument = text.partition(" ")
        if name == "head":
            lines = lines[: int(argument)]
        elif name == "from":
            lines = lines[next(i for i, line in enumerate(lines) if argument in line) :]
        else:
            raise SystemExit(f"{command}: there is no filter {name!r}")
    return "\n".join(line.rstrip() for line in lines) + "\n"


def renewed(text: str) -> str:
    """The document with every marked block as its command prints it now."""
    if FOLDER.is_dir():
        text = TABLE.sub(lambda m: m["mark"] + output_of(m["command"]) + m["end"], text)
    return BLOCK.sub(lambda m: m["mark"] + output_of(m["command"]) + m["end"], text)


def main(arguments: list[str]) -> int:
    """Renews or checks the documents; answers 1 where a check finds a difference."""
    check = "--check" in arguments
    stale = 0
    for name in [a for a in arguments if a != "--check"] or DOCUMENTS:
        path = ROOT / name
        old = path.read_text(encoding="utf-8")
        new = renewed(old)
        if new == old:
            continue
        stale += 1
        if check:
            sys.stdout.writelines(difflib.unified_diff(old.splitlines(True), new.splitlines(True), name, "as printed now", n=1))
        else:
            path.write_text(new, encoding="utf-8")
    return 1 if check and stale else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
