"""A video file to frames on the 24 fps grid, by one decoding in a child process that can be killed."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from fractions import Fraction
from types import TracebackType
from typing import Any

import numpy as np

from orchestrator.errors import TrailerError
from orchestrator.video.child import Child
from orchestrator.video.files import local_copy, video_digest, video_stat
from orchestrator.video.geometry import FRAME_SIDE, GEOMETRY, THUMB, resized_size

__all__ = ["FRAME_SIDE", "GEOMETRY", "THUMB", "Decoded", "Decoder", "video_digest", "video_stat"]

RENEW_AFTER = 200
"""Trailers after which the child is replaced, since decord leaks a little with each file."""


@dataclass
class Decoded:
    """A trailer on the 24 fps grid, RGB: `frames` uint8 (N, 224, 224, 3) and `thumbs` uint8 (N, 27, 48, 3).

    `source` says what the file was: fps, width, height (as displayed), duration_s, frames, codec, format, rotation.
    """

    frames: np.ndarray
    thumbs: np.ndarray
    source: dict[str, Any]


class Decoder:
    """Decodes one trailer at a time in a child process, which it starts when first needed and keeps.

    `stall_s`: seconds without a sign of life after which the child is killed; `total_s`: the same for a whole
    trailer; `spill_bytes`: frames beyond this go to a deleted file in TMPDIR instead of memory; `threads`: of the
    decoder. None of them changes a pixel. Use as a context manager, or close().
    """

    def __init__(
        self, stall_s: float = 60.0, total_s: float = 900.0, spill_bytes: int = 1 << 30, threads: int = 2
    ) -> None:
        self._stall_s, self._total_s, self._spill_bytes, self._threads = stall_s, total_s, spill_bytes, threads
        self._child: Child | None = None

    def __enter__(self) -> Decoder:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @property
    def child_pid(self) -> int | None:
        """Process id of the child that waits for work or decodes, None when there is none."""
        return self._child.pid if self._child else None

    def close(self) -> None:
        """End the child. The decoder may be used again: it starts another."""
        if self._child:
            self._child.kill()
        self._child = None

    def decode(self, path: str) -> Decoded:
        """Frames of the file or URI `path`. Raises TrailerError("read" | "decode", a reason a person understands)."""
        with local_copy(path, self._stall_s) as local:
            child = self._ready_child()
            try:
                return self._receive(child, local)
            except TrailerError:
                if not child.answered:
                    self.close()
                raise
            except BaseException:
                self.close()  # it may be half-way through an answer
                raise

    def _ready_child(self) -> Child:
        if self._child and (self._child.served >= RENEW_AFTER or not self._child.alive):
            self.close()
        if not self._child:
            self._child = Child(self._stall_s)
        return self._child

    def _receive(self, child: Child, local: str) -> Decoded:
        from orchestrator.video.resize import crop_frames, make_thumbs  # torch only where frames are made

        child.ask({"path": local, "threads": self._threads}, self._total_s)
        begin = child.answer()["begin"]
        count, shape = begin["frames"], (begin["height"], begin["width"], 3)
        size = resized_size(Fraction(*begin["aspect"]))
        decoded = Decoded(self._room_for(count), np.empty((count, *THUMB, 3), np.uint8), begin["source"])
        filled = 0
        while "done" not in (answer := child.answer()):
            if "again" in answer:
                filled = 0
                continue
            chunk = child.frames((len(answer["repeat"]), *shape))
            for frame, thumb, times in zip(crop_frames(chunk, size), make_thumbs(chunk), answer["repeat"], strict=True):
                decoded.frames[filled : filled + times] = frame
                decoded.thumbs[filled : filled + times] = thumb
                filled += times
        if filled != count:
            raise TrailerError("decode", f"{filled} of {count} frames came out of the decoder")
        return decoded

    def _room_for(self, count: int) -> np.ndarray:
        shape = (count, FRAME_SIDE, FRAME_SIDE, 3)
        if (size := int(np.prod(shape))) <= self._spill_bytes:
            return np.empty(shape, np.uint8)
        try:
            with tempfile.TemporaryFile(prefix="divita-frames-") as file:
                os.posix_fallocate(file.fileno(), 0, size)  # a full disk is an error here, a SIGBUS later
                return np.memmap(file, np.uint8, "r+", shape=shape)
        except OSError as error:
            where = f"{size / 1e9:.1f} GB in {tempfile.gettempdir()}"
            raise TrailerError("decode", f"no room for its frames, {where} ({error.strerror}); set TMPDIR") from error
