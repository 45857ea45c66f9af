"""Every row of the table is built, run and checked; a new row needs no line here."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from orchestrator.backbones.load import Backbone
from orchestrator.backbones.registry import BACKBONES

VIDEO = [name for name, row in BACKBONES.items() if row.kind == "video"]


def clips_for(backbone: Backbone) -> np.ndarray:
    stills = np.array([0, 1], np.int32)
    return (
        stills if backbone.kind == "image" else np.stack([stills, stills + 2, stills + 4, np.array([-1, -1])], axis=1)
    )


@pytest.mark.parametrize("name", BACKBONES)
def test_a_row_gives_vectors_of_its_width_that_tell_clips_apart(random_backbone, name, frames):
    backbone = random_backbone(name)
    vectors = backbone.embed(frames, clips_for(backbone))
    assert vectors.shape == (2, BACKBONES[name].width)
    assert vectors.dtype == np.float32
    # BatchNorm in the head adds 1e-5 to the variance: far smaller differences would be lost.
    assert np.std(vectors, axis=0).mean() > 0.01


@pytest.mark.parametrize("name", BACKBONES)
def test_no_classifier_dropout_or_softmax_is_left(random_backbone, name):
    network = random_backbone(name).network
    assert not network.training
    assert not any(isinstance(m, torch.nn.Linear) and m.out_features in (400, 1000) for m in network.modules())
    assert not any(p.requires_grad for p in network.parameters())


@pytest.mark.parametrize("length", [4, 6, 24, 32])
def test_x3d_takes_clips_of_any_length(random_backbone, frames, length):
    clip = np.arange(length, dtype=np.int32)[None] % len(frames)
    assert random_backbone("x3d_s_3d").embed(frames, clip).shape == (1, 2048)


def test_x3d_s_features_are_what_its_classifier_takes(random_backbone):
    """On the clip size that pytorchvideo made its pooling for, its own network gives the same class probabilities."""
    from pytorchvideo.models import hub

    whole = hub.x3d_s(pretrained=False).eval()
    headless = random_backbone("x3d_s_3d").network
    whole.load_state_dict(headless.state_dict() | {k: v for k, v in whole.state_dict().items() if ".proj." in k})
    clip = torch.randn(1, 3, 13, 160, 160, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = whole(clip)
        features = headless(clip)
        found = torch.softmax(whole.blocks[5].proj(features), dim=1)
    assert torch.allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("name", VIDEO)
def test_the_order_of_frames_matters_to_video_networks(random_backbone, name, frames):
    backbone = random_backbone(name)
    forward, backward = backbone.embed(frames, np.array([[0, 1, 2, 3], [3, 2, 1, 0]], np.int32))
    assert not np.allclose(forward, backward, rtol=1e-3)
