from __future__ import annotations

import pytest

from orchestrator.reporting.style import (
    TITLE,
    WIDTH,
    as_sentences,
    count_notes,
    data_notes,
    fit,
    make_figure,
    text_width,
)


def test_what_the_data_is_comes_before_all_else(sweep, config) -> None:
    sweep.add(config("a", weights="random"), [60.0] * 3, synthetic=True)
    sweep.add(config("b"), [60.0] * 3, synthetic=True, origins=("published",))
    rows = sweep.rows(trailers=200)
    assert data_notes(rows, rows) == [
        "SYNTHETIC TRAILERS, not films",
        "RANDOM BACKBONE WEIGHTS in 1 of 2",
        "published representations in 1 of 2",
        "fewer trailers than the manifest lists",
    ]
    assert "RANDOM BACKBONE WEIGHTS throughout" in data_notes(rows[:1], rows)


def test_films_and_pretrained_backbones_need_no_note(sweep, config) -> None:
    rows = sweep.add(config(), [60.0] * 3).rows()
    assert data_notes(rows, rows) == []


def test_what_is_left_out_is_counted(sweep, config) -> None:
    rows = sweep.add(config("a"), [60.0] * 3).add(config("b"), [60.0]).rows()
    assert count_notes(rows[:1], rows) == [
        "1 config, mean over 3 splits, bars: sample standard deviation",
        "not shown: 1 incomplete",
    ]


def test_notes_end_a_caption_as_sentences() -> None:
    assert as_sentences(["not shown: 1", "", "SYNTHETIC"]) == " Not shown: 1. SYNTHETIC."
    assert as_sentences([]) == ""


def test_a_long_name_keeps_both_its_ends() -> None:
    name = "a_really_long_backbone_name_3d, shot-24, 8 fps"
    short = fit(name, 1.5)
    assert short.startswith("a_re") and short.endswith("8 fps") and text_width(short) <= 108
    assert fit("swin_3d", 1.5) == "swin_3d"


def test_a_dollar_sign_is_one_and_has_a_width() -> None:
    assert text_width(r"a$\frac$") == pytest.approx(text_width(r"a\frac") + 2 * text_width("$"), rel=0.05)
    assert text_width("$x_$") > text_width("x_")


def test_the_body_of_a_figure_is_as_high_as_asked_for_and_below_its_heading() -> None:
    figure, (_, bottom, _, height) = make_figure("A title " * 30, ["", "a note " * 40], 3.0)
    inches = figure.get_size_inches()[1]
    assert height * inches == pytest.approx(3.0) and bottom + height < 0.9
    lines = figure.get_suptitle().split("\n")
    assert len(lines) == 3 and all(text_width(line, TITLE, bold=True) < 72 * WIDTH for line in lines)
