"""The account of a report: everything `edpc explain` says beyond it, from the graph it was built from."""

from __future__ import annotations

from typing import Literal

import msgspec

from edpc.attribution import Totals, declared_modifiers
from edpc.errors import UsageError
from edpc.report.build import elasticities_of
from edpc.report.records import ElasticityReport, OperatorReport, Record, Report
from edpc.report.refused import RefusedFusion, refused_fusions


class ModifierRow(Record, frozen=True):
    """Declared against modelled modifier of a type of operator, fused or separate.

    `declared` is the target's, `modelled` event EDP over base EDP of all of them together (null without a base). For fused ones
    `dearer_alone` is the EDP they would be charged in the model without fusion over the EDP they are charged now, and
    `declared_dearer_alone` the same of the declared modifiers, separate over fused; both are null for separate ones.
    """

    operator_type: str
    is_fused: bool
    count: int
    declared: float
    modelled: float | None
    declared_dearer_alone: float | None
    dearer_alone: float | None


class Account(Record, frozen=True, kw_only=True):
    """Why a report says what it says: refused fusions, modifiers put to the test, and elasticities to all constants."""

    schema: Literal["edpc/explain-v1"]
    report: Report
    refused: tuple[RefusedFusion, ...]
    modifiers: tuple[ModifierRow, ...]
    elasticities: tuple[ElasticityReport, ...]

    def to_json(self) -> bytes:
        """The account as JSON, one line."""
        return msgspec.json.encode(self)


def build_account(report: Report) -> Account:
    """The account of a report.

    Args:
        report: compiled in this process.

    Raises:
        UsageError: the report was read from a file and has no graph.
    """
    graph, target = report.graph, report.machine
    if graph is None or target is None or graph.estimate is None:
        raise UsageError("a report that was read from a file holds no graph, which refused fusions are priced on")
    return Account(
        schema="edpc/explain-v1",
        report=report,
        refused=tuple(refused_fusions(graph, target)),
        modifiers=tuple(_modifiers(report)),
        elasticities=elasticities_of(graph.estimate, target),
    )


def _modifiers(report: Report) -> list[ModifierRow]:
    """One row per type of operator and fusion state, the largest event EDP first."""
    assert report.graph is not None
    assert report.machine is not None
    declared = declared_modifiers(report.machine)
    separate = Totals(report.fusion.separate.energy_j, report.fusion.separate.latency_s)
    groups: dict[tuple[str, bool], list[OperatorReport]] = {}
    for op in report.operators:
        groups.setdefault((op.operator_type, op.is_fused), []).append(op)
    by_clean_name = {op.operator_id: name for op, name in zip(report.operators, _names(report), strict=True)}
    rows = []
    for (kind, is_fused), ops in sorted(groups.items(), key=lambda item: -sum(op.event_edp for op in item[1])):
        events, base = sum(op.event_edp for op in ops), sum(op.base_edp for op in ops)
        fused, alone = declared.get(kind, (1.0, 1.0))
        kernels = [report.graph.op(by_clean_name[op.operator_id]).separate for op in ops]
        apart = sum(separate.share(kernel.cost) for kernel in kernels if kernel is not None)
        rows.append(
            ModifierRow(
                operator_type=kind,
                is_fused=is_fused,
                count=len(ops),
                declared=fused if is_fused else alone,
                modelled=events / base if base else None,
                declared_dearer_alone=alone / fused if is_fused and fused else None,
                dearer_alone=apart / events if is_fused and events else None,
            )
        )
    return rows


def _names(report: Report) -> list[str]:
    """The graph's names of the report's operators, which hold them made encodable; in the same order."""
    assert report.graph is not None
    return [name for group in report.graph.groups for name in group.members]
