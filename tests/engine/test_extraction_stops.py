"""A pass that is stopped, by Ctrl-C or by a workspace that refuses, ends soon and keeps what was made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psutil
import pytest

from orchestrator import Workspace
from orchestrator.data.synth import synthesize
from orchestrator.engine import extraction
from orchestrator.engine.extraction import ExtractionCounts, ExtractionOptions, extract
from orchestrator.engine.pipeline import TrailerTask
from orchestrator.engine.session import Resources
from orchestrator.errors import StoreError
from orchestrator.specs import BackboneSpec, ClipSpec, EmbeddingSpec

PIXELS = {"pixels": EmbeddingSpec(ClipSpec("even", 2), BackboneSpec("frames", "random"))}


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> list[TrailerTask]:
    folder = tmp_path_factory.mktemp("trailers")
    synthesize(folder, 12, seed=1, seconds=1.0)
    return [TrailerTask(video.stem, str(video), ("pixels",)) for video in sorted(folder.glob("*.mp4"))]


class After:
    """A `Step` that does something when so many trailers are done."""

    def __init__(self, count: int, do: Any) -> None:
        self._left, self._do = count, do

    def advance(self, count: int = 1, info: str = "") -> None:
        self._left -= count
        if self._left == 0:
            self._do()

    def note(self, line: str) -> None:
        return


def run(tasks: list[TrailerTask], workspace: Workspace, resources: Resources, step: After) -> ExtractionCounts:
    return extract(tasks, PIXELS, workspace, "detector", resources, ExtractionOptions(), step)


def test_ctrl_c_keeps_what_was_made_and_ends_the_workers(
    tasks: list[TrailerTask], tmp_path: Path, resources: Resources
) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    workspace = Workspace(tmp_path / "w")
    with pytest.raises(KeyboardInterrupt):
        run(tasks, workspace, resources, After(3, interrupt))
    assert len(workspace.embeddings.digests("pixels")) == 3
    ours = [p for p in psutil.Process().children(recursive=True) if "MapWorker" in p.name()]
    assert psutil.wait_procs(ours, timeout=15)[1] == [], "nobody goes on with the pass"
    left = [task for task in tasks if task.mid not in workspace.embeddings.digests("pixels")]
    assert run(left, workspace, resources, After(0, None)).trailers_decoded == 9
    assert len(workspace.embeddings.digests("pixels")) == 12


def test_a_workspace_that_refuses_ends_the_pass_and_what_was_flushed_stays(
    tasks: list[TrailerTask], tmp_path: Path, resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extraction, "FLUSH_S", 0.0)  # every trailer is flushed by itself
    workspace = Workspace(tmp_path / "w")
    folder = workspace.local / "embeddings" / "pixels"

    def block() -> None:
        folder.rename(folder.with_name("kept"))
        folder.write_text("a file stands in the way")

    with pytest.raises(
        StoreError, match=r"embeddings/pixels.*: can't (list|write): a file stands where a folder is needed"
    ):
        run(tasks, workspace, resources, After(3, block))
    folder.unlink()
    folder.with_name("kept").rename(folder)
    assert len(workspace.embeddings.digests("pixels")) == 3
    assert workspace.failures.load() == []
