from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from orchestrator import Workspace
from orchestrator.data.stratify import stratify
from orchestrator.engine.jobs import ConfigJob, TrainingData
from orchestrator.engine.session import Resources, ray_session
from orchestrator.specs import BackboneSpec, ClipSpec, Config, EmbeddingSpec, MeanSpec, TrainSpec, key_of
from orchestrator.store.embeddings import EmbeddingRow
from orchestrator.store.ledger import TrialRecord
from orchestrator.training.lockstep import LockstepTrainer
from orchestrator.training.records import SplitData, TrialResult

TRAILERS, GENRES, WIDTH = 40, ("action", "comedy", "drama"), 1024
SET = EmbeddingSpec(ClipSpec("seq", 24), BackboneSpec("shufflenet_2d", "random"))


@pytest.fixture(scope="session")
def resources() -> Iterator[Resources]:
    """One local Ray of two cores for all engine tests."""
    with ray_session(cpus=2) as found:
        yield found


@dataclass(frozen=True)
class Prepared:
    """A workspace whose store holds one embedding set, and what configs train on."""

    workspace: Workspace
    data: TrainingData
    notes: list[str] = field(default_factory=list)

    def job(
        self, aggregator: Any = None, *, clips: int = 3, splits: Sequence[int] = (0, 1, 2), **more: Any
    ) -> ConfigJob:
        """A config with all its trials to do; `more` are settings of the training, or fields of the job."""
        fields = {name: more.pop(name) for name in list(more) if name in ConfigJob.__dataclass_fields__}
        training = {"epochs": 4, "learning_rate": 1e-3} | more
        config = Config((SET,), aggregator or MeanSpec(), clips, TrainSpec(**training))
        trials = {split: (key_of([config, split]), "labels") for split in splits}
        key = key_of(config)
        return ConfigJob(config, key, ("set",), ("random",), trials, **({"checkpoint": key} | fields))

    def records(self, job: ConfigJob) -> dict[int, TrialRecord]:
        """The records, done or pruned, that the ledger has of a job, by split."""
        found = self.workspace.ledger.read_many([key for key, _ in job.trials.values()])
        return {record.split: record for record in found.values()}

    def scores(self, jobs: Sequence[ConfigJob]) -> dict[str, Any]:
        """All that two runs of the same configs must agree on, by trial."""
        return {r.key: comparable(r.status, r) for job in jobs for r in self.records(job).values()}

    def expected(self, jobs: Sequence[ConfigJob]) -> dict[str, Any]:
        """What `scores` must be: the jobs trained here and now, without Ray or checkpoints."""
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        vectors = (self.workspace.embeddings.load("set", self.data.mids, self.data.rows["set"]),)
        found = {}
        for job in jobs:
            splits = {s: SplitData.of(vectors, self.data.labels, self.data.splits[:, s], GENRES) for s in job.trials}
            trainer = LockstepTrainer(job.config, splits)
            while not trainer.done:
                trainer.step()
            for split, result in trainer.results().items():
                found[job.trials[split][0]] = comparable("done", result)
        torch.set_num_threads(threads)
        return found

    def advance(self, count: int = 1, info: str = "") -> None:
        return

    def note(self, line: str) -> None:
        self.notes.append(line)


def comparable(status: str, record: TrialRecord | TrialResult) -> tuple[Any, ...]:
    epochs = [{k: v for k, v in epoch.items() if k != "seconds"} for epoch in record.history]
    return status, record.test, record.per_genre, record.best_epoch, epochs


@pytest.fixture
def prepared(tmp_path: Path) -> Prepared:
    """Forty trailers whose vectors carry their genres, in three splits; its notes are those of a `Step`."""
    return _prepare(tmp_path / "w")


@pytest.fixture(scope="session")
def prepare() -> Callable[[Path], Prepared]:
    """The same in a folder, for fixtures of a wider scope."""
    return _prepare


def _prepare(folder: Path) -> Prepared:
    rng = np.random.default_rng(0)
    labels = (rng.random((TRAILERS, len(GENRES))) < 0.45).astype(np.uint8)
    labels[:, 2] |= labels.sum(1) == 0
    looks = rng.normal(size=(len(GENRES), WIDTH))
    workspace, rows = Workspace(folder), []
    for i in range(TRAILERS):
        clips = rng.normal(size=(int(rng.integers(3, 9)), WIDTH)) + labels[i] @ looks
        rows.append(EmbeddingRow(f"tr{i:02d}", f"d{i}", clips.astype(np.float32)))
    workspace.embeddings.write_part("set", rows)
    used: Mapping[str, Mapping[str, str]] = {"set": {row.mid: row.digest for row in rows}}
    mids = tuple(row.mid for row in rows)
    data = TrainingData(mids, GENRES, labels, stratify(labels, 3, seed=0), used, False, {"torch": "1"}, None)
    return Prepared(workspace, data)
