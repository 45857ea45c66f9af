from __future__ import annotations

import pytest
from matplotlib.collections import PathCollection

from orchestrator.reporting.epochs import draw_validation_curves, mean_curve


def history(count: int, score: float = 50.0) -> tuple[dict[str, float], ...]:
    return tuple({"epoch": i, "val_loss": 1 / i, "val_uAP": score + i} for i in range(1, count + 1))


def test_the_mean_goes_as_far_as_every_split() -> None:
    epochs, means = mean_curve([history(4, 50.0), history(2, 60.0)], "val_uAP")
    assert epochs == [1, 2] and means == pytest.approx([56.0, 57.0])
    assert mean_curve([], "val_uAP") == ([], [])


def test_a_number_that_is_none_ends_no_mean_silently() -> None:
    broken = ({"epoch": 1, "val_loss": float("nan")}, {"epoch": 2, "val_loss": 0.5})
    assert mean_curve([broken, history(2)], "val_loss") == ([2], [0.5])


def test_the_evaluated_epochs_are_marked(sweep, config) -> None:
    rows = sweep.add(config(), [60.0] * 3, history=history(5), best_epoch=3).rows()
    (plot,) = draw_validation_curves(rows, rows, {}, sweep="demo", how="all")
    loss, score = plot.figure.axes
    marks = [c.get_offsets()[0].tolist() for c in loss.collections if isinstance(c, PathCollection)]
    assert marks == [[3, 1 / 3]] * 3
    assert len(loss.lines) == 4 and len(score.lines) == 4
    assert "outside" not in plot.caption


def test_the_labels_beside_the_axes_have_room(sweep, config) -> None:
    long = tuple({"epoch": i, "val_loss": 0.1 + i / 1e5, "val_uAP": 50.0 + i / 1e3} for i in range(1, 6))
    rows = sweep.add(config(), [60.0] * 3, history=long, best_epoch=3).rows()
    (plot,) = draw_validation_curves(rows, rows, {}, sweep="demo", how="all")
    plot.figure.draw_without_rendering()
    for ax in plot.figure.axes:
        label = ax.yaxis.label.get_window_extent()
        ticks = [t.get_window_extent() for t in ax.get_yticklabels() if t.get_text()]
        assert label.x0 > 0.06 * plot.figure.dpi and all(label.x1 < box.x0 for box in ticks)


def test_the_steep_start_is_cut_off_and_said(sweep, config) -> None:
    steep = tuple({"epoch": i, "val_loss": 5.0 if i < 3 else 0.4 + i / 1e4, "val_uAP": 50.0 + i} for i in range(1, 41))
    rows = sweep.add(config(), [60.0] * 3, history=steep, best_epoch=3).rows()
    (plot,) = draw_validation_curves(rows, rows, {}, sweep="demo", how="all")
    assert plot.figure.axes[0].get_ylim()[1] < 1 and "first epochs lie outside" in plot.caption


def test_configs_without_a_history_of_every_split_have_no_curves(sweep, config) -> None:
    rows = sweep.add(config(), [60.0] * 3).rows()
    assert draw_validation_curves(rows, rows, {}, sweep="demo", how="all") == []
