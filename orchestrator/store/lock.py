"""The lock of a sweep: one driver works on it at a time, and `divita status` sees what it does.

One small document, `sweeps/<name>/driver.json`, is both. Its holder rewrites it every few seconds with a counter. A
holder on this machine is dead when its process is; one on another machine when the counter stands still while it is
watched. No decision compares clocks.
"""

from __future__ import annotations

import json
import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from orchestrator.errors import SweepBusy
from orchestrator.specs import plain
from orchestrator.store import documents
from orchestrator.store.files import FileTree
from orchestrator.store.guard import guard
from orchestrator.store.holders import Holder

BEAT_S = 5.0
"""Seconds between two heartbeats."""

PATIENCE_S = 30.0
"""Seconds without a heartbeat after which the driver of another machine is taken for dead."""

EVERY_S = 2.0
"""Least seconds between two writes by `tell`, unless the phase changes."""

STALE_S = 60.0
"""Age at which status no longer shows the driver of another machine."""

SETTLE_S = 1.0
"""Seconds after which a lock is read back where the filesystem can't decide between two writers."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Claim:
    """What the document says. `token` tells two claims of one process apart, `beat` counts writes, `at` is the time of
    the last one, for display, `since` is in ISO 8601, `configs` are the keys of those in training."""

    token: str
    holder: Holder
    since: str
    phase: str
    configs: tuple[str, ...] = ()
    beat: int = 0
    at: float = 0.0

    def __str__(self) -> str:
        return f"{self.worker} ({self.phase}, since {self.started})"

    @property
    def worker(self) -> str:
        return f"process {self.holder.process} on {self.holder.host}"

    @property
    def started(self) -> str:
        """`since` in the reader's time zone."""
        return datetime.fromisoformat(self.since).astimezone().strftime("%Y-%m-%d %H:%M")

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Claim:
        """The inverse of `specs.plain`. Raises KeyError, TypeError or ValueError."""
        nested = {"holder": Holder.from_json(values["holder"]), "configs": tuple(values["configs"])}
        found = cls(**(values | nested))
        datetime.fromisoformat(found.since)
        return found


class SweepLock:
    """The lock of one sweep, for one driver, from `acquire` to `release`; `read` needs no lock.

    On a local or network filesystem with file locks only one driver can take it. On an object store two that start
    within a second may both believe so for a moment; the one that was overwritten learns it with its next heartbeat.
    """

    def __init__(self, tree: FileTree, sweep: str, *, patience: float = PATIENCE_S, host: str | None = None) -> None:
        self._tree, self._sweep, self._path = tree, sweep, f"{sweep}/driver.json"
        self._patience, self._host = patience, host
        self._mutex = threading.Lock()
        self._mine: Claim | None = None
        self._rival: Claim | None = None
        self._told = 0.0
        self._warned = False
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def acquire(self, phase: str = "planning", *, watching: Callable[[str], None] | None = None) -> str | None:
        """Takes the lock; says whose it was when it was left by a dead driver, else None.

        `watching` is told once where another machine's driver must be watched for a while. Raises SweepBusy that names
        the driver at work, StoreError.
        """
        now = datetime.now(UTC).isoformat(timespec="seconds")
        mine = Claim(secrets.token_hex(8), Holder.of_this_process(self._host), now, phase, at=time.time())
        watched: Claim | None = None
        while True:
            there, took = self._take(mine, watched)
            if took:
                break
            if there is None:
                continue  # it was given back this moment
            if watched is not None or there.holder.is_neighbour_of(mine.holder):
                raise self._busy(there)
            if watching is not None:
                watching(f"sweep {self._sweep}: watching for {self._patience:g} s whether {there} still lives")
            self._watch(there)
            watched = there
        self._mine, self._rival, self._told, self._warned = mine, None, time.monotonic(), False
        self._over.clear()
        self._thread = threading.Thread(target=self._beat, name=f"lock of {self._sweep}", daemon=True)
        self._thread.start()
        return None if there is None else str(there)

    def tell(self, phase: str, configs: Iterable[str] = ()) -> None:
        """Says what runs now. Raises SweepBusy when another driver has taken the lock over.

        What can't be written is only logged, and said again with the next heartbeat: a hiccup of a filesystem must not
        end a sweep of days.
        """
        with self._mutex:
            if self._mine is None:
                raise RuntimeError(f"sweep {self._sweep}: the lock must be acquired first")
            if self._rival is not None:
                raise self._busy(self._rival)
            changed = phase != self._mine.phase
            self._mine = replace(self._mine, phase=phase, configs=tuple(sorted(configs)))
            if changed or time.monotonic() - self._told >= EVERY_S:
                self._try_to_renew(self._mine)
                self._told = time.monotonic()

    def check(self) -> None:
        """Raises SweepBusy when another driver has taken the lock over, as the heartbeat notices; reads no file."""
        if self._rival is not None:
            raise self._busy(self._rival)

    def release(self) -> None:
        """Gives the lock back if it is still ours. What goes wrong is only logged: a dead driver's lock is free."""
        if self._mine is None:
            return
        self._over.set()
        if self._thread is not None:
            self._thread.join(BEAT_S)
        try:
            with self._guard():
                there = self._load()
                if there is not None and there.token == self._mine.token:
                    self._tree.remove(self._path)
        except Exception as fault:  # whatever a remote filesystem raises
            log.warning("%s: the lock could not be removed: %s", self._tree.where(self._path), fault)
        self._mine = None

    def read(self) -> dict[str, Any] | None:
        """Who works on the sweep: phase, configs, host, process, since; None where nobody does. Raises StoreError.

        For the driver of another machine by the age of its last word, which two clocks may get wrong.
        """
        there = self._load()
        if there is None:
            return None
        if there.holder.is_neighbour_of(Holder.of_this_process(self._host)):
            lives = there.holder.lives()
        else:
            lives = abs(time.time() - there.at) < STALE_S
        said = {"phase": there.phase, "configs": list(there.configs), "since": there.since}
        return said | {"host": there.holder.host, "process": there.holder.process} if lives else None

    def _beat(self) -> None:
        """Renews the claim until the end, or until another driver has it, of which `check` and `tell` then speak."""
        while not self._over.wait(BEAT_S):
            try:
                with self._mutex:
                    if self._mine is not None:
                        self._try_to_renew(self._mine)
            except SweepBusy:
                return

    def _try_to_renew(self, mine: Claim) -> None:
        """Renews the claim; warns once in a row of tries that fail. Raises SweepBusy."""
        try:
            self._renew(mine)
            self._warned = False
        except SweepBusy:
            raise
        except Exception as fault:  # whatever a remote filesystem raises; the next beat may go well
            if not self._warned:
                log.warning("%s: the heartbeat could not be written: %s", self._tree.where(self._path), fault)
            self._warned = True

    def _take(self, mine: Claim, dead: Claim | None) -> tuple[Claim | None, bool]:
        """Puts `mine` in place where there is no claim, or that of a dead driver; what was or is there, and whether."""
        with self._guard() as alone:
            there = self._load()
            if there is not None and there != dead:
                near = there.holder.is_neighbour_of(mine.holder)
                if not near or there.holder.lives():
                    return there, False
            self._write(mine)
        if alone:
            return there, True
        time.sleep(SETTLE_S)
        left = self._load()
        return (there, True) if left is not None and left.token == mine.token else (left, False)

    def _renew(self, mine: Claim) -> None:
        with self._guard():
            if self._over.is_set():
                return
            there = self._load()
            if there is not None and there.token != mine.token:
                self._rival = there
                raise self._busy(there)
            self._mine = replace(mine, beat=mine.beat + 1, at=time.time())
            self._write(self._mine)

    def _watch(self, claim: Claim) -> None:
        """Waits until the document is another, at most for `patience` seconds."""
        start = time.monotonic()
        while time.monotonic() - start < self._patience and self._load() == claim:
            time.sleep(min(0.5, self._patience / 10))

    def _busy(self, claim: Claim) -> SweepBusy:
        said = f"{claim.worker} works on it since {claim.started} ({claim.phase})"
        return SweepBusy(f"sweep {self._sweep}: {said}; wait for it, or stop it first")

    def _guard(self) -> AbstractContextManager[bool]:
        return guard(self._tree, f"{self._sweep}/.driver.lock", self._patience)

    def _write(self, claim: Claim) -> None:
        text = documents.encode(plain(claim)) + "\n"
        self._tree.write_bytes(self._path, text.encode(), durable=False)

    def _load(self) -> Claim | None:
        try:
            return Claim.from_json(json.loads(self._tree.read_bytes(self._path)))
        except FileNotFoundError:
            return None
        except (KeyError, TypeError, ValueError):
            return None  # torn by a power cut, which its driver has not survived
