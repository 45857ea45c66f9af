"""A sweep from its plan to its last trial, however often it is started."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.driver.cluster import Cluster
from orchestrator.driver.extract import extract_missing
from orchestrator.driver.options import RunOptions
from orchestrator.driver.prepare import (
    check_weights,
    describe_lost,
    hold,
    plan_again,
    plan_whole,
    tell_changes,
    tell_what_is_lacking,
)
from orchestrator.driver.train import Trainer
from orchestrator.progress import Progress
from orchestrator.results import sweep_configs
from orchestrator.study import Study

if TYPE_CHECKING:
    from orchestrator.engine.extraction import ExtractionCounts

ROUNDS = 3
"""How often a run plans anew because vectors were lost or videos changed while it ran."""


@dataclass(frozen=True)
class RunCounts:
    """What a run did: trials that it trained, what it extracted (None where nothing was missing), whether MLflow shows
    everything by now."""

    trained: int
    extraction: ExtractionCounts | None
    tracked: bool


def extract_sweep(study: Study, options: RunOptions, progress: Progress) -> ExtractionCounts:
    """Computes the vectors that the sweep lacks, and keeps what was asked for where the sweep was never run."""
    study.workspace.check_writable()
    with hold(study, progress) as lock, Cluster(options, progress) as cluster:
        plan = plan_again(study, options, progress)
        if study.space.name not in study.workspace.sweeps.names():
            study.save(plan, options.keep("extract"))
        tell_what_is_lacking(study, plan, progress)
        check_weights(plan.backbones_to_run)
        lock.tell(f"extracting {len(plan.to_decode)} trailers")
        return extract_missing(study, plan, cluster, options, progress)


def run_sweep(study: Study, options: RunOptions, progress: Progress) -> RunCounts:
    """Extracts what is missing, trains what is missing, brings MLflow up to date."""
    from orchestrator.tracking.follow import Follower
    from orchestrator.tracking.view import MlflowView

    study.workspace.check_writable()
    name, tracking_uri = study.space.name, options.tracking_uri or study.workspace.mlflow_uri
    counts, trained = None, 0
    with hold(study, progress) as lock, Cluster(options, progress) as cluster:
        tell_changes(study, progress)
        plan = plan_again(study, options, progress)
        record = study.save(plan, options.keep("run"))
        tell_what_is_lacking(study, plan, progress)
        check_weights([*plan.backbones_to_run, *plan.weights_to_train])
        for round in range(ROUNDS):
            if plan.to_decode:
                lock.tell(f"extracting {len(plan.to_decode)} trailers")
                try:
                    counts = extract_missing(study, plan, cluster, options, progress)
                finally:
                    plan = plan_whole(study, progress)
                    record = study.save(plan, options.keep("run"))
            study.check_trainable(plan)
            follower = Follower(
                MlflowView(tracking_uri, name),
                sweep_configs(record),
                study.workspace.ledger,
                record.manifest_trailers,
                warn=progress.say,
                searches=[search.identity for search in record.searches],
            )
            with follower:
                if any(c.trainable for c in plan.configs) or plan.to_draw:
                    trainer = Trainer(study, plan, cluster, follower, lock, progress)
                    try:
                        trainer.run(options.concurrent)
                    finally:
                        trained += trainer.trained
                        plan = study.plan()
                        record = study.save(plan, options.keep("run"))
            if not plan.to_decode or round == ROUNDS - 1:
                break
            progress.say(f"{describe_lost(study, plan)}; once more")
        lock.tell("bringing MLflow up to date")
        return RunCounts(trained, counts, follower.finish())
