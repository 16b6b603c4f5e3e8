"""`edpc targets [NAME]`: the machines, and everything edpc takes for granted about one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import click

from edpc.cli.output import show
from edpc.emit.document import Block, Column, Heading, Lines, Table, printable
from edpc.operators import Family, of_family
from edpc.registry import find_target, target_names
from edpc.target import MANY, Guard, Rule, Stage, Target
from edpc.units import format_quantity

_KINDS_SHOWN = 8


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("name", required=False)
def targets_command(name: str | None) -> None:
    """List targets, or every constant, rule, modifier and setting of the target NAME (or of a file ./my_npu.py)."""
    show(_all_targets() if name is None else _one_target(name))


def _all_targets() -> Iterator[Block]:
    targets = [find_target(name) for name in target_names()]
    columns = (Column("name", number=False), Column("architecture", number=False), Column("summary", number=False, width=200))
    for title, are_references in (("", False), ("Historical references, not models of machines", True)):
        rows = tuple((t.name, t.architecture, printable(t.summary)) for t in targets if t.reference == are_references)
        yield Table(title, columns, rows)


def _one_target(name: str) -> Iterator[Block]:
    target = find_target(name)
    yield Heading(printable(f"{target.name}: {target.summary}"))
    yield Lines("", (f"{target.architecture} machine; pipeline {target.pipeline}",))
    yield _constants(target)
    yield from _settings(target)
    yield from _precisions(target)
    yield from _rules(target)
    yield from _modifiers(target)
    if target.notes:
        yield Lines("Notes", tuple(printable(note) for note in target.notes))


def _constants(target: Target) -> Block:
    rows = tuple(
        (
            printable(key),
            format_quantity(q.value, q.unit),
            "exact" if q.range is None else " to ".join(format_quantity(edge, q.unit) for edge in q.range),
            q.basis.value,
            printable(q.source),
        )
        for key, q in target.quantities().items()
    )
    columns = (
        Column("constant", number=False),
        Column("value"),
        Column("range", number=False),
        Column("basis", number=False),
        Column("source", number=False, width=10_000),
    )
    return Table("Constants (exchange one with --set NAME=VALUE)", columns, rows)


def _settings(target: Target) -> Iterator[Block]:
    rows = tuple(
        (printable(name), target.setting(name), ", ".join(s.choices), printable(s.doc)) for name, s in target.settings.items()
    )
    columns = (Column("setting", number=False), Column("value", number=False), Column("choices", number=False))
    if rows:
        yield Table("Settings", (*columns, Column("what it does", number=False, width=10_000)), rows)


def _precisions(target: Target) -> Iterator[Block]:
    rows = tuple(
        (name, p.weights, p.activations, p.operands, p.compute, p.vector, printable(p.note))
        for name, p in target.precisions.items()
    )
    headings = ("precision", "weights", "activations", "operands", "contractions in", "the rest in")
    columns = (*(Column(h, number=False) for h in headings), Column("note", number=False, width=10_000))
    yield Table("How precisions are served", columns, rows)


def _rules(target: Target) -> Iterator[Block]:
    rows = tuple((printable(r.name), _pattern(r), r.kernel_class, _guards(r.guards), printable(r.why)) for r in target.rules)
    columns = (
        Column("rule", number=False),
        Column("pattern", number=False, width=10_000),
        Column("runs as", number=False),
        Column("if", number=False, width=10_000),
        Column("why", number=False, width=10_000),
    )
    yield Table("Fusion rules, first match wins", columns, rows)


def _pattern(rule: Rule) -> str:
    """The stages from producer to consumer; `?` at most one, `+` one or more, `*` any number."""
    stages = " -> ".join(_stage(stage) for stage in rule.stages)
    return f"({_kinds(rule.prologue)})* -> {stages}" if rule.prologue else stages


def _stage(stage: Stage) -> str:
    marks = {(1, 1): "", (0, 1): "?", (1, MANY): "+", (0, MANY): "*"}
    mark = marks.get((stage.at_least, stage.at_most), f"{{{stage.at_least},{stage.at_most}}}")
    kinds = _kinds(stage.kinds)
    text = f"({kinds}){mark}" if mark and "|" in kinds else kinds + mark
    guards = _guards(stage.guards)
    return f"{text}[{guards}]" if guards else text


def _kinds(kinds: frozenset[str]) -> str:
    """The kinds, or the families they are made of where they are whole families."""
    names = []
    rest = set(kinds)
    for family in Family:
        members = of_family(family)
        if len(members) > 1 and members <= rest:
            names.append(f"any {family.value}")
            rest -= members
    listed = sorted(rest)
    more = [f"{len(listed) - _KINDS_SHOWN} more"] if len(listed) > _KINDS_SHOWN else []
    return "|".join([*names, *listed[:_KINDS_SHOWN], *more])


def _guards(guards: Iterable[Guard]) -> str:
    return ", ".join(g.name if g.argument is None else f"{g.name}({g.argument})" for g in guards)


def _modifiers(target: Target) -> Iterator[Block]:
    rows = tuple((printable(m.name), _kinds(m.kinds), f"{m.fused:g}", f"{m.separate:g}") for m in target.modifiers)
    if rows:
        columns = (Column("modifier", number=False), Column("kinds", number=False, width=10_000))
        yield Table("Declared architectural modifiers", (*columns, Column("fused"), Column("separate")), rows)
