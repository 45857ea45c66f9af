"""Grid frames as the decoder gives them, picked by clip and made into what a network takes."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from orchestrator.backbones.records import Preprocessing


def resample(index: np.ndarray, frames: int | None) -> np.ndarray:
    """(B, frames) <- index (B, T): the i-th of `frames` is number floor((i + 1/2) · T / frames) of the T.

    That is the frame shown in the middle of the i-th of `frames` equal parts of the clip; padding stays padding. None
    leaves the index as it is.
    """
    if frames is None:
        return index
    length = index.shape[1]
    taken: np.ndarray = index[:, (2 * np.arange(frames) + 1) * length // (2 * frames)]
    return taken


def gather(frames: np.ndarray, index: np.ndarray) -> np.ndarray:
    """(B, T, S, S, 3) uint8 <- frames (N, S, S, 3) at index (B, T); -1 is a black frame. Always a copy."""
    clips: np.ndarray = frames[np.maximum(index, 0)]
    clips[index < 0] = 0
    return clips


def normalise(clips: Tensor, settings: Preprocessing) -> Tensor:
    """(B, 3, T, side, side) float32 <- clips (B, T, S, S, 3) uint8, on the clips' device."""
    batch, length, height, width, _ = clips.shape
    # (B·T, 3, S, S) <- (B, T, S, S, 3)
    pixels = clips.reshape(batch * length, height, width, 3).permute(0, 3, 1, 2).to(torch.float32)
    if (height, width) != (settings.side, settings.side):
        size = (settings.side, settings.side)
        pixels = F.interpolate(pixels, size=size, mode=settings.resize, antialias=True, align_corners=False)
        pixels = pixels.clamp(0, 255)  # bicubic overshoots
    mean = torch.tensor(settings.mean, device=pixels.device).view(1, 3, 1, 1) * 255
    std = torch.tensor(settings.std, device=pixels.device).view(1, 3, 1, 1) * 255
    pixels = (pixels - mean) / std
    # (B, 3, T, side, side) <- (B·T, 3, side, side)
    return pixels.view(batch, length, 3, settings.side, settings.side).transpose(1, 2)
