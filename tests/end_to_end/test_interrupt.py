"""Ctrl-C and SIGTERM, once and twice, while a sweep extracts and while it trains; and a second driver meanwhile.

One sweep is stopped again and again: it ends soon, leaves no process behind, keeps what was done and begins nothing.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from faults.command import Command

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
RUN = ("run", "space.yaml", "-d", "trailers/manifest.csv")

ORDERLY_S = 20.0
"""Seconds that the end in order may take."""

STOPPED = "divita: stopped; the same command, or `divita resume`, goes on where this one was"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, divita: Divita) -> Path:
    made = tmp_path_factory.mktemp("interrupt")
    (made / "space.yaml").write_text(SPACE)
    assert divita("synth", "trailers", "--trailers", "12", "--seconds", "1", cwd=made).returncode == 0
    return made


def send(command: Command, number: int) -> None:
    """To the whole group, as a terminal does."""
    os.killpg(command.process.pid, number)


def lock(folder: Path) -> Path:
    return folder / "workspace" / "sweeps" / "space" / "driver.json"


def test_a_second_driver_is_refused_and_ctrl_c_ends_an_extraction_in_order(folder: Path) -> None:
    with Command(*RUN, cwd=folder) as command:
        command.wait_for(lambda: command.workers("MapWorker"))
        holder = json.loads(lock(folder).read_text())["holder"]
        assert holder["process"] == command.process.pid
        with Command(*RUN, cwd=folder) as second:
            assert second.wait(60) == 2
        (refusal,) = second.said.splitlines()
        assert f"process {command.process.pid} on {holder['host']} works on it since" in refusal
        send(command, signal.SIGINT)
        assert command.wait(ORDERLY_S) == 130
        assert STOPPED in command.said and "Traceback" not in command.said
        assert command.left_behind() == []
    assert not lock(folder).exists()


def test_a_second_signal_ends_an_extraction_at_once(folder: Path) -> None:
    with Command(*RUN, cwd=folder) as command:
        command.wait_for(lambda: command.workers("MapWorker"))
        send(command, signal.SIGTERM)
        command.wait_for(lambda: "once more stops at once" in command.said)
        send(command, signal.SIGTERM)
        assert command.wait(ORDERLY_S) == 143
        assert "Traceback" not in command.said
        assert command.left_behind() == []
    assert lock(folder).exists(), "it had no time to give the lock back"


def test_ctrl_c_ends_the_training_with_what_was_done_and_starts_nothing_else(folder: Path, divita: Divita) -> None:
    with Command(*RUN, cwd=folder) as command:
        command.wait_for(lambda: list((folder / "workspace" / "ledger").glob("*.json")))
        assert re.search(r"space: process \d+ on .+ ended without a word; this run goes on where it was", command.said)
        send(command, signal.SIGINT)
        assert command.wait(ORDERLY_S) == 130
        assert STOPPED in command.said and "Traceback" not in command.said
        assert command.left_behind() == []
    status = divita("status", "space", cwd=folder).stdout
    assert "space: 1 of 3 trials done" in status and "2 missing" in status, "the end-to-end head was never begun"


def test_sigterm_ends_the_training_in_order_too(folder: Path) -> None:
    with Command(*RUN, cwd=folder) as command:
        command.wait_for(lambda: command.workers("Trainable.train"))
        assert "without a word" not in command.said and "extracting" not in command.said
        send(command, signal.SIGTERM)
        assert command.wait(ORDERLY_S) == 143
        assert STOPPED in command.said and "Traceback" not in command.said
        assert command.left_behind() == []
    assert not lock(folder).exists()
