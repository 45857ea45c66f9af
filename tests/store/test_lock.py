"""Locks held by real processes that are killed, stopped and raced against each other."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import DivitaError, SweepBusy
from orchestrator.store import lock
from orchestrator.store.files import FileTree
from orchestrator.store.guard import guard
from orchestrator.store.lock import SweepLock

HOST = "node7"

DRIVER = """
import sys, time
from orchestrator.errors import SweepBusy
from orchestrator.store import lock
from orchestrator.store.files import FileTree

place, host, backwards = sys.argv[1:]
if backwards:
    start = time.time()
    time.time = lambda: start - 1000 * time.monotonic()
lock.BEAT_S = 0.05
mine = lock.SweepLock(FileTree(place), "demo", host=host, patience=0.5)
print("ready", flush=True)
for line in sys.stdin:
    word, _, rest = line.strip().partition(" ")
    try:
        if word == "acquire":
            while time.monotonic() < float(rest or 0):
                pass
            said = mine.acquire() or "free"
        elif word == "tell":
            said = mine.tell(rest, ["b", "a"]) or "told"
        else:
            said = mine.release() or "released"
    except SweepBusy as busy:
        said = f"busy: {busy}"
    print(said, flush=True)
"""


class Driver:
    """A process with a lock of its own that does as it is told."""

    def __init__(self, place: Path, host: str, backwards: bool) -> None:
        command = [sys.executable, "-c", DRIVER, str(place), host, "backwards" if backwards else ""]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.hear() == "ready"

    def say(self, word: str) -> None:
        assert self.process.stdin
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()

    def hear(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    def do(self, word: str) -> str:
        self.say(word)
        return self.hear()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "sweeps"


@pytest.fixture
def start(place: Path) -> Iterator[Callable[..., Driver]]:
    drivers: list[Driver] = []

    def begin(host: str = HOST, backwards: bool = False) -> Driver:
        drivers.append(Driver(place, host, backwards))
        return drivers[-1]

    yield begin
    for driver in drivers:
        driver.kill()


def mine(place: Path | FileTree, **options: Any) -> SweepLock:
    tree = place if isinstance(place, FileTree) else FileTree(place)
    return SweepLock(tree, "demo", **({"host": HOST, "patience": 0.5} | options))


def document(place: Path) -> dict[str, Any]:
    return json.loads((place / "demo" / "driver.json").read_text())  # type: ignore[no-any-return]


def wait_for(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not happened():
        assert time.monotonic() < end, "waited for 20 s in vain"
        time.sleep(0.01)


def stop(driver: Driver, place: Path) -> None:
    """Stops a driver for now, but not while it writes."""
    with guard(FileTree(place), "demo/.driver.lock", 5.0):
        os.kill(driver.process.pid, signal.SIGSTOP)
        stat = Path(f"/proc/{driver.process.pid}/stat")
        wait_for(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T")


def test_a_second_driver_is_refused_and_told_of_the_first(place: Path, start: Callable[..., Driver]) -> None:
    first = start()
    assert first.do("acquire") == "free"
    assert first.do("tell training") == "told"
    pid = first.process.pid
    said = (
        rf"^sweep demo: process {pid} on node7 works on it since \d{{4}}-\d\d-\d\d \d\d:\d\d \(training\); wait for it"
    )
    with pytest.raises(SweepBusy, match=said) as refused:
        mine(place).acquire()
    assert isinstance(refused.value, DivitaError) and refused.value.exit_code == 2
    assert first.do("release") == "released"
    second = mine(place)
    assert second.acquire() is None
    assert first.do("acquire").startswith(f"busy: sweep demo: process {os.getpid()} on node7")
    second.release()
    assert first.do("acquire") == "free"


def test_a_process_cannot_take_the_lock_twice(tree: FileTree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "SETTLE_S", 0.0)
    first, second = mine(tree), mine(tree)
    first.acquire()
    with pytest.raises(SweepBusy, match=f"process {os.getpid()} on node7"):
        second.acquire()
    second.release()
    assert (mine(tree).read() or {})["process"] == os.getpid()
    first.release()
    assert tree.names("demo") == []
    second.acquire()
    second.release()


def test_the_lock_of_a_killed_driver_is_taken_over_at_once(place: Path, start: Callable[..., Driver]) -> None:
    first = start()
    first.do("acquire")
    first.do("tell training")
    os.kill(first.process.pid, signal.SIGKILL)
    wait_for(lambda: mine(place).read() is None)  # still a zombie, as nobody has waited for it
    second = mine(place, patience=100.0)
    said = second.acquire(watching=lambda _: pytest.fail("a neighbour must not be watched"))
    assert said is not None and said.startswith(f"process {first.process.pid} on node7 (training, since ")
    second.release()


def test_a_process_that_got_the_number_of_a_dead_driver_is_not_taken_for_it(
    place: Path, start: Callable[..., Driver]
) -> None:
    first = start()
    first.do("acquire")
    said = document(place)
    said["holder"]["started"] -= 1
    (place / "demo" / "driver.json").write_text(json.dumps(said | {"token": "the dead one's"}))
    second = mine(place)
    assert second.read() is None
    assert second.acquire() is not None
    second.release()


@pytest.mark.parametrize("torn", [b"", b"\0" * 400, b'{"token": "x"}', b"[]", b'{"holder": 1, "configs": []}'])
def test_a_torn_lock_is_free(place: Path, torn: bytes) -> None:
    (place / "demo").mkdir(parents=True)
    (place / "demo" / "driver.json").write_bytes(torn)
    assert mine(place).read() is None
    second = mine(place)
    assert second.acquire() is None
    second.release()


def test_of_two_that_race_for_a_dead_lock_exactly_one_wins(place: Path, start: Callable[..., Driver]) -> None:
    dead = start()
    dead.do("acquire")
    dead.kill()
    left = (place / "demo" / "driver.json").read_bytes()
    racers = [start(), start()]
    for _ in range(20):
        (place / "demo" / "driver.json").write_bytes(left)
        for racer in racers:
            racer.say(f"acquire {time.monotonic() + 0.05}")
        said = sorted(racer.hear() for racer in racers)
        assert said[0].startswith("busy: sweep demo: process "), said
        assert said[1].startswith(f"process {dead.process.pid} on node7"), said
        for racer in racers:
            racer.do("release")
        assert not (place / "demo" / "driver.json").exists()


def test_a_stopped_driver_of_another_host_is_taken_over_and_learns_it(
    place: Path, start: Callable[..., Driver]
) -> None:
    first = start(host="elsewhere")
    first.do("acquire")
    with pytest.raises(SweepBusy, match=f"process {first.process.pid} on elsewhere"):
        mine(place, patience=20.0).acquire()
    stop(first, place)
    second, told = mine(place), []
    began = time.monotonic()
    said = second.acquire(watching=told.append)
    assert said is not None and said.startswith(f"process {first.process.pid} on elsewhere (planning")
    assert time.monotonic() - began >= 0.5
    assert len(told) == 1 and told[0].startswith("sweep demo: watching for 0.5 s whether process")
    os.kill(first.process.pid, signal.SIGCONT)
    assert first.do("tell training").startswith(f"busy: sweep demo: process {os.getpid()} on node7 works on it")
    first.do("release")
    assert (second.read() or {})["process"] == os.getpid(), "the loser leaves the lock to the winner"
    second.tell("training")
    second.release()


def test_a_driver_that_lost_the_lock_learns_it_from_its_heartbeat_alone(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "BEAT_S", 0.02)
    driver = mine(place)
    driver.acquire("training")
    driver.check()
    said = document(place)
    said["holder"]["process"] = 1234
    (place / "demo" / "driver.json").write_text(json.dumps(said | {"token": "another's"}))

    def is_lost() -> bool:
        try:
            driver.check()
        except SweepBusy as busy:
            return "process 1234 on node7" in str(busy)
        return False

    wait_for(is_lost)
    with monkeypatch.context() as patch, pytest.raises(SweepBusy):
        patch.setattr(FileTree, "read_bytes", lambda *_: pytest.fail("asked the filesystem"))
        driver.check()
    with pytest.raises(SweepBusy):
        driver.tell("training")
    driver.release()
    assert document(place)["token"] == "another's"


def test_a_driver_of_another_host_is_not_looked_for_among_the_processes_here(
    place: Path, start: Callable[..., Driver]
) -> None:
    first = start(host="elsewhere")
    first.do("acquire")
    first.kill()
    second, told = mine(place), []
    assert second.acquire(watching=told.append) is not None
    assert told, "a process of that number may well live there"
    second.release()


def test_a_lock_that_is_given_back_while_it_is_watched_is_taken(place: Path, start: Callable[..., Driver]) -> None:
    first = start(host="elsewhere")
    first.do("acquire")
    second = mine(place, patience=60.0)
    stop(first, place)

    def wake(_: str) -> None:
        os.kill(first.process.pid, signal.SIGCONT)
        first.do("release")

    assert second.acquire(watching=wake) is None
    second.release()


@pytest.mark.parametrize("host", [HOST, "elsewhere"])
def test_a_clock_that_goes_back_changes_nothing(
    place: Path, start: Callable[..., Driver], monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    first = start(host=host, backwards=True)
    first.do("acquire")
    said = document(place)
    wait_for(lambda: document(place)["beat"] > said["beat"])
    assert document(place)["at"] < said["at"]
    for clock in (0.0, time.time() + 1e6):
        monkeypatch.setattr(lock.time, "time", lambda clock=clock: clock)
        with pytest.raises(SweepBusy):
            mine(place, patience=20.0).acquire()
    assert first.do("tell training") == "told"
    first.kill()
    second = mine(place)
    assert second.acquire() is not None
    second.release()


def test_status_sees_what_a_driver_does_until_it_ends(place: Path, start: Callable[..., Driver]) -> None:
    assert mine(place).read() is None
    first = start()
    first.do("acquire")
    first.do("tell training")
    seen = mine(place).read()
    assert seen is not None and seen.pop("since").startswith("20")
    assert seen == {"phase": "training", "configs": ["a", "b"], "host": HOST, "process": first.process.pid}
    first.do("release")
    assert mine(place).read() is None
    first.do("acquire")
    first.kill()
    assert mine(place).read() is None


def test_status_shows_the_driver_of_another_machine_until_it_is_silent_for_long(
    place: Path, start: Callable[..., Driver]
) -> None:
    start(host="elsewhere").do("acquire")
    assert (mine(place).read() or {})["host"] == "elsewhere"
    said = document(place)
    (place / "other").mkdir()
    for at, seen in ((time.time() - 30, True), (time.time() + 30, True), (time.time() - 3600, False)):
        (place / "other" / "driver.json").write_text(json.dumps(said | {"at": at}))
        assert (SweepLock(FileTree(place), "other", host=HOST).read() is not None) is seen


def test_a_word_that_comes_too_soon_is_written_with_the_next_heartbeat(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "BEAT_S", 0.05)
    driver = mine(place)
    driver.acquire("training")
    beat = document(place)["beat"]
    driver.tell("training", ["b", "a"])
    wait_for(lambda: document(place)["configs"] == ["a", "b"])
    assert document(place)["beat"] > beat
    driver.release()


def test_what_cannot_be_written_is_warned_about_and_tried_again(
    place: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(lock, "BEAT_S", 0.02)
    driver = mine(place)
    driver.acquire()
    with caplog.at_level(logging.WARNING):
        (place / "demo").rename(place / "away")
        (place / "demo").write_text("a file in place of the folder")
        wait_for(lambda: "the heartbeat could not be written" in caplog.text)
    driver.tell("training")
    driver.check()
    assert caplog.text.count("the heartbeat could not be written") == 1
    (place / "demo").unlink()
    (place / "away").rename(place / "demo")
    beat = document(place)["beat"]
    wait_for(lambda: document(place)["beat"] > beat + 1)
    assert document(place)["phase"] == "training"
    driver.release()


def test_a_lock_that_cannot_be_given_back_is_only_warned_about(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    driver = mine(place)
    driver.acquire()
    (place / "demo").rename(place / "away")
    (place / "demo").write_text("a file in place of the folder")
    driver.release()
    assert "the lock could not be removed" in caplog.text


def test_where_nothing_can_lock_the_one_that_was_overwritten_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    tree = FileTree(f"memory://{os.getpid()}/sweeps")
    rival = mine(tree)
    monkeypatch.setattr(lock, "SETTLE_S", 0.0)
    rival.acquire("training")
    claim = tree.read_bytes("demo/driver.json")
    rival.release()
    monkeypatch.setattr(lock, "SETTLE_S", 1.0)
    said: list[object] = []

    def drive() -> None:
        try:
            said.append(mine(tree).acquire())
        except SweepBusy as busy:
            said.append(busy)

    thread = threading.Thread(target=drive)
    thread.start()
    wait_for(lambda: tree.exists("demo/driver.json"))
    tree.write_bytes("demo/driver.json", claim)
    thread.join()
    assert "(training)" in str(said[0]) and isinstance(said[0], SweepBusy)


def test_a_lock_must_be_held_to_tell_anything(place: Path) -> None:
    with pytest.raises(RuntimeError, match="must be acquired first"):
        mine(place).tell("training")
