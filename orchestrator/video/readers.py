"""Two ways to get scaled RGB frames out of a file in ascending order: decord, and PyAV for what decord can't do.

Runs in the decoder's child process. decord is the faster by half. It goes wrong on transport streams (no end),
files trimmed by an edit list (hidden frames are counted, everything shifts), missing timestamps and AV1.
"""

from __future__ import annotations

from collections.abc import Iterator

import av
import av.error
import decord
import numpy as np

from orchestrator.errors import TrailerError
from orchestrator.video.container import OPENING, Contents

CHUNK_BYTES = 8 << 20
"""About 28 frames of a widescreen trailer at a time."""

ANY_REPAIRED = 1e-9
"""decord's `fault_tol` as a share of the frames: not a single one may be a copy of its neighbour."""


class DecordUnable(Exception):
    """decord gave up on a file that may well be good."""


def read_with_decord(
    path: str, contents: Contents, wanted: np.ndarray, size: tuple[int, int], threads: int
) -> Iterator[np.ndarray]:
    """Chunks of uint8 (n, height, width, 3), one frame per entry of `wanted` (ascending, distinct frame indices).

    decord turns the picture by its rotation metadata before it scales. Raises DecordUnable.
    """
    width, height = size
    try:
        reader = decord.VideoReader(path, width=width, height=height, num_threads=threads, fault_tol=ANY_REPAIRED)
        if len(reader) != len(contents.times):
            raise DecordUnable(f"decord counts {len(reader)} frames, the container {len(contents.times)}")
        step = max(1, CHUNK_BYTES // (width * height * 3))
        for start in range(0, len(wanted), step):
            yield reader.get_batch(wanted[start : start + step]).asnumpy()
    except DecordUnable:
        raise
    except Exception as error:  # decord's own errors share no base class
        raise DecordUnable(f"{type(error).__name__}: {error}") from None


def read_with_av(
    path: str, contents: Contents, wanted: np.ndarray, size: tuple[int, int], threads: int
) -> Iterator[np.ndarray]:
    """The same with PyAV. Raises TrailerError where pictures are broken or fewer than the container declares."""
    width, height = size if contents.rotation in (0, 180) else size[::-1]
    step = max(1, CHUNK_BYTES // (width * height * 3))
    place = {t: i for i, t in enumerate(contents.times)}
    chunk: list[np.ndarray] = []
    shown, asked = 0, iter(wanted.tolist())
    ahead = next(asked, None)
    try:
        with av.open(path, **OPENING) as container:
            stream = container.streams[contents.stream]
            stream.codec_context.thread_type, stream.codec_context.thread_count = "AUTO", threads
            for frame in container.decode(stream):
                if frame.is_corrupt:
                    raise TrailerError("decode", f"the video is damaged: picture {shown} is broken")
                index = place.get(frame.pts) if contents.stamped else shown
                shown += 1
                if index == ahead:
                    picture = frame.reformat(width, height, "rgb24", interpolation="BICUBIC").to_ndarray()
                    chunk.append(np.rot90(picture, contents.rotation // 90))
                    ahead = next(asked, None)
                    if len(chunk) == step or ahead is None:
                        yield np.stack(chunk)
                        chunk = []
    except (av.error.FFmpegError, ValueError) as error:
        raise TrailerError("decode", f"the video is damaged after {shown} frames ({error})") from None
    if ahead is not None or shown < len(contents.times):
        raise TrailerError("decode", f"the video is damaged: {shown} of its {len(contents.times)} frames decode")
