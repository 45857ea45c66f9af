from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.collections import PathCollection
from matplotlib.colors import to_hex
from matplotlib.transforms import Bbox

from orchestrator.reporting.bubbles import draw_bubbles, pareto_front
from orchestrator.reporting.plots import render

POINTS = st.lists(st.tuples(st.integers(1, 20), st.integers(1, 20)), min_size=1, max_size=30)


@settings(deadline=None, max_examples=200)
@given(POINTS)
def test_the_front_is_what_no_other_point_beats(points: list[tuple[int, int]]) -> None:
    front = pareto_front([c for c, _ in points], [s for _, s in points])
    kept = [points[i] for i in front]
    assert kept == sorted(set(kept)) and [s for _, s in kept] == sorted({s for _, s in kept})
    for cost, score in points:
        beaten = any((c <= cost and s > score) or (c < cost and s >= score) for c, s in points)
        assert beaten != ((cost, score) in kept)


def test_a_dearer_config_of_the_same_score_is_not_on_the_front() -> None:
    assert pareto_front([3, 1, 2, 4], [70, 60, 70, 71]) == [1, 2, 3]


@pytest.fixture
def rows(sweep, config):
    sweep.add(config("small"), [60.0, 61.0, 62.0], parameters=2_000_000, multiply_adds=4_000_000_000)
    sweep.add(config("large"), [70.0, 71.0, 72.0], parameters=30_000_000, multiply_adds=1_600_000_000_000)
    sweep.add(config("wasteful"), [65.0] * 3, parameters=60_000_000, multiply_adds=1_900_000_000_000)
    sweep.add(config("chance", weights="random"), [95.0] * 3, parameters=1_000_000, multiply_adds=1_000_000_000)
    return sweep.rows()


def draw(rows):
    return draw_bubbles(rows, rows, {}, sweep="demo", how="all of them")


def test_random_weights_are_hollow_and_never_on_the_front(rows) -> None:
    parameters, operations = draw(rows)
    assert [p.name for p in (parameters, operations)] == ["uAP_against_parameters", "uAP_against_multiply_adds"]
    for plot in (parameters, operations):
        assert plot.caption.split("do not count): ")[1].startswith("small shot-24")
        assert "chance" not in plot.caption and "wasteful" not in plot.caption
        assert "RANDOM BACKBONE WEIGHTS in 1 of 4" in plot.caption
        bubbles = [c for c in plot.figure.axes[0].collections if isinstance(c, PathCollection)]
        assert [to_hex(c.get_facecolor()[0]) == "#ffffff" for c in bubbles] == [False, False, False, True]


def test_the_area_of_a_bubble_is_the_other_cost(rows) -> None:
    figure = draw(rows)[1].figure
    sizes = [c.get_sizes()[0] for c in figure.axes[0].collections if isinstance(c, PathCollection)]
    assert sizes[1] / sizes[2] == pytest.approx(0.5)
    assert figure.axes[0].get_xscale() == "log" and draw(rows)[0].figure.axes[0].get_xscale() == "linear"


def test_the_legend_shows_the_smallest_and_the_largest_bubble_as_they_are_drawn(rows) -> None:
    for plot in draw(rows):
        sizes = [c.get_sizes()[0] for c in plot.figure.axes[0].collections if isinstance(c, PathCollection)]
        handles = [h for h in plot.figure.legends[0].legend_handles if h.get_label().endswith(("adds", "parameters"))]
        assert [h.get_markersize() ** 2 for h in handles] == pytest.approx([min(sizes), max(sizes)])
        assert "the smallest enlarged to be seen" in plot.caption


def test_the_legend_overlaps_neither_itself_nor_the_axes(rows) -> None:
    for kept in (rows, [r for r in rows if "R" not in r.marks]):
        for plot in draw(kept):
            plot.figure.draw_without_rendering()
            (legend,) = plot.figure.legends
            below = plot.figure.axes[0].xaxis.label.get_window_extent().y0
            boxes = [t.get_window_extent() for t in legend.get_texts()]
            for handle in legend.legend_handles:
                place, size = handle.get_window_extent(), handle.get_markersize() * plot.figure.dpi / 72
                x, y = (place.x0 + place.x1) / 2, (place.y0 + place.y1) / 2
                boxes.append(Bbox.from_bounds(x - size / 2, y - size / 2, size, size))
            assert all(box.y1 < below and box.y0 >= 0 and box.x0 >= 0 for box in boxes)
            assert all(not a.overlaps(b) for a, b in itertools.combinations(boxes, 2))


def test_bubbles_of_nearly_one_size_are_not_called_enlarged(sweep, config) -> None:
    sweep.add(config("a"), [60.0] * 3, parameters=10, multiply_adds=10)
    sweep.add(config("b"), [61.0] * 3, parameters=20, multiply_adds=20)
    assert not any("enlarged" in plot.caption for plot in draw(sweep.rows()))


def test_every_bubble_is_named_on_the_figure(rows) -> None:
    for plot in draw(rows):
        written = [t.get_text() for t in plot.figure.texts]
        assert all(r.label in written for r in rows)


def test_the_front_is_drawn_as_steps(rows) -> None:
    front = next(x for x in draw(rows)[0].figure.axes[0].lines if x.get_drawstyle() == "steps-post")
    assert list(front.get_xdata())[:2] == [2.0, 30.0] and list(front.get_ydata()) == [61.0, 71.0, 71.0]


def test_rows_without_costs_or_splits_do_not_enter(sweep, config) -> None:
    sweep.add(config("a"), [60.0] * 3, multiply_adds=None).add(config("b"), [60.0] * 3, multiply_adds=5)
    sweep.add(config("c"), [60.0], multiply_adds=7)
    assert draw(sweep.rows()) == []


def test_the_same_rows_give_the_same_bytes(rows) -> None:
    first, second = ([render(p.figure, "svg") for p in draw(rows)] for _ in range(2))
    assert first == second
