from __future__ import annotations

import numpy as np
import pytest

from orchestrator.store.files import FileTree
from orchestrator.store.shots import ShotRow, ShotStore

KEY = "de7ec70400000000000a"


def shots(*pairs: tuple[int, int]) -> np.ndarray:
    return np.array(pairs, np.int32).reshape(-1, 2)


def test_shots_come_back_by_trailer_and_digest(tree: FileTree) -> None:
    store = ShotStore(tree)
    rows = [
        ShotRow("t1", "old", 100, shots((0, 40), (43, 100))),
        ShotRow("t1", "new", 90, shots((2, 90))),
        ShotRow("t2", "d", 50, shots()),
    ]
    store.write_part(KEY, rows[:1])
    store.write_part(KEY, rows[1:])
    found = ShotStore(tree).read(KEY)
    assert set(found) == {("t1", "old"), ("t1", "new"), ("t2", "d")}
    for row in rows:
        back = found[row.mid, row.digest]
        assert back.n_frames == row.n_frames
        assert back.shots.dtype == np.int32 and np.array_equal(back.shots, row.shots)
    assert store.digests(KEY) == {"t1": {"old", "new"}, "t2": {"d"}}
    assert store.keys() == [KEY]


def test_of_equal_rows_the_oldest_is_read(tree: FileTree) -> None:
    store = ShotStore(tree)
    store.write_part(KEY, [ShotRow("t1", "d", 100, shots((0, 50)))])
    store.write_part(KEY, [ShotRow("t1", "d", 100, shots((0, 60)))])
    assert store.read(KEY)["t1", "d"].shots.tolist() == [[0, 50]]


def test_a_torn_part_is_missing(disk: FileTree, caplog: pytest.LogCaptureFixture) -> None:
    store = ShotStore(disk)
    torn = store.write_part(KEY, [ShotRow("t1", "d", 100, shots((0, 50)))])
    store.write_part(KEY, [ShotRow("t2", "d", 100, shots((0, 50)))])
    disk.write_bytes(f"{KEY}/{torn}", disk.read_bytes(f"{KEY}/{torn}")[:-9])
    assert set(store.read(KEY)) == {("t2", "d")}
    assert str(torn) in caplog.text


def test_no_shots_at_all_are_no_error(tree: FileTree) -> None:
    store = ShotStore(tree)
    assert store.write_part(KEY, []) is None
    assert store.read(KEY) == {} and store.digests(KEY) == {} and store.spec(KEY) is None
    store.write_spec(KEY, {"threshold": 0.5})
    assert store.spec(KEY) == {"threshold": 0.5}


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (shots((0, 50), (49, 60)), "in order and not overlap"),
        (shots((60, 70), (0, 50)), "in order and not overlap"),
        (shots((5, 5)), "in order and not overlap"),
        (shots((-1, 5)), "in order and not overlap"),
        (shots((0, 101)), "the last shot ends at 101, after frame 100"),
        (np.zeros((2, 3), np.int32), r"int32 \(S, 2\)"),
        (np.zeros((0, 2), np.int64), r"int32 \(S, 2\)"),
    ],
)
def test_shots_that_cannot_be_are_refused(bad: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ShotRow("t1", "d", 100, bad)
