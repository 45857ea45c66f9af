from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from orchestrator.store.activity import Activity
from orchestrator.store.files import FileTree

TELL = "import sys; from orchestrator.store.activity import Activity; from orchestrator.store.files import FileTree; "


def test_what_runs_is_seen_until_it_ends(tmp_path: Path) -> None:
    mine, other = (Activity(FileTree(tmp_path), "sweep") for _ in range(2))
    assert other.read() is None
    mine.tell("training", ["b", "a"])
    seen = other.read()
    assert seen is not None and (seen["phase"], seen["configs"]) == ("training", ["a", "b"])
    mine.tell("reporting")
    assert (other.read() or {})["phase"] == "reporting"
    mine.end()
    assert other.read() is None


def test_a_driver_that_died_without_a_word_runs_no_more(tmp_path: Path) -> None:
    code = TELL + "Activity(FileTree(sys.argv[1]), 'sweep').tell('extracting')"
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    assert (tmp_path / "sweep" / "running.json").exists()
    assert Activity(FileTree(tmp_path), "sweep").read() is None


def test_the_driver_of_another_machine_is_dead_after_a_while(tmp_path: Path) -> None:
    path = tmp_path / "sweep" / "running.json"
    path.parent.mkdir()
    for at, alive in ((time.time(), True), (time.time() - 3600, False)):
        path.write_text(f'{{"phase": "training", "configs": [], "host": "elsewhere", "process": 1, "at": {at}}}')
        seen = Activity(FileTree(tmp_path), "sweep").read()
        assert (seen is not None) is alive
