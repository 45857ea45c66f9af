"""Video files wherever they lie: a digest of their bytes, a cheap stamp, and a local copy of a remote one.

Local paths are read directly, other URIs (s3://, https://, memory://) through fsspec. Nothing here needs a decoder.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import stat
import tempfile
import threading
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote, urlsplit

from orchestrator.errors import TrailerError

BLOCK = 1 << 20
MAX_COPY = 8 << 30
"""Most bytes of a remote file that are copied for decoding; a trailer has a few hundred megabytes at most."""


def video_digest(path: str) -> str:
    """32 hex digits (BLAKE2b) of the file's bytes; raises TrailerError("read", …) when they can't be read."""
    digest = hashlib.blake2b(digest_size=16)
    local = local_path(path)
    with _explained(path), _open_remote(path) if local is None else _open_local(local) as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def video_stat(path: str) -> dict[str, Any]:
    """`size` in bytes and `mtime_ns`, or for a remote file whatever stamp its store gives as `etag`. Reads no bytes."""
    local = local_path(path)
    with _explained(path):
        if local is not None:
            found = os.stat(local)
            return {"size": found.st_size, "mtime_ns": found.st_mtime_ns}
        filesystem, inner = _filesystem(path)
        info = filesystem.info(inner)
        stamps = (info.get(name) for name in ("etag", "ETag", "md5Hash", "LastModified", "mtime", "created"))
        return {"size": info.get("size"), "etag": str(next((s for s in stamps if s), ""))}


def local_path(path: str) -> str | None:
    """The path on this machine that `path` names, or None where it is the URI of something elsewhere."""
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", path)
    if not scheme:
        return os.path.abspath(path)
    return unquote(urlsplit(path).path) if scheme[1].lower() in ("file", "local") else None


def check_readable(path: str) -> None:
    """Raise TrailerError("read", …) unless the local `path` is a file with bytes in it that may be read."""
    with _explained(path), _open_local(path) as file:
        if not file.read(1):
            raise TrailerError("read", "the file is empty (0 bytes)")


@contextlib.contextmanager
def local_copy(path: str, stall_s: float, max_bytes: int = MAX_COPY) -> Iterator[str]:
    """A path on this machine with the bytes of `path`; the copy of a remote file is deleted on the way out.

    Raises TrailerError("read", …) when no byte comes for `stall_s` seconds or there are more than `max_bytes`.
    """
    local = local_path(path)
    if local is not None:
        yield local
        return
    suffix = os.path.splitext(urlsplit(path).path)[1][:10]
    with tempfile.NamedTemporaryFile(prefix="divita-", suffix=suffix) as copy:
        _fetch(path, copy.name, stall_s, max_bytes)
        yield copy.name


def _fetch(path: str, target: str, stall_s: float, max_bytes: int) -> None:
    """Copy in a thread of its own, since a read from a dead server can't be interrupted, only left behind."""
    progress = {"bytes": 0, "at": time.monotonic()}
    failure: list[BaseException] = []
    given_up = threading.Event()

    def copy() -> None:
        try:
            with _explained(path), _open_remote(path) as source, open(target, "wb") as file:
                while not given_up.is_set() and (block := source.read(BLOCK)):
                    progress.update(bytes=progress["bytes"] + len(block), at=time.monotonic())
                    if progress["bytes"] > max_bytes:
                        raise TrailerError("read", f"the file has more than {max_bytes / 1e9:.3g} GB")
                    file.write(block)
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=copy, name="divita-fetch", daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(max(0.01, min(1.0, stall_s)))
        if thread.is_alive() and time.monotonic() - progress["at"] > stall_s:
            given_up.set()
            raise TrailerError("read", f"no byte came from {path} for {stall_s:g} s")
    if failure:
        raise failure[0]


def _open_local(path: str) -> Any:
    kind = os.stat(path).st_mode
    if stat.S_ISDIR(kind):
        raise TrailerError("read", "this is a directory, not a video file")
    if not stat.S_ISREG(kind):  # opening a pipe or a device could wait for ever
        raise TrailerError("read", "this is a pipe, a socket or a device, not a video file")
    return open(path, "rb")


def _open_remote(path: str) -> Any:
    filesystem, inner = _filesystem(path)
    return filesystem.open(inner, "rb")


def _filesystem(path: str) -> tuple[Any, str]:
    import fsspec  # not at the top: a plan over local files needs none of it

    filesystem, inner = fsspec.core.url_to_fs(path)
    return filesystem, str(inner)


@contextlib.contextmanager
def _explained(path: str) -> Iterator[None]:
    """Turn what opening or reading `path` can raise into one TrailerError that says why."""
    try:
        yield
    except (TrailerError, KeyboardInterrupt, SystemExit):
        raise
    except FileNotFoundError:
        raise TrailerError("read", f"there is no such file: {path}") from None
    except PermissionError:
        raise TrailerError("read", "this user may not read the file (permission denied)") from None
    except ImportError as error:
        scheme = path.partition("://")[0]
        raise TrailerError("read", f"{scheme}:// needs a Python package that is not installed: {error}") from None
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise TrailerError("read", f"no room in {tempfile.gettempdir()} for a copy of the file") from None
        raise TrailerError("read", f"the file can't be read: {error.strerror or error}") from None
    except Exception as error:  # fsspec's back ends raise whatever their libraries do
        raise TrailerError("read", f"the file can't be read: {type(error).__name__}: {error}") from None
