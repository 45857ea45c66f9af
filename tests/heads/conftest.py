from __future__ import annotations

import pytest
import torch

from orchestrator.heads.registry import build_head
from orchestrator.specs import BackboneSpec, ClipSpec, Config, EmbeddingSpec, TimeSformerSpec


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def make_config():
    """A config of as many streams; for a TimeSformer, frames and random weights to start from."""

    def make(spec, streams=1, clips=3, *, weights="random", strategy=None, backbone=None) -> Config:
        on_frames = isinstance(spec, TimeSformerSpec)
        clip = ClipSpec.parse(strategy or ("even-8" if on_frames else "shot-24"))
        backbone = backbone or ("frames" if on_frames else "swin_2d")
        return Config((EmbeddingSpec(clip, BackboneSpec(backbone, weights)),) * streams, spec, clips)

    return make


@pytest.fixture
def build(make_config):
    """`build_head` from an aggregator's record."""
    return lambda spec, widths, genres, clips=3: build_head(make_config(spec, len(widths) or 1, clips), widths, genres)
