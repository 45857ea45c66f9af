import csv
import json
import shutil
import subprocess
import sys

import av
import numpy as np
import pytest

from orchestrator.data.manifest import TEST, TRAIN, load_manifest
from orchestrator.data.stratify import stratify
from orchestrator.data.synth import FRAME_RATES, SIZES, choose_genres, draw_labels, synthesize
from orchestrator.errors import InputError, StoreError

SECONDS = 4.0


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Twelve small trailers, made by this process alone."""
    return synthesize(tmp_path_factory.mktemp("synth") / "new" / "folder", 12, 5, seconds=SECONDS, workers=1).parent


@pytest.fixture
def copy(made, tmp_path):
    return shutil.copytree(made, tmp_path / "copy")


def frames_of(path):
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]).astype(np.int16)


def boundaries_of(folder):
    return json.loads((folder / "boundaries.json").read_text())


def test_the_manifest_is_valid_and_known_to_be_synthetic(made):
    manifest = load_manifest(made / "manifest.csv", need_paths=True)
    assert len(manifest) == 12 and manifest.n_splits == 3 and manifest.synthetic
    assert list(boundaries_of(made)) == list(manifest.mids)
    about = json.loads((made / "synthetic.json").read_text())
    assert about == {"seed": 5, "trailers": 12, "seconds": SECONDS, "generator_version": 1}


def test_files_are_h264_of_every_size_and_frame_rate(made):
    seen = set()
    for path in load_manifest(made / "manifest.csv").paths:
        with av.open(path) as container:
            stream = container.streams.video[0]
            assert stream.codec_context.name == "h264" and stream.codec_context.pix_fmt == "yuv420p"
            assert stream.frames == SECONDS * stream.average_rate
            seen.add((stream.width, stream.height, int(stream.average_rate)))
    assert {s[:2] for s in seen} == set(SIZES) and {s[2] for s in seen} == set(FRAME_RATES)


def test_the_same_seed_gives_the_same_files_whatever_the_number_of_processes(made, tmp_path):
    calls = []
    synthesize(tmp_path, 12, 5, seconds=SECONDS, workers=2, on_progress=lambda *call: calls.append(call))
    assert calls == [(done, 12) for done in range(1, 13)]
    names = sorted(path.name for path in made.iterdir())
    assert names == sorted(path.name for path in tmp_path.iterdir()) and len(names) == 15
    assert [name for name in names if (made / name).read_bytes() != (tmp_path / name).read_bytes()] == []


def test_cuts_lie_where_boundaries_say(made):
    cuts = 0
    for mid, boundaries in boundaries_of(made).items():
        frames = frames_of(made / f"{mid}.mp4")
        steps = np.abs(np.diff(frames, axis=0)).mean(axis=(1, 2, 3))
        for first, length, kind in boundaries:
            if kind == "cut":
                assert length == 0
                near = steps[first - 7 : first + 6]
                assert steps[first - 1] == near.max() > max(20, 2 * np.median(near))
                cuts += 1
    assert cuts > 10


def test_dissolves_and_fades_lie_where_boundaries_say(made):
    kinds = {"dissolve": 0, "fade": 0}
    for mid, boundaries in boundaries_of(made).items():
        frames = frames_of(made / f"{mid}.mp4")
        for first, length, kind in boundaries:
            light = frames[first - 1 : first + length + 1].mean(axis=(1, 2, 3))
            if kind == "fade":
                half = length // 2
                assert light[half] < 3  # the old shot ends on black, the new one starts from it
                assert (np.diff(light[: half + 1]) < 2).all() and (np.diff(light[half:]) > -2).all()
            elif kind == "dissolve":
                before, after, between = frames[first - 1], frames[first + length], frames[first + length // 2]
                gap = np.abs(before - after).mean()
                assert np.abs(between - before).mean() < 0.8 * gap and np.abs(between - after).mean() < 0.8 * gap
            kinds[kind] = kinds.get(kind, 0) + 1
    assert kinds["dissolve"] > 3 and kinds["fade"] > 0


def test_shots_are_long_enough_for_clips_and_every_genre_gets_one(made):
    manifest = load_manifest(made / "manifest.csv")
    for row, mid in enumerate(manifest.mids):
        boundaries = boundaries_of(made)[mid]
        assert len(boundaries) + 1 >= manifest.labels[row].sum()
        with av.open(manifest.paths[row]) as container:
            fps, total = int(container.streams.video[0].average_rate), container.streams.video[0].frames
        edges = [0, *(x for first, length, _ in boundaries for x in (first, first + length)), total]
        pure = np.array(edges[1::2]) - np.array(edges[::2])
        assert pure.min() >= 0.25 * fps


def test_a_finished_folder_is_left_alone(made):
    calls = []
    synthesize(made, 12, 5, seconds=SECONDS, workers=1, on_progress=lambda *call: calls.append(call))
    assert calls == []


def test_an_unfinished_folder_is_finished(made, copy):
    (copy / "manifest.csv").unlink()
    (copy / "boundaries.json").unlink()
    lost, *kept = sorted(copy.glob("*.mp4"))
    lost.unlink()
    times = [path.stat().st_mtime_ns for path in kept]
    synthesize(copy, 12, 5, seconds=SECONDS, workers=1)
    for path in made.iterdir():
        assert (copy / path.name).read_bytes() == path.read_bytes()
    assert [path.stat().st_mtime_ns for path in kept] == times


def test_other_options_make_other_trailers_in_the_same_folder(made, copy):
    synthesize(copy, 13, 5, seconds=SECONDS, workers=2)
    manifest = load_manifest(copy / "manifest.csv", need_paths=True)
    assert len(manifest) == 13 == len(boundaries_of(copy))
    genres = [load_manifest(folder / "manifest.csv").labels[:12] for folder in (made, copy)]
    changed = np.flatnonzero((genres[0] != genres[1]).any(axis=1))
    assert len(changed)
    name = f"{manifest.mids[changed[0]]}.mp4"
    assert (copy / name).read_bytes() != (made / name).read_bytes()
    assert synthesize(copy, 13, 5, seconds=SECONDS) == copy / "manifest.csv"


def test_a_manifest_of_somebody_elses_is_not_overwritten(tmp_path):
    (tmp_path / "manifest.csv").write_text("mine")
    with pytest.raises(InputError, match="was not made by `divita synth`"):
        synthesize(tmp_path, 12)
    assert (tmp_path / "manifest.csv").read_text() == "mine"


def test_bad_options_are_told_together(tmp_path):
    with pytest.raises(InputError) as caught:
        synthesize(tmp_path / "new", 11, -1, seconds=0.5)
    assert [text.split(":")[0] for text in caught.value.problems] == ["trailers", "seed", "seconds"]
    assert "12" in caught.value.problems[0] and not (tmp_path / "new").exists()


def test_a_folder_that_cannot_be_made_is_an_error_for_the_user(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="can't be written"):
        synthesize(tmp_path / "file" / "sub", 12)


def test_a_script_without_main_guard_gets_its_trailers_too(made, copy, tmp_path):
    lost = sorted(copy.glob("*.mp4"))[:2]
    for path in lost:
        path.unlink()
    script = tmp_path / "script.py"
    script.write_text(
        "from orchestrator.data.synth import synthesize\n"
        f"synthesize({str(copy)!r}, 12, 5, seconds={SECONDS}, workers=2)\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [path.read_bytes() for path in lost] == [(made / path.name).read_bytes() for path in lost]


@pytest.mark.parametrize("trailers", [12, 13, 16, 19, 20, 25, 29, 30, 36, 40])
def test_labels_of_any_size_can_be_split(trailers):
    genres = choose_genres(trailers)
    labels = draw_labels(trailers, len(genres), np.random.default_rng(trailers))
    assert labels.sum(axis=1).min() >= 1 and labels.sum(axis=1).max() <= 3
    for column in stratify(labels, splits=1).T:
        assert labels[column == TRAIN].any(axis=0).all() and labels[column == TEST].any(axis=0).all()


def test_thirty_trailers_have_the_ten_genres_of_the_study():
    assert len(choose_genres(30)) == 10 and len(choose_genres(29)) < 10
    assert list(choose_genres(30)) == sorted(choose_genres(30))


def test_rows_name_files_relative_to_the_manifest(made):
    with open(made / "manifest.csv") as file:
        assert all(row["path"] == f"{row['mid']}.mp4" for row in csv.DictReader(file))
