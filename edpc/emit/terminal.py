"""The document on a terminal, with rich. Text goes in as `Text`, never as markup: names in a model are not ours."""

from __future__ import annotations

from collections.abc import Iterable

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text

from edpc.emit.document import Block, Heading, Lines, Table, cells


def show(blocks: Iterable[Block], console: Console) -> None:
    """Prints the document on the console, tables as wide as they need to be, wrapped where the terminal is narrower."""
    for block in blocks:
        if isinstance(block, Heading):
            console.print()
            console.rule(Text(block.text, style="bold"), align="left")
            continue
        console.print()
        if block.title:
            console.print(Text(block.title, style="bold cyan"))
        if isinstance(block, Lines):
            for line in block.lines:
                console.print(Padding(Text(line), (0, 0, 0, 2 if block.title else 0)))
        else:
            console.print(_table(block))


def _table(table: Table) -> RichTable:
    made = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, header_style="dim")
    for column in table.columns:
        made.add_column(
            Text(column.heading),
            justify="right" if column.number else "left",
            no_wrap=column.number,
            overflow="fold",
        )
    for row in cells(table):
        made.add_row(*(Text(cell) for cell in row))
    return made
