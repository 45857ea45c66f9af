"""Sweeps on embeddings that lie in the store: scheduling, ledger, MLflow and report, without video."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from orchestrator import RunOptions, Workspace, plan_sweep, run_sweep, sweep_results
from orchestrator.api import SweepOutcome
from orchestrator.data.stratify import stratify
from orchestrator.errors import InputError
from orchestrator.store.embeddings import EmbeddingRow
from orchestrator.store.ledger import TrialRecord

pytestmark = pytest.mark.usefixtures("resources")

TRAILERS, GENRES, WIDTH = 40, ("action", "comedy", "drama"), 1024
SPACE = """
fixed:
  backbone: shufflenet_2d
  weights: random
  clip_strategy: seq-24
  training: {epochs: 4, learning_rate: 1e-3}
grid:
  clips_per_snippet: [2, 4]
  aggregator: [mean, transformer]
"""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A folder with space.yaml, a manifest without paths, and a workspace that holds every embedding."""
    rng = np.random.default_rng(0)
    labels = (rng.random((TRAILERS, len(GENRES))) < 0.45).astype(np.uint8)
    labels[:, 2] |= labels.sum(1) == 0
    splits = stratify(labels, 3, seed=0)
    with open(tmp_path / "manifest.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["mid", *GENRES, "split0", "split1", "split2"])
        writer.writerows([f"tr{i:02d}", *labels[i], *splits[i]] for i in range(TRAILERS))
    (tmp_path / "space.yaml").write_text(SPACE)
    store = Workspace(tmp_path / "w").embeddings
    (needed,) = plan(tmp_path).sets
    looks = rng.normal(size=(len(GENRES), WIDTH))
    rows = []
    for i in range(TRAILERS):
        clips = rng.normal(size=(int(rng.integers(3, 9)), WIDTH)) + labels[i] @ looks
        rows.append(EmbeddingRow(f"tr{i:02d}", f"d{i}", clips.astype(np.float32)))
    store.write_part(needed.key, rows)
    return tmp_path


def plan(folder: Path):  # type: ignore[no-untyped-def]
    return plan_sweep(folder / "space.yaml", folder / "manifest.csv", workspace=folder / "w")


def run(folder: Path, **options: object) -> SweepOutcome:
    settings = replace(RunOptions(results=None), **options)  # type: ignore[arg-type]
    return run_sweep(folder / "space.yaml", folder / "manifest.csv", workspace=folder / "w", options=settings)


def scores(folder: Path) -> dict[str, tuple[object, ...]]:
    ledger = Workspace(folder / "w").ledger
    return {k: comparable(r) for k, r in ledger.read_many(ledger.keys()).items()}


def comparable(record: TrialRecord) -> tuple[object, ...]:
    epochs = [{k: v for k, v in epoch.items() if k != "seconds"} for epoch in record.history]
    return record.test, record.per_genre, record.best_epoch, epochs


def test_a_sweep_trains_every_config_on_every_split_and_learns(study: Path) -> None:
    outcome = run(study, results=study / "results")
    assert outcome.trained == 12 and outcome.results.ok and outcome.tracked
    assert outcome.extraction is None
    best = max(row.metrics["uAP"].mean for row in outcome.results.rows)
    assert best > outcome.results.chance["uAP"].mean + 15  # type: ignore[index]
    assert outcome.report.markdown.exists() and outcome.report.csv.exists() and len(outcome.report.plots) >= 4
    (key, *_) = Workspace(study / "w").ledger.keys()
    record = Workspace(study / "w").ledger.read(key)
    assert record.weights == ("random",) and record.versions["torch"] and len(record.history) <= 4
    predictions = Workspace(study / "w").ledger.predictions(key)
    assert predictions["probabilities"].shape == (record.n_test, 3)


def test_a_second_run_trains_nothing_and_adds_no_run_to_mlflow(study: Path) -> None:
    from mlflow import MlflowClient

    first = run(study)
    client = MlflowClient(first.tracking_uri)
    (experiment,) = [e for e in client.search_experiments() if e.name == "space"]

    def runs() -> dict[str, int]:
        return {r.info.run_id: r.info.end_time for r in client.search_runs([experiment.experiment_id])}

    before = runs()
    assert len(before) == 4 + 12
    again = run(study)
    assert again.trained == 0 and runs() == before


def test_the_number_of_workers_changes_no_bit(study: Path) -> None:
    run(study)
    expected = scores(study)
    other = study / "other"
    other.mkdir()
    for name in ("space.yaml", "manifest.csv"):
        (other / name).write_text((study / name).read_text())
    (other / "w").mkdir()
    (other / "w" / "embeddings").symlink_to(study / "w" / "embeddings")
    for aggregator in ("transformer", "mean"):  # one config after the other, in another order
        one = f"grid:\n  clips_per_snippet: [4]\n  aggregator: [{aggregator}]\n"
        (other / "space.yaml").write_text(SPACE.split("grid:")[0] + one)
        assert run(other).trained == 3
    assert scores(other).items() <= expected.items() and len(scores(other)) == 6


def test_an_edited_space_runs_only_the_difference(study: Path) -> None:
    run(study)
    path = study / "space.yaml"
    path.write_text(path.read_text().replace("[2, 4]", "[2, 3]"))
    outcome = run(study)
    assert outcome.trained == 6
    assert len(outcome.results.rows) == 4 and len(Workspace(study / "w").ledger.keys()) == 18


def test_a_config_that_cannot_be_trained_fails_alone_with_its_reason(study: Path) -> None:
    path = study / "space.yaml"
    (used,) = plan(study).sets
    path.write_text(SPACE.split("grid:")[0] + "grid:\n  training.learning_rate: [1e-3, 1e30]\n")
    outcome = run(study)
    assert not outcome.results.ok
    assert len(outcome.results.failed) == 3 and outcome.results.missing == 0
    assert all("loss is" in why for why in outcome.results.failed.values())
    assert used.key == plan(study).sets[0].key
    kept = sweep_results("space", workspace=study / "w")
    assert kept.failed == outcome.results.failed and kept.done == 3


def test_missing_embeddings_without_a_video_are_told_before_anything_runs(study: Path) -> None:
    path = study / "space.yaml"
    path.write_text(path.read_text().replace("seq-24", "seq-32"))
    with pytest.raises(InputError, match=r"the store lacks shufflenet_2d seq-32 24fps of 40 trailers \(tr00, tr01"):
        run(study)


def test_the_order_of_rows_and_columns_in_the_manifest_changes_no_bit(study: Path) -> None:
    run(study)
    expected = scores(study)
    with open(study / "manifest.csv") as file:
        header, *rows = list(csv.reader(file))
    order = [0, 3, 1, 2, 5, 4, 6]  # genres and splits elsewhere; a split is told by its name
    with open(study / "manifest.csv", "w", newline="") as file:
        csv.writer(file).writerows([[row[i] for i in order] for row in [header, *reversed(rows)]])
    for path in (study / "w" / "ledger").iterdir():
        if path.is_file():
            path.unlink()
    assert run(study).trained == 12
    assert scores(study) == expected


def test_an_mlflow_server_that_is_away_costs_the_sweep_nothing(study: Path) -> None:
    outcome = run(study, tracking_uri="http://127.0.0.1:9")
    assert outcome.trained == 12 and not outcome.tracked
    assert outcome.results.ok and outcome.report is None
    caught_up = run(study)
    assert caught_up.trained == 0 and caught_up.tracked
