"""The study's metrics: areas under precision-recall curves, in pure numpy.

An area is the trapezoid rule over the points of sklearn's `precision_recall_curve` (`auc(recall, precision)`), not
`average_precision_score` (paper §6). It equals sklearn's also where no area is defined:

- No positive label: sklearn sets recall to 1 at every threshold, and the area from there to the curve's end point
  (recall 0, precision 1) is 0.5. A genre without positives in the evaluated set thus brings 50 into mAP (and, weighing
  nothing, nothing into wAP), a trailer without any genre 50 into sAP. Manifests are refused when a genre has no
  positive in a split's test part, so in test figures only trailers without any genre can bring it in.
- All scores equal: (1 + prevalence) / 2, since the curve is one line from (1, prevalence) to (0, 1). An uninformative
  predictor therefore has no fixed area; `chance` gives the prevalence itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import numpy as np
import numpy.typing as npt

METRICS = ("uAP", "mAP", "wAP", "sAP")

Array = npt.NDArray[np.float64]


class Scores(TypedDict):
    """The four metrics and the area of every genre, in percent."""

    uAP: float
    mAP: float
    wAP: float
    sAP: float
    AP: dict[str, float]


def pr_auc(y: npt.ArrayLike, p: npt.ArrayLike) -> float:
    """Area under the precision-recall curve, 0 to 1, of labels y (n,) of 0 and 1 and scores p (n,)."""
    labels, scores = _checked(np.atleast_1d(y)[None], np.atleast_1d(p)[None])
    return float(_areas(labels, scores)[0])


def precision_recall_points(y: npt.ArrayLike, p: npt.ArrayLike) -> tuple[Array, Array]:
    """The curve's points, precision and recall (distinct scores + 1,), in sklearn's order: recall falls to 0."""
    labels, scores = _checked(np.atleast_1d(y)[None], np.atleast_1d(p)[None])
    precision, recall, last = (a[0] for a in _curves(labels, scores))
    return np.append(precision[last][::-1], 1.0), np.append(recall[last][::-1], 0.0)


def evaluate(labels: npt.ArrayLike, probabilities: npt.ArrayLike, genres: Sequence[str]) -> Scores:
    """The four metrics and the per-genre areas, in percent.

    uAP pools all labels, mAP is the mean over genres, wAP weighs each genre by its positives in this set, sAP is the
    mean over trailers. `labels` is (n, g) of 0 and 1, `probabilities` (n, g).

    Raises ValueError when a probability is not a number, no label is positive, or the shapes differ.
    """
    y, p = _checked(np.asarray(labels), np.asarray(probabilities))
    positives = _positives(y, genres)
    by_genre = 100 * _areas(np.ascontiguousarray(y.T), np.ascontiguousarray(p.T))
    return {
        "uAP": float(100 * _areas(y.reshape(1, -1), p.reshape(1, -1))[0]),
        "mAP": float(by_genre.mean()),
        "wAP": float(np.average(by_genre, weights=positives)),
        "sAP": float(100 * _areas(y, p).mean()),
        "AP": dict(zip(genres, by_genre.tolist(), strict=True)),
    }


def chance(labels: npt.ArrayLike, genres: Sequence[str]) -> Scores:
    """The label prevalence in the place of each area, in percent: the row to which results are compared.

    Each precision-recall curve of a predictor that knows nothing lies about its prevalence, so uAP is the share of
    positive labels, mAP its mean over genres, wAP the same weighed by frequency, sAP the mean over trailers of the
    share of genres they have. With every genre labelled for every trailer uAP, mAP and sAP are one number. Over few
    labels, as in sAP with its ten a curve, the trapezoid of random scores lies above the prevalence: the curve ends at
    precision 1.
    """
    y = np.asarray(labels)
    y, _ = _checked(y, np.zeros(y.shape))
    positives = _positives(y, genres)
    by_genre = 100 * positives / len(y)
    return {
        "uAP": float(100 * y.mean()),
        "mAP": float(by_genre.mean()),
        "wAP": float(np.average(by_genre, weights=positives)),
        "sAP": float(100 * y.mean(axis=1).mean()),
        "AP": dict(zip(genres, by_genre.tolist(), strict=True)),
    }


def _areas(labels: npt.NDArray[np.bool_], scores: npt.NDArray[np.floating]) -> Array:
    """The area of every row: (m,) <- (m, n), (m, n)."""
    precision, recall, last = _curves(labels, scores)
    rows, n = scores.shape
    # Column 0 is the curve's fixed point (recall 0, precision 1); column k + 1 that of the k-th highest score.
    precision = np.concatenate([np.ones((rows, 1)), precision], axis=1)
    recall = np.concatenate([np.zeros((rows, 1)), recall], axis=1)
    # Only the last of equal scores is a point of the curve: from each position, the column of the point before it.
    columns = np.where(last, np.arange(1, n + 1), 0)
    before = np.zeros_like(columns)
    before[:, 1:] = np.maximum.accumulate(columns, axis=1)[:, :-1]
    width = recall[:, 1:] - np.take_along_axis(recall, before, axis=1)
    height = precision[:, 1:] + np.take_along_axis(precision, before, axis=1)
    areas: Array = np.where(last, width * height, 0.0).sum(axis=1) / 2
    return areas


def _curves(
    labels: npt.NDArray[np.bool_], scores: npt.NDArray[np.floating]
) -> tuple[Array, Array, npt.NDArray[np.bool_]]:
    """Precision and recall at every score of a row, highest first, and whether it is the last of its equals: (m, n)."""
    order = np.argsort(-scores, axis=1)
    scores = np.take_along_axis(scores, order, axis=1)
    hits = np.take_along_axis(labels, order, axis=1).cumsum(axis=1, dtype=np.float64)
    last = np.ones(scores.shape, bool)
    last[:, :-1] = scores[:, 1:] != scores[:, :-1]
    precision = hits / np.arange(1, scores.shape[1] + 1)
    total = hits[:, -1:]
    recall = np.where(total > 0, hits / np.maximum(total, 1), 1.0)
    return precision, recall, last


def _checked(
    labels: npt.NDArray[np.generic], scores: npt.NDArray[np.generic]
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.floating]]:
    """Labels (m, n) as booleans, scores (m, n) as floating point."""
    if labels.ndim != 2 or labels.shape != scores.shape or not labels.size:
        raise ValueError(f"labels and scores must have one shape and not be empty: got {labels.shape}, {scores.shape}")
    if not np.isin(labels, (0, 1)).all():
        raise ValueError("labels must be 0 or 1")
    y = labels.astype(bool)
    p = scores.astype(np.result_type(scores.dtype, np.float32), copy=False)
    if not np.isfinite(p).all():
        bad = np.flatnonzero(~np.isfinite(p).all(axis=1))
        raise ValueError(f"{bad.size} row(s) of scores hold values that are not numbers, the first is row {bad[0]}")
    return y, p


def _positives(labels: npt.NDArray[np.bool_], genres: Sequence[str]) -> Array:
    if labels.shape[1] != len(genres):
        raise ValueError(f"{len(genres)} genres are named but labels have {labels.shape[1]} columns")
    positives: Array = labels.sum(axis=0, dtype=np.float64)
    if not positives.any():
        raise ValueError("no label is positive, so there is no area to weigh")
    return positives
