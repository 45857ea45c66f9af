"""A pass that is stopped, by Ctrl-C, a workspace that refuses or dying workers, ends and keeps what was made."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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
from orchestrator.errors import DivitaError, StoreError, SweepBusy
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


def run(
    tasks: list[TrailerTask], workspace: Workspace, resources: Resources, step: After, **more: Any
) -> ExtractionCounts:
    return extract(tasks, PIXELS, workspace, "detector", resources, ExtractionOptions(), step, **more)


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


def test_a_driver_that_lost_the_sweep_ends_its_pass_and_stores_what_it_made(
    tasks: list[TrailerTask], tmp_path: Path, resources: Resources
) -> None:
    workspace, results = Workspace(tmp_path / "w"), list[int]()

    def check() -> None:
        results.append(1)
        if len(results) == 4:
            raise SweepBusy("another driver has it")

    with pytest.raises(SweepBusy, match="another driver has it"):
        run(tasks, workspace, resources, After(0, None), alive=check)
    assert len(workspace.embeddings.digests("pixels")) == 3


@contextmanager
def no_worker_lives() -> Iterator[None]:
    """Kills every worker that has a trailer in hand; Ray names a worker after what it does."""
    stop = threading.Event()

    def kill() -> None:
        while not stop.wait(0.01):
            for process in psutil.Process().children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    if "MapWorker(Map(_FusedStage)).submit" in " ".join(process.cmdline()):
                        process.kill()

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        yield
    finally:
        stop.set()
        killer.join()


def test_workers_that_vanish_before_a_trailer_is_finished_end_the_pass_and_no_trailer_is_blamed(
    tasks: list[TrailerTask], tmp_path: Path, resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extraction, "ROUNDS", 1)
    workspace = Workspace(tmp_path / "w")
    with no_worker_lives(), pytest.raises(DivitaError, match="vanished 1 times before a trailer was finished, 2 are"):
        run(tasks[:2], workspace, resources, After(0, None))
    assert workspace.failures.load() == []


def test_a_trailer_whose_worker_dies_again_and_again_fails_with_that_reason(
    tasks: list[TrailerTask], tmp_path: Path, resources: Resources
) -> None:
    workspace = Workspace(tmp_path / "w")
    with no_worker_lives():
        counts = run(tasks[:1], workspace, resources, After(0, None))
    (failure,) = counts.failures
    assert (failure.mid, failure.stage, failure.reason) == (tasks[0].mid, "embed", extraction.LOST)
    assert failure.digest is not None and workspace.failures.load() == [failure]
