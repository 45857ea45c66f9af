"""Drawn settings as parallel axes, a line a config, coloured by what it reached on the validation parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize

from orchestrator.reporting.importances import find_importances
from orchestrator.reporting.inputs import Plot
from orchestrator.reporting.searches import QUANTITIES, Drawn, SearchView, say_value
from orchestrator.reporting.style import FAINT, SMALL, WIDTH, as_sentences, data_notes, fit, make_figure, wrap
from orchestrator.search.records import OBJECTIVES, Choice

MOST = 7
"""Settings that fit beside one another; of more, the most important are drawn."""

NOT_DRAWN = -0.13
"""Where lines pass an axis whose setting was not drawn."""

BETTER = colormaps["viridis_r"]
"""Dark is good: even to the eye, and the same to all common kinds of colour vision."""


@dataclass(frozen=True)
class Scale:
    """An upright axis: values -> heights from 0 to 1, and its ticks with their heights."""

    title: str
    places: Mapping[Any, float]
    ticks: tuple[tuple[str, float], ...]

    def height(self, value: Any) -> float:
        """`value` None where it was not drawn."""
        return NOT_DRAWN if value is None else self.places[say_value(value) if _named(value) else value]


def scale_values(title: str, values: list[Any], domain: Any) -> Scale:
    """Names stand evenly; numbers to scale, logarithmic where they were drawn so."""
    if isinstance(domain, Choice):
        order = [v for v in domain.values if any(say_value(v) == say_value(w) for w in values)]
        numbers = all(not _named(v) for v in order)
        order = sorted(order) if numbers else order
        steps = np.linspace(0.04, 0.96, len(order)) if len(order) > 1 else [0.5]
        keyed = [v if numbers else say_value(v) for v in order]
        places = dict(zip(keyed, map(float, steps), strict=True))
        if not numbers:  # a number among names goes by its name
            places |= {v: places[say_value(v)] for v in order if not _named(v)}
        return Scale(title, places, tuple((say_value(v), float(s)) for v, s in zip(order, steps, strict=True)))
    known = sorted(set(values))
    return Scale(title, *_to_scale(known, logarithmic=getattr(domain, "log", False)))


def draw_parallel(view: SearchView) -> list[Plot]:
    """None where no config is done, or only one was drawn."""
    pruned = view.of("pruned")
    if not view.done or len(view.done) + len(pruned) < 2:
        return []
    fields = view.drawn_fields()
    ranked = find_importances(view).shares if len(fields) > MOST else {}
    order = sorted(fields, key=lambda f: -ranked.get(f, 0.0))[:MOST]
    shown = [f for f in fields if f in order]
    scales = [
        scale_values(
            view.fields[f],
            [d.observation.values[f] for d in (*view.done, *pruned) if f in d.observation.values],
            view.dimension(f).domain,
        )
        for f in shown
    ]
    name = view.spec.objectives[0]
    quantity = QUANTITIES[name]
    values = [v / quantity.one for v in view.values_of(0)]
    title = f"Drawn settings and {quantity.name} · {view.title}"
    left_out = f"{len(fields) - len(shown)} less important settings not shown" if len(shown) < len(fields) else ""
    counts = f"{len(view.done)} done configs" + (f", grey: {len(pruned)} pruned ones" if pruned else "")
    notes = [" · ".join(data_notes(view.shown_rows, view.rows)), counts, left_out]
    figure, (left, bottom, width, height) = make_figure(title, notes, 3.3, left=0.6, right=1.45, bottom=0.75)
    ax = figure.add_axes((left, bottom, width, height))
    ax.set_ylim(NOT_DRAWN - 0.05, 1.04)
    ax.set_xlim(-0.02, max(len(shown) - 1, 1) + 0.02)
    ax.axis("off")
    room = width * WIDTH / max(len(shown) - 1, 1)
    better = 1.0 if OBJECTIVES[name] == "maximize" else -1.0
    worst_first = sorted(zip(view.done, values, strict=True), key=lambda pair: better * pair[1])
    norm = Normalize(min(values), max(values) if max(values) > min(values) else min(values) + 1)
    colours = BETTER if better > 0 else BETTER.reversed()
    if len(shown) > 1:
        lines = [_line(d, shown, scales, len(view.done)) for d, _ in worst_first]
        shades = [colours(norm(v)) for _, v in worst_first]
        faint = [_line(d, shown, scales, len(view.done)) for d in pruned]
        ax.add_collection(LineCollection(faint, colors=FAINT, linewidths=0.6, alpha=0.35, zorder=1))
        ax.add_collection(LineCollection(lines, colors=shades, linewidths=1.0 if len(lines) > 80 else 1.4, alpha=0.8))
    else:
        heights = [scales[0].height(d.observation.values.get(shown[0])) for d, _ in worst_first]
        ax.scatter([0.0] * len(heights), heights, c=[colours(norm(v)) for _, v in worst_first])
    conditional = {f for d in (*view.done, *pruned) for f in shown if f not in d.observation.values}
    for x, scale in enumerate(scales):
        ax.plot([x, x], [0, 1], color="black", linewidth=1.0, zorder=5)
        box: dict[str, Any] = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 0.6}
        for text, y in scale.ticks:
            fitted = fit(text, 0.8 * room - 0.1, SMALL - 1)
            ax.plot([x - 0.012 * len(scales) / 4, x], [y, y], color="black", linewidth=0.8, zorder=5)
            ax.annotate(
                fitted, (x, y), (4, 0), textcoords="offset points", fontsize=SMALL - 1, va="center", bbox=box, zorder=6
            )
        heading = [fit(line, room, SMALL) for line in wrap(scale.title, 0.92 * room, bold=True)]
        below = NOT_DRAWN - 0.06 if conditional else -0.05
        ax.text(x, below, "\n".join(heading), fontsize=SMALL, va="top", ha="center", fontweight="bold")
        if shown[x] in conditional:
            ax.annotate(
                "–", (x, NOT_DRAWN), (4, 0), textcoords="offset points", fontsize=SMALL, va="center", bbox=box, zorder=6
            )
    bar = figure.add_axes((left + width + 0.85 / WIDTH, bottom, 0.12 / WIDTH, height))
    figure.colorbar(ScalarMappable(norm, colours), cax=bar)
    bar.tick_params(labelsize=SMALL - 1)
    bar.set_title("\n".join(wrap(quantity.heading, 0.9)), fontsize=SMALL - 1, loc="center")
    caption = f"Each line is a done config, dark where {quantity.name} is good; the best are drawn on top."
    caption += " Pruned configs, which have no such number, are grey." if pruned else ""
    if conditional:
        caption += " Lines pass below an axis (–) where the setting was not drawn."
    caption += as_sentences([*data_notes(view.shown_rows, view.rows), left_out])
    return [Plot(f"search_{view.result.table}_parallel", title, caption, figure, search=view.result.table)]


def _line(drawn: Drawn, fields: list[str], scales: list[Scale], count: int) -> list[tuple[float, float]]:
    """A little up or down, always the same for a config, so that lines between names do not hide one another."""
    shift = ((drawn.observation.number * 0.618) % 1 - 0.5) * min(0.04, 0.002 * count)
    return [
        (float(x), s.height(drawn.observation.values.get(f)) + shift)
        for x, (f, s) in enumerate(zip(fields, scales, strict=True))
    ]


def _to_scale(known: list[float], *, logarithmic: bool) -> tuple[dict[Any, float], tuple[tuple[str, float], ...]]:
    low, high = known[0], known[-1]
    if low == high:
        return {low: 0.5}, ((say_value(low), 0.5),)

    def at(value: float) -> float:
        if logarithmic:
            return float(np.log(value / low) / np.log(high / low))
        return (value - low) / (high - low)

    inner = np.geomspace(low, high, 5) if logarithmic else np.linspace(low, high, 5)
    whole = all(isinstance(v, int) for v in known)
    ticks = dict.fromkeys(round(float(v)) if whole else float(f"{v:.2g}") for v in inner[1:-1])
    kept = [(say_value(v), at(v)) for v in (low, *(t for t in ticks if low < t < high), high)]
    return {v: at(v) for v in known}, tuple(kept)


def _named(value: Any) -> bool:
    return isinstance(value, bool) or not isinstance(value, int | float)
