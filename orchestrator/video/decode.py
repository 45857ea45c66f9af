"""A video file to frames on the 24 fps grid, by one decoding in a child process that can be killed."""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

import orchestrator
from orchestrator.errors import StoreError, TrailerError
from orchestrator.video.damage import last_words
from orchestrator.video.files import local_copy, video_digest, video_stat
from orchestrator.video.geometry import FRAME_SIDE, GEOMETRY, THUMB, resized_size
from orchestrator.video.wire import HEADER

__all__ = ["FRAME_SIDE", "GEOMETRY", "THUMB", "Decoded", "Decoder", "video_digest", "video_stat"]

RENEW_AFTER = 200
"""Trailers after which the child is replaced, since decord leaks a little with each file."""

START_S = 120.0
"""Seconds that the child may take to start; loading its libraries from a cold network disk is slow."""

PIPE_BYTES = 1 << 20


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
        self._child: _Child | None = None

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

    def _ready_child(self) -> _Child:
        if self._child and (self._child.served >= RENEW_AFTER or not self._child.alive):
            self.close()
        if not self._child:
            self._child = _Child(self._stall_s)
        return self._child

    def _receive(self, child: _Child, local: str) -> Decoded:
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
            repeat = np.array(answer["repeat"])
            chunk = child.frames((len(repeat), *shape))
            until = filled + int(repeat.sum())
            decoded.frames[filled:until] = np.repeat(crop_frames(chunk, size), repeat, axis=0)
            decoded.thumbs[filled:until] = np.repeat(make_thumbs(chunk), repeat, axis=0)
            filled = until
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
            raise StoreError(f"no room for a trailer's frames, {where}: {error.strerror}; set TMPDIR") from error


class _Child:
    """One decode_child process and the conversation with it."""

    def __init__(self, stall_s: float) -> None:
        self._stall_s, self._total_s = START_S, START_S
        self._deadline = time.monotonic() + START_S
        self.served = 0
        self.answered = True
        """False while an answer is under way, so that the child can't be asked again."""
        self._log = tempfile.TemporaryFile()
        fcntl.fcntl(self._log.fileno(), fcntl.F_SETFL, os.O_APPEND)  # the child empties it before each trailer
        alive, self._lifeline = os.pipe()  # closing our end kills the child, whatever it is doing
        package = str(Path(orchestrator.__file__).parents[1])
        search = os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH"))))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "orchestrator.video.decode_child", str(alive)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            bufsize=0,
            pass_fds=(alive,),
            env=os.environ | {"PYTHONPATH": search},
        )
        os.close(alive)
        assert self._process.stdin and self._process.stdout
        self._requests, self._answers = self._process.stdin, self._process.stdout
        _widen(self._answers.fileno())
        self._receive_json()  # "ready"
        self._stall_s = stall_s

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        self._process.kill()
        for close in (self._requests.close, self._answers.close, self._log.close, lambda: os.close(self._lifeline)):
            _try(close)
        _try(lambda: self._process.wait(5))  # a process stuck in the kernel can't be waited for

    def ask(self, request: dict[str, Any], total_s: float) -> None:
        """Send a request whose whole answer must be there within `total_s`."""
        self._total_s, self._deadline, self.answered = total_s, time.monotonic() + total_s, False
        self.served += 1
        try:
            self._requests.write(json.dumps(request).encode() + b"\n")
        except BrokenPipeError:
            raise self._obituary() from None

    def answer(self) -> dict[str, Any]:
        """The next JSON message. Raises TrailerError for an `error` answer and for a child that died or hangs."""
        message = self._receive_json()
        self.answered = "done" in message or "error" in message
        if "error" in message:
            raise TrailerError(*message["error"])
        return message

    def frames(self, shape: tuple[int, ...]) -> np.ndarray:
        """The raw frames of the next message, uint8 of that shape."""
        frames = np.empty(shape, np.uint8)
        kind, length = self._receive_header()
        if kind != b"F" or length != frames.nbytes:
            raise RuntimeError(f"decoder child: {length} bytes of kind {kind!r} where {shape} frames were due")
        self._fill(memoryview(frames).cast("B"))
        return frames

    def _receive_json(self) -> dict[str, Any]:
        kind, length = self._receive_header()
        if kind != b"J":
            raise RuntimeError(f"decoder child: a message of kind {kind!r} where JSON was due")
        body = bytearray(length)
        self._fill(memoryview(body))
        message: dict[str, Any] = json.loads(body)
        return message

    def _receive_header(self) -> tuple[bytes, int]:
        header = bytearray(HEADER.size)
        self._fill(memoryview(header))
        kind, length = HEADER.unpack(header)
        return kind, length

    def _fill(self, target: memoryview) -> None:
        """Read until `target` is full, a limit is reached or the child is gone."""
        descriptor = self._answers.fileno()
        while target:
            left = min(self._stall_s, self._deadline - time.monotonic())
            if left <= 0 or not select.select([descriptor], [], [], left)[0]:
                raise self._too_slow()
            count = os.readv(descriptor, [target])
            if not count:
                raise self._obituary()
            target = target[count:]

    def _too_slow(self) -> TrailerError:
        if time.monotonic() < self._deadline:
            return TrailerError("decode", f"the decoder gave no frame for {self._stall_s:g} s and was stopped")
        return TrailerError("decode", f"decoding took more than {self._total_s:g} s and was stopped")

    def _obituary(self) -> TrailerError:
        self._process.kill()
        code = self._process.wait(5)
        said = last_words(os.pread(self._log.fileno(), 1 << 16, 0).decode(errors="replace"))
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
        return TrailerError("decode", f"the decoder {how} in the middle of this file" + (f" ({said})" if said else ""))


def _widen(descriptor: int) -> None:
    """A bigger pipe means fewer switches between the processes; where it is not allowed, the usual one does."""
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        _try(lambda: fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, PIPE_BYTES))


def _try(action: Callable[[], Any]) -> None:
    try:
        action()
    except (OSError, subprocess.TimeoutExpired):
        pass
