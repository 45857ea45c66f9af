"""A `divita` command as a process of its own, to be watched, signalled, killed and cleared away."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import psutil

MARK = "DIVITA_TEST_COMMAND"
"""In the environment of a command and of all that it starts, so that its family is known after its death, too."""


class Command:
    """`divita <arguments>` in `cwd`, running; what it says goes to `log`. Leaving the context kills what is left of it.

    `before` are words before the interpreter (`unshare …`), `python` words between it and the module (`-c …`).
    """

    def __init__(
        self,
        *arguments: str | Path,
        cwd: Path,
        log: Path | None = None,
        before: Sequence[str] = (),
        program: Sequence[str] = ("-m", "orchestrator.cli"),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._mark = secrets.token_hex(8)
        self.log = log or cwd / f"{arguments[0]}-{self._mark[:4]}.log"
        self.started = time.monotonic()
        with open(self.log, "w") as file:
            self.process = subprocess.Popen(
                [*before, sys.executable, *program, *map(str, arguments)],
                cwd=cwd,
                stdout=file,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                env=os.environ | {MARK: self._mark} | dict(environment or {}),
            )

    def __enter__(self) -> Command:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        self.clear_away()

    @property
    def said(self) -> str:
        return self.log.read_text(errors="replace")

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def wait(self, within: float = 300.0) -> int:
        """Its exit code. Fails with what it said where it takes longer."""
        try:
            return self.process.wait(within)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {within:.0f} s:\n{self.said}") from None

    def wait_for(self, condition: Callable[[], object], within: float = 180.0) -> None:
        """Until `condition` holds. Fails with what it said where the command ends before, or it takes longer."""
        deadline = time.monotonic() + within
        while not condition():
            assert self.running, f"ended with {self.process.returncode} too early:\n{self.said}"
            assert time.monotonic() < deadline, f"nothing happened in {within:.0f} s:\n{self.said}"
            time.sleep(0.02)

    def kill(self) -> None:
        """SIGKILL to the driver alone: no handler runs, nobody tells its children."""
        if self.running:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait(30)

    def family(self) -> list[psutil.Process]:
        """What the command started, the driver excepted, and that lives: Ray's servers, workers, decoders."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                ours = process.pid != self.process.pid and process.environ().get(MARK) == self._mark
                if ours and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def workers(self, name: str) -> list[psutil.Process]:
        """Ray workers that now run what `name` is in: `ray::ConfigTrainable.train`, `ray::MapWorker(…)`."""
        found = []
        for process in self.family():
            with suppress(psutil.Error):
                line = " ".join(process.cmdline())
                if line.startswith("ray::") and name in line:
                    found.append(process)
        return found

    def left_behind(self, within: float = 30.0) -> list[str]:
        """What still lives `within` seconds after the end of the driver, as text."""
        deadline = time.monotonic() + within
        while (family := self.family()) and time.monotonic() < deadline:
            time.sleep(0.2)
        lines = []
        for process in family:
            with suppress(psutil.Error):
                lines.append(f"process {process.pid}: {' '.join(process.cmdline())[:100]}")
        return lines

    def clear_away(self) -> None:
        """Ends what `left_behind` would name, by force."""
        for process in self.family():
            with suppress(psutil.Error):
                process.kill()
