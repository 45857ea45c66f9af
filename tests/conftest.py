"""What tests of several rooms share: quiet Ray and MLflow, and small synthetic trailers made once."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_AUTH_MODE", "disabled")
os.environ.setdefault("OMP_NUM_THREADS", "1")

Divita = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def trailers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The manifest of twelve synthetic trailers of about four seconds, with three splits."""
    from orchestrator.data.synth import synthesize

    return synthesize(tmp_path_factory.mktemp("trailers"), 12, seed=1, seconds=4.0)


@pytest.fixture(autouse=True)
def own_opener(monkeypatch: pytest.MonkeyPatch) -> None:
    """urllib keeps the proxies of its first request for the life of the process, and so for other tests."""
    monkeypatch.setattr(urllib.request, "_opener", None)


@pytest.fixture(scope="session")
def divita() -> Divita:
    """Runs the command as a user does: `divita("run", …, cwd=folder)`."""

    def run(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "orchestrator.cli", *map(str, arguments)]
        return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=600)

    return run
