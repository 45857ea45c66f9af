"""Times training with and without epoch checkpoints: python tests/benchmarks/bench_checkpoints.py [trailers] [epochs].

The default head on features 768 wide, three splits in lockstep; with and without take turns, so that whatever else the
machine does falls on both. Prints the ratio of the medians of an epoch.
"""

from __future__ import annotations

import io
import sys
import tempfile
import time
from collections.abc import Callable
from statistics import median

import numpy as np
import torch

from orchestrator.specs import BackboneSpec, ClipSpec, Config, EmbeddingSpec, TrainSpec
from orchestrator.store.checkpoints import Checkpoint
from orchestrator.store.embeddings import ClipVectors
from orchestrator.store.workspace import Workspace
from orchestrator.training.lockstep import LockstepTrainer
from orchestrator.training.records import SplitData

GENRES = tuple(f"genre{i}" for i in range(10))
CLIPS, WIDTH = 30, 768


def make_trainer(trailers: int) -> LockstepTrainer:
    """70 % of the trailers train, 10 % validate, as in the study."""
    rng = np.random.default_rng(0)
    offsets = np.concatenate([[0], np.cumsum(rng.integers(20, 80, trailers))])
    vectors = ClipVectors(rng.standard_normal((offsets[-1], WIDTH), dtype=np.float32), offsets)
    labels = (rng.random((trailers, len(GENRES))) < 0.25).astype(np.uint8)
    labels[:, 0] = 1
    parts = np.resize([0, 0, 0, 0, 0, 0, 0, 1, 2, 2], trailers)
    spec = EmbeddingSpec(ClipSpec("shot", 24), BackboneSpec("swin_3d"))
    config = Config((spec,), clips_per_snippet=CLIPS, training=TrainSpec(epochs=1000, stop_patience=1000))
    data = {split: SplitData.of((vectors,), labels, rng.permutation(parts), GENRES) for split in range(3)}
    return LockstepTrainer(config, data)


def main(trailers: int = 1000, epochs: int = 7) -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        store = Workspace(folder).checkpoints

        def keep(trainer: LockstepTrainer) -> int:
            state = io.BytesIO()
            torch.save(trainer.state_dict(), state)
            store.write("bench", Checkpoint(trainer.epoch, {0: "a", 1: "b", 2: "c"}, state.getvalue()))
            return state.tell()

        without, kept = make_trainer(trailers), make_trainer(trailers)
        size = keep(kept)
        alone, beside, writing = [], [], []
        for _ in range(epochs):
            alone.append(timed(lambda: without.step()))
            beside.append(timed(lambda: kept.step()))
            writing.append(timed(lambda: keep(kept)))
    ratio = median(b + w for b, w in zip(beside, writing, strict=True)) / median(alone)
    print(f"{trailers} trailers, 3 splits: an epoch {median(alone):.2f} s, a checkpoint of {size / 1e6:.1f} MB")
    print(f"written in {median(writing) * 1e3:.0f} ms; with checkpoints training takes {ratio:.3f} times as long")


def timed(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
