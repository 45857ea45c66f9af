"""Embedding sets in Ray's object store: read once, then seen without copies by every trial on a node."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import ray
from ray.exceptions import ObjectLostError, RayActorError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from orchestrator.engine.jobs import TrainingData
from orchestrator.store.embeddings import ClipVectors
from orchestrator.store.workspace import Workspace

OBJECT_STORE_SHARE = 0.5
"""Part of a node's object store that embedding sets may fill; beyond it the oldest goes."""

ATTEMPTS = 5
"""How often a worker asks for a set whose hub or copy was lost; Ray starts the hub again in seconds."""


@dataclass(frozen=True)
class Held:
    """A set in the object store: `refs` of its vectors and its offsets, by one `reading` of the workspace."""

    reading: str
    refs: tuple[Any, Any]


@ray.remote(num_cpus=0, max_restarts=3)
class EmbeddingHub:
    """Reads each embedding set once into the object store, from where every trial on a node reads one copy."""

    def __init__(self, workspace: Workspace, data: TrainingData, budget: float) -> None:
        """`budget` is how many bytes of sets may be held; those that trials still read stay beyond it."""
        self._workspace, self._data, self._budget = workspace, data, budget
        self._held: dict[str, Held] = {}
        self._bytes: dict[str, int] = {}

    def get(self, key: str, lost: str | None = None) -> Held:
        """Where a set lies. `lost`: the reading that was told before leads nowhere; if it is still the one told here,
        the set is read again, so once however many workers ask."""
        if lost and key in self._held and self._held[key].reading == lost:
            self._drop(key)
        if key not in self._held:
            loaded = self._workspace.embeddings.load(key, self._data.mids, self._data.rows[key])
            while self._held and sum(self._bytes.values()) + loaded.vectors.nbytes > self._budget:
                self._drop(next(iter(self._held)))
            self._held[key] = Held(uuid4().hex, (ray.put(loaded.vectors), ray.put(loaded.offsets)))
            self._bytes[key] = loaded.vectors.nbytes
        return self._held[key]

    def _drop(self, key: str) -> None:
        del self._held[key], self._bytes[key]


def start_hub(workspace: Workspace, data: TrainingData) -> Any:
    """A hub on the node of the driver: a sweep that loses another node loses no set."""
    here = ray.get_runtime_context().get_node_id()
    budgets = [n["Resources"].get("object_store_memory", math.inf) for n in ray.nodes() if n["NodeID"] == here]
    pinned = NodeAffinitySchedulingStrategy(here, soft=True)
    hub = EmbeddingHub.options(scheduling_strategy=pinned)  # type: ignore[attr-defined]
    return hub.remote(workspace, data, OBJECT_STORE_SHARE * min(budgets, default=math.inf))


def fetch(hub: Any, key: str) -> ClipVectors:
    """A set, as views of the node's object store. Raises what the hub could not read, or Ray's error in the end."""
    lost: str | None = None
    for attempt in range(ATTEMPTS):
        try:
            held: Held = ray.get(hub.get.remote(key, lost))
            lost = held.reading
            return ClipVectors(*ray.get([*held.refs]))
        except (ObjectLostError, RayActorError):
            if attempt + 1 == ATTEMPTS:
                raise
            time.sleep(1.0 + attempt)
    raise AssertionError("unreachable")
