"""Unpacks a published representation beside its tar: whole or not at all, and nothing outside its folder."""

from __future__ import annotations

import errno
import os
import shutil
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from orchestrator.data.download import MEGABYTE, UNPACKED
from orchestrator.data.trailers12k import size_text
from orchestrator.errors import InputError, StoreError
from orchestrator.progress import Progress, Step

MULTIPLE, ALLOWANCE = 20, 64 * MEGABYTE
"""What a tar may unpack to: so many times its size and so much more. The published ones hold compressed arrays."""

MARGIN = 64 * MEGABYTE
"""Disk that is left free for others."""


def unpack_group(archive: Path, folder: Path, progress: Progress) -> None:
    """The Zarr group in `archive` as `folder`, which must not be there yet.

    Raises InputError (damaged, no group in it, far larger than it looks), StoreError (no room); nothing is then left
    behind.
    """
    size = archive.stat().st_size
    needed, free = size * UNPACKED, shutil.disk_usage(folder.parent).free
    if needed + MARGIN > free:
        raise StoreError(
            f"{archive}: free disk: unpacking takes about {size_text(needed)} and {size_text(free)} is free, "
            f"of which {size_text(MARGIN)} are left to others"
        )
    aside = folder.with_name(f".{folder.name}.unpacking")
    shutil.rmtree(aside, ignore_errors=True)  # of a process that was killed
    try:
        aside.mkdir()
        with (
            open(archive, "rb") as file,
            progress.step(f"unpacking {archive.name}", -(-size // MEGABYTE), "MB") as step,
            tarfile.open(fileobj=file) as tar,
        ):
            tar.extractall(aside, members=_counted(tar, file, step, _Room(archive, folder)), filter="data")
        os.replace(_group_in(aside, archive), folder)
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
            raise StoreError(f"{folder}: can't be unpacked: {error.strerror}") from error
        raise InputError(
            f"{archive}: can't be unpacked: {error}; `divita trailers12k download` checks it and fetches it again"
        ) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


class _Room:
    """Stops an unpacking before it fills the disk: how much will come out is known only member by member."""

    def __init__(self, archive: Path, folder: Path) -> None:
        self._archive, self._folder, self._bytes = archive, folder, 0
        self._limit = MULTIPLE * archive.stat().st_size + ALLOWANCE

    def take(self, size: int) -> None:
        """Room for one more member, else InputError or StoreError."""
        self._bytes += size
        if self._bytes > self._limit:
            raise InputError(
                f"{self._archive}: unpacks to more than {size_text(self._limit)}, far more than a published file does; "
                "`divita trailers12k download` checks it and fetches it again"
            )
        free = shutil.disk_usage(self._folder.parent).free
        if size + MARGIN > free:
            raise StoreError(
                f"{self._archive}: free disk: {size_text(self._bytes - size)} are unpacked, {size_text(size)} come "
                f"next and {size_text(free)} is free, of which {size_text(MARGIN)} are left to others"
            )


def _counted(tar: tarfile.TarFile, file: BinaryIO, step: Step, room: _Room) -> Iterator[tarfile.TarInfo]:
    told = 0
    for member in tar:
        room.take(member.size)
        yield member
        if (whole := file.tell() // MEGABYTE) != told:
            step.advance(whole - told)
            told = whole


def _group_in(folder: Path, archive: Path) -> Path:
    """The folder that is a Zarr v2 group: the unpacked one, or the first below it."""
    for place, folders, files in os.walk(folder):
        if ".zgroup" in files:
            return Path(place)
        folders.sort()
    raise InputError(f"{archive}: holds no Zarr v2 group (no .zgroup in it)")
