"""Several reports side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from edpc.errors import UsageError
from edpc.report.records import Record, Report


class ComparisonRow(Record, frozen=True):
    """A report's totals, and their ratios to the first report's (null where that one's is zero)."""

    model: str
    target: str
    precision: str
    batch: int
    energy_j: float
    latency_s: float
    edp_js: float
    energy_ratio: float | None
    latency_ratio: float | None
    edp_ratio: float | None


class Comparison(Record, frozen=True, kw_only=True):
    """Reports in the order asked for; the first is the baseline of the ratios, `lowest_edp` the number of the best one."""

    schema: Literal["edpc/comparison-v1"]
    edpc_version: str
    rows: tuple[ComparisonRow, ...]
    lowest_edp: int
    reports: tuple[Report, ...]

    def to_dict(self) -> dict[str, Any]:
        """The comparison as plain dictionaries and lists, as the JSON has it."""
        plain: dict[str, Any] = msgspec.json.decode(self.to_json())
        return plain

    def to_json(self) -> bytes:
        """The comparison as JSON, one line."""
        return msgspec.json.encode(self)

    def save(self, path: str | Path) -> None:
        """Writes the comparison to a file, in the form that its suffix names: .html, .json, .csv, .md, .svg, ..."""
        from edpc.emit import save

        save(self.reports, Path(path))

    def _repr_html_(self) -> str:
        """A table for notebooks."""
        from edpc.emit.notebook import comparison_to_html

        return comparison_to_html(self.reports)


def build_comparison(reports: Sequence[Report]) -> Comparison:
    """The reports side by side.

    Raises:
        UsageError: there are none.
    """
    if not reports:
        raise UsageError("a comparison needs at least one report")
    base = reports[0].totals
    rows = tuple(
        ComparisonRow(
            model=r.model.name,
            target=r.target.name,
            precision=r.target.precision,
            batch=r.target.batch,
            energy_j=r.energy_j,
            latency_s=r.latency_s,
            edp_js=r.edp_js,
            energy_ratio=_ratio(r.energy_j, base.energy_j),
            latency_ratio=_ratio(r.latency_s, base.latency_s),
            edp_ratio=_ratio(r.edp_js, base.edp_js),
        )
        for r in reports
    )
    best = min(range(len(rows)), key=lambda i: rows[i].edp_js)
    return Comparison(
        schema="edpc/comparison-v1",
        edpc_version=reports[0].edpc_version,
        rows=rows,
        lowest_edp=best,
        reports=tuple(reports),
    )


def _ratio(value: float, base: float) -> float | None:
    return value / base if base else None
