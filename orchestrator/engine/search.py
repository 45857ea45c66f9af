"""Configs trained on Ray Tune as a source hands them out: a list of them, or a search that draws and prunes.

Tune schedules and is never the record: a worker writes each trial's result into the ledger the moment the config is
done, and what a run lacks is found by asking the ledger again. So nothing of Tune's own notes is read back.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import ray
from ray import tune
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from orchestrator.engine.hub import start_hub
from orchestrator.engine.jobs import ConfigJob, TrainingData, make_record
from orchestrator.engine.session import Resources
from orchestrator.engine.worker import MEMORY_ADVICE, ConfigTrainable, SweepJob
from orchestrator.errors import StoreError, VectorsMissing
from orchestrator.progress import Step
from orchestrator.store.workspace import Workspace

TRIES = 3
"""How often a config is given to a worker that dies before it has kept another epoch."""


class Source(Protocol):
    """Where configs come from. What its methods raise ends the run and reaches its caller as it is."""

    def next(self) -> ConfigJob | None:
        """The config to train next; None: there is nothing more to draw."""

    def judge(self, job: ConfigJob, reports: Mapping[int, float]) -> str | None:
        """Why the config is pruned, None where it goes on. `reports`: the cross-split mean by milestone up to now."""

    def finished(self, job: ConfigJob) -> None:
        """The config has a record, done, pruned or failed, of each of its trials."""


def search(
    source: Source,
    data: TrainingData,
    workspace: Workspace,
    resources: Resources,
    step: Step,
    finished: Callable[[ConfigJob], None],
    training: Callable[[list[str]], None],
    *,
    concurrent: int | None,
    gpus: float,
) -> None:
    """Trains what `source` gives until it gives nothing more and the last config has ended.

    At most `concurrent` configs are out at once, None: as many as can run; with 1 the next is drawn only when the
    one before has its records and `source` knows it. `gpus` is the share of a GPU that a config takes where there are
    GPUs. `finished` is called with each config that ends, `training` again and again with the keys of those that run.

    Raises VectorsMissing when a set lacks vectors that were planned with (a part was found torn): no config is to
    blame, and none fails; StoreError when the workspace refuses; and what `source`, `finished` and `training` raise.
    Records and checkpoints that were written until then stay.
    """
    watch = _Watch(source, data, workspace, step, finished, training)
    hub = start_hub(workspace, data)
    job = SweepJob(workspace, ray.put(data), hub, "cuda" if resources.gpus else "cpu")
    trainable = tune.with_resources(
        tune.with_parameters(ConfigTrainable, job=job), {"cpu": 1, "gpu": gpus if resources.gpus else 0}
    )
    # Tune insists on a folder for its own notes; the driver alone writes there.
    scratch = tempfile.mkdtemp(prefix="divita-tune-")
    try:
        tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(
                search_alg=_Draws(watch),
                scheduler=_Judge(watch),
                num_samples=-1,  # until the source ends
                max_concurrent_trials=concurrent or slots(resources, gpus),
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                name="sweep",
                storage_path=scratch,
                verbose=0,
                callbacks=[watch],
                # What a dead worker had is handed out again by the watch: Tune sees no progress between deaths.
                failure_config=tune.FailureConfig(max_failures=0),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        ).fit()
    except Exception as error:
        if watch.error:  # which Tune may have wrapped
            raise watch.error from None
        if isinstance(error, OSError):
            raise StoreError(f"{scratch}: Ray Tune can't keep its notes there: {error}") from error
        raise
    finally:
        ray.kill(hub)  # or its sets would fill the object store beside those of the next hub
        shutil.rmtree(scratch, ignore_errors=True)


def slots(resources: Resources, gpus: float) -> int:
    """Configs that the cluster can train at once."""
    return max(1, min(resources.cpus, int(resources.gpus / gpus)) if resources.gpus else resources.cpus)


class _Watch(tune.Callback):
    """The driver's side of each config: who it is, what becomes of it, whom to tell.

    Tune turns what its callbacks, searchers and schedulers raise into failures of trials; so the first error of our
    own is kept here and ends the run between two steps.
    """

    def __init__(
        self,
        source: Source,
        data: TrainingData,
        workspace: Workspace,
        step: Step,
        finished: Callable[[ConfigJob], None],
        training: Callable[[list[str]], None],
    ) -> None:
        self.source = source
        self.error: Exception | None = None
        self._data, self._workspace, self._step = data, workspace, step
        self._finished, self._training = finished, training
        self._jobs: dict[str, ConfigJob] = {}
        self._running: dict[str, str] = {}
        self._again: deque[ConfigJob] = deque()
        self._deaths: dict[str, tuple[int, int]] = {}
        self._dry = False

    def __reduce__(self) -> tuple[Any, ...]:
        # Tune pickles its callbacks for its own restore, which is never used here; threads and bars can't be pickled.
        return tune.Callback, ()

    @contextmanager
    def keeping(self) -> Iterator[None]:
        """Keeps what the block raises for the end of the step."""
        try:
            yield
        except Exception as error:
            self.error = self.error or error

    def draw(self, trial_id: str) -> ConfigJob | None:
        """What to train next: first what a dead worker left, then what the source gives."""
        job = self._again.popleft() if self._again else None
        if job is None and not self._dry:
            with self.keeping():
                job = self.source.next()
            self._dry = job is None
        if job is not None:
            self._jobs[trial_id] = job
        return job

    @property
    def over(self) -> bool:
        """Whether nothing is out that may have to be handed out again."""
        return bool(self.error) or not self._jobs

    def judge(self, trial_id: str, result: Mapping[str, Any]) -> bool:
        """Whether the config is pruned here; its records are then written."""
        job = self._jobs[trial_id]
        with self.keeping():
            if reason := self.source.judge(job, dict(result["reports"])):
                for split, fields in result["so_far"]:
                    record = make_record(
                        job, split, self._data, status="pruned", reason=reason, search=job.search, **fields
                    )
                    self._workspace.ledger.write(record)
                if job.checkpoint:
                    self._workspace.checkpoints.remove(job.checkpoint)
                return True
        return False

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        if self.error:
            raise self.error
        self._training([*self._running.values()])

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._running[trial.trial_id] = self._jobs[trial.trial_id].key

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Its node was taken away with notice; Tune starts it again."""
        self._running.pop(trial.trial_id, None)

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **_: Any) -> None:
        if note := result.get("note"):
            self._step.note(f"{self._jobs[trial.trial_id].config.label}: {note}")

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        for sign, error in (("lost", VectorsMissing), ("stop", StoreError)):
            if message := trial.last_result.get(sign):
                self.error = self.error or error(message)
                return
        job, failed = self._jobs[trial.trial_id], trial.last_result.get("failed", 0)
        if failed:
            self._step.note(
                f"failed: {job.config.label}: {failed} of {len(job.trials)} trials (`divita status` says why)"
            )
        self._end(trial.trial_id)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Its worker died, in training, before it or between two configs: it goes on in another, if it got anywhere."""
        self._running.pop(trial.trial_id, None)
        job = self._jobs[trial.trial_id]
        with self.keeping():
            if self._count_death(job) < TRIES:
                self._again.append(self._jobs.pop(trial.trial_id))
                return
            reason = _why(trial.error_file)
            for split in job.trials:
                record = make_record(job, split, self._data, status="failed", reason=reason)
                self._workspace.ledger.write(record)
            self._step.note(f"failed: {job.config.label}: {reason}")
        self._end(trial.trial_id)

    def _count_death(self, job: ConfigJob) -> int:
        """How many workers in a row died of the config without keeping another epoch, this one included."""
        name = job.checkpoint
        epoch = self._workspace.checkpoints.epochs([name]).get(name, 0) if name else 0
        last, deaths = self._deaths.get(job.key, (epoch, 0))
        deaths = deaths + 1 if epoch == last else 1
        self._deaths[job.key] = (epoch, deaths)
        return deaths

    def _end(self, trial_id: str) -> None:
        self._running.pop(trial_id, None)
        if self.error:
            return
        with self.keeping():
            job = self._jobs.pop(trial_id)
            self._step.advance(1, job.config.label)
            self.source.finished(job)
            self._finished(job)


def _why(error_file: str | None) -> str:
    """One line on what Tune wrote of a trial's errors; of a death Ray itself knows little and says much."""
    text = Path(error_file).read_text() if error_file and Path(error_file).exists() else ""
    if "OutOfMemoryError" in text or "running low on memory" in text:
        return f"its worker died: {MEMORY_ADVICE}"
    lines = text.strip().splitlines()
    if not lines or "The actor is dead" in text:
        return f"its worker died {TRIES} times at the same epoch: it was killed, crashed, or its node went"
    return f"its worker failed: {lines[-1].strip()}"


class _Draws(Searcher):
    """Tune's view of the source."""

    def __init__(self, watch: _Watch) -> None:
        super().__init__()
        self._watch = watch

    def suggest(self, trial_id: str) -> Any:
        job = self._watch.draw(trial_id)
        if job:
            return {"job": job}
        return Searcher.FINISHED if self._watch.over else None

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        """The source is told when the records are written."""

    def save(self, checkpoint_path: str) -> None:
        """The ledger is the record."""

    def restore(self, checkpoint_path: str) -> None:
        """As `save`."""


class _Judge(FIFOScheduler):
    """First come, first served; a config that the source prunes at a milestone ends there."""

    def __init__(self, watch: _Watch) -> None:
        super().__init__()
        self._watch = watch

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        pruned = "reports" in result and self._watch.judge(trial.trial_id, result)
        if self._watch.error:
            return str(TrialScheduler.NOOP)  # without a verdict it must not go on
        return str(TrialScheduler.STOP if pruned else TrialScheduler.CONTINUE)
