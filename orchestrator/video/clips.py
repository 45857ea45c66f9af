"""Cutting clips out of a trailer, and the frame that stands for a clip. Pure arithmetic on arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from orchestrator.specs import ClipSpec

PADDING = -1
"""In a clip's frame indices: a black frame."""

BINS = 512

REPRESENTATIVE: dict[str, Any] = {
    "version": 1,
    "histogram": "joint RGB, 8 bins a channel, counts over the 224x224 centre crop",
    "chosen": "greatest intersection with the mean over the clip's kept real frames, first on ties",
}
"""How the frame for a 2D backbone is chosen, in plain JSON. Raise `version` with any change of the choice."""


def cut_clips(n_frames: int, shots: npt.ArrayLike | None, clip: ClipSpec) -> npt.NDArray[np.int32]:
    """(C, clip.kept) int32: for each clip the grid frames it shows, `PADDING` for black.

    A span of n frames gives ceil(n / clip.frames) clips, the last right-padded with black (FIDELITY, From trailer to
    clips, 2). The spans are the (S, 2) half-open `shots` for strategy `shot`, the whole trailer for `seq`, which
    ignores `shots`. A frame rate below 24 keeps every clip.step-th frame of a clip, from its first. Strategy `even`
    gives clip.frames clips of one frame, the middles of as many equal stretches of the trailer; a trailer with fewer
    frames shows some twice.
    """
    if clip.strategy == "even":
        middles = (2 * np.arange(clip.frames, dtype=np.int64) + 1) * n_frames // (2 * clip.frames)
        return middles[: clip.frames if n_frames else 0, None].astype(np.int32)
    if clip.strategy == "seq":
        spans = np.array([[0, n_frames]])
    elif shots is None:
        raise ValueError(f"{clip.name} clips need shots")
    else:
        spans = np.asarray(shots, np.int64).reshape(-1, 2)
        if len(spans) and (spans.min() < 0 or spans.max() > n_frames):
            raise ValueError(f"shots reach from {spans.min()} to {spans.max()}, the trailer has {n_frames} frames")
    clips = [_cut_span(int(start), int(end), clip.frames) for start, end in spans]
    return np.concatenate([*clips, np.empty((0, clip.frames), np.int32)])[:, :: clip.step]


def _cut_span(start: int, end: int, frames: int) -> npt.NDArray[np.int32]:
    """(ceil((end - start) / frames), frames)"""
    count = -(-(end - start) // frames)
    index = np.full(count * frames, PADDING, np.int32)
    index[: end - start] = np.arange(start, end)
    return index.reshape(count, frames)


def histograms(frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint16]:
    """(N, 512) uint16: joint RGB colour counts of uint8 frames (N, h, w, 3), 8 bins a channel.

    Bin r * 64 + g * 8 + b of the channels' upper three bits. A frame may have at most 65,535 pixels.
    """
    if frames[0:1].size // 3 > np.iinfo(np.uint16).max:
        raise ValueError(f"frames of {frames.shape[1]} x {frames.shape[2]} pixels overflow the counts")
    counts = np.empty((len(frames), BINS), np.uint16)
    for row, frame in zip(counts, frames, strict=True):
        bins = (frame[..., 0] >> 5).astype(np.uint16)
        for channel in (1, 2):
            bins <<= 3
            bins |= frame[..., channel] >> 5
        row[:] = np.bincount(bins.ravel(), minlength=BINS)
    return counts


def representative_frames(counts: npt.NDArray[np.uint16], clips: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """(C,) int32: the grid frame of each clip whose histogram is most similar to the clip's mean histogram.

    `counts` (N, 512) of all grid frames, `clips` (C, T) of `cut_clips`. Similarity is histogram intersection, over
    the clip's real frames only; the first of equals wins (DIViTA §4; FIDELITY, From trailer to clips, 4). Whole
    numbers throughout, so that ties are exact.
    """
    chosen = np.empty(len(clips), np.int32)
    for row, clip in enumerate(clips):
        real = clip[clip != PADDING]
        own = counts[real].astype(np.int64)
        # intersection with the mean, times len(real): sum of min(n h, sum h) is n times that of min(h, mean h)
        chosen[row] = real[np.minimum(own * len(real), own.sum(0)).sum(1).argmax()]
    return chosen
