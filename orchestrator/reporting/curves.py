"""Precision-recall curves of one trial: all labels pooled and every genre."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from orchestrator.reporting.style import COLOURS, SMALL, WIDTH, make_figure, tidy
from orchestrator.training.metrics import pr_auc, precision_recall_points

MAX_POINTS = 400
"""Points drawn of a curve; 24,000 pooled labels have as many, which no eye tells apart."""


def plot_precision_recall(
    labels: npt.ArrayLike, probabilities: npt.ArrayLike, genres: Sequence[str], *, title: str, notes: Sequence[str] = ()
) -> Figure:
    """Curves of the pooled labels (uAP) and of each genre: `labels` (n, g) of 0 and 1, `probabilities` (n, g).

    A genre without positives has no curve. `notes` say what the data is (synthetic, random weights).
    """
    y, p = np.asarray(labels), np.asarray(probabilities)
    figure = Figure(figsize=(7.2, 4.6))  # placed by hand: a sweep draws one a trial, and fitting takes half the time
    ax = figure.add_axes((0.08, 0.12, 0.67, 0.765))
    curves: Mapping[str, tuple[npt.NDArray[np.generic], npt.NDArray[np.generic]]] = {
        g: (y[:, i], p[:, i]) for i, g in enumerate(genres) if y[:, i].any()
    }
    for number, (genre, (true, scores)) in enumerate(curves.items()):
        colour, dashes = COLOURS[number % len(COLOURS)], ("-", "--", ":")[number // len(COLOURS) % 3]
        area = f"{genre} {100 * pr_auc(true, scores):.1f}"
        ax.plot(*_points(true, scores), color=colour, linestyle=dashes, linewidth=1.1, label=area)
    pooled = f"all labels (uAP) {100 * pr_auc(y.ravel(), p.ravel()):.1f}"
    ax.plot(*_points(y.ravel(), p.ravel()), color="black", linewidth=2.4, label=pooled)
    prevalence = float(y.mean())
    ax.axhline(prevalence, color="black", linestyle=(0, (1, 3)), linewidth=1, label=f"chance {100 * prevalence:.1f}")
    ax.set_xlabel("Recall")
    ax.set_ylabel("Precision")
    ax.set_xlim(0, 1)
    ax.set_ylim(0, 1.02)
    ax.grid(color="#DDDDDD", linewidth=0.7)
    ax.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title, fontsize=10, fontweight="bold", x=0.01, y=0.985, ha="left")
    if notes:
        ax.set_title(" · ".join(notes), fontsize=8.5, color="#333333", loc="left")
    figure.legend(
        loc="center left", bbox_to_anchor=(0.755, 0.5), fontsize=8, frameon=False, title="area, %", title_fontsize=8
    )
    return figure


def _points(
    labels: npt.NDArray[np.generic], scores: npt.NDArray[np.generic]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Recall and precision, at most MAX_POINTS evenly along the curve."""
    precision, recall = precision_recall_points(labels, scores)
    kept = np.unique(np.linspace(0, len(recall) - 1, MAX_POINTS).astype(int))
    return recall[kept], precision[kept]


def plot_mean_precision_recall(
    runs: Sequence[tuple[npt.ArrayLike, npt.ArrayLike]],
    genres: Sequence[str],
    *,
    title: str,
    notes: Sequence[str] = (),
) -> Figure:
    """Curves of one config over its splits: `runs` has labels (n, g) and probabilities (n, g) of each test part.

    At each recall the precisions of the splits are averaged; the areas are the splits' own, averaged, and so those of
    the tables. Pooling the parts would mix scores of different models. Thin black lines are the splits' pooled labels.
    """
    arrays = [(np.asarray(y), np.asarray(p)) for y, p in runs]
    figure, place = make_figure(title, notes, 3.7, left=0.6, right=1.85, bottom=0.5)
    ax = figure.add_axes(place)
    drawable = [i for i in range(len(genres)) if all(y[:, i].any() for y, _ in arrays)]
    for number, i in enumerate(drawable):
        colour, dashes = COLOURS[number % len(COLOURS)], ("-", "--", ":")[number // len(COLOURS) % 3]
        parts = [(y[:, i], p[:, i]) for y, p in arrays]
        area = f"{genres[i]} {100 * float(np.mean([pr_auc(y, p) for y, p in parts])):.1f}"
        ax.plot(*_mean_points(parts), color=colour, linestyle=dashes, linewidth=1.2, label=area)
    pooled = [(y.ravel(), p.ravel()) for y, p in arrays]
    if len(pooled) > 1:
        for y, p in pooled:
            ax.plot(*_mean_points([(y, p)]), color="black", linewidth=0.6, alpha=0.5)
    area = f"all labels (uAP) {100 * float(np.mean([pr_auc(y, p) for y, p in pooled])):.1f}"
    ax.plot(*_mean_points(pooled), color="black", linewidth=2.4, label=area)
    prevalence = float(np.mean([y.mean() for y, _ in arrays]))
    ax.axhline(prevalence, color="black", linestyle=(0, (1, 3)), linewidth=1, label=f"chance {100 * prevalence:.1f}")
    ax.set_xlabel("Recall")
    ax.set_ylabel("Precision")
    ax.set_xlim(0, 1)
    ax.set_ylim(0, 1.02)
    tidy(ax, "both")
    figure.legend(
        loc="center left", bbox_to_anchor=(1 - 1.8 / WIDTH, 0.5), fontsize=SMALL, frameon=False, title="area, %",
        title_fontsize=SMALL,
    )  # fmt: skip
    return figure


def _mean_points(
    parts: Sequence[tuple[npt.NDArray[np.generic], npt.NDArray[np.generic]]],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Recall and the mean of the parts' precision there."""
    grid = np.linspace(0, 1, MAX_POINTS // 2)
    found = []
    for labels, scores in parts:
        precision, recall = precision_recall_points(labels, scores)
        found.append(np.interp(grid, recall[::-1], precision[::-1]))
    return grid, np.mean(found, axis=0)
