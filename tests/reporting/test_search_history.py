from __future__ import annotations

import numpy as np

from orchestrator.reporting.plots import render
from orchestrator.reporting.search_history import draw_history, draw_learning_curves


def points(ax) -> set[tuple[float, float]]:
    found = np.concatenate([np.asarray(c.get_offsets()) for c in ax.collections if len(c.get_offsets())])
    return {(float(x), round(float(y), 6)) for x, y in found}


def test_the_line_is_the_best_so_far_to_the_last_config(search) -> None:
    for uap in (50.0, 40.0, 60.0, 55.0):
        search.add(uap)
    search.add(20.0, "pruned", after=3)
    (plot,) = draw_history(search.view())
    (ax,) = plot.figure.axes
    best = ax.lines[0]
    assert list(best.get_xdata()) == [0, 1, 2, 3, 4] and list(best.get_ydata()) == [50, 50, 60, 60, 60]
    assert points(ax) == {(0, 50), (1, 40), (2, 60), (3, 55), (4, 20)}
    assert plot.search == "heads" and plot.table is None and "not comparable" in plot.caption


def test_costs_count_downwards_in_a_panel_of_their_own(costly) -> None:
    (plot,) = draw_history(costly.view())
    above, below = plot.figure.axes
    assert list(above.lines[0].get_ydata())[-1] == 70 and list(below.lines[0].get_ydata())[-1] == 10
    assert "Multiply-adds (G)" in below.get_ylabel()


def test_failed_configs_have_a_mark_and_no_value(pruned) -> None:
    (ax,) = draw_history(pruned.view())[0].figure.axes
    marks = [line for line in ax.lines if line.get_marker() == "v"]
    assert [list(line.get_xdata()) for line in marks] == [[23]]
    assert not any(x == 23 for x, _ in points(ax))


def test_without_a_done_config_there_is_no_history(search) -> None:
    search.add(20.0, "pruned", after=3)
    assert draw_history(search.view()) == []


def test_lines_of_pruned_configs_end_where_they_were_judged_last(pruned) -> None:
    (plot,) = draw_learning_curves(pruned.view())
    (ax,) = plot.figure.axes
    (ends,) = [line for line in ax.lines if line.get_marker() == "x"]
    pairs = set(zip(ends.get_xdata(), ends.get_ydata(), strict=True))
    assert pairs == {(3 if n % 3 == 1 else 9, 20.0 + n) for n in range(23) if n % 3}
    assert [t.get_text() for t in ax.get_xticklabels()] == ["3", "9", "27"]
    assert "Pruned after 3 epochs 8 of 23, after 9 epochs 7 of 15." in plot.caption


def test_without_a_pruner_nobody_was_judged(costly) -> None:
    assert draw_learning_curves(costly.view()) == []


def test_the_data_is_named_and_the_same_search_gives_the_same_bytes(search) -> None:
    for uap in (50.0, 40.0):
        search.add(uap, synthetic=True)
    for draw in (draw_history, draw_learning_curves):
        (one,), (other,) = draw(search.view()), draw(search.view())
        assert "SYNTHETIC TRAILERS" in one.caption
        assert render(one.figure, "svg") == render(other.figure, "svg")
