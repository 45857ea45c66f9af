from __future__ import annotations

import pytest

from orchestrator.reporting.heatmap import MAX_ROWS, draw_heat_map

GENRES = ("action", "comedy", "sci-fi")
PREVALENCE = {"action": 20.0, "comedy": 40.0, "sci-fi": 10.0}


@pytest.fixture
def rows(grid, config):
    return grid([config("a"), config("b", weights="random"), config("c")]).rows()


def test_the_heat_map_has_every_number_of_every_complete_config(sweep, config, rows) -> None:
    made = sweep.add(config("d"), [60.0]).rows()
    (plot,) = draw_heat_map([*rows, *made], {}, GENRES, PREVALENCE, sweep="demo", usual="24 fps")
    ax = plot.figure.axes[0]
    written = [t.get_text() for t in ax.texts]
    assert len(written) == 3 * 4
    assert all(f"{s.mean:.1f}" in written for r in rows for s in (*r.per_genre.values(), r.metrics["uAP"]))
    names = [t.get_text() for t in ax.get_yticklabels()]
    assert names[0].startswith("c ") and names[1].endswith("(R)") and not any(n.startswith("d ") for n in names)
    assert "Not shown: 1 incomplete" in plot.caption and "does not say it: 24 fps" in plot.caption


def test_numbers_are_white_on_dark_and_black_on_light(rows) -> None:
    (plot,) = draw_heat_map(rows, {}, GENRES, None, sweep="demo")
    texts = {t.get_text(): t.get_color() for t in plot.figure.axes[0].texts if t.get_fontweight() != "bold"}
    lowest, highest = min(texts, key=float), max(texts, key=float)
    assert (texts[lowest], texts[highest]) == ("white", "black")


def test_a_large_sweep_shows_its_best_and_says_so(grid, config) -> None:
    rows = grid([config(length=n) for n in range(1, MAX_ROWS + 3)]).rows()
    (plot,) = draw_heat_map(rows, {}, GENRES, None, sweep="demo")
    assert len(plot.figure.axes[0].get_yticklabels()) == MAX_ROWS
    assert "Not shown: 2 configs of lower uAP" in plot.caption


def test_cells_too_narrow_for_their_numbers_have_fewer_digits_or_none(sweep, config) -> None:
    for count, digits in ((10, 4), (20, 2), (60, 0)):
        genres = tuple(f"g{i}" for i in range(count))
        rows = sweep.add(config(f"a{count}"), [60.0] * 3, per_genre=dict.fromkeys(genres, 51.26)).rows()[-1:]
        (plot,) = draw_heat_map(
            rows, {rows[0].key: "a label that is as wide as one of a fused backbone"}, genres, None, sweep="x"
        )
        cells = [t.get_text() for t in plot.figure.axes[0].texts if t.get_fontweight() != "bold"]
        assert {len(c) for c in cells} == ({digits} if digits else set())


def test_nothing_to_show_is_no_figure(sweep, config) -> None:
    rows = sweep.add(config(), [60.0]).rows()
    assert draw_heat_map(rows, {}, GENRES, None, sweep="demo") == []
