"""Digests of video files, kept so that a file that did not change is not read again only to know it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.store import documents
from orchestrator.store.files import FileTree
from orchestrator.store.guard import PATIENCE_S, guard

_PATH, _GUARD = "video_digests.json", ".video_digests.lock"


class VideoDigests:
    """By path: the digest of a file's bytes and the cheap facts (size, mtime_ns or etag) under which it was made."""

    def __init__(self, tree: FileTree) -> None:
        self._tree = tree
        self._known: dict[str, dict[str, Any]] | None = None
        self._new: dict[str, dict[str, Any]] = {}

    def lookup(self, path: str, stat: Mapping[str, Any]) -> str | None:
        """The digest of the file at `path`; None when it is not known or any of the facts in `stat` changed."""
        if self._known is None:
            self._known = self._read()
        entry = self._new.get(path) or self._known.get(path)
        if entry is None or entry["stat"] != dict(stat):
            return None
        return str(entry["digest"])

    def record(self, path: str, stat: Mapping[str, Any], digest: str) -> None:
        """Remembers a digest; `stat` must have been taken before the bytes were read."""
        self._new[path] = {"stat": dict(stat), "digest": digest}

    def save(self) -> None:
        """Writes what was recorded, atomically, beside what other processes wrote meanwhile. Raises StoreError."""
        if not self._new:
            return
        with guard(self._tree, _GUARD, PATIENCE_S):
            self._known = self._read() | self._new
            documents.write_document(self._tree, _PATH, self._known)
        self._new = {}

    def _read(self) -> dict[str, dict[str, Any]]:
        """Entries of the right form only: this is a cache, what is wrong in it is made again."""
        entries = documents.read_document(self._tree, _PATH)
        if not isinstance(entries, dict):
            return {}
        return {p: e for p, e in entries.items() if isinstance(e, dict) and {"stat", "digest"} <= set(e)}
