"""Times training steps of the four heads: python tests/benchmarks/bench_training.py [threads].

A step is a batch gathered, forward, backward and AdamW; an epoch's time divided by its steps, the fastest of six.
"""

from __future__ import annotations

import sys
import time

import numpy as np
import torch

from orchestrator.specs import (
    AggregatorSpec,
    BackboneSpec,
    ClipSpec,
    Config,
    ConvSpec,
    EmbeddingSpec,
    GRUSpec,
    MeanSpec,
    TrainSpec,
    TransformerSpec,
)
from orchestrator.store.embeddings import ClipVectors
from orchestrator.training.records import SplitData
from orchestrator.training.trainer import SplitTrainer

GENRES = tuple(f"genre{i}" for i in range(10))


def make_trainer(trailers: int, clips: int, width: int, aggregator: AggregatorSpec) -> SplitTrainer:
    """As few validation trailers as there can be, so that an epoch is its steps."""
    rng = np.random.default_rng(0)
    offsets = np.concatenate([[0], np.cumsum(rng.integers(clips, 4 * clips, trailers))])
    vectors = rng.standard_normal((offsets[-1], width), dtype=np.float32)
    labels = (rng.random((trailers, len(GENRES))) < 0.25).astype(np.uint8)
    labels[:, 0] = 1
    parts = np.zeros(trailers, int)
    parts[:2] = 1, 2
    spec = EmbeddingSpec(ClipSpec("shot", 24), BackboneSpec("swin_3d"))
    config = Config((spec,), aggregator, clips, TrainSpec())
    return SplitTrainer(config, SplitData.of((ClipVectors(vectors, offsets),), labels, parts, GENRES), 0)


def main(threads: int = 1) -> None:
    torch.set_num_threads(threads)
    for trailers, clips, width in ((322, 30, 768), (34, 5, 768), (34, 5, 1280)):
        for aggregator in (TransformerSpec(), GRUSpec(), ConvSpec(), MeanSpec()):
            trainer = make_trainer(trailers, clips, width, aggregator)
            steps = -(-len(trainer.data.train) // 32)
            step = min(timed_epoch(trainer) for _ in range(6)) / steps
            print(f"32 x {clips} x {width} {aggregator.name:12} {step * 1e3:6.1f} ms a step")


def timed_epoch(trainer: SplitTrainer) -> float:
    began = time.perf_counter()
    trainer.run_epoch()
    return time.perf_counter() - began


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
