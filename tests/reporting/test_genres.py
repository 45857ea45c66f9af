from __future__ import annotations

import pytest
from matplotlib.collections import PathCollection
from matplotlib.colors import to_hex

from orchestrator.reporting.genres import draw_genre_areas, shared_genres

GENRES = ("action", "comedy", "sci-fi")
PREVALENCE_ORDER = ("comedy", "action", "sci-fi")
PREVALENCE = {"action": 20.0, "comedy": 40.0, "sci-fi": 10.0}


@pytest.fixture
def rows(grid, config):
    return grid([config("a"), config("b", weights="random"), config("c")]).rows()


def test_genres_go_by_frequency_or_else_by_their_mean_area(rows) -> None:
    assert shared_genres(rows, GENRES, PREVALENCE) == ["comedy", "action", "sci-fi"]
    assert shared_genres(rows, GENRES, None) == ["sci-fi", "comedy", "action"]
    assert shared_genres([], GENRES, PREVALENCE) == []


def test_areas_stand_at_their_means_with_the_prevalence_as_chance(rows) -> None:
    (plot,) = draw_genre_areas(rows, rows, {}, GENRES, PREVALENCE, sweep="demo", how="all")
    ax = plot.figure.axes[0]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["comedy", "action", "sci-fi"]
    points = [c for c in ax.collections if isinstance(c, PathCollection)]
    assert points[0].get_offsets()[:, 0].tolist() == pytest.approx(
        [rows[0].per_genre[g].mean for g in PREVALENCE_ORDER]
    )
    assert [to_hex(p.get_facecolor()[0]) == "#ffffff" for p in points] == [False, True, False]
    levels = [
        line.get_xdata()[0] for line in ax.lines if len(set(line.get_xdata())) == 1 and len(line.get_xdata()) == 2
    ]
    assert levels == [40.0, 20.0, 10.0]
    assert "what chance reaches" in plot.caption


def test_without_labels_no_chance_is_claimed(rows) -> None:
    (plot,) = draw_genre_areas(rows, rows, {}, GENRES, None, sweep="demo", how="all")
    assert "chance" not in plot.caption and "highest mean area first" in plot.caption


def test_nothing_to_show_is_no_figure(sweep, config) -> None:
    rows = sweep.add(config(), [60.0]).rows()
    assert draw_genre_areas([], rows, {}, GENRES, None, sweep="demo", how="all") == []
