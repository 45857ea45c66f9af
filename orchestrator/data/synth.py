"""Synthetic trailers to try everything on: small H.264 files whose look and motion tell their genres.

A trailer is a chain of shots, each showing one of its genres; now and then a shot borrows the look or the motion
of another genre, so that neither alone tells all. Where shots meet is known to the frame.
"""

from __future__ import annotations

import csv
import json
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

from orchestrator.data.manifest import SYNTHETIC_MARK
from orchestrator.data.stratify import stratify
from orchestrator.data.synth_looks import LOOKS
from orchestrator.data.synth_shots import Frame, Shot
from orchestrator.errors import InputError, StoreError

GENERATOR_VERSION = 1
"""Raised by hand when the same seed makes other trailers."""

SIZES = ((320, 180), (256, 144), (192, 256), (240, 180), (320, 136))
FRAME_RATES = (24, 25, 30)
TRANSITIONS = {"cut": 0.7, "dissolve": 0.2, "fade": 0.1}
SHOT_SECONDS = (0.9, 2.0)
BORROWED = 0.2
"""Share of shots whose look, and share whose motion, is that of any genre."""

FEWEST, FEWEST_SECONDS = 12, 1.0
UNLIKE = 25
"""Mean difference (of 255) between the frames on the two sides of a boundary, so that it can be seen."""

Boundary = tuple[int, int, str]
"""First frame, length, kind. A cut has length 0 and names the first frame of the new shot; of a dissolve or fade
all `length` frames are mixed. Counted on the file's own frames."""


@dataclass(frozen=True)
class _Job:
    folder: Path
    mid: str
    genres: tuple[str, ...]
    seed: int
    number: int
    seconds: float

    @property
    def path(self) -> Path:
        return self.folder / f"{self.mid}.mp4"


def synthesize(
    directory: str | os.PathLike[str],
    trailers: int,
    seed: int = 0,
    *,
    seconds: float = 8.0,
    workers: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Makes the videos, manifest.csv (returned), boundaries.json and synthetic.json in a folder.

    The same trailers, seed and seconds give the same content, however many `workers` (processes, default one a
    core) there are. In a folder that was begun with the same options only what is missing is made; manifest.csv comes
    last. `on_progress(done, all)` is called after each trailer. boundaries.json maps an id to its `Boundary` list.
    """
    _check(trailers, seed, seconds)
    folder, genres = Path(os.path.abspath(directory)), choose_genres(trailers)
    manifest = folder / "manifest.csv"
    about = {"seed": seed, "trailers": trailers, "seconds": seconds, "generator_version": GENERATOR_VERSION}
    labels = draw_labels(trailers, len(genres), np.random.default_rng([seed, trailers]))
    jobs = [
        _Job(
            folder,
            f"syn{seed:02d}{t:04d}",
            tuple(g for g, has in zip(genres, row, strict=True) if has),
            seed,
            t,
            seconds,
        )
        for t, row in enumerate(labels)
    ]
    try:
        if _begin(folder, about, jobs):
            return manifest
        splits = stratify(labels, 3, seed, genres)
        boundaries: dict[str, list[Boundary]] = {}
        for mid, found in _run(jobs, workers or len(os.sched_getaffinity(0))):
            boundaries[mid] = found
            if on_progress:
                on_progress(len(boundaries), trailers)
        (folder / "boundaries.json").write_text(json.dumps({job.mid: boundaries[job.mid] for job in jobs}))
        aside = folder / "manifest.csv.tmp"
        with aside.open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["mid", "path", *genres, "split0", "split1", "split2"])
            writer.writerows([job.mid, job.path.name, *labels[t], *splits[t]] for t, job in enumerate(jobs))
        aside.replace(manifest)
    except OSError as error:
        raise StoreError(f"{folder}: can't be written: {error.strerror or error}") from None
    return manifest


def _check(trailers: int, seed: int, seconds: float) -> None:
    problems = []
    if trailers < FEWEST:
        problems.append(f"trailers: {trailers} is fewer than {FEWEST}, the fewest that three splits can be made of")
    if seed < 0:
        problems.append(f"seed: {seed} is negative; give 0 or more")
    if not FEWEST_SECONDS <= seconds <= 600:
        problems.append(f"seconds: {seconds:g} is not in {FEWEST_SECONDS:g} to 600")
    if problems:
        raise InputError(problems)


def _begin(folder: Path, about: dict[str, float], jobs: list[_Job]) -> bool:
    """True where all is made. Else clears away what other options left, so that any video there is a finished one."""
    manifest, mark = folder / "manifest.csv", folder / SYNTHETIC_MARK
    if manifest.exists() and not mark.exists():
        raise InputError(f"{manifest}: is there and was not made by `divita synth`; name an empty folder")
    try:
        same = json.loads(mark.read_text()) == about
    except (FileNotFoundError, ValueError):
        same = False
    if same and manifest.exists() and all(job.path.exists() for job in jobs):
        return True
    folder.mkdir(parents=True, exist_ok=True)
    manifest.unlink(missing_ok=True)
    if not same:
        for job in jobs:
            job.path.unlink(missing_ok=True)
        mark.write_text(json.dumps(about))
    return False


def choose_genres(trailers: int) -> tuple[str, ...]:
    """The study's ten genres, or fewer where each would have too few trailers."""
    few = {"action", "comedy", "horror", "romance"}
    some = few | {"drama", "sci-fi"}
    return tuple(g for g in LOOKS if trailers >= 30 or (trailers >= 20 and g in some) or g in few)


def draw_labels(trailers: int, genres: int, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """(trailers, genres): one to three genres each, some genres more frequent, none with fewer than an eighth."""
    odds = np.linspace(1.0, 2.0, genres)[rng.permutation(genres)]
    labels = np.zeros((trailers, genres), np.uint8)
    for row in labels:
        row[rng.choice(genres, int(rng.choice(3, p=(0.35, 0.4, 0.25))) + 1, replace=False, p=odds / odds.sum())] = 1
    for g in range(genres):
        while labels[:, g].sum() < max(4, trailers / 8):
            free = np.flatnonzero((labels[:, g] == 0) & (labels.sum(axis=1) < 3))
            labels[rng.choice(free), g] = 1
    return labels


def _run(jobs: list[_Job], workers: int) -> Iterator[tuple[str, list[Boundary]]]:
    """Results as they come, from `workers` processes or, with one worker, from this one."""
    left = {job.mid: job for job in jobs}
    workers = min(workers, sum(not job.path.exists() for job in jobs))
    if workers > 1:
        # spawn: a forked child would inherit whatever threads the caller's libraries run
        pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"))
        try:
            for mid, found in pool.map(_make, jobs):
                del left[mid]
                yield mid, found
        except BrokenProcessPool:
            pass  # a script without `if __name__ == "__main__"` can't start processes: go on in this one
        finally:
            pool.shutdown(cancel_futures=True)
    yield from map(_make, left.values())


def _make(job: _Job) -> tuple[str, list[Boundary]]:
    rng = np.random.default_rng([GENERATOR_VERSION, job.seed, job.number])
    fps, size = FRAME_RATES[job.number % len(FRAME_RATES)], SIZES[job.number % len(SIZES)]
    spans, boundaries = _timeline(round(job.seconds * fps), fps, len(job.genres), rng)
    if not job.path.exists():
        _encode(job.path, _mix(_shots(job, spans, fps, size, rng), spans, boundaries), fps, size)
    return job.mid, boundaries


def _timeline(
    total: int, fps: int, genres: int, rng: np.random.Generator
) -> tuple[list[tuple[int, int]], list[Boundary]]:
    """Half-open spans of the shots (they overlap in dissolves), and the boundaries between them."""
    shortest = round(SHOT_SECONDS[0] * fps)
    longest = max(shortest + 1, min(round(SHOT_SECONDS[1] * fps), total // (genres + 1)))
    starts: list[int] = [0]
    ends: list[int] = []
    boundaries: list[Boundary] = []
    while True:
        at = starts[-1] + int(rng.integers(shortest, longest + 1))
        if at + shortest > total:
            return list(zip(starts, [*ends, total], strict=True)), boundaries
        kind = str(rng.choice(list(TRANSITIONS), p=list(TRANSITIONS.values())))
        length = {"cut": 0, "dissolve": int(rng.integers(6, 11)), "fade": 2 * int(rng.integers(5, 8))}[kind]
        boundaries.append((at - length // 2 if kind == "fade" else at, length, kind))
        ends.append(at + length if kind == "dissolve" else at)
        starts.append(at)


def _shots(
    job: _Job, spans: list[tuple[int, int]], fps: int, size: tuple[int, int], rng: np.random.Generator
) -> Iterator[Shot]:
    """One shot a span, the trailer's genres in turn; a shot too much like the end of the last is drawn anew."""
    turns, last = rng.permutation(job.genres), None
    for i, (start, end) in enumerate(spans):
        genre = str(turns[i % len(turns)])
        for _ in range(12):
            look, motion = (str(rng.choice(list(LOOKS))) if rng.random() < BORROWED else genre for _ in "lm")
            shot = Shot(look, motion, end - start, fps, size, rng)
            first = shot.frame(0).astype(np.int16)
            if last is None or np.abs(first - last).mean() > UNLIKE:
                break
        last = shot.frame(end - start - 1).astype(np.int16)
        yield shot


def _mix(shots: Iterable[Shot], spans: list[tuple[int, int]], boundaries: list[Boundary]) -> Iterator[Frame]:
    """The trailer's frames; at most two shots are held at a time."""
    before: Shot | None = None
    for i, shot in enumerate(shots):
        start, end = spans[i]
        _, length, kind = boundaries[i - 1] if i else (0, 0, "cut")
        fade_out = boundaries[i][1] // 2 if i < len(boundaries) and boundaries[i][2] == "fade" else 0
        stop = spans[i + 1][0] if i + 1 < len(spans) else end
        for f in range(start, stop):
            frame, k = shot.frame(f - start), f - start + 1
            if kind == "dissolve" and k <= length and before is not None:
                under = before.frame(f - spans[i - 1][0])
                frame = _blend(under, frame, k / (length + 1))
            elif kind == "fade" and k <= length // 2:
                frame = _blend(np.zeros_like(frame), frame, k / (length // 2))
            elif f >= stop - fade_out:
                frame = _blend(frame, np.zeros_like(frame), (f - stop + fade_out + 1) / fade_out)
            yield frame
        before = shot


def _blend(under: Frame, over: Frame, share: float) -> Frame:
    weight = round(share * 256)
    return np.asarray((under.astype(np.uint32) * (256 - weight) + over.astype(np.uint32) * weight) >> 8, np.uint8)


def _encode(path: Path, frames: Iterable[Frame], fps: int, size: tuple[int, int]) -> None:
    aside = path.with_name(path.name + ".tmp")
    with av.open(str(aside), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        # A constant quantiser on one thread: x264's macroblock-tree rate control (crf) was seen to give another
        # file now and then for the very same frames, and several threads give another than one.
        stream.codec_context.thread_count = 1
        stream.options = {"qp": "25", "preset": "veryfast"}
        for number, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    aside.replace(path)
