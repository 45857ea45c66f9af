"""Epoch checkpoints: what a config in training needs to go on after a kill, one file a config."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from orchestrator.store import documents
from orchestrator.store.files import FileTree, map_files
from orchestrator.store.parts import check_key

_END = ".ckpt"

_FIELDS = ["checksum", "epoch", "trials"]

_HEADER_BYTES = 1 << 16
"""More than the first line of any checkpoint."""


@dataclass(frozen=True)
class Checkpoint:
    """A config's training after `epoch` epochs: `trials` maps each split to its trial's key.

    `state` are the bytes from which the caller goes on; the store does not look into them.
    """

    epoch: int
    trials: dict[int, str]
    state: bytes


class Checkpoints:
    """Checkpoints by name under one tree: `<name>.ckpt`, a line of JSON and then the state.

    They are not flushed to the disk, as they are written after every epoch; the checksum of epoch, trials and state
    tells one that a power cut tore.
    """

    def __init__(self, tree: FileTree) -> None:
        self._tree = tree

    def write(self, name: str, checkpoint: Checkpoint) -> None:
        """Replaces the checkpoint of that name, whole or not at all. Raises StoreError."""
        facts = {"epoch": checkpoint.epoch, "trials": {str(split): key for split, key in checkpoint.trials.items()}}
        header = {"checksum": _checksum(facts, checkpoint.state)} | facts
        with self._tree.create(_path(name), durable=False) as file:
            file.write(f"{documents.encode(header, indent=None)}\n".encode())
            file.write(checkpoint.state)

    def read(self, name: str) -> Checkpoint | None:
        """The checkpoint of that name; None where there is none or it is torn, which is warned about.

        Raises StoreError.
        """
        path = _path(name)
        try:
            first, _, state = self._tree.read_bytes(path).partition(b"\n")
            header = _header(first)
            if header.pop("checksum") != _checksum(header, state):
                raise ValueError("its checksum does not fit its content")
        except FileNotFoundError:
            return None
        except ValueError as fault:
            documents.set_torn_aside(self._tree, path, fault)
            return None
        return Checkpoint(header["epoch"], {int(split): key for split, key in header["trials"].items()}, state)

    def epochs(self, names: Iterable[str]) -> dict[str, int]:
        """How many epochs each of `names` has behind it, from first lines alone; those without a checkpoint left out.

        Raises StoreError.
        """
        there = set(self._tree.names())
        asked = [name for name in dict.fromkeys(names) if _path(name) in there]
        found = zip(asked, map_files(self._epoch, asked), strict=True)
        return {name: epoch for name, epoch in found if epoch is not None}

    def remove(self, name: str) -> None:
        """Removes a checkpoint; no error where there is none. Raises StoreError."""
        self._tree.remove(_path(name))

    def clean(self) -> None:
        """Removes what killed writers left, and torn checkpoints, of which nothing can be learnt."""
        self._tree.clean()
        for name in self._tree.names():
            if name.endswith(f"{_END}.torn"):
                self._tree.remove(name)

    def drop_finished(self, done: Collection[str]) -> int:
        """Removes checkpoints all of whose trials are among `done`, as a kill leaves them; returns how many.

        Reads first lines only, and leaves torn ones to `read`. Raises StoreError.
        """
        names = [name.removesuffix(_END) for name in self._tree.names() if name.endswith(_END)]
        if not names:
            return 0
        keys = frozenset(done)
        headers = zip(names, map_files(self._read_header, names), strict=True)
        over = [name for name, header in headers if header and keys.issuperset(header["trials"].values())]
        for name in over:
            self.remove(name)
        return len(over)

    def _epoch(self, name: str) -> int | None:
        header = self._read_header(name)
        return int(header["epoch"]) if header else None

    def _read_header(self, name: str) -> dict[str, Any] | None:
        try:
            return _header(self._tree.read_bytes(_path(name), _HEADER_BYTES).partition(b"\n")[0])
        except (FileNotFoundError, ValueError):
            return None


def _path(name: str) -> str:
    return f"{check_key(name)}{_END}"


def _checksum(facts: dict[str, Any], state: bytes) -> str:
    digest = hashlib.sha256(documents.encode(facts, indent=None).encode())
    digest.update(state)
    return digest.hexdigest()


def _header(line: bytes) -> dict[str, Any]:
    """The first line of a checkpoint. Raises ValueError where it is none."""
    header = json.loads(line)
    if not isinstance(header, dict) or [*header] != _FIELDS or type(header["epoch"]) is not int:
        raise ValueError("its first line is not that of a checkpoint")
    if not isinstance(header["trials"], dict) or not header["trials"]:
        raise ValueError("its first line names no trials")
    return header


def checkpoint_name(config_key: str, labels: str) -> str:
    """Of a config on a manifest with that labels digest: two sweeps in one workspace must not take turns in a file."""
    return f"{config_key}-{labels[:8]}"
