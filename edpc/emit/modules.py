"""The report as a tree of the model's modules: at every level the rows sum to the whole."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from edpc.emit.document import Block, Column, Lines, Table, printable
from edpc.report import OperatorReport, Report
from edpc.units import format_quantity

OWN = "(its own operators)"
_INDENT = "  "


@dataclass(slots=True)
class _Module:
    """A module, or what one calls itself beside its parts; `parts` are in order of execution."""

    name: str
    is_own: bool
    operators: list[OperatorReport] = field(default_factory=list)
    parts: dict[tuple[str, bool], _Module] = field(default_factory=dict)

    def part(self, name: str, is_own: bool) -> _Module:
        return self.parts.setdefault((name, is_own), _Module(name, is_own))


@dataclass(frozen=True, slots=True)
class ModuleRow:
    """A module with all that is in it, or what a module calls itself beside its parts.

    Attributes:
        path: of the module, empty for the whole model.
        depth: 0 for the model, 1 for its parts, and so on.
        is_own: whether it stands for the module's own operators; `path` is then that module's, `depth` one more.
        num_operators, energy_j, latency_s, edp_js, edp_fraction: sums over operators, EDP as attributed.
    """

    path: tuple[str, ...]
    depth: int
    is_own: bool
    num_operators: int
    energy_j: float
    latency_s: float
    edp_js: float
    edp_fraction: float


def module_rows(report: Report, depth: int) -> list[ModuleRow]:
    """The model, its modules down to that depth, each followed by its parts, all in order of execution.

    The parts of a module, with its own operators as one of them where it has both, sum to it in every column.
    """
    whole = _Module("", False)
    for operator in report.operators:
        whole.operators.append(operator)
        at, path = whole, operator.module_path.split(".")[:depth] if operator.module_path else []
        for name in path:
            at = at.part(name, False)
            at.operators.append(operator)
        if len(path) < depth:
            at.part(OWN, True).operators.append(operator)
    rows = []
    waiting: list[tuple[_Module, tuple[str, ...]]] = [(whole, ())]
    while waiting:
        module, path_of = waiting.pop()
        rows.append(_row(path_of, module.is_own, module.operators))
        inside = [*module.parts.values()]
        if not (len(inside) == 1 and inside[0].is_own):
            waiting += [(part, path_of if part.is_own else (*path_of, part.name)) for part in reversed(inside)]
    return rows


def module_blocks(report: Report, depth: int) -> Iterator[Block]:
    """The table of modules."""
    if not any(operator.module_path for operator in report.operators):
        yield Lines("Modules", ("the model does not say which module an operator belongs to",))
        return
    columns = (
        Column("module", number=False, width=80),
        Column("ops", optional=True),
        Column("energy"),
        Column("latency"),
        Column("EDP"),
        Column("EDP share"),
    )
    rows = tuple(
        (
            _INDENT * row.depth + (OWN if row.is_own else printable(row.path[-1] if row.path else report.model.name)),
            str(row.num_operators),
            format_quantity(row.energy_j, "J"),
            format_quantity(row.latency_s, "s"),
            format_quantity(row.edp_js, "J*s"),
            f"{100 * row.edp_fraction:.1f} %",
        )
        for row in module_rows(report, depth)
    )
    yield Table(f"Modules, {depth} deep", columns, rows)


def _row(path: tuple[str, ...], is_own: bool, operators: Sequence[OperatorReport]) -> ModuleRow:
    return ModuleRow(
        path=path,
        depth=len(path) + is_own,
        is_own=is_own,
        num_operators=len(operators),
        energy_j=math.fsum(op.energy_j for op in operators),
        latency_s=math.fsum(op.latency_s for op in operators),
        edp_js=math.fsum(op.edp_js for op in operators),
        edp_fraction=math.fsum(op.edp_fraction_of_model for op in operators),
    )
