"""Shots of every trailer, kept once for all sweeps, a folder of Parquet parts a detector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from orchestrator.store.files import FileTree, map_files
from orchestrator.store.parts import PartTable


@dataclass(frozen=True, eq=False)
class ShotRow:
    """One trailer's shots: int32 (S, 2) half-open runs of grid frames, in order, none overlapping.

    `n_frames` is the trailer's number of grid frames, so that its clips can be counted without decoding it.
    """

    mid: str
    digest: str
    n_frames: int
    shots: np.ndarray

    def __post_init__(self) -> None:
        if self.shots.ndim != 2 or self.shots.shape[1] != 2 or self.shots.dtype != np.int32:
            raise ValueError(f"{self.mid}: shots must be int32 (S, 2), but got {self.shots.dtype} {self.shots.shape}")
        starts, ends = self.shots[:, 0], self.shots[:, 1]
        edges = self.shots.reshape(-1)
        if (starts >= ends).any() or (np.diff(edges) < 0).any() or (len(edges) and not 0 <= edges[0] <= edges[-1]):
            raise ValueError(f"{self.mid}: shots must be in order and not overlap")
        if len(edges) and edges[-1] > self.n_frames:
            raise ValueError(f"{self.mid}: the last shot ends at {edges[-1]}, after frame {self.n_frames}")


class ShotStore:
    """Shots by the key of their detector. Any number of processes may write and read at once."""

    def __init__(self, tree: FileTree) -> None:
        self._parts = PartTable(tree, "shots", "n_frames", {"shots": pa.list_(pa.int32())})

    def keys(self) -> list[str]:
        """Keys of all detectors whose shots are there."""
        return self._parts.keys()

    def write_spec(self, key: str, identity: Mapping[str, Any]) -> None:
        """Puts what the detector's key stands for beside its parts, as readable JSON."""
        self._parts.write_spec(key, identity)

    def spec(self, key: str) -> dict[str, Any] | None:
        """What the detector's key stands for, or None."""
        return self._parts.spec(key)

    def write_part(self, key: str, rows: Sequence[ShotRow]) -> str | None:
        """Adds rows as one part, whole or not at all, and returns its name; None when there are no rows."""
        if not rows:
            return None
        table = pa.table(
            {
                "mid": pa.array([row.mid for row in rows], pa.string()),
                "digest": pa.array([row.digest for row in rows], pa.string()),
                "n_frames": pa.array([row.n_frames for row in rows], pa.int32()),
                "shots": pa.array([row.shots.reshape(-1) for row in rows], pa.list_(pa.int32())),
            }
        )
        return self._parts.write(key, table)

    def digests(self, key: str) -> dict[str, frozenset[str]]:
        """Digests of the videos whose shots are there, by trailer. Torn parts are set aside with a warning."""
        return self._parts.digests(key)

    def read(self, key: str) -> dict[tuple[str, str], ShotRow]:
        """All shots by (mid, digest); of equal rows the oldest. Torn parts are set aside with a warning."""
        found: dict[tuple[str, str], ShotRow] = {}
        for rows in map_files(lambda name: self._parts.read(key, name, _read_rows), self._parts.names(key)):
            for row in rows or ():
                found.setdefault((row.mid, row.digest), row)
        return found


def _read_rows(part: pq.ParquetFile) -> list[ShotRow]:
    table = part.read(use_threads=False)
    return [
        ShotRow(row["mid"], row["digest"], row["n_frames"], np.array(row["shots"], np.int32).reshape(-1, 2))
        for row in table.to_pylist()
    ]
