from __future__ import annotations

import pytest
from matplotlib.collections import PathCollection

from orchestrator.reporting.aggregate import Spread
from orchestrator.reporting.axes import Axis, PublishedLine, compare_along
from orchestrator.reporting.plots import plot_axis, render
from orchestrator.reporting.style import COLOURS


def texts_of(figure) -> str:
    shown = [t.get_text() for ax in figure.axes for t in (ax.title, ax._left_title, ax.xaxis.label, ax.yaxis.label)]
    legend = [t.get_text() for legend in figure.legends for t in legend.get_texts()]
    return "\n".join([figure.get_suptitle(), *shown, *legend])


def draw(rows, name: str, chance=None):
    axis = compare_along(rows, name)
    return axis, plot_axis(axis, rows, chance, sweep="demo")


def test_synthetic_trailers_and_random_weights_are_written_on_the_plot(grid, config) -> None:
    rows = grid([config(fps=f, weights="random") for f in (4, 12)], synthetic=True).rows()
    _, figure = draw(rows, "frame_rate")
    assert "SYNTHETIC TRAILERS" in texts_of(figure)
    assert "RANDOM BACKBONE WEIGHTS" in texts_of(figure)


def test_a_plot_of_films_and_pretrained_backbones_says_nothing_of_the_kind(grid, config) -> None:
    _, figure = draw(grid([config(fps=f) for f in (4, 12)]).rows(), "frame_rate")
    assert "SYNTHETIC" not in texts_of(figure) and "RANDOM" not in texts_of(figure)
    assert "Frame rate of a clip (frames/s)" in texts_of(figure)
    assert "uAP on the test part (%)" in texts_of(figure)


def test_points_stand_at_the_means_with_deviations_as_bars(grid, config) -> None:
    rows = grid([config(fps=f) for f in (4, 12, 24)]).rows()
    _, figure = draw(rows, "frame_rate")
    line = next(x for x in figure.axes[0].lines if len(x.get_xdata()) == 3)
    assert list(line.get_xdata()) == [4, 12, 24]
    assert list(line.get_ydata()) == pytest.approx([r.metrics["uAP"].mean for r in rows])
    (bars,) = figure.axes[0].containers
    ends = [segment[1][1] - segment[0][1] for segment in bars[2][0].get_segments()]
    assert ends == pytest.approx([2 * r.metrics["uAP"].std for r in rows])


def test_the_chance_level_is_a_dashed_line_at_its_value(grid, config, chance) -> None:
    rows = grid([config(fps=f) for f in (4, 12)]).rows()
    _, figure = draw(rows, "frame_rate", chance)
    levels = [x for ax in figure.axes for x in ax.lines if x.get_linestyle() == "--" and len(x.get_xdata())]
    assert [x.get_ydata()[0] for x in levels] == [25.2]
    assert "chance (label prevalence) 25.2" in texts_of(figure)


def test_a_chance_level_far_below_does_not_flatten_the_data(grid, config, chance) -> None:
    rows = grid([config(fps=f) for f in (4, 12)]).rows()
    _, figure = draw(rows, "frame_rate", chance)
    assert figure.axes[0].get_ylim()[0] > 50
    assert figure.axes[1].get_ylim()[0] < 25.2 < figure.axes[1].get_ylim()[1]


def test_few_lines_have_colours_and_many_are_faint_with_their_mean(grid, config, chance) -> None:
    few = grid([config(b, fps=f) for b in ("a", "b") for f in (4, 12)]).rows()
    _, figure = draw(few, "frame_rate", chance)
    assert {x.get_color() for x in figure.axes[0].lines} >= set(COLOURS[:2])
    many = grid([config(b, fps=f) for b in "abcdefgh" for f in (4, 12)]).rows()
    axis, figure = draw(many, "frame_rate", chance)
    assert "mean of 8 such lines" in texts_of(figure)
    mean = next(x for x in figure.axes[0].lines if x.get_color() == COLOURS[0] and len(x.get_xdata()) == 2)
    assert list(mean.get_ydata()) == pytest.approx(axis.mean_line("uAP")[1])


def test_wide_ranges_are_logarithmic(grid, config) -> None:
    _, figure = draw(grid([config(learning_rate=r) for r in (1e-4, 1e-3, 1e-2)]).rows(), "training.learning_rate")
    assert figure.axes[0].get_xscale() == "log"


def test_what_is_not_shown_is_said(grid, config) -> None:
    made = grid([config(fps=4), config(fps=12), config("swin_2d"), config(length=10)])
    made.records.pop()
    _, figure = draw(made.rows(), "frame_rate")
    assert "not shown: 1 without a counterpart and 1 incomplete" in texts_of(figure)


def test_unpaired_configs_are_called_so(grid, config) -> None:
    rows = grid([config(clips="seq-24", length=10), config(clips="shot-24", length=30)]).rows()
    axis, figure = draw(rows, "clip_strategy")
    assert isinstance(axis, Axis) and not axis.paired
    assert "not a comparison of this one alone" in texts_of(figure)


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_the_same_rows_give_the_same_file(grid, config, chance, kind: str) -> None:
    rows = grid([config(clips=c) for c in ("seq-24", "shot-24")]).rows()
    first, second = (render(draw(rows, "clip_strategy", chance)[1], kind) for _ in range(2))
    assert first == second and len(first) > 1000


def test_the_labels_of_a_logarithmic_scale_are_plain_numbers(grid, config) -> None:
    """Also where there are more values than labels; powers of ten would be formulas."""
    rates = [10 ** (-5 + i / 4) for i in range(14)]
    _, figure = draw(grid([config(learning_rate=r) for r in rates]).rows(), "training.learning_rate")
    render(figure, "svg")
    ax = figure.axes[0]
    low, high = ax.get_xlim()
    shown = [t.get_text() for t, at in zip(ax.get_xticklabels(), ax.get_xticks(), strict=True) if low <= at <= high]
    assert shown == ["1e−05", "0.0001", "0.001", "0.01"]


def test_the_means_of_many_lines_are_written_above_their_marks(grid, config) -> None:
    many = grid([config(b, clips=c) for b in "abcdefgh" for c in ("seq-24", "shot-24")]).rows()
    _, figure = draw(many, "clip_strategy")
    written = [t for t in figure.axes[0].texts if t.get_text()]
    assert [t.xy[0] for t in written] == [0, 1] and {t.get_ha() for t in written} == {"center"}
    assert all(t.get_position()[0] == 0 and t.get_position()[1] > 0 for t in written)


def test_many_points_are_few_artists(grid, config) -> None:
    made = grid(
        [config(f"b{i}", fps=f, weights=w) for i, w in enumerate(["random", "pretrained"] * 20) for f in (4, 12)]
    )
    _, figure = draw(made.rows(), "frame_rate")
    ax = figure.axes[0]
    assert sum(len(c.get_offsets()) for c in ax.collections if isinstance(c, PathCollection)) == 80
    assert len(ax.collections) == 3 and len(ax.lines) < 5


def test_published_numbers_are_hollow_and_never_joined_with_ours(grid, config) -> None:
    rows = grid([config(fps=f) for f in (4, 12, 24)]).rows()
    paper = PublishedLine("", {4: Spread(72.5, 0.9, 3), 8: Spread(73.0, 0.5, 3), 24: Spread(75.6, 0.7, 3)})
    figure = plot_axis(compare_along(rows, "frame_rate"), rows, sweep="demo", published=[paper])
    ax = figure.axes[0]
    ours, theirs = (next(x for x in ax.lines if list(x.get_xdata()) == xs) for xs in ([4, 12, 24], [4, 8, 24]))
    assert list(theirs.get_ydata()) == [72.5, 73.0, 75.6] and theirs.get_linestyle() == ":"
    assert ours.get_color() != theirs.get_color()
    assert [t.get_text() for t in ax.get_xticklabels()] == ["4", "8", "12", "24"]
    legend = [t.get_text() for t in figure.legends[0].get_texts()]
    assert "published (paper)" in legend and "this sweep" in legend


def test_published_names_that_the_axis_lacks_have_no_place(grid, config) -> None:
    rows = grid([config(clips=c) for c in ("seq-24", "shot-24")]).rows()
    paper = PublishedLine("", {"shot-24": Spread(75.6, 0.7, 3), "shot-32": Spread(75.2, 0.4, 3)})
    figure = plot_axis(compare_along(rows, "clip_strategy"), rows, sweep="demo", published=[paper])
    diamonds = [c.get_offsets().tolist() for c in figure.axes[0].collections if c.get_zorder() == 3]
    assert diamonds == [[[pytest.approx(1.34), 75.6]]]
