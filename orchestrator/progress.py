"""Progress of long steps: a bar with rate and time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Protocol


class Step(Protocol):
    """A running step: `advance` counts work done, `note` prints a line that stays."""

    def advance(self, count: int = 1, info: str = "") -> None: ...

    def note(self, line: str) -> None: ...


class Progress:
    """Silent; the base of the two that show something."""

    @contextmanager
    def step(self, title: str, total: int, unit: str) -> Iterator[Step]:
        yield _Silent()

    def say(self, line: str) -> None:
        """A line between steps."""


class _Silent:
    def advance(self, count: int = 1, info: str = "") -> None:
        return

    def note(self, line: str) -> None:
        return


class PlainProgress(Progress):
    """Lines for logs: at the start, then at most one every `every_s` seconds, and at the end."""

    def __init__(self, out: IO[str] | None = None, every_s: float = 10.0) -> None:
        self._out, self._every_s = out or sys.stderr, every_s

    @contextmanager
    def step(self, title: str, total: int, unit: str) -> Iterator[Step]:
        step = _PlainStep(self, title, total, unit, self._every_s)
        self.say(f"{title}: {total} {unit}")
        yield step
        step.finish()

    def say(self, line: str) -> None:
        print(line, file=self._out, flush=True)


class _PlainStep:
    def __init__(self, progress: PlainProgress, title: str, total: int, unit: str, every_s: float) -> None:
        self._progress, self._title, self._total, self._unit, self._every_s = progress, title, total, unit, every_s
        self._done, self._start, self._shown = 0, time.monotonic(), time.monotonic()

    def advance(self, count: int = 1, info: str = "") -> None:
        self._done += count
        if time.monotonic() - self._shown >= self._every_s:
            self._shown = time.monotonic()
            self._progress.say(self._line(info))

    def note(self, line: str) -> None:
        self._progress.say(line)

    def finish(self) -> None:
        self._progress.say(f"{self._title}: {self._done} of {self._total} {self._unit} in {self._elapsed():.0f} s")

    def _elapsed(self) -> float:
        return max(time.monotonic() - self._start, 1e-9)

    def _line(self, info: str) -> str:
        rate = self._done / self._elapsed()
        left = (self._total - self._done) / rate if rate else 0.0
        tail = f", {info}" if info else ""
        return f"{self._title}: {self._done} of {self._total} {self._unit}, {rate:.2g}/s, about {left:.0f} s left{tail}"


class BarProgress(Progress):
    """Bars by rich, on standard error, for a terminal."""

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(stderr=True)

    @contextmanager
    def step(self, title: str, total: int, unit: str) -> Iterator[Step]:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(unit),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[info]}"),
        )
        with Bars(*columns, console=self._console, transient=False) as bars:
            yield _BarStep(bars, bars.add_task(title, total=total, info="", rate=""), self._console)

    def say(self, line: str) -> None:
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)


class _BarStep:
    def __init__(self, bars, task, console) -> None:  # type: ignore[no-untyped-def]
        self._bars, self._task, self._console = bars, task, console
        self._done, self._start = 0, time.monotonic()

    def advance(self, count: int = 1, info: str = "") -> None:
        self._done += count
        rate = self._done / max(time.monotonic() - self._start, 1e-9)
        self._bars.update(self._task, advance=count, info=info, rate=f"{rate:.2g}/s")

    def note(self, line: str) -> None:
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)


def shown_progress() -> Progress:
    """Bars on a terminal, lines elsewhere."""
    return BarProgress() if sys.stderr.isatty() else PlainProgress()
