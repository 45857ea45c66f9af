"""A writer is killed at any moment, over and over: what it said it had written is there, and nothing is torn."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from orchestrator.store.workspace import Workspace

WRITER = """
import sys
import numpy as np
from orchestrator.store.embeddings import EmbeddingRow
from orchestrator.store.failures import Failure
from orchestrator.store.ledger import TrialRecord
from orchestrator.store.workspace import Workspace

space, run = Workspace(sys.argv[1]), sys.argv[2]
for i in range(100_000):
    name = f"r{run}i{i}"
    space.embeddings.write_part("key", [EmbeddingRow(name, "d", np.full((40, 256), i, np.float32))])
    record = TrialRecord(name, {}, "c", 0, ("e",), "d", "done", history=[{"epoch": e} for e in range(50)])
    space.ledger.write(record, {"probabilities": np.full((500, 10), i, np.float32)})
    space.failures.record([Failure(name, None, "read", "gone", ("key",))])
    print(i, flush=True)
"""


def test_a_killed_writer_tears_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    moment = random.Random(0)
    space = Workspace(tmp_path)
    promised: dict[str, int] = {}
    for run in range(4):
        # Output goes to a file: a writer that is killed can't take back what it has said.
        with open(tmp_path / "said", "wb") as said:
            writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), str(run)], stdout=said)
            while (tmp_path / "said").stat().st_size < 8 and writer.poll() is None:
                time.sleep(0.01)
            time.sleep(moment.uniform(0, 0.1))
            writer.send_signal(signal.SIGKILL)
            writer.wait()
        done = [int(line) for line in (tmp_path / "said").read_text().splitlines(keepends=True) if line.endswith("\n")]
        promised |= {f"r{run}i{i}": i for i in done}
    assert len(promised) >= 4 * 4

    assert promised.keys() <= space.embeddings.digests("key").keys()
    there = sorted(space.embeddings.digests("key"))
    loaded = space.embeddings.load("key", there)
    for i, mid in enumerate(there):
        assert loaded[i].shape == (40, 256) and (loaded[i] == int(mid.split("i")[1])).all()

    assert promised.keys() <= space.ledger.keys()
    assert space.ledger.read_many(space.ledger.keys()).keys() == space.ledger.keys()
    for key in sorted(space.ledger.keys()):
        assert (space.ledger.predictions(key)["probabilities"] == np.float32(int(key.split("i")[1]))).all()

    assert promised.keys() <= {failure.mid for failure in space.failures.load()}
    assert not caplog.records
    assert not [name for _, _, names in os.walk(tmp_path) for name in names if name.endswith(".torn")]
