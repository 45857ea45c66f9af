"""What the ledger says of a config that a search drew: the only way in which results reach a sampler or a pruner.

Validation figures and costs alone are read here; test scores stay in the records.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from orchestrator.search.records import COSTS, Observation, SearchSpec
from orchestrator.store.ledger import TrialRecord
from orchestrator.training.milestones import LOSS, milestone_means


def observe(
    spec: SearchSpec, number: int, values: Mapping[str, Any], key: str, records: Sequence[TrialRecord | None]
) -> Observation:
    """`records` has one of each split of the config, None where there is none yet: the config then counts as running.

    A config one of whose splits failed, or that lacks an objective, is `failed`: a mean is never formed over fewer
    splits.
    """
    there = [r for r in records if r is not None]
    reports = _reports(spec, there) if len(there) == len(records) else {}
    if any(r.status == "failed" for r in there):
        return Observation(number, values, "failed", key=key)
    if len(there) < len(records):
        return Observation(number, values, "running", key=key)
    if any(r.status == "pruned" for r in there):
        return Observation(number, values, "pruned", (), reports, key)
    objectives = tuple(_objective(name, there) for name in spec.objectives)
    if any(not math.isfinite(value) for value in objectives):
        return Observation(number, values, "failed", key=key)
    return Observation(number, values, "done", objectives, reports, key)


def _objective(name: str, records: Sequence[TrialRecord]) -> float:
    """A cost, or the mean over splits of the validation figure at the epoch that was evaluated; NaN where unknown."""
    if name in COSTS:
        cost = getattr(records[0], name)
        return math.nan if cost is None else float(cost)
    epochs = [next((e for e in r.history if e.get("epoch") == r.best_epoch), {}) for r in records]
    found = [e.get(name if name == LOSS else f"val_{name}") for e in epochs]
    known = [float(value) for value in found if isinstance(value, int | float)]
    return fmean(known) if len(known) == len(records) else math.nan


def _reports(spec: SearchSpec, records: Sequence[TrialRecord]) -> dict[int, float]:
    """Epochs at which the config was judged -> cross-split mean of the metric that pruning compares."""
    if spec.pruner is None or spec.metric is None:
        return {}
    histories = [r.history for r in records]
    milestones = spec.pruner.milestones(int(records[0].config["training"]["epochs"]))
    last = max(map(len, histories), default=0)
    # A config that ended by itself was not judged after its last epoch.
    if all(r.status == "done" for r in records):
        milestones = tuple(m for m in milestones if m < last)
    return milestone_means(histories, spec.metric, milestones)
