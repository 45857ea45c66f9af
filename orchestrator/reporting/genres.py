"""Results genre by genre: the areas of a few configs as dots with their deviation, beside what chance reaches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.lines import Line2D

from orchestrator.reporting.aggregate import Row
from orchestrator.reporting.inputs import Plot
from orchestrator.reporting.style import (
    COLOURS,
    MARKERS,
    SMALL,
    SUBTITLE,
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
    written = [fit(n, 2.0, SUBTITLE) for n in names]
    margin = max(text_width(n, SUBTITLE) for n in written) / 72 + 0.2
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
    ax.set_yticks(range(len(names)), written, fontsize=SUBTITLE)
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
