"""Several reports side by side: totals, how sure it is that one is below another, and why two of them differ."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np

from edpc.errors import UsageError
from edpc.machine.uncertainty import share_constants
from edpc.report.explain import Explanation, explain
from edpc.report.records import Finding, Record, Report


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
    """Reports in the order asked for; the first is the baseline of the ratios, `lowest_edp` the number of the best one.

    `edp_below[i][j]` is the probability that report i's EDP is below report j's when every uncertain constant is drawn from its
    range: constants of two targets independently of each other, those of the same name and source as one. It is null where a
    report was read from a file, or i is j. `explain` says why two reports of one network differ; null where none was asked for
    and there is no pair.
    """

    schema: Literal["edpc/comparison-v1"]
    edpc_version: str
    rows: tuple[ComparisonRow, ...]
    lowest_edp: int
    edp_below: tuple[tuple[float | None, ...], ...]
    findings: tuple[Finding, ...]
    explain: Explanation | None
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
        from edpc.emit import EmitOptions, save

        names = {row.target for row in self.rows}
        pair = (self.explain.first, self.explain.second) if self.explain else None
        save(self.reports, Path(path), EmitOptions(explain=pair if pair and names.issuperset(pair) else None))

    def _repr_html_(self) -> str:
        """A table for notebooks."""
        from edpc.emit.notebook import comparison_to_html

        return comparison_to_html(self.reports)


def build_comparison(reports: Sequence[Report], explained: tuple[str, str] | None = None) -> Comparison:
    """The reports side by side.

    Args:
        reports: at least one.
        explained: names of the two targets to explain; None for the lowest EDP against the next, where both can be explained.

    Raises:
        UsageError: there are no reports, a name is not among their targets, or the pair that was asked for cannot be explained.
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
    order = sorted(range(len(rows)), key=lambda i: rows[i].edp_js)
    below = tuple(tuple(None if i == j else edp_below(a, b) for j, b in enumerate(reports)) for i, a in enumerate(reports))
    why = _explained(reports, order, explained)
    return Comparison(
        schema="edpc/comparison-v1",
        edpc_version=reports[0].edpc_version,
        rows=rows,
        lowest_edp=order[0],
        edp_below=below,
        findings=_findings(reports, order, below, why),
        explain=why,
        reports=tuple(reports),
    )


def edp_below(first: Report, second: Report) -> float | None:
    """The probability that the first EDP is below the second, from the random machines that the intervals come from.

    Draws of two targets are independent, so every draw of one meets every draw of the other; where the targets share an
    uncertain constant, draws of one number belong together and only those meet. Equal EDPs count half.

    Returns:
        None where a report does not know its draws.
    """
    if first.machine is None or second.machine is None or not (_draws(first) and _draws(second)):
        return None
    one, other = (np.array([energy * latency for energy, latency in _draws(r)]) for r in (first, second))
    if not (len(one) == len(other) and share_constants(first.machine, second.machine)):
        one = one[:, None]
    return float(np.mean((one < other) + 0.5 * (one == other)))


def _draws(report: Report) -> tuple[tuple[float, float], ...]:
    """Energy and latency of random machines; the nominal one where no constant is uncertain."""
    graph = report.graph
    if graph is None or graph.estimate is None:
        return ()
    return graph.estimate.draws or ((report.energy_j, report.latency_s),)


def _explained(reports: Sequence[Report], order: Sequence[int], asked: tuple[str, str] | None) -> Explanation | None:
    if asked is not None:
        by_name = {report.target.name: report for report in reversed(reports)}
        for name in asked:
            if name not in by_name:
                raise UsageError(f"cannot explain {name!r}: there are reports for {', '.join(by_name)} only")
        return explain(by_name[asked[0]], by_name[asked[1]])
    if len(reports) < 2:
        return None
    first, second = reports[order[1]], reports[order[0]]
    if first.graph is None or second.graph is None or first.model != second.model or first.target == second.target:
        return None
    try:
        return explain(first, second)
    except UsageError:  # nobody asked; a network that costs nothing has nothing to explain
        return None


def _findings(
    reports: Sequence[Report], order: Sequence[int], below: Sequence[Sequence[float | None]], why: Explanation | None
) -> tuple[Finding, ...]:
    """Which report has the lowest EDP, how sure that is, and why."""
    if len(reports) < 2:
        return ()
    best, other = (reports[i] for i in order[:2])
    times = _ratio(other.edp_js, best.edp_js)
    if times is None:
        return ()
    figures: dict[str, float | str] = {"lowest": best.target.name, "next": other.target.name, "edp_ratio": times}
    sentence = f"{best.target.name} has the lowest EDP, {times:.3g} times below {other.target.name}"
    found = [(reports[j], p) for j in order[1:] if (p := below[order[0]][j]) is not None]
    if found:
        figures |= {"probability": min(p for _, p in found)}
        listed = ", ".join(f"{r.target.name} in {100 * p:.0f} %" for r, p in found)
        link = "but" if figures["probability"] < 0.5 else "and"  # type: ignore[operator]
        sentence += f", {link} within the constants' ranges it is below {listed} of draws"
    made = [Finding("lowest", f"{sentence}.", figures)]
    if why is not None:
        factors: dict[str, float | str] = {part.cause: part.factor for part in why.parts}
        made.append(Finding("why", why.sentence, factors))
    return tuple(made)


def _ratio(value: float, base: float) -> float | None:
    return value / base if base else None
