"""A pruned search against random search at equal epochs, on a set made here whose optimum is known.

Real training, drawing, pruning and ledger; only Ray is left out, since both would go through it in the same way.
A genre of a trailer is one direction in its clips under much noise, of which a snippet averages away the more the more
clips it has. So the best that any predictor can do is known: that of the mean clip along the true direction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from orchestrator.data.manifest import VALIDATION
from orchestrator.driver.searching import SearchRun
from orchestrator.driver.train import Trainer
from orchestrator.engine.jobs import ConfigJob, TrainingData, make_record
from orchestrator.progress import Progress
from orchestrator.store.embeddings import ClipVectors, EmbeddingRow
from orchestrator.study import Study
from orchestrator.sweep.identity import embedding_key
from orchestrator.training.lockstep import LockstepTrainer
from orchestrator.training.metrics import evaluate
from orchestrator.training.milestones import milestone_means
from orchestrator.training.records import SplitData

TRAILERS, CLIPS, WIDTH, NOISE = 90, 16, 24, 3.0
EPOCHS, CONFIGS, SEEDS = 27, 60, range(5)
GENRES = ("action", "drama")

SPACE = """
name: {name}
fixed: {{backbone: resnet_2d, aggregator: mean, training: {{epochs: 27, stop_patience: 27}}}}
search:
  configs: {configs}
  seed: {seed}
  sampler: {sampler}
  pruner: {pruner}
  ranges:
    training.learning_rate: {{log_uniform: [1e-6, 10]}}
    training.weight_decay: {{log_uniform: [1e-5, 100]}}
    clips_per_snippet: {{integer: [1, 16]}}
    training.batch_size: [4, 8, 16, 64]
"""


@dataclass(frozen=True)
class Bench:
    """The set, in a workspace."""

    folder: Path
    vectors: ClipVectors
    optimum: float
    """Mean over splits of the validation uAP of a predictor that knows the true directions."""

    @classmethod
    def make(cls, folder: Path) -> Bench:
        rng = np.random.default_rng(7)
        labels = rng.random((TRAILERS, len(GENRES))) < 0.4
        directions = np.linalg.qr(rng.standard_normal((WIDTH, len(GENRES))))[0].T
        centres = (2.0 * labels - 1) @ directions
        clips = (centres[:, None] + NOISE * rng.standard_normal((TRAILERS, CLIPS, WIDTH))).astype(np.float32)
        parts = np.array([rng.permutation(TRAILERS) // 30 for _ in range(3)]).T  # a third each
        rows = [["mid", *GENRES, "split0", "split1", "split2"]]
        rows += [[f"tr{i:02}", *labels[i].astype(int), *parts[i]] for i in range(TRAILERS)]
        (folder / "manifest.csv").write_text("\n".join(",".join(map(str, row)) for row in rows) + "\n")
        offsets = np.arange(0, CLIPS * TRAILERS + 1, CLIPS)
        bench = cls(folder, ClipVectors(clips.reshape(-1, WIDTH), offsets), cls._best(clips, directions, labels, parts))
        study = bench.open("first", "random", "none", 0)
        stored = [EmbeddingRow(mid, f"digest-{mid}", clips[i]) for i, mid in enumerate(study.manifest.mids)]
        study.workspace.embeddings.write_part(embedding_key(study.space.searches[0].embedding_specs()[0]), stored)
        return bench

    @staticmethod
    def _best(clips: np.ndarray, directions: np.ndarray, labels: np.ndarray, parts: np.ndarray) -> float:
        known = 1 / (1 + np.exp(-2 * CLIPS / NOISE**2 * clips.mean(axis=1) @ directions.T))
        held = [parts[:, s] == VALIDATION for s in range(parts.shape[1])]
        return float(np.mean([evaluate(labels[rows], known[rows], GENRES)["uAP"] for rows in held]))

    def open(self, name: str, sampler: str, pruner: str, seed: int) -> Study:
        path = self.folder / f"{name}.yaml"
        path.write_text(SPACE.format(name=name, configs=CONFIGS, seed=seed, sampler=sampler, pruner=pruner))
        return Study.open(path, self.folder / "manifest.csv", self.folder / "workspace")

    def search(self, sampler: str, pruner: str, seed: int, most_epochs: int | None = None) -> tuple[float, int]:
        """Best cross-split validation uAP of a config trained to its end, and the epochs that all configs took."""
        study = self.open(f"{sampler}-{seed}", sampler, pruner, seed)
        plan, best, spent = study.plan(), 0.0, 0
        study.save(plan, {"command": "run"})
        source = Trainer(study, plan, None, _Deaf(), None, Progress()).open_search(plan.searches[0])  # type: ignore[arg-type]
        while (most_epochs is None or spent + EPOCHS <= most_epochs) and (job := source.next()):
            value, epochs = self.train(study, source, job)
            best, spent = max(best, value), spent + epochs
        return best, spent

    def train(self, study: Study, source: SearchRun, job: ConfigJob) -> tuple[float, int]:
        """As a worker does: to the end or to where the search prunes it; 0 where it is pruned or diverges."""
        manifest = study.manifest
        data = TrainingData(manifest.mids, manifest.genres, manifest.labels, manifest.splits,
                            {job.embedding_keys[0]: {"tr00": "digest"}}, False, {}, None)  # fmt: skip
        streams = (self.vectors,)
        splits = {s: SplitData.of(streams, data.labels, data.splits[:, s], data.genres) for s in job.trials}
        trainer = LockstepTrainer(job.config, {s: replace(d, streams=splits[0].streams) for s, d in splits.items()})
        ledger = study.workspace.ledger
        while not trainer.done:
            trainer.step()
            histories = {s: tuple(r.flat() for r in one.history) for s, one in trainer.trainers.items()}
            if trainer.epoch in job.milestones and not trainer.done and not trainer.failures:
                passed = [m for m in job.milestones if m <= trainer.epoch]
                assert job.metric
                if reason := source.judge(job, milestone_means(histories.values(), job.metric, passed)):
                    for split, history in histories.items():
                        ledger.write(make_record(job, split, data, status="pruned", reason=reason, search=job.search,
                                                 history=history))  # fmt: skip
                    source.finished(job)
                    return 0.0, trainer.epoch
        results = trainer.results()
        for split, reason in trainer.failures.items():
            ledger.write(make_record(job, split, data, status="failed", reason=reason))
        for split, result in results.items():
            ledger.write(make_record(job, split, data, status="done", history=tuple(result.history),
                                     best_epoch=result.best_epoch, test=result.test, per_genre={}), {})  # fmt: skip
        source.finished(job)
        whole: Mapping[int, float] = {s: r.validation["uAP"] for s, r in results.items()}
        return (float(np.mean(list(whole.values()))) if len(whole) == len(job.trials) else 0.0), trainer.epoch


class _Deaf:
    def expect(self, config: object) -> None:
        return


def test_a_pruned_search_comes_closer_to_the_optimum_than_random_search_at_equal_epochs(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    bench, gaps = Bench.make(tmp_path), []
    for seed in SEEDS:
        found, epochs = bench.search("tpe", "{name: asha, grace_epochs: 1, reduction_factor: 3}", seed)
        by_chance, spent = bench.search("random", "none", seed, most_epochs=epochs)
        assert spent <= epochs < CONFIGS * EPOCHS / 2, "pruning saves more than half of the epochs"
        gaps.append((bench.optimum - found, bench.optimum - by_chance))
        print(f"seed {seed}: optimum {bench.optimum:.1f}; in {epochs} epochs {found:.2f}, at random {by_chance:.2f}")
    pruned, random = np.array(gaps).T
    assert pruned.mean() < random.mean(), gaps
    assert (pruned <= random).sum() >= 4, gaps


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        test_a_pruned_search_comes_closer_to_the_optimum_than_random_search_at_equal_epochs(Path(name))
