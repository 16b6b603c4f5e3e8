"""A sweep as a table for people, CSV, Parquet and a plot. One row per variant; numbers are SI and unrounded but in the table."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edpc.emit.document import Block, Column, Heading, Lines, Table, printable
from edpc.errors import UsageError
from edpc.report.records import Metric
from edpc.sweep.evaluate import FIGURES
from edpc.sweep.run import Outcome
from edpc.units import format_quantity

_UNITS = {"energy_j": "J", "latency_s": "s", "edp_js": "J*s", "average_power_w": "W", "dram_bytes": "B"}
_RANKS: dict[Metric, str] = {"edp": "edp_js", "energy": "energy_j", "latency": "latency_s", "ed2p": "ed2p_js2"}
_FAILURES_SHOWN = 5
_POINTS_SHOWN = 200
_SPEAKING = frozenset({"model", "target", "precision"})  # whose values say what they are


def rows(outcome: Outcome) -> Iterator[dict[str, Any]]:
    """What a variant is and what it costs; every row has the same columns, empty where one does not apply."""
    points = outcome.points
    dims = dict.fromkeys(name for point in points for name, _ in point.dims)
    keys = dict.fromkeys(axis.key for point in points for axis in (*point.chosen, *point.columns))
    for point, priced in zip(points, outcome.priced, strict=True):
        fixed = {axis.key: axis.cell(axis.values[0]) for axis in point.chosen}
        for values, figures in zip(point.variants, priced.rows, strict=False):
            varied = fixed | {axis.key: axis.cell(value) for axis, value in zip(point.columns, values, strict=True)}
            yield {
                "model": point.model,
                "target": point.target,
                "precision": priced.precision,
                "batch": priced.batch,
                **{name: dict(point.dims).get(name) for name in dims},
                "fusion": "on" if point.fusion else "off",
                **{key: varied.get(key) for key in keys},
                "operators": priced.operators,
                **dict(zip(FIGURES, figures, strict=True)),
            }


def to_csv(outcome: Outcome) -> bytes:
    """A heading and a row per variant; figures read back into the same floats."""
    text = io.StringIO()
    writer: csv.DictWriter[str] | None = None
    for row in rows(outcome):
        if writer is None:
            writer = csv.DictWriter(text, list(row), lineterminator="\n")
            writer.writeheader()
        writer.writerow(row)
    return text.getvalue().encode("utf-8", "backslashreplace")


def write_parquet(outcome: Outcome, path: Path) -> None:
    """The rows as a Parquet file.

    Raises:
        UsageError: pyarrow is not installed, or the file cannot be written.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise UsageError("Parquet needs pyarrow: pip install 'edpc[parquet]'") from None
    try:
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(rows(outcome))), path)
    except OSError as error:
        raise UsageError(f"cannot write {str(path)!r}: {error.strerror or error}") from None


def blocks(outcome: Outcome, metric: Metric, top: int | None) -> Iterator[Block]:
    """The best variants by the metric, and the points that failed."""
    found = list(rows(outcome))
    yield Heading(f"Sweep of {len(found):,} variants")
    if found:
        yield _table(found, metric, top, _axis_units(outcome))
    failed = outcome.failures
    if failed:
        said = list(dict.fromkeys(f"{point.model} on {point.target}: {error}" for point, error in failed))
        more = (f"and {len(said) - _FAILURES_SHOWN} more",) if len(said) > _FAILURES_SHOWN else ()
        yield Lines(f"{len(failed)} points failed", tuple(map(printable, (*said[:_FAILURES_SHOWN], *more))))


def _rank(row: dict[str, Any], metric: Metric) -> float:
    return float(row["edp_js"] * row["latency_s"] if metric == "ed2p" else row[_RANKS[metric]])


def _table(found: list[dict[str, Any]], metric: Metric, top: int | None, units: dict[str, str | None]) -> Table:
    shown = sorted(found, key=lambda row: _rank(row, metric))[:top]
    same = {name for name in found[0] if name not in FIGURES and len({str(row[name]) for row in found}) == 1}
    names = [name for name in found[0] if name not in same and name != "operators"]
    cells = tuple(tuple(_cell(n, row[n], units.get(n)) for n in names) for row in shown)
    columns = tuple(Column(name.rpartition("_")[0] if name in _UNITS else printable(name), name in _UNITS) for name in names)
    fixed = ", ".join(f"{name} {found[0][name]}" for name in found[0] if name in same and found[0][name] is not None)
    return Table(printable(f"Lowest {metric} (first {len(shown)} of {len(found):,}; {fixed})"), columns, cells)


def _axis_units(outcome: Outcome) -> dict[str, str | None]:
    return {axis.key: axis.unit for point in outcome.points for axis in (*point.chosen, *point.columns)}


def _cell(name: str, value: Any, unit: str | None) -> str:
    unit = _UNITS.get(name, unit)
    if value is None:
        return ""
    return printable(str(value)) if unit is None else format_quantity(value, unit)


# --- plots ---------------------------------------------------------------------------------------------------


def specification(outcome: Outcome, metric: Metric) -> dict[str, Any]:
    """A Vega-Lite specification: the metric against the constant that varies, or else the batch; a line per configuration."""
    found = list(rows(outcome))
    units = _axis_units(outcome)
    x = next((key for key, unit in units.items() if unit is not None and all(row[key] is not None for row in found)), "batch")
    apart = [n for n in (found[0] if found else ()) if n not in (x, "operators", *FIGURES)]
    apart = [n for n in apart if len({str(row[n]) for row in found}) > 1]
    values = [
        {
            "x": row[x],
            "y": _rank(row, metric),
            "series": ", ".join(f"{row[n]}" if n in _SPEAKING else f"{n} {row[n]}" for n in apart) or "all",
        }
        for row in found
    ]
    unit = units.get(x)
    y_unit = "J*s^2" if metric == "ed2p" else _UNITS[_RANKS[metric]]
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "width": 640,
        "height": 400,
        "data": {"values": values},
        "mark": {"type": "line", "point": len(values) <= _POINTS_SHOWN, "tooltip": True},
        "encoding": {
            "x": {
                "field": "x",
                "type": "quantitative",
                "title": f"{x} ({unit})" if unit not in (None, "1") else x,
                "scale": {"zero": False},
                "axis": {"format": "~s"},
            },
            "y": {
                "field": "y",
                "type": "quantitative",
                "title": f"{metric} ({y_unit})",
                "scale": {"type": "log"},
                "axis": {"format": "~s"},
            },
            "color": {"field": "series", "type": "nominal", "title": None},
        },
    }


def to_svg(outcome: Outcome, metric: Metric) -> bytes:
    """The plot as SVG."""
    import vl_convert

    svg: str = vl_convert.vegalite_to_svg(specification(outcome, metric), allowed_base_urls=[])
    return svg.encode()
