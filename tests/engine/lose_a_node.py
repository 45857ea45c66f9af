"""Run by test_node_removed.py: a sweep and two passes on two Ray nodes, one of which dies without grace each time.

python lose_a_node.py FILE: FILE holds the pickled arguments of each scenario by name, and gets what came of them.
"""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from typing import Any

from orchestrator.engine import extraction  # first: it tells Ray to be quiet
from orchestrator.engine.extraction import ExtractionOptions, extract
from orchestrator.engine.session import current_resources, ray_session
from orchestrator.engine.tuning import train

# A dead node is noticed within a second, not within half a minute.
FAST = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 200, "health_check_failure_threshold": 3}


class Nodes:
    """A head without cores, where the driver is, and two nodes of one core."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        head = {"num_cpus": 0, "include_dashboard": False, "_system_config": FAST}
        self._cluster = Cluster(initialize_head=True, head_node_args=head)
        self._nodes: list[Any] = []
        self.address = self._cluster.address

    def complete(self) -> None:
        """Two nodes, those that died replaced."""
        while len(self._nodes) < 2:
            self._nodes.append(self._cluster.add_node(num_cpus=1))
        self._cluster.wait_for_nodes()

    def lose_one(self) -> bool:
        """Kills a node and its workers as a power cut would; False when that has been done before."""
        if len(self._nodes) < 2:
            return False
        self._cluster.remove_node(self._nodes.pop(0), allow_graceful=False)
        return True

    def end(self) -> None:
        self._cluster.shutdown()


class Losing:
    """A `Step` that loses a node when so many units of work are done; each node but the last lost is replaced."""

    def __init__(self, nodes: Nodes, times: list[int]) -> None:
        self._nodes, self._times, self._done = nodes, times, 0
        self.lost, self.notes = list[int](), list[str]()

    def advance(self, count: int = 1, info: str = "") -> None:
        self._done += count
        if self._done in self._times and self._nodes.lose_one():
            self.lost.append(self._done)
            if len(self.lost) < len(self._times):
                self._nodes.complete()

    def note(self, line: str) -> None:
        self.notes.append(line)


class Noting:
    """A `Step` that only keeps its notes."""

    def __init__(self) -> None:
        self.notes = list[str]()

    def advance(self, count: int = 1, info: str = "") -> None:
        return

    def note(self, line: str) -> None:
        self.notes.append(line)


def lose_while_training(nodes: Nodes, jobs: list[Any], data: Any, workspace: Any) -> dict[str, Any]:
    lost, ended, step = list[dict[str, int]](), list[str](), Noting()

    def training(keys: list[str]) -> None:
        epochs = workspace.checkpoints.epochs(keys)
        if len(keys) == 2 and len(epochs) == 2 and min(epochs.values()) >= 3 and nodes.lose_one():
            lost.append(epochs)

    train(jobs, data, workspace, current_resources(), step, lambda job: ended.append(job.key), training)
    return {"lost": lost, "ended": ended, "notes": step.notes}


def lose_while_extracting(
    nodes: Nodes, times: list[int], layout: str, tasks: list[Any], specs: Any, workspace: Any
) -> dict[str, Any]:
    step, options = Losing(nodes, times), ExtractionOptions(layout=layout)
    counts = extract(tasks, specs, workspace, "detector", current_resources(), options, step)
    return {"lost": step.lost, "counts": counts, "notes": step.notes}


def main(file: str) -> None:
    arguments = pickle.loads(Path(file).read_bytes())
    nodes = Nodes()
    extraction.ROUNDS = 1  # a round that finished something does not count
    with ray_session(nodes.address):
        outcome = {}
        for name, given in arguments.items():
            nodes.complete()
            outcome[name] = (lose_while_training if name == "train" else lose_while_extracting)(nodes, *given)
    Path(file).write_bytes(pickle.dumps(outcome))
    nodes.end()


if __name__ == "__main__":
    main(sys.argv[1])
