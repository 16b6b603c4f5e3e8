"""How much as a colour: pale to dark red, with the text colour that can be read on it."""

from __future__ import annotations

from typing import NamedTuple


class Heat(NamedTuple):
    """Colours as `#rrggbb`."""

    background: str
    text: str


# Stops of equal distance in lightness, from nothing to the most there is.
_STOPS = ((255, 247, 236), (253, 212, 158), (252, 141, 89), (215, 48, 31), (127, 0, 0))
_DARK = 0.6  # beyond it, light text is the more legible one


def heat(fraction: float) -> Heat:
    """The colours of a share, 0 being none and 1 the largest there is."""
    at = min(max(fraction, 0.0), 1.0) * (len(_STOPS) - 1)
    low = min(int(at), len(_STOPS) - 2)
    mixed = (round(a + (b - a) * (at - low)) for a, b in zip(_STOPS[low], _STOPS[low + 1], strict=True))
    return Heat("#{:02x}{:02x}{:02x}".format(*mixed), "#ffffff" if fraction > _DARK else "#1f2937")


def stops() -> list[dict[str, object]]:
    """The scale as a gradient: position and colour of each stop."""
    last = len(_STOPS) - 1
    return [{"stop": i / last, "bgColor": heat(i / last).background, "textColor": heat(i / last).text} for i in range(last + 1)]
