"""`edpc blocks [NAME]`: the building blocks, and what may be set of one; needs no torch."""

from __future__ import annotations

from collections.abc import Iterator

import click

from edpc.blocks import BLOCKS, PREFIX, find_block
from edpc.blocks.catalogue import Block as BuildingBlock
from edpc.blocks.catalogue import Parameter
from edpc.cli.output import show
from edpc.emit.document import Block, Column, Heading, Lines, Table


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("name", required=False)
def blocks_command(name: str | None) -> None:
    """List building blocks, or the parameters of the block NAME; run one with edpc block:NAME?parameter=value&..."""
    show(_all_blocks() if name is None else _one_block(find_block(name.removeprefix(PREFIX))))


def _all_blocks() -> Iterator[Block]:
    rows = tuple((block.name, block.summary) for block in BLOCKS.values())
    yield Table("", (Column("name", number=False), Column("what it is", number=False, width=200)), rows)


def _one_block(block: BuildingBlock) -> Iterator[Block]:
    yield Heading(f"{block.name}: {block.summary}")
    yield Lines("", (f"edpc '{PREFIX}{block.name}?batch=4'",))
    rows = tuple((p.name, str(p.default), _range(p), p.meaning) for p in block.parameters)
    columns = (Column("parameter", number=False), Column("default"), Column("range", number=False))
    yield Table("Parameters", (*columns, Column("meaning", number=False, width=200)), rows)


def _range(parameter: Parameter) -> str:
    return ", ".join(parameter.choices) if parameter.choices else f"{parameter.least:,} to {parameter.most:,}"
