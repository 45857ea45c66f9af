"""One representation as a Zarr v2 group, the authors' layout: an array (clips, features) a trailer, `num_features`.

The `zarr` package opens groups and writes them. Arrays are read chunk by chunk without it where they are plain, as
zarr-python 2 writes them: through it an array of four chunks costs 1.6 to 2.7 ms however many threads ask (they share
one event loop), without it 0.3 ms, which is the speed of the disk.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from orchestrator.data.trailers12k import some
from orchestrator.errors import InputError, StoreError

Vectors = npt.NDArray[np.float32]

FEATURES = "num_features"
"""Attribute of a group: how long a vector is."""

_FLOAT32 = ("<f4", "=f4")


class ZarrSet:
    """A group on disk, opened for reading. Raises InputError where the folder is no Zarr v2 group."""

    def __init__(self, folder: Path) -> None:
        import zarr

        self.folder = folder
        try:
            self._group = zarr.open_group(str(folder), mode="r", zarr_format=2, use_consolidated=False)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{folder}: is no Zarr v2 group that can be read: {error}") from error

    @property
    def attributes(self) -> Mapping[str, Any]:
        """What the group's .zattrs holds."""
        return self._group.attrs.asdict()

    @cached_property
    def ids(self) -> frozenset[str]:
        """Names of the arrays (and of whatever else has a folder)."""
        with os.scandir(self.folder) as entries:
            return frozenset(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))

    def survey(self, mids: Sequence[str], width: int, advance: Callable[[], None]) -> tuple[dict[str, int], list[str]]:
        """Clips of each of `mids` by what the arrays say of themselves, and all that does not fit, in words.

        Reads no vectors. `advance` is called once a trailer.
        """
        problems, clips = [], {}
        found = self.attributes.get(FEATURES)
        if found != width:
            said = "is missing" if found is None else f"is {found!r}"
            problems.append(f"{self.folder}: {FEATURES}: {said}, but vectors of this backbone are {width} wide")
        missing = [mid for mid in mids if mid not in self.ids]
        if missing:
            problems.append(
                f"{self.folder}: mid: {len(missing):,} of {len(mids):,} trailers have no array: {some(missing)}"
            )
        faults: dict[str, list[str]] = {}
        for mid in mids:
            advance()
            if mid in self.ids:
                fault, shown, count = self._look_at(mid, width)
                if fault:
                    faults.setdefault(fault, []).append(f"{mid}{shown}")
                else:
                    clips[mid] = count
        problems += [f"{self.folder}: {len(who):,} {fault}: {some(who)}" for fault, who in faults.items()]
        return clips, problems

    def _look_at(self, mid: str, width: int) -> tuple[str, str, int]:
        """What is wrong with an array or nothing, what it is instead, and its clips."""
        try:
            meta = self._meta(mid)
            kind, shape = str(meta["dtype"]), tuple(meta["shape"])
            chunks = list(_grid(meta))
        except (OSError, ValueError, KeyError, TypeError) as error:
            return "arrays have no readable .zarray", f" ({error})", 0
        if kind not in _FLOAT32 or len(shape) != 2 or shape[1] != width:
            return f"arrays are not float32 (clips, {width})", f" {kind} {shape}", 0
        if not shape[0]:
            return "trailers have no clip", "", 0
        # A chunk that is not there reads as zeros: a copy that was cut short would pass for data.
        lost = len(chunks) - len(self._stored(mid).intersection(chunks))
        if lost:
            return "arrays lack chunks, which would pass for zeros", f" ({lost} of {len(chunks)})", 0
        return "", "", int(shape[0])

    def read(self, mid: str) -> Vectors:
        """The vectors of a trailer, float32 (clips, width). Raises ValueError where they can't be decoded."""
        try:
            meta = self._meta(mid)
            if meta.get("filters") or meta.get("order", "C") != "C" or meta["dtype"] not in _FLOAT32:
                for name in _grid(meta):
                    self._chunk(mid, name, meta)
                return np.ascontiguousarray(self._group[mid][:], np.float32)  # type: ignore[index]
            return self._assemble(mid, meta)
        except MemoryError:
            raise
        except Exception as error:  # every codec has its own
            raise ValueError(f"{mid} ({error})") from error

    def _assemble(self, mid: str, meta: Mapping[str, Any]) -> Vectors:
        """The chunks of a plain array, each decoded and put in its place; those at the end are padded."""
        from numcodecs import get_codec

        codec = get_codec(meta["compressor"]) if meta.get("compressor") else None
        (clips, width), (rows, columns) = meta["shape"], meta["chunks"]
        vectors = np.empty((clips, width), np.float32)
        for name, (i, j) in zip(_grid(meta), _places(meta), strict=True):
            data = self._chunk(mid, name, meta)
            chunk = np.frombuffer(codec.decode(data) if codec else data, "<f4").reshape(rows, columns)
            part = vectors[i * rows : (i + 1) * rows, j * columns : (j + 1) * columns]
            part[:] = chunk[: part.shape[0], : part.shape[1]]
        return vectors

    def _chunk(self, mid: str, name: str, meta: Mapping[str, Any]) -> bytes:
        """The bytes of a chunk's file. Blosc itself reads past the end of one that was cut short and finds no fault."""
        data = (self.folder / mid / name).read_bytes()
        if (meta.get("compressor") or {}).get("id") == "blosc":
            promised = int.from_bytes(data[12:16], "little")  # its header: 4 bytes of flags, 3 sizes of 4 bytes each
            if len(data) < 16 or promised != len(data):
                raise ValueError(f"{name} has {len(data)} bytes, not {promised}")
        return data

    def _meta(self, mid: str) -> dict[str, Any]:
        meta: dict[str, Any] = json.loads((self.folder / mid / ".zarray").read_bytes())
        return meta

    def _stored(self, mid: str) -> set[str]:
        """Names of the chunk files of an array."""
        base = str(self.folder / mid)
        found: set[str] = set()
        for place, _, files in os.walk(base):
            inner = os.path.relpath(place, base) + "/" if place != base else ""
            found.update(inner + name for name in files if not name.startswith("."))
        return found


def write_set(
    folder: Path,
    arrays: Iterable[tuple[str, Vectors]],
    attributes: Mapping[str, Any],
    *,
    overwrite: bool = False,
) -> None:
    """A group of arrays (trailer, float32 (clips, width)) that appears at `folder` whole, as zarr-python 2 writes one.

    Each array is one chunk, compressed by Blosc with LZ4 and byte shuffle, that package's default. Raises InputError
    where something is there and `overwrite` is not given, StoreError where the disk refuses.
    """
    import zarr
    from numcodecs import Blosc

    check_free(folder, overwrite)
    aside = folder.with_name(f".{folder.name}.writing")
    codec = Blosc(cname="lz4", clevel=5, shuffle=Blosc.SHUFFLE)
    try:
        shutil.rmtree(aside, ignore_errors=True)  # of a process that was killed
        aside.parent.mkdir(parents=True, exist_ok=True)
        group = zarr.open_group(str(aside), mode="w", zarr_format=2, attributes=dict(attributes))
        for mid, vectors in arrays:
            array = group.create_array(
                mid,
                shape=vectors.shape,
                chunks=vectors.shape,
                dtype="<f4",
                compressors=codec,
                fill_value=0.0,
                config={"write_empty_chunks": True},  # or vectors of zeros would leave no file
            )
            array[:] = vectors
        old = folder.with_name(f".{folder.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        if folder.exists():
            os.replace(folder, old)
        os.replace(aside, folder)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise StoreError(f"{folder}: can't be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def check_free(folder: Path, overwrite: bool) -> None:
    """Raises InputError where a group could not be put at `folder` without losing what is there."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: a file stands where the group is to be written")
    if folder.is_dir() and any(folder.iterdir()) and not overwrite:
        raise InputError(f"{folder}: is there already; replace it with --overwrite or choose another folder")


def _places(meta: Mapping[str, Any]) -> Iterable[tuple[int, ...]]:
    counts = [-(-size // max(chunk, 1)) for size, chunk in zip(meta["shape"], meta["chunks"], strict=True)]
    return itertools.product(*(range(count) for count in counts))


def _grid(meta: Mapping[str, Any]) -> Iterable[str]:
    """Names of the files that an array's chunks lie in."""
    separator = meta.get("dimension_separator", ".")
    return (separator.join(map(str, place)) for place in _places(meta))
