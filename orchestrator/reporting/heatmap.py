"""Every complete config by genre as a heat map, with the numbers in its cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure

from orchestrator.reporting.aggregate import Row
from orchestrator.reporting.genres import shared_genres
from orchestrator.reporting.inputs import Plot
from orchestrator.reporting.style import (
    SMALL,
    WIDTH,
    as_sentences,
    count_notes,
    data_notes,
    fit,
    make_figure,
    text_width,
)

MAX_ROWS = 40
"""A sweep of more configs shows its best."""

WIDEST = 2.9
"""Inches for the names of the configs."""

COLOURS = colormaps["cividis"]
"""Even to the eye, and the same to all common kinds of colour vision."""

LINE = 0.215
"""Inches a config."""


def draw_heat_map(
    rows: Sequence[Row],
    labels: Mapping[str, str],
    genres: Sequence[str],
    prevalence: Mapping[str, float] | None,
    *,
    sweep: str,
    usual: str = "",
) -> list[Plot]:
    """All complete configs by genre, highest uAP first; none where there is no row or no genre.

    `usual` is what holds where a label does not say otherwise (`choose.short_labels`).
    """
    complete = sorted((r for r in rows if r.complete), key=lambda r: -r.metrics["uAP"].mean)
    shown = complete[:MAX_ROWS]
    names = shared_genres(shown, genres, prevalence)
    if not names:
        return []
    title = f"Area by genre and config · {sweep}"
    counts = count_notes(shown, rows)
    counts[0] = counts[0].replace(", bars: sample standard deviation", "")
    left_out = f"not shown: {len(complete) - len(shown)} configs of lower uAP" if len(complete) > len(shown) else ""
    unsaid = f"where a label does not say it: {usual}" if usual else ""
    notes = [" · ".join(data_notes(shown, rows)), *counts, left_out, unsaid]
    texts = [fit(labels.get(r.key, r.label), WIDEST) + (" (R)" if "R" in r.marks else "") for r in shown]
    figure = _draw(title, notes, shown, texts, names)
    order = "most frequent first" if prevalence else "highest mean first"
    caption = f"Mean area of each genre ({order}) for every complete config, highest uAP first."
    caption += as_sentences([*data_notes(shown, rows), *counts[1:], left_out, unsaid])
    return [Plot("genre_heat_map", title, caption, figure)]


def _draw(title: str, notes: Sequence[str], shown: Sequence[Row], texts: Sequence[str], names: Sequence[str]) -> Figure:
    margin = max(text_width(t) for t in texts) / 72 + 0.15
    cell = (WIDTH - margin - 0.1) / (len(names) + 1.1)
    slanted = max(text_width(g) for g in names) / 72 > 0.9 * cell
    body, heading = LINE * len(shown), 0.55 if slanted else 0.25
    figure, (left, bottom, width, height) = make_figure(
        title, notes, heading + body, left=margin, right=0.1, bottom=0.6
    )
    ax = figure.add_axes((left, bottom, width, height * body / (heading + body)))
    values = np.array([[r.per_genre[g].mean for g in names] for r in shown])
    mesh = ax.pcolormesh(
        np.arange(len(names) + 1) - 0.5, np.arange(len(shown) + 1) - 0.5, values, cmap=COLOURS,
        edgecolors="white", linewidth=0.6, rasterized=True,
    )  # fmt: skip
    _write_numbers(ax, values, 72 * cell)
    last = len(names) + 0.15
    for y, row in enumerate(shown):
        ax.text(last, y, f"{row.metrics['uAP'].mean:.1f}", ha="center", va="center", fontsize=SMALL, fontweight="bold")
    ax.set_xlim(-0.5, len(names) + 0.6)
    ax.set_ylim(len(shown) - 0.5, -0.5)
    ax.set_yticks(range(len(shown)), texts, fontsize=SMALL)
    ax.set_xticks([*range(len(names)), last], [*names, "uAP"], fontsize=SMALL)
    ax.xaxis.tick_top()
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    if slanted:
        for label in ax.get_xticklabels():
            label.set(rotation=40, horizontalalignment="left", rotation_mode="anchor")
    _add_key(figure, mesh)
    return figure


def _write_numbers(ax: Axes, values: npt.NDArray[np.float64], width: float) -> None:
    """In cells of `width` points: a digit less, or nothing, where they would not fit."""
    form = next((f for f, widest in ((".1f", "88.8"), (".0f", "88")) if width > text_width(widest) + 2), "")
    low, high = float(values.min()), float(values.max())
    for (y, x), value in np.ndenumerate(values) if form else ():
        colour = COLOURS((value - low) / (high - low) if high > low else 0.5)
        white = _luminance(colour) < 0.179  # below it white has the better contrast
        ax.text(
            x, y, format(value, form), ha="center", va="center", fontsize=SMALL, color="white" if white else "black"
        )


def _add_key(figure: Figure, mesh: QuadMesh) -> None:
    height = figure.get_size_inches()[1]
    place = figure.add_axes((2.55 / WIDTH, 0.36 / height, 2.4 / WIDTH, 0.11 / height))
    bar = figure.colorbar(mesh, cax=place, orientation="horizontal")
    bar.ax.tick_params(labelsize=SMALL, length=2)
    bar.outline.set_visible(False)
    figure.text(0.011, 0.415 / height, "area under the curve of a genre (%)", fontsize=SMALL, va="center")


def _luminance(colour: tuple[float, float, float, float]) -> float:
    """Relative luminance of an sRGB colour (WCAG)."""
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour[:3])
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
