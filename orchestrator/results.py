"""A sweep read back from files alone: while it runs, after it crashed, without its videos."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from orchestrator.backbones.registry import initial_weights
from orchestrator.errors import InputError
from orchestrator.reporting.aggregate import (
    Row,
    Spread,
    SweepConfig,
    aggregate,
    distinct_labels,
    spread_over_splits,
)
from orchestrator.search.observe import observe
from orchestrator.search.records import Observation, SearchSpec, search_from_plain
from orchestrator.specs import BackboneSpec, Config
from orchestrator.store.checkpoints import checkpoint_name
from orchestrator.store.ledger import TrialRecord
from orchestrator.store.sweeps import Suggestion, SweepEntry, SweepRecord, SweepSearch
from orchestrator.store.workspace import Workspace

THE_AUTHORS = "those of Trailers12k's authors, who published the vectors"

MISSING, PRUNED = "missing", "pruned"
"""How `reporting.aggregate` calls a trial without a record, and one that a search ended early."""


@dataclass(frozen=True)
class SearchState:
    """A search of a sweep: what it has drawn and what is known of it, by number; `to_draw` more are to come."""

    table: str
    spec: SearchSpec
    observations: tuple[Observation, ...]
    exhausted: bool = False
    """Its ranges hold no other config."""

    @property
    def to_draw(self) -> int:
        return 0 if self.exhausted else max(0, self.spec.configs - len(self.observations))


@dataclass(frozen=True)
class SweepResults:
    """A sweep read back: its rows in the order of its configs, and the chance level on its test parts."""

    record: SweepRecord
    rows: list[Row]
    chance: Mapping[str, Spread] | None
    searches: tuple[SearchState, ...] = ()
    activity: Mapping[str, Any] | None = None
    """What a driver is doing to it now: `phase`, `configs` in training, `host`, `process`; None where none does."""
    begun: Mapping[str, int] = field(default_factory=dict)
    """Config key -> epochs that its checkpoint holds, for configs that were stopped in training or are in it."""

    @property
    def done(self) -> int:
        return sum(len(row.scores) for row in self.rows)

    @property
    def failed(self) -> dict[str, str]:
        """`label, split n` -> why, for the trials that ran and failed."""
        return {
            f"{label}, split {split}": why
            for label, row in zip(distinct_labels(self.rows), self.rows, strict=True)
            for split, why in row.states.items()
            if why != MISSING and not why.startswith(PRUNED)
        }

    @property
    def pruned(self) -> dict[str, str]:
        """Label -> why, for the configs that a search ended early, on all splits at once."""
        labels = zip(distinct_labels(self.rows), self.rows, strict=True)
        return {label: next(iter(row.states.values())) for label, row in labels if row.pruned}

    @property
    def pruned_trials(self) -> int:
        return sum(len(row.splits) for row in self.rows if row.pruned)

    @property
    def running(self) -> int:
        """Trials of configs that are in training now."""
        return sum(why == MISSING for row in self._in_training for why in row.states.values())

    @property
    def missing(self) -> int:
        """Trials that have not run and are not running, those of configs that are still to be drawn included."""
        return sum(self.missing_why.values())

    @property
    def trials(self) -> int:
        return sum(len(row.splits) for row in self.rows) + sum(s.to_draw for s in self.searches) * self._splits

    @property
    def missing_why(self) -> dict[str, int]:
        """Reason -> trials that are missing for it."""
        running, counts = {row.key for row in self._in_training}, Counter[str]()
        entries = {e.key: e for e in self.record.entries}
        for label, row in zip(distinct_labels(self.rows), self.rows, strict=True):
            lacking = [split for split, why in row.states.items() if why == MISSING]
            if not lacking or row.key in running:
                continue
            entry = entries.get(row.key)
            if entry and not all(entry.trials.values()):
                counts["its embeddings are not complete"] += len(lacking)
            elif epochs := self.begun.get(row.key):
                counts[f"stopped after epoch {epochs} of {row.settings['training.epochs']}: {label}"] += len(lacking)
            else:
                counts["not begun"] += len(lacking)
        for search in self.searches:
            if search.to_draw:
                counts[f"the search {search.table} has not drawn its config yet"] += search.to_draw * self._splits
        return dict(counts)

    @property
    def _splits(self) -> int:
        return max((len(row.splits) for row in self.rows), default=len(self.record.chance))

    @property
    def _in_training(self) -> list[Row]:
        keys = set(self.activity["configs"]) if self.activity else set()
        return [row for row in self.rows if row.key in keys]

    @property
    def ok(self) -> bool:
        """True when every trial is done or was pruned and no trailer failed; of an extraction, when no vector lacks."""
        if not self.record.chance and self.record.lacking:
            return False
        return not (self.missing or self.running or self.failed or self.record.failures)


def read_results(name: str, workspace: Workspace) -> SweepResults:
    """The state of a sweep by now. Raises InputError where there is none of that name."""
    record = workspace.sweeps.load(name)
    drawn = {search.table: _drawn(workspace, record, search) for search in record.searches}
    known = {entry.key for entry in record.entries}
    fresh = {s.entry.key: s for some in drawn.values() for s in some if s.entry.key not in known}
    record = _with_fresh(record, list(fresh.values()))
    configs = sweep_configs(record)
    records = workspace.ledger.states({key: c.search for c in configs for key in c.trials.values() if key})
    rows = aggregate(configs, records.values(), trailers=record.manifest_trailers)
    level = None
    if record.chance and all(record.chance.values()):
        level = spread_over_splits({int(s): v for s, v in record.chance.items()})
    names = {entry.key: checkpoint_name(entry.key, record.labels) for entry in record.entries}
    epochs = workspace.checkpoints.epochs([names[row.key] for row in rows if MISSING in row.states.values()])
    return SweepResults(
        record,
        rows,
        level,
        tuple(_state(search, drawn[search.table], record, records, workspace) for search in record.searches),
        workspace.lock(name).read(),
        {key: epochs[n] for key, n in names.items() if n in epochs},
    )


def _drawn(workspace: Workspace, record: SweepRecord, search: SweepSearch) -> list[Suggestion]:
    """What belonged to the search when it was planned last, and what it has drawn since, by number."""
    found: dict[str, Suggestion] = {}
    for suggestion in workspace.sweeps.suggestions(record.name, search.table, search.identity):
        if search.numbers.get(suggestion.entry.key) == suggestion.number or suggestion.space == search.space:
            found.setdefault(suggestion.entry.key, suggestion)
    return list(found.values())[: search.spec["configs"]]


def _state(
    search: SweepSearch,
    drawn: Sequence[Suggestion],
    record: SweepRecord,
    records: Mapping[str, TrialRecord],
    workspace: Workspace,
) -> SearchState:
    spec, entries = search_from_plain(search.spec), {entry.key: entry for entry in record.entries}
    # Their trials are those of the labels as they are now, not as they were when they were drawn.
    keys = {s.entry.key: [key or "" for key in entries[s.entry.key].trials.values()] for s in drawn}
    asked = {k: None if key in search.shared else search.identity for key, trials in keys.items() for k in trials if k}
    done = {k: records[k] for k in asked if k in records and records[k].status == "done"}
    mine = workspace.ledger.states({k: identity for k, identity in asked.items() if k not in done}) | done
    observations = [
        observe(spec, s.number, s.values, s.entry.key, [mine.get(k) for k in keys[s.entry.key]]) for s in drawn
    ]
    exhausted = workspace.sweeps.is_exhausted(record.name, search.table, search.identity, search.space)
    return SearchState(search.table, spec, tuple(observations), exhausted)


def _with_fresh(record: SweepRecord, fresh: Sequence[Suggestion]) -> SweepRecord:
    """The record with what searches have drawn since it was kept."""
    searches = [
        replace(search, numbers=search.numbers | {s.entry.key: s.number for s in fresh if s.table == search.table})
        for search in record.searches
    ]
    return replace(record, entries=(*record.entries, *(s.entry for s in fresh)), searches=tuple(searches))


def sweep_configs(record: SweepRecord) -> list[SweepConfig]:
    """The configs of a sweep with the keys of their trials, in its order; those of searches alone have numbers."""
    drawn: dict[str, tuple[int, str]] = {}
    for search in record.searches:
        for key in search.numbers.keys() - set(search.shared):
            drawn.setdefault(key, (search.numbers[key], search.identity))
    return [sweep_config(entry, *drawn.get(entry.key, (None, None))) for entry in record.entries]


def sweep_config(entry: SweepEntry, number: int | None = None, search: str | None = None) -> SweepConfig:
    """A config as its sweep expects it; `number` is that of the draw by the search of identity `search`."""
    # A trial whose sets are not complete has no key yet and can't be in the ledger.
    trials = {int(split): key or "" for split, key in entry.trials.items()}
    return SweepConfig.of(entry.restore(), entry.key, trials, entry.tables, number=number, search=search)


def weights_used(results: SweepResults, workspace: Workspace) -> dict[str, str]:
    """Backbone -> the weights behind its vectors, by file or digest, as its embedding sets say."""
    found: dict[str, dict[str, None]] = {}
    published = {row.key for row in results.rows if "P" in row.marks}
    for kept in results.record.entries:
        config = kept.restore()
        for stream, key in zip(config.streams, kept.embedding_keys, strict=True):
            said = THE_AUTHORS if kept.key in published else _say_weights(stream.backbone, config, key, workspace)
            found.setdefault(stream.backbone.name, {})[said] = None
    return {backbone: " and ".join(said) for backbone, said in found.items()}


def _say_weights(backbone: BackboneSpec, config: Config, key: str, workspace: Workspace) -> str:
    try:
        if backbone == config.start:
            weights = initial_weights(backbone)
        else:
            weights = (workspace.embeddings.spec(key) or {})["backbone"]["weights"]
    except (InputError, KeyError):  # a checkpoint that is not on this machine, a set that was never begun
        return backbone.weights
    if "random" in weights:
        return "random, untrained"
    return ", ".join(f"{name} {value}" for name, value in weights.items())
