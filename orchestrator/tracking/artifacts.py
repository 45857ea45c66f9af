"""The files that lie with a trial's MLflow run."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from orchestrator.reporting.aggregate import Row
from orchestrator.reporting.curves import plot_precision_recall
from orchestrator.reporting.plots import render
from orchestrator.store.ledger import TrialRecord

CONFIG, PREDICTIONS, CURVES = "config.json", "predictions.csv", "precision_recall.png"


def write_config(record: TrialRecord, folder: Path) -> None:
    """`config.json`: the config as plain values, and the keys of its embedding sets."""
    content = {"config": record.config, "config_key": record.config_key, "embedding_keys": list(record.embedding_keys)}
    (folder / CONFIG).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def write_predictions(record: TrialRecord, row: Row, arrays: Mapping[str, np.ndarray], folder: Path) -> None:
    """`predictions.csv`, a line a test trailer, and `precision_recall.png`.

    `arrays` are those of the ledger: `mids` (n,), `labels` and `probabilities` (n, genres). Numbers are written so
    that they read back as the same float32.
    """
    labels, probabilities = np.asarray(arrays["labels"]), np.asarray(arrays["probabilities"])
    genres = [str(g) for g in arrays["genres"]] if "genres" in arrays else list(record.per_genre)
    if labels.shape != probabilities.shape or labels.shape != (len(arrays["mids"]), len(genres)):
        raise ValueError(
            f"predictions of trial {record.key}: labels {labels.shape} and probabilities {probabilities.shape} "
            f"are not ({len(arrays['mids'])} trailers, {len(genres)} genres)"
        )
    with (folder / PREDICTIONS).open("w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["mid", *(f"label.{g}" for g in genres), *(f"probability.{g}" for g in genres)])
        for mid, truth, scores in zip(arrays["mids"], labels, probabilities, strict=True):
            writer.writerow([mid, *(int(v) for v in truth), *(f"{v:.9g}" for v in scores)])
    notes = [
        text for mark, text in (("S", "SYNTHETIC TRAILERS"), ("R", "RANDOM BACKBONE WEIGHTS")) if mark in row.marks
    ]
    title = f"{row.label}, test part of split {record.split}"
    figure = plot_precision_recall(labels, probabilities, genres, title=title, notes=notes)
    (folder / CURVES).write_bytes(render(figure, "png", dpi=100))
