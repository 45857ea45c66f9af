"""Sets of the store as the Zarr v2 groups that the authors' code trains on."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.data.manifest import Manifest, load_manifest
from orchestrator.data.trailers12k import LABELS_FILE, is_published
from orchestrator.data.zarr_sets import FEATURES, Vectors, can_name_array, check_free, write_set
from orchestrator.errors import InputError, StoreError, some
from orchestrator.progress import Progress, Step
from orchestrator.specs import FRAMES
from orchestrator.store.workspace import Workspace
from orchestrator.study import StrPath, Study
from orchestrator.sweep.plan import Plan, SetPlan
from orchestrator.trailers12k.naming import EXPORT_ATTRIBUTE, batches, check_room, set_name

BATCH_BYTES = 128 << 20
"""Vectors that are read together; each reading asks every part what it holds."""


@dataclass(frozen=True)
class Exported:
    """What `export_trailers12k` did: groups written, and what was left out for lack of vectors; notes stop nothing."""

    labels: Path | None
    written: tuple[Path, ...]
    skipped: tuple[str, ...]
    notes: tuple[str, ...]


def export_trailers12k(
    directory: StrPath,
    manifest: StrPath,
    *,
    space: StrPath = "backbone",
    workspace: StrPath = "workspace",
    overrides: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Exported:
    """Writes the sets that a search space needs as Zarr v2 groups into `directory`, with mtgc.csv beside them.

    A set that the authors publish has their name, another `trailers_<backbone>_<clips>_fps<rate>.zarr`. Sets that lack
    a trailer are left out and named, and so are trailers whose videos failed. Each group appears whole. Raises
    InputError before anything is written where a group is there already and `overwrite` is not given, or an id of the
    manifest can't name an array.
    """
    folder, progress = Path(directory), progress or Progress()
    study = Study.open(space, manifest, workspace, overrides)
    plan = study.plan()
    ready = {folder / set_name(s.spec, s.key): s for s in plan.sets if not s.missing and s.spec.backbone.name != FRAMES}
    skipped = tuple(_left_out(plan))
    notes = tuple(f"{s.spec.name}: holds frames, not vectors" for s in plan.sets if s.spec.backbone.name == FRAMES)
    if not ready or not plan.trailers:
        return Exported(None, (), skipped, notes)
    used, labels, store = study.manifest.subset(plan.trailers), folder / LABELS_FILE, study.workspace
    _check_targets(labels, used, ready, overwrite)
    widths = {path: _width(store, s) for path, s in ready.items()}
    sizes = {
        path: {mid: clips * widths[path] * 4 for mid, clips in _row_clips(store, s).items()}
        for path, s in ready.items()
    }
    check_room(folder, sum(sum(rows.values()) for rows in sizes.values()))
    for path, s in ready.items():
        attributes: dict[str, Any] = {FEATURES: widths[path]}
        if not all(map(is_published, s.cached.values())):
            attributes[EXPORT_ATTRIBUTE] = s.key
        with progress.step(f"writing {path.name}", len(sizes[path]), "trailers") as step:
            write_set(path, _arrays(store, s, sizes[path], step), attributes, overwrite=overwrite)
    if not (labels.exists() and _same_labels(labels, used)):
        _write_labels(labels, used)
    return Exported(labels, tuple(ready), skipped, notes)


def _left_out(plan: Plan) -> Iterator[str]:
    for s in plan.sets:
        if s.missing and s.spec.backbone.name != FRAMES:
            count = f"{len(s.missing):,} of {len(plan.trailers):,} trailers"
            yield f"{s.spec.name}: the store lacks {count}: {some(s.missing)}"
    if failed := sorted({f.mid for f in plan.failed}):
        yield f"{len(failed):,} trailers whose videos failed: {some(failed)}"


def _check_targets(labels: Path, used: Manifest, groups: Iterable[Path], overwrite: bool) -> None:
    """Nothing is written before all of it may be; told together."""
    problems: list[str] = []
    if unfit := [mid for mid in used.mids if not can_name_array(mid)]:
        problems.append(
            f"{used.source}: mid: {len(unfit):,} of {len(used):,} ids can't name an array of a Zarr group, "
            f"as they start with a dot or hold a slash: {some(map(repr, unfit))}"
        )
    for path in groups:
        try:
            check_free(path, overwrite)
        except InputError as error:
            problems += error.problems
    if labels.exists() and not _same_labels(labels, used):
        if labels.resolve() == Path(used.source).resolve():
            problems.append(f"{labels}: is the manifest itself, and some of its trailers failed; choose another folder")
        elif not overwrite:
            problems.append(f"{labels}: is there with other trailers or labels; --overwrite or choose another folder")
    if problems:
        raise InputError(problems)


def _same_labels(labels: Path, used: Manifest) -> bool:
    """Whether a file has the same trailers, genres and splits, and the genres in the same columns."""
    try:
        there = load_manifest(labels, check_files=False)
    except InputError:
        return False
    return there.genres == used.genres and there.labels_digest() == used.labels_digest()


def _write_labels(labels: Path, used: Manifest) -> None:
    """`mid`, genres, splits, as in the authors' file, which names no videos."""
    aside = labels.with_name(f".{labels.name}.writing")
    try:
        with open(aside, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["mid", *used.genres, *(f"split{i}" for i in range(used.n_splits))])
            for mid, genres, splits in zip(used.mids, used.labels.tolist(), used.splits.tolist(), strict=True):
                writer.writerow([mid, *genres, *splits])
        os.replace(aside, labels)
    except OSError as error:
        raise StoreError(f"{labels}: can't be written: {error.strerror or error}") from error
    finally:
        aside.unlink(missing_ok=True)


def _row_clips(store: Workspace, s: SetPlan) -> dict[str, int]:
    """Clips of the rows that the plan takes, in the order in which they lie in the store, so that it is read once."""
    rows = store.embeddings.clips(s.key)
    return {mid: clips for (mid, digest), clips in rows.items() if s.cached.get(mid) == digest}


def _width(store: Workspace, s: SetPlan) -> int:
    first = next(iter(s.cached))
    return store.embeddings.load(s.key, [first], s.cached).width


def _arrays(store: Workspace, s: SetPlan, sizes: Mapping[str, int], step: Step) -> Iterator[tuple[str, Vectors]]:
    for batch in batches(sizes.items(), BATCH_BYTES):
        vectors = store.embeddings.load(s.key, batch, s.cached)
        for i, mid in enumerate(batch):
            yield mid, vectors[i]
            step.advance()
