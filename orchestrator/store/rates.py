"""Measured seconds a unit of work, so that a plan can say what a sweep will cost on this machine.

Names that the engine and the plan share: `decode` and `shots` count grid frames, `embed <backbone>` clips or, of a
video backbone, their frames, `train <aggregator>` the clips of all epochs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.store import documents
from orchestrator.store.files import FileTree
from orchestrator.store.guard import PATIENCE_S, guard

_PATH, _GUARD = "rates.json", ".rates.lock"

_FADE = 0.5
"""Weight of all earlier runs against the newest: a machine or a setting that changed is soon what counts."""


@dataclass(frozen=True)
class Work:
    """Seconds that were spent on so many units of one kind of work."""

    seconds: float
    units: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.seconds) and math.isfinite(self.units) and self.seconds >= 0 and self.units > 0):
            raise ValueError(f"work needs seconds >= 0 and units > 0, but got {self.seconds} and {self.units}")


class Rates:
    """One JSON file of running averages, replaced atomically."""

    def __init__(self, tree: FileTree) -> None:
        self._tree = tree

    def load(self) -> dict[str, float]:
        """Seconds a unit by kind of work; a kind that was never measured is not there."""
        return {kind: work.seconds / work.units for kind, work in self._read().items()}

    def record(self, measured: Mapping[str, Work]) -> None:
        """Adds what a run measured; the newer a run, the more it counts. Raises StoreError."""
        if not measured:
            return
        with guard(self._tree, _GUARD, PATIENCE_S):
            known = self._read()
            for kind, work in measured.items():
                old = known.get(kind)
                if old is not None:
                    work = Work(_FADE * old.seconds + work.seconds, _FADE * old.units + work.units)
                known[kind] = work
            rows = {kind: {"seconds": w.seconds, "units": w.units} for kind, w in sorted(known.items())}
            documents.write_document(self._tree, _PATH, rows)

    def _read(self) -> dict[str, Work]:
        rows = documents.read_document(self._tree, _PATH)
        try:
            return {kind: Work(**row) for kind, row in ({} if rows is None else rows).items()}
        except (AttributeError, TypeError, ValueError) as fault:
            documents.set_torn_aside(self._tree, _PATH, fault)
            return {}
