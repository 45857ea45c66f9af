"""Reads what a workspace holds for one sweep: the input of `make_plan`."""

from __future__ import annotations

from orchestrator.data.manifest import Manifest
from orchestrator.errors import TrailerError
from orchestrator.store.digests import VideoDigests
from orchestrator.store.workspace import Workspace
from orchestrator.sweep.identity import embedding_key
from orchestrator.sweep.plan import Inventory
from orchestrator.sweep.planning import space_key
from orchestrator.sweep.space import Space
from orchestrator.video.files import video_digest, video_stat


def take_inventory(space: Space, manifest: Manifest, workspace: Workspace) -> Inventory:
    """What is there. A video is read again only where its size or time changed since its digest was taken."""
    searches = space.searches
    specs = {stream for config in space.configs for stream in config.streams}
    keys = {spec: embedding_key(spec) for spec in specs.union(*(search.embedding_specs() for search in searches))}
    rows = {key: workspace.embeddings.digests(key) for key in set(keys.values())}
    failures = workspace.failures.load()
    known = {f.mid for f in failures}.union(*rows.values())
    current = {}
    for mid, path in zip(manifest.mids, manifest.paths, strict=True):
        if path is None or mid not in known:
            continue
        digest = current_digest(path, workspace.digests)
        if digest is not None:
            current[mid] = digest
    workspace.digests.save()
    pruned, suggestions, exhausted = {}, {}, set()
    for search in searches:
        identity = search.spec.identity(space.name, search.table)
        at = (space.name, search.table, identity)
        pruned[identity] = workspace.ledger.pruned_keys(identity)
        suggestions[search.table] = tuple(workspace.sweeps.suggestions(*at))
        made_from = space_key(search, keys)
        if workspace.sweeps.is_exhausted(*at, made_from):
            exhausted.add(made_from)
    return Inventory(
        current,
        rows,
        tuple(failures),
        workspace.ledger.keys(),
        pruned,
        suggestions,
        frozenset(exhausted),
    )


def current_digest(path: str, digests: VideoDigests) -> str | None:
    """The digest of a video as it is now, read again only where it is not known; None where it can't be read."""
    try:
        stat = video_stat(path)
        digest = digests.lookup(path, stat)
        if digest is None:
            digest = video_digest(path)
            digests.record(path, stat, digest)
    except TrailerError:
        return None  # gone or unreadable: extraction will say so
    return digest
