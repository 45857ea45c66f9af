from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.reporting.parallel import MOST, NOT_DRAWN, draw_parallel, scale_values
from orchestrator.reporting.plots import render
from orchestrator.search.records import Choice, Dimension, Integer, Uniform


def test_a_logarithmic_range_is_drawn_so() -> None:
    scale = scale_values("x", [1e-4, 1e-3, 1e-2], Uniform(1e-5, 1e-1, log=True))
    assert [scale.height(v) for v in (1e-4, 1e-3, 1e-2)] == pytest.approx([0, 0.5, 1])
    even = scale_values("x", [0, 5, 10], Integer(0, 10))
    assert even.height(5) == 0.5 and even.ticks[0] == ("0", 0.0) and even.ticks[-1] == ("10", 1.0)


def test_choices_stand_evenly_and_a_value_that_was_not_drawn_below() -> None:
    named = scale_values("x", ["b", {"name": "gru", "units": 4}], Choice(("a", "b", {"name": "gru", "units": 4})))
    assert [text for text, _ in named.ticks] == ["b", "gru units=4"]
    assert named.height({"name": "gru", "units": 4}) > named.height("b") > 0 > named.height(None) == NOT_DRAWN
    numbers = scale_values("x", [24, 4, 12], Choice((24, 12, 4)))
    assert numbers.height(4) < numbers.height(12) < numbers.height(24)


def test_one_value_alone_has_a_place() -> None:
    assert scale_values("x", [3.0, 3.0], Uniform(1, 5)).height(3.0) == 0.5


def test_the_best_config_is_drawn_on_top_and_dark(search) -> None:
    for uap in (50.0, 70.0, 40.0):
        search.add(uap)
    search.add(20.0, "pruned", after=3)
    (plot,) = draw_parallel(search.view())
    faint, lines = plot.figure.axes[0].collections
    assert len(faint.get_segments()) == 1 and len(lines.get_segments()) == 3
    brightness = [sum(colour[:3]) for colour in lines.get_colors()]
    assert brightness == sorted(brightness, reverse=True)
    assert "Pruned configs" in plot.caption and "not drawn" in plot.caption


def test_many_settings_are_cut_to_the_most_important(search) -> None:
    extra = tuple(Dimension(f"training.x{i}", Uniform(0, 1)) for i in range(8))
    search.spec = replace(search.spec, dimensions=(*search.spec.dimensions, *extra))
    for number in range(20):
        search.add(40.0 + number)
    more = {d.field: 0.5 for d in extra}
    search.observations = [replace(o, values={**o.values, **more}) for o in search.observations]
    (plot,) = draw_parallel(search.view())
    assert len(plot.figure.axes[0].collections[1].get_segments()[0]) == MOST
    assert "4 less important settings not shown" in plot.caption


def test_one_config_is_no_comparison(search) -> None:
    search.add(50.0)
    assert draw_parallel(search.view()) == []
    search.add(10.0, "pruned", after=3)
    (one,), (other,) = draw_parallel(search.view()), draw_parallel(search.view())
    assert render(one.figure, "svg") == render(other.figure, "svg")
