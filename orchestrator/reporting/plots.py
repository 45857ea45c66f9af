"""One plot a varied axis: the metric of every config, joined where nothing else differs, and the chance level."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from orchestrator.reporting.aggregate import Row, Spread
from orchestrator.reporting.axes import Axis, PublishedLine
from orchestrator.reporting.shrink import shrink_svg
from orchestrator.reporting.style import (
    COLOURS,
    DASHES,
    FAINT,
    MARKERS,
    PUBLISHED,
    PUBLISHED_LABEL,
    SUBTITLE,
    TITLE,
    WIDTH,
    data_notes,
    face,
    hollow_handle,
    literal_text,
    published_handle,
    say_incomplete,
    tidy,
    wrap,
)

MAX_COLOURED = len(COLOURS)
LOG_RATIO = 20
"""Numeric values that span more than this factor get a logarithmic scale (learning rates)."""

AXIS_TITLES = {
    "backbone": "Backbone",
    "weights": "Backbone weights",
    "clip_strategy": "Clip strategy and grid frames a clip",
    "frame_rate": "Frame rate of a clip (frames/s)",
    "clips_per_snippet": "Snippet length (clips)",
    "aggregator": "Aggregator",
    "training.learning_rate": "Learning rate",
    "training.epochs": "Epochs at most",
    "training.batch_size": "Batch size (trailers)",
    "training.seed": "Seed",
}


def plot_axis(
    axis: Axis,
    rows: Sequence[Row],
    chance: Mapping[str, Spread] | None = None,
    *,
    sweep: str,
    metric: str = "uAP",
    published: Sequence[PublishedLine] = (),
) -> Figure:
    """Draw one axis; `rows` are all rows of the sweep, for what the title must say about the data.

    `published` stands beside ours, grey and hollow; along names only where the axis has the value.
    """
    level = chance[metric].mean if chance else None
    published = [p for p in published if axis.numeric or any(v in axis.values for v in p.values)]
    shown = [r.metrics[metric] for line in axis.lines for r in line.rows.values()]
    shown += [s for line in published for v, s in line.values.items() if axis.numeric or v in axis.values]
    lowest = min((s.mean - (s.std or 0.0) for s in shown), default=0.0)
    highest = max((s.mean + (s.std or 0.0) for s in shown), default=100.0)
    apart = level is not None and lowest - level > max(1.5 * (highest - lowest), 4.0)
    coloured = len(axis.lines) <= MAX_COLOURED
    legend_rows = len(axis.lines) if coloured and len(axis.lines) > 1 else 2
    figure = Figure(figsize=(7.2, 3.9 + 0.12 * (legend_rows + len(published))), layout="constrained")
    ax, strip = _make_axes(figure, apart)
    places = _place_values(ax, strip, axis, [v for line in published for v in line.values])
    _draw_published(ax, published, places, axis.numeric)
    if coloured:
        _draw_lines(ax, axis, places, metric, "this sweep" if published else "each config")
    else:
        _draw_many(ax, axis, places, metric)
    if level is not None:
        style: dict[str, Any] = {"color": "black", "linestyle": "--", "linewidth": 1.2}
        strip.axhline(level, **style)
        ax.plot([], [], label=f"chance (label prevalence) {level:.1f}", **style)
        if apart:
            strip.set_ylim(level - 1, level + 1)
            strip.set_yticks([level], [f"{level:.1f}"])
    _finish(figure, ax, axis, rows, sweep, metric, published)
    return figure


def _make_axes(figure: Figure, apart: bool) -> tuple[Axes, Axes]:
    """The axes of the data and those of the chance level: a strip below a broken scale where it lies far off."""
    if not apart:
        ax = figure.add_subplot()
        return ax, ax
    upper, lower = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [9, 1], "hspace": 0.02})
    upper.tick_params(bottom=False, labelbottom=False)
    upper.spines["bottom"].set_visible(False)
    lower.spines[["top", "right"]].set_visible(False)
    slash = {"marker": [(-1, -0.6), (1, 0.6)], "markersize": 9, "linestyle": "none", "color": "black", "clip_on": False}
    upper.plot([0], [0], transform=upper.transAxes, **slash)
    lower.plot([0], [1], transform=lower.transAxes, **slash)
    return upper, lower


@literal_text
def render(figure: Figure, kind: str, dpi: int = 150) -> bytes:
    """The figure as `png` or `svg` bytes; the same figure gives the same bytes."""
    out = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "divita"}):
        figure.savefig(out, format=kind, dpi=dpi, metadata={"Date": None} if kind == "svg" else None)
    return shrink_svg(out.getvalue().decode()).encode() if kind == "svg" else out.getvalue()


def _place_values(ax: Axes, lowest: Axes, axis: Axis, more: Sequence[Any] = ()) -> dict[Any, float]:
    """Axis value -> x; numbers to scale, names side by side. `lowest` are the axes that carry the labels.

    `more` are values that only published numbers have: on a numeric axis they get a place, too.
    """
    plain = axis.name.removeprefix("training.").replace(".", " ").replace("_", " ").capitalize()
    title = AXIS_TITLES.get(axis.name, plain)
    lowest.set_xlabel(title)
    if not axis.numeric:
        names = [str(v) for v in axis.values]
        crowded = sum(map(len, names)) > 70 or max(map(len, names)) * len(names) > 90
        lowest.set_xticks(range(len(names)), names, rotation=20 if crowded else 0, ha="right" if crowded else "center")
        ax.set_xlim(-0.6, len(names) - 0.4)
        return {v: float(i) for i, v in enumerate(axis.values)}
    values = sorted({*axis.values, *more})
    low, high = values[0], values[-1]
    if low > 0 and high / low > LOG_RATIO:
        ax.set_xscale("log")
        lowest.set_xlabel(f"{title}, logarithmic")
        lowest.minorticks_off()
        lowest.xaxis.set_major_formatter("{x:g}")  # powers of ten would be formulas
    if len(values) <= 12:
        lowest.set_xticks(values, [f"{v:g}" for v in values])
    return {v: float(v) for v in values}


def _draw_published(ax: Axes, lines: Sequence[PublishedLine], places: Mapping[Any, float], numeric: bool) -> None:
    """Hollow grey marks with a band of their deviation; a dotted line between their own where the axis is to scale."""
    for line, marker in zip(lines, published_markers(lines), strict=True):
        kept = {places[v]: s for v, s in line.values.items() if v in places}
        means = [s.mean for s in kept.values()]
        spread = [s.std or 0.0 for s in kept.values()]
        shift = 0.0 if numeric else 0.34
        xs = [x + shift for x in kept]
        if numeric and len(xs) > 1:
            low, high = ([m + sign * s for m, s in zip(means, spread, strict=True)] for sign in (-1, 1))
            ax.fill_between(xs, low, high, color=PUBLISHED, alpha=0.13, linewidth=0, zorder=1)
            ax.plot(xs, means, color=PUBLISHED, linewidth=1, linestyle=":", zorder=2)
        else:
            ax.errorbar(xs, means, spread, fmt="none", ecolor=PUBLISHED, elinewidth=1, capsize=2, zorder=2)
        ax.scatter(xs, means, s=34, marker=marker, facecolor="white", edgecolor=PUBLISHED, linewidth=1.1, zorder=3)


def _draw_lines(ax: Axes, axis: Axis, places: Mapping[Any, float], metric: str, unnamed: str) -> None:
    """Each line in its colour and marker, with the deviation over splits; a little apart, so that bars show.

    `unnamed` is what the legend calls a line that needs no name beside others.
    """
    span = max(places.values()) - min(places.values())
    step = 0.006 * span if axis.numeric else 0.5 / len(axis.lines)
    if ax.get_xscale() == "log" or not axis.paired:
        step = 0.0
    for number, line in enumerate(axis.lines):
        colour, marker = COLOURS[number], MARKERS[number]
        shift = number - (len(axis.lines) - 1) / 2
        xs = [places[v] + shift * step for v in line.rows]
        spreads = [r.metrics[metric] for r in line.rows.values()]
        if axis.paired:
            width, alpha = (1.8, 1.0) if axis.numeric else (0.9, 0.45)
            dashes = DASHES[number] if axis.numeric else "-"
            ax.plot(xs, [s.mean for s in spreads], color=colour, linewidth=width, alpha=alpha, linestyle=dashes)
        ax.errorbar(
            xs, [s.mean for s in spreads], [s.std or 0.0 for s in spreads],
            fmt="none", ecolor=colour, elinewidth=1.2, capsize=3, alpha=0.8,
        )  # fmt: skip
        _draw_points(ax, xs, list(line.rows.values()), metric, colour, marker, size=46)
        ax.plot([], [], color=colour, marker=marker, label=line.label or axis.fixed or unnamed)


def _draw_many(ax: Axes, axis: Axis, places: Mapping[Any, float], metric: str) -> None:
    """More lines than colours: all of them faint, and the mean of those that share the same values."""
    points = [[(places[v], r.metrics[metric].mean) for v, r in line.rows.items()] for line in axis.lines]
    if axis.paired:
        ax.add_collection(LineCollection(points, colors=FAINT, linewidths=0.8, alpha=0.5))
    shown = [r for line in axis.lines for r in line.rows.values()]
    _draw_points(ax, [x for line in points for x, _ in line], shown, metric, FAINT, "o", size=20)
    what = "joined where nothing else differs" if axis.paired else "they differ in other settings, too"
    ax.plot([], [], color=FAINT, marker="o", markersize=4, linewidth=0.8, label=f"each config, {what}")
    values, means, count = axis.mean_line(metric)
    if not values:
        return
    middle, label = [places[v] for v in values], f"mean of {count} such lines"
    if axis.numeric:
        ax.plot(middle, means, color=COLOURS[0], marker="D", markersize=7, linewidth=2.4, zorder=5, label=label)
        return
    ax.scatter(middle, means, color=COLOURS[0], marker="_", s=900, linewidth=3.5, zorder=5)
    ax.plot([], [], color=COLOURS[0], linewidth=3.5, label=label)
    for x, mean in zip(middle, means, strict=True) if len(middle) <= 10 else ():
        ax.annotate(
            f"{mean:.1f}", (x, mean), (0, 10), textcoords="offset points", ha="center", va="center", zorder=6,
            color=COLOURS[0], fontweight="bold", bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
        )  # fmt: skip


def _draw_points(
    ax: Axes, xs: Sequence[float], rows: Sequence[Row], metric: str, colour: str, marker: str, size: float
) -> None:
    """Those of one face at once, since a sweep has thousands of them."""
    points = [(x, r.metrics[metric].mean, face(r, colour)) for x, r in zip(xs, rows, strict=True)]
    for shade in dict.fromkeys(shade for _, _, shade in points):
        same = [(x, y) for x, y, s in points if s == shade]
        ax.scatter(
            [x for x, _ in same], [y for _, y in same], s=size, marker=marker, facecolor=shade, edgecolor=colour,
            zorder=4, linewidth=1.3,
        )  # fmt: skip


def _finish(
    figure: Figure,
    ax: Axes,
    axis: Axis,
    rows: Sequence[Row],
    sweep: str,
    metric: str,
    published: Sequence[PublishedLine],
) -> None:
    ax.set_ylabel(f"{metric} on the test part (%)")
    tidy(ax)
    for axes in figure.axes:
        axes.tick_params(labelsize=SUBTITLE)
    ax.margins(y=0.08)
    title = "\n".join(wrap(f"{metric} by {plain_name(axis.name)} · {sweep}", WIDTH - 0.2, TITLE, bold=True))
    figure.suptitle(title, fontsize=TITLE, fontweight="bold", x=0.01, ha="left")
    ax.set_title("\n".join(_captions(axis, rows, bool(published))), fontsize=SUBTITLE, color="#333333", loc="left")
    handles, labels = ax.get_legend_handles_labels()
    shown = [r for line in axis.lines for r in line.rows.values()]
    signs = [published_handle(", ".join(filter(None, (PUBLISHED_LABEL, p.label)))) for p in published]
    if any("R" in r.marks for r in shown) and not all("R" in r.marks for r in rows):
        signs.append(hollow_handle())
    for sign, marker in zip(signs, published_markers(published), strict=False):
        sign.set_marker(marker)
    handles, labels = [*handles, *signs], [*labels, *(str(sign.get_label()) for sign in signs)]
    columns = 2 if max(map(len, labels), default=0) < 46 else 1
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, fontsize=8, frameon=False)


def _captions(axis: Axis, rows: Sequence[Row], published: bool) -> list[str]:
    """What the numbers are made of, in short lines under the title."""
    shown = [r for line in axis.lines for r in line.rows.values()]
    data = data_notes(shown, rows)
    splits = max((len(r.splits) for r in shown), default=0)
    facts = f"{len(shown)} configs, mean over {splits} splits" if splits > 1 else f"{len(shown)} configs, one split"
    if len(axis.lines) <= MAX_COLOURED and splits > 1:
        facts += ", bars: sample standard deviation"
        facts += "; grey: published mean and deviation" if published else ""
    left = [f"{axis.unpaired} without a counterpart"] if axis.unpaired else []
    left += say_incomplete(rows)
    lines = [" · ".join(data)] if data else []
    lines.append(facts)
    if left:
        lines.append(f"not shown: {' and '.join(left)}")
    if axis.fixed and (len(axis.lines) > 1):
        lines.append(f"all at {axis.fixed}")
    if not axis.paired:
        lines.append("The configs differ in other settings, too: not a comparison of this one alone")
    return [part for line in lines for part in textwrap.wrap(line, 100)]


def plain_name(name: str) -> str:
    """`training.learning_rate` -> `learning rate`."""
    return name.rsplit(".", 1)[-1].replace("_", " ")


def published_markers(lines: Sequence[PublishedLine]) -> str:
    """A marker each."""
    return ("Dshv^p" * len(lines))[: len(lines)]
