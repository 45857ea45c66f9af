"""What goes into the training of a config on one split, and what comes out; no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from orchestrator.store.embeddings import ClipVectors

PARTS = ("train", "val", "test")
"""The parts of a split, by their number in the manifest's split columns."""


@dataclass(frozen=True, eq=False)
class SplitData:
    """Clip vectors, labels and the three parts of one split.

    `streams` have the trailers in one order, that of `labels` (n, g) of 0 and 1; `train`, `val` and `test` are rows of
    it. Raises ValueError where they don't fit together: a part is empty, has no positive label or shares trailers with
    another, a trailer of a part has no clip.
    """

    streams: tuple[ClipVectors, ...]
    labels: np.ndarray
    train: np.ndarray
    val: np.ndarray
    test: np.ndarray
    genres: tuple[str, ...]

    @classmethod
    def of(
        cls, streams: Sequence[ClipVectors], labels: np.ndarray, parts: np.ndarray, genres: Sequence[str]
    ) -> SplitData:
        """From a split column of the manifest: `parts` (n,) with 0 train, 1 validation, 2 test, other values unused."""
        train, val, test = (np.flatnonzero(np.asarray(parts) == i) for i in range(len(PARTS)))
        return cls(tuple(streams), labels, train, val, test, tuple(genres))

    def __post_init__(self) -> None:
        n = len(self.labels)
        if self.labels.shape != (n, len(self.genres)):
            raise ValueError(f"labels have shape {self.labels.shape}, which is not ({n}, {len(self.genres)} genres)")
        for i, stream in enumerate(self.streams):
            if len(stream) != n:
                raise ValueError(f"stream {i} has {len(stream)} trailers, the labels {n}")
        rows = np.concatenate([self.train, self.val, self.test])
        for name in PARTS:
            if not len(getattr(self, name)):
                raise ValueError(f"the {name} part is empty")
        if rows.min() < 0 or rows.max() >= n or len(np.unique(rows)) < len(rows):
            raise ValueError(f"parts must hold each of the {n} trailers at most once")
        for name in PARTS:
            # Without one no metric of the part is defined; better said before the first epoch than after it.
            if not self.labels[getattr(self, name)].any():
                raise ValueError(f"the {name} part has no positive label")
        for i, stream in enumerate(self.streams):
            if not (np.diff(stream.offsets)[rows] > 0).all():
                raise ValueError(f"stream {i} has no clip for some trailer of a part")


@dataclass(frozen=True)
class EpochRecord:
    """One epoch: mean losses, the four metrics of the validation part in percent, the learning rate it ran at."""

    epoch: int
    train_loss: float
    val_loss: float
    val_metrics: dict[str, float]
    learning_rate: float
    seconds: float

    def flat(self) -> dict[str, Any]:
        """As a row of a trial's history: epoch, train_loss, val_loss, val_uAP, …, learning_rate, seconds."""
        return {
            "epoch": self.epoch,
            "train_loss": self.train_loss,
            "val_loss": self.val_loss,
            **{f"val_{name}": value for name, value in self.val_metrics.items()},
            "learning_rate": self.learning_rate,
            "seconds": self.seconds,
        }


@dataclass(frozen=True, eq=False)
class TrialResult:
    """A config on one split, evaluated at its best validation loss; metrics in percent.

    `test_probabilities` float32 (n_test, g) are those of the trailers `test_rows` (n_test,), rows of the labels.
    """

    split: int
    history: list[dict[str, Any]]
    best_epoch: int
    validation: dict[str, float]
    test: dict[str, float]
    per_genre: dict[str, float]
    test_probabilities: np.ndarray
    test_rows: np.ndarray
    seconds: float
    parameters: int
    n_train: int
    n_val: int
    n_test: int
