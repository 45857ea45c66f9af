"""Writes stratified splits into a manifest and tells how well they keep the genres' shares: `divita splits`."""

from __future__ import annotations

import csv
import io
import os
import shutil
from dataclasses import dataclass

import numpy as np

from orchestrator.data.columns import SPLIT_NAME
from orchestrator.data.manifest import PARTS, Manifest, load_manifest
from orchestrator.data.stratify import Parts, deviations, stratify
from orchestrator.data.table import csv_rows, decode, folder_of, is_parquet, local_path, read_bytes
from orchestrator.errors import InputError


@dataclass(frozen=True)
class Deviation:
    """The genre whose share of a part's trailers is farthest from its share of all, in percentage points."""

    split: int
    part: str
    genre: str
    points: float


@dataclass(frozen=True)
class SplitReport:
    """What was written: `sizes[split]` counts train, validation and test; one deviation a split and part."""

    path: str
    seed: int
    sizes: tuple[tuple[int, int, int], ...]
    deviations: tuple[Deviation, ...]

    @property
    def largest(self) -> Deviation:
        return max(self.deviations, key=lambda deviation: abs(deviation.points))


def write_splits(
    manifest_path: str | os.PathLike[str],
    seed: int = 0,
    out: str | os.PathLike[str] | None = None,
    *,
    splits: int = 3,
    overwrite: bool = False,
) -> SplitReport:
    """Gives a manifest the columns split0, split1, …, in place or as a second file beside it.

    All other columns stay as they are. Split columns that are there already are replaced, in place only
    with `overwrite`. The file is whole or untouched at any time.
    """
    source = os.fspath(manifest_path)
    target = source if out is None else os.fspath(out)
    manifest = load_manifest(source, need_splits=False, read_splits=False, check_files=False)
    data = read_bytes(source)
    old = _split_columns(source, data)
    if old and _same_file(source, target) and not overwrite:
        raise InputError(f"{source}: {old[0]}: is there already; overwrite it (--overwrite) or write elsewhere (--out)")
    _check_target(manifest, target, is_parquet(source, data))
    try:
        parts = stratify(manifest.labels, splits, seed, manifest.genres)
    except InputError as error:
        raise InputError([f"{source}: {problem}" for problem in error.problems]) from None
    _write(target, _with_splits(source, data, parts))
    return _report(target, seed, manifest, parts)


def _same_file(one: str, other: str) -> bool:
    here, there = local_path(one), local_path(other)
    return one == other if here is None or there is None else os.path.realpath(here) == os.path.realpath(there)


def _split_columns(source: str, data: bytes) -> list[str]:
    """Names of the split columns as they stand in the file."""
    if is_parquet(source, data):
        import pyarrow as pa
        import pyarrow.parquet as pq

        names = list(pq.read_schema(pa.BufferReader(data)).names)
    else:
        _, names = next(csv_rows(source, decode(source, data)))
    return [name for name in names if SPLIT_NAME.fullmatch(name.strip())]


def _check_target(manifest: Manifest, target: str, parquet: bool) -> None:
    if target.lower().endswith((".parquet", ".pq")) != parquet and not _same_file(target, manifest.source):
        kind = "Parquet" if parquet else "CSV"
        raise InputError(f"{target}: the manifest is {kind} and so is what is written; name it so")
    tied = manifest.synthetic or any(path is not None for path in manifest.paths)
    if tied and folder_of(target) != folder_of(manifest.source):
        raise InputError(f"{target}: lies in another folder than {manifest.source}, where paths start; write beside it")


def _with_splits(source: str, data: bytes, parts: Parts) -> bytes:
    columns = [f"split{split}" for split in range(parts.shape[1])]
    old = _split_columns(source, data)
    if is_parquet(source, data):
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = pq.read_table(pa.BufferReader(data)).drop_columns(old)
        for split, name in enumerate(columns):
            table = table.append_column(name, pa.array(parts[:, split]))
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink)
        return bytes(sink.getvalue())
    text = decode(source, data)
    rows = [cells for _, cells in csv_rows(source, text)]
    kept = [i for i, name in enumerate(rows[0]) if name not in old]
    added = [columns, *parts.tolist()]
    ending = "\r\n" if "\r\n" in text else "\n"
    lines = io.StringIO()
    csv.writer(lines, lineterminator=ending).writerows(
        [*(cells[i] for i in kept), *new] for cells, new in zip(rows, added, strict=True)
    )
    mark = b"\xef\xbb\xbf" if data.startswith(b"\xef\xbb\xbf") else b""
    return mark + lines.getvalue().encode()


def _write(target: str, data: bytes) -> None:
    local = local_path(target)
    if local is None:
        import fsspec

        with fsspec.open(target, "wb") as file:
            file.write(data)
        return
    local = os.path.realpath(local)
    aside = f"{local}.{os.getpid()}.tmp"
    try:
        with open(aside, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if os.path.exists(local):
            shutil.copymode(local, aside)
        os.replace(aside, local)
    except OSError as error:
        raise InputError(f"{target}: can't be written: {error.strerror}") from None
    finally:
        if os.path.exists(aside):
            os.remove(aside)


def _report(target: str, seed: int, manifest: Manifest, parts: Parts) -> SplitReport:
    found = []
    for split in range(parts.shape[1]):
        for name, points in zip(PARTS, deviations(manifest.labels, parts[:, split]), strict=True):
            genre = int(np.abs(points).argmax())
            found.append(Deviation(split, name, manifest.genres[genre], float(points[genre])))
    sizes = tuple((int(a), int(b), int(c)) for a, b, c in (np.bincount(column, minlength=3) for column in parts.T))
    return SplitReport(target, seed, sizes, tuple(found))
