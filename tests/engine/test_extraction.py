"""The extraction pass on a real Ray with real video files; random weights, so that nothing is downloaded."""

from __future__ import annotations

import shutil
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pytest

from orchestrator import RunOptions, Workspace, extract_sweep
from orchestrator.data.synth import synthesize
from orchestrator.engine.extraction import ExtractionCounts
from orchestrator.errors import InputError, TooManyFailures

pytestmark = pytest.mark.usefixtures("resources")

SEQ = "fixed: {backbone: shufflenet_2d, weights: random, clip_strategy: seq-24}\n"
BOTH = """
fixed: {backbone: shufflenet_2d, weights: random}
grid: {clip_strategy: [seq-24, shot-24], frame_rate: [24, 12]}
"""


@dataclass(frozen=True)
class Done:
    """Trailers and a workspace that tests only read, and what the pass that filled it counted."""

    manifest: Path
    workspace: Path
    counts: ExtractionCounts

    def copy(self, folder: Path) -> tuple[Path, Path]:
        """The manifest and the workspace once more, for a test that adds to them or spoils the videos."""
        shutil.copytree(self.manifest.parent, folder / "few")
        shutil.copytree(self.workspace, folder / "w")
        return folder / "few" / "manifest.csv", folder / "w"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest of three trailers of two seconds: enough for two clips and more than one shot."""
    folder = tmp_path_factory.mktemp("source")
    lines = synthesize(folder / "all", 12, seed=1, seconds=2.0).read_text().splitlines()
    (folder / "few").mkdir()
    for line in lines[1:4]:
        name = line.split(",")[1]
        shutil.copy(folder / "all" / name, folder / "few" / name)
    (folder / "few" / "manifest.csv").write_text("\n".join(lines[:4]) + "\n")
    return folder / "few" / "manifest.csv"


@pytest.fixture
def few(source: Path, tmp_path: Path) -> Path:
    """A copy of those trailers, so that a test may spoil them."""
    shutil.copytree(source.parent, tmp_path / "few")
    return tmp_path / "few" / "manifest.csv"


@pytest.fixture(scope="module")
def beside(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Done:
    """Four sets made in one fused pass."""
    folder = tmp_path_factory.mktemp("beside")
    options = RunOptions(layout="fused")
    counts = extract_sweep(space(folder, BOTH), source, workspace=folder / "w", options=options)
    return Done(source, folder / "w", counts)


@pytest.fixture(scope="module")
def alone(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Done:
    """One of those sets, made alone, in the other layout, for a sweep of one split."""
    folder = tmp_path_factory.mktemp("alone")
    options = RunOptions(layout="split")
    counts = extract_sweep(space(folder, SEQ + "splits: [1]\n"), source, workspace=folder / "w", options=options)
    return Done(source, folder / "w", counts)


def space(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "space.yaml"
    path.write_text(text)
    return path


def vectors(workspace: Path, manifest: Path) -> dict[str, np.ndarray]:
    opened, found = Workspace(workspace), {}
    mids = [line.split(",")[0] for line in manifest.read_text().splitlines()[1:]]
    for key in opened.embeddings.keys():  # noqa: SIM118  a method of the store, not of a mapping
        loaded = opened.embeddings.load(key, mids)
        found[key] = loaded.vectors
    return found


def test_one_pass_fills_every_set_and_a_second_decodes_nothing(beside: Done, tmp_path: Path) -> None:
    assert beside.counts.trailers_decoded == 3
    assert beside.counts.shots_detected >= 3
    assert beside.counts.failures == []
    again = extract_sweep(space(tmp_path, BOTH), beside.manifest, workspace=beside.workspace)
    assert (again.trailers_decoded, again.shots_detected, again.clips_embedded) == (0, 0, 0)
    assert again.vectors_reused == beside.counts.clips_embedded + beside.counts.vectors_reused
    opened = Workspace(beside.workspace)
    assert all(opened.embeddings.spec(key) for key in opened.embeddings.keys())  # noqa: SIM118


def test_a_set_has_the_same_bits_in_any_layout_and_whichever_others_are_made_beside_it(
    beside: Done, alone: Done
) -> None:
    four, one = (vectors(done.workspace, done.manifest) for done in (beside, alone))
    (key,) = one
    assert len(four) == 4 and np.array_equal(one[key], four[key])


def test_splits_of_a_space_do_not_matter_to_extraction(alone: Done) -> None:
    assert alone.counts.trailers_decoded == 3


def test_shots_are_detected_once_for_all_sets_that_come_later(beside: Done, tmp_path: Path) -> None:
    _, workspace = beside.copy(tmp_path)
    yaml = space(tmp_path, SEQ.replace("seq-24", "shot-32"))
    later = extract_sweep(yaml, beside.manifest, workspace=workspace)
    assert (later.trailers_decoded, later.shots_detected) == (3, 0)
    assert later.clips_embedded > 0


def test_only_a_changed_video_is_read_again(alone: Done, tmp_path: Path) -> None:
    yaml = space(tmp_path, SEQ)
    manifest, workspace = alone.copy(tmp_path)
    videos = sorted(manifest.parent.glob("*.mp4"))
    shutil.copy(videos[1], videos[0])
    counts = extract_sweep(yaml, manifest, workspace=workspace)
    assert counts.trailers_decoded == 1
    touched = videos[2]
    touched.write_bytes(touched.read_bytes())  # a new time, the same bytes
    assert extract_sweep(yaml, manifest, workspace=workspace).trailers_decoded == 0


def test_a_broken_trailer_is_named_and_the_others_are_embedded(few: Path, tmp_path: Path) -> None:
    yaml = space(tmp_path, BOTH)
    broken = sorted(few.parent.glob("*.mp4"))[1]
    whole = broken.read_bytes()
    broken.write_bytes(b"")
    counts = extract_sweep(yaml, few, workspace=tmp_path / "w")
    assert counts.trailers_decoded == 2
    (failure,) = counts.failures
    assert (failure.mid, failure.stage) == (broken.stem, "read") and "empty" in failure.reason
    assert len(failure.sets) == 4
    # Known as failed, it is not tried again until it changes.
    again = extract_sweep(yaml, few, workspace=tmp_path / "w")
    assert (again.trailers_decoded, [f.mid for f in again.failures]) == (0, [broken.stem])
    broken.write_bytes(whole)
    mended = extract_sweep(yaml, few, workspace=tmp_path / "w")
    assert (mended.trailers_decoded, mended.failures) == (1, [])


def test_too_many_failures_stop_every_pass_and_keep_what_was_made(few: Path, tmp_path: Path) -> None:
    yaml = space(tmp_path, SEQ)
    for broken in sorted(few.parent.glob("*.mp4"))[:2]:
        broken.write_text("this is no video")
    for _ in range(2):  # known as failed, they count in the next pass, too
        with pytest.raises(TooManyFailures, match=r"2 trailers failed, more than --max-failed 1 allows"):
            extract_sweep(yaml, few, workspace=tmp_path / "w", options=RunOptions(max_failed=1))
    counts = extract_sweep(yaml, few, workspace=tmp_path / "w", options=RunOptions(max_failed=2))
    assert len(counts.failures) == 2
    assert stored_rows(tmp_path / "w") == 1


def stored_rows(workspace: Path) -> int:
    opened = Workspace(workspace)
    return sum(len(opened.embeddings.digests(key)) for key in opened.embeddings.keys())  # noqa: SIM118


def test_a_checkpoint_that_does_not_fit_is_told_as_the_user_s_error(few: Path, tmp_path: Path) -> None:
    import torch

    torch.save({"some.weight": torch.zeros(3)}, tmp_path / "other.pth")
    yaml = space(tmp_path, SEQ.replace("random", str(tmp_path / "other.pth")))
    with pytest.raises(InputError, match=r"other\.pth"):
        extract_sweep(yaml, few, workspace=tmp_path / "w")
    assert Workspace(tmp_path / "w").failures.load() == [], "no trailer is to blame"


def test_a_killed_worker_costs_no_trailer(few: Path, tmp_path: Path) -> None:
    """A real SIGKILL of the first extraction worker that is seen."""
    stop, killed = threading.Event(), []

    def kill_one() -> None:
        while not killed and not stop.wait(0.2):
            for process in psutil.process_iter(["cmdline"]):
                if "MapWorker(Map(_FusedStage))" in " ".join(process.info["cmdline"] or []):
                    process.kill()
                    killed.append(process.pid)
                    return

    killer = threading.Thread(target=kill_one)
    killer.start()
    try:
        counts = extract_sweep(space(tmp_path, SEQ), few, workspace=tmp_path / "w")
    finally:
        stop.set()
        killer.join()
    assert killed, "no worker was seen"
    assert counts.failures == [] and stored_rows(tmp_path / "w") == 3
