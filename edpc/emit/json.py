"""JSON: one report as `edpc/report-v1`, several as `edpc/comparison-v1`."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from edpc.emit import EmitOptions
from edpc.report import Report, build_comparison


def emit(reports: Sequence[Report], options: EmitOptions) -> bytes:
    """The report, or the comparison of several, as indented JSON with a newline at its end."""
    data = reports[0].to_json() if len(reports) == 1 else build_comparison(reports, options.explain).to_json()
    return msgspec.json.format(data, indent=1) + b"\n"
