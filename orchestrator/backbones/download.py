"""Fetching one file, quickly refused where there is no network, and never left half-written. Imports no torch."""

from __future__ import annotations

import http.client
import logging
import os
import shutil
import tempfile
import threading
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

CONNECT_S = 5.0
"""Seconds without an answer after which a download is given up; name look-ups count."""

_logger = logging.getLogger(__name__)


def offline_reason() -> str | None:
    """Why downloads are forbidden here, or None."""
    for name in ("DIVITA_OFFLINE", "HF_HUB_OFFLINE"):
        if os.environ.get(name, "").lower() in ("1", "true", "yes", "on"):
            return f"{name} forbids downloads"
    return None


def require_reachable(url: str) -> None:
    """Raises OSError unless the URL answers within seconds."""
    _open(url).close()


def download(url: str, target: Path, fault: Callable[[Path], str | None]) -> Path:
    """The file at `url`, written to `target` in one step after `fault` finds none in it.

    Raises OSError: no network, cut short, damaged, no room. Whatever stood at `target` stays until then.
    """
    with _open(url) as response:
        target.parent.mkdir(parents=True, exist_ok=True)
        size = response.headers.get("Content-Length")
        _logger.warning("fetching %s (%s MB)", url, f"{int(size) / 1e6:.0f}" if size else "?")
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f"{target.name}.", suffix=".part")
        part = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                try:
                    shutil.copyfileobj(response, file, 1 << 20)
                except http.client.HTTPException as error:
                    raise OSError(f"{url} was cut short: {error}") from error
                file.flush()
                os.fsync(file.fileno())
            written = part.stat().st_size
            if size is not None and written != int(size):
                raise OSError(f"{url} was cut short: {written} of {size} bytes")
            found = fault(part)
            if found:
                raise OSError(found.replace(str(part), url))
            part.chmod(0o644)  # mkstemp makes it private, yet the cache may be shared
            os.replace(part, target)
        finally:
            part.unlink(missing_ok=True)
    return target


def _open(url: str) -> Any:
    """An open response. Runs in a thread of its own, because looking up a name knows no time limit."""
    answer: list[Any] = []

    def ask() -> None:
        try:
            request = urllib.request.Request(url, headers={"User-Agent": "divita"})
            answer.append(urllib.request.urlopen(request, timeout=CONNECT_S))
        except Exception as error:
            answer.append(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(CONNECT_S + 1)
    if not answer:
        raise TimeoutError(f"{url} did not answer within {CONNECT_S:.0f} s")
    if isinstance(answer[0], Exception):
        raise OSError(f"{url}: {answer[0]}") from answer[0]
    return answer[0]
