from __future__ import annotations

from matplotlib.collections import PathCollection
from matplotlib.colors import to_hex

from orchestrator.reporting.aggregate import Spread
from orchestrator.reporting.dots import Dot, draw_dots

PAPER, CODE = Spread(72.0, 1.0, 3), Spread(71.0, 2.0, 3)


def test_each_config_has_a_line_with_its_name_and_numbers(grid, config, chance) -> None:
    rows = grid([config("a"), config("b", weights="random")]).rows()
    figure = draw_dots([Dot("first", rows[0], PAPER, CODE), Dot("second", rows[1])], rows, chance, title="All")
    ax = figure.axes[0]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["first", "second"]
    mean, std = rows[0].metrics["uAP"].mean, rows[0].metrics["uAP"].std
    assert f"{mean:.2f} ± {std:.2f}" in [t.get_text() for t in ax.texts]
    points = [c for c in ax.collections if isinstance(c, PathCollection)]
    assert [to_hex(p.get_facecolor()[0]) == "#ffffff" for p in points] == [False, True]
    assert {"published (paper)", "published (authors' code)"} <= {t.get_text() for t in figure.legends[0].get_texts()}


def test_a_published_row_that_we_lack_says_so(grid, config) -> None:
    rows = grid([config("a")]).rows()
    figure = draw_dots([Dot("ours", rows[0], PAPER), Dot("theirs", None, PAPER)], rows, title="All")
    assert "no result" in [t.get_text() for t in figure.axes[0].texts]


def test_the_chance_level_is_drawn_where_it_lies_near_and_named_where_not(sweep, config, chance) -> None:
    near = sweep.add(config("a"), [26.0, 27.0, 28.0]).add(config("b"), [30.0, 33.0, 36.0]).rows()
    figure = draw_dots([Dot(r.label, r) for r in near], near, chance, title="All")
    assert any(list(line.get_xdata()) == [25.2, 25.2] for line in figure.axes[0].lines)
    far = sweep.add(config("c"), [80.0, 81.0, 82.0]).rows()[2:]
    figure = draw_dots([Dot(r.label, r) for r in far], far, chance, title="All")
    assert not any(list(line.get_xdata()) == [25.2, 25.2] for line in figure.axes[0].lines)
    assert any("chance: 25.2, left of this scale" in t.get_text() for t in figure.texts)
