"""A sweep of a grid and a search that is edited, resumed without its files, and run on changed labels and videos."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator import Workspace
from orchestrator.results import SweepResults, read_results

Divita = Callable[..., subprocess.CompletedProcess[str]]

SPACE = """
fixed: {{backbone: efficientnet_lite0_2d, clip_strategy: even-4, clips_per_snippet: 4, training: {{epochs: 2}}}}
grid: {{aggregator: [{grid}]}}
search:
  configs: {configs}
  ranges: {{training.learning_rate: {{log_uniform: [1e-4, 1e-2]}}, aggregator: [mean]}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, divita: Divita) -> Path:
    """A sweep that has run: two configs of the grid and two of the search, on three splits."""
    made = tmp_path_factory.mktemp("edited")
    assert divita("synth", "trailers", "--trailers", "12", "--seconds", "1", cwd=made).returncode == 0
    done = run(divita, made, "mean, fastvideo", 2)
    assert "trained: 12 trials; 12 done, 0 failed, 0 missing" in done
    return made


def run(divita: Divita, folder: Path, grid: str, configs: int) -> str:
    (folder / "space.yaml").write_text(SPACE.format(grid=grid, configs=configs))
    done = divita("run", "space.yaml", "-d", "trailers/manifest.csv", "--concurrent", "1", cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def read(folder: Path) -> SweepResults:
    return read_results("space", Workspace(folder / "workspace"))


def scores(found: SweepResults) -> dict[str, object]:
    return {row.key: row.scores for row in found.rows}


def test_an_edited_sweep_runs_the_difference_and_leaves_out_what_no_longer_belongs(
    folder: Path, divita: Divita
) -> None:
    before = read(folder)
    said = run(divita, folder, "mean, conv", 3)
    assert "trained: 6 trials; 15 done, 0 failed, 0 missing" in said, "one config of the grid, one of the search"
    after = read(folder)
    gone = scores(before).keys() - scores(after).keys()
    assert [row.label for row in before.rows if row.key in gone] == ["efficientnet_lite0_2d even-4 4clips fastvideo"]
    assert all(scores(after)[key] == scores(before)[key] for key in scores(before).keys() - gone)
    assert "fastvideo" not in (folder / "results" / "space" / "report.md").read_text()
    assert len(Workspace(folder / "workspace").ledger.keys()) == 18, "what no longer belongs is kept"
    assert len(after.searches[0].observations) == 3
    assert "trained: 0 trials; 15 done" in run(divita, folder, "mean, conv", 3), "and then there is nothing to do"


def test_a_sweep_is_resumed_without_its_files_from_anywhere(folder: Path, divita: Divita, tmp_path: Path) -> None:
    ledger = folder / "workspace" / "ledger"
    trial = next(key for row in read(folder).rows for key in row.trials.values())
    (ledger / f"{trial}.json").unlink()
    for name in ("space.yaml", "trailers/manifest.csv"):
        (folder / name).rename(tmp_path / Path(name).name)
    try:
        status = divita("status", "space", "-w", folder / "workspace", cwd=tmp_path)
        assert status.returncode == 1 and "14 of 15 trials done" in status.stdout
        assert "missing: 1 trials: not begun" in status.stdout
        done = divita("resume", "space", "-w", folder / "workspace", cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "trained: 1 trials; 15 done" in done.stdout
        assert not (tmp_path / "results").exists(), "the report goes where it went before"
    finally:
        for name in ("space.yaml", "trailers/manifest.csv"):
            (tmp_path / Path(name).name).rename(folder / name)


def test_changed_labels_and_videos_are_named_and_make_other_trials(folder: Path, divita: Divita) -> None:
    manifest, before = folder / "trailers" / "manifest.csv", read(folder)
    lines = manifest.read_text().splitlines()
    genre = lines[0].split(",").index(next(n for n in lines[0].split(",") if n not in ("mid", "path")))
    cells = lines[3].split(",")
    cells[genre] = str(1 - int(cells[genre]))
    manifest.write_text("\n".join([*lines[:3], ",".join(cells), *lines[4:]]) + "\n")
    videos = sorted((folder / "trailers").rglob("*.mp4"))
    shutil.copyfile(videos[-1], videos[0])
    said = run(divita, folder, "mean", 2)
    assert re.search(rf"changed since space ran last: labels of 1 trailer changed \({cells[0]}: [+-]", said)
    assert f"videos that changed and are embedded again: {videos[0].stem}\n" in said
    assert "extracted: 1 trailers decoded" in said
    assert "trained: 9 trials; 9 done" in said
    assert not {k for row in read(folder).rows for k in row.trials.values()} & {
        k for row in before.rows for k in row.trials.values()
    }
