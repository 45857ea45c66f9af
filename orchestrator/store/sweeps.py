"""Sweeps by name: what was asked for, so that a sweep can be resumed and reported without its YAML."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from orchestrator.errors import InputError
from orchestrator.specs import Config, config_from_plain, plain
from orchestrator.store import documents
from orchestrator.store.failures import Failure
from orchestrator.store.files import FileTree


@dataclass(frozen=True)
class SweepEntry:
    """One config of a sweep as plain values (`specs.plain`), its keys, and the tables that show it.

    `trials` maps each split, as text, to the key of its trial; None until the config's embedding sets are complete.
    """

    config: dict[str, Any]
    key: str
    embedding_keys: tuple[str, ...]
    tables: tuple[str, ...]
    trials: dict[str, str | None]

    def __post_init__(self) -> None:
        object.__setattr__(self, "config", plain(self.config))
        for name in ("embedding_keys", "tables"):
            object.__setattr__(self, name, tuple(getattr(self, name)))

    def restore(self) -> Config:
        """The config as a record."""
        return config_from_plain(self.config)


@dataclass(frozen=True)
class SweepTable:
    """What one YAML file of the sweep compares: the axes it varies, and the published table it answers, if any."""

    name: str
    title: str
    question: str
    number: str | None
    axes: tuple[str, ...]


@dataclass(frozen=True)
class SweepRecord:
    """A named search space as it was run last: all that status and report need beside the ledger.

    `space` holds the text of the YAML and of every file it includes, by file name; `overrides` the fields that the
    command replaced; `labels` the digest of ids, labels and parts; `chance` the label prevalence on each split's test
    part by metric; `failures` the trailers that no trial uses; `updated` is a time in ISO 8601.
    """

    name: str
    source: str
    space: dict[str, str]
    overrides: dict[str, Any]
    manifest: str
    manifest_trailers: int
    trailers: int
    failures: tuple[Failure, ...]
    synthetic: bool
    genres: tuple[str, ...]
    labels: str
    chance: dict[str, dict[str, float]]
    tables: tuple[SweepTable, ...]
    entries: tuple[SweepEntry, ...]
    updated: str = ""

    def __post_init__(self) -> None:
        check_name(self.name)
        for name in ("failures", "genres", "tables", "entries"):
            object.__setattr__(self, name, tuple(getattr(self, name)))

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return plain(self)  # type: ignore[no-any-return]

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> SweepRecord:
        """The inverse of `to_json`. Raises ValueError when fields are missing or unknown."""
        names = {f.name for f in fields(cls)}
        if set(values) != names:
            raise ValueError(f"a sweep has the fields {', '.join(sorted(names))}, but got {', '.join(sorted(values))}")
        nested = {
            "failures": tuple(Failure(**failure) for failure in values["failures"]),
            "tables": tuple(SweepTable(**table | {"axes": tuple(table["axes"])}) for table in values["tables"]),
            "entries": tuple(SweepEntry(**entry) for entry in values["entries"]),
        }
        return cls(**(dict(values) | nested))


class SweepStore:
    """Sweeps under one tree: `<name>/sweep.json`."""

    def __init__(self, tree: FileTree) -> None:
        self._tree = tree

    def names(self) -> list[str]:
        """Names of all sweeps that are there."""
        return [name for name in self._tree.folders() if self._tree.exists(f"{name}/sweep.json")]

    def save(self, record: SweepRecord) -> None:
        """Replaces the sweep of that name atomically. Raises StoreError."""
        documents.write_document(self._tree, f"{record.name}/sweep.json", record.to_json())

    def load(self, name: str) -> SweepRecord:
        """The sweep of that name. Raises InputError that names those there are, StoreError."""
        path = f"{check_name(name)}/sweep.json"
        values = documents.read_document(self._tree, path)
        if values is not None:
            try:
                return SweepRecord.from_json(values)
            except (AttributeError, KeyError, TypeError, ValueError) as fault:
                documents.set_torn_aside(self._tree, path, fault)
        raise InputError(
            f"{self._tree.where()}: sweep: {name!r} is not one of {', '.join(self.names()) or '(none has run yet)'}"
        )


def check_name(name: str) -> str:
    """The name, if it can name a folder and an MLflow experiment. Raises InputError."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
        raise InputError(f"sweep: name: {name!r} must be 1 to 100 letters, digits, '.', '_' or '-', the first no sign")
    return name
