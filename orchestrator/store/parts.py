"""Tables that grow by immutable Parquet parts: `<key>/part-*.parquet` and `<key>/spec.json`.

A part is written whole or not at all under a name that no other writer takes, so any number of writers need no
lock. The same row may lie in several parts; readers choose one. A part that can't be read is set aside and its
rows are missing, to be made again.
"""

from __future__ import annotations

import logging
import os
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from orchestrator.errors import StoreError
from orchestrator.store import documents
from orchestrator.store.files import FileTree, map_files

FORMAT = "1"
"""Raised by hand when the layout of parts changes."""

ROW_GROUP_BYTES = 4 << 20
"""Size up to which rows are read together: on a disk small groups stay in the processor's cache and need no memory."""

REMOTE_ROW_GROUP_BYTES = 64 << 20
"""The same on a remote filesystem, where what costs is the number of requests."""

_BUFFER_BYTES = 1 << 20

_T = TypeVar("_T")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PartIndex:
    """What a part holds, without its payload: for each row `mids`, `digests` and `counts` (clips or shots)."""

    name: str
    mids: list[str]
    digests: list[str]
    counts: list[int]
    metadata: dict[str, str]


class PartTable:
    """Rows (mid, digest, count, payload columns) of many keys under one tree, a folder of parts a key."""

    def __init__(self, tree: FileTree, kind: str, count: str, payload: Mapping[str, pa.DataType]) -> None:
        self._tree = tree
        self._kind = kind
        self._count = count
        self._schema = pa.schema(
            {"mid": pa.string(), "digest": pa.string(), count: pa.int32()} | dict(payload),
        )

    @property
    def schema(self) -> pa.Schema:
        """Columns of every part."""
        return self._schema

    def keys(self) -> list[str]:
        """Keys that have a folder."""
        return self._tree.folders()

    def where(self, key: str) -> str:
        """The folder of a key, for messages."""
        return self._tree.where(check_key(key))

    def write_spec(self, key: str, identity: Mapping[str, Any]) -> None:
        """Puts what the key stands for beside its parts, as readable JSON; nothing happens when it is there."""
        path = f"{check_key(key)}/spec.json"
        text = (documents.encode(identity) + "\n").encode()
        try:
            if self._tree.read_bytes(path) == text:
                return
        except FileNotFoundError:
            pass
        self._tree.write_bytes(path, text)

    def spec(self, key: str) -> dict[str, Any] | None:
        """What `write_spec` put there, or None."""
        return documents.read_document(self._tree, f"{check_key(key)}/spec.json")

    def write(self, key: str, table: pa.Table, metadata: Mapping[str, str] | None = None) -> str:
        """Adds one part and returns its name. Raises StoreError."""
        facts = {"format": FORMAT, "kind": self._kind, "key": check_key(key)} | dict(metadata or {})
        table = table.cast(self._schema).replace_schema_metadata({f"divita.{k}": v for k, v in facts.items()})
        group_bytes = REMOTE_ROW_GROUP_BYTES if self._tree.local is None else ROW_GROUP_BYTES
        rows = max(1, int(group_bytes * table.num_rows / max(1, table.nbytes)))
        name = _new_part_name(self.names(key))
        with self._tree.create(f"{key}/{name}") as file:
            # Plain, uncompressed pages: float vectors do not shrink, and reading them is then little more than a
            # copy. Checksums let a damaged page be noticed. Small batches end a page at about a megabyte.
            pq.write_table(
                table,
                file,
                row_group_size=rows,
                compression="none",
                use_dictionary=False,
                write_statistics=False,
                write_page_checksum=True,
                write_batch_size=1,
            )
        return name

    def names(self, key: str) -> list[str]:
        """Names of the parts of a key, oldest first."""
        return [name for name in self._tree.names(check_key(key)) if re.fullmatch(r"part-.+\.parquet", name)]

    def index(self, key: str) -> list[PartIndex]:
        """What each part holds, oldest first; reads no payload. Torn parts are set aside."""
        parts = map_files(lambda name: self.read(key, name, self._read_index(name)), self.names(key))
        return [part for part in parts if part is not None]

    def digests(self, key: str) -> dict[str, frozenset[str]]:
        """Digests of the videos whose rows are there, by trailer; reads no payload. Torn parts are set aside."""
        found: dict[str, set[str]] = {}
        for part in self.index(key):
            for mid, digest in zip(part.mids, part.digests, strict=True):
                found.setdefault(mid, set()).add(digest)
        return {mid: frozenset(digests) for mid, digests in found.items()}

    def read(self, key: str, name: str, reader: Callable[[pq.ParquetFile], _T]) -> _T | None:
        """`reader` of an open part; None when the part is torn, which is warned about, or gone.

        `reader` raises ValueError when the content is wrong; it may be called twice. Raises StoreError when the
        disk or the network fails, which says nothing about the part.
        """
        path = f"{key}/{name}"
        try:
            with self._tree.open(path) as file:
                return reader(self._opened(file, key))
        except FileNotFoundError:
            return None
        except MemoryError:
            raise
        except (OSError, ValueError, pa.ArrowException):
            pass
        # pyarrow reports damaged content as OSError, too. Only bytes that arrived whole can tell which it was.
        try:
            data = pa.py_buffer(self._tree.read_bytes(path))
        except FileNotFoundError:
            return None
        try:
            return reader(self._opened(pa.BufferReader(data), key))
        except MemoryError:
            raise
        except (OSError, ValueError, pa.ArrowException) as fault:
            documents.set_torn_aside(self._tree, path, str(fault).splitlines()[0] if str(fault) else fault)
            return None

    def _opened(self, file: pa.NativeFile, key: str) -> pq.ParquetFile:
        remote = self._tree.local is None
        part = pq.ParquetFile(
            file,
            buffer_size=0 if remote else _BUFFER_BYTES,
            pre_buffer=remote,
            page_checksum_verification=True,
        )
        facts = read_facts(part)
        if facts.get("format", FORMAT) != FORMAT:
            raise StoreError(
                f"{self.where(key)}: its parts have format {facts['format']}, but this version reads {FORMAT}; "
                "use the version that wrote them or another --workspace"
            )
        if not part.schema_arrow.equals(self._schema):
            raise ValueError(f"its columns are {', '.join(part.schema_arrow.names)}")
        if (facts.get("kind"), facts.get("key")) != (self._kind, key):
            raise ValueError(f"it belongs to {facts.get('kind')} {facts.get('key')}")
        return part

    def _read_index(self, name: str) -> Callable[[pq.ParquetFile], PartIndex]:
        def read(part: pq.ParquetFile) -> PartIndex:
            table = part.read(columns=["mid", "digest", self._count], use_threads=False)
            mids, digests, counts = (table[c].to_pylist() for c in ("mid", "digest", self._count))
            return PartIndex(name, mids, digests, counts, read_facts(part))

        return read


def read_facts(part: pq.ParquetFile) -> dict[str, str]:
    """The part's own metadata without the prefix `divita.`."""
    facts = part.schema_arrow.metadata or {}
    return {k.decode()[7:]: v.decode() for k, v in facts.items() if k.startswith(b"divita.")}


def check_key(key: str) -> str:
    """The key, if it can name a folder. Raises ValueError."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", key):
        raise ValueError(f"key: {key!r} must be letters, digits, '.', '_' or '-'")
    return key


_last_stamp = 0
_stamp_lock = threading.Lock()


def _new_part_name(there: Sequence[str]) -> str:
    """Sorts behind the parts that are there: by time of writing, whatever the clocks of the writers say.

    What was read last and what a part repeats must not change when a clock goes back, or is behind another machine's.
    The random part comes from the system: training seeds Python's and numpy's generators, and two writers with one
    seed would otherwise meet.
    """
    global _last_stamp
    stamps = [int(found[1]) for name in there if (found := re.match(r"part-(\d{20})-", name))]
    with _stamp_lock:
        _last_stamp = max(_last_stamp + 1, time.time_ns(), max(stamps, default=0) + 1)
        stamp = _last_stamp
    return f"part-{stamp:020d}-{os.urandom(5).hex()}.parquet"
