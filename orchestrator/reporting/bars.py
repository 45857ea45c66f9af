"""Grouped bars of one named setting (clip strategies, aggregators), a bar a backbone, and the same points zoomed.

Bars start at the chance level, so their length is what a config knows beyond it, and hang down where it knows less; a
bar from a cut-off base would exaggerate. That hides differences of a point, so below them the same means stand as
points on a scale of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from orchestrator.reporting.aggregate import Row, Spread
from orchestrator.reporting.axes import Axis
from orchestrator.reporting.plots import AXIS_TITLES, plain_name
from orchestrator.reporting.style import (
    COLOURS,
    HATCHES,
    MARKERS,
    PUBLISHED,
    SMALL,
    SUBTITLE,
    as_sentences,
    count_notes,
    data_notes,
    face,
    hollow_handle,
    make_figure,
    published_handle,
    tidy,
)

MAX_SERIES = 4
"""More bars a group are too thin to be told apart; such a sweep is drawn as lines."""


def draw_groups(
    axis: Axis,
    rows: Sequence[Row],
    published: Mapping[str, Spread] | None = None,
    chance: Mapping[str, Spread] | None = None,
    *,
    title: str,
    metric: str = "uAP",
) -> Figure:
    """A group of bars each value of the axis, a bar each of its lines; `published` by config key, beside our bars."""
    shown = [r for line in axis.lines for r in line.rows.values()]
    base = chance[metric].mean if chance else 0.0
    from_ = f"chance ({base:.1f}), zoomed below" if chance else "0, zoomed below"
    fixed = [f"all at {axis.fixed}"] if axis.fixed and len(axis.lines) > 1 else []
    notes = [
        " · ".join(data_notes(shown, rows)),
        *count_notes(shown, rows),
        f"bars from {from_}",
        *_left_out(axis),
        *fixed,
    ]
    figure, (left, bottom, width, height) = make_figure(title, notes, 3.6, left=0.9, bottom=0.85)
    bars = figure.add_axes((left, bottom + 0.52 * height, width, 0.48 * height))
    zoomed = figure.add_axes((left, bottom, width, 0.45 * height), sharex=bars)
    for place, value in enumerate(axis.values):
        for number, line in enumerate(axis.lines):
            if value in line.rows:
                _draw_one(bars, zoomed, line.rows[value], place, number, axis, published or {}, base, metric)
    bars.axhline(base, color="black", linewidth=1)
    spreads = _all_spreads(shown, published or {}, metric)
    lowest = min(base, *(s.mean - (s.std or 0.0) for s in spreads))
    top = max(base, *(s.mean + (s.std or 0.0) for s in spreads))
    room = 0.16 * (top - lowest) or 1.0
    bars.set_ylim(lowest - room if lowest < base else base, top + room)
    ticks = [t for t in bars.get_yticks() if abs(t - base) > 0.15 * (top - lowest) and lowest <= t <= top]
    bars.set_yticks([base, *ticks], [f"chance\n{base:.1f}" if chance else "0", *(f"{t:g}" for t in ticks)])
    bars.set_ylabel(f"{metric} (%)")
    zoomed.set_ylabel(f"{metric} (%), zoomed")
    for ax in (bars, zoomed):
        tidy(ax)
        ax.yaxis.set_label_coords(-0.09, 0.5)
    bars.tick_params(bottom=False, labelbottom=False)
    zoomed.margins(y=0.1)
    zoomed.set_xlim(-0.5, len(axis.values) - 0.5)
    names = [str(v) for v in axis.values]
    zoomed.set_xticks(range(len(names)), names, fontsize=SUBTITLE if sum(map(len, names)) < 80 else SMALL)
    zoomed.set_xlabel(AXIS_TITLES.get(axis.name, plain_name(axis.name).capitalize()))
    _add_legend(figure, axis, shown, rows, bool(published))
    return figure


def caption_groups(
    axis: Axis, rows: Sequence[Row], *, metric: str, chance: Mapping[str, Spread] | None, published: bool
) -> str:
    """What is to be seen, how the bars are to be read, and what the numbers are."""
    shown = [r for line in axis.lines for r in line.rows.values()]
    best = max(shown, key=lambda r: r.metrics[metric].mean)
    start = "the chance level, the label prevalence, so that their length is what is known beyond it" if chance else "0"
    text = f"{metric} of each {plain_name(axis.name)}. Bars start at {start}; the points below show the same means"
    text += " and deviations on their own scale, with grey diamonds for the published numbers." if published else "."
    if chance and any(r.metrics[metric].mean < chance[metric].mean for r in shown):
        text += " Bars that hang down are below chance."
    text += f" Highest test mean: {best.label}, {best.metrics[metric].mean:.2f}."
    return text + as_sentences([*data_notes(shown, rows), *count_notes(shown, rows)[1:], *_left_out(axis)])


def _left_out(axis: Axis) -> list[str]:
    return [f"not shown: {axis.unpaired} without a counterpart"] if axis.unpaired else []


def _draw_one(
    bars: Axes,
    zoomed: Axes,
    row: Row,
    place: int,
    number: int,
    axis: Axis,
    published: Mapping[str, Spread],
    base: float,
    metric: str,
) -> None:
    slot = 0.84 / len(axis.lines)
    x = place - 0.42 + slot * (number + 0.5)
    mean, std = row.metrics[metric].mean, row.metrics[metric].std or 0.0
    colour, paper = COLOURS[number], published.get(row.key)
    wide = (0.62 if published else 0.86) * slot
    at = x - (0.15 * slot if published else 0.0)
    bars.bar(
        at, mean - base, wide, bottom=base, color=face(row, colour), edgecolor=colour if "R" in row.marks else "white",
        hatch=HATCHES[number], linewidth=1.2,
    )  # fmt: skip
    bars.errorbar(at, mean, std, fmt="none", ecolor="black", elinewidth=1, capsize=2.5)
    if len(axis.lines) * len(axis.values) <= 16:
        sign = 1 if mean >= base else -1  # beyond the end of the bar and of what stands beside it
        ends = [s.mean + sign * (s.std or 0.0) for s in (row.metrics[metric], paper) if s]
        bars.annotate(
            f"{mean:.1f}", (at, max(ends) if sign > 0 else min(ends)), (0, 2 * sign), textcoords="offset points",
            ha="center", va="bottom" if sign > 0 else "top", fontsize=SMALL,
        )  # fmt: skip
    zoomed.errorbar(at, mean, std, fmt="none", ecolor=colour, elinewidth=1.3, capsize=3)
    zoomed.scatter(at, mean, s=44, marker=MARKERS[number], facecolor=face(row, colour), edgecolor=colour, zorder=4)
    if paper:
        for ax in (bars, zoomed):
            ax.errorbar(
                x + 0.32 * slot, paper.mean, paper.std or 0.0, fmt="D", markersize=4.5, color=PUBLISHED,
                markerfacecolor="white", elinewidth=0.9, capsize=2,
            )  # fmt: skip


def _all_spreads(shown: Sequence[Row], published: Mapping[str, Spread], metric: str) -> list[Spread]:
    return [s for r in shown for s in (r.metrics[metric], published.get(r.key)) if s]


def _add_legend(figure: Figure, axis: Axis, shown: Sequence[Row], rows: Sequence[Row], published: bool) -> None:
    handles: list[Patch] = []
    for number, line in enumerate(axis.lines):
        hollow = all("R" in r.marks for r in line.rows.values())
        colour = COLOURS[number]
        label = line.label or axis.fixed or "this sweep"
        handles.append(
            Patch(
                facecolor="white" if hollow else colour,
                edgecolor=colour if hollow else "white",
                hatch=HATCHES[number],
                label=label,
            )
        )
    signs = [published_handle()] if published else []
    signs += [hollow_handle()] if any("R" in r.marks for r in shown) else []
    columns = min(4, len(handles) + len(signs))
    figure.legend(handles=[*handles, *signs], loc="lower center", ncols=columns, fontsize=SMALL, frameon=False)
