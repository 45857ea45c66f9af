"""One representation as a Zarr v2 group, the authors' layout: an array (clips, features) a trailer, `num_features`.

The `zarr` package opens groups and writes them. Arrays are read chunk by chunk without it where they are plain, as
zarr-python 2 writes them: through it an array of four chunks costs 1.6 to 2.7 ms however many threads ask (they share
one event loop), without it 0.3 ms, which is the speed of the disk.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from orchestrator.data.trailers12k import size_text
from orchestrator.errors import InputError, StoreError, some

Vectors = npt.NDArray[np.float32]

FEATURES = "num_features"
"""Attribute of a group: how long a vector is."""

LARGEST = 1 << 30
"""Bytes that an array or a chunk may be said to hold; a trailer has some 100 clips, so more is damage."""

COMPRESSORS = ("blosc", "zlib", "gzip", "zstd", "lz4", "bz2", "lzma")
FILTERS = ("shuffle",)
"""What a file of others may ask to be decoded by; numcodecs also knows `pickle`, which runs what it is given."""

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
            return frozenset(entry.name for entry in entries if entry.is_dir() and can_name_array(entry.name))

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
            array = self._array(mid)
        except (OSError, ValueError) as error:
            return "arrays have no readable .zarray", f" ({error})", 0
        if unfit := array.unfit(width):
            return *unfit, 0
        if not array.shape[0]:
            return "trailers have no clip", "", 0
        # A chunk that is not there reads as zeros: a copy that was cut short would pass for data.
        lost = array.count - sum(map(array.is_chunk, self._stored(mid)))
        if lost:
            return "arrays lack chunks, which would pass for zeros", f" ({lost:,} of {array.count:,})", 0
        return "", "", array.shape[0]

    def read(self, mid: str) -> Vectors:
        """The vectors of a trailer, float32 (clips, width). Raises ValueError where they can't be decoded."""
        try:
            array = self._array(mid)
            if unfit := array.unfit():
                raise ValueError("".join(unfit))
            if array.filters or array.order != "C":
                for name in array.chunk_names():
                    self._chunk(mid, name, array)
                return np.ascontiguousarray(self._group[mid][:], np.float32)  # type: ignore[index]
            return self._assemble(mid, array)
        except MemoryError:
            raise
        except Exception as error:  # every codec has its own
            raise ValueError(f"{mid} ({error})") from error

    def _assemble(self, mid: str, array: _Array) -> Vectors:
        """The chunks of a plain array, each decoded and put in its place; those at the end are padded."""
        from numcodecs import get_codec

        codec = get_codec(dict(array.compressor)) if array.compressor else None
        rows, columns = array.chunks
        vectors = np.empty(array.shape, np.float32)
        for name, (i, j) in zip(array.chunk_names(), array.places(), strict=True):
            data = self._chunk(mid, name, array)
            chunk = np.frombuffer(codec.decode(data) if codec else data, "<f4").reshape(rows, columns)
            part = vectors[i * rows : (i + 1) * rows, j * columns : (j + 1) * columns]
            part[:] = chunk[: part.shape[0], : part.shape[1]]
        return vectors

    def _chunk(self, mid: str, name: str, array: _Array) -> bytes:
        """The bytes of a chunk's file. Blosc itself reads past the end of one that was cut short and finds no fault."""
        data = (self.folder / mid / name).read_bytes()
        if array.compressor and array.compressor["id"] == "blosc":
            promised = int.from_bytes(data[12:16], "little")  # its header: 4 bytes of flags, 3 sizes of 4 bytes each
            if len(data) < 16 or promised != len(data):
                raise ValueError(f"{name} has {len(data)} bytes, not {promised}")
        return data

    def _array(self, mid: str) -> _Array:
        """What the .zarray says. Raises ValueError (or OSError) where it says nothing that can be understood."""
        try:
            return _Array.parse(json.loads((self.folder / mid / ".zarray").read_bytes()))
        except (KeyError, TypeError, RecursionError) as error:
            raise ValueError(f"{type(error).__name__}: {error}") from error

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


def can_name_array(mid: str) -> bool:
    """Whether an array of that name is found again: Zarr keeps its own files under names with a dot in front."""
    return not mid.startswith(".") and "/" not in mid and "\\" not in mid


@dataclass(frozen=True)
class _Array:
    """What a .zarray says, each entry of the kind that Zarr v2 has there, though not yet one that may be read."""

    dtype: str
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    order: str
    separator: str
    compressor: Mapping[str, Any] | None
    filters: tuple[Mapping[str, Any], ...]

    @classmethod
    def parse(cls, meta: Any) -> _Array:
        """Raises ValueError, KeyError or TypeError."""
        if not isinstance(meta, dict):
            raise ValueError("is no JSON object")
        shape, chunks, separator = meta["shape"], meta["chunks"], meta.get("dimension_separator", ".")
        for field, sizes in (("shape", shape), ("chunks", chunks)):
            if not isinstance(sizes, list) or not all(type(size) is int and size >= 0 for size in sizes):
                raise ValueError(f"{field}: {sizes!r} is no list of sizes")
        if len(shape) != len(chunks) or any(size and not chunk for size, chunk in zip(shape, chunks, strict=True)):
            raise ValueError(f"chunks: {chunks} do not fill {shape}")
        if separator not in (".", "/"):
            raise ValueError(f"dimension_separator: {separator!r} is neither . nor /")
        compressor, filters = meta.get("compressor"), meta.get("filters") or []
        codecs = [{} if compressor is None else compressor, *(filters if isinstance(filters, list) else [filters])]
        if wrong := [codec for codec in codecs if not isinstance(codec, dict)]:
            raise ValueError(f"compressor, filters: {wrong[0]!r} is no codec")
        order = str(meta.get("order", "C"))
        return cls(str(meta["dtype"]), tuple(shape), tuple(chunks), order, separator, compressor, tuple(filters))

    def unfit(self, width: int | None = None) -> tuple[str, str] | None:
        """Why these are no vectors (of that width) that may be read, and what they are instead."""
        wanted = "clips, features" if width is None else f"clips, {width}"
        if self.dtype not in _FLOAT32 or len(self.shape) != 2 or width not in (None, self.shape[1]):
            return f"arrays are not float32 ({wanted})", f" {self.dtype} {self.shape}"
        largest = 4 * max(math.prod(self.shape), math.prod(self.chunks))
        if largest > LARGEST:
            return f"arrays are said to hold more than {size_text(LARGEST)}", f" {self.shape} in {self.chunks}"
        refused = [codec.get("id") for codec in self.filters if codec.get("id") not in FILTERS]
        if self.compressor is not None and self.compressor.get("id") not in COMPRESSORS:
            refused.append(self.compressor.get("id"))
        if refused:
            allowed = f"{', '.join(COMPRESSORS)}, filter {', '.join(FILTERS)}"
            return f"arrays are encoded by what is not read here (only {allowed})", f" {', '.join(map(repr, refused))}"
        return None

    @property
    def counts(self) -> tuple[int, ...]:
        """Chunks along each dimension."""
        return tuple(-(-size // max(chunk, 1)) for size, chunk in zip(self.shape, self.chunks, strict=True))

    @property
    def count(self) -> int:
        """Chunks; may be far more than there are files, and is not to be enumerated before that is known."""
        return math.prod(self.counts)

    def is_chunk(self, name: str) -> bool:
        """Whether a file of that name is one of the chunks."""
        parts = name.split(self.separator)
        return len(parts) == len(self.counts) and all(
            part.isascii() and part.isdigit() and str(int(part)) == part and int(part) < count
            for part, count in zip(parts, self.counts, strict=True)
        )

    def places(self) -> Iterator[tuple[int, int]]:
        """Row and column of every chunk of an array of two dimensions."""
        down, across = self.counts
        return ((i, j) for i in range(down) for j in range(across))

    def chunk_names(self) -> Iterator[str]:
        """The files that the chunks lie in, in the order of `places`."""
        return (f"{i}{self.separator}{j}" for i, j in self.places())
