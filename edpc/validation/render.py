"""Results as tables and a plot for people, as JSON and as CSV."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Sequence
from pathlib import PurePath

from edpc.emit.document import Block, Column, Heading, Lines, Table, printable
from edpc.units import format_quantity
from edpc.validation.results import Errors, ModelResult, NodeResult, Summary, summaries

SCHEMA = "edpc/validation-v1"
_HALF = 24  # characters on each side of the plot's middle
_EDGE = 2.0  # the ratio at its ends


def document(results: Sequence[ModelResult], target: str, top: int) -> Iterator[Block]:
    """The tables: models, figures of merit, kernel kinds and the worst operators, and the plot."""
    yield Heading(printable(f"predicted by {target} against measured"))
    yield _models(results)
    yield Lines("Predicted over measured", tuple(_plot(results)))
    found = summaries(results)
    yield _figures(found)
    for summary in found:
        if summary.kinds:
            yield _kinds(summary)
    nodes = [(result, node) for result in results for node in result.nodes if node.measured_s > 0.0]
    if nodes and top:
        yield _worst(nodes, top)
    notes = dict.fromkeys(f"{_short(result.model)}: {note}" for result in results for note in result.notes)
    if notes:
        yield Lines("Notes", tuple(map(printable, notes)))


def to_json(results: Sequence[ModelResult], target: str) -> bytes:
    """Everything, in SI units."""
    import msgspec

    content = {"schema": SCHEMA, "target": target, "summaries": summaries(results), "models": list(results)}
    return msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n"


def to_csv(results: Sequence[ModelResult]) -> bytes:
    """A row per operator, and one per model whose operator is empty; times in s."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("model", "mode", "batch", "name", "operator", "kind", "predicted_s", "measured_s", "baseline_s"))
    for result in results:
        head = result.model, result.mode, result.batch
        writer.writerow((*head, "", "", "", result.predicted_s, result.measured_s, result.baseline_s))
        writer.writerows((*head, n.name, n.operator, n.kind, n.predicted_s, n.measured_s, "") for n in result.nodes)
    return out.getvalue().encode()


def _models(results: Sequence[ModelResult]) -> Table:
    rows = tuple(
        (
            printable(_short(r.model)),
            r.mode,
            str(r.batch),
            format_quantity(r.predicted_s, "s"),
            format_quantity(r.measured_s, "s"),
            _percent(r.predicted_s / r.measured_s - 1.0),
            _percent(r.baseline_s / r.measured_s - 1.0),
            "" if r.predicted_j is None else format_quantity(r.predicted_j, "J"),
            "not measured" if r.measured_j is None else format_quantity(r.measured_j, "J"),
        )
        for r in results
    )
    headings = ("batch", "predicted", "measured", "error", "of FLOPs / peak", "energy", "measured energy")
    return Table("Models", (Column("model", number=False), Column("mode", number=False), *map(Column, headings)), rows)


def _figures(found: Sequence[Summary]) -> Table:
    def row(mode: str, what: str, e: Errors, nodes: str) -> tuple[str, ...]:
        return (
            mode,
            what,
            str(e.count),
            *(f"{100 * x:.1f} %" for x in (e.mape, e.median, e.p90)),
            _percent(e.bias),
            f"{100 * e.within:.0f} %",
            nodes,
        )

    rows = []
    for s in found:
        rows.append(row(s.mode, "edpc", s.model, f"{100 * s.nodes:.1f} %" if s.kinds else ""))
        rows.append(row(s.mode, "FLOPs / peak", s.baseline, ""))
    headings = ("models", "MAPE", "median", "p90", "bias", "within 15 %", "operators, time-weighted")
    return Table(
        "Errors", (Column("mode", number=False), Column("prediction", number=False), *map(Column, headings)), tuple(rows)
    )


def _kinds(summary: Summary) -> Table:
    rows = tuple(
        (kind, f"{100 * part:.1f} %", f"{100 * off:.1f} %", f"{ratio:.2f}") for kind, (part, off, ratio) in summary.kinds.items()
    )
    columns = (
        Column("kernel kind", number=False),
        Column("of time"),
        Column("error, time-weighted"),
        Column("predicted / measured"),
    )
    return Table(f"Kernel kinds, {summary.mode}", columns, rows)


def _worst(nodes: Sequence[tuple[ModelResult, NodeResult]], top: int) -> Table:
    ranked = sorted(nodes, key=lambda each: -abs(each[1].predicted_s - each[1].measured_s) / each[0].measured_s)[:top]
    rows = tuple(
        (
            printable(_short(r.model)),
            r.mode,
            str(r.batch),
            printable(n.name),
            n.operator,
            n.kind,
            format_quantity(n.predicted_s, "s"),
            format_quantity(n.measured_s, "s"),
            _percent((n.predicted_s - n.measured_s) / r.measured_s),
        )
        for r, n in ranked
    )
    texts = [Column(h, number=False) for h in ("model", "mode", "batch", "operator", "type", "kernel kind")]
    columns = (*texts, Column("predicted"), Column("measured"), Column("of the model's time"))
    return Table(f"Operators that are furthest off (first {len(rows)} of {len(nodes)})", columns, rows)


def _plot(results: Sequence[ModelResult]) -> Iterator[str]:
    """A line per model: where its ratio stands between a half and twice, on a logarithmic axis."""
    width = max((len(_label(r)) for r in results), default=0)
    axis = f"{1 / _EDGE:<{_HALF}g}1{_EDGE:>{_HALF}g}"
    yield f"{'':{width}}  {axis}"
    for r in results:
        ratio = r.predicted_s / r.measured_s
        place = round(_HALF * max(-1.0, min(1.0, math.log(ratio, _EDGE)))) if ratio > 0.0 else -_HALF
        line = ["-" if abs(x) <= _HALF * math.log(1.15, _EDGE) else " " for x in range(-_HALF, _HALF + 1)]
        line[_HALF] = "|"
        line[_HALF + place] = "o"
        yield f"{printable(_label(r)):{width}}  {''.join(line)} {ratio:.2f}"


def _label(result: ModelResult) -> str:
    return f"{_short(result.model)}, batch {result.batch}, {result.mode}"


def _short(model: str) -> str:
    return PurePath(model).stem if model.endswith(".onnx") else model


def _percent(part: float) -> str:
    return f"{100 * part:+.1f} %"
