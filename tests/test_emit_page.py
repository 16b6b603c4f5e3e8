"""The HTML page without a browser: complete in itself, small, escaped, and with the answers on its first screen."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import pytest

import edpc
from edpc.emit import emit, emit_kind
from edpc.emit.answers import answers
from edpc.report import Report, build_report
from tests.command_line import ROOT
from tests.hand_made import CHAIN, annotated, renamed, toy_target

pytest.importorskip("vl_convert")
MODELS = ROOT / "tests" / "models"
LARGE = ROOT.parent / "shared" / "models" / "llama3_8b.onnx"
HOSTILE = "</script><script>alert(1)</script> \"q\" 'a' <img src=x onerror=alert(2)> {{ 7*7 }} & \x1b[31m"
VOID = {"meta", "br", "input", "link", "img"}


class Page(HTMLParser):
    """Tags, attributes and texts of a page; fails where a tag is left open."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.scripts: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        (self.scripts if self.open and self.open[-1] == "script" else self.texts).append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


def html(*reports: Report) -> str:
    return emit(emit_kind("html"), reports).decode()


def data_of(page: Page) -> dict[str, Any]:
    packed = next(script for script in page.scripts if len(script) > 100)
    made: dict[str, Any] = json.loads(gzip.decompress(base64.b64decode(packed)))
    return made


@pytest.fixture(scope="module")
def report() -> Report:
    return edpc.compile(str(MODELS / "resnet18.onnx"), target="h100", batch=1)


@pytest.fixture(scope="module")
def page(report: Report) -> Page:
    return Page(html(report))


def test_nothing_is_fetched(page: Page) -> None:
    for tag, attributes in page.tags:
        assert tag not in ("link", "img", "iframe", "object", "embed", "base")
        assert not {"src", "srcset", "action", "data-src"} & set(attributes)
        assert not attributes.get("href") or str(attributes["href"]).startswith("#")
        assert not [name for name in attributes if name.startswith("on")]
    (policy,) = [a["content"] for t, a in page.tags if t == "meta" and a.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe-eval" not in policy


def test_the_policy_allows_the_scripts_of_the_page_and_no_other(page: Page) -> None:
    (policy,) = [a["content"] for t, a in page.tags if t == "meta" and a.get("http-equiv") == "Content-Security-Policy"]
    allowed = re.search("script-src ([^;]*);", str(policy))
    assert allowed is not None
    code = [script for script in page.scripts if len(script) > 100][1:]
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in code]
    assert allowed[1].split() == [f"'sha256-{h}'" for h in hashes]
    assert len(hashes) == 2


def test_the_first_screen_answers_the_four_questions(page: Page, report: Report) -> None:
    text = page.text.replace("\xa0", " ")
    for question in ("What dominates?", "Why on h100?", "What did fusion save?", "How sure is that?"):
        assert question in text
    for answer in answers(report):
        assert answer.figure[1:] in text
        assert answer.text in text
    assert text.index("Energy-delay product") < text.index("What dominates?") < text.index("Where it goes")


def test_the_data_is_the_report(page: Page, report: Report) -> None:
    (shown,) = data_of(page)["reports"]
    subgraphs = [dict(zip(shown["subgraph_fields"], row, strict=True)) for row in shown["subgraphs"]]
    assert {s["id"] for s in subgraphs} == {s.id for s in report.subgraphs}
    assert [s["share"] for s in subgraphs] == sorted((s["share"] for s in subgraphs), reverse=True)
    assert sum(s["edp_js"] for s in subgraphs) == pytest.approx(report.edp_js, rel=1e-5)
    operators = [dict(zip(shown["operator_fields"], o, strict=True)) for s in subgraphs for o in s["operators"]]
    assert {o["operator_id"] for o in operators} == {o.operator_id for o in report.operators}
    assert sum(o["edp_js"] for o in operators) == pytest.approx(report.edp_js, rel=1e-5)
    assert [plot["name"] for plot in shown["plots"]] == ["components", "roofline", "breakdown", "cumulative"]


def test_names_are_text(tmp_path: Path) -> None:
    hostile = build_report(annotated(renamed(CHAIN, HOSTILE), name=HOSTILE), toy_target())
    one = html(hostile)
    for made in (one, html(hostile, hostile)):
        page = Page(made)
        assert sum(tag == "script" for tag, _ in page.tags) == 3
        assert not [tag for tag, _ in page.tags if tag == "img"]
        assert "{{ 7*7 }}" in page.text
        assert "\x1b" not in made
    assert any(HOSTILE.replace("\x1b", "\\x1b") in row[1] for row in data_of(Page(one))["reports"][0]["subgraphs"])


def test_several_reports_are_side_by_side_first(report: Report) -> None:
    other = edpc.compile(str(MODELS / "resnet18.onnx"), target="kpu", batch=1)
    page = Page(html(report, other))
    text = page.text
    assert text.index("Side by side") < text.index("The same operator on every machine") < text.index("One machine in detail")
    assert [a["value"] for t, a in page.tags if t == "input"] == ["0", "1"]
    names = {a.get("data-plot") for t, a in page.tags if a.get("data-plot")}
    data = data_of(page)
    assert names == {plot["name"] for plot in [*data["comparison"], *data["reports"][0]["plots"]]}
    assert len(data["reports"]) == 2


def test_it_is_below_two_megabytes_and_the_same_every_time(report: Report) -> None:
    made = html(report)
    assert len(made) < 1_100_000
    assert made == html(report)


@pytest.mark.slow
def test_a_large_model_on_four_targets_fits() -> None:
    if not LARGE.exists():
        pytest.skip("no model graphs beside the checkout")
    reports = [edpc.compile(str(LARGE), target=target, batch=1, dims={}) for target in ("h100", "kpu", "tpu", "cpu")]
    assert len(html(*reports)) < 2_000_000


def test_what_does_not_fit_is_left_out_and_counted(report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edpc.emit.html._DATA_BYTES", 9_000)
    page = Page(html(report))
    (shown,) = data_of(page)["reports"]
    assert 1 <= len(shown["subgraphs"]) < len(report.subgraphs) == shown["of"]
    assert shown["subgraphs"][0][0] == max(report.subgraphs, key=lambda s: s.edp_fraction).id


def test_a_report_from_a_file_and_an_empty_network_make_a_page(report: Report) -> None:
    read = msgspec.json.decode(report.to_json(), type=Report)
    assert "What dominates?" in Page(html(read)).text
    empty = build_report(annotated([]), toy_target())
    assert "What dominates?" not in Page(html(empty)).text
    Page(html(empty, empty))


def test_what_reports_and_comparisons_state_themselves_is_shown(report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    from edpc.report import Comparison
    from edpc.report.records import Finding

    class Part:
        def __init__(self, cause: str, factor: float) -> None:
            self.cause, self.factor, self.log_ratio = cause, factor, math.log(factor)

    class Why:
        first, second, edp_ratio, parts = "h100", "kpu", 6.0, (Part("dram_energy", 0.5), Part("static_power", 12.0))

    stated = "Half of it is <b>static</b>."
    monkeypatch.setattr(Report, "findings", (Finding("half", stated, {}),), raising=False)
    monkeypatch.setattr(Comparison, "findings", (Finding("fewer", "Fewer <i>launches</i> are all.", {}),), raising=False)
    monkeypatch.setattr(Comparison, "explain", Why(), raising=False)
    monkeypatch.setattr(Comparison, "edp_below", ((None, 0.25), (0.75, None)), raising=False)
    page = Page(html(report, report))
    assert stated in page.text
    assert "Fewer <i>launches</i> are all." in page.text
    assert "Why: EDP of h100 over EDP of kpu" in page.text
    assert page.text.index("static power 12×") < page.text.index("DRAM energy 0.5×") < page.text.index("product 6×")
    assert "below 2: h100" in page.text
    assert page.text.index("25 %") < page.text.index("75 %")


# --- the answers ---------------------------------------------------------------------------------------------


def test_answers_are_computed_from_the_report() -> None:
    report = build_report(annotated(), toy_target())
    dominates, why, fusion, sure = answers(report)
    # g0 takes 0.59 of the EDP; its matmul 3 of 7.2 us and 16.5 of 24.6 nJ.
    matmul = next(o for o in report.operators if o.operator_type == "matmul")
    assert dominates.figure == f"matmul operators take {100 * matmul.edp_fraction_of_model:.1f} % of the EDP"
    assert dominates.text.startswith("1 of 2 subgraphs make half of the EDP; the first, g0 ")
    latency = report.totals.latency_by_component
    assert f"memory traffic takes {100 * latency.memory / report.latency_s:.1f} % of the time" in why.figure
    assert why.text.startswith("Subgraphs are bound 2 by compute.")
    saved = report.fusion.saved.edp_js / report.fusion.separate.edp_js
    assert fusion.figure == f"{100 * saved:.1f} % of the EDP of separate kernels"
    assert "DRAM tensor accesses went from 8 to 4, launches from 4 to 2." in fusion.text
    assert sure.text == "25.0 % of its sensitivity rests on constants marked as assumed; 4 of 4 operators are modelled."


def test_answers_change_with_the_model() -> None:
    path = str(MODELS / "linear_bias_relu.onnx")
    fused, apart = (answers(edpc.compile(path, target="kpu", fusion=fusion)) for fusion in (True, False))
    assert fused[2].figure.endswith("of the EDP of separate kernels")
    assert apart[2].figure == "nothing: every operator runs as a kernel of its own"
    assert fused[1] != answers(edpc.compile(path, target="h100"))[1]
    assert answers(build_report(annotated([]), toy_target())) == []


# --- notebooks -----------------------------------------------------------------------------------------------


def test_notebooks_show_totals_answers_and_subgraphs() -> None:
    hostile = build_report(annotated(renamed(CHAIN, HOSTILE)), toy_target())
    page = Page(hostile._repr_html_())
    assert not [tag for tag, _ in page.tags if tag in ("script", "img", "style")]
    assert "What dominates?" in page.text
    assert HOSTILE.replace("\x1b", "\\x1b")[:20] in page.text
    both = Page(edpc.compare([hostile, build_report(annotated(), toy_target("other"))])._repr_html_())
    assert "chain on toy" in both.text
    assert "chain on other" in both.text
