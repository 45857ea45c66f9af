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
from orchestrator.errors import VectorsMissing
from orchestrator.progress import Progress
from orchestrator.results import sweep_configs
from orchestrator.study import Study
from orchestrator.sweep.plan import Plan

if TYPE_CHECKING:
    from orchestrator.engine.extraction import ExtractionCounts

EXTRACT, RUN = "extract", "run"
"""What a sweep was started with, as it is kept for `divita resume`."""

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
        _keep_extraction(study, plan, options)
        tell_what_is_lacking(study, plan, progress)
        check_weights(plan.backbones_to_run)
        lock.tell(f"extracting {len(plan.to_decode)} trailers")
        try:
            return extract_missing(study, plan, cluster, options, lock, progress)
        finally:
            _keep_extraction(study, study.plan(), options)


def _keep_extraction(study: Study, plan: Plan, options: RunOptions) -> None:
    """Lets the extraction be resumed, and its state be seen; a sweep that was trained is kept as that."""
    sweeps, name = study.workspace.sweeps, study.space.name
    if name not in sweeps.names() or sweeps.load(name).options["command"] == EXTRACT:
        study.save(plan, options.keep(EXTRACT))


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
        study.workspace.checkpoints.drop_finished(study.workspace.ledger.keys())
        record = study.save(plan, options.keep(RUN))
        tell_what_is_lacking(study, plan, progress)
        check_weights([*plan.backbones_to_run, *plan.weights_to_train])
        for round in range(ROUNDS):
            if plan.to_decode:
                lock.tell(f"extracting {len(plan.to_decode)} trailers")
                try:
                    counts = extract_missing(study, plan, cluster, options, lock, progress)
                finally:
                    plan = plan_whole(study, progress)
                    record = study.save(plan, options.keep(RUN))
            study.check_trainable(plan)
            follower = Follower(
                MlflowView(tracking_uri, name),
                sweep_configs(record),
                study.workspace.ledger,
                record.manifest_trailers,
                warn=progress.say,
            )
            with follower:
                if plan.trainable:
                    trainer = Trainer(study, plan, cluster, follower, lock, progress)
                    try:
                        trainer.run(options.concurrent)
                    except VectorsMissing as lost:
                        progress.say(f"training stopped: {lost}")
                        if round == ROUNDS - 1:
                            raise
                    finally:
                        trained += trainer.trained
                        plan = plan_whole(study, progress)
                        record = study.save(plan, options.keep(RUN))
            if not plan.to_decode or round == ROUNDS - 1:
                break
            progress.say(f"{describe_lost(study, plan)}; once more")
        lock.tell("bringing MLflow up to date")
        return RunCounts(trained, counts, follower.finish())
