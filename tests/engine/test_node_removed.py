"""A Ray node that vanishes in the middle: what ran on it runs elsewhere, with the same numbers."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orchestrator import Workspace
from orchestrator.data.synth import synthesize
from orchestrator.engine.pipeline import TrailerTask
from orchestrator.engine.session import Resources
from orchestrator.engine.tuning import train
from orchestrator.specs import BackboneSpec, ClipSpec, EmbeddingSpec, GRUSpec

Scenario = Callable[..., dict[str, Any]]


@pytest.fixture
def scenario(tmp_path: Path) -> Iterator[Scenario]:
    """Runs a part of lose_a_node.py in a process and a Ray of its own."""
    ray_folder = tempfile.mkdtemp(prefix="ray", dir="/tmp")  # short, for sockets lie in it

    def run(what: str, *arguments: Any) -> dict[str, Any]:
        file = tmp_path / "arguments.pkl"
        file.write_bytes(pickle.dumps(arguments))
        script = Path(__file__).with_name("lose_a_node.py")
        environment = os.environ | {"RAY_TMPDIR": ray_folder, "RAY_BACKEND_LOG_LEVEL": "fatal"}
        command = [sys.executable, str(script), what, str(file)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = pickle.loads(file.read_bytes())
        return found

    yield run
    shutil.rmtree(ray_folder, ignore_errors=True)


def test_a_sweep_that_loses_a_node_ends_with_the_same_numbers(
    scenario: Scenario, prepared: Any, resources: Resources, tmp_path: Path
) -> None:
    jobs = [prepared.job(GRUSpec(units=8), clips=clips, epochs=60, splits=(0,)) for clips in (2, 3, 4)]
    elsewhere = Workspace(shutil.copytree(prepared.workspace.local, tmp_path / "w2"))
    train(jobs, prepared.data, prepared.workspace, resources, prepared, lambda job: None, lambda keys: None)
    expected = prepared.scores(jobs)
    found = scenario("train", jobs, prepared.data, elsewhere)
    assert len(found["lost"]) == 1, "the node was lost while two configs trained"
    assert sorted(found["ended"]) == sorted(job.key for job in jobs) and found["notes"] == []
    assert type(prepared)(elsewhere, prepared.data).scores(jobs) == expected


@pytest.mark.parametrize("layout", ["fused", "split"])
def test_a_pass_that_loses_a_node_embeds_every_trailer_once(scenario: Scenario, tmp_path: Path, layout: str) -> None:
    manifest = synthesize(tmp_path / "trailers", 12, seed=1, seconds=1.0)
    videos = sorted(manifest.parent.glob("*.mp4"))
    pixels = {"pixels": EmbeddingSpec(ClipSpec("even", 2), BackboneSpec("frames", "random"))}
    tasks = [TrailerTask(video.stem, str(video), ("pixels",)) for video in videos]
    workspace = Workspace(tmp_path / "w")
    found = scenario("extract", layout, tasks, pixels, workspace)
    assert found["lost"] == [1] and found["counts"].failures == [] and found["notes"] == []
    assert found["counts"].trailers_decoded == 12
    rows = [mid for part in workspace.embeddings._parts.index("pixels") for mid in part.mids]
    assert sorted(rows) == sorted(task.mid for task in tasks)
    assert np.isfinite(workspace.embeddings.load("pixels", [t.mid for t in tasks]).vectors).all()
