"""What the MLflow runs of a config and of a trial hold, as plain values. Pure: knows no MLflow client."""

from __future__ import annotations

import hashlib
import json
import math
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any, NamedTuple

from orchestrator.reporting.aggregate import MARKS, Row, SweepConfig, distinct_labels
from orchestrator.store.ledger import TrialRecord

VIEW_VERSION = 3
"""Raised by hand when runs are to be written anew because what they hold has changed."""

TRIAL_KEY, CONFIG_KEY, TRIAL_KEYS, WRITTEN = (
    "divita.trial_key",
    "divita.config_key",
    "divita.trial_keys",
    "divita.written",
)
"""Tags by which runs are found again; WRITTEN is set last and names the content that was written whole."""

LEFT_OUT = "divita.left_out"
"""Tag: `yes` where the sweep does not ask for the run any more (its YAML or labels were changed), `no` where it does;
in the UI `tags.divita.left_out = 'no'` shows the sweep as it is."""

STATUS = {"done": "FINISHED", "failed": "FAILED", "pruned": "KILLED"}
"""A trial's state in the ledger -> its run's status."""

PROVENANCE = ("divita.commit", "divita.versions", "mlflow.source.git.commit")

COSTS = ("parameters", "head_parameters", "multiply_adds")
"""Of backbones and head, of the head alone, and multiply-adds of one snippet."""

LONGEST = 4000
"""Characters of a tag or param; MLflow's stores refuse some 5,000."""


class Point(NamedTuple):  # a sweep of 1,000 trials has a million of them
    """One value of a metric; `time` in milliseconds since 1970."""

    name: str
    value: float
    time: int
    step: int = 0


@dataclass(frozen=True)
class RunContent:
    """All of a run but its artifacts; `start` and `end` in milliseconds since 1970."""

    name: str
    status: str
    start: int
    end: int
    tags: Mapping[str, str]
    params: Mapping[str, str]
    metrics: tuple[Point, ...]

    @property
    def fingerprint(self) -> str:
        """Tells whether a run holds this very result.

        Not in it: times, versions and params, so that a trial which was lost and trained again to the same numbers
        leaves its run alone (params could not be changed anyway).
        """
        tags = {name: value for name, value in self.tags.items() if name not in PROVENANCE}
        metrics = sorted((p.name, p.step, p.value) for p in self.metrics if p.name != "seconds")
        text = json.dumps([VIEW_VERSION, self.name, self.status, tags, metrics], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:20]


def describe_trial(record: TrialRecord, row: Row) -> RunContent:
    """The child run: per-epoch `train.*` and `val.*`, `test.*`, `test.AP.<genre>`."""
    start, end = _times(record)
    last: dict[str, float] = {f"test.{name}": value for name, value in record.test.items()}
    genres = clean_names(record.per_genre)
    last |= {f"test.AP.{genres[genre]}": value for genre, value in record.per_genre.items()}
    last |= {"seconds": record.seconds}
    last |= _present(record, "best_epoch", *COSTS)
    tags = _tags([record], row.key) | {
        TRIAL_KEY: record.key,
        "divita.split": str(record.split),
        "divita.data_digest": record.data_digest,
        "divita.reason": record.reason or "",
        "mlflow.note.content": f"**{record.status}**: {record.reason}" if record.reason else "",
    }
    return RunContent(
        name=f"split {record.split}",
        status=STATUS[record.status],
        start=start,
        end=end,
        tags=_kept(tags),
        params=_params({**row.settings, "split": record.split}),
        metrics=(*_history(record, start), *_points(last, end)),
    )


def describe_config(
    row: Row, records: Sequence[TrialRecord], name: str, trials: Iterable[str], number: int | None = None
) -> RunContent:
    """The parent run: `test.<metric>.mean` and `.std`, only where every split of the sweep has its result.

    Status: FINISHED with all splits, FAILED where one failed, KILLED where one is pruned or still missing. `number`
    says as which a search drew the config.
    """
    times = [_times(r) for r in records]
    end = max(t[1] for t in times)
    values: dict[str, float] = {"seconds": row.seconds}
    genres = clean_names(row.per_genre)
    for label, spread in [*row.metrics.items(), *((f"AP.{genres[g]}", s) for g, s in row.per_genre.items())]:
        values[f"test.{label}.mean"] = spread.mean
        if spread.std is not None:
            values[f"test.{label}.std"] = spread.std
    values |= _present(row, *COSTS)
    failed = any(r.status == "failed" for r in records)
    tags = _tags(records, row.key) | {
        TRIAL_KEYS: ",".join(sorted(filter(None, trials))),
        "divita.tables": ",".join(row.tables),
        "divita.splits": f"{len(row.scores)} of {len(row.splits)}",
        "divita.search": "" if number is None else str(number),
        "mlflow.note.content": _note(row),
    }
    return RunContent(
        name=name,
        status="FINISHED" if row.complete else "FAILED" if failed else "KILLED",
        start=min(t[0] for t in times),
        end=end,
        tags=_kept(tags),
        params=_params(row.settings),
        metrics=tuple(_points(values, end)),
    )


def name_configs(configs: Sequence[SweepConfig]) -> dict[str, str]:
    """Config key -> the name that tells it apart from all others of the sweep."""
    return {config.key: name for config, name in zip(configs, distinct_labels(configs), strict=True)}


def _present(source: TrialRecord | Row, *names: str) -> dict[str, float]:
    return {name: value for name in names if (value := getattr(source, name)) is not None}


def clean_names(names: Iterable[str]) -> dict[str, str]:
    """Genres -> metric names of letters, digits, `.`, `_` and `-`; never two the same."""
    cleaned: dict[str, str] = {}
    for name in sorted(names):
        plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
        stem = re.sub(r"[^A-Za-z0-9._-]+", "_", plain) or "_"
        taken, candidate, number = set(cleaned.values()), stem, 2
        while candidate in taken:
            candidate, number = f"{stem}_{number}", number + 1
        cleaned[name] = candidate
    return cleaned


def _tags(records: Sequence[TrialRecord], config_key: str) -> dict[str, str]:
    """Tags that a config and its trials have in common; `yes` and `no` so that the UI can filter by them."""
    keys = dict.fromkeys(k for r in records for k in r.embedding_keys)
    weights = dict.fromkeys(w for r in records for w in r.weights)
    commits = list(dict.fromkeys(r.commit for r in records if r.commit))
    versions = {n: v for r in records for n, v in r.versions.items()}
    return {
        CONFIG_KEY: config_key,
        LEFT_OUT: "no",
        "divita.embedding_keys": ",".join(keys),
        "divita.weights": ",".join(weights),
        "divita.random_weights": "yes" if "random" in weights else "no",
        "divita.synthetic": "yes" if any(r.synthetic for r in records) else "no",
        "divita.vectors": ",".join(sorted({o for r in records for o in r.origins})),
        "divita.commit": ",".join(commits),
        "divita.versions": ", ".join(f"{n} {v}" for n, v in versions.items()),
        "mlflow.source.name": "divita",
        "mlflow.source.type": "LOCAL",
        "mlflow.source.git.commit": commits[-1] if commits else "",
    }


def _note(row: Row) -> str:
    """Shown as the description of the run: how complete it is and what its marks mean."""
    return "\n".join([f"{row.progress}", *(f"- {MARKS[mark]}" for mark in row.marks)])


def _history(record: TrialRecord, start: int) -> list[Point]:
    """`train_loss` of epoch 3 as `train.loss` at step 3, at the time when that epoch ended."""
    points, elapsed = [], 0.0
    for epoch in record.history:
        elapsed += float(epoch.get("seconds") or 0.0)
        names = _curves(tuple(epoch))
        values = {shown: epoch[name] for name, shown in names.items()}
        points += _points(values, start + int(1000 * elapsed), int(epoch["epoch"]))
    return points


@cache
def _curves(names: tuple[str, ...]) -> dict[str, str]:
    """Those fields of an epoch that are shown as curves: `val_uAP` -> `val.uAP`."""
    curves = [n for n in names if n == "learning_rate" or n.startswith(("train_", "val_"))]
    return {name: re.sub(r"^(train|val)_", r"\1.", name) for name in curves}


def _points(values: Mapping[str, Any], time: int, step: int = 0) -> list[Point]:
    """Finite values only: MLflow turns an infinity into 1.8e308 and a NaN into a point that breaks its charts."""
    return [
        Point(name, float(value), time, step)
        for name, value in values.items()
        if isinstance(value, (int, float)) and math.isfinite(value)
    ]


def _params(settings: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value)[:LONGEST] for name, value in settings.items()}


def _kept(tags: Mapping[str, str]) -> dict[str, str]:
    return {name: value[:LONGEST] for name, value in tags.items() if value}


def _times(record: TrialRecord) -> tuple[int, int]:
    """Start and end in milliseconds; the record is written when the trial ends."""
    try:
        made = datetime.fromisoformat(record.created)
    except ValueError:
        made = datetime.fromtimestamp(0, UTC)
    end = int(1000 * (made if made.tzinfo else made.replace(tzinfo=UTC)).timestamp())
    return max(0, end - int(1000 * record.seconds)), end
