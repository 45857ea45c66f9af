from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from orchestrator.store.embeddings import ClipVectors
from orchestrator.training.records import EpochRecord, SplitData

LABELS = np.array([[1, 0], [0, 1], [1, 1], [1, 0]])
STREAM = ClipVectors(np.zeros((6, 2), np.float32), np.array([0, 1, 3, 5, 6]))


def test_parts_come_from_a_split_column_and_other_values_are_left_out():
    data = SplitData.of([STREAM], LABELS, np.array([2, 0, 1, -1]), ["a", "b"])
    assert (data.train.tolist(), data.val.tolist(), data.test.tolist()) == ([1], [2], [0])
    assert data.genres == ("a", "b")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"parts": [0, 0, 2, 2]}, "the val part is empty"),
        ({"labels": np.array([[1, 0], [0, 1], [0, 0], [1, 0]])}, "the val part has no positive label"),
        ({"genres": ["a"]}, "labels have shape"),
        ({"streams": [ClipVectors(STREAM.vectors, STREAM.offsets[:-1])]}, "stream 0 has 3 trailers, the labels 4"),
        ({"streams": [ClipVectors(STREAM.vectors, np.array([0, 1, 1, 5, 6]))]}, "stream 0 has no clip"),
    ],
)
def test_data_that_does_not_fit_together_is_refused(change, message):
    good = {"streams": [STREAM], "labels": LABELS, "parts": [0, 0, 1, 2], "genres": ["a", "b"]}
    SplitData.of(**{**good, "parts": np.array(good["parts"])})
    with pytest.raises(ValueError, match=message):
        SplitData.of(**good | change)


def test_a_trailer_in_two_parts_is_refused():
    with pytest.raises(ValueError, match="at most once"):
        SplitData((STREAM,), LABELS, np.array([0, 1]), np.array([2]), np.array([1, 3]), ("a", "b"))
    with pytest.raises(ValueError, match="at most once"):
        SplitData((STREAM,), LABELS, np.array([0]), np.array([2]), np.array([4]), ("a", "b"))


def test_an_epoch_is_one_flat_row_of_the_history():
    record = EpochRecord(3, 0.5, 0.6, {"uAP": 70.0, "mAP": 60.0}, 1e-4, 1.5)
    assert record.flat() == {
        "epoch": 3,
        "train_loss": 0.5,
        "val_loss": 0.6,
        "val_uAP": 70.0,
        "val_mAP": 60.0,
        "learning_rate": 1e-4,
        "seconds": 1.5,
    }


def test_what_planning_and_reporting_import_loads_no_torch():
    code = (
        "import sys, orchestrator.training.check, orchestrator.training.records, orchestrator.training.metrics;"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
