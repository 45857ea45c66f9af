"""Untrained weights that are the same every time and still tell clips apart.

The libraries' initial values are meant as the start of training. As they are, ShuffleNetV2's features spread by 6e-7
between pictures, X3D-S's by 9e-4 and DINOv2's by 1e-4, which the epsilon of the head's BatchNorm swallows. So the
factors that start near zero to switch blocks off are set to one (LayerScale; the weights of a block's last BatchNorm,
without which Slow would not see the order of frames), and every BatchNorm layer divides by the root mean square of what
reaches it from a few seeded synthetic clips. One number a layer: statistics by channel, as in training, magnify what is
rare in those clips and made most networks' features worse (a linear classifier on synthetic trailers: ResNet-50 43
instead of 60, ShuffleNetV2 39 instead of 55 points of area).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from orchestrator.backbones.preprocess import resample
from orchestrator.backbones.records import BackboneEntry, Preprocessing

BLOCK_SCALES = (".gamma", ".gamma_1", ".gamma_2", ".layer_scale")
"""How timm and torchvision name the factors on a block's output (LayerScale)."""

CLIPS = 4
FRAMES = 4

MOST_FRAMES = 64
"""Frames of synthetic clips in all: a network that takes 24 a clip gets 2 clips, since more would take long."""


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """torch's CPU generator at `seed` inside, as it was outside. Other devices' generators are not touched."""
    before = torch.random.get_rng_state()
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        torch.random.set_rng_state(before)


@contextmanager
def one_thread() -> Iterator[None]:
    """One CPU thread inside: with another number the last bits of sums differ."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def settle(network: nn.Module, row: BackboneEntry, seed: int) -> None:
    """Sets block scales and BatchNorm statistics of a random network, in place."""
    network.eval()
    for name, parameter in network.named_parameters():
        if name.endswith(BLOCK_SCALES):
            nn.init.ones_(parameter)
    norms = [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        if norm.weight is not None and not norm.weight.any():
            nn.init.ones_(norm.weight)
    hooks = [norm.register_forward_pre_hook(_keep_mean_square) for norm in norms]
    if hooks:
        clips = normalised(synthetic_clips(seed, row.preprocessing.side), row.preprocessing)
        with one_thread(), torch.no_grad():
            network(clips if row.kind == "video" else clips[:, :, 0])
    for hook in hooks:
        hook.remove()


def _keep_mean_square(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    """Makes a BatchNorm layer divide by what its inputs' root mean square is now, all channels alike."""
    norm.get_buffer("running_var").fill_(inputs[0].square().mean())
    norm.get_buffer("running_mean").zero_()


def synthetic_clips(seed: int, side: int) -> Tensor:
    """(4, 3, 4, side, side) between 0 and 1: blotches of all sizes, some still, some moving, of varied contrast."""
    generator = torch.Generator().manual_seed(seed)
    clips = []
    for number in range(CLIPS):
        moments = (1, 2, FRAMES, FRAMES)[number % 4]
        mode = "trilinear" if number % 2 else "nearest"  # soft and hard edges
        clip = torch.zeros(1, 3, FRAMES, side, side)
        for cells in (1, 2, 4, 8, 16, 32):
            grey = torch.randn(1, 1, moments, cells, cells, generator=generator)
            colour = torch.randn(1, 3, moments, cells, cells, generator=generator)
            clip += F.interpolate(grey + 0.4 * colour, size=(FRAMES, side, side), mode=mode)
        contrast, brightness = torch.rand(2, generator=generator).tolist()
        clips.append(0.45 + 0.225 * (clip / clip.std() * (0.3 + 1.2 * contrast) + (2 * brightness - 1)))
    return torch.cat(clips).clamp(0, 1)


def normalised(clips: Tensor, settings: Preprocessing) -> Tensor:
    """(B', 3, T', side, side) <- (B, 3, T, side, side): on the scale and of the length that the network takes."""
    mean, std = (torch.tensor(values).view(1, 3, 1, 1, 1) for values in (settings.mean, settings.std))
    moments = resample(np.arange(clips.shape[2])[None], settings.frames)[0]
    count = min(len(clips), MOST_FRAMES // len(moments))
    return ((clips[:count] - mean) / std)[:, :, torch.from_numpy(moments)]
