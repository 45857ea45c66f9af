from __future__ import annotations

import numpy as np
import pytest
import torch

from orchestrator.specs import BackboneSpec, ClipSpec, Config, EmbeddingSpec, TrainSpec, TransformerSpec
from orchestrator.store.embeddings import ClipVectors
from orchestrator.training.records import SplitData

GENRES = ("action", "comedy", "drama")


@pytest.fixture(autouse=True)
def one_thread():
    """Small products are faster on one thread, and its number decides the last bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def make_config():
    def make(aggregator=None, clips=3, streams=1, **training) -> Config:
        spec = EmbeddingSpec(ClipSpec("shot", 24), BackboneSpec("swin_2d"))
        aggregator = aggregator or TransformerSpec(width=8, heads=2, feedforward=16)
        settings = {"epochs": 5, "batch_size": 8, "learning_rate": 1e-2} | training
        return Config((spec,) * streams, aggregator, clips, TrainSpec(**settings))

    return make


@pytest.fixture
def make_data():
    """Trailers of 1 to 9 clips whose vectors carry their genres, in 3 splits by default."""

    def make(trailers=40, widths=(6,), signal=1.0, seed=0, splits=3) -> dict[int, SplitData]:
        rng = np.random.default_rng(seed)
        labels = (rng.random((trailers, len(GENRES))) < [0.3, 0.4, 0.6]).astype(np.uint8)
        labels[np.arange(trailers), rng.integers(0, len(GENRES), trailers)] = 1
        counts = rng.integers(1, 10, trailers)
        offsets = np.concatenate([[0], np.cumsum(counts)])
        streams = []
        for width in widths:
            directions = rng.standard_normal((len(GENRES), width))
            vectors = rng.standard_normal((offsets[-1], width))
            vectors += signal * np.repeat(labels @ directions, counts, axis=0)
            streams.append(ClipVectors(vectors.astype(np.float32), offsets))
        parts = [rng.permutation(np.resize([0, 0, 0, 0, 0, 1, 2, 2], trailers)) for _ in range(splits)]
        return {i: SplitData.of(tuple(streams), labels, part, GENRES) for i, part in enumerate(parts)}

    return make
