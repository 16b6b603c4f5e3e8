"""The document on a terminal, with rich. Text goes in as `Text`, never as markup: names in a model are not ours."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text

from edpc.emit.document import Block, Heading, Lines, Table, cells

_GAP = 3  # characters that rich puts between columns
_NAME_WIDTH = 16  # text columns are folded to this before a column is left out


def show(blocks: Iterable[Block], console: Console) -> None:
    """Prints the document. A table that is too wide folds its texts, then leaves optional columns out and says so."""
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
            continue
        kept = _fitting(block, console.width)
        console.print(_table(block, kept))
        if left := [column.heading for i, column in enumerate(block.columns) if i not in kept]:
            console.print(Text(f"left out for width: {', '.join(left)}", style="dim"))


def _fitting(table: Table, width: int) -> list[int]:
    """The columns that fit, by number: optional ones are left out from the right until the rest does."""
    rows = list(cells(table))
    widths = [max([len(column.heading), *(len(row[i]) for row in rows)]) for i, column in enumerate(table.columns)]
    least = [w if c.number else min(w, _NAME_WIDTH) for w, c in zip(widths, table.columns, strict=True)]
    kept = list(range(len(table.columns)))
    for i in reversed(range(len(table.columns))):
        if sum(least[k] + _GAP for k in kept) > width and table.columns[i].optional:
            kept.remove(i)
    return kept


def _table(table: Table, kept: Sequence[int]) -> RichTable:
    made = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, header_style="dim")
    for column in (table.columns[i] for i in kept):
        made.add_column(
            Text(column.heading),
            justify="right" if column.number else "left",
            no_wrap=column.number,
            overflow="fold",
        )
    for row in cells(table):
        made.add_row(*(Text(row[i]) for i in kept))
    return made
