"""The command as a user runs it: real video files, a real Ray, a real MLflow store, the pretrained image backbone."""

from __future__ import annotations

import csv
import json
import re
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Divita = Callable[..., subprocess.CompletedProcess[str]]

SPACE = """
title: Small
fixed:
  backbone: efficientnet_lite0_2d
  clips_per_snippet: 3
  training: {epochs: 30, learning_rate: 1e-3}
grid:
  - {clip_strategy: [seq-24, shot-24], frame_rate: [24, 6], aggregator: [mean, transformer]}
  - {backbone: [x3d_s_3d], weights: [random], clip_strategy: [shot-24], frame_rate: [6]}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, divita: Divita) -> Path:
    made = tmp_path_factory.mktemp("sweep")
    (made / "small.yaml").write_text(SPACE)
    done = divita("synth", "trailers", "--trailers", "16", "--seconds", "4", cwd=made)
    assert done.returncode == 0, done.stderr
    return made


@pytest.fixture(scope="module")
def finished(folder: Path, divita: Divita) -> subprocess.CompletedProcess[str]:
    return divita("run", "small.yaml", "-d", "trailers/manifest.csv", cwd=folder)


def mlflow_runs(folder: Path) -> list[tuple[str, str]]:
    with sqlite3.connect(folder / "workspace" / "mlflow.db") as database:
        return database.execute("select run_uuid, status from runs where lifecycle_stage = 'active'").fetchall()


def test_plan_tells_what_a_run_would_do_and_runs_nothing(folder: Path, divita: Divita) -> None:
    done = divita("plan", "small.yaml", "-d", "trailers/manifest.csv", "--json", "-w", "untouched", cwd=folder)
    facts = json.loads(done.stdout)
    assert (facts["configs"], facts["trials"], facts["embedding_sets"], facts["decode_passes"]) == (9, 27, 5, 1)
    assert facts["missing"] == {"rows": 80, "embedding_sets": 5, "trials": 27}
    assert not (folder / "untouched").exists()


def test_a_run_ends_with_the_table_the_paths_and_the_way_to_the_ui(
    folder: Path, finished: subprocess.CompletedProcess[str]
) -> None:
    assert finished.returncode == 0, finished.stderr
    assert "trained: 27 trials; 27 done, 0 failed, 0 missing" in finished.stdout
    assert "extracted: 16 trailers decoded" in finished.stdout
    assert re.search(r"^compare in MLflow: \S+ ui$", finished.stdout, re.M)
    assert "random weights" in finished.stdout and "synthetic trailers" in finished.stdout
    for kind in ("page", "report", "table"):
        path = re.search(rf"^{kind}: +([^\s,]+)", finished.stdout, re.M)
        assert path and (folder / path[1]).stat().st_size > 500
    assert len(mlflow_runs(folder)) == 9 + 27
    assert {status for _, status in mlflow_runs(folder)} == {"FINISHED"}


def test_the_best_config_stands_clearly_above_chance(folder: Path, finished: subprocess.CompletedProcess[str]) -> None:
    with open(folder / "results" / "small" / "table.csv") as file:
        rows = list(csv.DictReader(file))
    chance = next(float(row["uAP.mean"]) for row in rows if row["row"] == "chance")
    best = max(float(row["uAP.mean"]) for row in rows if row["row"] != "chance")
    assert best > chance + 15, (best, chance)


def test_a_second_run_decodes_trains_and_logs_nothing(
    folder: Path, finished: subprocess.CompletedProcess[str], divita: Divita
) -> None:
    before = mlflow_runs(folder)
    again = divita("run", "small.yaml", "-d", "trailers/manifest.csv", cwd=folder)
    assert again.returncode == 0, again.stderr
    assert "extracted" not in again.stdout and "trained: 0 trials; 27 done" in again.stdout
    assert "Ray" not in again.stderr, "a run that lacks nothing starts no cluster"
    assert mlflow_runs(folder) == before


def test_status_and_report_need_only_the_workspace(
    folder: Path, finished: subprocess.CompletedProcess[str], divita: Divita
) -> None:
    status = divita("status", "small", cwd=folder)
    assert status.returncode == 0 and "small: 27 of 27 trials done, 0 failed, 0 missing" in status.stdout
    report = divita("report", "small", "--results", "elsewhere", cwd=folder)
    assert report.returncode == 0
    first, second = (folder / place / "small" / "table.csv" for place in ("results", "elsewhere"))
    assert first.read_bytes() == second.read_bytes()
