"""The Ray cluster of a driver, started when it is first needed."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from orchestrator.driver.options import RunOptions
from orchestrator.progress import Progress

if TYPE_CHECKING:
    from orchestrator.engine.session import Resources


LOCAL = "local"
"""The address that means none: for a sweep that goes on without the cluster on which it was started."""


class Cluster:
    """Starts Ray when it is first needed: a sweep that lacks nothing never does."""

    def __init__(self, options: RunOptions, progress: Progress) -> None:
        self._options, self._progress, self._stack = options, progress, ExitStack()
        self._resources: Resources | None = None

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    @property
    def resources(self) -> Resources:
        if self._resources is None:
            from orchestrator.engine.session import ray_session

            address = None if self._options.address == LOCAL else self._options.address
            self._resources = self._stack.enter_context(ray_session(address, self._options.cpus))
            self._progress.say(f"Ray: {self._resources.cpus} CPUs, {self._resources.gpus} GPUs")
        return self._resources
