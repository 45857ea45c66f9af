"""A sweep whose driver is killed while it extracts, between, and while it trains; then files of it are torn."""

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
  clip_strategy: seq-24
  clips_per_snippet: 4
  training: {epochs: 30, stop_patience: 30, learning_rate: 1e-3}
grid: {frame_rate: [24, 6], aggregator: [gru, transformer]}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("killed")


@pytest.fixture(scope="module")
def compared(folder: Path) -> subprocess.CompletedProcess[str]:
    (folder / "space.yaml").write_text(SPACE)
    moments = ("--at", "extracting,between,training", "--command", "resume")
    command = (SCRIPT, "--space", folder / "space.yaml", "--seconds", "1", *moments, "--folder", folder)
    return subprocess.run([sys.executable, *map(str, command)], capture_output=True, text=True, timeout=900)


def test_what_is_killed_three_times_ends_as_if_nothing_had_happened(
    compared: subprocess.CompletedProcess[str],
) -> None:
    assert compared.returncode == 0, compared.stdout + compared.stderr
    assert "killed 3 times: 12 trials, 24 rows; everything as in the undisturbed run, bit for bit" in compared.stdout
    seen = re.search(r"^epoch checkpoints: (\d+) seen, 0 of them older", compared.stdout, re.M)
    assert seen and int(seen[1]) > 10, "the comparison of epochs saw none"


def test_torn_files_of_a_finished_sweep_are_named_and_made_again(
    folder: Path, compared: subprocess.CompletedProcess[str], divita: Divita
) -> None:
    """A part cut short is noticed by the plan, a flipped bit when a trial reads it; what was torn is made again."""
    assert compared.returncode == 0, compared.stdout + compared.stderr
    workspace = folder / "killed" / "workspace"
    ledger = Workspace(workspace).ledger
    by_set = {record.embedding_keys[0]: key for key, record in ledger.read_many(ledger.keys()).items()}
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
    assert "vectors of 12 trailers were lost" in done.stderr, "the set whose bit was flipped"
    assert "trained: 2 trials; 12 done, 0 failed, 0 missing" in done.stdout, done.stdout + done.stderr
    assert differences(folder / "undisturbed" / "workspace", workspace) == []
