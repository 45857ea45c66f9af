from __future__ import annotations

import numpy as np

from orchestrator.reporting.slices import draw_slices


def test_a_panel_a_setting_with_only_the_configs_that_drew_it(pruned) -> None:
    view = pruned.view()
    (plot,) = draw_slices(view)
    aggregator, units, rate, _ = plot.figure.axes
    assert [ax.get_xlabel().split("\n")[0] for ax in (aggregator, units, rate)] == list(view.fields.values())
    shown = np.asarray(units.collections[0].get_offsets())
    grus = [d.observation for d in view.done if d.observation.values["aggregator"] == "gru"]
    assert {tuple(p) for p in shown} == {(o.values["aggregator.gru.units"], o.objectives[0]) for o in grus}
    assert len(np.asarray(rate.collections[0].get_offsets())) == len(view.done)
    assert rate.get_xscale() == "log" and "(aggregator gru)" in units.get_xlabel()


def test_pruned_configs_have_a_tick_and_no_value(pruned) -> None:
    (plot,) = draw_slices(pruned.view())
    rate = plot.figure.axes[2]
    (ticks,) = rate.lines
    assert len(ticks.get_xdata()) == 15 and set(ticks.get_ydata()) == {0.03}
    assert "no comparison of one setting alone" in plot.caption


def test_nothing_done_is_nothing_to_see(search) -> None:
    search.add(20.0, "pruned", after=3)
    search.add(21.0, "pruned", after=3)
    assert draw_slices(search.view()) == []
