"""What became of a manifest since a sweep ran on it last: the copy that the sweep kept against the one given now."""

from __future__ import annotations

import csv
import io

from orchestrator.data.manifest import PARTS, Manifest
from orchestrator.errors import some


def to_csv(manifest: Manifest) -> bytes:
    """The manifest as a CSV that `load_manifest` reads to the same; its paths are absolute wherever it lies."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    splits = [f"split{i}" for i in range(manifest.n_splits)]
    writer.writerow(["mid", "path", *manifest.genres, *splits])
    rows = zip(manifest.mids, manifest.paths, manifest.labels.tolist(), manifest.splits.tolist(), strict=True)
    for mid, path, labels, parts in rows:
        writer.writerow([mid, path or "", *labels, *parts])
    return text.getvalue().encode()


def describe_changes(old: Manifest, new: Manifest) -> list[str]:
    """A sentence for each kind of change that makes other trials; paths and the order of rows are none of them."""
    known = set(old.mids)
    added = [mid for mid in new.mids if mid not in known]
    gone = sorted(known - set(new.mids))
    told = []
    if added:
        told.append(f"{_trailers(added)} new ({some(added)})")
    if gone:
        told.append(f"{_trailers(gone)} gone ({some(gone)})")
    if set(old.genres) != set(new.genres):
        told.append(f"the genres were {', '.join(old.genres)}")
    else:
        before, now = _labels(old), _labels(new)
        if changed := [
            f"{mid}: {_difference(before[mid], now[mid])}" for mid in new.mids if now[mid] != before.get(mid, now[mid])
        ]:
            told.append(f"labels of {_trailers(changed)} changed ({some(changed)})")
    if old.n_splits != new.n_splits:
        told.append(f"there were {old.n_splits} splits and are {new.n_splits}")
    else:
        for split in range(new.n_splits):
            parts, moved = dict(zip(old.mids, old.splits[:, split].tolist(), strict=True)), []
            for mid, part in zip(new.mids, new.splits[:, split].tolist(), strict=True):
                if mid in known and parts[mid] != part:
                    moved.append(f"{mid}: {PARTS[parts[mid]]} to {PARTS[part]}")
            if moved:
                told.append(f"split {split}: {_trailers(moved)} moved ({some(moved)})")
    return told


def _trailers(names: list[str]) -> str:
    return f"{len(names)} trailer{'s' * (len(names) > 1)}"


def _labels(manifest: Manifest) -> dict[str, frozenset[str]]:
    rows = zip(manifest.mids, manifest.labels.tolist(), strict=True)
    return {mid: frozenset(g for g, has in zip(manifest.genres, row, strict=True) if has) for mid, row in rows}


def _difference(old: frozenset[str], new: frozenset[str]) -> str:
    return " ".join([*(f"+{g}" for g in sorted(new - old)), *(f"-{g}" for g in sorted(old - new))])
