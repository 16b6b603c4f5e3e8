"""Scores as a table for the README, as JSON and as CSV."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable
from dataclasses import asdict

from tools.validate.rows import Row
from tools.validate.score import Score

_HEAD = (
    "what",
    "timed as",
    "kernels fit / held out",
    "mean (fit)",
    "median",
    "9 of 10 below",
    "bias",
    "goal",
    "trivial",
    "its line",
    "published",
    "90 % interval holds",
)


def markdown(found: Iterable[tuple[Row, Score]]) -> str:
    """A table: errors on the held-out part in percent."""
    lines = ["| " + " | ".join(_HEAD) + " |", "|" + "---|" * len(_HEAD)]
    for row, s in found:
        cells = (
            row.what,
            row.timing,
            f"{s.fit_rows:,} / {s.rows:,}",
            f"{s.ours.mean:.1f} % ({s.fit.mean:.1f} %)",
            f"{s.ours.median:.1f} %",
            f"{s.ours.p90:.1f} %",
            f"{s.ours.bias:+.1f} %",
            _goal(row, s),
            f"{s.trivial.mean:.1f} %",
            f"{s.line.mean:.1f} %",
            row.published or "-",
            f"{s.coverage:.0f} %" if row.covered else "-",
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _goal(row: Row, s: Score) -> str:
    parts = [f"{name}{most:g}" for name, most in zip(("", "median ", "9 of 10 "), row.goal, strict=True) if not math.isnan(most)]
    return (", ".join(parts) + (" met" if row.met(s.ours) else " missed")) if parts else "-"


def records(found: Iterable[tuple[Row, Score]]) -> list[dict[str, object]]:
    """Flat records; errors in percent, None for what does not exist."""
    flat: list[dict[str, object]] = []
    for row, s in found:
        record: dict[str, object] = {
            "name": row.name,
            "what": row.what,
            "timing": row.timing,
            "fit_rows": s.fit_rows,
            "held_out_rows": s.rows,
            "coverage": s.coverage,
            "intervals_judged": row.covered,
            "trivial": row.trivial,
            "published": row.published,
            "met": row.met(s.ours),
        }
        record |= dict(zip(("goal_mean", "goal_median", "goal_p90"), row.goal, strict=True))
        for part in ("ours", "fit", "trivial", "line"):
            record |= {f"{part}_{name}": value for name, value in asdict(getattr(s, part)).items()}
        flat.append({k: None if isinstance(v, float) and math.isnan(v) else v for k, v in record.items()})
    return flat


def as_json(found: Iterable[tuple[Row, Score]]) -> str:
    """A list of records."""
    return json.dumps(records(found), indent=1) + "\n"


def as_csv(found: Iterable[tuple[Row, Score]]) -> str:
    """One line a row."""
    flat = records(found)
    out = io.StringIO()
    writer = csv.DictWriter(out, list(flat[0]) if flat else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    return out.getvalue()
