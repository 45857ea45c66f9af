from __future__ import annotations

import logging
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.errors import StoreError, TrailerError
from orchestrator.store import parts
from orchestrator.store.embeddings import ClipVectors, EmbeddingRow, EmbeddingStore
from orchestrator.store.files import FileTree

KEY = "5e70000000000000000a"


def row(mid: str, clips: int = 3, width: int = 8, digest: str = "d", seed: int = 0) -> EmbeddingRow:
    rng = np.random.default_rng([seed, *map(ord, mid + digest)])
    return EmbeddingRow(mid, digest, rng.standard_normal((clips, width)).astype(np.float32))


def assert_holds(loaded: ClipVectors, rows: Sequence[EmbeddingRow]) -> None:
    assert loaded.vectors.dtype == np.float32 and loaded.offsets.dtype == np.int64
    assert loaded.offsets.tolist() == [0, *np.cumsum([len(r.vectors) for r in rows])]
    for i, wanted in enumerate(rows):
        assert np.array_equal(loaded[i], wanted.vectors)


def test_vectors_come_back_exactly_and_in_the_order_asked_for(tree: FileTree) -> None:
    store = EmbeddingStore(tree)
    rows = [row(f"t{i}", clips=1 + i) for i in range(7)]
    store.write_part(KEY, rows[:3])
    store.write_part(KEY, rows[3:])
    wanted = [rows[i] for i in (6, 0, 3, 0)]
    loaded = EmbeddingStore(tree).load(KEY, [r.mid for r in wanted])
    assert_holds(loaded, wanted)
    assert (len(loaded), loaded.width) == (4, 8)


def test_what_was_written_last_is_last_also_when_the_clock_went_back(
    tree: FileTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, now = EmbeddingStore(tree), time.time_ns()
    changed, again = row("t1", digest="new"), row("t0", seed=1)
    store.write_part(KEY, [row("t0"), row("t1")])
    monkeypatch.setattr(parts, "_last_stamp", 0)  # as in a process that starts anew
    monkeypatch.setattr(parts.time, "time_ns", lambda: now - 3600 * 10**9)
    store.write_part(KEY, [changed, again])
    assert_holds(store.load(KEY, ["t0", "t1"]), [row("t0"), changed])
    assert_holds(store.load(KEY, ["t1"], {"t1": "d"}), [row("t1")])


@settings(deadline=None, max_examples=20)
@given(st.lists(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 40)), min_size=1, max_size=6), max_size=4))
def test_any_writing_order_gives_the_rows_back(tmp_path_factory: pytest.TempPathFactory, written: list) -> None:
    store = EmbeddingStore(FileTree(tmp_path_factory.mktemp("store")))
    expected: dict[str, EmbeddingRow] = {}
    for part in written:
        rows = [row(f"t{number}", clips, digest=str(clips)) for number, clips in part]
        store.write_part(KEY, rows)
        expected |= {r.mid: r for r in rows}
    assert {mid: len(d) for mid, d in store.digests(KEY).items()} == {
        mid: len({c for part in written for n, c in part if f"t{n}" == mid}) for mid in expected
    }
    mids = sorted(expected)
    assert_holds(store.load(KEY, mids, {m: expected[m].digest for m in mids}), [expected[m] for m in mids])


def test_rows_larger_than_a_row_group_are_read_back(disk: FileTree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "ROW_GROUP_BYTES", 1000)
    store = EmbeddingStore(disk)
    rows = [row(f"t{i}", clips=20 + 10 * i) for i in range(9)]
    store.write_part(KEY, rows)
    assert disk.local
    assert pq.ParquetFile(next(disk.local.glob("*/*.parquet"))).num_row_groups > 3
    assert_holds(store.load(KEY, ["t8", "t0", "t4"]), [rows[8], rows[0], rows[4]])


def test_a_changed_video_is_another_row(tree: FileTree) -> None:
    store = EmbeddingStore(tree)
    old, new = row("t1", clips=2, digest="old"), row("t1", clips=5, digest="new")
    store.write_part(KEY, [old])
    store.write_part(KEY, [new])
    assert store.digests(KEY) == {"t1": {"old", "new"}}
    assert store.clips(KEY) == {("t1", "old"): 2, ("t1", "new"): 5}
    assert_holds(store.load(KEY, ["t1"], {"t1": "old"}), [old])
    assert_holds(store.load(KEY, ["t1"], {"t1": "new"}), [new])
    assert_holds(store.load(KEY, ["t1"]), [new])


def test_writing_again_changes_nothing_that_is_read(tree: FileTree) -> None:
    store = EmbeddingStore(tree)
    first, again = row("t1", seed=1), row("t1", seed=2)
    store.write_part(KEY, [first])
    before = store.digests(KEY)
    store.write_part(KEY, [again])
    assert store.digests(KEY) == before
    assert_holds(store.load(KEY, ["t1"]), [first])


def test_missing_trailers_are_named(tree: FileTree) -> None:
    store = EmbeddingStore(tree)
    with pytest.raises(StoreError, match=rf"{KEY}: no vectors of 1 trailer: t1; make them with"):
        store.load(KEY, ["t1"])
    store.write_part(KEY, [row("t1")])
    with pytest.raises(StoreError, match="no vectors of 8 trailers: t2, t3, t4, t5, t6 and 3 more"):
        store.load(KEY, [f"t{i}" for i in range(1, 10)])
    with pytest.raises(StoreError, match="no vectors of 1 trailer: t1"):
        store.load(KEY, ["t1"], {"t1": "another digest"})
    with pytest.raises(StoreError, match="no vectors of 1 trailer: t1"):
        store.load(KEY, ["t1"], {})


def test_an_empty_store_is_no_error(tree: FileTree) -> None:
    store = EmbeddingStore(tree)
    assert store.write_part(KEY, []) is None
    assert store.digests(KEY) == {} and store.keys() == []
    assert len(store.load(KEY, [])) == 0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_vectors_that_are_not_finite_are_a_failure_of_the_trailer(bad: float) -> None:
    vectors = np.ones((4, 8), np.float32)
    vectors[1, 3] = vectors[2, 0] = bad
    with pytest.raises(TrailerError, match="2 of 4 clip vectors hold values that are not finite") as caught:
        EmbeddingRow("t1", "d", vectors)
    assert caught.value.stage == "embed"


def test_a_trailer_without_clips_is_a_failure_of_the_trailer() -> None:
    with pytest.raises(TrailerError, match="no clip"):
        EmbeddingRow("t1", "d", np.empty((0, 8), np.float32))


@pytest.mark.parametrize("vectors", [np.ones((3, 8)), np.ones(8, np.float32), np.ones((3, 0), np.float32)])
def test_vectors_of_another_form_are_refused(vectors: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"t1: vectors must be float32 or uint8 \(clips, width\)"):
        EmbeddingRow("t1", "d", vectors)


def test_another_width_is_refused_within_a_part_and_by_a_later_process(tree: FileTree) -> None:
    with pytest.raises(StoreError, match="this set are float32 and 8 wide, but those of trailer t2 are float32 and 9"):
        EmbeddingStore(tree).write_part(KEY, [row("t1"), row("t2", width=9)])
    EmbeddingStore(tree).write_part(KEY, [row("t1")])
    with pytest.raises(StoreError, match="this set are float32 and 8 wide, but those of trailer t2 are float32 and 9"):
        EmbeddingStore(tree).write_part(KEY, [row("t2", width=9)])
    assert EmbeddingStore(tree).digests(KEY) == {"t1": {"d"}}


def test_pixels_come_back_as_they_were_and_are_not_mixed_with_vectors(tree: FileTree) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 30), dtype=np.uint8)
    EmbeddingStore(tree).write_part(KEY, [EmbeddingRow("t1", "d", pixels), EmbeddingRow("t2", "d", pixels[:1] + 1)])
    loaded = EmbeddingStore(tree).load(KEY, ["t2", "t1"])
    assert loaded.vectors.dtype == np.uint8 and np.array_equal(loaded[1], pixels)
    assert np.array_equal(loaded[0], pixels[:1] + 1)
    with pytest.raises(StoreError, match="this set are uint8 and 30 wide, but those of trailer t3 are float32 and 30"):
        EmbeddingStore(tree).write_part(KEY, [EmbeddingRow("t3", "d", pixels.astype(np.float32))])


def damage_vectors(part: Path) -> None:
    """Changes one byte within the vectors, far from the columns that an index reads."""
    data = bytearray(part.read_bytes())
    data[len(data) // 2] ^= 1
    part.write_bytes(data)


def test_damaged_vectors_are_noticed_when_loaded_and_named(disk: FileTree, caplog: pytest.LogCaptureFixture) -> None:
    store = EmbeddingStore(disk)
    name = store.write_part(KEY, [row("t1", clips=100)])
    store.write_part(KEY, [row("t2")])
    assert disk.local
    damage_vectors(disk.local / KEY / str(name))
    with caplog.at_level(logging.WARNING), pytest.raises(StoreError, match="no vectors of 1 trailer: t1"):
        store.load(KEY, ["t1", "t2"])
    assert str(name) in caplog.text
    assert store.digests(KEY) == {"t2": {"d"}}, "what was lost is missing, so that it is made again"


def test_another_part_stands_in_for_a_damaged_one(disk: FileTree) -> None:
    store = EmbeddingStore(disk)
    kept = row("t1", clips=100)
    name = store.write_part(KEY, [kept])
    store.write_part(KEY, [kept])
    assert disk.local
    damage_vectors(disk.local / KEY / str(name))
    assert_holds(store.load(KEY, ["t1"]), [kept])


def test_a_store_travels_to_another_process(tree: FileTree) -> None:
    store = EmbeddingStore(tree)
    store.write_part(KEY, [row("t1")])
    assert_holds(pickle.loads(pickle.dumps(store)).load(KEY, ["t1"]), [row("t1")])


def test_many_writers_of_one_set_lose_nothing(tree: FileTree) -> None:
    def write(worker: int) -> None:
        store = EmbeddingStore(tree)
        for i in range(5):
            store.write_part(KEY, [row(f"t{worker}-{i}"), row("shared")])

    threads = [threading.Thread(target=write, args=(w,)) for w in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    mids = [f"t{w}-{i}" for w in range(6) for i in range(5)] + ["shared"]
    store = EmbeddingStore(tree)
    assert set(store.digests(KEY)) == set(mids)
    assert_holds(store.load(KEY, mids), [row(mid) for mid in mids])


def test_the_digests_of_12000_trailers_take_under_a_second(disk: FileTree) -> None:
    store = EmbeddingStore(disk)
    vectors = np.ones((2, 768), np.float32)
    for part in range(400):
        store.write_part(KEY, [EmbeddingRow(f"tt{part}-{i}", "0" * 32, vectors) for i in range(30)])
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        assert len(store.digests(KEY)) == 12_000
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 1.0


def test_loading_needs_little_memory_beside_the_result(disk: FileTree) -> None:
    store = EmbeddingStore(disk)
    vectors = np.ones((100, 768), np.float32)
    for part in range(4):
        store.write_part(KEY, [EmbeddingRow(f"t{part}-{i}", "d", vectors) for i in range(150)])
    script = """
import sys, pyarrow
from orchestrator.store.embeddings import EmbeddingStore
from orchestrator.store.files import FileTree
store = EmbeddingStore(FileTree(sys.argv[1]))
loaded = store.load(sys.argv[2], [f"t{p}-{i}" for p in range(4) for i in range(150)])
assert loaded.vectors.nbytes == 600 * 100 * 768 * 4 and loaded.vectors.min() == loaded.vectors.max() == 1
print(pyarrow.default_memory_pool().max_memory() >> 20, "torch" in sys.modules)
"""
    run = subprocess.run([sys.executable, "-c", script, disk.where(), KEY], capture_output=True, text=True, check=True)
    megabytes, torch_is_loaded = run.stdout.split()
    assert int(megabytes) < 90, "a result of 184 MB"
    assert torch_is_loaded == "False"
