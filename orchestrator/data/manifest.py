"""The manifest: which trailers there are, where their videos lie, their genres, and their part in every split.

A CSV or Parquet file with `mid`, optionally `path`, one column of 0/1 a genre, and split0, split1, … with
0 = train, 1 = validation, 2 = test. Any other column counts as a genre. Trailers12k's mtgc.csv is one.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from orchestrator.data.columns import (
    LABEL_CODES,
    PART_CODES,
    check_ids,
    check_split_names,
    read_codes,
    resolve_paths,
    sort_columns,
)
from orchestrator.data.table import Problems, folder_of, local_path, read_table
from orchestrator.errors import InputError
from orchestrator.specs import key_of

Number = TypeVar("Number", bound=np.generic)

TRAIN, VALIDATION, TEST = 0, 1, 2
PARTS = ("train", "validation", "test")

SYNTHETIC_MARK = "synthetic.json"
"""A file of this name beside a manifest says that its trailers were made by `divita synth`."""


@dataclass(frozen=True, eq=False)
class Manifest:
    """Trailers in file order.

    paths: absolute local path or URI, None where the file names none. labels: (trailers, genres) uint8 of 0/1.
    splits: (trailers, splits) int8 of TRAIN, VALIDATION, TEST. synthetic: made by `divita synth`.
    """

    source: str
    mids: tuple[str, ...]
    paths: tuple[str | None, ...]
    genres: tuple[str, ...]
    labels: npt.NDArray[np.uint8]
    splits: npt.NDArray[np.int8]
    synthetic: bool = False

    def __len__(self) -> int:
        return len(self.mids)

    @property
    def n_splits(self) -> int:
        return int(self.splits.shape[1])

    def part(self, split: int, part: int) -> npt.NDArray[np.intp]:
        """Rows of one part of a split, ascending."""
        return np.flatnonzero(self.splits[:, split] == part)

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {mid: row for row, mid in enumerate(self.mids)}

    def index(self, mid: str) -> int:
        """The row of a trailer; KeyError when there is none."""
        return self._rows[mid]

    def subset(self, mids: Iterable[str]) -> Manifest:
        """Only these trailers, in this manifest's order. May leave a part or genre empty: see `check_parts`."""
        rows = sorted({self._rows[mid] for mid in mids})
        return replace(
            self,
            mids=tuple(self.mids[r] for r in rows),
            paths=tuple(self.paths[r] for r in rows),
            labels=_frozen(self.labels[rows]),
            splits=_frozen(self.splits[rows]),
        )

    def sorted(self) -> Manifest:
        """The same with trailers and genres in the order of their names, as the digests see them."""
        rows = sorted(range(len(self)), key=lambda i: self.mids[i])
        columns = sorted(range(len(self.genres)), key=lambda g: self.genres[g])
        return replace(
            self,
            mids=tuple(self.mids[r] for r in rows),
            paths=tuple(self.paths[r] for r in rows),
            genres=tuple(self.genres[c] for c in columns),
            labels=_frozen(self.labels[np.ix_(rows, columns)]),
            splits=_frozen(self.splits[rows]),
        )

    def prevalence(self, split: int, part: int = TEST) -> npt.NDArray[np.float64]:
        """(genres,) share of positives in a part: what a guess scores as area under the precision-recall curve."""
        rows = self.part(split, part)
        return np.asarray(self.labels[rows].mean(axis=0, dtype=np.float64))

    @cached_property
    def _labels_by_name(self) -> tuple[list[str], dict[str, str]]:
        """Genres by name, and by trailer its labels in that order as a text such as 0110."""
        order = sorted(range(len(self.genres)), key=lambda g: self.genres[g])
        bits = ["".join(map(str, row)) for row in self.labels[:, order].tolist()]
        return [self.genres[g] for g in order], dict(sorted(zip(self.mids, bits, strict=True)))

    def data_digest(self, video_digests: Mapping[str, str], split: int) -> str:
        """Key of all that a trial on this split learns from; the order of rows and columns does not enter.

        `video_digests` holds every trailer's digest of its video bytes.
        """
        genres, labels = self._labels_by_name
        parts = self.splits[:, split].tolist()
        rows = [[mid, labels[mid], parts[self._rows[mid]], video_digests[mid]] for mid in labels]
        return key_of({"genres": genres, "rows": rows})

    def labels_digest(self) -> str:
        """Key of ids, labels and the parts of all splits; paths and the order of rows and columns don't enter."""
        genres, labels = self._labels_by_name
        parts = self.splits.tolist()
        return key_of({"genres": genres, "rows": [[mid, labels[mid], parts[self._rows[mid]]] for mid in labels]})


def load_manifest(
    path: str | os.PathLike[str],
    *,
    need_splits: bool = True,
    need_paths: bool = False,
    check_files: bool = True,
    read_splits: bool = True,
) -> Manifest:
    """Reads and checks a manifest on disk or at a URI in one pass; one InputError tells everything that is wrong.

    Relative paths start at the manifest's folder. Without `need_paths` there may be no path column, or empty cells
    in it; without `check_files` (embeddings come from the store) the files themselves are not looked for.
    Without `need_splits` there may be no split columns, but those that are there must be right, unless
    `read_splits=False` passes over them.
    """
    table = read_table(os.fspath(path))
    problems = Problems()
    for text in table.problems:
        problems.add(text, text)
    genres, splits = sort_columns(table, problems)
    if not table.places:
        problems.add("rows", f"{table.source}: no rows; a manifest has one row a trailer")
    check_ids(table, problems)
    paths = resolve_paths(table, need_paths, check_files, problems)
    labels = read_codes(table, genres, LABEL_CODES, problems)
    if not read_splits:
        splits = []
    check_split_names(table, splits, need_splits and read_splits, problems)
    parts = read_codes(table, splits, PART_CODES, problems)
    manifest = Manifest(
        source=table.source,
        mids=tuple(table.columns.get("mid", ())),
        paths=paths,
        genres=tuple(genres),
        labels=_frozen(labels.astype(np.uint8)),
        splits=_frozen(parts),
        synthetic=_is_synthetic(table.source),
    )
    if table.places:
        for text in check_parts(manifest, readable_labels=np.all(labels >= 0, axis=0)):
            problems.add("parts", text)
    if texts := problems.texts():
        raise InputError(texts)
    return manifest


def check_parts(manifest: Manifest, *, readable_labels: npt.NDArray[np.bool_] | None = None) -> list[str]:
    """Messages on empty parts, and on genres without positives in some split's train or test part.

    Such genres have no area under the precision-recall curve. Split columns with unread values are passed over.
    """
    texts = []
    readable = np.ones(len(manifest.genres), bool) if readable_labels is None else readable_labels
    positives = manifest.labels.astype(np.int64).sum(axis=0)
    for g in np.flatnonzero(readable & (positives == 0)):
        texts.append(f"{manifest.source}: {manifest.genres[g]}: no trailer has this genre; remove the column")
    for split in range(manifest.n_splits):
        if (manifest.splits[:, split] < 0).any():
            continue
        for part, name in enumerate(PARTS):
            rows = manifest.part(split, part)
            if not len(rows):
                texts.append(f"{manifest.source}: split{split}: no row has {part}; the {name} part is empty")
            elif part != VALIDATION:
                bare = readable & (positives > 0) & (manifest.labels[rows].max(axis=0) == 0)
                for g in np.flatnonzero(bare):
                    texts.append(
                        f"{manifest.source}: {manifest.genres[g]}: none of its {positives[g]} positives is in "
                        f"split{split}'s {name} part ({part}), but at least one must be; "
                        "`divita splits --overwrite` writes stratified splits"
                    )
    return texts


def _frozen(values: npt.NDArray[Number]) -> npt.NDArray[Number]:
    values.setflags(write=False)
    return values


def _is_synthetic(source: str) -> bool:
    mark = f"{folder_of(source)}/{SYNTHETIC_MARK}"
    if local_path(source) is not None:
        return os.path.exists(mark)
    import fsspec

    filesystem, inner = fsspec.url_to_fs(mark)
    return bool(filesystem.exists(inner))
