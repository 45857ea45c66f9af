"""The failures table: trailers that could not be used, at which stage and why."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace

from orchestrator.errors import TooManyFailures
from orchestrator.store import documents
from orchestrator.store.files import FileTree
from orchestrator.store.guard import PATIENCE_S, guard

STAGES = ("read", "decode", "shots", "clips", "embed")

_PATH, _GUARD = "failures.json", ".failures.lock"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Failure:
    """One trailer that failed: `digest` of its video (None when the file could not be read at all), `stage`, `reason`.

    `sets` are the keys of the embedding sets that lack the trailer for it, `path` the file as it was opened.
    """

    mid: str
    digest: str | None
    stage: str
    reason: str
    sets: tuple[str, ...]
    path: str | None = None

    def __post_init__(self) -> None:
        if self.stage not in STAGES:
            raise ValueError(f"stage: {self.stage!r} is not one of {', '.join(STAGES)}")
        object.__setattr__(self, "sets", tuple(self.sets))


def check_failures(failures: Sequence[Failure], most: int) -> None:
    """Raises TooManyFailures where more than `most` trailers are among them, whichever pass they failed in."""
    failed = len({f.mid for f in failures})
    if failed > most:
        last = failures[-1]
        raise TooManyFailures(
            f"{failed} trailers failed, more than --max-failed {most} allows; "
            f"the last: {last.mid}: {last.stage}: {last.reason}"
        )


class FailureTable:
    """One JSON file, replaced atomically. The drivers of several sweeps may write it, one at a time.

    Where the filesystem has no locks, as on an object store, two that write at one moment may lose rows: those trailers
    are tried again.
    """

    def __init__(self, tree: FileTree) -> None:
        self._tree = tree

    def load(self) -> list[Failure]:
        """All failures, by trailer; empty when there are none or the file is torn, which is warned about."""
        document = documents.read_document(self._tree, _PATH)
        try:
            return [] if document is None else [_failure(row) for row in document["failures"]]
        except (TypeError, KeyError, ValueError) as fault:
            documents.set_torn_aside(self._tree, _PATH, fault)
            return []

    def failed(self, key: str, digests: Mapping[str, str | None]) -> dict[str, Failure]:
        """Failures that hold for embedding set `key` and the files as they are now, by trailer.

        `digests` are the current ones of the trailers asked about, None for a file that can't be read; a changed
        file is tried again.
        """
        return {f.mid: f for f in self.load() if key in f.sets and f.mid in digests and digests[f.mid] == f.digest}

    def record(self, failures: Iterable[Failure]) -> None:
        """Adds failures; one that is known at that stage gets the new reason and covers the sets of both.

        Raises StoreError.
        """
        new = list(failures)
        if not new:
            return
        with guard(self._tree, _GUARD, PATIENCE_S):
            table = {_identity(f): f for f in self.load()}
            for failure in new:
                known = table.get(_identity(failure))
                sets = dict.fromkeys((*known.sets, *failure.sets) if known else failure.sets)
                table[_identity(failure)] = replace(failure, sets=tuple(sets))
            self._write(table.values())

    def forget(self, mids: Collection[str], sets: Collection[str] | None = None) -> None:
        """Removes failures of trailers that are to be tried again or went well; `sets` limits it to these sets.

        Raises StoreError.
        """
        table = self.load()
        if _without(table, mids, sets) == table:
            return  # as after nearly every trailer: no lock is needed to find nothing
        with guard(self._tree, _GUARD, PATIENCE_S):
            self._write(_without(self.load(), mids, sets))

    def _write(self, failures: Iterable[Failure]) -> None:
        rows = sorted(failures, key=lambda f: (f.mid, f.digest or "", STAGES.index(f.stage)))
        documents.write_document(self._tree, _PATH, {"failures": [asdict(row) for row in rows]})


def _without(table: Sequence[Failure], mids: Collection[str], sets: Collection[str] | None) -> list[Failure]:
    gone, keys = set(mids), None if sets is None else set(sets)
    left: list[Failure] = []
    for failure in table:
        if failure.mid in gone:
            failure = replace(failure, sets=tuple(k for k in failure.sets if keys is not None and k not in keys))
        if failure.sets or failure.mid not in gone:
            left.append(failure)
    return left


def _identity(failure: Failure) -> tuple[str, str | None, str]:
    return failure.mid, failure.digest, failure.stage


def _failure(row: Mapping[str, object]) -> Failure:
    names = {f.name for f in fields(Failure)}
    if set(row) != names:
        raise ValueError(f"a failure has the fields {', '.join(sorted(names))}, but got {', '.join(sorted(row))}")
    return Failure(**row)  # type: ignore[arg-type]
