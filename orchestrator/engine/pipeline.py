"""One trailer, from its file to the vectors of every embedding set that lacks it. Knows no Ray.

Two halves, so that they can run in one actor or in two: `TrailerReader` (digest and decode, CPU) and
`TrailerEmbedder` (shots, clips, backbones; GPU where there is one). A trailer that fails comes back as a result that
says so; only mistakes that concern every trailer (missing weights) are raised.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from orchestrator.backbones.load import Backbone, load_backbone
from orchestrator.errors import DivitaError, TrailerError
from orchestrator.specs import FRAMES, BackboneSpec, ClipSpec, EmbeddingSpec
from orchestrator.video.clips import cut_clips, histograms, representative_frames
from orchestrator.video.decode import Decoded, Decoder
from orchestrator.video.files import video_digest, video_stat
from orchestrator.video.shots import ShotDetector, shots_from


@dataclass(frozen=True)
class TrailerTask:
    """A trailer and the keys of the sets that lack it. `shots` holds what is known: digest -> int32 (S, 2)."""

    mid: str
    path: str
    sets: tuple[str, ...]
    shots: Mapping[str, np.ndarray] = field(default_factory=dict)
    failed_before: bool = False
    """An earlier version of its file is in the failures table."""


@dataclass(frozen=True)
class FailedSets:
    """Why a trailer has no row in some sets."""

    stage: str
    reason: str
    sets: tuple[str, ...]


@dataclass
class TrailerResult:
    """What became of a trailer: vectors per set, float32 (C, D) or pixels uint8, and the failures of sets without."""

    task: TrailerTask
    digest: str | None = None
    stat: dict[str, Any] = field(default_factory=dict)
    n_frames: int = 0
    shots: np.ndarray | None = None
    """Shots newly detected, int32 (S, 2) half-open grid frames; None where none were needed or they were known."""
    vectors: dict[str, np.ndarray] = field(default_factory=dict)
    shared: int = 0
    """Vectors that another clip strategy had already computed."""
    failures: list[FailedSets] = field(default_factory=list)
    fatal: DivitaError | None = None
    """What concerns every trailer, such as a checkpoint that does not fit; the driver raises it."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Seconds by kind of work: `decode`, `shots`, `embed <backbone>`."""
    units: dict[str, int] = field(default_factory=dict)
    """What the seconds were spent on: grid frames for `decode` and `shots`, clips or, of video, frames for `embed`."""

    def fail(self, error: TrailerError, sets: tuple[str, ...]) -> TrailerResult:
        self.failures.append(FailedSets(error.stage, error.reason, sets))
        return self

    def spent(self, what: str, start: float, units: int) -> None:
        self.seconds[what] = self.seconds.get(what, 0.0) + time.perf_counter() - start
        self.units[what] = self.units.get(what, 0) + units


class TrailerReader:
    """Task -> result and decoded frames (None where decoding failed). Owns one killable decoder process."""

    def __init__(self, *, stall_s: float = 60.0, total_s: float = 900.0) -> None:
        self._decoder = Decoder(stall_s=stall_s, total_s=total_s)

    def read(self, task: TrailerTask) -> tuple[TrailerResult, Decoded | None]:
        result = TrailerResult(task)
        start = time.perf_counter()
        try:
            with _named("decode"):
                result.stat = video_stat(task.path)
                result.digest = video_digest(task.path)
                decoded = self._decoder.decode(task.path)
                if video_stat(task.path) != result.stat:
                    raise TrailerError("read", "the file changed while it was read; run again")
        except TrailerError as error:
            return result.fail(error, task.sets), None
        result.n_frames = len(decoded.frames)
        result.spent("decode", start, result.n_frames)
        return result, decoded

    def close(self) -> None:
        self._decoder.close()


class TrailerEmbedder:
    """Result and frames -> result with vectors. Loads each backbone once, when it is first asked for."""

    def __init__(self, specs: Mapping[str, EmbeddingSpec], device: str = "cpu") -> None:
        self._specs, self._device = specs, device
        self._backbones: dict[BackboneSpec, Backbone] = {}
        self._detector: ShotDetector | None = None

    def embed(self, result: TrailerResult, frames: np.ndarray, thumbs: np.ndarray) -> TrailerResult:
        """`frames` uint8 (N, 224, 224, 3) and `thumbs` uint8 (N, 27, 48, 3) of one trailer on the time grid."""
        specs = {key: self._specs[key] for key in result.task.sets}
        clips: dict[ClipSpec, np.ndarray] = {}
        for clip in dict.fromkeys(spec.clip for spec in specs.values()):
            keys = tuple(key for key, spec in specs.items() if spec.clip == clip)
            try:
                with _named("shots"):
                    shots = self._shots(result, thumbs) if clip.strategy == "shot" else None
                with _named("clips"):
                    cut = cut_clips(len(frames), shots, clip)
                if not len(cut):
                    raise TrailerError("clips", "every frame was taken for a transition, so there is no shot to cut")
                clips[clip] = cut
            except TrailerError as error:
                result.fail(error, keys)
        for backbone in dict.fromkeys(spec.backbone for spec in specs.values()):
            keys = tuple(k for k, spec in specs.items() if spec.backbone == backbone and spec.clip in clips)
            if keys:
                self._embed_with(backbone, {k: clips[specs[k].clip] for k in keys}, frames, result)
        return result

    def _shots(self, result: TrailerResult, thumbs: np.ndarray) -> np.ndarray:
        known = result.task.shots.get(result.digest or "")
        if known is not None:
            return known
        if result.shots is None:
            start = time.perf_counter()
            self._detector = self._detector or ShotDetector(self._device)
            result.shots = shots_from(self._detector.probabilities(thumbs))
            result.spent("shots", start, len(thumbs))
        return result.shots

    def _embed_with(
        self, spec: BackboneSpec, clips: Mapping[str, np.ndarray], frames: np.ndarray, result: TrailerResult
    ) -> None:
        if spec.name == FRAMES:
            # Pixels of single frames, (C, 224 × 224 × 3) <- (C, 224, 224, 3): what the head learns its own features on.
            result.vectors |= {key: frames[index[:, 0]].reshape(len(index), -1) for key, index in clips.items()}
            return
        if spec not in self._backbones:
            self._backbones[spec] = load_backbone(spec, self._device)
        backbone = self._backbones[spec]
        start = time.perf_counter()
        try:
            with _named("embed"):
                wanted = _choose_frames(clips, frames) if backbone.kind == "image" else clips
                vectors, units, shared = _embed_distinct(backbone, wanted, frames)
                result.shared += shared
        except TrailerError as error:
            result.fail(error, tuple(clips))
            return
        result.vectors |= vectors
        result.spent(f"embed {spec.name}", start, units)


@contextmanager
def _named(stage: str) -> Iterator[None]:
    """Turns whatever a stage chokes on into a failure of this trailer: one trailer must not stop the pass."""
    try:
        yield
    except (TrailerError, DivitaError):
        raise
    except Exception as error:
        raise TrailerError(stage, f"{type(error).__name__}: {error}") from error


def _choose_frames(clips: Mapping[str, np.ndarray], frames: np.ndarray) -> dict[str, np.ndarray]:
    """The frame that stands for each clip, (C,) <- (C, T)."""
    moving = any(index.shape[1] > 1 for index in clips.values())
    hists = histograms(frames) if moving else None
    return {
        key: index[:, 0] if hists is None or index.shape[1] == 1 else representative_frames(hists, index)
        for key, index in clips.items()
    }


def _embed_distinct(
    backbone: Backbone, wanted: Mapping[str, np.ndarray], frames: np.ndarray
) -> tuple[dict[str, np.ndarray], int, int]:
    """Vectors of frames (C,) or clips (C, T) by set; what several strategies chose alike is embedded once.

    Also the frames that went through the backbone, by which a clip costs, and the vectors that sharing saved.
    """
    vectors, units, saved = {}, 0, 0
    for shape in dict.fromkeys(index.shape[1:] for index in wanted.values()):
        alike = {key: index for key, index in wanted.items() if index.shape[1:] == shape}
        distinct, places = np.unique(np.concatenate(list(alike.values())), axis=0, return_inverse=True)
        embedded = backbone.embed(frames, distinct.astype(np.int32))
        ends = np.cumsum([len(index) for index in alike.values()])
        vectors |= dict(zip(alike, np.split(embedded[places.reshape(-1)], ends[:-1]), strict=True))
        units += distinct.size
        saved += int(ends[-1]) - len(distinct)
    return vectors, units, saved
