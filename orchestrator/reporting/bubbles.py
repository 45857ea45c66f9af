"""What a backbone costs and what it reaches: uAP against parameters and multiply-adds, with the Pareto front."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter

from orchestrator.reporting.aggregate import Row, Spread
from orchestrator.reporting.inputs import Plot
from orchestrator.reporting.placing import Box, place_labels
from orchestrator.reporting.style import (
    COLOURS,
    MARKERS,
    SMALL,
    as_sentences,
    count_notes,
    data_notes,
    face,
    hollow_handle,
    make_figure,
    text_width,
    tidy,
)

COSTS = {
    "parameters": ("Parameters, backbones and head (millions)", "M parameters", 1e6),
    "multiply_adds": ("Multiply-adds of one snippet (billions), logarithmic", "G multiply-adds", 1e9),
}
"""Row attribute -> axis title, short name, unit."""

FRONT = "Pareto front"
BODY = 3.4
LARGEST, SMALLEST = 620.0, 28.0
"""Areas of bubbles in points squared."""


def pareto_front(costs: Sequence[float], scores: Sequence[float]) -> list[int]:
    """Indices, cheapest first, of the points that no other one beats: as cheap and better, or as good and cheaper."""
    front: list[int] = []
    for i in sorted(range(len(costs)), key=lambda i: (costs[i], -scores[i])):
        if not front or scores[i] > scores[front[-1]]:
            front.append(i)
    return front


def draw_bubbles(
    chosen: Sequence[Row],
    rows: Sequence[Row],
    labels: Mapping[str, str],
    *,
    sweep: str,
    how: str,
    metric: str = "uAP",
) -> list[Plot]:
    """Both charts; none where fewer than two rows have both costs. `how` says how `chosen` was chosen."""
    kept = [r for r in chosen if r.complete and r.parameters and r.multiply_adds]
    if len(kept) < 2:
        return []
    plots = []
    for cost, other in (("parameters", "multiply_adds"), ("multiply_adds", "parameters")):
        title = f"{metric} against {cost.replace('_', '-')} · {sweep}"
        figure, front = _draw(kept, rows, labels, cost, other, title, metric)
        names = ", ".join(labels.get(r.key, r.label) for r in front)
        aside = " (random weights do not count)" if len({"R" in r.marks for r in kept}) > 1 else ""
        caption = (
            f"{metric} against {COSTS[cost][0].split(',')[0].lower()}, one bubble a config ({how}); area by "
            f"{COSTS[other][1]}{_say_enlarged(kept, other)}. Pareto front, the configs that none beats at their cost "
            f"or below{aside}: {names}."
        )
        caption += as_sentences(data_notes(kept, rows)) + as_sentences(count_notes(kept, rows)[1:])
        plots.append(Plot(f"{metric}_against_{cost}", title, caption, figure))
    return plots


def _draw(
    kept: Sequence[Row], rows: Sequence[Row], labels: Mapping[str, str], cost: str, other: str, title: str, metric: str
) -> tuple[Figure, list[Row]]:
    costs, others = ([float(getattr(r, name)) / COSTS[name][2] for r in kept] for name in (cost, other))
    spreads = [r.metrics[metric] for r in kept]
    notes = [" · ".join(data_notes(kept, rows)), *count_notes(kept, rows)]
    handles = _legend(kept, others, other)
    columns = len(handles) if len(handles) < 4 else 2
    figure, place = make_figure(title, notes, BODY, left=0.65, bottom=1.0 if columns == len(handles) else 1.22)
    ax = figure.add_axes(place)
    logarithmic = cost == "multiply_adds"
    if logarithmic:
        ax.set_xscale("log")
    _set_limits(ax, costs, spreads, logarithmic)
    trained = [i for i, r in enumerate(kept) if "R" not in r.marks] or list(range(len(kept)))
    front = [trained[i] for i in pareto_front([costs[i] for i in trained], [spreads[i].mean for i in trained])]
    xs = [costs[i] for i in front] + [ax.get_xlim()[1]]
    ys = [spreads[i].mean for i in front] + [spreads[front[-1]].mean]
    ax.plot(xs, ys, drawstyle="steps-post", color="black", linewidth=1.2, zorder=1)
    sizes = [_area(value, others) for value in others]
    for i, row in enumerate(kept):
        colour = COLOURS[0] if i in front else COLOURS[4]
        ax.errorbar(costs[i], spreads[i].mean, spreads[i].std or 0.0, fmt="none", ecolor="#777777", elinewidth=0.9)
        ax.scatter(
            costs[i], spreads[i].mean, s=sizes[i], marker=MARKERS[0], facecolor=face(row, colour), edgecolor="black",
            linewidth=0.8, alpha=0.9, zorder=3,
        )  # fmt: skip
    _add_labels(
        figure, ax, [labels.get(r.key, r.label) for r in kept], costs, spreads, sizes, list(zip(xs, ys, strict=True))
    )
    ax.set_xlabel(COSTS[cost][0])
    ax.set_ylabel(f"{metric} on the test part (%)")
    tidy(ax, "both")
    wide = float(np.sqrt(LARGEST)) / SMALL  # the largest bubble in units of the text, so that it has its room
    figure.legend(
        handles=handles, loc="lower center", ncols=columns, fontsize=SMALL, frameon=False, handlelength=wide,
        labelspacing=wide / 2 - 0.2, borderpad=wide / 2 - 0.4, borderaxespad=0.2,
    )  # fmt: skip
    return figure, [kept[i] for i in front]


def _set_limits(ax: Axes, costs: Sequence[float], spreads: Sequence[Spread], logarithmic: bool) -> None:
    low, high = min(costs), max(costs)
    if logarithmic:
        room = (high / low) ** 0.12 if high > low else 2.0
        ax.set_xlim(low / room, high * room)
        ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        ax.xaxis.set_major_formatter("{x:g}")
        ax.xaxis.set_minor_formatter(NullFormatter())
    else:
        ax.set_xlim(min(0.0, low), high + 0.14 * high)
    bottom, top = min(s.mean - (s.std or 0.0) for s in spreads), max(s.mean + (s.std or 0.0) for s in spreads)
    room = 0.12 * (top - bottom) or 1.0
    ax.set_ylim(bottom - room, top + room)


def _area(value: float, values: Sequence[float]) -> float:
    """Points squared, in proportion to the quantity, but large enough to be seen."""
    return max(SMALLEST, LARGEST * value / max(values))


def _say_enlarged(kept: Sequence[Row], other: str) -> str:
    values = [float(getattr(r, other)) for r in kept]
    return ", the smallest enlarged to be seen" if min(values) < max(values) * SMALLEST / LARGEST else ""


def _add_labels(
    figure: Figure,
    ax: Axes,
    texts: Sequence[str],
    xs: Sequence[float],
    spreads: Sequence[Spread],
    sizes: Sequence[float],
    front: Sequence[tuple[float, float]],
) -> None:
    """Beside the bubbles, with a thin line to those that had to go further off; placed in points of the figure."""

    def at(x: float, y: float) -> tuple[float, float]:
        place = ax.transData.transform((x, y)) * scale
        return float(place[0]), float(place[1])

    scale = 72 / figure.dpi
    frame = ax.get_window_extent()
    bounds = Box(frame.x0 * scale, frame.y0 * scale, frame.x1 * scale, frame.y1 * scale)
    radii = [float(np.sqrt(size / np.pi)) for size in sizes]
    centres = [at(x, s.mean) for x, s in zip(xs, spreads, strict=True)]
    lines = [
        Box.around(at(x, s.mean - (s.std or 0.0)), at(x, s.mean + (s.std or 0.0)))
        for x, s in zip(xs, spreads, strict=True)
    ]
    for (x, y), (next_x, next_y) in itertools.pairwise(front):
        lines += [Box.around(at(x, y), at(next_x, y)), Box.around(at(next_x, y), at(next_x, next_y))]
    widths = [text_width(t) for t in texts]
    boxes = place_labels(centres, radii, widths, SMALL, bounds, lines)
    for text, (x, y), radius, box in zip(texts, centres, radii, boxes, strict=True):
        middle = ((box.left + box.right) / 2, (box.bottom + box.top) / 2)
        near_x, near_y = float(np.clip(x, box.left, box.right)), float(np.clip(y, box.bottom, box.top))
        if np.hypot(near_x - x, near_y - y) > radius + 5:
            line = Line2D([], [], color="#777777", linewidth=0.7)
            _add_in_points(figure, line, (x, y), (near_x, near_y))
        width, height = figure.get_size_inches() * 72
        figure.text(middle[0] / width, middle[1] / height, text, fontsize=SMALL, ha="center", va="center", zorder=6)


def _add_in_points(figure: Figure, line: Line2D, start: tuple[float, float], end: tuple[float, float]) -> None:
    width, height = figure.get_size_inches() * 72
    line.set_data([start[0] / width, end[0] / width], [start[1] / height, end[1] / height])
    line.set_transform(figure.transFigure)
    figure.add_artist(line)


def _legend(kept: Sequence[Row], others: Sequence[float], other: str) -> list[Line2D]:
    """The front, and what bubbles of the smallest and the largest config stand for, as large as they are drawn."""
    handles = [Line2D([], [], color="black", linewidth=1.2, label=FRONT)]
    ends = {f"{value:,.0f}" if value >= 100 else f"{value:.3g}": value for value in (min(others), max(others))}
    for shown, value in ends.items():
        size = float(np.sqrt(_area(value, others)))
        handles.append(
            Line2D(
                [], [], color=COLOURS[4], marker=MARKERS[0], linestyle="none", markeredgecolor="black",
                markeredgewidth=0.8, markersize=size, label=f"{shown} {COSTS[other][1]}",
            )
        )  # fmt: skip
    return [*handles, hollow_handle()] if any("R" in r.marks for r in kept) else handles
