"""The trial ledger: one record a trial, which is the truth about it and never changes.

A flat folder: `<trial key>.npz` holds the predictions, `<trial key>.json` the record. The predictions are written
first, so that the record, when it is there, says that the trial is done. Trials that failed lie under `failed/`
and count as missing: they run again. Those that a search pruned lie under `pruned/<identity of the search>/`; they
are over for that search alone, and run when anything else asks for them.
"""

from __future__ import annotations

import hashlib
import io
import json
import types
import typing
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from orchestrator.errors import StoreError
from orchestrator.store import documents
from orchestrator.store.files import FileTree, map_files
from orchestrator.store.parts import check_key

STATUSES = ("done", "pruned", "failed")

_PRUNED, _FAILED = "pruned", "failed"

FEW = 200
"""Records up to which opening each by name costs less than listing the folder."""


@dataclass(frozen=True)
class TrialRecord:
    """Everything that is known of a config on one split.

    `config` is `specs.plain(config)`; `history` has one mapping of plain values an epoch; `test` and `per_genre`
    are in percent; `weights` says for each stream what its backbone started from; `created` is in ISO 8601.
    `parameters` counts backbones and head, `head_parameters` the head alone, `multiply_adds` those of one snippet;
    `origins` says where the vectors come from (`data.origin`); `search` which search pruned it
    (`SearchSpec.identity`).
    """

    key: str
    config: dict[str, Any]
    config_key: str
    split: int
    embedding_keys: tuple[str, ...]
    data_digest: str
    status: str
    reason: str | None = None
    search: str | None = None
    history: tuple[dict[str, Any], ...] = ()
    best_epoch: int | None = None
    test: dict[str, Any] = field(default_factory=dict)
    per_genre: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    parameters: int | None = None
    head_parameters: int | None = None
    multiply_adds: int | None = None
    n_train: int = 0
    n_val: int = 0
    n_test: int = 0
    weights: tuple[str, ...] = ()
    synthetic: bool = False
    origins: tuple[str, ...] = ()
    versions: dict[str, str] = field(default_factory=dict)
    commit: str | None = None
    created: str = ""

    def __post_init__(self) -> None:
        check_key(self.key)
        if self.status not in STATUSES:
            raise ValueError(f"status: {self.status!r} is not one of {', '.join(STATUSES)}")
        if self.status != "done" and not self.reason:
            raise ValueError(f"reason: a {self.status} trial must say why")
        if self.status == "pruned" and not self.search:
            raise ValueError("search: a pruned trial must name the search that pruned it")
        for name in ("embedding_keys", "history", "weights", "origins"):
            object.__setattr__(self, name, tuple(getattr(self, name)))

    def to_json(self) -> dict[str, Any]:
        """Plain values; what comes back by `from_json` is equal to the record. Raises ValueError on NaN."""
        values: dict[str, Any] = json.loads(documents.encode(asdict(self), indent=None))
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> TrialRecord:
        """The inverse of `to_json`. Raises ValueError when a field is missing, unknown or of the wrong type."""
        if set(values) != set(_TYPES):
            missing, unknown = sorted(set(_TYPES) - set(values)), sorted(set(values) - set(_TYPES))
            raise ValueError(f"a trial record lacks the fields {missing} and has the unknown fields {unknown}")
        for name, allowed in _TYPES.items():
            value = values[name]
            if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed):
                raise ValueError(f"{name}: {value!r} is not {' or '.join(t.__name__ for t in allowed)}")
        return cls(**values)


class Ledger:
    """Trial records by key, under one tree. Any number of processes may write different trials at once."""

    def __init__(self, tree: FileTree) -> None:
        self._tree = tree

    def keys(self) -> frozenset[str]:
        """Keys of the trials that are done, by one listing: opens no file, so a torn record counts (see `verify`)."""
        names = set(self._tree.names())
        return frozenset(key for key in _keys_in(names) if f"{key}.npz" in names)

    def write(self, record: TrialRecord, predictions: Mapping[str, np.ndarray] | None = None) -> bool:
        """Adds a trial; False when it is done already, since such a record never changes. Raises StoreError.

        A failed record replaces an earlier one and goes when the trial is done; a pruned one replaces only that of its
        own search, and stays. `predictions` are plain arrays (`mids`, `probabilities` float32 (n_test, genres),
        `labels`, …); only a done trial has them.
        """
        if self._holds(record.key):
            return False
        body: dict[str, Any] = {"record": record.to_json()}
        if record.status == "failed":
            self._tree.write_bytes(f"{_FAILED}/{record.key}.json", documents.seal(body))
            return True
        if record.search is not None and record.status == "pruned":
            self._tree.write_bytes(f"{_pruned_by(record.search)}/{record.key}.json", documents.seal(body))
            return True
        data = _pack(predictions or {})
        body["predictions"] = hashlib.sha256(data).hexdigest()
        self._tree.write_bytes(f"{record.key}.npz", data)
        self._tree.write_bytes(f"{record.key}.json", documents.seal(body))
        self._tree.remove(f"{_FAILED}/{record.key}.json")
        return True

    def read(self, key: str) -> TrialRecord:
        """The record of a trial. Raises StoreError when it is not there or torn."""
        body = self._read(key)
        if body is None:
            raise StoreError(f"{self._tree.where(f'{key}.json')}: no such trial; `divita run` again makes it")
        return TrialRecord.from_json(body["record"])

    def read_many(self, keys: Iterable[str]) -> dict[str, TrialRecord]:
        """Records of those trials that are there and whole; torn ones are set aside with a warning."""
        wanted = list(keys)
        bodies = map_files(self._read, wanted)
        return {k: TrialRecord.from_json(b["record"]) for k, b in zip(wanted, bodies, strict=True) if b is not None}

    def predictions(self, key: str) -> dict[str, np.ndarray]:
        """The arrays written with a trial. Raises StoreError when they or the record are missing or torn.

        A trial whose predictions are torn is set aside whole, so that the next run makes it again.
        """
        body = self._read(key)
        if body is None:
            raise StoreError(f"{self._tree.where(f'{key}.json')}: no such trial; `divita run` again makes it")
        data = self._checked_predictions(key, body)
        if data is None:
            path = self._tree.where(f"{key}.npz")
            raise StoreError(f"{path}: missing or torn; `divita run` again makes the trial again")
        return _unpack(data)

    def verify(self, keys: Iterable[str]) -> list[str]:
        """Those of `keys` whose record or predictions are torn: they are set aside with a warning and run again.

        Reads every byte of the done trials among `keys`; one that is not there is no fault. On a remote tree it reads
        the records alone, since fetching all predictions at each run would cost minutes; `predictions` still finds
        those that are torn. Raises StoreError.
        """
        done = self.keys()
        asked = [key for key in dict.fromkeys(keys) if key in done]
        check = self._is_whole if self._tree.local is not None else self._has_record
        return [key for key, whole in zip(asked, map_files(check, asked), strict=True) if not whole]

    def pruned_keys(self, search: str) -> frozenset[str]:
        """Keys of the trials that the search of that identity pruned, by one listing: opens no file."""
        return _keys_in(self._tree.names(_pruned_by(search)))

    def pruned(self, search: str, keys: Collection[str] | None = None) -> dict[str, TrialRecord]:
        """Trials (of `keys`, or all) that the search of that identity pruned, whatever became of them since."""
        return self._records(_pruned_by(search), self.pruned_keys(search) if keys is None else keys)

    def searches(self) -> list[str]:
        """Identities of the searches that have pruned trials."""
        return self._tree.folders(_PRUNED)

    def failed(self, keys: Collection[str] | None = None) -> dict[str, TrialRecord]:
        """Trials (of `keys`, or all) that failed when they ran last and are not done since."""
        asked = _keys_in(self._tree.names(_FAILED)) if keys is None else self._among(_FAILED, keys)
        found = self._records(_FAILED, asked)
        done = set(self._done(found))  # a writer that died before it tidied up leaves their failed records
        return {key: record for key, record in found.items() if key not in done}

    def states(self, searched: Mapping[str, str | None]) -> dict[str, TrialRecord]:
        """What became of trials: the done record, else that of the search that pruned it, else the failed one.

        `searched` has for each trial key the identity of the search whose verdict counts for it, None where no
        search's does. A trial that has none of the three is left out; torn records are set aside with a warning.
        """
        found = self.read_many(self._done(searched))
        folders: dict[str, list[str]] = {}
        for key, search in searched.items():
            if search is not None and key not in found:
                folders.setdefault(_pruned_by(search), []).append(key)
        folders[_FAILED] = list(searched)
        for folder, keys in folders.items():
            found |= self._records(folder, self._among(folder, [key for key in keys if key not in found]))
        return found

    def _done(self, keys: Collection[str]) -> list[str]:
        """Those of `keys` that have a record and predictions; opens no file."""
        if len(keys) >= FEW:
            done = self.keys()
            return [key for key in keys if key in done]
        there = map_files(lambda key: all(self._tree.exists(f"{key}.{end}") for end in ("json", "npz")), keys)
        return [key for key, is_there in zip(keys, there, strict=True) if is_there]

    def _among(self, folder: str, keys: Collection[str]) -> Collection[str]:
        """Those of `keys` that a folder has a record of: few are simply tried, for many one listing is cheaper."""
        if len(keys) < FEW:
            return keys
        there = set(self._tree.names(folder))
        return [key for key in keys if f"{key}.json" in there]

    def _records(self, folder: str, keys: Collection[str]) -> dict[str, TrialRecord]:
        asked = list(keys)
        bodies = map_files(lambda key: self._read(f"{folder}/{key}"), asked)
        return {k: TrialRecord.from_json(b["record"]) for k, b in zip(asked, bodies, strict=True) if b is not None}

    def _has_record(self, key: str) -> bool:
        """Whether the record fits its checksum; it is set aside otherwise."""
        return self._read(key) is not None

    def _is_whole(self, key: str) -> bool:
        """Whether record and predictions fit their checksums; what does not is set aside."""
        body = self._read(key)
        return body is not None and self._checked_predictions(key, body) is not None

    def _checked_predictions(self, key: str, body: Mapping[str, Any]) -> bytes | None:
        """The bytes of a trial's predictions; None where they are missing or torn, and the trial is set aside whole."""
        path = f"{key}.npz"
        try:
            return self._read_predictions(path, body)
        except FileNotFoundError:
            why = "its predictions are missing"
        except ValueError as fault:
            why = "its predictions are torn"
            documents.set_torn_aside(self._tree, path, fault)
        documents.set_torn_aside(self._tree, f"{key}.json", why)
        return None

    def _holds(self, key: str) -> bool:
        """Whether the trial is there, record and predictions whole."""
        body = self._read(key, warn=False)
        try:
            return body is not None and bool(self._read_predictions(f"{key}.npz", body))
        except (FileNotFoundError, ValueError):
            return False

    def _read_predictions(self, path: str, body: Mapping[str, Any]) -> bytes:
        """The bytes of a predictions file. Raises FileNotFoundError, ValueError when it is torn."""
        data = self._tree.read_bytes(path)
        if hashlib.sha256(data).hexdigest() != body.get("predictions"):
            raise ValueError("its checksum is not the one in the record")
        return data

    def _read(self, name: str, warn: bool = True) -> dict[str, Any] | None:
        """The body of a sealed record, checked; None when there is none or it is torn."""
        path = f"{name}.json"
        try:
            body = documents.unseal(self._tree.read_bytes(path))
            key = TrialRecord.from_json(body["record"]).key
            if key != name.rsplit("/", 1)[-1]:
                raise ValueError(f"it is the record of trial {key}")
            return dict(body)
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as fault:
            if warn:
                documents.set_torn_aside(self._tree, path, fault)
            return None


def _pack(arrays: Mapping[str, np.ndarray]) -> bytes:
    plain = {name: np.asarray(array) for name, array in arrays.items()}
    for name, array in plain.items():
        if array.dtype.hasobject:
            raise ValueError(f"predictions: {name}: must be plain numbers or text, but holds Python objects")
    buffer = io.BytesIO()
    np.savez(buffer, **plain)  # type: ignore[arg-type]
    return buffer.getvalue()


def _unpack(data: bytes) -> dict[str, np.ndarray]:
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def _types_of(hint: Any) -> tuple[type, ...]:
    """Types that JSON may hold for a field: lists for tuples, whole numbers for floats."""
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    plain = {tuple: (list, tuple), float: (float, int)}
    return tuple(t for o in options for t in plain.get(typing.get_origin(o) or o, (typing.get_origin(o) or o,)))


_TYPES = {name: _types_of(hint) for name, hint in typing.get_type_hints(TrialRecord).items()}


def _pruned_by(search: str) -> str:
    """The folder of what the search of that identity pruned. Raises ValueError where it can't name one."""
    return f"{_PRUNED}/{check_key(search)}"


def _keys_in(names: Iterable[str]) -> frozenset[str]:
    """Keys of the trials whose records are among the files of a folder."""
    return frozenset(name.removesuffix(".json") for name in names if name.endswith(".json"))
