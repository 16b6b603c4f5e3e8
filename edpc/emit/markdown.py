"""The report as Markdown, as pull requests and issues show it (GitHub flavoured).

Names in a model are untrusted text: every cell is written so that it reads as text, links nowhere and calls nobody.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from edpc.emit import EmitOptions
from edpc.emit.document import Block, Column, Heading, Lines, Table, cells
from edpc.emit.text import document
from edpc.report import Report

_FOLDED_ROWS = 15  # a longer table is folded away: a pull request is read from top to bottom
# What begins markup: anywhere; at the edge of a word; where a link begins.
_MARKUP = re.compile(r"([\\`*\[\]<>|~$&]|(?<![^\W_])_|_(?![^\W_])|:(?=//)|(?<=www)\.)")
# What begins a list, a heading or a rule at the start of a line.
_START = re.compile(r"^(\d*)([-+=#.)])(?=\s|$)")
_CALLS = re.compile(r"([@#])(?=\w)")


def emit(reports: Sequence[Report], options: EmitOptions) -> bytes:
    """The tables of the report, headings and notes as Markdown; long tables are folded."""
    return to_markdown(document(reports, options)).encode()


def to_markdown(blocks: Iterable[Block]) -> str:
    """The document as Markdown; long tables are folded."""
    return "\n\n".join(_markdown(block) for block in blocks) + "\n"


def escaped(text: str) -> str:
    """The text as Markdown that renders as this text.

    A backslash keeps markup, tables and links from starting; an empty comment keeps `@name` and `#1` from calling anybody.
    """
    return _CALLS.sub(r"\1<!-- -->", _MARKUP.sub(r"\\\1", text))


def _markdown(block: Block) -> str:
    if isinstance(block, Heading):
        return f"## {escaped(block.text)}"
    if isinstance(block, Lines):
        return "\n".join(_lines(block))
    table = "\n".join(_rows(block))
    if len(block.rows) > _FOLDED_ROWS:
        return f"<details>\n<summary>{_html(block.title)}</summary>\n\n{table}\n\n</details>"
    return f"### {escaped(block.title)}\n\n{table}"


def _lines(block: Lines) -> Iterator[str]:
    if block.title:
        yield f"### {escaped(block.title)}\n"
    yield from ("- " + _START.sub(r"\1\\\2", escaped(line.strip())) for line in block.lines)


def _rows(table: Table) -> Iterator[str]:
    yield _row(column.heading for column in table.columns)
    yield _row((_rule(column) for column in table.columns), raw=True)
    yield from (_row(row) for row in cells(table))


def _row(texts: Iterator[str] | Sequence[str], raw: bool = False) -> str:
    return "| " + " | ".join(text if raw else escaped(text) for text in texts) + " |"


def _rule(column: Column) -> str:
    return "---:" if column.number else "---"


def _html(text: str) -> str:
    """Inside an HTML element Markdown is not read."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
