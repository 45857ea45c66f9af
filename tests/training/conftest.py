from __future__ import annotations

import numpy as np
import pytest
import torch

from orchestrator.specs import (
    BackboneSpec,
    ClipSpec,
    Config,
    EmbeddingSpec,
    TimeSformerSpec,
    TrainSpec,
    TransformerSpec,
)
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
    def make(aggregator=None, clips=3, streams=1, *, backbones=None, strategy=None, **training) -> Config:
        """By default shots seen by swin_2d, or for a TimeSformer frames, starting from random weights."""
        aggregator = aggregator or TransformerSpec(width=8, heads=2, feedforward=16)
        on_frames = isinstance(aggregator, TimeSformerSpec)
        clip = ClipSpec.parse(strategy or ("even-9" if on_frames else "shot-24"))
        backbones = backbones or ("frames" if on_frames else "swin_2d",) * streams
        specs = tuple(
            EmbeddingSpec(clip, BackboneSpec(b, "random" if b == "frames" else "pretrained")) for b in backbones
        )
        settings = {"epochs": 5, "batch_size": 8, "learning_rate": 1e-2} | training
        return Config(specs, aggregator, clips, TrainSpec(**settings))

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


@pytest.fixture
def make_frames():
    """Trailers of 1 to 4 frames, uint8 as the frame cache has them: noise whose brightness by channel tells genres."""

    def make(trailers=24, seed=0, splits=1) -> dict[int, SplitData]:
        rng = np.random.default_rng(seed)
        labels = (rng.random((trailers, len(GENRES))) < 0.3).astype(np.uint8)
        labels[np.arange(trailers), rng.integers(0, len(GENRES), trailers)] = 1
        counts = rng.integers(1, 5, trailers)
        offsets = np.concatenate([[0], np.cumsum(counts)])
        # (frames, 224, 224, 3), the three genres in the three channels
        frames = rng.integers(0, 60, (offsets[-1], 224, 224, 1), dtype=np.uint8)
        frames = frames + 150 * np.repeat(labels, counts, axis=0)[:, None, None]
        stream = ClipVectors(frames.reshape(len(frames), -1), offsets)
        parts = [rng.permutation(np.resize([0, 0, 0, 0, 0, 1, 2, 2], trailers)) for _ in range(splits)]
        return {i: SplitData.of((stream,), labels, part, GENRES) for i, part in enumerate(parts)}

    return make
