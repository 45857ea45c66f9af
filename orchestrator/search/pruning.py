"""Whether a config goes on after a milestone: Optuna's pruners on a study made anew from what was reported.

Nothing is kept between two calls, so a verdict that a crash lost is found again from the same reports.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median
from typing import TYPE_CHECKING

from orchestrator.search.optuna_study import direction_of, finite_reports, quiet_optuna
from orchestrator.search.records import OBJECTIVES, Observation, Pruner, SearchSpec

if TYPE_CHECKING:
    from optuna.pruners import BasePruner

MEDIAN_STARTUP = 5
"""Done configs before the median prunes any (Optuna's default)."""

_RUNG = "completed_rung_{}"
"""The mark by which Optuna knows that a trial reached a rung: its value there."""

_PARTS = {2: "half", 3: "third", 4: "quarter"}


def judge(spec: SearchSpec, mine: Observation, others: Sequence[Observation]) -> str | None:
    """None where the config goes on after the last epoch that it reported, else the reason why it ends there.

    Compared are means over the splits of the spec's first trained metric. With `asha` every other config counts that
    reported at that epoch, whatever became of it, running ones too: the config goes on if it is among the best
    1 / reduction_factor of them and itself, or the best while they are fewer than reduction_factor. With `median` only
    done configs that reported at that epoch count: its best report so far must be as good as their median there, once
    `MEDIAN_STARTUP` configs are done. Others with the number of `mine` and reports that are no numbers count nowhere.
    """
    pruner, metric = spec.pruner, spec.metric
    if pruner is None or metric is None or not mine.reports:
        return None
    epoch = max(mine.reports)
    # A report that is no number is a training that fails, which is not for a pruner to say.
    if epoch not in pruner.milestones(epoch + 1) or not math.isfinite(mine.reports[epoch]):
        return None
    others = [o for o in others if o.number != mine.number]
    if not _prunes(pruner, metric, mine, others):
        return None
    if pruner.name == "asha":
        count = 1 + sum(epoch in finite_reports(o) for o in others)
        part = _PARTS.get(pruner.reduction_factor, f"1 in {pruner.reduction_factor}")
        value = _show(metric, mine.reports[epoch])
        return f"{metric} {value} after {epoch} epochs is not among the best {part} of {count} configs"
    rivals = [finite_reports(o)[epoch] for o in others if o.state == "done" and epoch in finite_reports(o)]
    reports = finite_reports(mine).values()
    best, side = (max(reports), "below") if OBJECTIVES[metric] == "maximize" else (min(reports), "above")
    return (
        f"{metric} {_show(metric, best)}, the best of {epoch} epochs, is {side} the median "
        f"{_show(metric, median(rivals))} of {len(rivals)} done configs"
    )


def _prunes(pruner: Pruner, metric: str, mine: Observation, others: Sequence[Observation]) -> bool:
    """What Optuna's pruner says of the last report of `mine`."""
    import optuna
    from optuna.trial import TrialState, create_trial

    reports, epoch = finite_reports(mine), max(mine.reports)
    milestones = pruner.milestones(epoch + 1) if pruner.name == "asha" else ()
    with quiet_optuna():
        study = optuna.create_study(direction=direction_of(metric))
        for other in others:
            theirs = finite_reports(other)
            done = other.state == "done" and bool(theirs)
            state = TrialState.COMPLETE if done else TrialState.FAIL
            # The value of a done one plays no part; Optuna only wants one.
            value = next(iter(theirs.values())) if done else None
            rungs = {_RUNG.format(k): theirs[e] for k, e in enumerate(milestones) if e in theirs}
            study.add_trial(create_trial(state=state, value=value, intermediate_values=theirs, system_attrs=rungs))
        passed = {_RUNG.format(k): reports.get(e, 0.0) for k, e in enumerate(milestones) if e < epoch}
        study.add_trial(create_trial(state=TrialState.RUNNING, intermediate_values=reports, system_attrs=passed))
        judged = study.get_trials()[-1]
        return bool(_optuna_pruner(pruner).prune(study, judged))


def _optuna_pruner(pruner: Pruner) -> BasePruner:
    from optuna.pruners import MedianPruner, SuccessiveHalvingPruner

    if pruner.name == "asha":
        return SuccessiveHalvingPruner(min_resource=pruner.grace_epochs, reduction_factor=pruner.reduction_factor)
    return MedianPruner(
        n_startup_trials=MEDIAN_STARTUP, n_warmup_steps=pruner.grace_epochs, interval_steps=pruner.interval
    )


def _show(metric: str, value: float) -> str:
    """Metrics are in percent."""
    return f"{value:.4f}" if metric == "val_loss" else f"{value:.2f}"
