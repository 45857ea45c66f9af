"""The extraction pass on a real Ray with real video files; random weights, so that nothing is downloaded."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from orchestrator import RunOptions, Workspace, extract_sweep
from orchestrator.errors import TooManyFailures

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


def test_fused_and_split_layouts_give_the_same_bits(few: Path, tmp_path: Path) -> None:
    yaml = space(tmp_path, BOTH)
    for layout in ("fused", "split"):
        extract_sweep(yaml, few, workspace=tmp_path / layout, options=RunOptions(layout=layout))
    fused, split = vectors(tmp_path / "fused", few), vectors(tmp_path / "split", few)
    assert len(fused) == 4 and fused.keys() == split.keys()
    assert all(np.array_equal(fused[key], split[key]) for key in fused)


def test_a_set_has_the_same_bits_whichever_others_are_made_beside_it(few: Path, tmp_path: Path) -> None:
    extract_sweep(space(tmp_path, SEQ), few, workspace=tmp_path / "alone")
    extract_sweep(space(tmp_path, BOTH), few, workspace=tmp_path / "beside")
    (key,) = Workspace(tmp_path / "alone").embeddings.keys()
    alone, beside = vectors(tmp_path / "alone", few), vectors(tmp_path / "beside", few)
    assert np.array_equal(alone[key], beside[key])


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
    assert plan_rows(yaml, few, tmp_path / "w") == 1


def plan_rows(yaml: Path, manifest: Path, workspace: Path) -> int:
    opened = Workspace(workspace)
    return sum(opened.embeddings.rows(key).trailers for key in opened.embeddings.keys())  # noqa: SIM118


def test_the_order_of_trailers_changes_no_bit_and_no_key(few: Path, tmp_path: Path) -> None:
    yaml = space(tmp_path, SEQ.replace("seq-24", "shot-24"))
    extract_sweep(yaml, few, workspace=tmp_path / "a")
    lines = few.read_text().splitlines()
    turned = few.parent / "turned.csv"
    turned.write_text("\n".join([lines[0], *reversed(lines[1:])]) + "\n")
    extract_sweep(yaml, turned, workspace=tmp_path / "b")
    a, b = vectors(tmp_path / "a", few), vectors(tmp_path / "b", few)
    assert a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)
    assert extract_sweep(yaml, turned, workspace=tmp_path / "a").trailers_decoded == 0
