"""What is trained: configs with the trials they lack, the data they share, the record that a trial leaves. No Ray."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from orchestrator.data.origin import origin
from orchestrator.engine.costs import ConfigCost
from orchestrator.errors import InputError
from orchestrator.specs import Config, plain
from orchestrator.store.embeddings import ClipVectors
from orchestrator.store.ledger import TrialRecord


@dataclass(frozen=True)
class ConfigJob:
    """A config with the trials it lacks: `trials` maps each split to (trial key, data digest)."""

    config: Config
    key: str
    embedding_keys: tuple[str, ...]
    weights: tuple[str, ...]
    """What each stream's backbone started from: `pretrained`, `random` or a path."""
    trials: Mapping[int, tuple[str, str]]
    cost: ConfigCost | None = None
    checkpoint: str | None = None
    """The file of its epoch checkpoint; None: none is kept."""
    milestones: tuple[int, ...] = ()
    """Epochs after which the search judges it, by `metric`: `val_loss` or a metric of the validation part."""
    metric: str | None = None
    search: str | None = None
    """`SearchSpec.identity` of the search that drew it."""


@dataclass(frozen=True)
class TrainingData:
    """What all configs of a sweep train on; trailers in one order. Parts as the manifest has them."""

    mids: tuple[str, ...]
    genres: tuple[str, ...]
    labels: np.ndarray
    splits: np.ndarray
    rows: Mapping[str, Mapping[str, str]]
    """Embedding key -> trailer -> digest of the row to read."""
    synthetic: bool
    versions: Mapping[str, str]
    commit: str | None


def check_same_clips(config: Config, mids: Sequence[str], streams: Sequence[ClipVectors]) -> None:
    """Raises InputError naming trailers whose streams were not cut into the same clips, as imported sets may be."""
    first = np.diff(streams[0].offsets)
    for spec, stream in zip(config.streams[1:], streams[1:], strict=True):
        other = np.diff(stream.offsets)
        apart = np.flatnonzero(first != other)
        if len(apart):
            some = ", ".join(f"{mids[i]}: {first[i]} and {other[i]}" for i in apart[:3])
            raise InputError(
                f"backbone: {config.streams[0].backbone.name} and {spec.backbone.name} fuse clip by clip, but "
                f"{len(apart)} trailers have other numbers of clips ({some}); both must come from the same cuts"
            )


def make_record(job: ConfigJob, split: int, data: TrainingData, **fields: Any) -> TrialRecord:
    """A ledger record of one trial with what the job and the data say of it."""
    key, digest = job.trials[split]
    return TrialRecord(
        key=key,
        config=plain(job.config),
        config_key=job.key,
        split=split,
        embedding_keys=job.embedding_keys,
        data_digest=digest,
        weights=job.weights,
        synthetic=data.synthetic,
        origins=tuple(sorted({origin(digest) for k in job.embedding_keys for digest in data.rows[k].values()})),
        versions=dict(data.versions),
        commit=data.commit,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        **fields,
    )
