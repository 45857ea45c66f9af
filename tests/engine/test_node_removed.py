"""A Ray node that vanishes in the middle: what ran on it runs elsewhere, with the same numbers."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from orchestrator import Workspace
from orchestrator.data.synth import synthesize
from orchestrator.engine.jobs import ConfigJob
from orchestrator.engine.pipeline import TrailerTask
from orchestrator.specs import BackboneSpec, ClipSpec, EmbeddingSpec, GRUSpec

TIMES = {"fused": [1], "split": [1], "often": [1, 3, 5]}
"""After how many trailers a pass loses a node."""


@dataclass(frozen=True)
class Lost:
    """What came of each scenario of lose_a_node.py, and what it was given."""

    prepared: Any
    jobs: list[ConfigJob]
    tasks: list[TrailerTask]
    workspaces: dict[str, Workspace]
    outcome: dict[str, Any]


@pytest.fixture(scope="module")
def lost(tmp_path_factory: pytest.TempPathFactory, prepare: Any) -> Lost:
    """All scenarios, one after the other, on one cluster in a process of its own."""
    folder = tmp_path_factory.mktemp("lost")
    prepared = prepare(folder / "w")
    long = {"epochs": 400, "stop_patience": 400, "splits": (0,)}  # so that both nodes are still at it
    jobs = [prepared.job(GRUSpec(units=8), clips=clips, **long) for clips in (2, 3)]
    manifest = synthesize(folder / "trailers", 12, seed=1, seconds=1.0)
    tasks = [TrailerTask(video.stem, str(video), ("pixels",)) for video in sorted(manifest.parent.glob("*.mp4"))]
    pixels = {"pixels": EmbeddingSpec(ClipSpec("even", 2), BackboneSpec("frames", "random"))}
    workspaces = {name: Workspace(folder / name) for name in TIMES}
    arguments: dict[str, Any] = {
        name: (times, "split" if name == "split" else "fused", tasks, pixels, workspaces[name])
        for name, times in TIMES.items()
    }
    arguments["train"] = (jobs, prepared.data, prepared.workspace)
    file = folder / "arguments.pkl"
    file.write_bytes(pickle.dumps(arguments))
    ray_folder = tempfile.mkdtemp(prefix="ray", dir="/tmp")  # short, for sockets lie in it
    environment = os.environ | {"RAY_TMPDIR": ray_folder, "RAY_BACKEND_LOG_LEVEL": "fatal"}
    # Left by the Ray of the other tests, which keeps to loopback; it would keep the nodes from one another.
    environment.pop("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", None)
    try:
        command = [sys.executable, str(Path(__file__).with_name("lose_a_node.py")), str(file)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    finally:
        shutil.rmtree(ray_folder, ignore_errors=True)
    assert done.returncode == 0, done.stderr
    return Lost(prepared, jobs, tasks, workspaces, pickle.loads(file.read_bytes()))


def test_a_sweep_that_loses_a_node_ends_with_the_same_numbers(lost: Lost) -> None:
    found = lost.outcome["train"]
    assert len(found["lost"]) == 1, "the node was lost while two configs trained"
    assert sorted(found["ended"]) == sorted(job.key for job in lost.jobs) and found["notes"] == []
    assert lost.prepared.scores(lost.jobs) == lost.prepared.expected(lost.jobs)


@pytest.mark.parametrize("name", TIMES)
def test_a_pass_that_loses_nodes_embeds_every_trailer_once(lost: Lost, name: str) -> None:
    found = lost.outcome[name]
    assert found["lost"] == TIMES[name] and found["counts"].failures == []
    assert len(found["notes"]) <= 2 * len(TIMES[name])
    assert all("died; what it had in hand is done again" in n for n in found["notes"])
    assert found["counts"].trailers_decoded == 12
    parts = sorted((lost.workspaces[name].local / "embeddings" / "pixels").glob("*.parquet"))
    rows = [mid for part in parts for mid in pq.read_table(part, columns=["mid"])["mid"].to_pylist()]
    assert sorted(rows) == sorted(task.mid for task in lost.tasks)
