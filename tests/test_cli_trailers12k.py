"""`divita trailers12k` as a command: help, errors that teach, exit codes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


def divita(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "orchestrator.cli", "trailers12k", *arguments]
    return subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, timeout=120, env=dict(os.environ) | environment
    )


def test_help_names_the_three_ways(tmp_path: Path) -> None:
    done = divita("--help", cwd=tmp_path)
    assert done.returncode == 0 and all(f"  {name} " in done.stdout for name in ("download", "import", "export"))


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["download", "here", "--files", "swin"], 2, "--files: 'swin' is not one of mtgc.csv, shufflenet_2d"),
        (["download", "here", "--files", "mtgc"], 1, "mtgc.csv: DIVITA_OFFLINE forbids downloads"),
        (["download", "here", "--files", ""], 2, "--files: names nothing; leave it out for all 7"),
        (["import", "here"], 2, "here/mtgc.csv: no such file"),
        (["export", "here", "-d", "m.csv", "--space", "none"], 2, "not one of the shipped search spaces"),
    ],
)
def test_what_goes_wrong_is_told_in_words(tmp_path: Path, arguments: list[str], code: int, message: str) -> None:
    done = divita(*arguments, cwd=tmp_path, DIVITA_OFFLINE="1")
    assert done.returncode == code, done.stderr
    assert message in done.stderr and "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
