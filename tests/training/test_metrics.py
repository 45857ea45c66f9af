from __future__ import annotations

import time
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import auc, precision_recall_curve

from orchestrator.training.metrics import METRICS, chance, evaluate, pr_auc, precision_recall_points


def sklearn_area(y, p) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "No positive class found"
        precision, recall, _ = precision_recall_curve(y, p)
    return auc(recall, precision)


def sklearn_scores(labels, probabilities) -> dict[str, float]:
    """As the authors' code computes them, one curve at a time."""
    genres = [sklearn_area(y, p) for y, p in zip(labels.T, probabilities.T, strict=True)]
    return {
        "uAP": 100 * sklearn_area(labels.ravel(), probabilities.ravel()),
        "mAP": 100 * np.mean(genres),
        "wAP": 100 * np.average(genres, weights=labels.sum(0) / labels.sum()),
        "sAP": 100 * np.mean([sklearn_area(y, p) for y, p in zip(labels, probabilities, strict=True)]),
    }


def score_arrays(shape):
    """Scores of every degree of tie: from all equal to all different, float32 as the trainer gives them or float64."""
    grid = st.integers(1, 20).flatmap(
        lambda steps: hnp.arrays(np.int64, shape, elements=st.integers(0, steps)).map(lambda a: a / steps)
    )
    free = hnp.arrays(np.float32, shape, elements=st.floats(0, 1, width=32))
    return grid | free


def labels_and_scores(shapes):
    return shapes.flatmap(lambda s: st.tuples(hnp.arrays(np.uint8, s, elements=st.integers(0, 1)), score_arrays(s)))


@given(labels_and_scores(st.integers(1, 60)))
@settings(deadline=None, max_examples=300)
def test_an_area_and_its_curve_equal_sklearns(case):
    y, p = case
    assert pr_auc(y, p) == pytest.approx(sklearn_area(y, p), abs=1e-12)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        precision, recall, _ = precision_recall_curve(y, p)
    ours = precision_recall_points(y, p)
    np.testing.assert_allclose(ours[0], precision, atol=1e-15)
    np.testing.assert_allclose(ours[1], recall, atol=1e-15)


@pytest.mark.parametrize(
    ("y", "p", "area"),
    [
        ([1], [0.3], 1.0),
        ([0], [0.3], 0.5),  # sklearn: recall is 1 without positives
        ([0, 0, 0], [0.1, 0.2, 0.3], 0.5),
        ([1, 1, 1], [0.1, 0.2, 0.2], 1.0),
        ([1, 0, 0, 0], [0.5] * 4, (1 + 0.25) / 2),
        ([1, 0, 1, 0], [0.9, 0.1, 0.8, 0.2], 1.0),
        ([0, 1], [0.9, 0.1], 0.25),
    ],
)
def test_degenerate_input_has_sklearns_area(y, p, area):
    assert sklearn_area(y, p) == pytest.approx(area, abs=1e-15)
    assert pr_auc(y, p) == pytest.approx(area, abs=1e-15)


@given(labels_and_scores(st.tuples(st.integers(1, 20), st.integers(1, 8))))
@settings(deadline=None, max_examples=150)
def test_the_four_metrics_equal_sklearns_also_with_empty_genres_and_trailers(case):
    labels, probabilities = case
    genres = [f"g{i}" for i in range(labels.shape[1])]
    if not labels.any():
        with pytest.raises(ValueError, match="no label is positive"):
            evaluate(labels, probabilities, genres)
        return
    scores = evaluate(labels, probabilities, genres)
    for name, value in sklearn_scores(labels, probabilities).items():
        assert scores[name] == pytest.approx(value, abs=1e-9), name
    for i, genre in enumerate(genres):
        assert scores["AP"][genre] == pytest.approx(100 * sklearn_area(labels[:, i], probabilities[:, i]), abs=1e-9)


def test_a_perfect_predictor_scores_100_and_the_order_of_trailers_does_not_matter():
    rng = np.random.default_rng(0)
    labels = np.eye(4, dtype=np.uint8)[rng.integers(0, 4, 50)]
    scores = evaluate(labels, labels * 0.9, list("abcd"))
    assert [scores[m] for m in METRICS] == [100.0] * 4
    noisy = rng.random(labels.shape).astype(np.float32)
    shuffled = rng.permutation(50)
    once, again = evaluate(labels, noisy, list("abcd")), evaluate(labels[shuffled], noisy[shuffled], list("abcd"))
    assert all(once[m] == pytest.approx(again[m], abs=1e-9) for m in METRICS)


def test_values_that_are_not_numbers_are_refused_naming_the_row():
    labels = np.array([[1, 0], [0, 1], [1, 1]])
    probabilities = np.full((3, 2), 0.5)
    probabilities[2, 1] = np.nan
    with pytest.raises(ValueError, match="first is row 2"):
        evaluate(labels, probabilities, ["a", "b"])
    with pytest.raises(ValueError, match="not numbers"):
        pr_auc([0, 1], [0.5, np.inf])


@pytest.mark.parametrize(
    ("labels", "probabilities", "message"),
    [
        (np.ones((2, 2)), np.ones((2, 3)), "one shape"),
        (np.ones((0, 2)), np.ones((0, 2)), "not be empty"),
        (np.full((2, 2), 2), np.ones((2, 2)), "0 or 1"),
        (np.full((2, 2), 0.5), np.ones((2, 2)), "0 or 1"),
        (np.ones((2, 3)), np.ones((2, 3)), "2 genres are named but labels have 3 columns"),
    ],
)
def test_unusable_input_is_refused(labels, probabilities, message):
    with pytest.raises(ValueError, match=message):
        evaluate(labels, probabilities, ["a", "b"])


def test_chance_is_the_label_prevalence():
    labels = np.array([[1, 1, 0], [1, 0, 0], [1, 0, 1], [0, 0, 0]])
    scores = chance(labels, ["a", "b", "c"])
    assert scores["AP"] == {"a": 75.0, "b": 25.0, "c": 25.0}
    assert scores["uAP"] == pytest.approx(100 * 5 / 12)
    assert scores["mAP"] == pytest.approx((75 + 25 + 25) / 3)
    assert scores["wAP"] == pytest.approx((3 * 75 + 25 + 25) / 5)
    assert scores["sAP"] == pytest.approx(100 * (2 / 3 + 1 / 3 + 2 / 3 + 0) / 4)


def test_random_scores_over_many_labels_come_out_at_chance():
    rng = np.random.default_rng(0)
    labels = (rng.random((20_000, 3)) < [0.6, 0.2, 0.1]).astype(np.uint8)
    scores = evaluate(labels, rng.random(labels.shape), list("abc"))
    expected = chance(labels, list("abc"))
    for metric in ("uAP", "mAP", "wAP"):
        assert scores[metric] == pytest.approx(expected[metric], abs=1.0)
    # Three labels a curve: the end point at precision 1 lifts the mean over trailers well above the prevalence.
    assert scores["sAP"] > expected["sAP"] + 10


def test_2400_trailers_are_evaluated_in_under_a_fifth_of_a_second():
    rng = np.random.default_rng(0)
    labels = (rng.random((2400, 10)) < 0.25).astype(np.uint8)
    probabilities = rng.random(labels.shape).astype(np.float32)
    genres = [f"g{i}" for i in range(10)]
    seconds = []
    for _ in range(5):
        began = time.perf_counter()
        evaluate(labels, probabilities, genres)
        seconds.append(time.perf_counter() - began)
    assert min(seconds) < 0.2
