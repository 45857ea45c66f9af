"""What tests of several rooms share: quiet Ray and MLflow, and small synthetic trailers made once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_AUTH_MODE", "disabled")
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def trailers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The manifest of twelve synthetic trailers of about four seconds, with three splits."""
    from orchestrator.data.synth import synthesize

    return synthesize(tmp_path_factory.mktemp("trailers"), 12, seed=1, seconds=4.0)
