"""Sweeps by name: what was asked for and what searches drew, so that a sweep is resumed and reported by its name."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from orchestrator.errors import InputError
from orchestrator.specs import Config, config_from_plain, plain
from orchestrator.store import documents
from orchestrator.store.failures import Failure
from orchestrator.store.files import FileTree, map_files
from orchestrator.store.parts import check_key

_EXHAUSTED = "exhausted.json"


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
class SweepSearch:
    """A search of the sweep as it was asked for last: `spec` is `plain(SearchSpec)`, `space` the key of all that its
    configs are made from. `numbers` says as which each of its configs was drawn, by config key; those in `shared` are
    asked for by a grid as well."""

    table: str
    identity: str
    space: str
    spec: dict[str, Any]
    numbers: dict[str, int]
    shared: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "shared", tuple(self.shared))


@dataclass(frozen=True)
class Suggestion:
    """A config that a search drew, kept before it is trained: `values` are the fields drawn, as YAML spells them.

    `identity` and `space` are those of the `SweepSearch` by which it was drawn.
    """

    table: str
    identity: str
    space: str
    number: int
    values: dict[str, Any]
    entry: SweepEntry

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Suggestion:
        """The inverse of `specs.plain`. Raises TypeError or KeyError when fields are missing or unknown."""
        return cls(**(dict(values) | {"entry": SweepEntry(**values["entry"])}))


@dataclass(frozen=True)
class SweepRecord:
    """A named search space as it was run last: all that status and report need beside the ledger.

    `space` holds the text of the YAML and of every file it includes, by file name; `overrides` the fields that the
    command replaced; `labels` the digest of ids, labels and parts; `chance` the label prevalence on each split's test
    part by metric; `failures` the trailers that no trial uses; `options` how it was run, for `divita resume`;
    `kept_manifest` the file of the copy it ran on; `lacking` trailers by embedding set that have no vectors yet;
    `updated` is a time in ISO 8601.
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
    searches: tuple[SweepSearch, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    kept_manifest: str = ""
    lacking: dict[str, int] = field(default_factory=dict)
    updated: str = ""

    def __post_init__(self) -> None:
        check_name(self.name)
        for name in ("failures", "genres", "tables", "entries", "searches"):
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
            "searches": tuple(SweepSearch(**search) for search in values["searches"]),
        }
        return cls(**(dict(values) | nested))


class SweepStore:
    """Sweeps under one tree: `<name>/sweep.json`, its manifest, and `<name>/searches/` with what was drawn."""

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
                    f"{self._tree.where(path)}: torn, and set aside; nothing else is lost: "
                    "run `divita run SPACE.yaml -d MANIFEST` once more"
                ) from fault
        raise InputError(
            f"{self._tree.where()}: sweep: {name!r} is not one of {', '.join(self.names()) or '(none has run yet)'}"
        )

    def keep_manifest(self, sweep: str, data: bytes) -> str:
        """Keeps a CSV of the sweep's manifest beside earlier ones, and returns its name. Raises StoreError.

        Named by its content, so that a record and the manifest it was made with are never mixed up.
        """
        name = f"manifest-{hashlib.sha256(data).hexdigest()[:12]}.csv"
        path = f"{check_name(sweep)}/{name}"
        if not self._tree.exists(path):
            self._tree.write_bytes(path, data)
        return name

    def drop_manifests(self, sweep: str, but: str) -> None:
        """Removes kept manifests that no record names any more. Raises StoreError."""
        folder = check_name(sweep)
        for name in self._tree.names(folder):
            if name.startswith("manifest-") and name != but:
                self._tree.remove(f"{folder}/{name}")

    def manifest(self, record: SweepRecord) -> str:
        """Path or URI of the manifest that the sweep keeps. Raises InputError where it is gone."""
        path = f"{record.name}/{record.kept_manifest}"
        if not record.kept_manifest or not self._tree.exists(path):
            raise InputError(
                f"{self._tree.where(path)}: manifest: the sweep's own copy is gone; "
                "run `divita run SPACE.yaml -d MANIFEST` once more, which keeps one"
            )
        return self._tree.where(path)

    def suggest(self, sweep: str, suggestion: Suggestion) -> None:
        """Keeps what a search drew, so that it is drawn only once. Raises StoreError."""
        name = f"{suggestion.number:06d}-{check_key(suggestion.entry.key)}.json"
        path = f"{_draws(sweep, suggestion.table, suggestion.identity)}/{name}"
        self._tree.write_bytes(path, documents.seal(plain(suggestion)))

    def suggestions(self, sweep: str, table: str, identity: str) -> list[Suggestion]:
        """What the search of a table drew, by number and key; torn files are set aside with a warning.

        `identity`: of the search; what it drew when it was another does not belong to it. Raises StoreError.
        """
        folder = _draws(sweep, table, identity)
        names = [name for name in self._tree.names(folder) if re.fullmatch(r"\d{6,}-.+\.json", name)]
        found = map_files(lambda name: self._read_suggestion(f"{folder}/{name}"), names)
        return sorted((s for s in found if s is not None), key=lambda s: (s.number, s.entry.key))

    def mark_exhausted(self, sweep: str, table: str, identity: str, space: str) -> None:
        """Keeps that a search has drawn every config of `space`, the key of what its configs are made from."""
        documents.write_document(self._tree, f"{_draws(sweep, table, identity)}/{_EXHAUSTED}", {"space": space})

    def is_exhausted(self, sweep: str, table: str, identity: str, space: str) -> bool:
        """Whether there is nothing more to draw from `space`. Raises StoreError."""
        found = documents.read_document(self._tree, f"{_draws(sweep, table, identity)}/{_EXHAUSTED}")
        return isinstance(found, dict) and found.get("space") == space

    def _read_suggestion(self, path: str) -> Suggestion | None:
        try:
            suggestion = Suggestion.from_json(documents.unseal(self._tree.read_bytes(path)))
            name = f"{suggestion.number:06d}-{suggestion.entry.key}.json"
            if name != path.rsplit("/", 1)[-1]:
                raise ValueError(f"it is the suggestion {name}")
            return suggestion
        except FileNotFoundError:
            return None
        except (KeyError, TypeError, ValueError) as fault:
            documents.set_torn_aside(self._tree, path, fault)
            return None


def _draws(sweep: str, table: str, identity: str) -> str:
    return f"{check_name(sweep)}/searches/{check_key(table)}/{check_key(identity)}"


def check_name(name: str) -> str:
    """The name, if it can name a folder and an MLflow experiment. Raises InputError."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
        raise InputError(f"sweep: name: {name!r} must be 1 to 100 letters, digits, '.', '_' or '-', the first no sign")
    return name
