"""A document of headings, lines and tables, and its plain-text form.

The tables for people are written once as a document; `to_text` prints it plainly, `edpc.emit.terminal` with colour.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from textwrap import wrap

_GAP = "  "
_PROSE = 130  # characters of a line of prose


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        heading: its title.
        number: whether it holds numbers, which are set flush right and never broken.
        width: characters at most; longer cells are cut.
        optional: whether a terminal too narrow for the table may leave it out.
    """

    heading: str
    number: bool = True
    width: int = 48
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells under columns, with a title; cells are printable text already."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Heading:
    """The title of a part of the document."""

    text: str


@dataclass(frozen=True, slots=True)
class Lines:
    """A title and lines of prose; no title is an empty one. A list has one sentence a line, to be wrapped where it is shown."""

    title: str
    lines: tuple[str, ...]
    is_list: bool = False


Block = Heading | Lines | Table


def printable(text: str) -> str:
    """The text with control, formatting and unassigned characters written as escapes, so that a terminal takes it as text."""
    return text if text.isprintable() else "".join(c if c.isprintable() else _escape(c) for c in text)


def shorten(text: str, width: int) -> str:
    """The text in at most `width` characters, cut in the middle: module paths differ at both ends."""
    if len(text) <= width:
        return text
    head = (width - 3) // 2
    return f"{text[:head]}...{text[len(text) - (width - 3 - head) :]}"


def sentences(title: str, texts: Iterable[str]) -> Lines:
    """The sentences as a list, made printable."""
    return Lines(title, tuple(f"- {printable(text)}" for text in texts), is_list=True)


def to_text(blocks: Iterable[Block]) -> str:
    """The document as plain lines."""
    return "\n".join(line for block in blocks for line in _plain(block)).strip("\n") + "\n"


def cells(table: Table) -> Iterator[tuple[str, ...]]:
    """The rows with every cell cut to its column's width."""
    for row in table.rows:
        yield tuple(shorten(cell, column.width) for cell, column in zip(row, table.columns, strict=True))


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def _plain(block: Block) -> Iterator[str]:
    if isinstance(block, Heading):
        yield from ("", block.text, "=" * len(block.text))
        return
    yield ""
    if block.title:
        yield block.title
    if isinstance(block, Lines) and block.is_list:
        for line in block.lines:
            kept = line.replace(" %", "\u00a0%")  # a figure and its sign stay together
            for part in wrap(kept, _PROSE, initial_indent=_GAP, subsequent_indent=_GAP * 2):
                yield part.replace("\u00a0%", " %")
        return
    if isinstance(block, Lines):
        yield from (f"{_GAP if block.title else ''}{line}" for line in block.lines)
        return
    rows = list(cells(block))
    headings = tuple(column.heading for column in block.columns)
    widths = [max(len(cell) for cell in column) for column in zip(headings, *rows, strict=True)]
    for row in (headings, tuple("-" * width for width in widths), *rows):
        padded = (
            cell.rjust(width) if column.number else cell.ljust(width)
            for cell, width, column in zip(row, widths, block.columns, strict=True)
        )
        yield (_GAP + _GAP.join(padded)).rstrip()
