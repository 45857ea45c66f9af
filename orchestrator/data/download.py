"""Fetches what the authors of Trailers12k published: what is missing, if it fits on the disk."""

from __future__ import annotations

import itertools
import os
import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from orchestrator.backbones.download import offline_reason
from orchestrator.data.trailers12k import (
    ZENODO,
    PublishedFile,
    choose_files,
    nearest_folder,
    size_text,
)
from orchestrator.data.transfer import Patience, Transfer, TransferError, fetch, is_there, remote_size
from orchestrator.errors import InputError, StoreError
from orchestrator.progress import Progress, Step
from orchestrator.store.files import map_files

UNPACKED = 1.2
"""Disk that an unpacked representation may take, as a share of its tar: the arrays in it are compressed already."""

MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Downloaded:
    """Files that this call fetched and those that were there, checked before or now."""

    fetched: tuple[Path, ...]
    kept: tuple[Path, ...]


def download_trailers12k(
    directory: str | os.PathLike[str],
    *,
    files: tuple[str, ...] | list[str] = (),
    url: str = ZENODO,
    progress: Progress | None = None,
    patience: Patience | None = None,
) -> Downloaded:
    """Fetches published files into `directory`, all seven or those that `files` names; about 40 GB in all.

    Files that are there are not fetched again, a part of one is continued, every MD5 is checked. Says first how much
    will come. Raises InputError (unknown name), StoreError (no room), TransferError (offline, or after all others came,
    files that could not be had).
    """
    folder, progress, patience = Path(directory), progress or Progress(), patience or Patience()
    jobs = [(file, Transfer(file.url(url), folder / file.file, file.md5)) for file in choose_files(files)]
    kept = [job for job in jobs if is_there(job[1], progress.say)]
    todo = [job for job in jobs if job not in kept]
    if todo:
        sizes = _sizes(todo, patience)
        _check_room(folder, todo, sizes, progress)
        _fetch_all(todo, sizes, progress, patience)
    return Downloaded(tuple(t.target for _, t in todo), tuple(t.target for _, t in kept))


def _sizes(todo: list[tuple[PublishedFile, Transfer]], patience: Patience) -> list[int | None]:
    """Bytes of each file; asked before anything is fetched, so that a machine without network is told at once."""
    if reason := offline_reason():
        raise TransferError(
            f"{_names(todo)}: {reason}; fetch them elsewhere and put them into {todo[0][1].target.parent}"
        )

    def ask(job: tuple[PublishedFile, Transfer]) -> int | OSError | None:
        try:
            return remote_size(job[1].url, patience)
        except OSError as error:
            return error

    answers = map_files(ask, todo, threads=len(todo))
    faults = [(t, a) for (_, t), a in zip(todo, answers, strict=True) if isinstance(a, OSError)]
    if len(faults) == len(todo):  # one file that is not there stops no other: fetching will name it
        told = [f"{t.target.name}: {t.url}: {fault}" for t, fault in faults]
        advice = (
            f"files that were fetched elsewhere may be put into {todo[0][1].target.parent}; this command checks them"
        )
        raise TransferError("\n".join([*told, advice]))
    return [None if isinstance(answer, OSError) else answer for answer in answers]


def _check_room(
    folder: Path, todo: list[tuple[PublishedFile, Transfer]], sizes: list[int | None], progress: Progress
) -> None:
    coming = sum(max(0, size - t.arrived) for (_, t), size in zip(todo, sizes, strict=True) if size)
    unpacked = round(
        sum(
            UNPACKED * size
            for (file, t), size in zip(todo, sizes, strict=True)
            if size and file.backbone and not t.target.with_name(file.name).is_dir()
        )
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: can't be made: {error.strerror or error}") from error
    free = shutil.disk_usage(nearest_folder(folder)).free
    unknown = [t.target.name for (_, t), size in zip(todo, sizes, strict=True) if size is None]
    count = f"{len(todo)} file{'s' if len(todo) > 1 else ''}"
    progress.say(f"will fetch {count}, {size_text(coming)}, into {folder} (free: {size_text(free)})")
    if unpacked:
        progress.say(f"import unpacks them beside: about {size_text(unpacked)} more")
    if unknown:
        progress.say(f"size not told by the server: {', '.join(unknown)}")
    if coming + unpacked > free:
        more = f" and about {size_text(unpacked)} to unpack" if unpacked else ""
        raise StoreError(
            f"{folder}: free disk: {size_text(free)} is less than the {size_text(coming)} to fetch{more}; "
            "free some, choose another folder, or fewer --files"
        )


def _fetch_all(
    todo: list[tuple[PublishedFile, Transfer]], sizes: list[int | None], progress: Progress, patience: Patience
) -> None:
    faults: list[str] = []
    for (file, transfer), size in zip(todo, sizes, strict=True):
        with progress.step(f"fetching {file.file}", -(-(size or 0) // MEGABYTE), "MB") as step:
            counter = _Megabytes(step)
            counter.add(transfer.arrived)
            try:
                fetch(transfer, counter.add, step.note, patience, partial(_put_labels_aside, file, transfer, step))
            except TransferError as error:
                step.note(f"{file.file}: failed, going on with the others")
                faults.append(str(error))
    if faults:
        raise TransferError("\n".join(faults))


def _put_labels_aside(file: PublishedFile, transfer: Transfer, step: Step) -> None:
    """A labels file that differs from the published one may be someone's work, such as one with a path column.

    It becomes `.old`, or `.old.1` and so on where earlier ones are.
    """
    if file.backbone is None and os.path.lexists(transfer.target):
        first = transfer.target.with_name(f"{transfer.target.name}.old")
        later = (first.with_name(f"{first.name}.{i}") for i in itertools.count(1))
        aside = next(path for path in itertools.chain([first], later) if not os.path.lexists(path))
        os.rename(transfer.target, aside)
        step.note(f"{file.file}: differs from the published one and is kept as {aside.name}")


def _names(todo: list[tuple[PublishedFile, Transfer]]) -> str:
    return ", ".join(t.target.name for _, t in todo)


class _Megabytes:
    """Counts bytes and tells a step whole megabytes, forth and back."""

    def __init__(self, step: Step) -> None:
        self._step, self._bytes, self._told = step, 0, 0

    def add(self, count: int) -> None:
        self._bytes += count
        if (whole := self._bytes // MEGABYTE) != self._told:
            self._step.advance(whole - self._told)
            self._told = whole
