from __future__ import annotations

from dataclasses import replace

import numpy as np

from orchestrator.reporting.fronts import draw_fronts


def test_the_front_is_joined_and_numbered(costly) -> None:
    (plot,) = draw_fronts(costly.view())
    (ax,) = plot.figure.axes
    (line,) = ax.lines
    assert list(zip(line.get_xdata(), line.get_ydata(), strict=True)) == [(10, 45), (30, 60), (80, 70)]
    assert line.get_drawstyle() == "steps-post"
    assert {t.get_text() for t in plot.figure.texts} >= {"#1", "#3", "#5"}
    assert sum(len(np.asarray(c.get_offsets())) for c in ax.collections) == 8
    assert plot.name == "search_heads_front" and plot.search == "heads"


def test_draws_that_share_a_number_keep_their_own_points(costly) -> None:
    costly.observations[1] = replace(costly.observations[1], number=3)
    (plot,) = draw_fronts(costly.view())
    (ax,) = plot.figure.axes
    (line,) = ax.lines
    assert list(zip(line.get_xdata(), line.get_ydata(), strict=True)) == [(10, 45), (30, 60), (80, 70)]
    assert sorted(t.get_text() for t in plot.figure.texts if t.get_text().startswith("#")) == ["#3", "#3", "#5"]


def test_three_objectives_make_a_figure_each_and_no_line(costly) -> None:
    spec = replace(costly.spec, objectives=("uAP", "multiply_adds", "parameters"))
    costly.spec = spec
    costly.observations = [replace(o, objectives=(*o.objectives, 1e6 * o.number)) for o in costly.observations]
    plots = draw_fronts(costly.view())
    assert [p.name for p in plots] == ["search_heads_front_multiply_adds", "search_heads_front_parameters"]
    assert not any(p.figure.axes[0].lines for p in plots)


def test_random_weights_are_hollow(costly) -> None:
    costly.add(90.0, multiply_adds=10**9, weights=("random",))
    (plot,) = draw_fronts(costly.view())
    faces = [tuple(c) for group in plot.figure.axes[0].collections for c in group.get_facecolor()]
    assert sum(f[:3] == (1, 1, 1) for f in faces) == 1
    assert "RANDOM BACKBONE WEIGHTS in 1 of 9" in plot.caption


def test_one_objective_has_no_front(pruned) -> None:
    assert draw_fronts(pruned.view()) == []
