"""The conversation with the decoder's child process, with limits on how long it may stay silent."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import orchestrator
from orchestrator.errors import DivitaError, TrailerError
from orchestrator.video.damage import last_words
from orchestrator.video.wire import HEADER

START_S = 120.0
"""Seconds that the child may take to start; loading its libraries from a cold network disk is slow."""

PIPE_BYTES, LOG_BYTES = 1 << 20, 1 << 16


class Child:
    """One decode_child process and the conversation with it. Raises DivitaError when it can't even start."""

    def __init__(self, stall_s: float) -> None:
        self.served = 0
        self.answered = True
        """False while an answer is under way, so that the child can't be asked again."""
        self._stall_s = self._total_s = START_S
        self._deadline = time.monotonic() + START_S
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (open as long as the child runs)
        fcntl.fcntl(self._log.fileno(), fcntl.F_SETFL, os.O_APPEND)  # the child empties it before each trailer
        alive, ours = os.pipe()
        self._lifeline = os.fdopen(ours, "wb", buffering=0)  # its closing kills the child, whatever it is doing
        package = str(Path(orchestrator.__file__).parents[1])
        search = os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH"))))
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "orchestrator.video.decode_child", str(alive)],
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
        self._readable = select.poll()  # select() fails on the high descriptors of a busy process
        self._readable.register(self._answers, select.POLLIN)
        with contextlib.suppress(OSError, AttributeError):  # a bigger pipe means fewer switches, where it is allowed
            fcntl.fcntl(self._answers, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        try:
            self._receive_json()  # "ready"
        except TrailerError as error:
            said = self._said().strip().splitlines()
            self.kill()
            raise DivitaError(f"the video decoder can't start: {said[-1] if said else error.reason}") from None
        self._stall_s = stall_s

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        """End the process; never waits long, since one that is stuck in the kernel can't be ended."""
        self._process.kill()
        for file in (self._requests, self._answers, self._log, self._lifeline):
            with contextlib.suppress(OSError):
                file.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5)

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
        while "busy" in (message := self._receive_json()):
            pass
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
        self._fill(frames.reshape(-1).data)
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
        while target:
            left = min(self._stall_s, self._deadline - time.monotonic())
            if left <= 0 or not self._readable.poll(left * 1000):
                raise self._too_slow()
            count = os.readv(self._answers.fileno(), [target])
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
        said = last_words(self._said())
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
        return TrailerError("decode", f"the decoder {how} in the middle of this file" + (f" ({said})" if said else ""))

    def _said(self) -> str:
        return os.pread(self._log.fileno(), LOG_BYTES, 0).decode(errors="replace")
