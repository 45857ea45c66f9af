"""Validation loss and uAP by epoch: whether the configs had learnt what they could when they were evaluated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from orchestrator.reporting.aggregate import Row
from orchestrator.reporting.inputs import Plot
from orchestrator.reporting.style import (
    COLOURS,
    DASHES,
    MARKERS,
    SMALL,
    WIDTH,
    as_sentences,
    data_notes,
    make_figure,
    tidy,
)

PANELS = (("val_loss", "Validation loss"), ("val_uAP", "Validation uAP (%)"))


def mean_curve(histories: Sequence[Sequence[Mapping[str, Any]]], name: str) -> tuple[list[int], list[float]]:
    """Epochs and means over all splits, as far as every split goes: a mean over fewer is never formed."""
    curves = [{int(e["epoch"]): float(e[name]) for e in history if _number(e.get(name))} for history in histories]
    shared = sorted(set.intersection(*(set(c) for c in curves))) if curves else []
    return shared, [float(np.mean([c[e] for c in curves])) for e in shared]


def draw_validation_curves(
    chosen: Sequence[Row], rows: Sequence[Row], labels: Mapping[str, str], *, sweep: str, how: str
) -> list[Plot]:
    """Splits faint, their mean thick, the evaluated epoch of each split marked; none where no config has a history."""
    kept = [r for r in chosen if r.histories and all(r.histories.get(s) for s in r.splits)]
    if not kept:
        return []
    title = f"Validation loss and uAP by epoch · {sweep}"
    splits = max(len(r.splits) for r in kept)
    lines = f"thin: {splits} splits; thick: their mean as far as all of them go; " if splits > 1 else ""
    notes = [" · ".join(data_notes(kept, rows)), f"{lines}marks: the evaluated epochs"]
    legend = 0.19 * -(-len(kept) // 2)
    figure, (left, bottom, width, height) = make_figure(title, notes, 4.2, left=0.8, bottom=0.5 + legend)
    first = figure.add_axes((left, bottom + 0.53 * height, width, 0.47 * height))
    second = figure.add_axes((left, bottom, width, 0.47 * height), sharex=first)
    cropped = False
    for ax, (name, label) in zip((first, second), PANELS, strict=True):
        for number, row in enumerate(kept):
            _draw_row(ax, row, name, number)
        ax.set_ylabel(label)
        ax.yaxis.set_label_coords(-0.55 / (WIDTH * width), 0.5)
        cropped |= _leave_out_the_start(ax, kept, name)
        tidy(ax)
    first.tick_params(labelbottom=False)
    second.set_xlabel("Epoch")
    second.xaxis.set_major_locator(MaxNLocator(integer=True))
    handles = [
        Line2D(
            [], [], color=COLOURS[i % len(COLOURS)], linestyle=DASHES[i % len(DASHES)], linewidth=2,
            marker=MARKERS[i % len(MARKERS)], label=labels.get(r.key, r.label),
        )
        for i, r in enumerate(kept)
    ]  # fmt: skip
    figure.legend(handles=handles, loc="lower center", ncols=2, fontsize=SMALL, frameon=False, handlelength=3.5)
    outside = " The first epochs lie outside the frame." if cropped else ""
    caption = (
        f"Validation loss (above) and uAP (below) by epoch; configs: {how}. Thin lines are splits, thick ones their "
        "mean as far as every split goes; marks stand at the epochs of the lowest validation loss, which were "
        f"evaluated.{outside}"
    )
    return [Plot("validation_curves", title, caption + as_sentences(data_notes(kept, rows)), figure)]


def _draw_row(ax: Axes, row: Row, name: str, number: int) -> None:
    colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
    for split in row.splits:
        points = {e["epoch"]: e[name] for e in row.histories[split] if _number(e.get(name))}
        ax.plot(list(points), list(points.values()), color=colour, linewidth=0.7, alpha=0.45)
        best = row.best_epochs.get(split)
        if best is not None and best in points:
            ax.scatter(best, points[best], s=22, marker=marker, facecolor="white", edgecolor=colour, zorder=5)
    epochs, means = mean_curve([row.histories[s] for s in row.splits], name)
    ax.plot(epochs, means, color=colour, linewidth=1.9, linestyle=DASHES[number % len(DASHES)], zorder=4)


def _leave_out_the_start(ax: Axes, rows: Sequence[Row], name: str) -> bool:
    """Scale to the epochs behind the first eighth, whose steep part would flatten all that differs; True if it cuts."""
    points = [(e["epoch"], e[name]) for r in rows for h in r.histories.values() for e in h if _number(e.get(name))]
    last = max((epoch for epoch, _ in points), default=0)
    later = [value for epoch, value in points if epoch > last / 8]
    if not later or last < 16:
        return False
    room = 0.06 * (max(later) - min(later)) or 0.01
    ax.set_ylim(min(later) - room, max(later) + room)
    return any(not min(later) - room <= value <= max(later) + room for _, value in points)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and bool(np.isfinite(value))
