"""Decoded frames to the two pictures that the rest works on. Needs torch, so it is imported only where that is."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn.functional import interpolate

from orchestrator.video.geometry import FRAME_SIDE, THUMB


def crop_frames(frames: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """uint8 (n, 224, 224, 3): whole frames (n, h, w, 3) resized to `size` (width, height), then the centre."""
    whole = _resize(frames, size[1], size[0])
    top, left = (size[1] - FRAME_SIDE) // 2, (size[0] - FRAME_SIDE) // 2
    return whole[:, top : top + FRAME_SIDE, left : left + FRAME_SIDE]


def make_thumbs(frames: np.ndarray) -> np.ndarray:
    """uint8 (n, 27, 48, 3): whole frames (n, h, w, 3), squeezed."""
    return _resize(frames, *THUMB)


def _resize(frames: np.ndarray, height: int, width: int) -> np.ndarray:
    if frames.shape[1:3] == (height, width):
        return frames
    # (n, 3, h, w) <- (n, h, w, 3), a view that torch knows as channels_last
    pictures = torch.from_numpy(frames).permute(0, 3, 1, 2)
    resized = interpolate(pictures, size=(height, width), mode="bilinear", antialias=True)
    return resized.permute(0, 2, 3, 1).numpy()
