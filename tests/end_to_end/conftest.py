from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Divita = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def divita() -> Divita:
    """Runs the command as a user does: `divita("run", …, cwd=folder)`."""

    def run(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "orchestrator.cli", *map(str, arguments)]
        return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=600)

    return run
