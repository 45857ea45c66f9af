"""Made-up sweeps in a real ledger, and one real SQLite store for the whole folder (its first touch takes seconds)."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"

import numpy as np
import pytest

from orchestrator.reporting.aggregate import SweepConfig
from orchestrator.specs import BackboneSpec, ClipSpec, Config, EmbeddingSpec, key_of, plain
from orchestrator.store.ledger import TrialRecord
from orchestrator.store.workspace import Workspace
from orchestrator.tracking.client import open_client
from orchestrator.tracking.view import MlflowView, SyncReport
from orchestrator.training.metrics import evaluate

GENRES = ("drama", "action", "sci-fi")


@dataclass
class MadeSweep:
    """Configs with real predictions and metrics in the ledger of a workspace."""

    workspace: Workspace
    configs: list[SweepConfig] = field(default_factory=list)
    epochs: int = 3

    def add(
        self, backbone: str = "swin_3d", splits: int = 3, weights: str = "pretrained", **changes: Any
    ) -> SweepConfig:
        config = Config((EmbeddingSpec(ClipSpec("shot", 24), BackboneSpec(backbone, weights)),))
        trials = {s: key_of([plain(config), s]) for s in range(splits)}
        made = SweepConfig.of(config, key_of(config), trials, ("6",), search=changes.get("search"))
        self.configs.append(made)
        for split, key in trials.items():
            self.write(config, key, split, **changes)
        return made

    def write(self, config: Config, key: str, split: int, **changes: Any) -> TrialRecord:
        rng = np.random.default_rng(int(key[:8], 16))
        labels = (rng.random((20, len(GENRES))) < 0.4).astype(np.uint8)
        labels[0] = 1
        probabilities = (rng.random(labels.shape) + 0.5 * labels).astype(np.float32) / 2
        scores = dict(evaluate(labels, probabilities, GENRES))
        areas = scores.pop("AP")
        record = TrialRecord(
            key=key,
            config=plain(config),
            config_key=key_of(config),
            split=split,
            embedding_keys=("e" * 20,),
            data_digest="d" * 20,
            status="done",
            history=tuple(
                {"epoch": e, "train_loss": 1 / e, "val_loss": 2 / e, "val_uAP": 10.0 * e, "seconds": 1.5}
                for e in range(1, self.epochs + 1)
            ),
            best_epoch=self.epochs,
            test=scores,
            per_genre=areas,  # type: ignore[arg-type]
            seconds=60.0,
            parameters=1234,
            n_train=70,
            n_val=10,
            n_test=20,
            weights=tuple(s.backbone.weights for s in config.streams),
            versions={"torch": "2.14.1"},
            commit="abc123",
            created="2026-11-22T22:00:00+00:00",
        )
        record = replace(record, **changes)
        done = {"mids": np.array([f"t{i}" for i in range(20)]), "labels": labels, "probabilities": probabilities}
        self.workspace.ledger.write(record, done if record.status == "done" else None)
        return record

    def records(self) -> list[TrialRecord]:
        states = self.workspace.ledger.states({k: c.search for c in self.configs for k in c.trials.values()})
        return list(states.values())


@dataclass
class Shown:
    """What MLflow has for one experiment, read with a client of its own."""

    uri: str
    experiment: str

    def view(self) -> MlflowView:
        return MlflowView(self.uri, self.experiment)

    def sync(self, made: MadeSweep, view: MlflowView | None = None) -> SyncReport:
        return (view or self.view()).sync(made.configs, made.records(), made.workspace.ledger.predictions)

    def runs(self) -> list[Any]:
        client = open_client(self.uri)
        experiment = client.get_experiment_by_name(self.experiment)
        return list(client.search_runs([experiment.experiment_id], max_results=5000)) if experiment else []

    def parents(self) -> list[Any]:
        return [r for r in self.runs() if "mlflow.parentRunId" not in r.data.tags]

    def children(self) -> list[Any]:
        found = [r for r in self.runs() if "mlflow.parentRunId" in r.data.tags]
        return sorted(found, key=lambda r: (r.data.tags["divita.config_key"], r.info.run_name))

    def content(self, *, files: bool = True) -> list[Any]:
        """Everything that a reader sees, but ids and the order of writing; `files` lie with a store of our own only."""
        names = {r.info.run_id: r.info.run_name for r in self.runs()}
        return sorted(
            (
                r.info.run_name,
                r.info.status,
                r.info.start_time,
                r.info.end_time,
                sorted(r.data.metrics.items()),
                sorted(r.data.params.items()),
                sorted((k, names.get(v, v)) for k, v in r.data.tags.items() if k != "mlflow.runName"),
                sorted(a.path for a in open_client(self.uri).list_artifacts(r.info.run_id)) if files else [],
            )
            for r in self.runs()
        )


FIRST_TOUCH = """
import sys
def audit(event, values):
    if event == "socket.getaddrinfo" or (event == "socket.connect" and isinstance(values[1], tuple)):
        print("network:", event, values)
sys.addaudithook(audit)
from orchestrator.tracking.view import MlflowView
print(MlflowView(sys.argv[1], "first").sync([], []))
"""


@dataclass
class NewStore:
    """A store made by a program of its own, and what that printed; network calls are printed, too."""

    uri: str
    stdout: str
    stderr: str


@pytest.fixture(scope="session")
def new_store(tmp_path_factory: pytest.TempPathFactory) -> NewStore:
    uri = f"sqlite:///{tmp_path_factory.mktemp('work space')}/new/mlflow.db"
    # Without what keeps MLflow's telemetry off in tests anyway.
    off = {"MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK", "PYTEST_CURRENT_TEST", "PYTEST_VERSION", "CI"}
    bare = {name: value for name, value in os.environ.items() if name not in off}
    done = subprocess.run([sys.executable, "-c", FIRST_TOUCH, uri], env=bare, capture_output=True, text=True)
    return NewStore(uri, done.stdout, done.stderr)


@pytest.fixture(scope="session")
def tracking_uri(new_store: NewStore) -> str:
    return new_store.uri


@pytest.fixture
def shown(tracking_uri: str, tmp_path: Path) -> Shown:
    return Shown(tracking_uri, f"{tmp_path.parent.name}-{tmp_path.name}")


@pytest.fixture
def made(tmp_path: Path) -> MadeSweep:
    return MadeSweep(Workspace(tmp_path / "workspace"))


@pytest.fixture
def interrupted() -> Callable[[MadeSweep, int], Callable[[str], Any]]:
    """Predictions whose n-th reading ends the program, as a kill would."""

    def make(made: MadeSweep, at: int) -> Callable[[str], Any]:
        counter: Iterator[int] = iter(range(10**6))

        def read(key: str) -> Any:
            if next(counter) == at:
                raise KeyboardInterrupt
            return made.workspace.ledger.predictions(key)

        return read

    return make
