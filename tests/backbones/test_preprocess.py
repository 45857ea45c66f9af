from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from orchestrator.backbones.preprocess import gather, normalise, resample
from orchestrator.backbones.records import Preprocessing
from orchestrator.backbones.registry import BACKBONES
from orchestrator.backbones.table import IMAGENET

PLAIN = Preprocessing(224, (0.0, 0.0, 0.0), (1 / 255, 1 / 255, 1 / 255))


def test_frames_are_picked_by_clip_and_padding_is_black(frames):
    clips = gather(frames, np.array([[3, -1], [-1, 0]]))
    assert np.array_equal(clips[0, 0], frames[3])
    assert np.array_equal(clips[1, 1], frames[0])
    assert not clips[0, 1].any()
    assert not clips[1, 0].any()


@pytest.mark.parametrize(
    ("length", "frames", "taken"),
    [
        (4, 16, [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3]),
        (6, 4, [0, 2, 3, 5]),
        (8, 4, [1, 3, 5, 7]),
        (3, 5, [0, 0, 1, 2, 2]),
        (24, 24, list(range(24))),
    ],
)
def test_a_clip_is_resampled_to_the_frames_in_the_middle_of_equal_parts(length, frames, taken):
    clips = np.stack([np.arange(length), np.arange(length) + 100])
    assert resample(clips, frames).tolist() == [taken, [number + 100 for number in taken]]


def test_resampling_keeps_padding_and_clips_that_need_none():
    assert resample(np.array([[5, 6, -1, -1]]), 8).tolist() == [[5, 5, 6, 6, -1, -1, -1, -1]]
    clips = np.array([[1, 2, 3]])
    assert resample(clips, None) is clips
    assert resample(np.empty((0, 4), np.int32), 16).shape == (0, 16)


def test_axes_and_channels_keep_their_order(frames):
    clips = torch.from_numpy(gather(frames, np.array([[1, 2, 5]])))
    out = normalise(clips, PLAIN)
    assert out.shape == (1, 3, 3, 224, 224)
    assert np.allclose(out[0, :, 1].permute(1, 2, 0), frames[2], atol=1e-3)


def test_normalisation_is_the_published_one_and_padding_is_black_before_it(frames):
    out = normalise(torch.from_numpy(gather(frames, np.array([[0, -1]]))), IMAGENET)
    expected = (frames[0].astype(np.float64) / 255 - IMAGENET.mean) / IMAGENET.std
    assert np.allclose(out[0, :, 0].permute(1, 2, 0), expected, atol=1e-5)
    assert np.allclose(out[0, :, 1].amax((1, 2)), [-m / s for m, s in zip(IMAGENET.mean, IMAGENET.std, strict=True)])


def test_smaller_inputs_are_resized_with_antialiasing_like_pillow(frames):
    out = normalise(torch.from_numpy(frames[None, :2].copy()), Preprocessing(112, PLAIN.mean, PLAIN.std))
    for number in range(2):
        pillow = np.asarray(Image.fromarray(frames[number]).resize((112, 112), Image.Resampling.BILINEAR), np.float32)
        assert np.abs(out[0, :, number].permute(1, 2, 0).numpy() - pillow).max() < 1.01  # Pillow rounds twice


def test_bicubic_stays_within_black_and_white(frames):
    out = normalise(torch.from_numpy(frames[None, :2].copy()), Preprocessing(300, PLAIN.mean, PLAIN.std, "bicubic"))
    assert out.min() >= 0
    assert out.max() <= 255


def test_torchvision_s_own_transforms_agree_with_the_table():
    from torchvision.models import get_model_weights

    for row in BACKBONES.values():
        if row.builder == "torchvision":
            published = next(w for w in get_model_weights(row.model) if w.url == row.weights.url)
            transform = published.transforms()
            assert tuple(transform.mean) == row.preprocessing.mean, row.name
            assert tuple(transform.std) == row.preprocessing.std, row.name
            assert transform.crop_size[0] == row.preprocessing.side, row.name
