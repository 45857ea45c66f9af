"""Sweeps on embeddings that lie in the store: scheduling, ledger, MLflow and report, without video."""

from __future__ import annotations

import csv
import shutil
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


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with space.yaml, a manifest without paths, and a workspace that holds every embedding."""
    tmp_path = tmp_path_factory.mktemp("source")
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


@pytest.fixture
def study(source: Path, tmp_path: Path) -> Path:
    """The same, for a test to change, without any trial."""
    return shutil.copytree(source, tmp_path / "study")


@pytest.fixture(scope="module")
def finished(source: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SweepOutcome]:
    """The same with all trials done, for tests that only read it, and what its run told."""
    folder = shutil.copytree(source, tmp_path_factory.mktemp("finished") / "study")
    return folder, run(folder, results=folder / "results")


def narrow(folder: Path, grid: str, splits: str = "") -> None:
    """Another grid for a sweep, so that a test trains no more than its claim needs."""
    (folder / "space.yaml").write_text(f"{splits}{SPACE.split('grid:')[0]}grid:\n{grid}")


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


def test_a_sweep_trains_every_config_on_every_split_and_learns(finished: tuple[Path, SweepOutcome]) -> None:
    folder, outcome = finished
    assert outcome.trained == 12 and outcome.results.ok and outcome.tracked
    assert outcome.extraction is None
    best = max(row.metrics["uAP"].mean for row in outcome.results.rows)
    assert best > outcome.results.chance["uAP"].mean + 15  # type: ignore[index]
    assert outcome.report.markdown.exists() and outcome.report.csv.exists() and len(outcome.report.plots) >= 4
    made_from = outcome.report.markdown.read_text().split("## Made from")[1]
    assert "- Weights: shufflenet_2d: random" in made_from and "- Trailers: 40 of 40" in made_from
    (key, *_) = Workspace(folder / "w").ledger.keys()
    record = Workspace(folder / "w").ledger.read(key)
    assert record.weights == ("random",) and record.versions["torch"] and len(record.history) <= 4
    predictions = Workspace(folder / "w").ledger.predictions(key)
    assert predictions["probabilities"].shape == (record.n_test, 3)


def test_a_second_run_trains_nothing_and_adds_no_run_to_mlflow(finished: tuple[Path, SweepOutcome]) -> None:
    from mlflow import MlflowClient

    folder, first = finished
    client = MlflowClient(first.tracking_uri)
    (experiment,) = [e for e in client.search_experiments() if e.name == "space"]

    def runs() -> dict[str, int]:
        return {r.info.run_id: r.info.end_time for r in client.search_runs([experiment.experiment_id])}

    before = runs()
    assert len(before) == 4 + 12
    again = run(folder)
    assert again.trained == 0 and runs() == before


def test_the_number_of_workers_changes_no_bit(study: Path, finished: tuple[Path, SweepOutcome]) -> None:
    expected = scores(finished[0])
    for aggregator in ("transformer", "mean"):  # one config after the other, in another order
        narrow(study, f"  clips_per_snippet: [4]\n  aggregator: [{aggregator}]\n")
        assert run(study).trained == 3
    assert scores(study).items() <= expected.items() and len(scores(study)) == 6


def test_an_edited_space_runs_only_the_difference(study: Path, finished: tuple[Path, SweepOutcome]) -> None:
    shutil.copytree(finished[0] / "w" / "ledger", study / "w" / "ledger")
    narrow(study, "  clips_per_snippet: [2, 3]\n  aggregator: [mean]\n")
    outcome = run(study)
    assert outcome.trained == 3
    assert len(outcome.results.rows) == 2 and len(Workspace(study / "w").ledger.keys()) == 15


def test_a_config_that_cannot_be_trained_fails_alone_with_its_reason(study: Path) -> None:
    (used,) = plan(study).sets
    narrow(study, "  training.learning_rate: [1e-3, 1e30]\n")
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


def test_the_order_of_rows_and_columns_in_the_manifest_changes_no_bit(
    study: Path, finished: tuple[Path, SweepOutcome]
) -> None:
    with open(study / "manifest.csv") as file:
        header, *rows = list(csv.reader(file))
    order = [0, 3, 1, 2, 5, 4, 6]  # genres and splits elsewhere; a split is told by its name
    with open(study / "manifest.csv", "w", newline="") as file:
        csv.writer(file).writerows([[row[i] for i in order] for row in [header, *reversed(rows)]])
    narrow(study, "  clips_per_snippet: [4]\n  aggregator: [mean, transformer]\n")
    assert run(study).trained == 6
    assert scores(study).items() <= scores(finished[0]).items()


def test_an_mlflow_server_that_is_away_costs_the_sweep_nothing(study: Path) -> None:
    narrow(study, "  clips_per_snippet: [2, 4]\n", "splits: [0]\n")
    outcome = run(study, tracking_uri="http://127.0.0.1:9")
    assert outcome.trained == 2 and not outcome.tracked
    assert outcome.results.ok and outcome.report is None
    caught_up = run(study)
    assert caught_up.trained == 0 and caught_up.tracked
