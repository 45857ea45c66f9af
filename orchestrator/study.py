"""A search space on a manifest in a workspace: opened, checked, planned, kept, and opened again from what was kept."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from orchestrator.data.changes import describe_changes, to_csv
from orchestrator.data.manifest import TEST, Manifest, check_parts, load_manifest
from orchestrator.errors import InputError
from orchestrator.specs import plain
from orchestrator.store.sweeps import SweepEntry, SweepRecord, SweepSearch, SweepTable
from orchestrator.store.workspace import Workspace
from orchestrator.sweep.plan import Plan
from orchestrator.sweep.planning import make_plan
from orchestrator.sweep.space import Space, load_space
from orchestrator.sweep.survey import take_inventory
from orchestrator.training.metrics import chance

StrPath = str | os.PathLike[str]


@dataclass(frozen=True)
class Study:
    """What a command works on. `overrides` are fields that replaced those of the YAML."""

    space: Space
    manifest: Manifest
    workspace: Workspace
    overrides: Mapping[str, Any] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    """The YAML and what it includes, as text: the file itself first, names relative to a folder of all."""
    folder: str = ""
    """Where relative paths of weights start."""

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
        texts = _read_texts(loaded_space.files)
        return cls(loaded_space, loaded_manifest, Workspace(workspace), dict(overrides or {}), texts, os.getcwd())

    @classmethod
    def reopen(cls, record: SweepRecord, workspace: Workspace) -> Study:
        """The sweep as it was asked for last, from its own copies of the YAML and the manifest.

        Videos that are gone by now are no error: each becomes a failure of its own.
        """
        kept = load_manifest(workspace.sweeps.manifest(record), need_splits=False, check_files=False)
        manifest = replace(kept, source=record.manifest, synthetic=record.synthetic)
        with _spread_out(record) as path:
            space = replace(load_space(path, record.overrides), name=record.name, source=record.source)
        folder = str(record.options["folder"])
        return cls(space, manifest, workspace, dict(record.overrides), record.space, folder)

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

    def changes(self) -> list[str]:
        """How the manifest differs from the one that the sweep ran on last: changes that make other trials of it."""
        sweeps, name = self.workspace.sweeps, self.space.name
        if name not in sweeps.names():
            return []
        try:
            record = sweeps.load(name)
        except InputError:  # torn, and set aside with a warning
            return ["what it ran on is not known any more"]
        if record.labels == self.manifest.labels_digest():
            return []
        try:
            kept = load_manifest(sweeps.manifest(record), need_splits=False, check_files=False)
        except InputError:  # the copy is gone or damaged; what it said can't be compared
            return ["the manifest is another"]
        return describe_changes(kept, self.manifest) if kept.n_splits else []

    def save(self, plan: Plan, options: Mapping[str, Any]) -> SweepRecord:
        """Keeps what was asked for under the sweep's name; `options` are those of the command, for `divita resume`."""
        used = self.manifest.subset(plan.trailers)
        record = SweepRecord(
            name=self.space.name,
            source=self.space.source,
            space=dict(self.texts),
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
            searches=tuple(
                SweepSearch(
                    s.search.table,
                    s.identity,
                    s.space,
                    plain(s.search.spec),
                    {d.plan.key: d.number for d in s.drawn},
                    tuple(d.plan.key for d in s.drawn if d.shared),
                )
                for s in plan.searches
            ),
            options=dict(options) | {"folder": self.folder},
            kept_manifest=self.workspace.sweeps.keep_manifest(self.space.name, to_csv(self.manifest)),
            lacking={s.spec.name: len(s.missing) for s in plan.sets if s.missing},
            updated=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        self.workspace.sweeps.save(record)
        self.workspace.sweeps.drop_manifests(record.name, but=record.kept_manifest)
        return record


def _read_texts(files: tuple[Path, ...]) -> dict[str, str]:
    paths = [Path(os.path.abspath(path)) for path in files]  # not resolved: a link goes by its own name
    base = os.path.commonpath([path.parent for path in paths])
    return {os.path.relpath(path, base): path.read_text(encoding="utf-8") for path in paths}


@contextlib.contextmanager
def _spread_out(record: SweepRecord) -> Iterator[Path]:
    """The kept YAML and what it includes, as files for a while; relative paths of weights start where they did."""
    folder = str(record.options["folder"])
    with tempfile.TemporaryDirectory() as place:
        for name, text in record.space.items():
            path = Path(place, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        with contextlib.chdir(folder) if os.path.isdir(folder) else contextlib.nullcontext():
            yield Path(place, next(iter(record.space)))


def _chance(manifest: Manifest, split: int) -> dict[str, float]:
    rows = manifest.part(split, TEST)
    if not len(rows) or not manifest.labels[rows].any():
        return {}
    scores = chance(manifest.labels[rows], manifest.genres)
    return {name: value for name, value in scores.items() if isinstance(value, float)}
