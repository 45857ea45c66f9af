"""A grid and a search whose driver is killed while it extracts, trains and searches; then files of it are torn."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from faults.same_sweep import differences

from orchestrator import Workspace

Divita = Callable[..., subprocess.CompletedProcess[str]]

SCRIPT = Path(__file__).parents[1] / "kill_and_resume.py"

SPACE = """
fixed:
  backbone: efficientnet_lite0_2d
  clips_per_snippet: 4
  training: {epochs: 12}
grid: {clip_strategy: [even-4, even-8], aggregator: [gru]}
search:
  configs: 6
  pruner: {name: asha, grace_epochs: 2, reduction_factor: 2}
  ranges: {clip_strategy: [even-4, even-8], aggregator: [mean], training.learning_rate: {log_uniform: [1e-5, 1e-1]}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("killed")


@pytest.fixture(scope="module")
def compared(folder: Path) -> subprocess.CompletedProcess[str]:
    (folder / "space.yaml").write_text(SPACE)
    moments = ("--at", "extracting,training,searching", "--command", "resume")
    command = (SCRIPT, "--space", folder / "space.yaml", "--seconds", "1", *moments, "--folder", folder)
    return subprocess.run([sys.executable, *map(str, command)], capture_output=True, text=True, timeout=900)


def test_what_is_killed_three_times_ends_as_if_nothing_had_happened(
    folder: Path, compared: subprocess.CompletedProcess[str]
) -> None:
    assert compared.returncode == 0, compared.stdout + compared.stderr
    alike = "killed 3 times: 24 trials, 6 draws, 24 rows; everything as in the undisturbed run, bit for bit"
    assert alike in compared.stdout
    assert Workspace(folder / "killed" / "workspace").ledger.searches(), "or it would not show that verdicts are kept"
    taken_over = r"^sweep: process \d+ on .+ ended without a word; this run goes on where it was$"
    assert re.search(taken_over, (folder / "killed" / "run2.log").read_text(), re.M)
    seen = re.search(r"^epoch checkpoints: (\d+) seen, 0 of them older", compared.stdout, re.M)
    assert seen and int(seen[1]) > 10, "the comparison of epochs saw none"


def test_torn_files_of_a_finished_sweep_are_named_and_made_again(
    folder: Path, compared: subprocess.CompletedProcess[str], divita: Divita
) -> None:
    """A part cut short is noticed by the plan, a flipped bit when a trial reads it; what was torn is made again."""
    assert compared.returncode == 0, compared.stdout + compared.stderr
    workspace = folder / "killed" / "workspace"
    ledger = Workspace(workspace).ledger
    grid = {key: r for key, r in ledger.read_many(ledger.keys()).items() if r.config["aggregator"]["name"] == "gru"}
    by_set = {record.embedding_keys[0]: key for key, record in grid.items()}
    (cut_set, cut_trial), (flipped_set, flipped_trial) = sorted(by_set.items())
    record, predictions = workspace / "ledger" / f"{cut_trial}.json", workspace / "ledger" / f"{flipped_trial}.npz"
    record.write_bytes(record.read_bytes()[:-20])
    predictions.write_bytes(b"torn")
    cut, flipped = (next((workspace / "embeddings" / key).glob("part-*.parquet")) for key in (cut_set, flipped_set))
    cut.write_bytes(cut.read_bytes()[:-100])
    content = bytearray(flipped.read_bytes())
    content[len(content) // 2] ^= 1
    flipped.write_bytes(content)
    done = divita("run", "../sweep.yaml", "-d", "../trailers/manifest.csv", cwd=folder / "killed")
    assert done.returncode == 0, done.stdout + done.stderr
    for torn in (record, predictions, cut, flipped):
        assert torn.with_name(f"{torn.name}.torn").exists()
    assert all(torn.name in done.stderr for torn in (record, predictions, cut)), done.stderr
    assert "vectors were lost or belong to other videos by now" in done.stderr, "the set whose bit was flipped"
    assert f"of 12 trailers ({flipped.parent})" in done.stderr
    assert "trained: 2 trials; " in done.stdout and "0 failed, 0 missing" in done.stdout, done.stdout + done.stderr
    assert differences(folder / "undisturbed" / "workspace", workspace) == []
