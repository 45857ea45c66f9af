"""Every row of the table is built, run and checked; a new row needs no line here."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from orchestrator.backbones.load import Backbone, load_backbone
from orchestrator.backbones.networks import build_without_memory
from orchestrator.backbones.registry import BACKBONES, entry
from orchestrator.specs import FRAME_RATES, BackboneSpec, ClipSpec

ROWS = [name for name, row in BACKBONES.items() if row.kind != "frames"]
VIDEO = [name for name, row in BACKBONES.items() if row.kind == "video"]
CLASSES = (400, 600, 1000)
LENGTHS = sorted({ClipSpec("shot", frames, fps).kept for frames in (24, 32) for fps in FRAME_RATES})

PICTURES = np.array([0, 1], np.int32)
CLIPS = np.array([[0, 2, 4, -1], [0, 4, -1, 2]], np.int32)
"""A clip, and the same with its frames in another order (not backwards, which C2D's pooling can't tell)."""


@dataclass(frozen=True)
class Ran:
    backbone: Backbone
    vectors: np.ndarray


@pytest.fixture(scope="module", params=ROWS)
def ran(request, frames) -> Ran:
    """One row with random weights, run once for all tests of this file, and only one in memory at a time."""
    backbone = load_backbone(BackboneSpec(request.param, "random"))
    if backbone.kind == "image":
        return Ran(backbone, backbone.embed(frames, PICTURES))
    # The reordered clip is the other clip, too: what tells it from the first tells any clip from it, and a third of
    # the frames, seconds for a row, need not be embedded.
    return Ran(backbone, backbone.embed(frames, CLIPS))


def test_a_row_gives_finite_vectors_of_its_width_that_tell_clips_apart(ran):
    vectors = ran.vectors
    assert vectors.shape == (2, ran.backbone.row.width)
    assert vectors.dtype == np.float32
    assert np.isfinite(vectors).all()
    # BatchNorm in the head adds 1e-5 to the variance: far smaller differences would be lost.
    assert np.std(vectors, axis=0).mean() > 0.01


def test_the_order_of_frames_matters_to_video_networks(ran):
    if ran.backbone.kind == "image":
        assert len(ran.vectors) == 2
    else:
        assert np.abs(ran.vectors[0] - ran.vectors[1]).mean() > 0.01


def test_no_classifier_dropout_or_softmax_is_left(ran):
    network = ran.backbone.network
    assert not network.training
    assert not any(isinstance(m, torch.nn.Linear) and m.out_features in CLASSES for m in network.modules())
    assert not any(p.requires_grad for p in network.parameters())


@pytest.mark.parametrize("name", VIDEO)
def test_a_video_network_takes_clips_of_every_length_that_the_study_has(name):
    row = entry(name)
    side = row.preprocessing.side
    network = build_without_memory(row).eval()
    with torch.no_grad():
        for length in {row.preprocessing.frames or length for length in LENGTHS}:
            assert network(torch.empty(1, 3, length, side, side, device="meta")).shape == (1, row.width)


@pytest.mark.parametrize("name", [n for n in ROWS if entry(n).builder in ("torchvision", "pytorchvideo")])
def test_a_library_s_network_loses_its_classifier_and_no_other_tensor(name):
    from pytorchvideo.models import hub
    from torchvision.models import get_model

    row = entry(name)
    whole = get_model(row.model) if row.builder == "torchvision" else getattr(hub, row.model)()
    kept = build_without_memory(row).state_dict()
    assert whole.state_dict().keys() - kept.keys() == {f"{row.classifier}.weight", f"{row.classifier}.bias"}
    assert kept.keys() <= whole.state_dict().keys()


def test_the_lengths_are_those_of_24_and_32_frames_at_all_rates():
    assert LENGTHS == [4, 6, 8, 11, 12, 16, 24, 32]


@pytest.mark.parametrize("length", [4, 32])
@pytest.mark.parametrize("name", ["x3d_s_3d", "shufflenet_3d"])
def test_real_clips_may_have_any_length(random_backbone, frames, name, length):
    clip = np.arange(length, dtype=np.int32)[None] % len(frames)
    assert random_backbone(name).embed(frames, clip).shape == (1, entry(name).width)


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


def test_vgg_s_vector_is_what_enters_its_last_layer():
    from torchvision.models import vgg16

    # fc7 after its ReLU, without dropout: 4096 features as fastVideo takes them.
    with torch.device("meta"):
        whole = vgg16().classifier
    row = entry("vgg16_2d")
    assert row.classifier == f"classifier.{len(whole) - 1}"
    assert whole[-1].in_features == row.width == 4096


def test_a_network_with_a_fixed_number_of_frames_gets_clips_of_others_resampled(frames):
    row = entry("mvit_v2_s_3d")
    assert row.preprocessing.frames == 16
    seen = []

    class Watching(torch.nn.Module):
        def forward(self, clips: torch.Tensor) -> torch.Tensor:
            seen.append(clips)
            return torch.zeros(len(clips), row.width)

    backbone = Backbone(BackboneSpec(row.name, "random"), row, Watching())
    backbone.embed(frames, np.array([[0, 1, 2, -1]]))
    backbone.embed(frames, np.arange(32)[None] % 8)
    short, long = (clips[0] for clips in seen)
    assert short.shape == long.shape == (3, 16, 224, 224)
    assert torch.equal(short[:, 0], short[:, 3])
    assert not torch.equal(short[:, 3], short[:, 4])
    assert len(short[:, 12:].flatten(1).unique(dim=1).T) == 1  # padding stayed black
    assert torch.equal(long[:, 0], long[:, 4])  # frames 1 and 9
