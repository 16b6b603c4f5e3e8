"""`edpc passes [NAME]`: what the passes of a pipeline may be, and the contract and options of one."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from dataclasses import MISSING, Field, fields
from typing import get_type_hints

import click

from edpc.cli.output import show
from edpc.emit.document import Block, Column, Heading, Lines, Table, printable
from edpc.pipeline.base import Fact, Pass
from edpc.registry import find_pass, load_all_passes, passes


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("name", required=False)
@click.option("--pass-file", multiple=True, metavar="FILE", help="A Python file with passes of your own.")
def passes_command(name: str | None, pass_file: tuple[str, ...]) -> None:
    """List passes, or the documentation, contract and options of the pass NAME."""
    own = load_all_passes(pass_file)
    show(_all_passes({**passes(), **own}.values()) if name is None else _one_pass(find_pass(name, own)))


def _all_passes(known: Iterable[type[Pass]]) -> Iterator[Block]:
    rows = tuple(
        (printable(each.name), _facts(each.requires), _facts(each.produces), printable(_summary(each))) for each in known
    )
    columns = (Column("name", number=False), Column("requires", number=False), Column("produces", number=False))
    yield Table("", (*columns, Column("what is true afterwards", number=False, width=10_000)), rows)


def _one_pass(each: type[Pass]) -> Iterator[Block]:
    yield Heading(printable(each.name))
    yield Lines("", tuple(printable(line) for line in inspect.cleandoc(each.__doc__ or "").splitlines()))
    contract = (("requires", each.requires), ("produces", each.produces), ("preserves", each.preserves))
    yield Lines("Contract", tuple(f"{what} {_facts(facts) or 'nothing'}" for what, facts in contract))
    hints = get_type_hints(each)
    rows = tuple(
        (field.name.replace("_", "-"), _type(hints[field.name]), _default(field)) for field in fields(each) if field.init
    )
    if rows:
        headings = ("option", "type", "default")
        columns = tuple(Column(heading, number=False) for heading in headings)
        yield Table(f"Options ({each.name}{{option=value}})", columns, rows)
    yield Lines("", (f"defined in {inspect.getsourcefile(each) or each.__module__}",))


def _summary(each: type[Pass]) -> str:
    lines = inspect.cleandoc(each.__doc__ or "").splitlines()
    return lines[0] if lines else ""


def _facts(facts: frozenset[Fact]) -> str:
    """The facts in the order the vocabulary has them."""
    return ", ".join(fact.value for fact in Fact if fact in facts)


def _type(hint: object) -> str:
    return hint.__name__ if isinstance(hint, type) else str(hint)


def _default(field: Field[object]) -> str:
    if field.default_factory is not MISSING:
        return printable(str(field.default_factory()))
    return "required" if field.default is MISSING else printable(str(field.default))
