"""How the plots look: one configuration for paper and light pages, one for dark ones."""

from __future__ import annotations

from typing import Any

# vl-convert measures text in a font of Arial's widths; a page measures in whatever font it has.
_PAPER_FONT = "Arial, 'Liberation Sans', Helvetica, sans-serif"
_PAGE_FONT = "system-ui, 'Segoe UI', Helvetica, Arial, sans-serif"
_LIGHT = {"ink": "#1f2937", "soft": "#4b5563", "line": "#d1d5db", "paper": "#ffffff"}
_DARK = {"ink": "#e5e7eb", "soft": "#a3acb9", "line": "#3a4150", "paper": None}


def config(dark: bool = False, paper: bool = True) -> dict[str, Any]:
    """A Vega-Lite configuration.

    Args:
        dark: for dark pages.
        paper: whether it is drawn for a file of its own, on a background.
    """
    colours = _DARK if dark else _LIGHT
    font = _PAPER_FONT if paper else _PAGE_FONT
    return {
        "font": font,
        "padding": 14 if paper else 4,
        "background": colours["paper"] if paper else None,
        "view": {"stroke": None},
        "title": {
            "anchor": "start",
            "color": colours["ink"],
            "subtitleColor": colours["soft"],
            "fontSize": 12,
            "fontWeight": 600,
            "offset": 8,
        },
        "axis": {
            "labelColor": colours["soft"],
            "titleColor": colours["soft"],
            "titleFontWeight": "normal",
            "gridColor": colours["line"],
            "gridOpacity": 0.6,
            "domainColor": colours["line"],
            "tickColor": colours["line"],
            "labelFontSize": 11,
            "titleFontSize": 11,
            "labelOverlap": True,
        },
        "axisY": {"domain": False, "ticks": False, "labelPadding": 6, "labelLimit": 300},
        "axisBand": {"grid": False, "labelOverlap": False},
        "legend": {"labelColor": colours["soft"], "labelFontSize": 11, "symbolType": "circle", "titleColor": colours["soft"]},
        "text": {"color": colours["soft"], "font": font},
        "rule": {"color": colours["soft"]},
    }
