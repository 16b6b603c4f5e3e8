"""The plots as SVG."""

from __future__ import annotations

import re
from collections.abc import Sequence

from edpc.emit import EmitOptions
from edpc.emit.figure import figure
from edpc.report import Report

_CLIP = re.compile(r'(<clipPath id="|clip-path="url\(#)clip(\d+)')


def emit(reports: Sequence[Report], options: EmitOptions) -> bytes:
    """One SVG with the plots of all reports; nothing is fetched to draw it, and the same reports give the same bytes."""
    import vl_convert

    drawn = vl_convert.vegalite_to_svg(figure(reports, options), allowed_base_urls=[])
    # Clip paths are numbered on through the life of the process: here from one.
    numbers: dict[str, int] = {}
    return _CLIP.sub(lambda m: f"{m[1]}clip{numbers.setdefault(m[2], len(numbers) + 1)}", drawn).encode() + b"\n"
