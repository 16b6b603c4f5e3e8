"""CSV as RFC 4180 has it: a header, one row per operator, cells that are plain SI numbers."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

import msgspec

from edpc.emit import EmitOptions
from edpc.report import OperatorReport, Report

_LEADING = ("model", "target", "precision", "batch")


def emit(reports: Sequence[Report], options: EmitOptions) -> bytes:
    """Operators of all reports in order of execution; columns are the JSON's field names after model, target, precision, batch.

    An absent value is an empty cell, a truth value is `true` or `false`.
    """
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow([*_LEADING, *(field.name for field in msgspec.structs.fields(OperatorReport))])
    for report in reports:
        leading = [report.model.name, report.target.name, report.target.precision, report.target.batch]
        for operator in report.operators:
            writer.writerow([_cell(value) for value in [*leading, *msgspec.structs.astuple(operator)]])
    return out.getvalue().encode()


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else value
