from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.errors import StoreError
from orchestrator.store.files import FileTree
from orchestrator.store.guard import guard

COUNT = """
import sys
from pathlib import Path
from orchestrator.store.files import FileTree
from orchestrator.store.guard import guard

number = Path(sys.argv[1]) / "number"
for _ in range(200):
    with guard(FileTree(sys.argv[1]), "a/.lock", 60.0) as alone:
        assert alone
        number.write_text(str(int(number.read_text()) + 1))
"""


def test_what_is_guarded_is_done_by_one_process_at_a_time(tmp_path: Path) -> None:
    (tmp_path / "number").write_text("0")
    counters = [subprocess.Popen([sys.executable, "-c", COUNT, str(tmp_path)]) for _ in range(2)]
    assert [counter.wait() for counter in counters] == [0, 0]
    assert (tmp_path / "number").read_text() == "400"


def test_a_guard_that_another_keeps_is_an_error_and_free_afterwards(disk: FileTree) -> None:
    with (
        guard(disk, "a/.lock", 1.0),
        pytest.raises(StoreError, match=r"a/\.lock: another process has kept this lock for 0\.1 s"),
        guard(disk, "a/.lock", 0.1),
    ):
        pass
    with pytest.raises(ZeroDivisionError), guard(disk, "a/.lock", 0.1):
        1 / 0  # noqa: B018
    with guard(disk, "a/.lock", 0.1) as alone:
        assert alone
    assert disk.names("a") == []


def test_an_object_store_promises_nothing() -> None:
    with guard(FileTree("memory://bucket"), "a/.lock", 1.0) as alone:
        assert not alone


def test_a_place_that_cannot_be_written_is_explained(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    with pytest.raises(StoreError, match="a file stands where a folder is needed"), guard(FileTree(tmp_path), "a/x", 1):
        pass
