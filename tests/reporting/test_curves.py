from __future__ import annotations

import numpy as np
import pytest

from orchestrator.reporting.curves import plot_mean_precision_recall, plot_precision_recall
from orchestrator.reporting.plots import render
from orchestrator.training.metrics import evaluate

GENRES = ("action", "drama", "sci-fi")


@pytest.fixture
def predictions() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    labels = (rng.random((300, 3)) < 0.3).astype(np.uint8)
    return labels, (rng.random((300, 3)) + 0.5 * labels).astype(np.float32)


def legend_of(figure) -> list[str]:
    return [t.get_text() for t in figure.legends[0].get_texts()]


def test_areas_in_the_legend_are_the_metrics(predictions) -> None:
    labels, probabilities = predictions
    scores = evaluate(labels, probabilities, GENRES)
    legend = legend_of(plot_precision_recall(labels, probabilities, GENRES, title="x"))
    assert f"all labels (uAP) {scores['uAP']:.1f}" in legend
    assert f"sci-fi {scores['AP']['sci-fi']:.1f}" in legend
    assert f"chance {100 * labels.mean():.1f}" in legend


def test_drawn_curves_keep_their_ends_and_area(predictions) -> None:
    labels, probabilities = predictions
    figure = plot_precision_recall(labels, probabilities, GENRES, title="x")
    pooled = next(x for x in figure.axes[0].lines if x.get_color() == "black")
    recall, precision = pooled.get_xdata(), pooled.get_ydata()
    assert (recall[0], recall[-1], precision[-1]) == (1.0, 0.0, 1.0) and len(recall) <= 400
    area = 100 * np.trapezoid(precision[::-1], recall[::-1])
    assert area == pytest.approx(evaluate(labels, probabilities, GENRES)["uAP"], abs=0.3)


def test_a_genre_without_positives_has_no_curve(predictions) -> None:
    labels, probabilities = predictions
    labels[:, 1] = 0
    assert not any(
        "drama" in text for text in legend_of(plot_precision_recall(labels, probabilities, GENRES, title="x"))
    )


def test_the_mean_curve_has_the_areas_of_the_tables(predictions) -> None:
    labels, probabilities = predictions
    rng = np.random.default_rng(2)
    runs = [(labels, probabilities), (labels[:200], rng.random((200, 3)) + 0.4 * labels[:200])]
    figure = plot_mean_precision_recall(runs, GENRES, title="x", notes=["", "thick: means"])
    scores = [evaluate(y, p, GENRES) for y, p in runs]
    legend = legend_of(figure)
    assert f"all labels (uAP) {np.mean([s['uAP'] for s in scores]):.1f}" in legend
    assert f"drama {np.mean([s['AP']['drama'] for s in scores]):.1f}" in legend
    black = [x for x in figure.axes[0].lines if x.get_color() == "black" and len(x.get_xdata()) > 2]
    assert len(black) == 3
    area = 100 * np.trapezoid(black[-1].get_ydata(), black[-1].get_xdata())
    assert area == pytest.approx(np.mean([s["uAP"] for s in scores]), abs=0.5)


def test_a_genre_may_hold_what_would_be_a_formula(predictions) -> None:
    figure = plot_precision_recall(*predictions, (r"a$\frac$", "b", "c"), title="$x_$", notes=["$y_$"])
    assert render(figure, "png").startswith(b"\x89PNG")


def test_a_genre_without_positives_in_one_part_has_no_mean_curve(predictions) -> None:
    labels, probabilities = predictions
    without = labels.copy()
    without[:, 2] = 0
    figure = plot_mean_precision_recall([(labels, probabilities), (without, probabilities)], GENRES, title="x")
    assert not any("sci-fi" in text for text in legend_of(figure))
