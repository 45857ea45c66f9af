"""Times `divita run` on a finished sweep and `divita plan` on a large one: python tests/benchmarks/bench_noop.py

A sweep of 334 configs x 3 splits is finished by records that this script writes; nothing is trained. Then the real
commands run, each in a process of its own: the first brings MLflow and the report up to date, the second has nothing
to do. A plan of 10,000 configs follows, with its memory at the peak.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from orchestrator.specs import plain
from orchestrator.store.embeddings import EmbeddingRow
from orchestrator.store.ledger import TrialRecord
from orchestrator.study import Study
from orchestrator.sweep.identity import embedding_key
from orchestrator.training.metrics import evaluate

TRAILERS, GENRES, EPOCHS = 60, ("action", "comedy", "drama"), 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--configs", type=int, default=334)
    parser.add_argument("--large", type=int, default=10_000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "manifest.csv").write_text(manifest())
        study = open_study(folder, "finished", asked.configs)
        finish(study)
        print(f"finished: {asked.configs} configs, {3 * asked.configs} trials")
        for what in ("first run, all of MLflow and the report to write", "run with nothing to do"):
            print(f"{what}: {timed(folder, 'run', 'finished.yaml', '-d', 'manifest.csv'):.1f} s")
        open_study(folder, "large", asked.large)
        seconds = timed(folder, "plan", "large.yaml", "-d", "manifest.csv")
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        print(f"plan of {asked.large} configs: {seconds:.1f} s; largest process of all: {peak:.0f} MB")


def manifest() -> str:
    rng, rows = np.random.default_rng(0), []
    for i in range(TRAILERS):
        labels = [int(i % 3 == g or rng.random() < 0.2) for g in range(len(GENRES))]
        rows.append(",".join(map(str, [f"tr{i}", *labels, *([0 if i % 10 < 6 else 1 if i % 10 < 8 else 2] * 3)])))
    return "\n".join([",".join(["mid", *GENRES, "split0", "split1", "split2"]), *rows]) + "\n"


def open_study(folder: Path, name: str, configs: int) -> Study:
    """A space of `configs` configs on one embedding set, whose vectors are there."""
    rates = [round(1e-4 * 1.001**i, 12) for i in range(-(-configs // 2))]
    (folder / f"{name}.yaml").write_text(
        f"fixed: {{backbone: resnet_2d}}\ngrid: {{training.learning_rate: {rates}, aggregator: [mean, gru]}}\n"
    )
    study = Study.open(folder / f"{name}.yaml", folder / "manifest.csv", folder / "workspace")
    key = embedding_key(study.space.configs[0].streams[0])
    if not study.workspace.embeddings.digests(key):
        rows = [EmbeddingRow(mid, f"digest-{mid}", np.ones((4, 8), np.float32)) for mid in study.manifest.mids]
        study.workspace.embeddings.write_part(key, rows)
    return study


def finish(study: Study) -> None:
    plan, rng = study.plan(), np.random.default_rng(1)
    used = study.manifest
    for config in plan.configs:
        for trial in config.trials:
            assert trial.key and trial.data
            rows = used.part(trial.split, 2)
            probabilities = rng.random((len(rows), len(used.genres)), np.float32)
            scores = dict(evaluate(used.labels[rows], probabilities, used.genres))
            per_genre = scores.pop("AP")
            history = tuple(
                {"epoch": e, "train_loss": 1 / e, "val_loss": 1 / e, "val_uAP": 50.0 + e, "val_mAP": 50.0,
                 "val_wAP": 50.0, "val_sAP": 50.0, "learning_rate": 1e-4, "seconds": 0.1}
                for e in range(1, EPOCHS + 1)
            )  # fmt: skip
            record = TrialRecord(
                key=trial.key, config=plain(config.config), config_key=config.key, split=trial.split,
                embedding_keys=config.embedding_keys, data_digest=trial.data, status="done", history=history,
                best_epoch=EPOCHS, test=scores, per_genre=per_genre, seconds=2.0, parameters=1, head_parameters=1,
                multiply_adds=1, n_train=36, n_val=12, n_test=len(rows), weights=("pretrained",),
                created="2026-01-01T00:00:00+00:00",
            )  # fmt: skip
            arrays = {"mids": np.array(used.mids)[rows], "probabilities": probabilities, "labels": used.labels[rows]}
            study.workspace.ledger.write(record, arrays)


def timed(folder: Path, *arguments: str) -> float:
    start = time.perf_counter()
    command = [sys.executable, "-m", "orchestrator.cli", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
