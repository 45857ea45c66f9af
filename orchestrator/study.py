"""A search space on a manifest in a workspace: opened and checked, planned, kept, and read back from files alone."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from orchestrator.backbones.registry import initial_weights
from orchestrator.data.manifest import TEST, Manifest, check_parts, load_manifest
from orchestrator.errors import InputError
from orchestrator.reporting.aggregate import Row, Spread, SweepConfig, aggregate, spread_over_splits
from orchestrator.specs import BackboneSpec, Config, plain
from orchestrator.store.sweeps import SweepEntry, SweepRecord, SweepTable
from orchestrator.store.workspace import Workspace
from orchestrator.sweep.plan import Plan, make_plan
from orchestrator.sweep.space import Space, load_space
from orchestrator.sweep.survey import take_inventory
from orchestrator.training.metrics import chance

StrPath = str | os.PathLike[str]

THE_AUTHORS = "those of Trailers12k's authors, who published the vectors"


@dataclass(frozen=True)
class Study:
    """What a command works on. `overrides` are fields that replaced those of the YAML."""

    space: Space
    manifest: Manifest
    workspace: Workspace
    overrides: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def open(
        cls,
        space: StrPath,
        manifest: StrPath,
        workspace: StrPath,
        overrides: Mapping[str, Any] | None = None,
        *,
        splits: bool = True,
    ) -> Study:
        """Reads both files, so that the mistakes of both are told at once. Extraction alone needs no splits."""
        problems: list[str] = []
        loaded_space = loaded_manifest = None
        try:
            loaded_space = load_space(Path(space), overrides)
        except InputError as error:
            problems += error.problems
        try:
            loaded_manifest = load_manifest(manifest, need_splits=splits, read_splits=splits)
        except InputError as error:
            problems += error.problems
        if loaded_space is None or loaded_manifest is None:
            raise InputError(problems)
        return cls(loaded_space, loaded_manifest, Workspace(workspace), dict(overrides or {}))

    def plan(self) -> Plan:
        """What is there and what is missing, by the workspace as it is now."""
        return make_plan(self.space, self.manifest, take_inventory(self.space, self.manifest, self.workspace))

    def check_trainable(self, plan: Plan) -> None:
        """Raises InputError where trailers that failed or have no rows leave a part of a split unusable."""
        if not plan.failed:
            return
        problems = check_parts(self.manifest.subset(plan.trailers))
        if problems:
            failed = f"after {len({f.mid for f in plan.failed})} trailers failed (`divita status {self.space.name}`)"
            raise InputError([f"{problem}, {failed}" for problem in problems])

    def save(self, plan: Plan) -> SweepRecord:
        """Keeps what was asked for under the sweep's name."""
        used = self.manifest.subset(plan.trailers)
        record = SweepRecord(
            name=self.space.name,
            source=self.space.source,
            space={p.name: p.read_text(encoding="utf-8") for p in self.space.files},
            overrides=dict(self.overrides),
            manifest=self.manifest.source,
            manifest_trailers=len(self.manifest),
            trailers=len(plan.trailers),
            failures=plan.failed,
            synthetic=self.manifest.synthetic,
            genres=self.manifest.genres,
            labels=self.manifest.labels_digest(),
            chance={str(s): _chance(used, s) for s in plan.splits},
            tables=tuple(SweepTable(t.name, t.title, t.question, t.number, t.axes) for t in self.space.tables),
            entries=tuple(
                SweepEntry(plain(c.config), c.key, c.embedding_keys, c.tables, {str(t.split): t.key for t in c.trials})
                for c in plan.configs
            ),
            updated=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        self.workspace.sweeps.save(record)
        return record


def _chance(manifest: Manifest, split: int) -> dict[str, float]:
    rows = manifest.part(split, TEST)
    if not len(rows) or not manifest.labels[rows].any():
        return {}
    scores = chance(manifest.labels[rows], manifest.genres)
    return {name: value for name, value in scores.items() if isinstance(value, float)}


@dataclass(frozen=True)
class SweepResults:
    """A sweep read back: its rows in the order of its configs, and the chance level on its test parts."""

    record: SweepRecord
    rows: list[Row]
    chance: Mapping[str, Spread] | None
    activity: Mapping[str, Any] | None = None
    """What a driver is doing to it now: `phase`, `configs` in training, `host`, `process`; None where none does."""

    @property
    def done(self) -> int:
        return sum(len(row.scores) for row in self.rows)

    @property
    def failed(self) -> dict[str, str]:
        """`label, split n` -> why, for the trials that ran and failed."""
        return {
            f"{row.label}, split {split}": why
            for row in self.rows
            for split, why in row.states.items()
            if why != "missing"
        }

    @property
    def running(self) -> int:
        """Trials of configs that are in training now."""
        return sum(why == "missing" for row in self._in_training for why in row.states.values())

    @property
    def missing(self) -> int:
        """Trials that have not run and are not running."""
        return sum(why == "missing" for row in self.rows for why in row.states.values()) - self.running

    @property
    def _in_training(self) -> list[Row]:
        keys = set(self.activity["configs"]) if self.activity else set()
        return [row for row in self.rows if row.key in keys]

    @property
    def ok(self) -> bool:
        """True when every trial is done and no trailer failed."""
        return not (self.missing or self.running or self.failed or self.record.failures)


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


def sweep_configs(record: SweepRecord) -> list[SweepConfig]:
    """The configs of a sweep with the keys of their trials, in its order."""
    return [
        SweepConfig.of(
            entry.restore(),
            entry.key,
            # A trial whose sets are not complete has no key yet and can't be in the ledger.
            {int(split): key or "" for split, key in entry.trials.items()},
            entry.tables,
        )
        for entry in record.entries
    ]


def read_results(name: str, workspace: Workspace) -> SweepResults:
    """The state of a sweep from files alone: while it runs, after it crashed, without its videos."""
    record = workspace.sweeps.load(name)
    configs = sweep_configs(record)
    keys = [key for config in configs for key in config.trials.values() if key]
    done = workspace.ledger.read_many(keys)
    failed = workspace.ledger.failed([key for key in keys if key not in done])
    rows = aggregate(configs, [*failed.values(), *done.values()], trailers=record.manifest_trailers)
    level = spread_over_splits({int(s): v for s, v in record.chance.items()}) if all(record.chance.values()) else None
    return SweepResults(record, rows, level, workspace.activity(name).read())
