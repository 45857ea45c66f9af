"""The same command on a Ray cluster of two nodes, each a real raylet with workers of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

SPACE = """
fixed: {backbone: shufflenet_2d, weights: random, clip_strategy: seq-24, clips_per_snippet: 3, training: {epochs: 2}}
grid: {aggregator: [mean, conv]}
"""

NODES = """
import sys
from ray.cluster_utils import Cluster
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
cluster.add_node(num_cpus=1)
cluster.wait_for_nodes()
print(cluster.address, flush=True)
sys.stdin.read()
cluster.shutdown()
"""


@pytest.fixture
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Two nodes in a process of their own, which ends with its standard input."""
    environment = os.environ | {"RAY_TMPDIR": "/tmp", "RAY_BACKEND_LOG_LEVEL": "fatal"}
    with subprocess.Popen(
        [sys.executable, "-c", NODES], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as nodes:
        assert nodes.stdout and nodes.stdin
        yield nodes.stdout.readline().strip()
        nodes.stdin.close()
        nodes.wait(timeout=60)


def test_a_sweep_runs_on_the_nodes_of_a_cluster(
    address: str, trailers: Path, tmp_path: Path, divita: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    (tmp_path / "small.yaml").write_text(SPACE)
    done = divita("run", "small.yaml", "-d", trailers, "--address", address, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Ray: 2 CPUs" in done.stderr
    assert "extracted: 12 trailers decoded" in done.stdout
    assert "trained: 6 trials; 6 done, 0 failed, 0 missing" in done.stdout
