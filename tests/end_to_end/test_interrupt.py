"""Ctrl-C in the middle of training: the sweep ends soon, what was done is kept, nothing else is begun."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

Divita = Callable[..., subprocess.CompletedProcess[str]]

SPACE = """
fixed: {backbone: efficientnet_lite0_2d, clip_strategy: even-4, clips_per_snippet: 4}
grid:
  - {aggregator: [mean], training.epochs: [2]}
  - {aggregator: [fastvideo], training.epochs: [100000], training.stop_patience: [100000]}
  - backbone: [frames]
    weights: [random]
    aggregator: [{name: timesformer, layers: 1, width: 8, heads: 2, patch: 56}]
    training.epochs: [1]
splits: [0]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, divita: Divita) -> Path:
    made = tmp_path_factory.mktemp("interrupt")
    (made / "space.yaml").write_text(SPACE)
    assert divita("synth", "trailers", "--trailers", "12", "--seconds", "1", cwd=made).returncode == 0
    return made


def test_ctrl_c_ends_the_sweep_with_what_was_done_and_starts_nothing_else(folder: Path, divita: Divita) -> None:
    command = [sys.executable, "-m", "orchestrator.cli", "run", "space.yaml", "-d", "trailers/manifest.csv"]
    with open(folder / "log.txt", "w") as log:
        running = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, start_new_session=True)
        try:
            deadline = time.monotonic() + 180
            while not list((folder / "workspace" / "ledger").glob("*.json")):
                assert running.poll() is None, (folder / "log.txt").read_text()
                assert time.monotonic() < deadline, (folder / "log.txt").read_text()
                time.sleep(0.2)
            os.killpg(running.pid, signal.SIGINT)  # as a terminal does
            assert running.wait(60) == 130, (folder / "log.txt").read_text()
        finally:
            if running.poll() is None:
                os.killpg(running.pid, signal.SIGKILL)
    assert "divita: stopped; the same command goes on where this one was" in (folder / "log.txt").read_text()
    status = divita("status", "space", cwd=folder).stdout
    assert "space: 1 of 3 trials done" in status and "2 missing" in status, "the end-to-end head was never begun"
