from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from orchestrator.backbones.load import load_backbone
from orchestrator.backbones.random_weights import MOST_FRAMES, normalised, seeded, synthetic_clips
from orchestrator.backbones.records import Preprocessing
from orchestrator.specs import BackboneSpec


def states() -> tuple:
    return torch.random.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist()


@pytest.mark.parametrize("name", ["shufflenet_2d", "timm:test_vit"])
def test_random_weights_are_the_same_bits_every_time_and_leave_global_random_state_alone(name):
    torch.manual_seed(11)
    before = states()
    one = load_backbone(BackboneSpec(name, "random")).network.state_dict()
    assert states() == before
    torch.manual_seed(12)
    torch.set_num_threads(2)
    two = load_backbone(BackboneSpec(name, "random")).network.state_dict()
    assert torch.get_num_threads() == 2
    assert all(torch.equal(one[key], two[key]) for key in one)
    assert one.keys() == two.keys()


def test_pretrained_weights_leave_global_random_state_alone():
    torch.manual_seed(11)
    before = states()
    load_backbone(BackboneSpec("efficientnet_lite0_2d"))
    assert states() == before


def test_the_generator_is_restored_after_an_error():
    before = torch.random.get_rng_state()
    with pytest.raises(ZeroDivisionError), seeded(3):
        torch.rand(5)
        raise ZeroDivisionError
    assert torch.equal(torch.random.get_rng_state(), before)


def test_blocks_that_start_switched_off_are_switched_on(random_backbone):
    norms = [m for m in random_backbone("x3d_s_3d").network.modules() if isinstance(m, torch.nn.BatchNorm3d)]
    assert len(norms) > 50
    assert all(norm.weight.any() for norm in norms)


def test_synthetic_clips_have_the_scale_and_the_length_that_a_network_takes():
    clips = synthetic_clips(seed=0, side=32)
    assert clips.shape == (4, 3, 4, 32, 32)
    pixels = normalised(clips, Preprocessing(32, (0.5, 0.5, 0.5), (1 / 255, 1 / 255, 1 / 255)))
    assert torch.allclose(pixels, (clips - 0.5) * 255, atol=1e-4)
    assert 30 < pixels.std() < 127
    long = normalised(clips, Preprocessing(32, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), frames=24))
    assert long.shape == (MOST_FRAMES // 24, 3, 24, 32, 32)
    assert torch.equal(long[:, :, ::6], clips[:2])
