"""The plots as PNG."""

from __future__ import annotations

from collections.abc import Sequence

from edpc.emit import EmitOptions
from edpc.emit.figure import figure
from edpc.report import Report

_SCALE = 2.0  # pixels per unit of the drawing, for displays of high density


def emit(reports: Sequence[Report], options: EmitOptions) -> bytes:
    """One picture with the plots of all reports; nothing is fetched to draw it."""
    import vl_convert

    return vl_convert.vegalite_to_png(figure(reports, options), scale=_SCALE, allowed_base_urls=[])
