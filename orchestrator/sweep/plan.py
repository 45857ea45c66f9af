"""What a sweep still needs, as records; `sweep.planning` makes them.

A config's embedding sets are extracted for every trailer of the sweep before any of its trials runs, so a trial's key,
which covers the rows it reads, is known exactly when its sets are complete; until then the trial is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator.specs import FRAMES, BackboneSpec, Config, EmbeddingSpec
from orchestrator.store.failures import Failure
from orchestrator.store.sweeps import Suggestion
from orchestrator.sweep.search import Search
from orchestrator.sweep.space import Space


@dataclass(frozen=True)
class Inventory:
    """What the workspace holds that matters to one sweep.

    `current` is the digest of each trailer's video as it is now; a trailer whose video was never read, or that has no
    path, is not in it. `rows` holds per embedding set the digests stored for each trailer, `trials` the keys of those
    that are done, `pruned` by search those that it pruned, `suggestions` by table what its search has drawn.
    """

    current: Mapping[str, str]
    rows: Mapping[str, Mapping[str, frozenset[str]]]
    failures: tuple[Failure, ...]
    trials: frozenset[str]
    pruned: Mapping[str, frozenset[str]] = field(default_factory=dict)
    suggestions: Mapping[str, tuple[Suggestion, ...]] = field(default_factory=dict)
    exhausted: frozenset[str] = frozenset()


@dataclass(frozen=True)
class SetPlan:
    """One embedding set: which trailers it has, which it lacks, and which configs share it.

    `tables` maps each table that needs the set to how many of its configs do; `searches` names those whose searches may
    draw configs that need it.
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
    searches: tuple[str, ...] = ()


@dataclass(frozen=True)
class TrialPlan:
    """A config on one split; the digest of its data and its key are None until the config's sets are complete.

    `pruned` by the search that drew the config; a config that a grid asks for as well is trained to its end.
    """

    split: int
    data: str | None
    key: str | None
    done: bool
    pruned: bool = False

    @property
    def finished(self) -> bool:
        return self.done or self.pruned


@dataclass(frozen=True)
class ConfigPlan:
    """A config, its key, the tables that it stands in, and its trials."""

    config: Config
    key: str
    tables: tuple[str, ...]
    embedding_keys: tuple[str, ...]
    trials: tuple[TrialPlan, ...]

    @property
    def finished(self) -> bool:
        return all(t.finished for t in self.trials)

    @property
    def trainable(self) -> bool:
        """Whether a trial is missing whose embedding sets are complete."""
        return any(t.key and not t.finished for t in self.trials)


@dataclass(frozen=True)
class Drawn:
    """A config of a search: as which it was drawn, and the fields that were; `shared` with a grid or not."""

    number: int
    values: Mapping[str, Any]
    plan: ConfigPlan
    shared: bool = False


@dataclass(frozen=True)
class SearchPlan:
    """A search of the sweep: what it has drawn that still belongs to it, by number, and how much is to come.

    `space` is the key of all that its configs are made from, embedding sets included; `taken` are the numbers of all
    its draws, of which `left_out` no longer lie in its ranges or go beyond its number of configs. `exhausted`: the
    ranges hold no other config.
    """

    search: Search
    identity: str
    space: str
    drawn: tuple[Drawn, ...]
    taken: frozenset[int]
    left_out: int
    exhausted: bool = False

    @property
    def to_draw(self) -> int:
        return 0 if self.exhausted else self.search.spec.configs - len(self.drawn)


@dataclass(frozen=True)
class Plan:
    """What there is and what is to do. `failed` are trailers that no trial of the sweep uses, `changed` those whose
    videos are not the ones that were embedded before."""

    space: Space
    trailers: tuple[str, ...]
    """Ids that the sweep uses: those of the manifest that did not fail."""
    paths: Mapping[str, str | None]
    failed: tuple[Failure, ...]
    sets: tuple[SetPlan, ...]
    configs: tuple[ConfigPlan, ...]
    """Those of the grids, then those that searches have drawn."""
    splits: tuple[int, ...]
    searches: tuple[SearchPlan, ...] = ()
    changed: tuple[str, ...] = ()
    place: Callable[[Config, tuple[str, ...], str | None], ConfigPlan] = field(repr=False, compare=False, kw_only=True)
    """Plans a config that a search draws: config, tables, identity of the search."""

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
        """What the heads on pixels start from that are not trained yet, or may still be drawn."""
        drawable = [s.search.embedding_specs() for s in self.searches if s.to_draw]
        later = [spec.backbone for specs in drawable for spec in specs if spec.backbone.name == FRAMES]
        return [c.config.start for c in self.configs if c.config.start and not c.finished] + later

    @property
    def without_video(self) -> dict[str, tuple[str, ...]]:
        """Sets that can't be completed: key -> trailers whose vectors are missing and whose videos are not named."""
        lost = {s.key: tuple(mid for mid in s.missing if self.paths[mid] is None) for s in self.sets}
        return {key: mids for key, mids in lost.items() if mids}

    @property
    def trials(self) -> tuple[TrialPlan, ...]:
        return tuple(t for c in self.configs for t in c.trials)

    @property
    def grid(self) -> tuple[ConfigPlan, ...]:
        """Configs that a grid asks for, whether a search has drawn them as well or not."""
        drawn = {d.plan.key for s in self.searches for d in s.drawn if not d.shared}
        return tuple(c for c in self.configs if c.key not in drawn)

    @property
    def drawn(self) -> tuple[Drawn, ...]:
        """What all searches have drawn; a config that two have drawn is there twice, with the state it has for each."""
        return tuple(d for s in self.searches for d in s.drawn)

    @property
    def to_draw(self) -> int:
        """Configs that searches have still to draw."""
        return sum(s.to_draw for s in self.searches)

    @property
    def finished(self) -> bool:
        """True when nothing is left to train."""
        return not self.to_draw and all(c.finished for c in (*self.grid, *(d.plan for d in self.drawn)))

    @property
    def trainable(self) -> bool:
        """Whether something can be trained now."""
        return bool(self.to_draw) or any(c.trainable for c in (*self.grid, *(d.plan for d in self.drawn)))

    def table_counts(self) -> dict[str, dict[str, Any]]:
        """What each table asks for by itself, and with those before it, in the order of the tables.

        By table: `configs`, `trials`, `embedding_sets`, and under `with_earlier` the same of all tables so far, each
        config and set counted once.
        """
        counts, configs, sets, later = {}, set(), set(), 0
        splits, to_draw = len(self.splits), {s.search.table: s.to_draw for s in self.searches}
        for table in self.space.tables:
            own = [c for c in self.configs if table.name in c.tables]
            own_sets = {s.key for s in self.sets if table.name in s.tables or table.name in s.searches}
            configs |= {c.key for c in own}
            sets |= own_sets
            drawing = to_draw.get(table.name, 0)
            later += drawing
            counts[table.name] = {
                **_counts(len(own) + drawing, splits, len(own_sets)),
                "with_earlier": _counts(len(configs) + later, splits, len(sets)),
            }
        return counts

    def to_json(self) -> dict[str, Any]:
        """The plan as plain values, for `divita plan --json`."""
        done, lost = sum(t.done for t in self.trials), self.without_video
        pruned = sum(t.pruned and not t.done for t in self.trials)
        configs = len(self.configs) + self.to_draw
        trials = configs * len(self.splits)
        rows = sum(len(s.cached) for s in self.sets)
        missing = sum(len(s.missing) for s in self.sets)
        return {
            "sweep": self.space.name,
            "tables": self.table_counts(),
            "configs": configs,
            "splits": list(self.splits),
            "trials": trials,
            "searches": [_search_json(s) for s in self.searches],
            "trailers": len(self.trailers),
            "failed_trailers": len(self.failed),
            "embedding_sets": len(self.sets),
            "backbone_passes": sum(s.spec.backbone.name != FRAMES for s in self.sets),
            "decode_passes": int(bool(self.to_decode)),
            "trailers_to_decode": len(self.to_decode),
            "changed_trailers": list(self.changed),
            "cached": {
                "rows": rows,
                "embedding_sets": sum(not s.missing for s in self.sets),
                "trials": done,
                "pruned_trials": pruned,
            },
            "missing": {
                "rows": missing,
                "embedding_sets": sum(bool(s.missing) for s in self.sets),
                "trials": trials - done - pruned,
            },
            "imported_but_unused": {s.spec.name: s.imported for s in self.sets if s.imported},
            "without_video": {s.spec.name: len(lost[s.key]) for s in self.sets if s.key in lost},
            "without_sharing": {
                "decode_passes": configs,
                "backbone_passes": sum(s.backbone.name != FRAMES for c in self.configs for s in c.config.streams)
                + self.to_draw,
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
                    "searches": list(s.searches),
                }
                for s in self.sets
            ],
        }


def _counts(configs: int, splits: int, sets: int) -> dict[str, int]:
    return {"configs": configs, "trials": configs * splits, "embedding_sets": sets}


def _search_json(plan: SearchPlan) -> dict[str, Any]:
    spec = plan.search.spec
    return {
        "table": plan.search.table,
        "configs": spec.configs,
        "drawn": len(plan.drawn),
        "to_draw": plan.to_draw,
        "left_out": plan.left_out,
        "sampler": spec.sampler,
        "seed": spec.seed,
        "objectives": list(spec.objectives),
        "pruner": spec.pruner.name if spec.pruner else None,
    }
