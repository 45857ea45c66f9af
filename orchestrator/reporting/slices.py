"""The objective against each drawn setting: where good values lie, and where the search looked."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from orchestrator.reporting.inputs import Plot
from orchestrator.reporting.searches import QUANTITIES, SearchView, say_condition, say_value
from orchestrator.reporting.style import SMALL, WIDTH, as_sentences, data_notes, fit, make_figure, text_width, tidy
from orchestrator.search.records import Choice

COLUMNS, TALL, GAP = 3, 1.45, 0.72
"""Panels a line; the height of a panel and the room below it, in inches."""

MOST = 12
"""Panels in the figure; more settings than that are named in the caption."""

LATER = colormaps["viridis_r"]


def draw_slices(view: SearchView) -> list[Plot]:
    """A panel a setting, a point a done config, dark where it was drawn late; pruned ones as ticks at the foot."""
    pruned = view.of("pruned")
    if not view.done or len(view.done) + len(pruned) < 2:
        return []
    fields = view.drawn_fields()
    shown, rest = fields[:MOST], fields[MOST:]
    quantity = QUANTITIES[view.spec.objectives[0]]
    title = f"{quantity.sentence} by each drawn setting · {view.title}"
    notes = [" · ".join(data_notes(view.shown_rows, view.rows)), f"{len(view.done)} done configs, one point each"]
    notes += [f"ticks at the foot: {len(pruned)} pruned ones"] if pruned else []
    rows = -(-len(shown) // COLUMNS)
    body = rows * TALL + (rows - 1) * GAP
    figure, (left, bottom, width, height) = make_figure(title, notes, body, left=0.6, right=0.75, bottom=0.65)
    norm = Normalize(0, max(1, view.drawn[-1].observation.number))
    wide = (width - (COLUMNS - 1) * 0.3 / WIDTH) / COLUMNS
    first: Axes | None = None
    for place, field in enumerate(shown):
        row, column = divmod(place, COLUMNS)
        base = bottom + height * (body - (row + 1) * TALL - row * GAP) / body
        at = (left + column * (wide + 0.3 / WIDTH), base, wide, height * TALL / body)
        ax = figure.add_axes(at, sharey=first)
        first = first or ax
        _draw_panel(ax, view, field, norm, wide * WIDTH)
        if column:
            ax.tick_params(labelleft=False)
        else:
            ax.set_ylabel(quantity.axis, fontsize=SMALL - 1)
    bar = figure.add_axes((left + width + 0.15 / WIDTH, bottom, 0.1 / WIDTH, height))
    figure.colorbar(ScalarMappable(norm, LATER), cax=bar)
    bar.tick_params(labelsize=SMALL - 1)
    bar.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    bar.set_title("config", fontsize=SMALL - 1)
    caption = (
        f"{quantity.sentence} of the done configs against each setting that was drawn, dark "
        "where drawn late. "
        + ("Pruned ones, which have no such number, are ticks at the foot. " if pruned else "")
        + "All other settings differ from point to point: no comparison of one setting alone."
    )
    if rest:
        caption += f" Without a panel: {', '.join(view.fields[f] for f in rest)}."
    caption += as_sentences(data_notes(view.shown_rows, view.rows))
    return [Plot(f"search_{view.result.table}_slices", title, caption, figure, search=view.result.table)]


def _draw_panel(ax: Axes, view: SearchView, field: str, norm: Normalize, inches: float) -> None:
    one = QUANTITIES[view.spec.objectives[0]].one
    having = [d for d in view.done if field in d.observation.values]
    pruned = [d for d in view.of("pruned") if field in d.observation.values]
    ys = [d.observation.objectives[0] / one for d in having]
    values = [d.observation.values[field] for d in (*having, *pruned)]
    numbers = [d.observation.number for d in (*having, *pruned)]
    dimension = view.dimension(field)
    if isinstance(dimension.domain, Choice):
        xs = _place_choices(ax, dimension.domain, values, numbers, inches)
    else:
        xs = [float(v) for v in values]
        _set_scale(ax, xs, logarithmic=dimension.domain.log)
    colours = [LATER(norm(n)) for n in numbers[: len(ys)]]
    ax.scatter(xs[: len(ys)], ys, c=colours, s=16, linewidth=0.4, edgecolor="#333333", zorder=3)
    ax.plot(xs[len(ys) :], [0.03] * len(pruned), "|", color="#777777", markersize=5, transform=ax.get_xaxis_transform())
    condition = say_condition(dimension)
    label = view.fields[field]
    ax.set_xlabel(
        fit(label, inches, SMALL) + (f"\n{fit(f'({condition})', inches, SMALL - 1)}" if condition else ""),
        fontsize=SMALL, labelpad=2,
    )  # fmt: skip
    tidy(ax)
    ax.tick_params(labelsize=SMALL - 1)
    ax.margins(y=0.08)


def _place_choices(ax: Axes, domain: Choice, values: list[Any], numbers: list[int], inches: float) -> list[float]:
    """Side by side, each point a little to a side, always the same for a config."""
    names = [say_value(v) for v in domain.values]
    room = 0.92 * inches / len(names)
    slanted = max(text_width(n, SMALL - 1) for n in names) > 72 * room
    texts = [fit(n, 0.62 if slanted else room, SMALL - 1) for n in names]
    ax.set_xticks(
        range(len(names)), texts, rotation=25 if slanted else 0, ha="right" if slanted else "center",
        rotation_mode="anchor" if slanted else "default",
    )  # fmt: skip
    ax.set_xlim(-0.6, len(names) - 0.4)
    return [names.index(say_value(v)) + 0.5 * ((n * 0.618) % 1 - 0.5) for v, n in zip(values, numbers, strict=True)]


def _set_scale(ax: Axes, xs: list[float], *, logarithmic: bool) -> None:
    low, high = min(xs), max(xs)
    if logarithmic and low < high:
        ax.set_xscale("log")
        ax.xaxis.set_minor_locator(NullLocator())
        inner = [float(f"{v:.1g}") for v in np.geomspace(low, high, 7)[1::2]]
        ax.set_xticks(sorted({v for v in inner if low <= v <= high}) or [low, high])
        room = (high / low) ** 0.06
        ax.set_xlim(low / room, high * room)
    else:
        ax.xaxis.set_major_locator(MaxNLocator(nbins=4))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
