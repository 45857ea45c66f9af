"""The command's surface: quick help, errors that teach, exit codes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

COMMANDS = ["demo", "plan", "extract", "run", "status", "report", "ui", "splits", "synth", "trailers12k"]


def divita(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "orchestrator.cli", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120)


def test_help_lists_every_command() -> None:
    done = divita("--help")
    assert done.returncode == 0 and all(f"  {name} " in done.stdout for name in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_its_options(command: str) -> None:
    done = divita(command, "--help")
    assert done.returncode == 0 and "Usage:" in done.stdout


def test_mistakes_of_space_and_manifest_are_told_together(tmp_path: Path) -> None:
    (tmp_path / "space.yaml").write_text("fixed: {backbon: swin_2d}\n")
    (tmp_path / "manifest.csv").write_text("mid,action\na,2\na,1\n")
    done = divita("plan", "space.yaml", "-d", "manifest.csv", cwd=tmp_path)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "did you mean backbone?" in done.stderr
    assert "manifest.csv" in done.stderr and "split0" in done.stderr and "line 2" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "nonsense", "-d", "m.csv"], "not one of the shipped search spaces"),
        (["run", "demo", "-d", "m.csv", "--set", "epochs"], "--set: 'epochs' is not field=value"),
        (["run", "demo", "-d", "m.csv", "--layout", "wide"], "'wide' is not one of auto, fused, split"),
        (["run", "demo"], "Missing option"),
        (["status", "nothing"], "sweep: 'nothing' is not one of"),
        (["splits", "m.csv"], "m.csv: no such file"),
        (["synth", "made", "--trailers", "3"], "12"),
        (["ui"], "no such MLflow database"),
    ],
)
def test_bad_input_ends_with_exit_code_2_and_says_what_is_allowed(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    done = divita(*arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr and "Traceback" not in done.stderr


def test_weights_that_are_not_at_hand_are_told_before_anything_is_decoded(tmp_path: Path, trailers: Path) -> None:
    (tmp_path / "space.yaml").write_text(
        "fixed: {backbone: swin_2d, weights: nowhere/swin.pth, clip_strategy: seq-24}\n"
    )
    done = divita("run", "space.yaml", "-d", trailers, cwd=tmp_path)
    assert done.returncode == 2
    assert "nowhere/swin.pth" in done.stderr and "Traceback" not in done.stderr


def test_a_read_only_workspace_is_told_before_anything_runs(tmp_path: Path, trailers: Path) -> None:
    (tmp_path / "taken").write_text("a file where the workspace should be")
    done = divita("run", "demo", "-d", trailers, "-w", "taken", cwd=tmp_path)
    assert done.returncode == 2 and "taken" in done.stderr and "Traceback" not in done.stderr
