"""Whether two workspaces hold the same sweep: ledger, predictions, vectors and MLflow, bit for bit but for times."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from orchestrator.specs import plain
from orchestrator.store.ledger import TrialRecord
from orchestrator.store.workspace import Workspace

TIMES = ("seconds", "created")
"""Fields of a record, of an epoch and of an MLflow run that two runs of the same work can't share."""

ROWS, PARENT = ("mid", "digest"), "mlflow.parentRunId"


def differences(one: Path, other: Path) -> list[str]:
    """What tells the workspace folders `one` and `other` apart; empty where they hold the same sweep."""
    found = [f"{place}: {what}" for place in (one, other) for what in written_twice(place)]
    first, second = Workspace(one), Workspace(other)
    found += _compare("trials", _trials(first), _trials(second))
    found += _compare("pruned trials", _without_times(_pruned(first)), _without_times(_pruned(second)))
    found += _compare("failed trials", _without_times(first.ledger.failed()), _without_times(second.ledger.failed()))
    found += _compare("vectors", dict(_vectors(first)), dict(_vectors(second)))
    found += _compare("draws", _draws(first), _draws(second))
    found += _compare("MLflow runs", mlflow_runs(one), mlflow_runs(other))
    return found


def written_twice(workspace: Path) -> list[str]:
    """Rows (set or detector, trailer, digest of its video) that lie in more than one place.

    A row is computed from a decoded trailer. What a flush had stored is in the plan of the next run, so that nobody
    decodes the trailer again for it: then no row is ever written twice, wherever a kill falls.
    """
    return [f"{name}: the row of {mid} was written {n} times" for (name, mid, _), n in rows(workspace).items() if n > 1]


def miscounted(workspace: Path) -> list[str]:
    """Where a search has not exactly its number of configs, each drawn, recorded and shown in MLflow once."""
    store, found = Workspace(workspace), []
    over = store.ledger.keys() | _pruned(store).keys()
    for sweep in store.sweeps.names():
        for search in store.sweeps.load(sweep).searches:
            drawn = store.sweeps.suggestions(sweep, search.table, search.identity)
            wanted = list(range(search.spec["configs"]))
            if [one.number for one in drawn] != wanted:
                found.append(f"{search.table}: drew {[one.number for one in drawn]}, not {wanted}")
            if len({one.entry.key for one in drawn}) != len(drawn):
                found.append(f"{search.table}: drew a config twice")
            lacking = [one.number for one in drawn if not over.issuperset(one.entry.trials.values())]
            found += [f"{search.table}: config {number} has no result" for number in lacking]
    found += [f"MLflow runs: {len(runs)} of {key}" for key, runs in mlflow_runs(workspace).items() if len(runs) > 1]
    return found


def rows(workspace: Path) -> Counter[tuple[str, str, str]]:
    """How often each row (folder of a set or detector, trailer, digest) lies in the Parquet parts."""
    counts: Counter[tuple[str, str, str]] = Counter()
    for part in sorted(workspace.glob("embeddings/*/part-*.parquet")) + sorted(
        workspace.glob("shots/*/part-*.parquet")
    ):
        table = pq.read_table(part, columns=list(ROWS))
        name = part.parent.relative_to(workspace).as_posix()
        counts.update((name, *row) for row in zip(*(table[c].to_pylist() for c in ROWS), strict=True))
    return counts


def mlflow_runs(workspace: Path) -> dict[str, Any]:
    """All active runs by the key of their trial or config, without times, ids and folders.

    A key that two runs carry has a list of both, so that a duplicate is a difference.
    """
    path = workspace / "mlflow.db"
    if not path.exists():
        return {}
    with sqlite3.connect(path) as database:
        runs = database.execute("select run_uuid, name, status from runs where lifecycle_stage = 'active'").fetchall()
        names = {run: name for run, name, _ in runs}
        found: dict[str, Any] = {}
        for run, name, status in runs:
            tags = dict(database.execute("select key, value from tags where run_uuid = ?", (run,)))
            params = database.execute("select key, value from params where run_uuid = ?", (run,))
            metrics = database.execute("select key, step, value, is_nan from metrics where run_uuid = ?", (run,))
            key = tags.get("divita.trial_key") or tags.get("divita.config_key") or run
            content = {
                "name": name,
                "status": status,
                "parent": names.get(tags.pop(PARENT, ""), ""),
                "tags": tags,
                "params": dict(params),
                "metrics": sorted(row for row in metrics if row[0] not in TIMES),
                "artifacts": sorted(p.name for p in (workspace / "mlartifacts" / run / "artifacts").glob("*")),
            }
            found[key] = [*found[key], content] if key in found else [content]
    return found


def _trials(workspace: Workspace) -> dict[str, Any]:
    """Done trials without times, each with the bytes of its predictions."""
    ledger = workspace.ledger
    return {
        key: _timeless(record) | {"predictions": {n: _bits(a) for n, a in ledger.predictions(key).items()}}
        for key, record in ledger.read_many(ledger.keys()).items()
    }


def _without_times(records: Mapping[str, TrialRecord]) -> dict[str, Any]:
    return {key: _timeless(record) for key, record in records.items()}


def _timeless(record: TrialRecord) -> dict[str, Any]:
    values = {name: value for name, value in asdict(record).items() if name not in TIMES}
    values["history"] = [{n: v for n, v in epoch.items() if n not in TIMES} for epoch in record.history]
    return values


def _vectors(workspace: Workspace) -> Iterator[tuple[str, Any]]:
    """The bits of each trailer's vectors, by set, trailer and digest."""
    sets = workspace.embeddings.keys()
    for key in sets:
        for mid, digests in workspace.embeddings.digests(key).items():
            for digest in digests:
                yield f"{key} {mid} {digest}", _bits(workspace.embeddings.load(key, [mid], {mid: digest}).vectors)


def _draws(workspace: Workspace) -> dict[str, Any]:
    """What searches drew, by sweep, table and number: the values, the config and its trials."""
    found: dict[str, Any] = {}
    for sweep in workspace.sweeps.names():
        for search in workspace.sweeps.load(sweep).searches:
            for drawn in workspace.sweeps.suggestions(sweep, search.table, search.identity):
                found.setdefault(f"{sweep} {search.table} {drawn.number}", []).append(plain(drawn))
    return found


def _bits(array: np.ndarray) -> tuple[str, tuple[int, ...], bytes]:
    return str(array.dtype), array.shape, array.tobytes()


def _compare(what: str, one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Messages on keys that only one has and on keys whose values differ, with the fields that do."""
    found = [f"{what}: only the first has {key}" for key in sorted(one.keys() - other.keys())]
    found += [f"{what}: only the second has {key}" for key in sorted(other.keys() - one.keys())]
    for key in sorted(one.keys() & other.keys()):
        if one[key] != other[key]:
            found.append(f"{what}: {key} differs{_where(one[key], other[key])}")
    return found


def _where(one: Any, other: Any) -> str:
    if isinstance(one, dict) and isinstance(other, dict):
        return " in " + ", ".join(str(n) for n in one.keys() | other.keys() if one.get(n) != other.get(n))
    if isinstance(one, list) and isinstance(other, list):
        return f": {len(one)} and {len(other)}" if len(one) != len(other) else _where(one[0], other[0])
    return ""


def _pruned(workspace: Workspace) -> dict[str, TrialRecord]:
    ledger = workspace.ledger
    return {key: record for search in ledger.searches() for key, record in ledger.pruned(search).items()}
