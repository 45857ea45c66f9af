"""The decoder's child process: requests in on stdin, frames out on stdout, FFmpeg's complaints into stderr's file.

It is a process of its own because decord can hang or crash in native code, holding the interpreter lock, and only
killing it helps. It imports no torch, so it starts in a fraction of a second and stays small.

Each request is a line of JSON, `{"path": …, "threads": …}`. The answers: JSON `{"begin": …}`, then for each chunk JSON
`{"repeat": [how many grid frames each frame fills]}` and its raw frames, then `{"done": true}`; `{"again": true}`
takes back all frames so far; `{"error": [stage, reason]}` ends the answer at any point.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable

import av.logging
import decord
import numpy as np

from orchestrator.errors import TrailerError
from orchestrator.video.container import Contents, inspect
from orchestrator.video.damage import find_damage, last_words
from orchestrator.video.files import check_readable
from orchestrator.video.geometry import decoded_size
from orchestrator.video.grid import lay_grid
from orchestrator.video.readers import DecordUnable, read_with_av, read_with_decord
from orchestrator.video.wire import write_json, write_message

LOG_LIMIT = 1 << 20
"""Bytes of messages about one file that are looked at; a badly damaged one brings thousands of lines."""


def main() -> None:
    """Serve until stdin ends; dies with the parent even when stuck in native code."""
    lifeline = int(sys.argv[1])
    die_with_parent(lifeline)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to act on
    answers = os.dup(1)
    os.dup2(2, 1)  # whatever a library prints must not land between the frames
    decord.logging.set_level(decord.logging.ERROR)
    av.logging.set_level(av.logging.ERROR)
    av.logging.restore_default_callback()
    write_json(answers, {"ready": True})
    with contextlib.suppress(BrokenPipeError):
        for line in sys.stdin:
            request = json.loads(line)
            os.ftruncate(2, 0)
            serve(answers, request["path"], request["threads"])


def die_with_parent(lifeline: int) -> None:
    """Have the kernel kill this process when the other end of the pipe `lifeline` closes, whatever it is doing.

    PR_SET_PDEATHSIG would do the same when the *thread* that started the child ends, which may be any moment.
    """
    if not hasattr(fcntl, "F_SETSIG"):  # not Linux: the end of stdin and a broken pipe must do
        return
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    end = select.poll()
    end.register(lifeline)
    if end.poll(0):  # it had already closed
        os._exit(1)


def serve(answers: int, path: str, threads: int) -> None:
    """Answer one request; every fault of the file becomes an `error` answer."""
    try:
        check_readable(path)
        contents = inspect(path, _sign_of_life(answers))
        _raise_damage()
        size = decoded_size(contents.aspect)
        shown = lay_grid(contents.times, contents.end, contents.time_base)
        begin = {"frames": len(shown), "width": size[0], "height": size[1], "source": contents.source}
        aspect = [contents.aspect.numerator, contents.aspect.denominator]
        write_json(answers, {"begin": begin | {"aspect": aspect}})
        _send_frames(answers, path, contents, shown, size, threads)
        _raise_damage()
        write_json(answers, {"done": True})
    except TrailerError as error:
        write_json(answers, {"error": [error.stage, error.reason]})
    except BrokenPipeError:
        raise
    except Exception as error:  # a fault of ours, or a way to be broken that nobody has seen yet
        hint = last_words(_log())
        reason = f"{type(error).__name__}: {error}" + (f" ({hint})" if hint else "")
        write_json(answers, {"error": ["decode", f"the decoder failed: {reason}"]})


def _send_frames(
    answers: int, path: str, contents: Contents, shown: np.ndarray, size: tuple[int, int], threads: int
) -> None:
    """Send every source frame that the grid shows once, with the number of grid frames it fills."""
    wanted, repeat = np.unique(shown, return_counts=True)
    readers = [read_with_decord] if contents.plain else []
    for reader in [*readers, read_with_av]:
        try:
            sent = 0
            for chunk in reader(path, contents, wanted, size, threads):
                write_json(answers, {"repeat": repeat[sent : sent + len(chunk)].tolist()})
                write_message(answers, b"F", np.ascontiguousarray(chunk).reshape(-1).data)
                sent += len(chunk)
            return
        except DecordUnable:
            _raise_damage()
            write_json(answers, {"again": True})  # decord's limits, not the file's fault: PyAV decides


def _sign_of_life(answers: int) -> Callable[[], None]:
    """A function that tells the parent, once a second at most, that the child is not stuck."""
    told = time.monotonic()

    def busy() -> None:
        nonlocal told
        if time.monotonic() - told > 1:
            told = time.monotonic()
            write_json(answers, {"busy": True})

    return busy


def _raise_damage() -> None:
    reason = find_damage(_log())
    if reason:
        raise TrailerError("decode", reason)


def _log() -> str:
    return os.pread(2, LOG_LIMIT, 0).decode(errors="replace")


if __name__ == "__main__":
    main()
