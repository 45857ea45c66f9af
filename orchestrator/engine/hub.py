"""Embedding sets in Ray's object store: read once, then seen without copies by every trial on a node."""

from __future__ import annotations

import math
import time
from typing import Any

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


@ray.remote(num_cpus=0, max_restarts=3)
class EmbeddingHub:
    """Reads each embedding set once into the object store, from where every trial on a node reads one copy."""

    def __init__(self, workspace: Workspace, data: TrainingData, budget: float) -> None:
        """`budget` is how many bytes of sets may be held; those that trials still read stay beyond it."""
        self._workspace, self._data, self._budget = workspace, data, budget
        self._refs: dict[str, list[Any]] = {}
        self._bytes: dict[str, int] = {}

    def get(self, key: str, again: bool = False) -> list[Any]:
        """References to the vectors and the offsets of a set; `again`: those given before lead nowhere."""
        if again:
            self._refs.pop(key, None)
            self._bytes.pop(key, None)
        if key not in self._refs:
            loaded = self._workspace.embeddings.load(key, self._data.mids, self._data.rows[key])
            while self._refs and sum(self._bytes.values()) + loaded.vectors.nbytes > self._budget:
                oldest = next(iter(self._refs))
                del self._refs[oldest], self._bytes[oldest]
            self._refs[key] = [ray.put(loaded.vectors), ray.put(loaded.offsets)]
            self._bytes[key] = loaded.vectors.nbytes
        return self._refs[key]


def start_hub(workspace: Workspace, data: TrainingData) -> Any:
    """A hub on the node of the driver: a sweep that loses another node loses no set."""
    here = ray.get_runtime_context().get_node_id()
    budgets = [n["Resources"].get("object_store_memory", math.inf) for n in ray.nodes() if n["NodeID"] == here]
    pinned = NodeAffinitySchedulingStrategy(here, soft=True)
    hub = EmbeddingHub.options(scheduling_strategy=pinned)  # type: ignore[attr-defined]
    return hub.remote(workspace, data, OBJECT_STORE_SHARE * min(budgets, default=math.inf))


def fetch(hub: Any, key: str) -> ClipVectors:
    """A set, as views of the node's object store. Raises what the hub could not read, or Ray's error in the end."""
    for attempt in range(ATTEMPTS):
        try:
            return ClipVectors(*ray.get(ray.get(hub.get.remote(key, again=attempt > 0))))
        except (ObjectLostError, RayActorError):
            if attempt + 1 == ATTEMPTS:
                raise
            time.sleep(1.0 + attempt)
    raise AssertionError("unreachable")
