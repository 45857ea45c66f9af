"""A disk that runs full while a sweep extracts and while it trains, and that turns read-only in between.

Each time the command says so and ends with 2, keeps what was finished, and goes on when there is room again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from faults.command import Command
from faults.same_sweep import rows, written_twice
from faults.small_disk import SmallDisk

SPACE = """
fixed: {backbone: efficientnet_lite0_2d, clips_per_snippet: 4, training: {epochs: 40, stop_patience: 40}}
grid: {clip_strategy: [even-4, even-8], aggregator: [mean, {name: gru, units: 8}, {name: gru, units: 12}]}
"""
TRIALS = 18

ROOM = 600_000
"""Bytes: more than either of the two sets takes (12 trailers of 4 or 8 vectors of 1280 numbers), less than both."""


@dataclass
class Story:
    """What each command said and how it ended; what was kept of each when it ended."""

    workspace: Path
    codes: list[int] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    kept: list[dict[str, bytes]] = field(default_factory=list)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    from orchestrator.data.synth import synthesize

    folder = tmp_path_factory.mktemp("disk")
    try:
        disk = SmallDisk(folder / "workspace", "64m")
    except OSError as error:
        pytest.skip(f"this system lets no test mount a filesystem: {error}")
    synthesize(folder / "trailers", 12, seed=1, seconds=1)
    (folder / "space.yaml").write_text(SPACE)

    def run(name: str, fill: tuple[Callable[[Command], object], int] | None = None) -> None:
        arguments = (name, folder / "space.yaml", "-d", folder / "trailers" / "manifest.csv")
        with Command(*arguments, cwd=folder, before=disk.before) as command:
            if fill:
                condition, leave = fill
                command.wait_for(lambda: condition(command))
                disk.fill(leave)
            told.codes.append(command.wait())
            told.said.append(command.said)
            told.kept.append({str(p.relative_to(disk.path)): p.read_bytes() for p in files(disk.path)})

    with disk:
        told = Story(disk.path)
        run("extract", (lambda command: command.workers("MapWorker"), ROOM))
        disk.remount("ro")
        run("run")
        disk.remount("rw")
        disk.clear()
        run("run", (lambda command: list(disk.path.glob("ledger/*.json")), 0))
        disk.clear()
        run("run")
        yield told


def files(workspace: Path) -> list[Path]:
    return [*workspace.glob("embeddings/*/*"), *workspace.glob("ledger/*.json"), *workspace.glob("ledger/*.npz")]


def parts(kept: dict[str, bytes]) -> list[str]:
    return [name for name in kept if "/part-" in name]


def records(kept: dict[str, bytes]) -> dict[str, bytes]:
    return {name: content for name, content in kept.items() if name.startswith("ledger/")}


def test_a_disk_that_is_full_ends_the_extraction_with_what_was_written_whole(story: Story) -> None:
    assert story.codes[0] == 2, story.said[0]
    (told,) = [line for line in story.said[0].splitlines() if line.startswith("divita: ")]
    assert "embeddings/" in told and "the disk is full; free some space" in told, told
    assert "Traceback" not in story.said[0]
    assert len(parts(story.kept[0])) == 1, "one of two sets"


def test_a_read_only_workspace_is_refused_before_any_work(story: Story) -> None:
    assert story.codes[1] == 2, story.said[1]
    (told,) = story.said[1].splitlines()
    assert told.startswith("divita: ") and "it is on a read-only filesystem" in told
    assert story.kept[1] == story.kept[0]


def test_with_room_again_only_the_other_set_is_made(story: Story) -> None:
    assert story.kept[0].items() <= story.kept[2].items()
    assert written_twice(story.workspace) == []
    assert sorted(rows(story.workspace).values()) == [1] * 24


def test_a_disk_that_is_full_ends_the_training_and_keeps_every_record(story: Story) -> None:
    assert story.codes[2] == 2, story.said[2]
    assert "the disk is full; free some space" in story.said[2].splitlines()[-1]
    before, after = records(story.kept[2]), records(story.kept[3])
    assert 0 < len(before) < len(after) == 2 * TRIALS
    assert before.items() <= after.items(), "a finished record never changes"


def test_with_room_again_the_same_command_ends_the_sweep(story: Story) -> None:
    assert story.codes[3] == 0, story.said[3]
    assert "extracting" not in story.said[3]
    assert f"{TRIALS} done, 0 failed, 0 missing" in story.said[3]
