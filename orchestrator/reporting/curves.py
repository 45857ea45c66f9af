"""Precision-recall curves of a trial, or of a config over its splits: all labels pooled and every genre."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from orchestrator.reporting.style import COLOURS, SMALL, SUBTITLE, WIDTH, literal_text, make_figure, tidy
from orchestrator.training.metrics import pr_auc, precision_recall_points

MAX_POINTS = 400
"""Points drawn of a curve; 24,000 pooled labels have as many, which no eye tells apart."""

Part = tuple[npt.NDArray[np.generic], npt.NDArray[np.generic]]
"""Labels of 0 and 1 and the probabilities of the same shape."""


@literal_text
def plot_precision_recall(
    labels: npt.ArrayLike, probabilities: npt.ArrayLike, genres: Sequence[str], *, title: str, notes: Sequence[str] = ()
) -> Figure:
    """Curves of the pooled labels (uAP) and of each genre: `labels` (n, g) of 0 and 1, `probabilities` (n, g).

    A genre without positives has no curve. `notes` say what the data is (synthetic, random weights).
    """
    figure = Figure(figsize=(WIDTH, 4.6))  # placed by hand: a sweep draws one a trial, and fitting takes half the time
    ax = figure.add_axes((0.08, 0.12, 0.67, 0.765))
    _draw_curves(figure, ax, [(np.asarray(labels), np.asarray(probabilities))], genres)
    figure.suptitle(title, fontsize=10, fontweight="bold", x=0.01, y=0.985, ha="left")
    if notes:
        ax.set_title(" · ".join(notes), fontsize=SUBTITLE, color="#333333", loc="left")
    return figure


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
    figure, place = make_figure(title, notes, 3.7, left=0.6, right=1.85, bottom=0.5)
    _draw_curves(figure, figure.add_axes(place), [(np.asarray(y), np.asarray(p)) for y, p in runs], genres)
    return figure


def _draw_curves(figure: Figure, ax: Axes, runs: Sequence[Part], genres: Sequence[str]) -> None:
    """A curve a genre, the pooled labels and chance, with the areas in the legend beside the axes."""
    drawable = [i for i in range(len(genres)) if all(y[:, i].any() for y, _ in runs)]
    for number, i in enumerate(drawable):
        colour, dashes = COLOURS[number % len(COLOURS)], ("-", "--", ":")[number // len(COLOURS) % 3]
        parts = [(y[:, i], p[:, i]) for y, p in runs]
        area = f"{genres[i]} {_mean_area(parts):.1f}"
        ax.plot(*_trace(parts), color=colour, linestyle=dashes, linewidth=1.2, label=area)
    pooled = [(y.ravel(), p.ravel()) for y, p in runs]
    for part in pooled if len(pooled) > 1 else ():
        ax.plot(*_trace([part]), color="black", linewidth=0.6, alpha=0.5)
    area = f"all labels (uAP) {_mean_area(pooled):.1f}"
    ax.plot(*_trace(pooled), color="black", linewidth=2.4, label=area)
    prevalence = float(np.mean([y.mean() for y, _ in runs]))
    ax.axhline(prevalence, color="black", linestyle=(0, (1, 3)), linewidth=1, label=f"chance {100 * prevalence:.1f}")
    ax.set_xlabel("Recall")
    ax.set_ylabel("Precision")
    ax.set_xlim(0, 1)
    ax.set_ylim(0, 1.02)
    tidy(ax, "both")
    beside = ax.get_position().x1 + 0.05 / WIDTH
    figure.legend(
        loc="center left", bbox_to_anchor=(beside, 0.5), fontsize=SMALL, frameon=False, title="area, %",
        title_fontsize=SMALL,
    )  # fmt: skip


def _mean_area(parts: Sequence[Part]) -> float:
    """In percent."""
    return 100 * float(np.mean([pr_auc(y, p) for y, p in parts]))


def _trace(parts: Sequence[Part]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Recall and precision of one part, at most MAX_POINTS evenly along the curve; of several the mean at a recall."""
    curves = [precision_recall_points(labels, scores) for labels, scores in parts]
    if len(curves) == 1:
        precision, recall = curves[0]
        kept = np.unique(np.linspace(0, len(recall) - 1, MAX_POINTS).astype(int))
        return recall[kept], precision[kept]
    grid = np.linspace(0, 1, MAX_POINTS // 2)
    return grid, np.mean([np.interp(grid, recall[::-1], precision[::-1]) for precision, recall in curves], axis=0)
