"""One sweep in which everything goes wrong at once and that still ends with every number it can have.

While it extracts, the driver's clock jumps back an hour, a trailer's file is replaced, another is deleted and a worker
is killed. While it trains, MLflow's server is killed and comes back, and a worker is killed again.
One of its configs diverges to NaN, one needs more memory than there is.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
import pytest
from faults.command import Command
from faults.same_sweep import mlflow_runs, written_twice

from orchestrator import Workspace
from orchestrator.tracking.ui import free_port, ui_command
from orchestrator.video.files import video_digest

Divita = Callable[..., subprocess.CompletedProcess[str]]

SPACE = """
fixed:
  backbone: efficientnet_lite0_2d
  clip_strategy: seq-24
  clips_per_snippet: 4
  training: {epochs: 30, stop_patience: 30, learning_rate: 1e-3}
grid:
  - {aggregator: [gru, conv, mean]}
  - {aggregator: [transformer], training.epochs: [300], training.stop_patience: [300]}
  - {aggregator: [mean], training.learning_rate: [1e30]}
  - {aggregator: [{name: gru, units: 10000000}]}
"""
GOOD, SPLITS = 4, 3

HOUR = 3600

DRIVER = f"""
import os, runpy, threading, time, time_machine
def watch():
    while not os.path.exists("jump"):
        time.sleep(0.05)
    time_machine.travel(time.time() - {HOUR}, tick=True).start()
threading.Thread(target=watch, daemon=True).start()
runpy.run_module("orchestrator.cli", run_name="__main__")
"""
"""The command with a clock that jumps back an hour when a file named `jump` appears; monotonic time goes on."""

ORIGINAL = "syn000000"
"""Whose video takes the place of another."""


@dataclass
class Story:
    """What happened: exit code and words of the run, and what was done to it when."""

    folder: Path
    code: int = -1
    said: str = ""
    replaced: str = ""
    deleted: str = ""
    jumped: float = 0.0
    killed: list[int] = field(default_factory=list)

    @property
    def workspace(self) -> Workspace:
        return Workspace(self.folder / "workspace")


@contextmanager
def mlflow_server(database: str, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A server in a session of its own; what is left of it ends with the block."""
    command = ui_command(database, port)
    server = subprocess.Popen(
        command.arguments,
        env=os.environ | command.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield server
    finally:
        kill_session(server)


def kill_session(server: subprocess.Popen[bytes]) -> None:
    if server.poll() is None:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait(30)


def kill_one(command: Command, name: str, story: Story) -> None:
    found: list[psutil.Process] = []
    command.wait_for(lambda: found.extend(command.workers(name)) or found)
    story.killed.append(found[0].pid)
    found[0].kill()


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory, divita: Divita) -> Iterator[Story]:
    told = Story(tmp_path_factory.mktemp("wrong"))
    folder = told.folder
    (folder / "space.yaml").write_text(SPACE)
    assert divita("synth", "trailers", "--trailers", "16", "--seconds", "2", cwd=folder).returncode == 0
    with open(folder / "trailers" / "manifest.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    # Both are decoded late and train in every split, so that no test part loses its only trailer of a genre.
    told.replaced, told.deleted = [r["mid"] for r in rows if r["split0"] == r["split1"] == r["split2"] == "0"][-2:]
    video = {row["mid"]: folder / "trailers" / row["path"] for row in rows}
    port, database = free_port(5600), f"sqlite:///{folder / 'mlflow.db'}"
    run = ("run", "space.yaml", "-d", "trailers/manifest.csv", "--tracking-uri", f"http://127.0.0.1:{port}")
    with (
        mlflow_server(database, port) as server,
        Command(*run, cwd=folder, program=("-c", DRIVER)) as command,
    ):
        command.wait_for(lambda: command.workers("MapWorker"))
        told.jumped = time.time()
        (folder / "jump").touch()
        video[told.deleted].unlink()
        shutil.copy(video[ORIGINAL], folder / "aside.mp4")
        (folder / "aside.mp4").replace(video[told.replaced])
        kill_one(command, "MapWorker", told)
        command.wait_for(lambda: list(folder.glob("workspace/ledger/*.json")))
        kill_session(server)
        kill_one(command, "ConfigTrainable", told)
        with mlflow_server(database, port):
            told.code = command.wait()
            told.said = command.said
            yield told


def runs_in(folder: Path) -> dict[str, Any]:
    """As `mlflow_runs`, of a server's own database."""
    (folder / "view").mkdir(exist_ok=True)
    shutil.copy(folder / "mlflow.db", folder / "view" / "mlflow.db")
    return mlflow_runs(folder / "view")


def test_the_sweep_ends_by_itself_and_says_what_failed(story: Story) -> None:
    assert story.code == 1, story.said
    done, failed = GOOD * SPLITS, 2 * SPLITS
    assert f"{done} done, {failed} failed, 0 missing" in story.said, story.said
    assert len(story.killed) == 2


def test_what_the_user_reads_is_ours_and_short(story: Story) -> None:
    assert "Traceback" not in story.said and "raylet" not in story.said and "\x1b" not in story.said
    assert not [line for line in story.said.splitlines() if " ERROR " in line or " WARNING " in line]


def test_a_config_that_diverges_is_failed_and_named_and_has_no_number(story: Story) -> None:
    reasons = [r.reason or "" for r in story.workspace.ledger.failed().values()]
    assert sum("not finite" in reason or "nan" in reason.lower() for reason in reasons) == SPLITS, reasons
    with open(story.folder / "results" / "space" / "table.csv", newline="") as file:
        (row,) = [row for row in csv.DictReader(file) if row.get("training.learning_rate") == "1e+30"]
    assert row["incomplete"] == "1" and row["uAP.mean"] == ""


def test_a_config_that_needs_too_much_memory_fails_alone_with_advice(story: Story) -> None:
    reasons = [r.reason or "" for r in story.workspace.ledger.failed().values()]
    assert sum("out of memory; lower training.batch_size" in reason for reason in reasons) == SPLITS, reasons


def test_a_trailer_that_vanished_is_named_and_no_trial_uses_it(story: Story) -> None:
    assert [failure.mid for failure in story.workspace.failures.load()] == [story.deleted]
    assert f"  {story.deleted}: " in story.said
    ledger = story.workspace.ledger
    for key, record in ledger.read_many(ledger.keys()).items():
        assert record.n_train + record.n_val + record.n_test == 15
        assert story.deleted not in ledger.predictions(key)["mids"]


def test_a_trailer_that_was_replaced_is_embedded_as_what_it_is_now(story: Story) -> None:
    """Its row carries the digest of the bytes that were decoded, not of those that the plan had seen."""
    (key,) = story.workspace.embeddings.keys()
    now = video_digest(str(story.folder / "trailers" / f"{story.replaced}.mp4"))
    assert story.workspace.embeddings.digests(key)[story.replaced] == {now}
    both = story.workspace.embeddings.load(key, [story.replaced, ORIGINAL])
    assert (both[0] == both[1]).all(), "it is a copy of that trailer"


def test_a_killed_worker_costs_no_trailer_and_no_row_is_made_twice(story: Story) -> None:
    (key,) = story.workspace.embeddings.keys()
    assert len(story.workspace.embeddings.digests(key)) == 15
    assert written_twice(story.folder / "workspace") == []


def test_a_clock_that_goes_back_costs_nothing(story: Story) -> None:
    """The driver did see the jump: its parts and its notes are older, by their names, than the run itself."""
    back = story.jumped - HOUR / 2
    stamps = [int(part.name.split("-")[1]) / 1e9 for part in story.folder.glob("workspace/embeddings/*/part-*")]
    assert stamps and all(stamp < back for stamp in stamps)
    record = story.workspace.sweeps.load("space")
    assert datetime.fromisoformat(record.updated).timestamp() < back
    assert len(story.workspace.ledger.keys()) == GOOD * SPLITS


def test_without_the_lost_trailer_s_row_nothing_is_done_again_but_what_failed(story: Story, divita: Divita) -> None:
    before = story.workspace.ledger.keys()
    manifest = story.folder / "trailers" / "manifest.csv"
    lines = manifest.read_text().splitlines()
    manifest.write_text("\n".join(line for line in lines if not line.startswith(story.deleted)) + "\n")
    address = story.said.split("--tracking-uri ")[1].split()[0]
    again = divita("run", "space.yaml", "-d", "trailers/manifest.csv", "--tracking-uri", address, cwd=story.folder)
    assert again.returncode == 1 and "training: 2 configs" in again.stderr, again.stderr
    assert "could not be reached" not in again.stderr
    assert story.workspace.ledger.keys() == before


def test_a_server_that_was_away_holds_every_run_once(story: Story) -> None:
    """The view catches up while the sweep runs, or with the next command at the latest."""
    runs = runs_in(story.folder)
    assert all(len(copies) == 1 for copies in runs.values())
    states = sorted(copies[0]["status"] for copies in runs.values())
    assert states == ["FAILED"] * 2 * (1 + SPLITS) + ["FINISHED"] * GOOD * (1 + SPLITS)
    with sqlite3.connect(story.folder / "mlflow.db") as database:
        assert database.execute("select count(*) from experiments where name = 'space'").fetchone() == (1,)


def test_status_tells_it_all_from_files(story: Story, divita: Divita) -> None:
    told = json.loads(divita("status", "space", "--json", cwd=story.folder).stdout)
    assert (told["done"], len(told["failed"]), told["missing"]) == (GOOD * SPLITS, 2 * SPLITS, 0)
    assert told["activity"] is None
