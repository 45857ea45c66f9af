"""Kills the driver of a sweep again and again, lets it finish, and compares all it left with an undisturbed run.

    python tests/kill_and_resume.py --kills 10 --seed 0
    python tests/kill_and_resume.py --space my.yaml --at extracting,between,training,searching
    python tests/kill_and_resume.py --concurrent 2 --count-only

The moments are random. Each run lives for its start, at most, and for at most twice its share of the work that is left,
so that the kills spread over starting, planning, extraction, training, searching and what lies between. A kill is
SIGKILL to the driver alone. After each one nothing may be left running, `divita status` must work, and the next run
must not decode a trailer whose rows are stored nor train an epoch again whose checkpoint was kept. In the end both
workspaces must hold the same trials, predictions, vectors, draws of searches and MLflow runs, bit for bit but for
times. A search that trains several configs at a time (`--concurrent`) need not repeat itself: with `--count-only` only
its number of configs is compared, and that none was drawn, trained or logged twice. Exit code 1 on any difference.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))  # so that it runs as a script and imports its neighbours

from faults.command import Command
from faults.same_sweep import differences, miscounted, rows, written_twice

SPACE = """
fixed:
  backbone: efficientnet_lite0_2d
  clips_per_snippet: 4
  training: {epochs: 60, stop_patience: 60}
grid:
  - {clip_strategy: [seq-24, shot-24], aggregator: [gru, transformer]}
  - {backbone: [swin_3d], weights: [random], clip_strategy: [seq-24], frame_rate: [24, 12], aggregator: [conv]}
search:
  configs: 8
  pruner: {name: asha, grace_epochs: 5, reduction_factor: 2}
  ranges:
    clip_strategy: [seq-24, shot-24]
    aggregator: [mean, gru]
    aggregator.gru.units: {integer: [4, 64], log: true}
    training.learning_rate: {log_uniform: [1e-5, 1e-1]}
"""
"""Embeds for more than a minute on two cores, so that parts are flushed meanwhile; trains 6 configs of a grid, then
searches 8, on three splits."""

MOMENTS = ("extracting", "between", "training", "searching")


@dataclass
class Undisturbed:
    """What the reference run held in the end, and how long it took."""

    workspace: Path
    seconds: float
    extracting: float
    training: float
    rows: set[tuple[str, str, str]] = field(init=False)
    trials: int = field(init=False)

    def __post_init__(self) -> None:
        self.rows = set(rows(self.workspace))
        self.trials = len(finished_trials(self.workspace))

    def longest(self, workspace: Path, kills: int) -> float:
        """Seconds after which a run of `workspace` is killed at the latest, with so many kills to come."""
        stored = len(rows(workspace).keys() & self.rows) / max(1, len(self.rows))
        trained = len(finished_trials(workspace)) / max(1, self.trials)
        left = (1 - stored) * self.extracting + (1 - trained) * self.training
        return self.seconds - self.extracting - self.training + 2 * left / kills

    def lacking(self, workspace: Path) -> set[str]:
        """Trailers of which `workspace` has not all embeddings."""
        there = rows(workspace)
        return {row[1] for row in self.rows if row[0].startswith("embeddings/") and row not in there}


@dataclass(frozen=True)
class Kill:
    """What was going on when the driver was killed; `at` in seconds after its start."""

    at: float
    phase: str
    rows: int
    trials: int
    draws: int
    epochs: int


class EpochWatch:
    """Follows the epoch checkpoints of a workspace and notes every epoch that is trained once more."""

    def __init__(self, workspace: Path) -> None:
        self._folder, self._most = workspace / "checkpoints", {}  # type: ignore[var-annotated]
        self.lost: list[str] = []
        self.seen = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> EpochWatch:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()

    def epochs(self) -> dict[str, int]:
        """Epochs by checkpoint, as they lie there now."""
        found = {}
        for path in self._folder.glob("*.ckpt"):
            try:
                with open(path, "rb") as file:
                    found[path.stem] = int(json.loads(file.readline())["epoch"])
            except (OSError, ValueError):
                continue  # removed or replaced in this moment
        return found

    def _follow(self) -> None:
        while not self._stop.wait(0.02):
            for name, epoch in self.epochs().items():
                most = self._most.get(name, 0)
                self.seen += epoch != most
                if epoch < most:
                    self.lost.append(f"epochs: {name} went back from {most} to {epoch}")
                self._most[name] = epoch


def kill_and_resume(
    folder: Path,
    space: str = SPACE,
    *,
    trailers: int = 12,
    seconds: float = 2.0,
    kills: int = 10,
    seed: int = 0,
    at: tuple[str, ...] = (),
    resume: bool = False,
    concurrent: int | None = 1,
    count_only: bool = False,
    say: Callable[[str], None] = print,
) -> list[str]:
    """Runs everything in `folder` and returns the differences found, as text; empty if there is none.

    `at` names moments (`MOMENTS`) to be killed at instead of `kills` random ones; `resume` runs `divita resume` where
    a run was killed; `concurrent` configs of a search train at a time, None for as many as there are cores;
    `count_only` compares only what such a search must keep to.
    """
    from orchestrator.data.synth import synthesize

    manifest = synthesize(folder / "trailers", trailers, seed=1, seconds=seconds)
    (folder / "sweep.yaml").write_text(space)
    options = ("--concurrent", str(concurrent)) if concurrent else ()
    run = ("run", folder / "sweep.yaml", "-d", manifest, *options)
    for name in ("undisturbed", "killed"):
        (folder / name).mkdir()
    reference = _run_undisturbed(run, folder / "undisturbed")
    say(
        f"undisturbed: {reference.seconds:.0f} s, {reference.extracting:.0f} of them extracting and "
        f"{reference.training:.0f} training; {len(reference.rows)} rows, {reference.trials} trials"
    )
    moments, found = random.Random(seed), list[str]()
    place, done, tries = folder / "killed", 0, 0
    workspace = place / "workspace"
    with EpochWatch(workspace) as watch:
        while done < (len(at) or kills) and tries < 3 * (len(at) or kills):
            tries += 1
            again = ("resume", "sweep") if resume and _is_saved(workspace) else run
            lacking, drawn = reference.lacking(workspace), len(draws(workspace))
            with Command(*again, cwd=place, log=place / f"run{tries}.log") as command:
                if at:
                    command.wait_for(lambda: _reached(at[done], command, reference, workspace, drawn))  # noqa: B023
                    time.sleep(moments.uniform(0, 0.5))
                else:
                    _wait(command, moments.uniform(0, reference.longest(workspace, kills - done)))
                if not command.running:
                    say(f"run {tries} ended by itself, with {command.process.returncode}, before it was to be killed")
                    found += [f"run {tries}: ended with {command.process.returncode}"] * bool(
                        command.process.returncode
                    )
                    continue
                after = time.monotonic() - command.started
                command.kill()
                done += 1
                found += [f"kill {done}: left behind: {process}" for process in command.left_behind()]
            kill = _describe(after, command, workspace, watch)
            say(
                f"kill {done:2}: {kill.phase:<24} after {kill.at:5.1f} s; {kill.rows} rows, {kill.trials} trials, "
                f"{kill.draws} draws and {kill.epochs} epochs of trials under way kept"
            )
            found += [f"kill {done}: {problem}" for problem in _check_decoding(command.said, lacking)]
            found += [f"kill {done}: {problem}" for problem in _check_status(place)]
        with Command(*(("resume", "sweep") if resume else run), cwd=place, log=place / "last.log") as command:
            lacking = reference.lacking(workspace)
            if code := command.wait():
                found.append(f"the last run ended with {code}:\n{command.said}")
            found += [f"the last run: {problem}" for problem in _check_decoding(command.said, lacking)]
        found += watch.lost
    say(f"epoch checkpoints: {watch.seen} seen, {len(watch.lost)} of them older than one before")
    found += miscounted(workspace)
    found += written_twice(workspace) if count_only else differences(reference.workspace, workspace)
    alike = "every config of a search there once" if count_only else "everything as in the undisturbed run, bit for bit"
    say(
        f"killed {done} times: {len(finished_trials(workspace))} trials, {len(draws(workspace))} draws, "
        f"{len(rows(workspace))} rows; " + (f"{len(found)} differences" if found else alike)
    )
    return found


def finished_trials(workspace: Path) -> set[str]:
    """Trials that are done or pruned, by the names of their files."""
    return {path.name for place in ("", "pruned/*/") for path in workspace.glob(f"ledger/{place}*.json")}


def draws(workspace: Path) -> list[Path]:
    """Configs that a search of the sweep drew, as files."""
    return [*workspace.glob("sweeps/*/searches/*/*/[0-9]*-*.json")]


def _run_undisturbed(run: tuple[str | Path, ...], place: Path) -> Undisturbed:
    with Command(*run, cwd=place, log=place / "run.log") as command:
        code = command.wait(3600)
        assert code == 0, f"the undisturbed run ended with {code}:\n{command.said}"
        took = time.monotonic() - command.started
    steps = [(name, float(seconds)) for name, seconds in re.findall(r"^(\w+)[^:]*: .+ in (\d+) s$", command.said, re.M)]
    extracting = sum(seconds for name, seconds in steps if name == "extracting")
    return Undisturbed(place / "workspace", took, extracting, sum(seconds for _, seconds in steps) - extracting)


def _wait(command: Command, seconds: float) -> None:
    while command.running and time.monotonic() - command.started < seconds:
        time.sleep(0.01)


def _reached(moment: str, command: Command, reference: Undisturbed, workspace: Path, drawn: int) -> bool:
    """Whether a run is at one of `MOMENTS`; `drawn`: how many configs were drawn before it began."""
    if moment == "extracting":
        return "extracting: " in command.said and bool(command.workers("Map"))
    if moment == "between":
        return not reference.lacking(workspace)
    if moment == "training":
        return bool(finished_trials(workspace))
    return len(draws(workspace)) >= drawn + 3


def _is_saved(workspace: Path) -> bool:
    return (workspace / "sweeps" / "sweep" / "sweep.json").exists()


def _describe(after: float, command: Command, workspace: Path, watch: EpochWatch) -> Kill:
    told = _told(workspace)
    holds = told.get("holder", {}).get("process") == command.process.pid
    phase = str(told["phase"]) if holds else "before or after the lock"
    stored, trials = len(rows(workspace)), len(finished_trials(workspace))
    return Kill(after, phase, stored, trials, len(draws(workspace)), sum(watch.epochs().values()))


def _told(workspace: Path) -> dict[str, Any]:
    """What the driver said last of what it does; it can't take that back when it is killed."""
    try:
        return dict(json.loads((workspace / "sweeps" / "sweep" / "driver.json").read_text()))
    except FileNotFoundError:
        return {}


def _check_decoding(said: str, lacking: set[str]) -> list[str]:
    """A run decodes exactly the trailers that lacked a row when it began."""
    begun = re.search(r"^extracting: (\d+) trailers$", said, re.M)
    if begun and int(begun[1]) != len(lacking):
        return [f"decodes {begun[1]} trailers, but {len(lacking)} lacked rows"]
    return []


def _check_status(place: Path) -> list[str]:
    """`divita status` counts what is there and knows that nothing runs."""
    if not _is_saved(place / "workspace"):
        return []
    with Command("status", "sweep", "--json", cwd=place, log=place / "status.log") as command:
        command.wait()
    try:
        told = json.loads(command.said)
    except ValueError:
        return [f"status: {command.said}"]
    found = [f"status: takes the dead driver for alive: {told['activity']}"] if told["activity"] else []
    done = len([*place.glob("workspace/ledger/*.json")])
    return found + ([f"status: counts {told['done']} trials done, not {done}"] if told["done"] != done else [])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10, help="how many random moments (default 10)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default 0)")
    parser.add_argument("--at", default="", help=f"kill at these moments instead: {', '.join(MOMENTS)}")
    parser.add_argument("--space", type=Path, help="search space to run instead of the built-in grid and search")
    parser.add_argument("--trailers", type=int, default=12, help="synthetic trailers to make (default 12)")
    parser.add_argument("--seconds", type=float, default=2.0, help="their mean length (default 2)")
    parser.add_argument("--command", choices=("run", "resume"), default="run", help="what goes on after a kill")
    parser.add_argument("--concurrent", type=int, default=1, help="configs of a search at a time (default 1)")
    parser.add_argument("--count-only", action="store_true", help="of searches compare no more than the numbers")
    parser.add_argument("--folder", type=Path, help="where to work and leave everything (default: a temporary folder)")
    given = parser.parse_args()
    at = tuple(filter(None, given.at.split(",")))
    if unknown := set(at) - set(MOMENTS):
        parser.error(f"--at: {', '.join(sorted(unknown))}: not one of {', '.join(MOMENTS)}")
    with tempfile.TemporaryDirectory(prefix="kill-and-resume-") as scratch:
        folder = given.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        found = kill_and_resume(
            folder.resolve(),
            given.space.read_text() if given.space else SPACE,
            trailers=given.trailers,
            seconds=given.seconds,
            kills=given.kills,
            seed=given.seed,
            at=at,
            resume=given.command == "resume",
            concurrent=given.concurrent,
            count_only=given.count_only,
            say=lambda line: print(line, flush=True),
        )
    print("\n".join(found))
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
