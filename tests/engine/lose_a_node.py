"""Run by test_node_removed.py: a pass or a sweep on two Ray nodes, one of which dies without grace in the middle.

python lose_a_node.py train|extract FILE: FILE holds the pickled arguments and gets the pickled outcome.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from orchestrator.engine.session import ray_session  # first: it tells Ray to be quiet


class Step:
    """Calls `then` with the number of units done by now."""

    def __init__(self, then: Callable[[int], None]) -> None:
        self._then, self._done, self.notes = then, 0, list[str]()

    def advance(self, count: int = 1, info: str = "") -> None:
        self._done += count
        self._then(self._done)

    def note(self, line: str) -> None:
        self.notes.append(line)


class Nodes:
    """A head without cores, where the driver is, and two nodes of one core."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        self._cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        self._nodes = [self._cluster.add_node(num_cpus=1) for _ in range(2)]
        self._cluster.wait_for_nodes()
        self.address = self._cluster.address

    def lose_one(self) -> bool:
        """Kills a node and its workers as a power cut would; False when that has been done before."""
        if len(self._nodes) < 2:
            return False
        self._cluster.remove_node(self._nodes.pop(0), allow_graceful=False)
        return True

    def end(self) -> None:
        self._cluster.shutdown()


def train(nodes: Nodes, jobs: list[Any], data: Any, workspace: Any) -> dict[str, Any]:
    from orchestrator.engine.tuning import train

    lost: list[dict[str, int]] = []

    def training(keys: list[str]) -> None:
        epochs = workspace.checkpoints.epochs(keys)
        if len(keys) == 2 and len(epochs) == 2 and min(epochs.values()) >= 3 and nodes.lose_one():
            lost.append(epochs)

    step, ended = Step(lambda done: None), []
    with ray_session(nodes.address) as resources:
        train(jobs, data, workspace, resources, step, lambda job: ended.append(job.key), training)
    return {"lost": lost, "ended": ended, "notes": step.notes}


def extract(nodes: Nodes, layout: str, tasks: list[Any], specs: Any, workspace: Any) -> dict[str, Any]:
    from orchestrator.engine.extraction import ExtractionOptions, extract

    lost: list[int] = []

    def after(done: int) -> None:
        if nodes.lose_one():
            lost.append(done)

    step = Step(after)
    with ray_session(nodes.address) as resources:
        options = ExtractionOptions(layout=layout)
        counts = extract(tasks, specs, workspace, "detector", resources, options, step)
    return {"lost": lost, "counts": counts, "notes": step.notes}


def main(what: str, file: str) -> None:
    arguments = pickle.loads(Path(file).read_bytes())
    nodes = Nodes()
    outcome = {"train": train, "extract": extract}[what](nodes, *arguments)
    Path(file).write_bytes(pickle.dumps(outcome))
    nodes.end()


if __name__ == "__main__":
    main(*sys.argv[1:])
