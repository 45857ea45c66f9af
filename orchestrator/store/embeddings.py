"""Embedding sets: one float32 vector per clip of every trailer, a folder of Parquet parts a set.

A row is a trailer: id, digest of its video's bytes, number of clips, and the vectors as little-endian float32
bytes, clip after clip. As one binary value a row they are read at the speed of a copy; as a list of floats Parquet
would store and decode a level for every number (measured: four times slower). The frame cache of heads that train on
pixels is a set like any other, of uint8.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from orchestrator.errors import StoreError, TrailerError, VectorsMissing, some
from orchestrator.store.files import FileTree, map_files
from orchestrator.store.parts import PartIndex, PartTable

_DTYPES: dict[str, np.dtype[Any]] = {"float32": np.dtype("<f4"), "uint8": np.dtype("u1")}


@dataclass(frozen=True)
class ClipVectors:
    """Vectors of many trailers in one array: clips of trailer i are `vectors[offsets[i]:offsets[i + 1]]`.

    `vectors` is float32, or uint8 where they are pixels, (sum of clips, width), `offsets` int64 (trailers + 1,).
    """

    vectors: np.ndarray
    offsets: np.ndarray

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, i: int) -> np.ndarray:
        """The clips of trailer i, (clips, width), a view."""
        if not 0 <= i < len(self):
            raise IndexError(f"trailer {i} of {len(self)}")
        return self.vectors[self.offsets[i] : self.offsets[i + 1]]

    @property
    def width(self) -> int:
        return int(self.vectors.shape[1])


@dataclass(frozen=True, eq=False)
class EmbeddingRow:
    """One trailer's vectors, float32 or uint8 (clips, width), made from the video with that digest.

    Raises TrailerError when a value is not finite or there is no clip: such a trailer is a failure, not data.
    """

    mid: str
    digest: str
    vectors: np.ndarray

    def __post_init__(self) -> None:
        if self.vectors.dtype.name not in _DTYPES or self.vectors.ndim != 2 or not self.vectors.shape[1]:
            raise ValueError(
                f"{self.mid}: vectors must be {' or '.join(_DTYPES)} (clips, width), "
                f"but got {self.vectors.dtype} {self.vectors.shape}"
            )
        if not len(self.vectors):
            raise TrailerError("clips", "the trailer has no clip")
        bad = int((~np.isfinite(self.vectors).all(axis=1)).sum())
        if bad:
            raise TrailerError("embed", f"{bad} of {len(self.vectors)} clip vectors hold values that are not finite")


class EmbeddingStore:
    """Embedding sets by key. Any number of processes may write and read at once."""

    def __init__(self, tree: FileTree) -> None:
        self._parts = PartTable(tree, "embeddings", "clips", {"vectors": pa.large_binary()})
        self._forms: dict[str, tuple[int, str]] = {}

    def keys(self) -> list[str]:
        """Keys of all sets that are there."""
        return self._parts.keys()

    def where(self, key: str) -> str:
        """The folder of a set, for messages."""
        return self._parts.where(key)

    def write_spec(self, key: str, identity: Mapping[str, Any]) -> None:
        """Puts what the set's key stands for beside its parts, as readable JSON."""
        self._parts.write_spec(key, identity)

    def spec(self, key: str) -> dict[str, Any] | None:
        """What the set's key stands for, or None."""
        return self._parts.spec(key)

    def write_part(self, key: str, rows: Sequence[EmbeddingRow]) -> str | None:
        """Adds rows as one part, whole or not at all, and returns its name; None when there are no rows.

        Writing the same trailers again does no harm. Raises StoreError when the disk refuses or a width or number
        type is not that of the set.
        """
        if not rows:
            return None
        width, dtype = self._form(key) or (rows[0].vectors.shape[1], rows[0].vectors.dtype.name)
        for row in rows:
            if row.vectors.shape[1] != width or row.vectors.dtype.name != dtype:
                raise StoreError(
                    f"{self.where(key)}: vectors of this set are {dtype} and {width} wide, "
                    f"but those of trailer {row.mid} are {row.vectors.dtype.name} and {row.vectors.shape[1]}"
                )
        table = pa.table(
            {
                "mid": pa.array([row.mid for row in rows], pa.string()),
                "digest": pa.array([row.digest for row in rows], pa.string()),
                "clips": pa.array([len(row.vectors) for row in rows], pa.int32()),
                "vectors": _binary([np.ascontiguousarray(row.vectors, _DTYPES[dtype]) for row in rows]),
            }
        )
        name = self._parts.write(key, table, {"width": str(width), "dtype": dtype})
        self._forms[key] = width, dtype
        return name

    def digests(self, key: str) -> dict[str, frozenset[str]]:
        """Digests of the videos embedded, by trailer; reads no vectors. A trailer's current one must be among them.

        Torn parts are set aside with a warning, their trailers are missing. Raises StoreError.
        """
        return self._parts.digests(key)

    def clips(self, key: str) -> dict[tuple[str, str], int]:
        """Clips by trailer and digest; reads no vectors."""
        return {
            (mid, digest): clips
            for part in self._parts.index(key)
            for mid, digest, clips in zip(part.mids, part.digests, part.counts, strict=True)
        }

    def load(self, key: str, mids: Sequence[str], digests: Mapping[str, str] | None = None) -> ClipVectors:
        """The vectors of `mids`, in that order, as one array.

        `digests` names the video each must come from; without it the video embedded last is taken. Of equal rows
        the oldest is taken, so that a row that is written again changes no result. Memory beyond the result is
        about 16 MB for each of four reading threads (on a remote filesystem, a part each). Raises VectorsMissing
        that names the trailers that are missing, StoreError.
        """
        torn: set[str] = set()
        while True:
            parts = [part for part in self._parts.index(key) if part.name not in torn]
            places = self._choose(key, parts, mids, digests)
            width, dtype = self._one_form(key, parts, places)
            counts = [parts[p].counts[r] for p, r in places]
            offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts, dtype=np.int64)])
            vectors = np.empty((int(offsets[-1]), width), dtype)
            targets: dict[int, dict[int, list[int]]] = {}
            for i, (p, r) in enumerate(places):
                targets.setdefault(p, {}).setdefault(r, []).append(i)
            fills = [(parts[p].name, _Fill(vectors, offsets, rows)) for p, rows in targets.items()]
            done = map_files(lambda fill: self._parts.read(key, fill[0], fill[1]), fills, threads=4)
            lost = {name for (name, _), ok in zip(fills, done, strict=True) if not ok}
            if not lost:
                return ClipVectors(vectors, offsets)
            torn |= lost  # another part may hold the same rows; if none does, `_choose` names them

    def _choose(
        self, key: str, parts: Sequence[PartIndex], mids: Sequence[str], digests: Mapping[str, str] | None
    ) -> list[tuple[int, int]]:
        """The (part, row) of each trailer."""
        first: dict[tuple[str, str], tuple[int, int]] = {}
        newest: dict[str, str] = {}
        for p, part in enumerate(parts):
            for r, (mid, digest) in enumerate(zip(part.mids, part.digests, strict=True)):
                first.setdefault((mid, digest), (p, r))
                newest[mid] = digest
        wanted = newest if digests is None else digests
        places = [first.get((mid, wanted.get(mid, ""))) for mid in mids]
        missing = [mid for mid, place in zip(mids, places, strict=True) if place is None]
        if missing:
            raise VectorsMissing(
                f"{self.where(key)}: no vectors of {len(missing)} trailer{'s' * (len(missing) > 1)}: {some(missing)}; "
                "make them with `divita extract` or the same `divita run` again"
            )
        return [place for place in places if place is not None]

    def _one_form(self, key: str, parts: Sequence[PartIndex], places: Iterable[tuple[int, int]]) -> tuple[int, str]:
        used = [parts[p].metadata for p in {p for p, _ in places}]
        forms = {(int(metadata["width"]), metadata["dtype"]) for metadata in used}
        if len(forms) > 1:
            raise StoreError(f"{self.where(key)}: vectors of one set must have one width, but got {sorted(forms)}")
        return forms.pop() if forms else self._form(key) or (0, "float32")

    def _form(self, key: str) -> tuple[int, str] | None:
        """Width and number type of the set, from any part; None while it is empty."""
        if key not in self._forms:
            for name in self._parts.names(key):
                form = self._parts.read(key, name, _read_form)
                if form:
                    self._forms[key] = form
                    break
        return self._forms.get(key)


@dataclass(frozen=True, eq=False)
class _Fill:
    """Copies chosen rows of a part to their places; `rows` maps a row to the trailers i that it fills."""

    vectors: np.ndarray
    offsets: np.ndarray
    rows: Mapping[int, Sequence[int]]

    def __call__(self, part: pq.ParquetFile) -> bool:
        width = self.vectors.shape[1]
        start = 0
        for group in range(part.num_row_groups):
            stop = start + part.metadata.row_group(group).num_rows
            if any(start <= row < stop for row in self.rows):
                self._copy(part.read_row_group(group, ["vectors"], use_threads=False).column(0), start, width)
            start = stop
        return True

    def _copy(self, column: pa.ChunkedArray, row: int, width: int) -> None:
        for chunk in column.chunks:
            _, bounds_buffer, data = chunk.buffers()
            bounds = np.frombuffer(bounds_buffer, np.int64)[chunk.offset : chunk.offset + len(chunk) + 1]
            for k in range(len(chunk)):
                for i in self.rows.get(row + k, ()):
                    target = self.vectors[self.offsets[i] : self.offsets[i + 1]]
                    size = int(bounds[k + 1] - bounds[k])
                    if size != target.nbytes:
                        raise ValueError(f"row {row + k} has {size} bytes of vectors, not {target.nbytes}")
                    target[:] = np.frombuffer(
                        data, self.vectors.dtype, size // self.vectors.itemsize, int(bounds[k])
                    ).reshape(-1, width)
            row += len(chunk)


def _read_form(part: pq.ParquetFile) -> tuple[int, str]:
    metadata = part.schema_arrow.metadata
    return int(metadata[b"divita.width"]), metadata[b"divita.dtype"].decode()


def _binary(arrays: Sequence[np.ndarray]) -> pa.LargeBinaryArray:
    """The arrays' bytes as one binary column, copied once."""
    ends = np.cumsum([0] + [a.nbytes for a in arrays], dtype=np.int64)
    data = np.concatenate([a.reshape(-1) for a in arrays])
    return pa.LargeBinaryArray.from_buffers(
        pa.large_binary(), len(arrays), [None, pa.py_buffer(ends), pa.py_buffer(data)]
    )
