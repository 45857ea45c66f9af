"""The Pareto front of a search with several objectives, a figure each pair of the first one with another."""

from __future__ import annotations

import itertools

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter

from orchestrator.reporting.inputs import Plot
from orchestrator.reporting.placing import Box, place_labels
from orchestrator.reporting.search_history import LOG_RATIO
from orchestrator.reporting.searches import QUANTITIES, Drawn, SearchView
from orchestrator.reporting.style import (
    COLOURS,
    SMALL,
    as_sentences,
    data_notes,
    face,
    hollow_handle,
    make_figure,
    text_width,
    tidy,
)
from orchestrator.search.records import COSTS, OBJECTIVES

NAMED, NAMED_APART = 30, 12
"""Configs of the front that have room for their numbers: along a line, and scattered."""


def draw_fronts(view: SearchView) -> list[Plot]:
    """None with one objective or where no config is done."""
    if len(view.spec.objectives) < 2 or not view.done:
        return []
    return [_draw_pair(view, other) for other in range(1, len(view.spec.objectives))]


def _draw_pair(view: SearchView, other: int) -> Plot:
    names = view.spec.objectives
    across, up = QUANTITIES[names[other]], QUANTITIES[names[0]]
    title = f"{up.sentence} against {across.name} · {view.title}"
    joined = len(names) == 2
    counts = f"{len(view.done)} done configs, {len(view.front)} of them on the front"
    notes = [" · ".join(data_notes(view.shown_rows, view.rows)), counts]
    figure, place = make_figure(title, notes, 3.5, left=0.75, bottom=0.85)
    ax = figure.add_axes(place)
    rest = [d for d in view.done if d not in view.front]
    points = {d.observation.key: (_value(view, d, other), _value(view, d, 0)) for d in view.done}
    _scale(ax, [x for x, _ in points.values()], cost=names[other] in COSTS)
    faces = [face(d.row, COLOURS[4]) if d.row else COLOURS[4] for d in rest]
    ax.scatter(*_columns(points, rest), s=22, c=faces, edgecolor=COLOURS[4], alpha=0.8, linewidth=0.8, zorder=3)
    faces = [face(d.row, COLOURS[0]) if d.row else COLOURS[0] for d in view.front]
    ax.scatter(*_columns(points, view.front), s=40, c=faces, edgecolor="black", linewidth=0.8, zorder=5)
    front = sorted(points[d.observation.key] for d in view.front)
    style = "steps-post" if OBJECTIVES[names[other]] == "minimize" else "steps-pre"
    if joined:
        ax.plot(*zip(*front, strict=True), drawstyle=style, color="black", linewidth=1.2, zorder=2)
    ax.set_xlabel(across.axis, fontsize=SMALL)
    ax.set_ylabel(up.axis, fontsize=SMALL)
    tidy(ax, "both")
    ax.margins(0.07)
    named = len(view.front) <= (NAMED if joined else NAMED_APART)
    if named:
        _label(figure, ax, view, points, front if joined else [], style)
    handles = [
        Line2D(
            [], [], color="black" if joined else "none", marker="o", markerfacecolor=COLOURS[0], label="Pareto front"
        ),
        Line2D([], [], color=COLOURS[4], marker="o", linestyle="none", markersize=5, label="beaten by another config"),
    ]
    handles = handles[: 2 if rest else 1] + ([hollow_handle()] if any("R" in r.marks for r in view.shown_rows) else [])
    figure.legend(handles=handles, loc="lower center", ncols=3, fontsize=SMALL, frameon=False)
    caption = f"{up.sentence} against {across.name} of the done configs; the configs of the front are beaten by "
    caption += (
        "none in all objectives at once." if joined else "none in all objectives at once; they differ in others, too."
    )
    caption += " Numbers are those of the table." if named else ""
    caption += as_sentences(data_notes(view.shown_rows, view.rows))
    name = f"search_{view.result.table}_front" + ("" if joined else f"_{names[other]}")
    return Plot(name, title, caption, figure, search=view.result.table)


def _value(view: SearchView, drawn: Drawn, objective: int) -> float:
    return drawn.observation.objectives[objective] / QUANTITIES[view.spec.objectives[objective]].one


def _columns(
    points: dict[str, tuple[float, float]], drawn: list[Drawn] | tuple[Drawn, ...]
) -> tuple[list[float], list[float]]:
    xy = [points[d.observation.key] for d in drawn]
    return [x for x, _ in xy], [y for _, y in xy]


def _scale(ax: Axes, xs: list[float], *, cost: bool) -> None:
    if cost and min(xs) > 0 and max(xs) / min(xs) > LOG_RATIO / 4:
        ax.set_xscale("log")
        ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        ax.xaxis.set_major_formatter("{x:g}")
        ax.xaxis.set_minor_formatter(NullFormatter())


def _label(
    figure: Figure,
    ax: Axes,
    view: SearchView,
    points: dict[str, tuple[float, float]],
    front: list[tuple[float, float]],
    style: str,
) -> None:
    """Numbers beside the configs of the front, clear of points and line; placed in points of the figure."""
    scale = 72 / figure.dpi

    def at(point: tuple[float, float]) -> tuple[float, float]:
        x, y = ax.transData.transform(point) * scale
        return float(x), float(y)

    frame = ax.get_window_extent()
    bounds = Box(*(v * scale for v in (frame.x0, frame.y0, frame.x1, frame.y1)))
    lines = []
    for start, end in itertools.pairwise(at(p) for p in front):
        corner = (end[0], start[1]) if style == "steps-post" else (start[0], end[1])
        lines += [Box.around(start, corner), Box.around(corner, end)]
    on_front = {d.observation.key: d.name for d in view.front}
    taken = [Box.around(at(p), at(p), 3.0) for key, p in points.items() if key not in on_front]
    boxes = place_labels(
        [at(points[k]) for k in on_front], [4.0] * len(on_front), [text_width(n, SMALL - 1) for n in on_front.values()],
        SMALL - 1, bounds, [*lines, *taken],
    )  # fmt: skip
    width, height = figure.get_size_inches() * 72
    for name, box in zip(on_front.values(), boxes, strict=True):
        middle = ((box.left + box.right) / 2 / width, (box.bottom + box.top) / 2 / height)
        figure.text(*middle, name, fontsize=SMALL - 1, ha="center", va="center", zorder=6)
