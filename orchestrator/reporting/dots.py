"""One line a config: our mean and deviation, the published ones below it. For tables that vary more than one thing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from orchestrator.reporting.aggregate import Row, Spread
from orchestrator.reporting.style import (
    COLOURS,
    PUBLISHED,
    SMALL,
    SUBTITLE,
    count_notes,
    data_notes,
    face,
    fit,
    hollow_handle,
    make_figure,
    published_handle,
    text_width,
    tidy,
)

CODE_LABEL = "published (authors' code)"


WIDEST = 3.0
"""Inches for the names of the configs."""


@dataclass(frozen=True)
class Dot:
    """A line of the figure; `row` None where there is no complete config of ours, `paper` and `code` where nothing
    was published."""

    label: str
    row: Row | None
    paper: Spread | None = None
    code: Spread | None = None


def draw_dots(
    dots: Sequence[Dot],
    rows: Sequence[Row],
    chance: Mapping[str, Spread] | None = None,
    *,
    title: str,
    metric: str = "uAP",
) -> Figure:
    """Points on a scale that need not start at 0; the chance level is drawn where it lies near them, else named."""
    shown = [d.row for d in dots if d.row]
    spreads = [s for d in dots for s in (_ours(d, metric), d.paper, d.code) if s]
    low, high = min(s.mean - (s.std or 0.0) for s in spreads), max(s.mean + (s.std or 0.0) for s in spreads)
    level = chance[metric].mean if chance else None
    near = level is not None and low - level < 0.6 * (high - low)
    notes = [" · ".join(data_notes(shown, rows)), *count_notes(shown, rows)]
    if level is not None and not near:
        notes.append(f"chance: {level:.1f}, left of this scale")
    published = any(d.paper or d.code for d in dots)
    line_height = 0.42 if published else 0.28
    names = [fit(d.label, WIDEST, SUBTITLE) for d in dots]
    margin = max(text_width(name, SUBTITLE) for name in names) / 72 + 0.2
    values = 0.95
    body = 0.3 + line_height * len(dots)
    signs = _legend(dots, shown, level if near else None)
    bottom = 0.6 + 0.19 * -(-len(signs) // 3)
    figure, place = make_figure(title, notes, body, left=margin, right=values, bottom=bottom)
    ax = figure.add_axes(place)
    for y, dot in enumerate(dots):
        _draw_dot(ax, y, dot, metric, published)
    if near and level is not None:
        ax.axvline(level, color="black", linestyle="--", linewidth=1.2)
    ax.set_ylim(len(dots) - 0.5, -0.6)
    ax.set_yticks(range(len(dots)), names, fontsize=SUBTITLE)
    ax.set_xlabel(f"{metric} on the test part (%)", fontsize=SUBTITLE + 0.5)
    ax.margins(x=0.06)
    tidy(ax, "x")
    ax.tick_params(axis="y", length=0)
    figure.legend(handles=signs, loc="lower center", ncols=3, fontsize=SMALL, frameon=False)
    return figure


def _draw_dot(ax: Axes, y: float, dot: Dot, metric: str, published: bool) -> None:
    ax.axhline(y + 0.5, color="#EEEEEE", linewidth=0.6)
    ours = _ours(dot, metric)
    at = y - 0.12 if published else y
    if ours and dot.row:
        ax.errorbar(ours.mean, at, xerr=ours.std or 0.0, fmt="none", ecolor=COLOURS[0], elinewidth=1.4, capsize=3)
        ax.scatter(ours.mean, at, s=46, facecolor=face(dot.row, COLOURS[0]), edgecolor=COLOURS[0], zorder=4)
        spread = f"{ours.mean:.2f}" if ours.std is None else f"{ours.mean:.2f} ± {ours.std:.2f}"
    else:
        spread = "no result"
    ax.annotate(
        spread, (1, at), (6, 0), xycoords=("axes fraction", "data"), textcoords="offset points", va="center",
        fontsize=SMALL,
    )  # fmt: skip
    for number, (result, marker) in enumerate(((dot.paper, "D"), (dot.code, "s"))):
        if result:
            ax.errorbar(
                result.mean, y + 0.12 + 0.17 * number, xerr=result.std or 0.0, fmt=marker, markersize=4.5,
                color=PUBLISHED, markerfacecolor="white", elinewidth=0.9, capsize=2, zorder=3,
            )  # fmt: skip


def _ours(dot: Dot, metric: str) -> Spread | None:
    return dot.row.metrics[metric] if dot.row and dot.row.complete else None


def _legend(dots: Sequence[Dot], shown: Sequence[Row], level: float | None) -> list[Line2D]:
    handles = [Line2D([], [], color=COLOURS[0], marker="o", label="this sweep")]
    handles += [published_handle()] if any(d.paper for d in dots) else []
    handles += [published_handle(CODE_LABEL, "s")] if any(d.code for d in dots) else []
    handles += [hollow_handle()] if any("R" in r.marks for r in shown) else []
    if level is not None:
        handles.append(Line2D([], [], color="black", linestyle="--", label=f"chance {level:.1f}"))
    return handles
