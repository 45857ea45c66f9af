from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.store.failures import Failure, FailureTable
from orchestrator.store.files import FileTree

BROKEN = Failure("t1", "d1", "decode", "the file ends after 3.2 of 120.0 s", ("A", "B"), "/videos/t1.mp4")
GONE = Failure("t2", None, "read", "no such file", ("A",), "/videos/t2.mp4")


def test_failures_come_back_sorted_by_trailer(tree: FileTree) -> None:
    assert FailureTable(tree).load() == []
    FailureTable(tree).record([GONE, BROKEN])
    assert FailureTable(tree).load() == [BROKEN, GONE]


def test_a_failure_counts_for_its_sets_and_for_the_file_as_it_is(tree: FileTree) -> None:
    table = FailureTable(tree)
    table.record([BROKEN, GONE])
    assert table.failed("A", {"t1": "d1", "t2": None, "t3": "d3"}) == {"t1": BROKEN, "t2": GONE}
    assert table.failed("B", {"t1": "d1", "t2": None}) == {"t1": BROKEN}
    assert table.failed("C", {"t1": "d1", "t2": None}) == {}
    assert table.failed("A", {"t1": "a new file", "t2": "it came back"}) == {}
    assert table.failed("A", {"t2": None}) == {"t2": GONE}, "trailers that were not asked about are left out"


def test_failing_again_unites_the_sets_and_keeps_the_last_reason(tree: FileTree) -> None:
    table = FailureTable(tree)
    table.record([BROKEN])
    table.record([replace(BROKEN, reason="it hung for 60 s", sets=("B", "C"))])
    assert table.load() == [replace(BROKEN, reason="it hung for 60 s", sets=("A", "B", "C"))]
    table.record([replace(BROKEN, stage="embed", sets=("D",)), replace(BROKEN, digest="d2")])
    assert len(table.load()) == 3


def test_what_is_forgotten_is_tried_again(tree: FileTree) -> None:
    table = FailureTable(tree)
    table.record([BROKEN, GONE])
    table.forget(["t1"], sets=["A"])
    assert table.load() == [replace(BROKEN, sets=("B",)), GONE]
    table.forget(["t1", "t9"], sets=["B"])
    assert table.load() == [GONE]
    table.forget(["t2"])
    assert table.load() == []


def test_a_failure_without_sets_is_kept_until_it_is_forgotten(tree: FileTree) -> None:
    table = FailureTable(tree)
    table.record([replace(BROKEN, sets=())])
    table.forget(["t2"])
    assert table.load() == [replace(BROKEN, sets=())]


def test_a_torn_table_is_empty_with_a_warning(tree: FileTree, caplog: pytest.LogCaptureFixture) -> None:
    table = FailureTable(tree)
    for torn in (b'{"failures": [', b'{"failures": [{"mid": "t1"}]}', b'["t1"]', b"{}"):
        tree.write_bytes("failures.json", torn)
        caplog.clear()
        assert table.load() == []
        assert "failures.json" in caplog.text
    table.record([BROKEN])
    assert table.load() == [BROKEN]


def test_an_unknown_stage_is_refused() -> None:
    with pytest.raises(ValueError, match="stage: 'upload' is not one of read, decode, shots, clips, embed"):
        replace(BROKEN, stage="upload")


RECORD = """
import sys
from pathlib import Path
from orchestrator.store.failures import Failure, FailureTable
from orchestrator.store.files import FileTree

(Path(sys.argv[1]) / f"{sys.argv[2]}.ready").touch()
while len([*Path(sys.argv[1]).glob("*.ready")]) < 2:
    pass
for i in range(100):
    table, mid = FailureTable(FileTree(sys.argv[1])), f"{sys.argv[2]}{i}"
    table.record([Failure(mid, None, "read", "no such file", ("A",)), Failure(f"{mid}-gone", None, "read", "x", ())])
    table.forget([f"{mid}-gone"])
"""


def test_two_sweeps_in_one_workspace_lose_no_rows(tmp_path: Path) -> None:
    writers = [subprocess.Popen([sys.executable, "-c", RECORD, str(tmp_path), who]) for who in "ab"]
    assert [writer.wait() for writer in writers] == [0, 0]
    assert {f.mid for f in FailureTable(FileTree(tmp_path)).load()} == {f"{who}{i}" for who in "ab" for i in range(100)}


def test_forgetting_nothing_writes_nothing(disk: FileTree) -> None:
    FailureTable(disk).forget(["t1"])
    assert disk.local is not None and not disk.local.exists()
