"""Who holds a sweep: a process of some machine, and whether it still lives."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_BOOT = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Holder:
    """A process, told from one that got its number later.

    `machine` stands for this boot of a machine and this container in it, in which process numbers mean the same;
    `started` is the process's start in the machine's ticks since boot. Both come from Linux's /proc.
    """

    host: str
    machine: str
    process: int
    started: int

    @classmethod
    def of_this_process(cls, host: str | None = None) -> Holder:
        """This process; `host` is what others see as its machine's name."""
        process = os.getpid()
        state = _state(process)
        machine = f"{_BOOT.read_text().strip()} {os.readlink('/proc/self/ns/pid')}"
        return cls(host or socket.gethostname(), machine, process, state.started if state else 0)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Holder:
        """The inverse of `asdict`. Raises KeyError or TypeError."""
        found = cls(**values)
        if not isinstance(found.process, int) or not isinstance(found.started, int):
            raise TypeError(f"process: {found.process!r} and started: {found.started!r} must be whole numbers")
        return found

    def is_neighbour_of(self, other: Holder) -> bool:
        """Whether each can see the other's process, so that it is known at once whether it lives.

        A machine that was started anew, or another container of one name, is a stranger: it could as well be a
        second machine that has the name.
        """
        return (self.host, self.machine) == (other.host, other.machine)

    def lives(self) -> bool:
        """Whether the process is there and is still the same one; to be asked of neighbours only."""
        state = _state(self.process)
        if state is None:
            return _is_hidden(self.process)
        return state.letter not in "ZX" and state.started == self.started  # a zombie works no more


@dataclass(frozen=True)
class _State:
    letter: str
    started: int


def _state(process: int) -> _State | None:
    """Fields 3 and 22 of a process's stat, see proc(5); None where none is seen."""
    try:
        stat = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()  # the command before them may hold blanks and brackets
    return _State(fields[0], int(fields[19]))


def _is_hidden(process: int) -> bool:
    """Whether another user has a process of that number: /proc may be mounted so that only one's own are seen."""
    try:
        os.kill(process, 0)
    except PermissionError:
        return True
    except OSError:
        pass
    return False
