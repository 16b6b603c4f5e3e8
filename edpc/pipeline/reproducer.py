"""Reproducers: one `.edp` text with the IR before a failing pass and a RUN line with the rest of the pipeline.

`edpc-opt repro.edp` replays it, and as a file under `tests/filecheck` it is already a test.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence

from edpc.ir import Graph
from edpc.pipeline.base import PassContext
from edpc.pipeline.text import Element, print_pipeline

_RUN = re.compile(r"^\s*//\s*RUN:\s*(?:not\s+)?edpc-opt\s+(.*)$", re.MULTILINE)


def reproducer(graph: Graph, rest: Iterable[Element], flags: Sequence[str], failure: str) -> str:
    """The text that replays a failure.

    Args:
        graph: as it was before the failing pass.
        rest: the failing pass and what would have followed.
        flags: of the command line, beside the pipeline (`replay_flags`).
        failure: what went wrong, for the reader.
    """
    command = shlex.join([*flags, "-p", print_pipeline(rest)])
    told = " ".join(failure.split())
    from edpc.ir.text import print_graph  # only a failure needs the text form

    return f"// RUN: edpc-opt %s {command}\n// {told}\n{print_graph(graph)}"


def replay_flags(ctx: PassContext) -> tuple[str, ...]:
    """The flags that give `edpc-opt` the same target and precision, as far as the context knows where they came from."""
    target = () if ctx.target is None else ("--target", ctx.target.name)
    return target if ctx.precision is None else (*target, "--precision", ctx.precision)


def run_line(text: str) -> list[str]:
    """The arguments of the first RUN line that calls `edpc-opt`, without the file; empty where there is none."""
    found = _RUN.search(text)
    if found is None:
        return []
    lexer = shlex.shlex(found[1], posix=True, punctuation_chars="|><;&")
    lexer.whitespace_split = True
    arguments: list[str] = []
    for word in lexer:
        if word and word[0] in lexer.punctuation_chars:
            # `2>&1`: the 2 belongs to what follows.
            return arguments[:-1] if word[0] == ">" and arguments and arguments[-1] == "2" else arguments
        if word != "%s":
            arguments.append(word)
    return arguments
