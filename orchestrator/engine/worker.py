"""The worker of a sweep: a config whose splits train in lockstep, from an epoch checkpoint to the ledger.

A worker writes each trial's result into the ledger the moment the config is done. Whatever kills it costs the epoch
that was running: the next one, in this run or in a later one, goes on from the checkpoint.
"""

from __future__ import annotations

import gc
import io
import pickle
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import ray
import torch
from ray import tune

from orchestrator.engine.hub import fetch
from orchestrator.engine.jobs import ConfigJob, TrainingData, check_same_clips, make_record
from orchestrator.errors import InputError, StoreError, VectorsMissing
from orchestrator.heads.registry import count_parameters
from orchestrator.store.checkpoints import Checkpoint
from orchestrator.store.workspace import Workspace
from orchestrator.training.lockstep import LockstepTrainer
from orchestrator.training.milestones import milestone_means
from orchestrator.training.records import SplitData, TrialResult

REPORT_S = 1.0
"""Least seconds between two reports to Tune; epochs of small heads take milliseconds."""

MEMORY_ADVICE = (
    "out of memory; lower training.batch_size, clips_per_snippet or the width of the head, "
    "or give each trial more memory"
)


@dataclass(frozen=True)
class SweepJob:
    """What a worker is given once: where to write, what to train on, where to get vectors."""

    workspace: Workspace
    data: Any
    hub: Any
    device: str


class ConfigTrainable(tune.Trainable):
    """One config: each `step` trains epochs for at least REPORT_S or to a milestone; the last writes the ledger.

    Its results: `reports`, [(milestone, mean), …], and `so_far`, [(split, fields of a pruned record), …], at a
    milestone; `failed`, the number of failed trials, at the end; `stop`, why the whole sweep can't go on; `lost`, which
    vectors must be made again before it can; `note`, what the user is told.
    """

    def setup(self, config: dict[str, Any], job: SweepJob | None = None) -> None:
        # One thread a trial: the last bits of a sum depend on the number of threads.
        torch.set_num_threads(1)
        assert job is not None
        self._job = job
        self._data: TrainingData = ray.get(job.data)
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Starts the next config in the same process; nothing of the last one is left."""
        self._started = time.perf_counter()
        self._current: ConfigJob = new_config["job"]
        self._trainer: LockstepTrainer | None = None
        self._note: str | None = None
        return True

    def step(self) -> dict[str, Any]:
        try:
            result = self._step()
        except Exception as error:  # a config that can't be trained fails alone, with its reason
            result = self._fail(error)
        if result.get("reason"):
            # Only here are the frames gone that held the trainer; the next config in this process needs its memory.
            self._trainer = None
            gc.collect()
            if self._job.device == "cuda":
                torch.cuda.empty_cache()
        return result | ({"note": self._note} if self._note else {})

    def _step(self) -> dict[str, Any]:
        trainer = self._trainer
        if trainer is None:
            trainer = self._trainer = self._start()
            if self._to_judge(trainer):  # whoever was to judge it here may have died before
                return self._report(trainer)
        start = time.perf_counter()
        means: dict[str, float] = {}
        while not trainer.done and time.perf_counter() - start < REPORT_S:
            means = trainer.step().means
            if not trainer.done:
                self._keep(trainer)
            if self._to_judge(trainer):
                return self._report(trainer) | means
        if not trainer.done:
            return {"done": False, "epoch": trainer.epoch, **means}
        for split, result in trainer.results().items():
            self._write(split, result)
        for split, reason in trainer.failures.items():
            self._write_failure(split, reason)
        if self._current.checkpoint:
            self._job.workspace.checkpoints.remove(self._current.checkpoint)
        self._trainer = None
        return {"done": True, "epoch": trainer.epoch, "failed": len(trainer.failures), **means}

    def _start(self) -> LockstepTrainer:
        """A trainer that goes on from the checkpoint, or begins where there is none that fits."""
        job, data = self._current, self._data
        streams = tuple(fetch(self._job.hub, key) for key in job.embedding_keys)
        check_same_clips(job.config, data.mids, streams)
        splits = {s: SplitData.of(streams, data.labels, data.splits[:, s], data.genres) for s in job.trials}
        first = next(iter(splits.values()))
        shared = {s: SplitData(first.streams, d.labels, d.train, d.val, d.test, d.genres) for s, d in splits.items()}
        trainer = LockstepTrainer(job.config, shared, self._job.device)
        kept = self._job.workspace.checkpoints.read(job.checkpoint) if job.checkpoint else None
        if kept is None or not {s: key for s, (key, _) in job.trials.items()}.items() <= kept.trials.items():
            return trainer
        try:
            trainer.load_state_dict(torch.load(io.BytesIO(kept.state), weights_only=True))
        except (ValueError, KeyError, TypeError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
            self._note = f"its epoch checkpoint can't be used, so training begins anew: {error}"
            return LockstepTrainer(job.config, shared, self._job.device)
        return trainer

    def _keep(self, trainer: LockstepTrainer) -> None:
        job = self._current
        if job.checkpoint:
            state = io.BytesIO()
            torch.save(trainer.state_dict(), state)
            trials = {split: key for split, (key, _) in job.trials.items()}
            self._job.workspace.checkpoints.write(job.checkpoint, Checkpoint(trainer.epoch, trials, state.getvalue()))

    def _to_judge(self, trainer: LockstepTrainer) -> bool:
        """After a milestone; not where a split failed, for a mean over fewer splits compares with no other."""
        return trainer.epoch in self._current.milestones and not trainer.done and not trainer.failures

    def _report(self, trainer: LockstepTrainer) -> dict[str, Any]:
        """The means at all milestones by now, and what pruned records would hold."""
        job, so_far = self._current, dict[int, dict[str, Any]]()
        for split, one in trainer.trainers.items():
            head = count_parameters(one.head)
            so_far[split] = {
                "history": tuple(record.flat() for record in one.history),
                "best_epoch": one.best.epoch if one.best else None,
                "seconds": sum(record.seconds for record in one.history),
                **self._size(head),
                "n_train": len(one.data.train),
                "n_val": len(one.data.val),
                "n_test": len(one.data.test),
            }
        assert job.metric is not None
        histories = [fields["history"] for fields in so_far.values()]
        means = milestone_means(histories, job.metric, [m for m in job.milestones if m <= trainer.epoch])
        # Lists, for Tune flattens mappings.
        return {"done": False, "epoch": trainer.epoch, "reports": [*means.items()], "so_far": [*so_far.items()]}

    def _fail(self, error: Exception) -> dict[str, Any]:
        cause = getattr(error, "cause", None) or error  # what Ray wraps is what happened
        if isinstance(cause, VectorsMissing):  # no fault of the config: it can be trained once they are there again
            return {"done": True, "reason": str(cause), "lost": str(cause)}
        if isinstance(cause, StoreError):
            return {"done": True, "reason": str(cause), "stop": str(cause)}
        reason = str(cause) if isinstance(cause, InputError) else f"{type(cause).__name__}: {cause}"
        if is_memory_error(cause):
            reason = f"{MEMORY_ADVICE} ({reason.splitlines()[0]})"
        try:
            for split in self._current.trials:
                self._write_failure(split, reason)
        except StoreError as refused:
            return {"done": True, "reason": reason, "stop": str(refused)}
        return {"done": True, "reason": reason, "failed": len(self._current.trials)}

    def _write(self, split: int, result: TrialResult) -> None:
        data = self._data
        record = make_record(
            self._current,
            split,
            data,
            status="done",
            history=tuple(result.history),
            best_epoch=result.best_epoch,
            test=result.test,
            per_genre=result.per_genre,
            seconds=result.seconds,
            **self._size(result.parameters),
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

    def _size(self, head: int) -> dict[str, int | None]:
        cost = self._current.cost
        return {
            "parameters": cost and cost.parameters,
            "head_parameters": head,
            "multiply_adds": cost and cost.multiply_adds,
        }

    def _write_failure(self, split: int, reason: str) -> None:
        seconds = time.perf_counter() - self._started
        record = make_record(self._current, split, self._data, status="failed", reason=reason, seconds=seconds)
        self._job.workspace.ledger.write(record)


def is_memory_error(error: BaseException) -> bool:
    """Whether memory ran out: of a GPU, of Python, or of PyTorch's allocator on the CPU, which has no class for it."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and ("DefaultCPUAllocator" in str(error) or "can't allocate" in str(error))
