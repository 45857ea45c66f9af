from __future__ import annotations

import numpy as np
import pytest

from orchestrator.reporting.curves import plot_precision_recall
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
