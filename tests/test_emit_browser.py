"""The HTML page in a browser: it sorts, filters, drills, tells on hovering, changes its colours, and fetches nothing.

Needs Playwright's Python package and a Chromium: one that the system has (`chromium`, `google-chrome`), or the one named by
EDPC_CHROMIUM. Without either the tests are skipped; tests/test_emit_page.py reads the page without a browser.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import edpc
from edpc.emit import emit, emit_kind
from edpc.report import Report, build_report
from tests.command_line import ROOT
from tests.hand_made import CHAIN, annotated, renamed, toy_target

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
pytest.importorskip("vl_convert")

CHROMIUM = os.environ.get("EDPC_CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None
)
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")]

MODELS = ROOT / "tests" / "models"
HOSTILE = "</script><script>document.title='owned'</script> \"q\" 'a' <img src=x onerror=\"document.title='owned'\">"
TABLE = "article:not([hidden]) [data-table=subgraphs]"

Opener = Callable[..., Any]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as engine:
        launched = engine.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Report]]:
    return made(tmp_path_factory, edpc.compile(str(MODELS / "resnet18.onnx"), target="tpu", batch=1))


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Report]]:
    reports = (edpc.compile(str(MODELS / "bert_tiny.onnx"), target=t, batch=2) for t in ("h100", "kpu", "tpu", "cpu"))
    return made(tmp_path_factory, *reports)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Report]]:
    return made(tmp_path_factory, build_report(annotated(renamed(CHAIN, HOSTILE), name=HOSTILE), toy_target()))


def made(folder: pytest.TempPathFactory, *reports: Report) -> tuple[Path, list[Report]]:
    path = folder.mktemp("page") / "report.html"
    path.write_bytes(emit(emit_kind("html"), reports))
    return path, list(reports)


@pytest.fixture
def show(browser: Any) -> Iterator[Opener]:
    """Opens a page; afterwards, fails where it asked for anything, or said anything on its console."""
    seen: list[Any] = []

    def opened(path: Path, width: int = 1280, scheme: str = "light", **options: Any) -> Any:
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme, **options)
        asked: list[str] = []
        said: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(path.as_uri())
        page.wait_for_selector("html[data-ready]")
        seen.append((page, path.as_uri(), asked, said))
        return page

    yield opened
    for page, own, asked, said in seen:
        page.close()
        assert [url.partition("#")[0] for url in asked] == [own]
        assert said == []


def natural(name: str) -> list[tuple[int, str]]:
    """A key that puts `conv2` before `conv10`, and punctuation before letters, as a reader does."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def names(page: Any) -> list[str]:
    return [text.strip() for text in page.locator(f"{TABLE} tr.row > th").all_inner_texts()]


def test_tables_sort_by_every_heading_both_ways(one: tuple[Path, list[Report]], show: Opener) -> None:
    path, (report,) = one
    page = show(path)
    shares = [s.id for s in sorted(report.subgraphs, key=lambda s: -s.edp_fraction)]
    assert names(page)[0].startswith(shares[0])
    heading = page.locator(f"{TABLE} thead th", has_text="latency")
    heading.locator("button").click()
    assert heading.get_attribute("aria-sort") == "descending"
    slowest = max(report.subgraphs, key=lambda s: s.latency_s)
    fastest = min(report.subgraphs, key=lambda s: s.latency_s)
    assert names(page)[0].startswith(slowest.id)
    heading.locator("button").click()
    assert heading.get_attribute("aria-sort") == "ascending"
    assert names(page)[0].startswith(fastest.id)
    page.locator(f"{TABLE} thead button", has_text="subgraph").click()
    shown = [name.split(maxsplit=1)[1] for name in names(page)]
    assert shown == sorted((s.name for s in report.subgraphs), key=natural)


def test_filter_finds_subgraphs_by_their_operators(one: tuple[Path, list[Report]], show: Opener) -> None:
    path, (report,) = one
    page = show(path)
    page.get_by_role("searchbox", name="Filter by name, type or pattern").fill("Max_Pool")
    pools = {o.subgraph_id for o in report.operators if o.operator_type == "max_pool"}
    assert {name.split()[0] for name in names(page)} == pools
    assert page.locator(f"{TABLE} > .controls .count").inner_text() == f"{len(pools)} of {len(report.subgraphs)} subgraphs"
    page.get_by_role("searchbox").first.fill("")
    bounds = {s.bottleneck for s in report.subgraphs}
    page.locator(f"{TABLE} > .controls select").select_option("memory")
    assert len(names(page)) == sum(s.bottleneck == "memory" for s in report.subgraphs)
    assert len(bounds) > 1


def test_drill_from_model_to_subgraph_to_operator(one: tuple[Path, list[Report]], show: Opener) -> None:
    path, (report,) = one
    page = show(path)
    dearest = max(report.subgraphs, key=lambda s: s.edp_fraction)
    page.locator(f"{TABLE} .opener").first.click()
    inside = page.locator(f"{TABLE} tr.inner").first
    operators = [o for o in report.operators if o.subgraph_id == dearest.id]
    assert set(inside.locator("th .opener").all_inner_texts()) == {o.source_name for o in operators}
    inside.locator(".opener").first.click()
    detail = inside.locator("dl.detail").inner_text()
    for words in ("FLOPs", "declared modifier", "modelled modifier", "saved by fusing it"):
        assert words in detail
    page.locator(f"{TABLE} .opener").first.click()
    assert page.locator(f"{TABLE} tr.inner").count() == 0


def test_numbers_are_those_of_the_report(one: tuple[Path, list[Report]], show: Opener) -> None:
    from edpc.units import format_quantity

    path, (report,) = one
    rows = show(path).locator(f"{TABLE} tr.row")
    ordered = sorted(report.subgraphs, key=lambda s: -s.edp_fraction)
    for number, subgraph in enumerate(ordered):
        text = rows.nth(number).inner_text()
        for value, unit in ((subgraph.energy_j, "J"), (subgraph.latency_s, "s"), (subgraph.edp_js, "J*s")):
            assert format_quantity(value, unit) in text


def test_keyboard_alone_opens_sorts_and_switches(several: tuple[Path, list[Report]], show: Opener) -> None:
    path, _ = several
    page = show(path)
    opener = page.locator(f"{TABLE} .opener").first
    opener.focus()
    page.keyboard.press("Enter")
    assert page.locator(f"{TABLE} tr.inner").count() == 1
    assert page.evaluate("document.activeElement.getAttribute('aria-expanded')") == "true"  # focus stays where it was
    page.keyboard.press("Space")
    assert page.locator(f"{TABLE} tr.inner").count() == 0
    page.locator("#tabs input").first.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_selector("article#r1:not([hidden])")
    assert page.locator("article#r0").is_hidden()


def test_hovering_the_roofline_tells_which_subgraph(one: tuple[Path, list[Report]], show: Opener) -> None:
    path, (report,) = one
    page = show(path)
    point = page.locator("[data-plot=roofline] .mark-symbol path[aria-label]").last  # the smallest, which lies on top
    point.scroll_into_view_if_needed()
    point.hover()
    page.wait_for_selector("#vg-tooltip-element.visible")
    text = page.locator("#vg-tooltip-element").inner_text()
    assert any(f"{s.id} " in text for s in report.subgraphs)
    for words in ("bound by", "EDP share", "achieved", "of peak"):
        assert words in text


def test_clicking_a_plot_opens_the_subgraph(one: tuple[Path, list[Report]], show: Opener) -> None:
    path, (report,) = one
    page = show(path)
    page.get_by_role("searchbox").first.fill("nothing has this name")
    assert names(page) == []
    page.locator("[data-plot=breakdown] .mark-rect path").first.click()
    page.wait_for_selector(f"{TABLE} tr.inner")
    dearest = max(report.subgraphs, key=lambda s: s.edp_fraction)
    assert page.locator(f"{TABLE} tr.open .opener").inner_text().startswith(dearest.id)


def test_every_plot_is_drawn(several: tuple[Path, list[Report]], show: Opener) -> None:
    path, _ = several
    page = show(path)
    plots = page.locator("#compare .plot, article:not([hidden]) .plot")
    assert plots.count() == 9
    for number in range(9):
        assert plots.nth(number).locator("svg").count() == 1
        assert plots.nth(number).bounding_box()["height"] > 80


def test_colours_follow_the_system_and_the_button(one: tuple[Path, list[Report]], show: Opener) -> None:
    path, _ = one

    def lightness(page: Any) -> int:
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        return sum(map(int, colour.removeprefix("rgb(").removesuffix(")").split(",")))

    light, dark = show(path), show(path, scheme="dark")
    assert lightness(light) > 700
    assert lightness(dark) < 120
    assert dark.locator("[data-plot=roofline] text").first.get_attribute("fill") != light.locator(
        "[data-plot=roofline] text"
    ).first.get_attribute("fill")
    light.get_by_role("button", name="Dark").click()
    light.wait_for_selector("html[data-theme=dark]")
    assert lightness(light) < 120
    assert light.get_by_role("button", name="Light").is_visible()


def test_the_same_operator_on_every_machine(several: tuple[Path, list[Report]], show: Opener) -> None:
    path, reports = several
    page = show(path)
    table = page.locator("#compare [data-table=across]")
    assert table.locator("thead th").all_inner_texts()[2:-1] == [r.target.name for r in reports]
    name = table.locator("tbody .opener").first.inner_text()
    table.locator("tbody .opener").first.click()
    machines = table.locator("tr.inner tbody tr")
    assert machines.count() == len(reports)
    on = [next(o for o in r.operators if o.source_name == name) for r in reports]
    dearest = max(range(4), key=lambda i: on[i].edp_js)
    assert machines.first.inner_text().startswith(reports[dearest].target.name)


@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_is_wider_than_the_window(several: tuple[Path, list[Report]], show: Opener, width: int) -> None:
    path, _ = several
    page = show(path, width=width)
    page.locator(f"{TABLE} .opener").first.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    sizes = page.evaluate(
        "[...document.querySelectorAll('td, th, p, dd, text')].map(e => parseFloat(getComputedStyle(e).fontSize))"
    )
    assert min(sizes) >= 10


def test_hostile_names_are_shown_as_text(hostile: tuple[Path, list[Report]], show: Opener) -> None:
    path, _ = hostile
    page = show(path)
    for number in (0, 1):
        page.locator(f"{TABLE} tr.row:not(.open) .opener").first.click()
        assert page.locator(f"{TABLE} tr.inner").count() == number + 1
    page.locator("[data-plot=breakdown] .mark-rect path").first.hover()
    page.wait_for_selector("#vg-tooltip-element.visible")
    assert "script" in page.locator("#vg-tooltip-element").inner_text()
    assert page.title().startswith(HOSTILE[:20])
    assert "owned" not in page.title().replace(HOSTILE, "")
    assert page.locator("img").count() == 0
    assert HOSTILE in page.locator("h1").inner_text()
    assert any(HOSTILE in text for text in page.locator(f"{TABLE} .opener").all_inner_texts())


def test_an_empty_network_is_a_quiet_page(tmp_path_factory: pytest.TempPathFactory, show: Opener) -> None:
    empty = build_report(annotated([]), toy_target())
    for reports in ((empty,), (empty, build_report(annotated(), toy_target("other")))):
        page = show(made(tmp_path_factory, *reports)[0])
        assert page.locator(f"{TABLE} > .controls .count").inner_text() == "0 subgraphs"


def test_without_scripts_the_answers_are_there(one: tuple[Path, list[Report]], browser: Any) -> None:
    path, (report,) = one
    page = browser.new_page(java_script_enabled=False)
    page.goto(path.as_uri())
    text = page.locator("body").inner_text()
    assert "What dominates?" in text
    assert "allow it to run" in text
    assert f"edpc targets {report.target.name}" in text
    page.close()


def test_printing_is_on_white_and_without_controls(one: tuple[Path, list[Report]], show: Opener) -> None:
    path, _ = one
    page = show(path, scheme="dark")
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.locator("#theme").is_hidden()
    assert page.locator(f"{TABLE} .controls").first.is_hidden()
    assert page.pdf().startswith(b"%PDF")
