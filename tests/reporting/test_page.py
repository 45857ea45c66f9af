from __future__ import annotations

import base64
import hashlib
import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from orchestrator.reporting.aggregate import MARKS, METRICS, Spread
from orchestrator.reporting.inputs import ComparedRow, ComparedTable, PublishedResult, RenderedPlot, Report
from orchestrator.reporting.notes import NOT_COMPARABLE
from orchestrator.reporting.page import compose_page
from orchestrator.store.sweeps import SweepTable

VOID = {"meta", "img", "input", "br", "hr", "link"}
SVG = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" width="518.4pt" height="300pt"><g id="n0"/></svg>'


class Page(HTMLParser):
    """Elements and their texts; fails where tags do not match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


DEMO = SweepTable("demo", "Demo", "Shots or not?", None, ("clip_strategy",))


def plot(name: str, table: str | None) -> RenderedPlot:
    return RenderedPlot(name, f"Title of {name}", f"Caption of {name}.", table, b"png", SVG)


def compare(report: Report, papers: tuple[float | None, ...] = (), *notes: str) -> ComparedTable:
    rows = []
    for row, uap in zip(report.rows, [*papers, *[None] * len(report.rows)], strict=False):
        metrics = {m: Spread(uap, 0.5, 3) for m in ("uAP", "mAP", "wAP", "sAP")} if uap else {}
        paper = PublishedResult("paper", "6", row.label, {}, metrics) if uap else None
        code = PublishedResult("authors-code", "6", row.label, {}, {"uAP": Spread(71.69, 0.44, 3)}) if uap else None
        rows.append(ComparedRow(row.label, row, paper, code))
    return ComparedTable(replace(DEMO, number="6" if papers else None), tuple(rows), notes)


@pytest.fixture
def report(sweep, config, chance) -> Report:
    sweep.add(config(clips="seq-24"), [70.0, 71.0, 72.0], ["demo"], synthetic=True, multiply_adds=5 * 10**9)
    sweep.add(config(clips="shot-24", weights="random"), [73.0, 74.0, 75.0], ["demo"], synthetic=True)
    sweep.add(config(clips="shot-32"), [66.66], ["demo"], synthetic=True)
    return Report("demo", tuple(sweep.rows()), (DEMO,), chance, ("action",), None, {"Manifest": "made.csv"})


def test_the_page_fetches_nothing(report) -> None:
    text = compose_page(report, [compare(report)], [plot("a", "demo"), plot("b", None)])
    page = Page(text)
    assert not re.search(r"""(?:src|href|url|action)\s*[=(]\s*["']?\s*(?:https?:)?//""", text)
    assert not {"link", "iframe", "object", "embed", "form"} & {tag for tag, _ in page.elements}
    assert all((image["src"] or "").startswith("data:image/svg+xml;base64,") for image in page.all("img"))
    assert all((link["href"] or "").startswith("#") for link in page.all("a"))
    assert "@import" not in text


def test_its_policy_allows_its_own_style_and_script_and_nothing_else(report) -> None:
    text = compose_page(report, [compare(report)], [])
    policy = next(m["content"] for m in Page(text).all("meta") if m.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None and policy.startswith("default-src 'none';") and "unsafe" not in policy
    for tag in ("style", "script"):
        (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert not any("style" in attributes or "onclick" in attributes for _, attributes in Page(text).elements)


def test_names_on_the_page_are_unique_and_every_reference_is_there(report) -> None:
    page = Page(compose_page(report, [compare(report, (70.0,))], [plot("a", "demo"), plot("b", None), plot("a", None)]))
    names = Counter(a["id"] for _, a in page.elements if "id" in a)
    assert max(names.values()) == 1
    referred = {(a["href"] or "")[1:] for a in page.all("a")} | {a["for"] for a in page.all("label")}
    referred |= {a["aria-describedby"] for _, a in page.elements if "aria-describedby" in a}
    assert referred <= set(names)


def test_every_config_and_every_mark_is_there_and_explained(report) -> None:
    page = Page(compose_page(report, [compare(report)], []))
    assert {r.label for r in report.rows} <= set(page.words)
    assert report.marks and set(report.marks) == {"R", "S", "I"}
    for mark in report.marks:
        assert f"{MARKS[mark]}." in page.text
        assert any(a.get("title") == MARKS[mark] for a in page.all("abbr"))
    assert "Every config: synthetic trailers" in page.text.replace(" :", ":")
    assert MARKS["P"] not in page.text


def test_the_summary_names_the_best_by_test_mean_and_chance(report) -> None:
    text = Page(compose_page(report, [compare(report)], [])).text
    assert "7 of 9" in text and "2 complete" in text
    assert "Best by test mean, uAP % 74.00 ± 1.00" in text
    assert "(marks: R S); chosen on the test parts, so optimistic" in text
    assert "25.20 ± 0.20" in text


def test_the_summary_names_the_best_by_validation_where_all_have_a_history(sweep, config) -> None:
    for name, uap, validated in (("lucky", 90.0, 50.0), ("sound", 60.0, 70.0)):
        history = ({"epoch": 1, "val_loss": 0.5, "val_uAP": validated},)
        sweep.add(config(name), [uap - 1, uap, uap + 1], history=history, best_epoch=1)
    text = Page(compose_page(Report("demo", tuple(sweep.rows())), [], [])).text
    assert "Best by validation, test uAP % 60.00 ± 1.00 sound" in text and "Best by test" not in text


def test_ours_stands_beside_the_published_with_the_difference(report) -> None:
    text = Page(compose_page(report, [compare(report, (70.83,))], [])).text
    assert "Table 6: Demo" in text and "Shots or not?" in text
    assert "71.00 ± 1.00 paper 70.83 ± 0.50 code 71.69 ± 0.44 +0.17 +0.3" in text


def test_an_incomplete_config_is_marked_and_has_no_mean(report) -> None:
    text = compose_page(report, [compare(report)], [])
    assert text.count('<tr class="incomplete">') == 2
    assert "1 of 3 splits: split 1 missing; split 2 missing" in Page(text).text
    assert "66.66" not in text


def test_a_config_that_only_the_paper_has_says_so(report) -> None:
    metrics = dict.fromkeys(METRICS, Spread(77.7, 0.5, 3))
    paper = PublishedResult("paper", "6", "swin_9d", {}, metrics)
    table = ComparedTable(replace(DEMO, number="6"), (ComparedRow("swin_9d", None, paper, None),))
    assert "swin_9d not in this sweep" in Page(compose_page(report, [table], [])).text


def test_numbers_that_cannot_be_compared_are_warned_of(report) -> None:
    text = compose_page(report, [compare(report, (70.0,), f"{NOT_COMPARABLE}: synthetic.", "A note.")], [])
    assert f'<p class="warning">{NOT_COMPARABLE}: synthetic.</p>' in text and "<li>A note.</li>" in text


def test_plots_stand_with_their_table_and_the_others_after_them(report) -> None:
    plots = [plot("across", None), plot("of_table", "demo")]
    text = compose_page(report, [compare(report)], plots)
    order = ["Demo</h2>", "Caption of of_table", "Across the tables</h2>", "Caption of across", "All configs</h2>"]
    places = [text.index(part) for part in [*order, "Provenance</h2>"]]
    assert places == sorted(places)
    first, second = Page(text).all("img")
    assert first["alt"] == "Title of of_table" and (first["width"], first["height"]) == ("691", "400")
    assert "Figure 1." in text[places[1] - 60 : places[1]]
    assert base64.b64decode((second["src"] or "").split(",")[1]) == SVG


def test_the_table_of_all_configs_sorts_by_numbers(report) -> None:
    text = compose_page(report, [compare(report)], [])
    table = text[text.index('<table id="configs"') :]
    assert 'data-value="74.0"' in table and 'data-value="5000000000"' in table
    assert table.index("74.00 ± 1.00") < table.index("71.00 ± 1.00") < table.index("1 of 3")
    assert '<th scope="col" class="n" aria-sort="descending">uAP</th>' in table
    assert '<th scope="col" class="n">mAP</th>' in table


def test_provenance_is_that_of_the_report(report) -> None:
    text = Page(compose_page(report, [compare(report)], [])).text
    for part in ("Manifest made.csv", "abc123", "torch 2.14.1", "swin_3d: pretrained, random"):
        assert part in text


def test_whatever_names_hold_they_are_text(sweep, config) -> None:
    evil = '<script>alert("x")</script>&amp;'
    sweep.add(config(evil, weights=f"/x/{evil}.pth"), [60.0, 61.0], [evil])
    sweep.records.append(replace(sweep.records[0], key="0" * 20, status="failed", reason=evil))
    sweep.configs[0] = replace(sweep.configs[0], trials={**sweep.configs[0].trials, 2: "0" * 20})
    table = SweepTable(evil, evil, evil, evil, (evil,))
    report = Report(evil, tuple(sweep.rows()), (table,), None, (evil,), None, {evil: evil})
    compared = ComparedTable(table, tuple(ComparedRow(evil, r, None, None) for r in report.rows), (evil,))
    text = compose_page(report, [compared], [RenderedPlot(evil, evil, evil, evil, b"", b"<svg/>")])
    page = Page(text)
    assert len(page.all("script")) == 1 and evil in page.words
    assert text.count("<script>") == 1


def test_an_empty_sweep_is_a_page(chance) -> None:
    text = Page(compose_page(Report("empty", ()), [], [])).text
    assert "0 of 0" in text and "Best by" not in text


def test_the_same_report_gives_the_same_page(report) -> None:
    tables = [compare(report, (70.0,))]
    assert compose_page(report, tables, [plot("a", "demo")]) == compose_page(report, tables, [plot("a", "demo")])


def test_a_search_has_a_section_before_the_tables(pruned) -> None:
    found = pruned.report()
    drawn = RenderedPlot("h", "History", "How it went.", None, b"", SVG, "heads")
    table = ComparedTable(found.tables[0], tuple(ComparedRow(r.label, r, None, None) for r in found.rows))
    text = compose_page(found, [table], [plot("across", None), drawn])
    page = Page(text)
    places = [page.text.index(part) for part in ("Search: Which head?", "Best 8 of 8 done configs", "How it went.")]
    assert places == sorted(places) and "24 of 60 8 done, 15 pruned, 1 failed" in page.text
    assert "optuna-dashboard optuna.log" in page.text and "ranked by validation alone" in page.text
    assert text.index('id="search-1"') < text.index('id="table-1"') < text.index('id="across"')
    assert {"href": "#search-1"} in page.all("a")
    figures = [a["id"] for a in page.all("figure")]
    assert figures == ["figure-1", "figure-2"] and page.text.index("How it went.") < page.text.index(
        "Caption of across"
    )


def test_pruned_configs_are_one_line_of_a_table_and_each_a_line_of_all_configs(pruned) -> None:
    found = pruned.report()
    table = ComparedTable(found.tables[0], tuple(ComparedRow(r.label, r, None, None) for r in found.rows))
    text = compose_page(found, [table], [])
    assert "15 pruned, in" in Page(text).text
    assert text.count('<tr class="pruned">') == 1 + 15 and text.count("pruned after 9 epochs") == 7
