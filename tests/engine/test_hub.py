"""The hub of embedding sets, and what a worker does when it is lost."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
import ray
from ray.exceptions import RayActorError

from orchestrator.engine.hub import fetch, start_hub
from orchestrator.engine.session import Resources


def test_a_set_is_had_from_a_hub_also_after_it_was_killed(prepared: Any, resources: Resources) -> None:
    hub = start_hub(prepared.workspace, prepared.data)
    expected = prepared.workspace.embeddings.load("set", prepared.data.mids)
    first = fetch(hub, "set")
    assert np.array_equal(first.vectors, expected.vectors) and np.array_equal(first.offsets, expected.offsets)
    before = ray.get(hub.get.remote("set"))
    ray.kill(hub, no_restart=False)
    after = before
    while after == before:  # the kill takes a moment; whoever asks meanwhile has a set all the same
        assert np.array_equal(fetch(hub, "set").vectors, expected.vectors)
        with suppress(RayActorError):
            after = ray.get(hub.get.remote("set"))
    assert np.array_equal(first.vectors, expected.vectors), "views that were handed out stay"
    ray.kill(hub)


def test_a_set_that_many_workers_lost_is_read_again_once(prepared: Any, resources: Resources) -> None:
    hub = start_hub(prepared.workspace, prepared.data)
    first = ray.get(hub.get.remote("set"))
    assert ray.get(hub.get.remote("set", "of a hub that died")).reading == first.reading, "it has it, and did not tell"
    told = {held.reading for held in ray.get([hub.get.remote("set", first.reading) for _ in range(8)])}
    assert len(told) == 1 and first.reading not in told
    ray.kill(hub)
