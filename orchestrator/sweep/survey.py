"""Reads what a workspace holds for one sweep: the input of `make_plan`."""

from __future__ import annotations

from orchestrator.data.manifest import Manifest
from orchestrator.errors import TrailerError
from orchestrator.store.workspace import Workspace
from orchestrator.sweep.identity import embedding_key
from orchestrator.sweep.plan import Inventory
from orchestrator.sweep.space import Space
from orchestrator.video.files import video_digest, video_stat


def take_inventory(space: Space, manifest: Manifest, workspace: Workspace) -> Inventory:
    """What is there. A video is read again only where its size or time changed since its digest was taken."""
    keys = {embedding_key(spec) for spec in {stream for config in space.configs for stream in config.streams}}
    rows = {key: workspace.embeddings.digests(key) for key in keys}
    failures = workspace.failures.load()
    known = {f.mid for f in failures}.union(*rows.values())
    current = {}
    changed = False
    for mid, path in zip(manifest.mids, manifest.paths, strict=True):
        if path is None or mid not in known:
            continue
        try:
            stat = video_stat(path)
            digest = workspace.digests.lookup(path, stat)
            if digest is None:
                digest = video_digest(path)
                workspace.digests.record(path, stat, digest)
                changed = True
        except TrailerError:
            continue  # gone or unreadable now: extraction will say so
        current[mid] = digest
    if changed:
        workspace.digests.save()
    return Inventory(current, rows, tuple(failures), frozenset(workspace.ledger.keys()))
