"""Trains a list of configs: those of a grid."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence

from orchestrator.engine.jobs import ConfigJob, TrainingData
from orchestrator.engine.search import search
from orchestrator.engine.session import Resources
from orchestrator.progress import Step
from orchestrator.store.workspace import Workspace

GPU_SHARE = 0.25
"""Of a GPU for a config whose head trains on embeddings: such heads are small."""

QUEUED = 200
"""Configs that Tune may hold ready, so that a cluster that grows finds work."""


class _InOrder:
    """The configs of a list, one after the other, none judged."""

    def __init__(self, jobs: Sequence[ConfigJob]) -> None:
        self._left = deque(jobs)

    def next(self) -> ConfigJob | None:
        return self._left.popleft() if self._left else None

    def judge(self, job: ConfigJob, reports: Mapping[int, float]) -> str | None:
        return None

    def finished(self, job: ConfigJob) -> None:
        return


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
    embeddings share a GPU, those that train end to end have one each and come last. Raises as `search`.
    """
    # Configs that share a set run side by side, so that it stays in memory while it is used.
    jobs = sorted(jobs, key=lambda job: job.embedding_keys)
    for end_to_end, gpus in ((False, GPU_SHARE), (True, 1.0)):
        some = [job for job in jobs if bool(job.config.start) is end_to_end]
        if some:
            queued = max(QUEUED, 2 * resources.cpus)
            source = _InOrder(some)
            search(source, data, workspace, resources, step, finished, training, concurrent=queued, gpus=gpus)
