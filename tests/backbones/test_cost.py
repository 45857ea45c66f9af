from __future__ import annotations

import subprocess
import sys
import time

import pytest
import torch

from orchestrator.backbones.cost import Cost, backbone_cost
from orchestrator.backbones.counting import COUNTING_NOTES
from orchestrator.backbones.registry import BACKBONES, entry
from orchestrator.errors import InputError
from orchestrator.heads.registry import build_head, count_parameters
from orchestrator.specs import BackboneSpec, ClipSpec, Config, EmbeddingSpec

PUBLISHED = {
    "shufflenet_2d": (1.7, 4.3),
    "shufflenet_3d": (1.7, 8.5),
    "resnet_2d": (23.9, 122.7),
    "r2plus1d_3d": (31.7, 1823.4),
    "swin_2d": (27.9, 114.0),
    "swin_3d": (27.9, 1590.0),
}
"""FIDELITY, Backbones: millions of parameters with the head, G multiply-adds of 30 clips of 24 frames."""


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_with_the_head_are_within_5_percent_of_the_published(name):
    config = Config((EmbeddingSpec(ClipSpec("shot", 24), BackboneSpec(name)),))
    head = build_head(config, [entry(name).width], genres=10)
    millions = (backbone_cost(name, 24).parameters + count_parameters(head)) / 1e6
    assert millions == pytest.approx(PUBLISHED[name][0], rel=0.05)


@pytest.mark.parametrize("name", sorted(PUBLISHED.keys() - COUNTING_NOTES.keys()))
def test_multiply_adds_are_within_5_percent_of_the_published(name):
    assert 30 * backbone_cost(name, 24).multiply_adds / 1e9 == pytest.approx(PUBLISHED[name][1], rel=0.05)


def test_multiply_adds_of_swin_2d_are_those_that_torchvision_documents_not_the_study_s():
    cost = backbone_cost("swin_2d", 24)
    assert cost.multiply_adds / 1e9 == pytest.approx(4.49, abs=0.005)
    assert (cost.multiply_adds - cost.attention) / 1e9 == pytest.approx(4.35, abs=0.005)
    assert cost.attention / 1e9 == pytest.approx(0.14, abs=0.005)
    assert all(number in COUNTING_NOTES["swin_2d"] for number in ("3.80", "4.35", "0.14", "4.49"))
    assert PUBLISHED["swin_2d"][1] == pytest.approx(30 * 3.80)


def test_multiply_adds_of_swin_3d_agree_with_the_study_s_by_the_rule_that_its_note_gives():
    whole, shorter = backbone_cost("swin_3d", 32), backbone_cost("swin_3d", 24)
    assert (whole.multiply_adds - whole.attention) / 1e9 == pytest.approx(69.8, abs=0.05)
    assert PUBLISHED["swin_3d"][1] == pytest.approx(30 * 0.75 * 69.8, rel=0.013)
    assert (shorter.multiply_adds - shorter.attention) / 1e9 == pytest.approx(57.9, abs=0.05)
    assert shorter.attention / 1e9 == pytest.approx(17.9, abs=0.05)
    assert all(number in COUNTING_NOTES["swin_3d"] for number in ("53.0", "69.8", "57.9", "17.9"))


def test_the_3d_shufflenet_s_parameters_and_multiply_adds_are_the_published_ones():
    published = {16: 187, 24: 287, 32: 373}  # FIDELITY; with the classifier, 1024 × 600
    for frames, millions in published.items():
        cost = backbone_cost("shufflenet_3d", frames)
        assert round((cost.multiply_adds + 1024 * 600) / 1e6) in (millions, millions - 1), frames
        assert round(cost.parameters / 1e6, 3) == 1.299


def test_counts_are_those_that_torchvision_documents_for_its_networks():
    """It documents whole networks, at 224² or 112², video ones on 16 frames; the classifier is added here."""
    from torchvision.models import get_model_weights

    for row in BACKBONES.values():
        if row.builder == "torchvision" and row.preprocessing.frames in (None, 16):
            weights = next(w for w in get_model_weights(row.model) if w.url == row.weights.url)
            cost, classes = backbone_cost(row.name, 16), len(weights.meta["categories"])
            assert cost.parameters + (row.width + 1) * classes == weights.meta["num_params"], row.name
            assert (cost.multiply_adds + row.width * classes) / 1e9 == pytest.approx(weights.meta["_ops"], abs=0.001), (
                row.name
            )


def test_an_image_backbone_s_cost_does_not_depend_on_frames_a_video_backbone_s_does():
    assert backbone_cost("resnet_2d", 4) == backbone_cost("resnet_2d", 32)
    assert backbone_cost("r2plus1d_3d", 32).multiply_adds == 2 * backbone_cost("r2plus1d_3d", 16).multiply_adds
    assert backbone_cost("mvit_v2_s_3d", 4) == backbone_cost("mvit_v2_s_3d", 32)  # both resampled to 16


def test_pixels_cost_nothing_and_an_unknown_backbone_is_an_error():
    assert backbone_cost("frames", 8) == Cost(parameters=0, multiply_adds=0)
    with pytest.raises(InputError, match="'swin4d' is not one of"):
        backbone_cost("swin4d", 8)


def test_a_second_question_is_answered_at_once_and_global_random_state_is_left_alone():
    before = torch.random.get_rng_state()
    first = backbone_cost("clip_vitb16_2d", 24)
    assert torch.equal(torch.random.get_rng_state(), before)
    start = time.monotonic()
    assert backbone_cost("clip_vitb16_2d", 12) is first
    assert time.monotonic() - start < 0.01


def test_counting_is_quiet_small_and_quick():
    code = (
        "import resource, time\n"
        "from orchestrator.backbones.cost import backbone_cost\n"
        "backbone_cost('x3d_s_3d', 24)\n"  # imports of all libraries
        "before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()\n"
        "for name in ('swin_b_3d', 'vgg16_2d'): backbone_cost(name, 32)\n"
        "print(time.monotonic() - start, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    seconds, mebibytes = map(float, done.stdout.split())
    assert seconds < 10
    assert mebibytes < 200
