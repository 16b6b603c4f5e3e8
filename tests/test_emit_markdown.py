"""Markdown: what a renderer of GitHub's flavour shows is the text that went in."""

from __future__ import annotations

import html
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edpc.emit import EmitOptions, emit, emit_kind
from edpc.emit.markdown import escaped
from edpc.report import Report, build_report
from tests.hand_made import CHAIN, annotated, renamed, toy_target

markdown_it = pytest.importorskip("markdown_it", reason="markdown-it-py, which rich brings, is the oracle")
HOSTILE = (
    "a|b `code` *bold* _it_ ~~no~~ $x$ &lt;",
    "[x](http://evil.org) ![i](y)",
    "<script>alert(1)</script>",
    "@someone #12 www.evil.org http://a.b",
)


def rendered(text: str) -> str:
    parser = markdown_it.MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    made: str = parser.render(text)
    return made


def text_of(*reports: Report) -> str:
    return emit(emit_kind("md"), reports, EmitOptions()).decode()


PRINTABLE = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1)
MARKUP = st.text(alphabet="_*`a0 []()<>|\\~$&:/.@#!-+=w", min_size=1)


@given((PRINTABLE | MARKUP).map(str.strip).filter(bool))
@example("__0__")
def test_any_text_in_a_cell_renders_as_itself(text: str) -> None:
    page = rendered(f"| h |\n| --- |\n| {escaped(text)} |\n")
    cells = re.findall(r"<td>(.*?)</td>", page, re.DOTALL)
    assert len(cells) == 1
    shown = cells[0].replace("<!-- -->", "")
    assert "<" not in shown
    assert html.unescape(shown) == text


@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_links_or_calls(name: str) -> None:
    text = text_of(build_report(annotated(renamed(CHAIN, name)), toy_target()))
    page = rendered(text)
    for tag in ("<script", "<a ", "<img", "<code", "<strong", "<em", "<s>"):
        assert tag not in page
    assert name in html.unescape(page.replace("<!-- -->", ""))
    assert not re.search(r"(?<![\\\w])[@#]\w|(?<!\\)www\.|[a-z]://", text)


def test_tables_are_tables() -> None:
    report = build_report(annotated(), toy_target())
    text = text_of(report)
    page = rendered(text)
    assert page.count("<table>") == 6
    assert '<th style="text-align:right">energy</th>' in page
    assert "<h2>chain on toy</h2>" in page
    assert "25.0 % of the EDP's sensitivity rests on constants marked as assumed" in html.unescape(page)
    both = text_of(report, build_report(annotated(), toy_target("other")))
    assert both.index("## Comparison") < both.index("## chain on toy") < both.index("## chain on other")


def test_long_tables_are_folded() -> None:
    parts = tuple(part for number in range(20) for part in renamed(CHAIN, f"layer{number}"))
    numbered = tuple(
        part.__class__(**{**{f: getattr(part, f) for f in part.__dataclass_fields__}, "group": f"g{i}"})
        for i, part in enumerate(parts)
    )
    page = rendered(emit(emit_kind("md"), [build_report(annotated(numbered), toy_target())], EmitOptions(None)).decode())
    assert page.count("<details>") == page.count("</details>") == 2
    assert "<summary>Subgraphs by EDP share" in page
