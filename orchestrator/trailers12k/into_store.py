"""Published representations into the store, group by group: looked at, read whole, and only then written in batches."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from orchestrator.backbones.registry import entry
from orchestrator.data.manifest import Manifest, load_manifest
from orchestrator.data.trailers12k import (
    LABELS_FILE,
    OWN_EXPORT_PREFIX,
    PUBLISHED_PREFIX,
    PublishedFile,
    choose_files,
    vectors_digest,
)
from orchestrator.data.unpack import unpack_group
from orchestrator.data.zarr_sets import ZarrSet
from orchestrator.errors import InputError, some
from orchestrator.progress import Progress
from orchestrator.store.embeddings import EmbeddingRow
from orchestrator.store.files import map_files
from orchestrator.store.workspace import Workspace
from orchestrator.study import StrPath
from orchestrator.sweep.identity import embedding_identity, embedding_key
from orchestrator.trailers12k.naming import EXPORT_ATTRIBUTE, batches, check_room, published_spec

BATCH_BYTES = 64 << 20
"""Vectors that are held and written together."""

THREADS = 4


@dataclass(frozen=True)
class ImportedSet:
    """A representation in the store: `written` trailers by this call, `kept` that were there with the same vectors."""

    backbone: str
    source: Path
    key: str
    trailers: int
    clips: int
    written: int
    kept: int


@dataclass(frozen=True)
class Imported:
    """What `import_trailers12k` did; `notes` are oddities that stop nothing, `absent` backbones without a file."""

    manifest: Path
    sets: tuple[ImportedSet, ...]
    notes: tuple[str, ...]
    absent: tuple[str, ...]


@dataclass(frozen=True)
class _Source:
    """A group whose arrays fit; `clips` by trailer."""

    backbone: str
    group: ZarrSet
    key: str
    width: int
    prefix: str
    clips: Mapping[str, int]

    def batches(self, mids: Sequence[str]) -> Iterator[list[str]]:
        """`mids` in lists of about BATCH_BYTES of vectors."""
        return batches(((mid, self.clips[mid] * self.width * 4) for mid in mids), BATCH_BYTES)


def import_trailers12k(
    directory: StrPath,
    *,
    workspace: StrPath = "workspace",
    files: Sequence[str] = (),
    progress: Progress | None = None,
) -> Imported:
    """Reads the published groups in `directory` into embedding sets, for the trailers of its mtgc.csv.

    A group is the folder `<name>.zarr`, or its tar, which is unpacked beside. All its arrays are looked at and all its
    vectors read before the first is written, so one with a fault adds nothing. Writing goes in batches: one that is cut
    off leaves some of the trailers in the store, and running it again adds the others. Raises InputError that names all
    that does not fit (width, ids, types, values that are not finite), after the groups that fit are in the store.
    """
    folder, progress = Path(directory), progress or Progress()
    manifest = load_manifest(folder / LABELS_FILE, check_files=False)
    wanted = [f for f in choose_files(files) if f.backbone]
    if not wanted:
        raise InputError(f"--files: {', '.join(files)} names no representation, and {LABELS_FILE} is read in any case")
    found = {f: place for f in wanted if (place := _place(folder, f))}
    absent = [f for f in wanted if f not in found]
    if absent and (files or not found):
        looked = ", ".join(f"{f.name} ({f.backbone})" for f in absent)
        raise InputError(
            f"{folder}: not there, neither as a folder nor as .tar.gz: {looked}; `divita trailers12k download` fetches"
        )
    store = Workspace(workspace)
    store.check_writable()
    problems: list[str] = []
    sources = []
    for file, place in found.items():
        try:
            sources.append(_survey(file, place, folder, manifest, progress))
        except InputError as error:
            problems += error.problems
    notes = [*_videos(manifest), *_ignored(sources, manifest), *_unequal(sources)]
    sets = []
    for source in sources:
        try:
            sets.append(_take(source, manifest, store, progress, notes))
        except InputError as error:
            problems += error.problems
    if problems:
        done = (
            f"imported all the same: {', '.join(s.backbone for s in sets)}"
            if sets
            else "no representation was imported whole"
        )
        raise InputError([*problems, *(f"note: {note}" for note in notes), done])
    return Imported(folder / LABELS_FILE, tuple(sets), tuple(notes), tuple(str(f.backbone) for f in absent))


def _place(folder: Path, file: PublishedFile) -> Path | None:
    """The group's folder, else its tar."""
    stem = file.name.removesuffix(".zarr")
    places = (folder / file.name, folder / file.file, folder / f"{stem}.tar.gz")
    return next((p for p in places if p.is_dir() or (p.is_file() and p.suffix == ".gz")), None)


def _survey(file: PublishedFile, place: Path, folder: Path, manifest: Manifest, progress: Progress) -> _Source:
    """Unpacks where that is needed and looks at every array; raises InputError with all that does not fit."""
    backbone = str(file.backbone)
    spec = published_spec(backbone)
    width, key = entry(backbone).width, embedding_key(spec)
    if not place.is_dir():
        unpack_group(place, folder / file.name, progress)
    group = ZarrSet(folder / file.name)
    made_here = group.attributes.get(EXPORT_ATTRIBUTE)
    if made_here not in (None, key):
        raise InputError(
            f"{group.folder}: {EXPORT_ATTRIBUTE}: {made_here!r} is not {key}, the key of {spec.name}: "
            "it was exported by a version that computes it otherwise"
        )
    with progress.step(f"looking at {file.name}", len(manifest), "trailers") as step:
        clips, problems = group.survey(manifest.mids, width, step.advance)
    if problems:
        raise InputError(problems)
    return _Source(backbone, group, key, width, OWN_EXPORT_PREFIX if made_here else PUBLISHED_PREFIX, clips)


def _take(source: _Source, manifest: Manifest, store: Workspace, progress: Progress, notes: list[str]) -> ImportedSet:
    """Reads all vectors, and once they are known to be whole, writes those that the store lacks."""
    digests = _digests(source, manifest, progress)
    there = store.embeddings.digests(source.key)
    lacking = [mid for mid in manifest.mids if digests[mid] not in there.get(mid, ())]
    others = [mid for mid in manifest.mids if there.get(mid, frozenset()) - {digests[mid]}]
    if others:
        notes.append(
            f"{source.backbone}: {len(others):,} trailers also have other vectors in {store.uri} ({some(others)}); "
            "a manifest without videos may take either, an empty --workspace holds only these"
        )
    if lacking:
        _write(source, lacking, digests, store, progress)
    clips = sum(source.clips.values())
    return ImportedSet(
        source.backbone,
        source.group.folder,
        source.key,
        len(manifest),
        clips,
        len(lacking),
        len(manifest) - len(lacking),
    )


def _write(
    source: _Source, lacking: Sequence[str], digests: Mapping[str, str], store: Workspace, progress: Progress
) -> None:
    check_room(store.root.local, sum(source.clips[mid] for mid in lacking) * source.width * 4)
    store.embeddings.write_spec(source.key, embedding_identity(published_spec(source.backbone)))
    with progress.step(f"writing {source.backbone}", len(lacking), "trailers") as step:
        for batch in source.batches(lacking):
            vectors = _read(source, batch)
            rows = [EmbeddingRow(mid, digests[mid], v) for mid, v in zip(batch, vectors, strict=True)]
            store.embeddings.write_part(source.key, rows)
            step.advance(len(batch))


def _digests(source: _Source, manifest: Manifest, progress: Progress) -> dict[str, str]:
    """Digest of every trailer's vectors; raises InputError that names those with values that are not finite."""

    def check(mid: str) -> str | ValueError | None:
        try:
            vectors = source.group.read(mid)
        except ValueError as error:
            return error
        return vectors_digest(vectors, source.prefix) if np.isfinite(vectors).all() else None

    found: dict[str, str | ValueError | None] = {}
    with progress.step(f"reading {source.backbone}", len(manifest), "trailers") as step:
        for batch in source.batches(manifest.mids):
            found |= zip(batch, map_files(check, batch, THREADS), strict=True)
            step.advance(len(batch))
    bad = [mid for mid, digest in found.items() if digest is None]
    damaged = [digest for digest in found.values() if isinstance(digest, ValueError)]
    problems = []
    if bad:
        problems.append(f"{source.group.folder}: {len(bad):,} trailers hold values that are not finite: {some(bad)}")
    if damaged:
        shown = some([str(error) for error in damaged])
        problems.append(f"{source.group.folder}: {len(damaged):,} arrays can't be decoded: {shown}")
    if problems:
        raise InputError(problems)
    return {mid: str(digest) for mid, digest in found.items()}


def _read(source: _Source, mids: Sequence[str]) -> list[npt.NDArray[np.float32]]:
    try:
        return map_files(source.group.read, mids, THREADS)
    except ValueError as error:  # it could be read a minute ago
        raise InputError(
            f"{source.group.folder}: an array changed while it was imported: {error}; "
            "the batches before it are in the store, and running the same again adds the others"
        ) from error


def _videos(manifest: Manifest) -> Iterator[str]:
    if count := sum(path is not None for path in manifest.paths):
        yield (
            f"{manifest.source}: {count:,} trailers have a video (column path), which alone counts for them; "
            "imported vectors are for manifests without videos"
        )


def _ignored(sources: Sequence[_Source], manifest: Manifest) -> Iterator[str]:
    for source in sources:
        if extra := sorted(source.group.ids.difference(manifest.mids)):
            yield f"{source.group.folder.name}: {len(extra):,} arrays of no trailer in {LABELS_FILE}: {some(extra)}"


def _unequal(sources: Sequence[_Source]) -> Iterator[str]:
    """Pairs of sets that can't be fused, because some trailer has not the same clips in both."""
    for a, b in itertools.combinations(sources, 2):
        unequal = [f"{mid} {n} and {b.clips[mid]}" for mid, n in a.clips.items() if n != b.clips[mid]]
        if unequal:
            count = f"{len(unequal):,} trailers differ in clips"
            yield f"{a.backbone} and {b.backbone} can't be fused: {count}: {some(unequal)}"
