"""What a sweep says when its manifest is not the one of its last run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from orchestrator.data.changes import describe_changes, to_csv
from orchestrator.data.manifest import Manifest, load_manifest

MANIFEST = Manifest(
    source="m.csv",
    mids=("a", 'b,"x"', "c", "d"),
    paths=("/v/a.mp4", None, "s3://bucket/c.mp4", "/v/d.mp4"),
    genres=("action", "drama"),
    labels=np.array([[1, 0], [0, 1], [1, 1], [0, 1]], np.uint8),
    splits=np.array([[0], [0], [1], [2]], np.int8),
)


def test_the_kept_copy_is_read_back_as_the_same_manifest(tmp_path: Path) -> None:
    path = tmp_path / "sub" / "manifest.csv"
    path.parent.mkdir()
    path.write_bytes(to_csv(MANIFEST))
    again = load_manifest(path, check_files=False, need_splits=False, read_splits=False)
    assert (again.mids, again.paths, again.genres) == (MANIFEST.mids, MANIFEST.paths, MANIFEST.genres)
    assert again.labels.tolist() == MANIFEST.labels.tolist()


def test_a_manifest_that_only_moved_or_was_sorted_has_not_changed() -> None:
    moved = replace(MANIFEST, paths=("/w/a.mp4", *MANIFEST.paths[1:]), source="other.csv")
    assert describe_changes(MANIFEST, moved) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"labels": np.array([[1, 1], [0, 1], [0, 1], [0, 1]], np.uint8)},
            "labels of 2 trailers changed (a: +drama, c: -action)",
        ),
        ({"splits": np.array([[2], [0], [1], [2]], np.int8)}, "split 0: 1 trailer moved (a: train to test)"),
        ({"mids": ("a", "b", "c", "d")}, "1 trailer new (b)"),
        ({"genres": ("action", "horror")}, "the genres were action, drama"),
        ({"splits": np.zeros((4, 2), np.int8)}, "there were 1 splits and are 2"),
    ],
)
def test_each_change_is_named(change: dict[str, object], said: str) -> None:
    assert said in describe_changes(MANIFEST, replace(MANIFEST, **change))
