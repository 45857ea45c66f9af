"""Times `evaluate` beside sklearn, one curve at a time: python tests/benchmarks/bench_metrics.py [trailers]."""

from __future__ import annotations

import sys
import time

import numpy as np
from sklearn.metrics import auc, precision_recall_curve

from orchestrator.training.metrics import evaluate


def sklearn_areas(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Every curve that the four metrics need."""
    pooled = [(labels.ravel(), probabilities.ravel())]
    pairs = [*pooled, *zip(labels.T, probabilities.T, strict=True), *zip(labels, probabilities, strict=True)]
    total = 0.0
    for y, p in pairs:
        precision, recall, _ = precision_recall_curve(y, p)
        total += auc(recall, precision)
    return total


def fastest(call, repeats: int) -> float:
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def main(trailers: int = 2400, genres: int = 10) -> None:
    rng = np.random.default_rng(0)
    labels = (rng.random((trailers, genres)) < 0.25).astype(np.uint8)
    labels[np.arange(trailers), rng.integers(0, genres, trailers)] = 1
    probabilities = rng.random(labels.shape).astype(np.float32)
    names = [f"genre{i}" for i in range(genres)]
    ours = fastest(lambda: evaluate(labels, probabilities, names), 10)
    theirs = fastest(lambda: sklearn_areas(labels, probabilities), 2)
    print(f"{trailers} trailers x {genres} genres: evaluate {ours * 1e3:.1f} ms, sklearn {theirs * 1e3:.0f} ms")
    print(f"ratio {theirs / ours:.0f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
