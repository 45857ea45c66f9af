from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from orchestrator.backbones.load import load_backbone
from orchestrator.backbones.random_weights import seeded
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
