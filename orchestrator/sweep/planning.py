"""What is missing: a pure function of the search space, the manifest and what the workspace holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from orchestrator.backbones.registry import initial_weights
from orchestrator.data.manifest import Manifest
from orchestrator.data.origin import COMPUTED, ORIGINS, origin
from orchestrator.errors import InputError
from orchestrator.specs import FRAMES, Config, EmbeddingSpec, config_key, key_of, trial_key
from orchestrator.store.failures import Failure
from orchestrator.sweep.identity import embedding_key
from orchestrator.sweep.plan import ConfigPlan, Drawn, Inventory, Plan, SearchPlan, SetPlan, TrialPlan
from orchestrator.sweep.search import Search
from orchestrator.sweep.space import Space


def make_plan(space: Space, manifest: Manifest, inventory: Inventory) -> Plan:
    """Subtracts what is there from what `space` asks for on the trailers of `manifest`."""
    splits = _splits(space, manifest)
    tables = space.tables_of()
    searches = space.searches
    wanted = [s for config in space.configs for s in config.streams] + [
        s for q in searches for s in q.embedding_specs()
    ]
    keys = {spec: embedding_key(spec) for spec in dict.fromkeys(wanted)}
    failed = _failed(manifest, inventory, frozenset(keys.values()))
    trailers = tuple(mid for mid in manifest.mids if mid not in failed)
    paths = dict(zip(manifest.mids, manifest.paths, strict=True))
    cached = {key: _cached(trailers, paths, inventory.rows.get(key, {}), inventory.current) for key in keys.values()}
    planner = _Planner(manifest.subset(trailers), keys, cached, splits, inventory)
    grid = {config: planner.place(config, tables[config]) for config in space.configs}
    planned, searched = dict(grid), []
    for search in searches:
        plan = _plan_search(search, space, planner, tables, inventory)
        searched.append(plan)
        for drawn in plan.drawn:
            known = planned.get(drawn.plan.config)
            # Drawn by two searches, or asked for by a grid as well: one config, in the tables of both.
            names = tuple(dict.fromkeys((*(known.tables if known else ()), *drawn.plan.tables)))
            planned[drawn.plan.config] = replace(known or drawn.plan, tables=names)
    sets = _plan_sets(keys, trailers, paths, cached, tuple(planned.values()), searches, inventory)
    changed = _changed(trailers, paths, inventory)
    return Plan(
        space, trailers, paths, tuple(failed.values()), sets, tuple(planned.values()), splits, tuple(searched), changed,
        place=planner.place,
    )  # fmt: skip


def _plan_sets(
    keys: Mapping[EmbeddingSpec, str],
    trailers: tuple[str, ...],
    paths: Mapping[str, str | None],
    cached: Mapping[str, Mapping[str, str]],
    configs: Sequence[ConfigPlan],
    searches: Sequence[Search],
    inventory: Inventory,
) -> tuple[SetPlan, ...]:
    # Two specs may be one set: the frame cache is the same whatever a head on it starts from.
    specs: dict[str, EmbeddingSpec] = {}
    for spec, key in keys.items():
        specs.setdefault(key, spec)
    users: dict[str, dict[str, ConfigPlan]] = {key: {} for key in specs}
    for config in configs:
        for key in config.embedding_keys:
            users[key][config.key] = config
    needs = {q.table: {keys[s] for s in q.embedding_specs()} for q in searches}
    return tuple(
        SetPlan(
            key,
            spec,
            cached[key],
            tuple(mid for mid in trailers if mid not in cached[key]),
            _unused_imports(trailers, paths, inventory.rows.get(key, {}), cached[key]),
            len(users[key]),
            Counter(t for config in users[key].values() for t in config.tables),
            tuple(table for table, needed in needs.items() if key in needed),
        )
        for key, spec in specs.items()
    )


def space_key(search: Search, keys: Mapping[EmbeddingSpec, str]) -> str:
    """The key of all that the configs of a search are made from: its YAML, its embedding sets, weights it trains on.

    `keys` are those of the embedding sets.
    """
    specs = search.embedding_specs()
    starts = [initial_weights(spec.backbone) for spec in specs if spec.backbone.name == FRAMES]
    return key_of([search.space, [keys[spec] for spec in specs], starts])


class _Planner:
    """Plans single configs on the trailers that the sweep uses."""

    def __init__(
        self,
        manifest: Manifest,
        keys: Mapping[EmbeddingSpec, str],
        cached: Mapping[str, Mapping[str, str]],
        splits: Sequence[int],
        inventory: Inventory,
    ) -> None:
        self.keys, self._splits, self._inventory = keys, splits, inventory
        self._data = _DataDigests(manifest, cached)

    def space_of(self, search: Search) -> str:
        """The key of all that the configs of a search are made from."""
        return space_key(search, self.keys)

    def place(self, config: Config, tables: tuple[str, ...], search: str | None = None) -> ConfigPlan:
        """`search` is the identity of the search that draws the config, if it is that one's alone."""
        embedding_keys = tuple(self.keys[s] for s in config.streams)
        start = initial_weights(config.start) if config.start else None
        trials = []
        for split in self._splits:
            digest = self._data.of(embedding_keys, split)
            key = None if digest is None else trial_key(config, embedding_keys, split, digest, start)
            pruned = search is not None and key in self._inventory.pruned.get(search, ())
            trials.append(TrialPlan(split, digest, key, key in self._inventory.trials, pruned))
        if not all(t.finished for t in trials):
            # A config is pruned on all splits or on none: a driver may have died between two of its records.
            trials = [replace(t, pruned=False) for t in trials]
        return ConfigPlan(config, config_key(config, embedding_keys, start), tables, embedding_keys, tuple(trials))


def _plan_search(
    search: Search,
    space: Space,
    planner: _Planner,
    tables: Mapping[Config, tuple[str, ...]],
    inventory: Inventory,
) -> SearchPlan:
    """What was drawn before and would be the same config now belongs to the search, up to its number of configs."""
    identity, made_from = search.spec.identity(space.name, search.table), planner.space_of(search)
    suggestions = inventory.suggestions.get(search.table, ())
    drawn: dict[str, Drawn] = {}
    for suggestion in suggestions:
        if not search.contains(suggestion.values):
            continue
        config = search.build(suggestion.values)
        others = tables.get(config, ())
        names = tuple(dict.fromkeys((*others, search.table)))
        plan = planner.place(config, names, None if others else identity)
        if plan.key == suggestion.entry.key:
            drawn.setdefault(plan.key, Drawn(suggestion.number, suggestion.values, plan, bool(others)))
    kept = list(drawn.values())[: search.spec.configs]
    taken = frozenset(s.number for s in suggestions)
    left_out, exhausted = len(suggestions) - len(kept), made_from in inventory.exhausted
    return SearchPlan(search, identity, made_from, tuple(kept), taken, left_out, exhausted)


def _changed(trailers: Sequence[str], paths: Mapping[str, str | None], inventory: Inventory) -> tuple[str, ...]:
    """Trailers of which some set has vectors of another video than the one that is there now, and none of this one."""
    with_video = {mid: now for mid in trailers if paths[mid] is not None and (now := inventory.current.get(mid))}
    found = {
        mid
        for rows in inventory.rows.values()
        for mid, now in with_video.items()
        if now not in rows.get(mid, ()) and any(origin(digest) == COMPUTED for digest in rows.get(mid, ()))
    }
    return tuple(mid for mid in trailers if mid in found)


def _splits(space: Space, manifest: Manifest) -> tuple[int, ...]:
    there = tuple(range(manifest.n_splits))
    if not there:  # extraction alone needs none
        return ()
    lacking = [s for s in space.splits or () if s not in there]
    if lacking:
        raise InputError(
            f"{space.source}: splits: {lacking[0]} is not one of the manifest's splits {', '.join(map(str, there))}"
        )
    return space.splits or there


def _failed(manifest: Manifest, inventory: Inventory, keys: frozenset[str]) -> dict[str, Failure]:
    """Trailers whose video, as it is now, is known to fail for one of the sets."""
    mids = set(manifest.mids)
    return {
        f.mid: f
        for f in inventory.failures
        if f.mid in mids and keys.intersection(f.sets) and f.digest == inventory.current.get(f.mid)
    }


def _cached(
    trailers: tuple[str, ...],
    paths: Mapping[str, str | None],
    rows: Mapping[str, frozenset[str]],
    current: Mapping[str, str],
) -> dict[str, str]:
    """Trailer -> digest of its row. With a path, only a row of the video as it is now counts.

    Without one any row does, but all from one origin: what others made and what was computed here are not mixed while
    one of them covers the trailers.
    """
    cached = {mid: current[mid] for mid in trailers if paths[mid] is not None and current.get(mid) in rows.get(mid, ())}
    without = [mid for mid in trailers if paths[mid] is None and rows.get(mid)]
    by_origin: dict[str, dict[str, str]] = {name: {} for name in ORIGINS}
    for mid in without:
        for digest in sorted(rows[mid], reverse=True):
            by_origin[origin(digest)][mid] = digest
    return cached | max(by_origin.values(), key=len)


def _unused_imports(
    trailers: tuple[str, ...],
    paths: Mapping[str, str | None],
    rows: Mapping[str, frozenset[str]],
    cached: Mapping[str, str],
) -> int:
    with_video = [mid for mid in trailers if paths[mid] is not None and mid not in cached]
    return sum(any(origin(digest) != COMPUTED for digest in rows.get(mid, ())) for mid in with_video)


class _DataDigests:
    """The data part of trial keys, computed once for all configs that read the same sets."""

    def __init__(self, manifest: Manifest, cached: Mapping[str, Mapping[str, str]]) -> None:
        self._manifest, self._cached = manifest, cached
        self._known: dict[tuple[tuple[str, ...], int], str | None] = {}

    def of(self, embedding_keys: tuple[str, ...], split: int) -> str | None:
        at = (embedding_keys, split)
        if at not in self._known:
            sets = [self._cached[key] for key in embedding_keys]
            if any(len(rows) < len(self._manifest) for rows in sets):
                self._known[at] = None
            else:
                # Streams cut from one video share its digest; imported sets may each have their own.
                digests = {mid: "+".join(sorted({rows[mid] for rows in sets})) for mid in self._manifest.mids}
                self._known[at] = self._manifest.data_digest(digests, split)
        return self._known[at]
