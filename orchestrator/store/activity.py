"""What a driver is doing right now, for `divita status`: a small file beside the sweep, rewritten as it goes on."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterable
from typing import Any

from orchestrator.store import documents
from orchestrator.store.files import FileTree

STALE_S = 60.0
"""Age at which the driver of another machine is taken for dead."""

EVERY_S = 2.0
"""Least seconds between two writes, unless the phase changes."""


class Activity:
    """`sweeps/<name>/running.json`: phase, host, process, and the keys of the configs that are in training."""

    def __init__(self, tree: FileTree, sweep: str) -> None:
        self._tree, self._path = tree, f"{sweep}/running.json"
        self._written, self._phase = 0.0, ""

    def tell(self, phase: str, configs: Iterable[str] = ()) -> None:
        """Says what runs now. Raises StoreError."""
        if phase == self._phase and time.monotonic() - self._written < EVERY_S:
            return
        values = {"phase": phase, "configs": sorted(configs), "host": socket.gethostname(), "process": os.getpid()}
        documents.write_document(self._tree, self._path, values | {"at": time.time()})
        self._written, self._phase = time.monotonic(), phase

    def end(self) -> None:
        """Nothing runs any more."""
        self._tree.remove(self._path)

    def read(self) -> dict[str, Any] | None:
        """What runs now; None where nothing does, or where the driver died without a word."""
        values = documents.read_document(self._tree, self._path)
        if not isinstance(values, dict) or not {"phase", "configs", "host", "process", "at"} <= set(values):
            return None
        if values["host"] == socket.gethostname():
            return values if _alive(int(values["process"])) else None
        return values if abs(time.time() - float(values["at"])) < STALE_S else None


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it lives, and is another user's
    return True
