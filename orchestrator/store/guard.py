"""A short stretch of work that one process of a folder does at a time."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from orchestrator.errors import StoreError
from orchestrator.store.files import FileTree

PATIENCE_S = 30.0
"""Seconds in which whoever rewrites a small file is done with it."""

_POLL_S = 0.02

_NO_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}
"""What a filesystem answers that knows no locks."""


@contextmanager
def guard(tree: FileTree, path: str, patience: float) -> Iterator[bool]:
    """Within the block no other process is in its own block of the same `path`, a hidden file that stays.

    Yields False where the filesystem has no locks, as on an object store, and promises nothing then. The system frees
    the lock of a process that dies. Raises StoreError, also when another keeps the lock for `patience` seconds.
    """
    if tree.local is None:
        yield False
        return
    full = str(tree.local / path)
    with tree.explain("lock", path):
        os.makedirs(os.path.dirname(full), exist_ok=True)
        handle = os.open(full, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        with tree.explain("lock", path):
            locked = _lock(handle, patience)
        if locked is None:
            raise StoreError(f"{full}: another process has kept this lock for {patience:g} s; is one of them stopped?")
        try:
            yield locked
        finally:
            if locked:  # by name, as a child that was forked meanwhile has the file open, too
                fcntl.flock(handle, fcntl.LOCK_UN)
    finally:
        os.close(handle)


def _lock(handle: int, patience: float) -> bool | None:
    """True with the lock, False where there are none, None where it can't be had."""
    start = time.monotonic()
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() - start >= patience:
                return None
            time.sleep(_POLL_S)
        except OSError as fault:
            if fault.errno in _NO_LOCKS:
                return False
            raise
