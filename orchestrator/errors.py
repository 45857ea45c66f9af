"""The errors that users see. Each message names the file, the field, what was found and what is allowed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


class DivitaError(Exception):
    """Base of every error that is the user's to mend; the command line prints it without a traceback."""

    exit_code = 2


class InputError(DivitaError):
    """A file or an option that the user gave is wrong.

    `problems` holds every fault that one reading of the input found, so that all are mended at once.
    """

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__("\n".join(self.problems))


class MissingWeights(InputError):
    """Weights that were asked for are not on this machine and can't be fetched."""


class StoreError(DivitaError):
    """The workspace can't be read or written (disk full, read-only, torn beyond repair)."""


class VectorsMissing(StoreError):
    """A set lacks vectors of some trailers; what needs it fails, the rest of the sweep goes on."""


class SweepBusy(DivitaError):
    """Another driver works on the sweep."""


class TooManyFailures(DivitaError):
    """More trailers failed than `--max-failed` allows."""

    exit_code = 1


class TrailerError(Exception):
    """One trailer can't be used; it becomes a row of the failures table and the pass goes on.

    `stage` is one of `read`, `decode`, `shots`, `clips`, `embed`.
    """

    def __init__(self, stage: str, reason: str) -> None:
        self.stage, self.reason = stage, reason
        super().__init__(stage, reason)  # both, so that it survives the way from a worker

    def __str__(self) -> str:
        return f"{self.stage}: {self.reason}"


def some(names: Iterable[str], shown: int = 5, separator: str = ", ") -> str:
    """The first few names and how many more there are, for messages."""
    listed = list(names)
    more = f" and {len(listed) - shown:,} more" if len(listed) > shown else ""
    return separator.join(listed[:shown]) + more
