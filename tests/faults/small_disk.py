"""A disk of a few megabytes, to be filled or made read-only under a command that works on it."""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress
from pathlib import Path
from types import TracebackType

MOUNT = 'mount -t tmpfs -o size=$1 tmpfs "$2" && echo mounted && exec sleep 3600'


class SmallDisk:
    """A tmpfs at `folder`, seen only by commands that begin with `before`. Needs no rights on most systems.

    `path` is the same place as this process sees it. Raises OSError where the system lets nobody mount.
    """

    def __init__(self, folder: Path, size: str) -> None:
        folder.mkdir()
        # A namespace of its own, held by a process that sleeps: the mount goes with it.
        holder = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", MOUNT, "sh", size, str(folder)]
        self._holder = subprocess.Popen(holder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self._holder.stdout and self._holder.stderr
        if self._holder.stdout.readline() != "mounted\n":
            raise OSError(self._holder.communicate()[1])
        self.path = Path(f"/proc/{self._holder.pid}/root{folder}")
        enter = ("nsenter", "--target", str(self._holder.pid), "--user", "--mount", "--preserve-credentials")
        self.before = (*enter, "sh", "-c", f'cd "{folder.parent}" && exec "$@"', "sh")
        self._folder = folder

    def __enter__(self) -> SmallDisk:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._holder.kill()
        self._holder.communicate()

    def remount(self, options: str) -> None:
        """`ro`, `rw`, `size=…`."""
        command = [*self.before, "mount", "-o", f"remount,{options}", str(self._folder)]
        subprocess.run(command, check=True, capture_output=True)

    def fill(self, leave: int) -> None:
        """Takes all but about `leave` bytes away, as another program's file would."""
        with open(self.path / "other", "ab", buffering=0) as file, suppress(OSError):  # others take room meanwhile
            while (room := os.statvfs(self.path)).f_bavail * room.f_frsize > leave:
                file.write(bytes(min(1 << 20, room.f_bavail * room.f_frsize - leave)))

    def clear(self) -> None:
        """The other program's file goes."""
        (self.path / "other").unlink()
