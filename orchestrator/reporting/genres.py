"""Results genre by genre: areas of a few configs as dots with their deviation, and a heat map of all configs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.lines import Line2D

from orchestrator.reporting.aggregate import Row
from orchestrator.reporting.inputs import Plot
from orchestrator.reporting.style import (
    COLOURS,
    MARKERS,
    SMALL,
    SUBTITLE,
    WIDTH,
    as_sentences,
    count_notes,
    data_notes,
    face,
    fit,
    hollow_handle,
    make_figure,
    text_width,
    tidy,
)

WIDEST = 2.9
"""Inches for the names of the configs beside the heat map."""

MAX_ROWS = 40
"""Rows of the heat map; a sweep of more shows its best."""


def shared_genres(rows: Sequence[Row], genres: Sequence[str], prevalence: Mapping[str, float] | None) -> list[str]:
    """Genres that every row has an area of: the most frequent first, without prevalence the highest mean area first."""
    if not rows:
        return []
    names = [g for g in (genres or rows[0].per_genre) if all(g in r.per_genre for r in rows)]
    if prevalence and all(g in prevalence for g in names):
        return sorted(names, key=lambda g: -prevalence[g])
    return sorted(names, key=lambda g: -float(np.mean([r.per_genre[g].mean for r in rows])))


def draw_genre_areas(
    chosen: Sequence[Row],
    rows: Sequence[Row],
    labels: Mapping[str, str],
    genres: Sequence[str],
    prevalence: Mapping[str, float] | None,
    *,
    sweep: str,
    how: str,
) -> list[Plot]:
    """A line a genre, a dot a config, and the genre's prevalence, which is what chance reaches, in percent."""
    names = shared_genres(chosen, genres, prevalence)
    if not names:
        return []
    title = f"Area under the precision-recall curve by genre · {sweep}"
    notes = [" · ".join(data_notes(chosen, rows)), *count_notes(chosen, rows)]
    shown = [fit(n, 2.0, SUBTITLE) for n in names]
    margin = max(text_width(n, SUBTITLE) for n in shown) / 72 + 0.2
    line = 0.17 + 0.075 * len(chosen)
    legend = 0.19 * -(-(len(chosen) + 2) // 2)
    figure, place = make_figure(title, notes, 0.2 + line * len(names), left=margin, bottom=0.5 + legend)
    ax = figure.add_axes(place)
    step = 0.74 / max(len(chosen), 1)
    for number, row in enumerate(chosen):
        colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
        ys = [y - 0.37 + step * (number + 0.5) for y in range(len(names))]
        spreads = [row.per_genre[g] for g in names]
        means, deviations = [s.mean for s in spreads], [s.std or 0.0 for s in spreads]
        ax.errorbar(means, ys, xerr=deviations, fmt="none", ecolor=colour, elinewidth=1, capsize=1.5)
        ax.scatter(means, ys, s=26, marker=marker, facecolor=face(row, colour), edgecolor=colour, zorder=4)
    for y, genre in enumerate(names):
        ax.axhline(y + 0.5, color="#EEEEEE", linewidth=0.7)
        if prevalence and genre in prevalence:
            ax.plot([prevalence[genre]] * 2, [y - 0.4, y + 0.4], color="black", linewidth=1.6, linestyle=(0, (2, 1)))
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.set_yticks(range(len(names)), shown, fontsize=SUBTITLE)
    ax.set_xlabel("Area under the precision-recall curve on the test part (%)", fontsize=SUBTITLE + 0.5)
    tidy(ax, "x")
    ax.tick_params(axis="y", length=0)
    handles = [
        Line2D(
            [], [], color=COLOURS[i % len(COLOURS)], marker=MARKERS[i % len(MARKERS)], linestyle="none",
            markerfacecolor=face(r, COLOURS[i % len(COLOURS)]), label=labels.get(r.key, r.label),
        )
        for i, r in enumerate(chosen)
    ]  # fmt: skip
    if prevalence:
        handles.append(Line2D([], [], color="black", linewidth=1.6, linestyle=(0, (2, 1)), label="chance (prevalence)"))
    handles += [hollow_handle()] if any("R" in r.marks for r in chosen) else []
    figure.legend(handles=handles, loc="lower center", ncols=2, fontsize=SMALL, frameon=False)
    order = "the most frequent genre first" if prevalence else "the highest mean area first"
    caption = f"Area of each genre, mean and deviation over the splits, {order}; configs: {how}."
    caption += (
        " The dashed mark is the genre's prevalence on the test parts, what chance reaches." if prevalence else ""
    )
    caption += as_sentences(data_notes(chosen, rows)) + as_sentences(count_notes(chosen, rows)[1:])
    return [Plot("genre_areas", title, caption, figure)]


def draw_heat_map(
    rows: Sequence[Row],
    labels: Mapping[str, str],
    genres: Sequence[str],
    prevalence: Mapping[str, float] | None,
    *,
    sweep: str,
    usual: str = "",
) -> list[Plot]:
    """All complete configs by genre, highest uAP first; none where there is no row or no genre."""
    complete = sorted((r for r in rows if r.complete), key=lambda r: -r.metrics["uAP"].mean)
    shown = complete[:MAX_ROWS]
    names = shared_genres(shown, genres, prevalence)
    if not names:
        return []
    title = f"Area by genre and config · {sweep}"
    left_out = f"not shown: {len(complete) - len(shown)} configs of lower uAP" if len(complete) > len(shown) else ""
    counts = count_notes(shown, rows)
    counts[0] = counts[0].replace(", bars: sample standard deviation", "")
    unsaid = f"where a label does not say it: {usual}" if usual else ""
    notes = [" · ".join(data_notes(shown, rows)), *counts, left_out, unsaid]
    texts = [fit(labels.get(r.key, r.label), WIDEST) + (" (R)" if "R" in r.marks else "") for r in shown]
    margin = max(text_width(t) for t in texts) / 72 + 0.15
    cell = 72 * (WIDTH - margin - 0.1) / (len(names) + 1.1)
    form = ".1f" if cell > text_width("88.8") + 2 else ".0f" if cell > text_width("88") + 2 else ""
    slanted = max(text_width(g) for g in names) / 72 > 0.9 * (WIDTH - margin - 0.6) / (len(names) + 1)
    heading = 0.55 if slanted else 0.25
    figure, (left, bottom, width, height) = make_figure(
        title, notes, heading + 0.215 * len(shown), left=margin, right=0.1, bottom=0.6
    )
    inches = heading + 0.215 * len(shown)
    ax = figure.add_axes((left, bottom, width, height * (inches - heading) / inches))
    values = np.array([[r.per_genre[g].mean for g in names] + [r.metrics["uAP"].mean] for r in shown])
    colours = colormaps["cividis"]
    low, high = float(values[:, :-1].min()), float(values[:, :-1].max())
    scale = (values - low) / (high - low) if high > low else np.full_like(values, 0.5)
    count = len(names)
    mesh = ax.pcolormesh(
        np.arange(count + 1) - 0.5, np.arange(len(shown) + 1) - 0.5, values[:, :-1], cmap=colours, vmin=low, vmax=high,
        edgecolors="white", linewidth=0.6, rasterized=True,
    )  # fmt: skip
    for y, line in enumerate(values):
        for x, value in enumerate(line):
            if x < count and not form:
                continue
            white = x < count and _luminance(colours(float(scale[y, x]))) < 0.179  # where both contrasts are equal
            ax.text(
                x + (0.15 if x == count else 0.0), y, format(value, form if x < count else ".1f"), ha="center", va="center", fontsize=SMALL,
                color="white" if white else "black", fontweight="bold" if x == count else "normal",
            )  # fmt: skip
    ax.set_xlim(-0.5, count + 0.6)
    ax.set_ylim(len(shown) - 0.5, -0.5)
    ax.set_yticks(range(len(shown)), texts, fontsize=SMALL)
    ax.set_xticks([*range(count), count + 0.15], [*names, "uAP"], fontsize=SMALL)
    ax.xaxis.tick_top()
    if slanted:
        ax.tick_params(axis="x", labelrotation=40)
        for label in ax.get_xticklabels():
            label.set_horizontalalignment("left")
            label.set_rotation_mode("anchor")
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    inches_high = figure.get_size_inches()[1]
    key = figure.add_axes((2.55 / WIDTH, 0.36 / inches_high, 2.4 / WIDTH, 0.11 / inches_high))
    bar = figure.colorbar(mesh, cax=key, orientation="horizontal")
    bar.ax.tick_params(labelsize=SMALL, length=2)
    bar.outline.set_visible(False)
    figure.text(0.011, 0.415 / inches_high, "area under the curve of a genre (%)", fontsize=SMALL, va="center")
    order = "most frequent first" if prevalence else "highest mean first"
    caption = f"Mean area of each genre ({order}) for every complete config, highest uAP first."
    caption += as_sentences([*data_notes(shown, rows), *counts[1:], left_out, unsaid])
    return [Plot("genre_heat_map", title, caption, figure)]


def _luminance(colour: tuple[float, float, float, float]) -> float:
    """Relative luminance of an sRGB colour (WCAG)."""
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour[:3])
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
