"""Ray Tune runs the configs that the ledger lacks, each training its splits in lockstep in one worker.

Tune schedules and is never the record: a worker writes each trial's result into the ledger the moment the config is
done, and what a run lacks is found by asking the ledger again.
"""

from __future__ import annotations

import math
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import ray
from ray import tune

from orchestrator.engine.jobs import ConfigJob, TrainingData, check_same_clips, make_record
from orchestrator.engine.session import Resources
from orchestrator.errors import InputError
from orchestrator.progress import Step
from orchestrator.store.embeddings import ClipVectors
from orchestrator.store.ledger import TrialRecord
from orchestrator.store.workspace import Workspace
from orchestrator.training.lockstep import LockstepTrainer
from orchestrator.training.records import SplitData, TrialResult

OBJECT_STORE_SHARE = 0.5
"""Part of a node's object store that embedding sets may fill; beyond it the oldest goes."""

GPU_SHARE = 0.25
"""Of a GPU for a config whose head trains on embeddings: such heads are small."""

REPORT_S = 1.0
"""Least seconds between two reports to Tune; epochs of small heads take milliseconds."""


@ray.remote(num_cpus=0, max_restarts=3)
class EmbeddingHub:
    """Reads each embedding set once into the object store, from where every trial on a node reads one copy."""

    def __init__(self, workspace: Workspace, data: TrainingData, budget: float) -> None:
        """`budget` is how many bytes of sets may be held; those that trials still read stay beyond it."""
        self._workspace, self._data, self._budget = workspace, data, budget
        self._refs: dict[str, list[Any]] = {}
        self._bytes: dict[str, int] = {}

    def get(self, key: str) -> list[Any]:
        """References to the vectors and the offsets of a set."""
        if key not in self._refs:
            loaded = self._workspace.embeddings.load(key, self._data.mids, self._data.rows[key])
            while self._refs and sum(self._bytes.values()) + loaded.vectors.nbytes > self._budget:
                oldest = next(iter(self._refs))
                del self._refs[oldest], self._bytes[oldest]
            self._refs[key] = [ray.put(loaded.vectors), ray.put(loaded.offsets)]
            self._bytes[key] = loaded.vectors.nbytes
        return self._refs[key]


@dataclass(frozen=True)
class SweepJob:
    """What a worker is given once: where to write, what to train on, and the configs by number."""

    workspace: Workspace
    data: Any
    configs: Any
    hub: Any
    device: str


class ConfigTrainable(tune.Trainable):
    """One config: each `step` trains epochs for at least REPORT_S, the last one writes the ledger."""

    def setup(self, config: dict[str, Any], job: SweepJob | None = None) -> None:
        import torch

        # One thread a trial: the last bits of a sum depend on the number of threads.
        torch.set_num_threads(1)
        assert job is not None
        self._job = job
        self._data: TrainingData = ray.get(job.data)
        self._configs: Sequence[ConfigJob] = ray.get(job.configs)
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Starts the next config in the same process; nothing of the last one is left."""
        self._started = time.perf_counter()
        self._current = self._configs[new_config["config"]]
        self._trainer: LockstepTrainer | None = None
        return True

    def step(self) -> dict[str, Any]:
        try:
            return self._step()
        except Exception as error:  # a config that can't be trained fails alone, with its reason
            import torch

            cause = getattr(error, "cause", None) or error  # what Ray wraps is what happened
            reason = str(cause) if isinstance(cause, InputError) else f"{type(cause).__name__}: {cause}"
            if isinstance(error, torch.OutOfMemoryError | MemoryError):
                reason += "; lower training.batch_size or clips_per_snippet, or give each trial more memory"
            for split in self._current.trials:
                self._write_failure(split, reason)
            return {"done": True, "failed": len(self._current.trials)}

    def _step(self) -> dict[str, Any]:
        trainer = self._trainer = self._trainer or self._build()
        start = time.perf_counter()
        means: dict[str, float] = {}
        while not trainer.done and time.perf_counter() - start < REPORT_S:
            means = trainer.step().means
        if not trainer.done:
            return {"done": False, "epoch": trainer.epoch, **means}
        for split, result in trainer.results().items():
            self._write(split, result)
        for split, reason in trainer.failures.items():
            self._write_failure(split, reason)
        return {"done": True, "epoch": trainer.epoch, "failed": len(trainer.failures), **means}

    def _build(self) -> LockstepTrainer:
        job, data = self._current, self._data
        streams = tuple(ClipVectors(*ray.get(ray.get(self._job.hub.get.remote(key)))) for key in job.embedding_keys)
        check_same_clips(job.config, data.mids, streams)
        splits = {s: SplitData.of(streams, data.labels, data.splits[:, s], data.genres) for s in job.trials}
        first = next(iter(splits.values()))
        shared = {s: SplitData(first.streams, d.labels, d.train, d.val, d.test, d.genres) for s, d in splits.items()}
        return LockstepTrainer(job.config, shared, self._job.device)

    def _write(self, split: int, result: TrialResult) -> None:
        data, cost = self._data, self._current.cost
        record = self._record(
            split,
            status="done",
            history=tuple(result.history),
            best_epoch=result.best_epoch,
            test=result.test,
            per_genre=result.per_genre,
            seconds=result.seconds,
            parameters=cost and cost.parameters + result.parameters,
            head_parameters=result.parameters,
            multiply_adds=cost and cost.multiply_adds,
            n_train=result.n_train,
            n_val=result.n_val,
            n_test=result.n_test,
        )
        predictions = {
            "mids": np.array([data.mids[row] for row in result.test_rows]),
            "probabilities": result.test_probabilities,
            "labels": data.labels[result.test_rows],
        }
        self._job.workspace.ledger.write(record, predictions)

    def _write_failure(self, split: int, reason: str) -> None:
        seconds = time.perf_counter() - self._started
        self._job.workspace.ledger.write(self._record(split, status="failed", reason=reason, seconds=seconds))

    def _record(self, split: int, **fields: Any) -> TrialRecord:
        return make_record(self._current, split, self._data, **fields)


class _Watch(tune.Callback):
    """Counts finished configs and hands their keys on; a worker that died leaves its reason in the ledger."""

    def __init__(
        self,
        jobs: Sequence[ConfigJob],
        data: TrainingData,
        workspace: Workspace,
        step: Step,
        finished: Callable[[ConfigJob], None],
        training: Callable[[list[str]], None],
    ) -> None:
        self._training = training
        self._jobs, self._data, self._workspace, self._step, self._finished = jobs, data, workspace, step, finished

    def __reduce__(self) -> tuple[Any, ...]:
        # Tune pickles its callbacks for its own restore, which is never used here; threads and bars can't be pickled.
        return tune.Callback, ()

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        self._training([self._jobs[t.config["config"]].key for t in trials if t.status == "RUNNING"])

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        job = self._jobs[trial.config["config"]]
        failed = trial.last_result.get("failed", 0)
        if failed:
            self._step.note(
                f"failed: {job.config.label}: {failed} of {len(job.trials)} trials (`divita status` says why)"
            )
        self._step.advance(1, job.config.label)
        self._finished(job)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        job = self._jobs[trial.config["config"]]
        why = str(trial.get_error() or "unknown").strip().splitlines()
        reason = f"its worker died: {why[-1] if why else 'unknown'}"
        for split in job.trials:
            self._workspace.ledger.write(make_record(job, split, self._data, status="failed", reason=reason))
        self._step.note(f"failed: {job.config.label}: {reason}")
        self._step.advance(1)
        self._finished(job)


def train(
    jobs: Sequence[ConfigJob],
    data: TrainingData,
    workspace: Workspace,
    resources: Resources,
    step: Step,
    finished: Callable[[ConfigJob], None],
    training: Callable[[list[str]], None],
) -> None:
    """Trains every job; returns when the ledger has a record, done or failed, of each of their trials.

    `finished` is called with each job that ends, `training` again and again with the keys of those that run. Heads on
    embeddings share a GPU, those that train end to end have one each and come last.
    """
    # Configs that share a set run side by side, so that it stays in memory while it is used.
    jobs = sorted(jobs, key=lambda job: job.embedding_keys)
    for end_to_end, gpus in ((False, GPU_SHARE), (True, 1.0)):
        some = [job for job in jobs if bool(job.config.start) is end_to_end]
        if some:
            watch = _Watch(some, data, workspace, step, finished, training)
            _train(some, data, workspace, resources, watch, gpus)


def _train(
    jobs: Sequence[ConfigJob],
    data: TrainingData,
    workspace: Workspace,
    resources: Resources,
    watch: _Watch,
    gpus_per_trial: float,
) -> None:
    # The hub fills the store of whichever node it is put on.
    budget = OBJECT_STORE_SHARE * min(n["Resources"].get("object_store_memory", math.inf) for n in ray.nodes())
    hub = EmbeddingHub.remote(workspace, data, budget)  # type: ignore[attr-defined]
    job = SweepJob(workspace, ray.put(data), ray.put(jobs), hub, "cuda" if resources.gpus else "cpu")
    # Tune insists on a folder for its own notes; nothing is ever read back from it.
    local = workspace.root.local
    scratch = tempfile.mkdtemp(prefix=".tune-", dir=local) if local else workspace.root.where("tune")
    trainable = tune.with_resources(
        tune.with_parameters(ConfigTrainable, job=job),
        {"cpu": 1, "gpu": gpus_per_trial if resources.gpus else 0},
    )
    try:
        tune.Tuner(
            trainable,
            param_space={"config": tune.grid_search(list(range(len(jobs))))},
            tune_config=tune.TuneConfig(reuse_actors=True),
            run_config=tune.RunConfig(
                name="sweep",
                storage_path=scratch,
                verbose=0,
                callbacks=[watch],
                failure_config=tune.FailureConfig(max_failures=1),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        ).fit()
    finally:
        if local:
            shutil.rmtree(scratch, ignore_errors=True)
