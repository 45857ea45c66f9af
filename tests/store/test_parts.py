from __future__ import annotations

import logging
import random
import shutil
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orchestrator.errors import StoreError
from orchestrator.store import parts
from orchestrator.store.files import FileTree
from orchestrator.store.parts import PartTable

KEY = "0123456789abcdef0123"


def table_of(tree: FileTree, kind: str = "notes") -> PartTable:
    return PartTable(tree, kind, "length", {"text": pa.string()})


def rows(*mids: str, digest: str = "d") -> pa.Table:
    return pa.table(
        {"mid": list(mids), "digest": [digest] * len(mids), "length": [3] * len(mids), "text": ["abc"] * len(mids)}
    )


def truncate(at: float) -> Callable[[Path], None]:
    def damage(part: Path) -> None:
        data = part.read_bytes()
        part.write_bytes(data[: int(len(data) * at)])

    return damage


def flip(place: int) -> Callable[[Path], None]:
    def damage(part: Path) -> None:
        data = bytearray(part.read_bytes())
        data[place] ^= 0x55
        part.write_bytes(data)

    return damage


def other_columns(part: Path) -> None:
    facts = pq.read_schema(part).metadata
    pq.write_table(pa.table({"mid": ["t1"]}).replace_schema_metadata(facts), part)


def no_facts(part: Path) -> None:
    pq.write_table(pq.read_table(part).replace_schema_metadata(None), part)


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(truncate(0), id="empty"),
        pytest.param(truncate(0.01), id="first bytes only"),
        pytest.param(truncate(0.5), id="half"),
        pytest.param(truncate(0.99), id="last bytes gone"),
        pytest.param(lambda part: part.write_bytes(b"\0" * part.stat().st_size), id="zeros"),
        pytest.param(lambda part: part.write_text("not a table at all"), id="text"),
        pytest.param(flip(45), id="one byte of a page"),
        pytest.param(flip(-6), id="length of the footer"),
        pytest.param(other_columns, id="other columns"),
        pytest.param(no_facts, id="unknown origin"),
    ],
)
def test_a_torn_part_is_set_aside_with_a_warning_and_its_rows_are_missing(
    disk: FileTree, caplog: pytest.LogCaptureFixture, damage: Callable[[Path], None]
) -> None:
    table = table_of(disk)
    torn = table.write(KEY, rows("t1", "t2"))
    whole = table.write(KEY, rows("t3"))
    assert disk.local
    damage(disk.local / KEY / torn)
    with caplog.at_level(logging.WARNING):
        assert table.digests(KEY) == {"t3": {"d"}}
    assert disk.where(f"{KEY}/{torn}") in caplog.text
    assert disk.names(KEY) == [f"{torn}.torn", whole]
    caplog.clear()
    assert table.digests(KEY) == {"t3": {"d"}}
    assert not caplog.records, "a part that was set aside is not warned about again"


def test_a_part_of_another_key_or_kind_is_not_taken(disk: FileTree) -> None:
    table = table_of(disk)
    name = table.write(KEY, rows("t1"))
    assert disk.local
    (disk.local / "other").mkdir()
    shutil.copy(disk.local / KEY / name, disk.local / "other" / name)
    assert table.digests("other") == {}
    assert table_of(disk, kind="letters").digests(KEY) == {}


def test_parts_of_a_newer_layout_are_refused_and_left_alone(disk: FileTree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "FORMAT", "2")
    name = table_of(disk).write(KEY, rows("t1"))
    monkeypatch.undo()
    with pytest.raises(StoreError, match="its parts have format 2, but this version reads 1"):
        table_of(disk).digests(KEY)
    assert disk.names(KEY) == [name]


def test_a_torn_part_that_cannot_be_renamed_is_left_out(
    shared_folder: Path, stranger: Callable[[], AbstractContextManager[None]], caplog: pytest.LogCaptureFixture
) -> None:
    table = table_of(FileTree(shared_folder))
    torn = shared_folder / KEY / table.write(KEY, rows("t1"))
    table.write(KEY, rows("t2"))
    truncate(0.5)(torn)
    torn.parent.chmod(0o555)
    with stranger():
        assert table.digests(KEY) == {"t2": {"d"}}
    assert torn.name in caplog.text and "it can't be renamed and is left out" in caplog.text
    assert torn.exists()


def test_a_part_that_may_not_be_read_is_not_called_torn(
    shared_folder: Path, stranger: Callable[[], AbstractContextManager[None]]
) -> None:
    table = table_of(FileTree(shared_folder))
    part = shared_folder / KEY / table.write(KEY, rows("t1"))
    part.chmod(0)
    with stranger(), pytest.raises(StoreError, match=r"part-.*: can't read: permission denied"):
        table.digests(KEY)
    assert part.exists()


def test_a_read_that_fails_on_the_way_does_not_condemn_the_part(tree: FileTree) -> None:
    table = table_of(tree)
    name = table.write(KEY, rows("t1"))
    refusals = [OSError("connection reset by peer")]

    def read(part: pq.ParquetFile) -> int:
        if refusals:
            raise refusals.pop()
        return part.metadata.num_rows

    assert table.read(KEY, name, read) == 1
    assert table.names(KEY) == [name]


def test_leftovers_of_a_killed_writer_are_not_parts(disk: FileTree) -> None:
    table = table_of(disk)
    name = table.write(KEY, rows("t1"))
    assert disk.local
    whole = (disk.local / KEY / name).read_bytes()
    (disk.local / KEY / f".{name}.12-ab.tmp").write_bytes(whole[:50])
    (disk.local / KEY / "notes.txt").write_text("mine")
    assert table.names(KEY) == [name]
    assert table.digests(KEY) == {"t1": {"d"}}


def test_names_sort_by_time_and_differ_between_writers_of_one_seed(
    disk: FileTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = table_of(disk)
    names = []
    for clock in (2_000, 2_000, 1_000):  # the clock stands still, then goes back
        monkeypatch.setattr(parts.time, "time_ns", lambda clock=clock: clock)
        names.append(table.write(KEY, rows("t1")))
    assert names == sorted(set(names)) == table.names(KEY)

    def name_in_a_fresh_process() -> str:
        random.seed(0)
        np.random.seed(0)
        monkeypatch.setattr(parts, "_last_stamp", 0)
        return table.write(KEY, rows("t1"))

    assert name_in_a_fresh_process() != name_in_a_fresh_process()


def test_parts_of_a_process_whose_clock_is_behind_are_read_and_sort_last(tree: FileTree) -> None:
    """Also what a clock does to a sweep that is resumed after it was set back."""
    table = table_of(tree)
    names = [table.write(KEY, rows("t1"))]
    for i in range(2):
        names.append(in_a_fresh_process(tree, rows("t1", digest=f"new{i}"), behind_s=3600))
    assert table.names(KEY) == names
    assert [part.digests for part in table.index(KEY)] == [["d"], ["new0"], ["new1"]]


def in_a_fresh_process(tree: FileTree, table: pa.Table, behind_s: int) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "_last_stamp", 0)
        now = time.time_ns()
        patch.setattr(parts.time, "time_ns", lambda: now - behind_s * 10**9)
        return table_of(tree).write(KEY, table)


def test_digests_tell_which_videos_a_trailer_was_read_from(tree: FileTree) -> None:
    table = table_of(tree)
    assert table.digests(KEY) == {}
    table.write(KEY, rows("t1", "t2", digest="old"))
    table.write(KEY, rows("t1", digest="new"))
    table.write(KEY, rows("t1", digest="new"))
    assert table.digests(KEY) == {"t1": {"old", "new"}, "t2": {"old"}}
    assert table.keys() == [KEY]


def test_a_key_stands_beside_what_it_means(tree: FileTree) -> None:
    table = table_of(tree)
    assert table.spec(KEY) is None
    table.write_spec(KEY, {"clip": {"strategy": "shot", "frames": 24}})
    table.write_spec(KEY, {"clip": {"strategy": "shot", "frames": 24}})
    assert table.spec(KEY) == {"clip": {"strategy": "shot", "frames": 24}}
    assert tree.names(KEY) == ["spec.json"]
    assert table.names(KEY) == []


@pytest.mark.parametrize("key", ["", ".", "..", "a/b", "../x", ".hidden"])
def test_a_key_cannot_leave_its_folder(tree: FileTree, key: str) -> None:
    with pytest.raises(ValueError, match="key: "):
        table_of(tree).write(key, rows("t1"))
    with pytest.raises(ValueError, match="key: "):
        table_of(tree).digests(key)
