"""Atomic files under one root, on the local disk or on any filesystem that fsspec or pyarrow opens by URI.

A reader never meets half a file: on the local disk a file is written beside its place, flushed and renamed; an
object store publishes a put whole or not at all. What an interrupted writer leaves starts with `.` and ends with
`.tmp`; no listing shows it.
"""

from __future__ import annotations

import errno
import io
import os
import posixpath
import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import pyarrow as pa

from orchestrator.errors import StoreError
from orchestrator.store.filesystems import SINGLE_PUT, open_filesystem

LEFTOVER_S = 3600.0
"""Age in seconds from which an interrupted writer's leftover may be removed: no write takes that long."""

_ADVICE = {
    errno.ENOSPC: "the disk is full; free some space or choose another --workspace, then run the same again",
    errno.EDQUOT: "the quota is used up; free some space or choose another --workspace, then run the same again",
    errno.EROFS: "it is on a read-only filesystem; choose another --workspace",
    errno.EACCES: "permission denied; check the rights of the folder or choose another --workspace",
    errno.EPERM: "permission denied; check the rights of the folder or choose another --workspace",
    errno.EFBIG: "the file is larger than this filesystem or the user's limits (ulimit -f) allow",
    errno.ENOTDIR: "a file stands where a folder is needed; choose another --workspace",
    errno.EEXIST: "a file stands where a folder is needed; choose another --workspace",
}

_In = TypeVar("_In")
_Out = TypeVar("_Out")


class FileTree:
    """Files under `uri`, named by relative paths with `/`. Nothing is made before the first write. Picklable."""

    def __init__(self, uri: str | os.PathLike[str]) -> None:
        text = os.fspath(uri)
        self.uri = text if text.endswith("://") else text.rstrip("/") or "/"
        self._fs, root, protocol = open_filesystem(self.uri)
        self.local: Path | None = Path(root).absolute() if protocol in ("file", "local") else None
        self.root = str(self.local) if self.local else root.rstrip("/")
        self._single_put = protocol in SINGLE_PUT

    def __reduce__(self) -> tuple[Any, ...]:
        return FileTree, (self.uri if self.local is None else str(self.local),)

    def __repr__(self) -> str:
        return f"FileTree({self.uri!r})"

    def subtree(self, path: str) -> FileTree:
        """The tree under `path`."""
        return FileTree(self.where(path))

    def where(self, path: str = "") -> str:
        """The full path or URI of `path`, as messages show it and other programs open it."""
        if self.local is not None:
            return str(self.local / path) if path else str(self.local)
        # An object store's options follow its path: s3://bucket/place?region=eu-west-1
        base, mark, options = self.uri.partition("?")
        return (f"{base}{'' if base.endswith('/') else '/'}{path}" if path else base) + mark + options

    def _full(self, path: str) -> str:
        return posixpath.join(self.root, path) if path else self.root

    @contextmanager
    def create(self, path: str, *, durable: bool = True) -> Iterator[BinaryIO]:
        """A binary file that appears at `path`, replacing what was there, when the block ends without an error.

        Without `durable` it is not flushed to the disk, so that a power cut may leave a torn one: for what is written
        often, carries a checksum and can be done without. Raises StoreError when the disk is full, read-only or closed
        to this user; nothing is then left behind.
        """
        if self.local is not None:
            with self.explain("write", path), self._create_locally(path, durable) as file:
                yield file
            return
        buffer = io.BytesIO()
        yield buffer
        with self.explain("write", path):
            self._put(path, buffer.getvalue())

    @contextmanager
    def _create_locally(self, path: str, durable: bool) -> Iterator[BinaryIO]:
        target = self._full(path)
        folder, name = os.path.split(target)
        os.makedirs(folder, exist_ok=True)
        aside = os.path.join(folder, _aside_name(name))
        try:
            with open(aside, "xb") as file:
                yield file
                file.flush()
                if durable:
                    os.fsync(file.fileno())
            try:
                os.replace(aside, target)
            except FileNotFoundError as fault:
                what = "its folder was removed or cleaned while it was written; run the same again"
                raise StoreError(f"{self.where(path)}: can't write: {what}") from fault
        except BaseException:
            with suppress(OSError):
                os.unlink(aside)
            raise
        if durable:
            _sync_folder(folder)

    def _put(self, path: str, data: bytes) -> None:
        target = self._full(path)
        if self._single_put:
            self._fs.pipe_file(target, data)
            return
        folder, name = posixpath.split(target)
        with suppress(FileExistsError):
            self._fs.makedirs(folder, exist_ok=True)
        aside = posixpath.join(folder, _aside_name(name))
        try:
            self._fs.pipe_file(aside, data)
            self._fs.mv(aside, target)
        except BaseException:
            with suppress(OSError):
                self._fs.rm_file(aside)
            raise

    def write_bytes(self, path: str, data: bytes, *, durable: bool = True) -> None:
        """Puts `data` at `path`, whole or not at all; `durable` as in `create`. Raises StoreError."""
        with self.create(path, durable=durable) as file:
            file.write(data)

    def read_bytes(self, path: str, size: int | None = None) -> bytes:
        """All of a file, or at most its first `size` bytes.

        Raises FileNotFoundError, or StoreError when it is there but can't be read.
        """
        with self.explain("read", path):
            if self.local is not None:
                with open(self._full(path), "rb") as file:
                    return file.read(size)
            data: bytes = self._fs.cat_file(self._full(path), start=None if size is None else 0, end=size)
            return data

    def open(self, path: str) -> pa.NativeFile:
        """A file for random reads by pyarrow. Raises FileNotFoundError or StoreError."""
        with self.explain("read", path):
            if self.local is not None:
                return pa.OSFile(self._full(path), "rb")
            # pyarrow asks for just the ranges it needs; reading ahead would fetch every part whole for its ids.
            return pa.PythonFile(self._fs.open(self._full(path), "rb", cache_type="none"), mode="r")

    def exists(self, path: str) -> bool:
        """Whether a file is at `path`."""
        with self.explain("read", path):
            return os.path.exists(self._full(path)) if self.local is not None else self._fs.exists(self._full(path))

    def names(self, folder: str = "") -> list[str]:
        """Sorted names of the files in a folder, by one listing; empty where there is no such folder."""
        return [name for name, is_folder in self._entries(folder) if not is_folder and not is_leftover(name)]

    def folders(self, folder: str = "") -> list[str]:
        """Sorted names of the folders in a folder, by one listing; empty where there is no such folder."""
        return [name for name, is_folder in self._entries(folder) if is_folder and not is_leftover(name)]

    def _entries(self, folder: str) -> list[tuple[str, bool]]:
        full = self._full(folder)
        try:
            with self.explain("list", folder):
                if self.local is not None:
                    with os.scandir(full) as entries:
                        return sorted((e.name, e.is_dir()) for e in entries)
                self._fs.invalidate_cache(full)
                found = self._fs.ls(full, detail=True)
        except FileNotFoundError:
            return []
        rows = [(e["name"].rstrip("/"), e["type"] == "directory") for e in found]
        # Some object stores list a folder's own marker, or the file itself when it is not a folder.
        return sorted((posixpath.basename(name), d) for name, d in rows if name.strip("/") != full.strip("/"))

    def size(self, path: str) -> int:
        """Bytes of a file. Raises FileNotFoundError or StoreError."""
        with self.explain("read", path):
            return os.path.getsize(self._full(path)) if self.local is not None else self._fs.size(self._full(path))

    def remove(self, path: str) -> None:
        """Removes a file; no error where there is none."""
        with suppress(FileNotFoundError), self.explain("remove", path):
            if self.local is not None:
                os.unlink(self._full(path))
            else:
                self._fs.rm_file(self._full(path))

    def set_aside(self, path: str) -> str | None:
        """Renames a torn file to `path.torn` and returns that name; None where it can't be renamed."""
        aside = f"{path}.torn"
        try:
            if self.local is not None:
                os.replace(self._full(path), self._full(aside))
            else:
                self._fs.mv(self._full(path), self._full(aside))
        except OSError:
            return None
        return aside

    def clean(self, folder: str = "", older_s: float = LEFTOVER_S) -> int:
        """Removes an interrupted writer's leftovers in a folder that are at least `older_s` seconds old."""
        if self.local is None:
            return 0
        removed = 0
        with suppress(OSError), os.scandir(self._full(folder)) as entries:
            for entry in entries:
                with suppress(OSError):
                    if _is_aside(entry.name) and time.time() - entry.stat().st_mtime >= older_s:
                        os.unlink(entry.path)
                        removed += 1
        return removed

    def check_writable(self) -> None:
        """Writes and removes a small file, so that a full or closed place is found before work is done.

        Raises StoreError, which says what to do.
        """
        probe = f".probe-{secrets.token_hex(4)}.tmp"
        self.write_bytes(probe, b"\0" * 4096)
        self.remove(probe)

    def free_bytes(self) -> int | None:
        """Bytes that this user may still write here; None on a remote filesystem, which knows no such number.

        Raises StoreError.
        """
        if self.local is None:
            return None
        with self.explain("read", ""):
            folder = next(f for f in (self.local, *self.local.parents) if f.exists())
            return shutil.disk_usage(folder).free

    @contextmanager
    def explain(self, action: str, path: str) -> Iterator[None]:
        """Turns the system's refusals into a StoreError; a file that is not there stays FileNotFoundError."""
        try:
            yield
        except FileNotFoundError:
            raise
        except OSError as fault:
            advice = _ADVICE.get(fault.errno or 0) or (fault.strerror or str(fault) or type(fault).__name__)
            raise StoreError(f"{self.where(path)}: can't {action}: {advice}") from fault


def is_leftover(name: str) -> bool:
    """Whether a name is not data: hidden, or written aside and never finished."""
    return name.startswith(".") or name.endswith(".tmp")


def map_files(function: Callable[[_In], _Out], items: Iterable[_In], threads: int | None = None) -> list[_Out]:
    """Applies a reading function to many files at once, in order; reading waits for the disk, not for Python."""
    work = list(items)
    threads = min(len(work), threads or min(16, 4 + (os.cpu_count() or 1)))
    if threads <= 1:
        return [function(item) for item in work]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(function, work))


def _aside_name(name: str) -> str:
    return f".{name[:120]}.{os.getpid()}-{secrets.token_hex(4)}.tmp"


def _is_aside(name: str) -> bool:
    return name.startswith(".") and name.endswith(".tmp")


def _sync_folder(folder: str) -> None:
    """Makes the rename itself survive a power cut; some filesystems can't and say so."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
