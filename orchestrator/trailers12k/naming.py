"""Which group is which embedding set, and what import and export both need."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from orchestrator.data.trailers12k import PUBLISHED, nearest_folder, size_text
from orchestrator.errors import StoreError
from orchestrator.specs import BackboneSpec, ClipSpec, EmbeddingSpec

PUBLISHED_CLIPS = ClipSpec("shot", 24, 24)

EXPORT_ATTRIBUTE = "divita_orchestrator"
"""Attribute of a group with vectors that were computed here: the key of the set that they are."""


def published_spec(backbone: str) -> EmbeddingSpec:
    """The set that the published representation of a backbone is: shots of 24 frames at 24 a second."""
    return EmbeddingSpec(PUBLISHED_CLIPS, BackboneSpec(backbone))


def set_name(spec: EmbeddingSpec, key: str) -> str:
    """The name of a set's group: the authors' where it is one of theirs, else one that says what it is.

    `trailers_<backbone>_<clips>_fps<rate>.zarr`, with `_random` or the start of the set's key before `.zarr` where its
    weights are random or from a checkpoint.
    """
    for file in PUBLISHED:
        if file.backbone and spec == published_spec(file.backbone):
            return file.name
    weights = {"pretrained": "", "random": "_random"}.get(spec.backbone.weights, f"_{key[:8]}")
    backbone = re.sub(r"[^A-Za-z0-9._-]", "-", spec.backbone.name)
    return f"trailers_{backbone}_{spec.clip.name}_fps{spec.clip.fps}{weights}.zarr"


def batches(sizes: Iterable[tuple[str, int]], limit: int) -> Iterator[list[str]]:
    """Trailers in lists of at most about `limit` bytes, at least one trailer each; `sizes` gives the bytes of each."""
    batch: list[str] = []
    held = 0
    for mid, size in sizes:
        if batch and held + size > limit:
            yield batch
            batch, held = [], 0
        batch.append(mid)
        held += size
    if batch:
        yield batch


def check_room(folder: Path | None, needed: int) -> None:
    """Raises StoreError where `needed` bytes don't fit on the disk of a local folder."""
    if folder is None:
        return
    free = shutil.disk_usage(nearest_folder(folder)).free
    if needed > free:
        raise StoreError(f"{folder}: free disk: {size_text(free)} is less than the {size_text(needed)} of vectors")
