"""What a sweep still needs: a pure function of the search space, the manifest and what the workspace holds.

A config's embedding sets are extracted for every trailer of the sweep before any of its trials runs, so a trial's key,
which covers the rows it reads, is known exactly when its sets are complete; until then the trial is missing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.backbones.registry import initial_weights
from orchestrator.data.manifest import Manifest
from orchestrator.data.origin import COMPUTED, ORIGINS, origin
from orchestrator.errors import InputError
from orchestrator.specs import FRAMES, BackboneSpec, Config, EmbeddingSpec, config_key, trial_key
from orchestrator.store.failures import Failure
from orchestrator.sweep.identity import embedding_key
from orchestrator.sweep.space import Space


@dataclass(frozen=True)
class Inventory:
    """What the workspace holds that matters to one sweep.

    `current` is the digest of each trailer's video as it is now; a trailer whose video was never read, or that has no
    path, is not in it. `rows` holds per embedding set the digests stored for each trailer.
    """

    current: Mapping[str, str]
    rows: Mapping[str, Mapping[str, frozenset[str]]]
    failures: tuple[Failure, ...]
    trials: frozenset[str]


@dataclass(frozen=True)
class SetPlan:
    """One embedding set: which trailers it has, which it lacks, and which configs share it.

    `tables` maps each table that needs the set to how many of its configs do.
    """

    key: str
    spec: EmbeddingSpec
    cached: Mapping[str, str]
    """Trailer id -> digest of the row that is there."""
    missing: tuple[str, ...]
    imported: int
    """Trailers with imported vectors that do not count, because the manifest names their videos."""
    configs: int
    tables: Mapping[str, int]


@dataclass(frozen=True)
class TrialPlan:
    """A config on one split; the digest of its data and its key are None until the config's sets are complete."""

    split: int
    data: str | None
    key: str | None
    done: bool


@dataclass(frozen=True)
class ConfigPlan:
    """A config, its key, the tables that it stands in, and its trials."""

    config: Config
    key: str
    tables: tuple[str, ...]
    embedding_keys: tuple[str, ...]
    trials: tuple[TrialPlan, ...]


@dataclass(frozen=True)
class Plan:
    """What there is and what is to do. `failed` are trailers that no trial of the sweep uses."""

    space: Space
    trailers: tuple[str, ...]
    """Ids that the sweep uses: those of the manifest that did not fail."""
    paths: Mapping[str, str | None]
    failed: tuple[Failure, ...]
    sets: tuple[SetPlan, ...]
    configs: tuple[ConfigPlan, ...]
    splits: tuple[int, ...]

    @property
    def to_decode(self) -> tuple[str, ...]:
        """Trailers with a missing row in some set that have a video, each decoded once, in manifest order."""
        missing = {mid for s in self.sets for mid in self.computable(s)}
        return tuple(mid for mid in self.trailers if mid in missing)

    def computable(self, wanted: SetPlan) -> tuple[str, ...]:
        """Trailers whose vectors are missing and can be made, since the manifest names a video."""
        return tuple(mid for mid in wanted.missing if self.paths[mid] is not None)

    @property
    def backbones_to_run(self) -> list[BackboneSpec]:
        """Backbones that some missing vectors need; pixels need none."""
        return [s.spec.backbone for s in self.sets if self.computable(s) and s.spec.backbone.name != FRAMES]

    @property
    def weights_to_train(self) -> list[BackboneSpec]:
        """What the heads on pixels that are not trained yet start from."""
        return [c.config.start for c in self.configs if c.config.start and not all(t.done for t in c.trials)]

    @property
    def without_video(self) -> dict[str, tuple[str, ...]]:
        """Sets that can't be completed: key -> trailers whose vectors are missing and whose videos are not named."""
        lost = {s.key: tuple(mid for mid in s.missing if self.paths[mid] is None) for s in self.sets}
        return {key: mids for key, mids in lost.items() if mids}

    @property
    def trials(self) -> tuple[TrialPlan, ...]:
        return tuple(t for c in self.configs for t in c.trials)

    def table_counts(self) -> dict[str, dict[str, Any]]:
        """What each table asks for by itself, and with those before it, in the order of the tables.

        By table: `configs`, `trials`, `embedding_sets`, and under `with_earlier` the same of all tables so far, each
        config and set counted once.
        """
        counts, configs, sets = {}, set(), set()
        splits = len(self.splits)
        for table in self.space.tables:
            own = [c for c in self.configs if table.name in c.tables]
            own_sets = {key for c in own for key in c.embedding_keys}
            configs |= {c.key for c in own}
            sets |= own_sets
            counts[table.name] = {
                **_counts(len(own), splits, len(own_sets)),
                "with_earlier": _counts(len(configs), splits, len(sets)),
            }
        return counts

    def to_json(self) -> dict[str, Any]:
        """The plan as plain values, for `divita plan --json`."""
        done, lost = sum(t.done for t in self.trials), self.without_video
        rows = sum(len(s.cached) for s in self.sets)
        missing = sum(len(s.missing) for s in self.sets)
        return {
            "sweep": self.space.name,
            "tables": self.table_counts(),
            "configs": len(self.configs),
            "splits": list(self.splits),
            "trials": len(self.trials),
            "trailers": len(self.trailers),
            "failed_trailers": len(self.failed),
            "embedding_sets": len(self.sets),
            "backbone_passes": sum(s.spec.backbone.name != FRAMES for s in self.sets),
            "decode_passes": int(bool(self.to_decode)),
            "trailers_to_decode": len(self.to_decode),
            "cached": {"rows": rows, "embedding_sets": sum(not s.missing for s in self.sets), "trials": done},
            "missing": {
                "rows": missing,
                "embedding_sets": sum(bool(s.missing) for s in self.sets),
                "trials": len(self.trials) - done,
            },
            "imported_but_unused": {s.spec.name: s.imported for s in self.sets if s.imported},
            "without_video": {s.spec.name: len(lost[s.key]) for s in self.sets if s.key in lost},
            "without_sharing": {
                "decode_passes": len(self.configs),
                "backbone_passes": sum(s.backbone.name != FRAMES for c in self.configs for s in c.config.streams),
            },
            "sets": [
                {
                    "key": s.key,
                    "name": s.spec.name,
                    "weights": s.spec.backbone.weights,
                    "cached": len(s.cached),
                    "missing": len(s.missing),
                    "configs": s.configs,
                    "tables": dict(s.tables),
                }
                for s in self.sets
            ],
        }


def _counts(configs: int, splits: int, sets: int) -> dict[str, int]:
    return {"configs": configs, "trials": configs * splits, "embedding_sets": sets}


def make_plan(space: Space, manifest: Manifest, inventory: Inventory) -> Plan:
    """Subtracts what is there from what `space` asks for on the trailers of `manifest`."""
    splits = _splits(space, manifest)
    configs, tables = space.configs, space.tables_of()
    keys = {spec: embedding_key(spec) for spec in dict.fromkeys(s for config in configs for s in config.streams)}
    # Two specs may be one set: the frame cache is the same whatever a head on it starts from.
    specs: dict[str, EmbeddingSpec] = {}
    users: dict[str, dict[Config, None]] = {}
    for config in configs:
        for stream in config.streams:
            specs.setdefault(keys[stream], stream)
            users.setdefault(keys[stream], {})[config] = None
    failed = _failed(manifest, inventory, frozenset(keys.values()))
    trailers = tuple(mid for mid in manifest.mids if mid not in failed)
    paths = dict(zip(manifest.mids, manifest.paths, strict=True))
    sets = []
    for key, spec in specs.items():
        cached = _cached(trailers, paths, inventory.rows.get(key, {}), inventory.current)
        sets.append(
            SetPlan(
                key,
                spec,
                cached,
                tuple(mid for mid in trailers if mid not in cached),
                _unused_imports(trailers, paths, inventory.rows.get(key, {}), cached),
                len(users[key]),
                Counter(t for config in users[key] for t in tables[config]),
            )
        )
    data = _DataDigests(manifest.subset(trailers), {s.key: s for s in sets})
    planned = []
    for config in configs:
        embedding_keys = tuple(keys[s] for s in config.streams)
        start = initial_weights(config.start) if config.start else None
        trials = []
        for split in splits:
            digest = data.of(embedding_keys, split)
            trial = None if digest is None else trial_key(config, embedding_keys, split, digest, start)
            trials.append(TrialPlan(split, digest, trial, trial in inventory.trials))
        key = config_key(config, embedding_keys, start)
        planned.append(ConfigPlan(config, key, tables[config], embedding_keys, tuple(trials)))
    return Plan(space, trailers, paths, tuple(failed.values()), tuple(sets), tuple(planned), splits)


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

    def __init__(self, manifest: Manifest, sets: Mapping[str, SetPlan]) -> None:
        self._manifest, self._sets = manifest, sets
        self._known: dict[tuple[tuple[str, ...], int], str | None] = {}

    def of(self, embedding_keys: tuple[str, ...], split: int) -> str | None:
        at = (embedding_keys, split)
        if at not in self._known:
            sets = [self._sets[key] for key in embedding_keys]
            if any(s.missing for s in sets):
                self._known[at] = None
            else:
                # Streams cut from one video share its digest; imported sets may each have their own.
                digests = {mid: "+".join(sorted({s.cached[mid] for s in sets})) for mid in self._manifest.mids}
                self._known[at] = self._manifest.data_digest(digests, split)
        return self._known[at]
