"""The extraction pass on a real Ray with real video files; random weights, so that nothing is downloaded."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import numpy as np
import psutil
import pytest

from orchestrator import RunOptions, Workspace, extract_sweep
from orchestrator.errors import InputError, TooManyFailures

pytestmark = pytest.mark.usefixtures("resources")

SEQ = "fixed: {backbone: shufflenet_2d, weights: random, clip_strategy: seq-24}\n"
BOTH = """
fixed: {backbone: shufflenet_2d, weights: random}
grid: {clip_strategy: [seq-24, shot-24], frame_rate: [24, 12]}
"""


@pytest.fixture
def few(trailers: Path, tmp_path: Path) -> Path:
    """A manifest of three of the trailers, copied so that a test may spoil them."""
    lines = trailers.read_text().splitlines()
    folder = tmp_path / "few"
    folder.mkdir()
    for line in lines[1:4]:
        name = line.split(",")[1]
        shutil.copy(trailers.parent / name, folder / name)
    (folder / "manifest.csv").write_text("\n".join(lines[:4]) + "\n")
    return folder / "manifest.csv"


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


def test_one_pass_fills_every_set_and_a_second_decodes_nothing(few: Path, tmp_path: Path) -> None:
    yaml = space(tmp_path, BOTH)
    first = extract_sweep(yaml, few, workspace=tmp_path / "w")
    assert first.trailers_decoded == 3
    assert first.shots_detected >= 3
    assert first.failures == []
    again = extract_sweep(yaml, few, workspace=tmp_path / "w")
    assert (again.trailers_decoded, again.shots_detected, again.clips_embedded) == (0, 0, 0)
    assert again.vectors_reused == first.clips_embedded + first.vectors_reused
    opened = Workspace(tmp_path / "w")
    assert all(opened.embeddings.spec(key) for key in opened.embeddings.keys())  # noqa: SIM118


def test_a_set_has_the_same_bits_in_any_layout_and_whichever_others_are_made_beside_it(
    few: Path, tmp_path: Path
) -> None:
    extract_sweep(space(tmp_path, BOTH), few, workspace=tmp_path / "beside", options=RunOptions(layout="split"))
    extract_sweep(space(tmp_path, SEQ), few, workspace=tmp_path / "alone", options=RunOptions(layout="fused"))
    beside, alone = vectors(tmp_path / "beside", few), vectors(tmp_path / "alone", few)
    (key,) = alone
    assert len(beside) == 4 and np.array_equal(alone[key], beside[key])


def test_shots_are_detected_once_for_all_sets_that_come_later(few: Path, tmp_path: Path) -> None:
    shot = SEQ.replace("seq-24", "shot-24")
    assert extract_sweep(space(tmp_path, shot), few, workspace=tmp_path / "w").shots_detected >= 3
    later = extract_sweep(space(tmp_path, SEQ.replace("seq-24", "shot-32")), few, workspace=tmp_path / "w")
    assert (later.trailers_decoded, later.shots_detected) == (3, 0)
    assert later.clips_embedded > 0


def test_only_a_changed_video_is_read_again(few: Path, tmp_path: Path) -> None:
    yaml = space(tmp_path, SEQ)
    extract_sweep(yaml, few, workspace=tmp_path / "w")
    videos = sorted(few.parent.glob("*.mp4"))
    shutil.copy(videos[1], videos[0])
    counts = extract_sweep(yaml, few, workspace=tmp_path / "w")
    assert counts.trailers_decoded == 1
    touched = videos[2]
    touched.write_bytes(touched.read_bytes())  # a new time, the same bytes
    assert extract_sweep(yaml, few, workspace=tmp_path / "w").trailers_decoded == 0


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


def test_too_many_failures_stop_the_pass_and_keep_what_was_made(few: Path, tmp_path: Path) -> None:
    yaml = space(tmp_path, SEQ)
    for broken in sorted(few.parent.glob("*.mp4"))[:2]:
        broken.write_text("this is no video")
    with pytest.raises(TooManyFailures, match=r"2 trailers failed, more than --max-failed 1 allows"):
        extract_sweep(yaml, few, workspace=tmp_path / "w", options=RunOptions(max_failed=1))
    counts = extract_sweep(yaml, few, workspace=tmp_path / "w", options=RunOptions(max_failed=2))
    assert len(counts.failures) == 2
    assert stored_rows(tmp_path / "w") == 1


def stored_rows(workspace: Path) -> int:
    opened = Workspace(workspace)
    return sum(opened.embeddings.rows(key).trailers for key in opened.embeddings.keys())  # noqa: SIM118


def test_a_checkpoint_that_does_not_fit_is_told_as_the_user_s_error(few: Path, tmp_path: Path) -> None:
    import torch

    torch.save({"some.weight": torch.zeros(3)}, tmp_path / "other.pth")
    yaml = space(tmp_path, SEQ.replace("random", str(tmp_path / "other.pth")))
    with pytest.raises(InputError, match=r"other\.pth"):
        extract_sweep(yaml, few, workspace=tmp_path / "w")
    assert Workspace(tmp_path / "w").failures.load() == [], "no trailer is to blame"


def test_a_limit_on_failures_holds_over_several_passes(few: Path, tmp_path: Path) -> None:
    yaml = space(tmp_path, SEQ)
    sorted(few.parent.glob("*.mp4"))[0].write_text("this is no video")
    strict = RunOptions(max_failed=0)
    for _ in range(2):
        with pytest.raises(TooManyFailures, match="1 trailers failed, more than --max-failed 0 allows"):
            extract_sweep(yaml, few, workspace=tmp_path / "w", options=strict)


def test_splits_of_a_space_do_not_matter_to_extraction(few: Path, tmp_path: Path) -> None:
    yaml = space(tmp_path, SEQ + "splits: [1]\n")
    assert extract_sweep(yaml, few, workspace=tmp_path / "w").trailers_decoded == 3


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
