from __future__ import annotations

import pytest
from matplotlib.colors import to_hex

from orchestrator.reporting.aggregate import Spread
from orchestrator.reporting.axes import compare_along
from orchestrator.reporting.bars import caption_groups, draw_groups


@pytest.fixture
def rows(grid, config):
    made = [
        config(b, clips=c, weights=w) for b, w in (("a", "pretrained"), ("b", "random")) for c in ("seq-24", "shot-24")
    ]
    return grid(made).rows()


def draw(rows, chance=None, published=None):
    axis = compare_along(rows, "clip_strategy")
    return axis, draw_groups(axis, rows, published, chance, title="Strategies")


def test_bars_start_at_chance_and_end_at_the_mean(rows, chance) -> None:
    _, figure = draw(rows, chance)
    bars = figure.axes[0].patches
    assert len(bars) == 4
    assert {b.get_y() for b in bars} == {25.2}
    assert sorted(b.get_y() + b.get_height() for b in bars) == pytest.approx(
        sorted(r.metrics["uAP"].mean for r in rows)
    )
    assert figure.axes[0].get_ylim()[0] == 25.2
    assert any("25.2" in t.get_text() for t in figure.axes[0].get_yticklabels())


def test_without_a_chance_level_bars_start_at_zero(rows) -> None:
    _, figure = draw(rows)
    assert {b.get_y() for b in figure.axes[0].patches} == {0.0}
    assert figure.axes[0].get_ylim()[0] == 0


def test_points_below_have_a_scale_of_their_own(rows, chance) -> None:
    _, figure = draw(rows, chance)
    assert figure.axes[1].get_ylim()[0] > 50


@pytest.mark.parametrize("level", [61.5, 90.0])
def test_bars_below_chance_hang_down_from_it_with_their_whole_whiskers(rows, level: float) -> None:
    """Some of the means, about 60 to 63, or all of them."""
    _, figure = draw(rows, {"uAP": Spread(level, 0.2, 3)})
    ax = figure.axes[0]
    low, high = ax.get_ylim()
    spreads = [r.metrics["uAP"] for r in rows]
    assert low < min(s.mean - s.std for s in spreads) and high > max(level, *(s.mean + s.std for s in spreads))
    assert {b.get_y() for b in ax.patches} == {level}
    assert sorted(level + b.get_height() for b in ax.patches) == pytest.approx(sorted(s.mean for s in spreads))
    below = sum(s.mean < level for s in spreads)
    assert 0 < below == sum(b.get_height() < 0 for b in ax.patches)
    assert any(list(line.get_ydata()) == [level, level] for line in ax.lines)
    assert all(low <= tick <= high for tick in ax.get_yticks())
    names = [t for t in ax.texts if t.get_text().replace(".", "").isdigit()]
    assert [t.get_va() for t in names].count("top") == below


def test_random_weights_are_hollow_bars(rows, chance) -> None:
    _, figure = draw(rows, chance)
    faces = [to_hex(b.get_facecolor()) for b in figure.axes[0].patches]
    assert faces.count("#ffffff") == 2
    assert "hollow: random backbone weights" in [t.get_text() for t in figure.legends[0].get_texts()]


def test_published_numbers_stand_beside_our_bars(rows, chance) -> None:
    _, figure = draw(rows, chance, {rows[0].key: Spread(70.83, 1.93, 3)})
    for ax in figure.axes[:2]:
        assert any(list(line.get_ydata()) == [70.83] and line.get_marker() == "D" for line in ax.lines)
    assert "published (paper)" in [t.get_text() for t in figure.legends[0].get_texts()]


def test_the_caption_says_where_the_bars_start_and_what_the_data_is(grid, config, chance) -> None:
    rows = grid([config(clips=c) for c in ("seq-24", "shot-24")], synthetic=True).rows()
    axis = compare_along(rows, "clip_strategy")
    text = caption_groups(axis, rows, metric="uAP", chance=chance, published=False)
    assert "start at the chance level" in text and "SYNTHETIC TRAILERS" in text and "hang down" not in text
    high = {"uAP": Spread(90.0, 0.2, 3)}
    assert "Bars that hang down are below chance" in caption_groups(
        axis, rows, metric="uAP", chance=high, published=False
    )
    assert "start at 0;" in caption_groups(axis, rows, metric="uAP", chance=None, published=False)
