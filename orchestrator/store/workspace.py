"""The workspace: all that outlives a command, in one folder or under one URI.

workspace.json        which layout this is
embeddings/<key>/     spec.json and part-*.parquet
shots/<key>/          the same, a folder a detector
ledger/               <trial key>.json and .npz; failed/<trial key>.json
                      pruned/<identity of a search>/<trial key>.json
checkpoints/          <name>.ckpt, a file a config in training
sweeps/<name>/        sweep.json, manifest-<digest>.csv, and driver.json while a driver works on it
                      searches/<table>/<identity>/<number>-<config key>.json, what a search drew, and exhausted.json
                      once it has drawn all there is
failures.json  video_digests.json  rates.json
mlflow.db             MLflow's own, unless another tracking URI is given
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from orchestrator.errors import InputError, StoreError
from orchestrator.store import documents
from orchestrator.store.checkpoints import Checkpoints
from orchestrator.store.digests import VideoDigests
from orchestrator.store.embeddings import EmbeddingStore
from orchestrator.store.failures import FailureTable
from orchestrator.store.files import FileTree
from orchestrator.store.ledger import Ledger
from orchestrator.store.lock import SweepLock
from orchestrator.store.rates import Rates
from orchestrator.store.shots import ShotStore
from orchestrator.store.sweeps import SweepStore

FORMAT = 2
"""Raised by hand when an older version could no longer read the workspace."""

_MARKER = "workspace.json"


class Workspace:
    """The rooms of a workspace; opening one makes no file. Picklable, so that workers open the same.

    Raises StoreError when it was made by a version whose layout this one does not know.
    """

    def __init__(self, uri: str | os.PathLike[str]) -> None:
        self.root = FileTree(uri)
        self._check_format()

    def __reduce__(self) -> tuple[Any, ...]:
        return Workspace, (self.uri,)

    def __repr__(self) -> str:
        return f"Workspace({self.uri!r})"

    @property
    def uri(self) -> str:
        """The absolute local path, or the URI."""
        return self.root.where()

    @cached_property
    def embeddings(self) -> EmbeddingStore:
        return EmbeddingStore(self.root.subtree("embeddings"))

    @cached_property
    def shots(self) -> ShotStore:
        return ShotStore(self.root.subtree("shots"))

    @cached_property
    def ledger(self) -> Ledger:
        return Ledger(self.root.subtree("ledger"))

    @cached_property
    def checkpoints(self) -> Checkpoints:
        return Checkpoints(self.root.subtree("checkpoints"))

    @cached_property
    def sweeps(self) -> SweepStore:
        return SweepStore(self.root.subtree("sweeps"))

    def lock(self, sweep: str) -> SweepLock:
        """Who works on a sweep; to be taken before anything of it is changed."""
        return SweepLock(self.root.subtree("sweeps"), sweep)

    @cached_property
    def failures(self) -> FailureTable:
        return FailureTable(self.root)

    @cached_property
    def digests(self) -> VideoDigests:
        return VideoDigests(self.root)

    @cached_property
    def rates(self) -> Rates:
        return Rates(self.root)

    @property
    def local(self) -> Path:
        """The folder on this machine. Raises InputError when the workspace is remote."""
        if self.root.local is None:
            raise InputError(f"--workspace: {self.uri} is not on this machine, but this needs a local folder")
        return self.root.local

    @property
    def mlflow_uri(self) -> str:
        """The tracking URI of the workspace's own SQLite file. Raises InputError when the workspace is remote."""
        if self.root.local is None:
            raise InputError(
                f"--workspace: {self.uri} is not on this machine and can't hold MLflow's SQLite file; "
                "give --tracking-uri (a running MLflow server, or sqlite:///path/of/a/local/mlflow.db)"
            )
        return f"sqlite:///{self.root.local / 'mlflow.db'}"

    def check_writable(self) -> None:
        """Makes the workspace where it is not there yet and proves that it can be written.

        To be called before work is done. Raises StoreError that says what to do. Also removes what writers that
        were killed more than an hour ago left behind, and torn checkpoints.
        """
        self.root.check_writable()
        if documents.read_document(self.root, _MARKER) is None:
            documents.write_document(self.root, _MARKER, {"format": FORMAT, "program": "divita-orchestrator"})
        if self.root.local is not None:  # elsewhere `clean` does nothing, and listing all folders takes long
            for folder in self._folders():
                self.root.clean(folder)
        self.checkpoints.clean()

    def _folders(self) -> Iterator[str]:
        """Folders in which files are written, but for checkpoints."""
        yield from ("", "ledger", "ledger/failed")
        for room in ("embeddings", "shots", "sweeps", "ledger/pruned"):
            yield from self._inside(room)
        for sweep in self._inside("sweeps"):
            for table in self._inside(f"{sweep}/searches"):
                yield from self._inside(table)

    def _inside(self, folder: str) -> list[str]:
        return [f"{folder}/{name}" for name in self.root.folders(folder)]

    def _check_format(self) -> None:
        marker = documents.read_document(self.root, _MARKER)
        found = marker.get("format") if isinstance(marker, dict) else None
        if marker is not None and found != FORMAT:
            raise StoreError(
                f"{self.root.where(_MARKER)}: format: {found!r} is not {FORMAT}, the one this version reads; "
                "use the version that made it or another --workspace"
            )
