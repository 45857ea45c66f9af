from __future__ import annotations

import re

import pytest

from orchestrator.reporting.latex import escape, to_latex
from orchestrator.specs import MeanSpec


@pytest.fixture
def backbones(sweep, config, beside):
    sweep.add(config("swin_3d"), [75.0, 76.0, 77.0], parameters=28_000_000, multiply_adds=1_600_000_000_000)
    sweep.add(config("swin_2d"), [99.0, 99.0]).add(config("x3d_s_3d", weights="random"), [60.0, 61.0, 62.0])
    return beside("10", title="Backbones & fusions at 100%")


def body_of(latex: str) -> list[str]:
    lines = latex.split(r"\toprule")[1].split(r"\bottomrule")[0].splitlines()
    return [line.strip() for line in lines if line.strip().endswith(r"\\")]


def lines_of(latex: str, label: str) -> list[str]:
    """Whose numbers each line below a config is."""
    body = body_of(latex)
    start = next(i for i, line in enumerate(body) if line.startswith(rf"\multicolumn{{7}}{{l}}{{{label}"))
    below = body[start + 1 :]
    names = [re.match(r"\\quad (.*?) &", line) for line in below]
    return [n[1] for n in names[: names.index(None) if None in names else None] if n]


def width(line: str) -> int:
    spanned = sum(int(n) - 1 for n in re.findall(r"\\multicolumn\{(\d+)\}", line))
    return len(re.findall(r"(?<!\\)&", line)) + 1 + spanned


def test_it_is_a_table_with_caption_label_and_booktabs(backbones, chance) -> None:
    text = to_latex(backbones, "tab:study-10", chance)
    for part in (r"\begin{table}", r"\toprule", r"\midrule", r"\bottomrule", r"\label{tab:study-10}", r"\end{table}"):
        assert text.count(part) >= 1
    assert r"\caption{Backbones \& fusions at 100\%, beside Table 10 of the paper." in text


@pytest.mark.parametrize("number", ["6", "10", "11", None])
def test_every_line_has_as_many_cells_as_the_table_columns(sweep, config, beside, chance, number) -> None:
    sweep.add(config("swin_3d"), [75.0] * 3, parameters=1).add(config("swin_2d"), [1.0])
    sweep.add(config("swin_2d", aggregator=MeanSpec()), [60.0] * 3, synthetic=True)
    text = to_latex(beside(number), "tab:x", chance)
    columns = re.search(r"\\begin\{tabular\}\{@\{\}([lr]+)@\{\}\}", text)
    assert columns and {width(line) for line in body_of(text)} == {len(columns[1])}
    assert len(re.findall(r"(?<!\\)\{", text)) == len(re.findall(r"(?<!\\)\}", text))


def test_below_each_config_stand_ours_the_papers_the_codes_and_the_difference(backbones) -> None:
    text = to_latex(backbones, "tab:x")
    assert lines_of(text, r"swin\_3d") == ["ours", "paper", "authors' code", "difference (sd)"]
    assert lines_of(text, r"swin\_2d") == ["ours", "paper", "authors' code"]
    assert lines_of(text, r"resnet\_2d}") == ["paper", "authors' code"]
    assert lines_of(text, r"x3d\_s\_3d") == ["ours"]


def test_numbers_are_those_of_the_other_forms(backbones) -> None:
    text = to_latex(backbones, "tab:x")
    assert r"\quad ours & \textbf{76.00} $\pm$ 1.00 & \textbf{73.00} $\pm$ 1.00" in text
    assert r"\quad difference (sd) & +0.43 (+0.7) & +2.52 (+6.1)" in text
    assert r"28.0 & 1600.0 \\" in text and r"27.9 & 1590.0 \\" in text
    assert r"\multicolumn{4}{c}{2 of 3 splits}" in text and "99.00" not in text


def test_marks_are_superscripts_with_their_meaning_below(backbones) -> None:
    text = to_latex(backbones, "tab:x")
    table, notes = text.split(r"\end{tabular}")
    assert r"{x3d\_s\_3d\textsuperscript{R}}" in table
    assert r"\textsuperscript{R}~(1 of 3 rows): random weights" in notes
    assert r"\textsuperscript{I}~swin\_2d: 2 of 3 splits: split 2 missing." in notes


def test_what_cannot_be_compared_goes_with_the_caption(sweep, config, beside) -> None:
    sweep.add(config(), [75.0] * 3, trailers=12, synthetic=True)
    text = to_latex(beside("6"), "tab:x")
    assert r"\textbf{Not comparable with the published numbers.}}" in text
    assert r"\textbf{Not comparable with the published numbers}: 12 synthetic trailers" in text


def test_a_table_of_ours_alone_has_the_settings_that_vary(sweep, config, beside, chance) -> None:
    sweep.add(config(length=5), [60.0] * 3, synthetic=True).add(config(length=10), [61.0, 62.0, 63.0], synthetic=True)
    text = to_latex(beside(None, title="Snippets"), "tab:x", chance)
    assert r"clips\_per\_snippet & uAP & mAP & wAP & sAP \\" in text
    assert r"10\textsuperscript{S} & \textbf{62.00} $\pm$ 1.00 &" in text
    assert r"chance & 25.20 $\pm$ 0.20" in text and r"\caption{Snippets.}" in text


def test_special_characters_are_escaped() -> None:
    assert escape(r"a_b & 5% #1 {x} ~^ $ \ ±") == (
        r"a\_b \& 5\% \#1 \{x\} \textasciitilde{}\textasciicircum{} \$ \textbackslash{} $\pm$"
    )
    assert escape("-0.32 (-0.2)") == "$-$0.32 ($-$0.2)"
    assert escape("seq-24 3-4") == "seq-24 3-4"
