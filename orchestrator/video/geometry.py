"""What a grid frame is: its size, its place in the picture, and the JSON that puts both into every key."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from orchestrator.specs import GRID_FPS

FRAME_SIDE = 224
"""Rows and columns of a grid frame, what every backbone starts from."""

THUMB = (27, 48)
"""Rows and columns of the whole-frame picture; TransNetV2 was trained on it."""

GEOMETRY: dict[str, Any] = {
    "version": 1,
    "grid_fps": GRID_FPS,
    "grid": "frame k is the source frame on screen k/24 s after the first; less than a tick and 1 ms late is on time",
    "aspect": "as displayed: rotation and pixel aspect honoured",
    "decoded": "bicubic, to the least width that is a multiple of 32 and leaves both sides at least 224",
    "frame": "shorter side to 224, then centre crop",
    "side": FRAME_SIDE,
    "thumb": list(THUMB),
    "resize": "bilinear, antialiased, uint8",
}
"""What a grid frame is, in plain JSON. Raise `version` with any change that moves a pixel."""

WIDTH_STEP = 32
"""decord 0.6.0 fails on every frame ("size must exactly match") at a scaled width that is no multiple of this."""


def decoded_size(aspect: Fraction) -> tuple[int, int]:
    """(width, height) to which the decoder scales a picture of this displayed aspect (width / height)."""
    width = WIDTH_STEP * -(-max(Fraction(FRAME_SIDE), FRAME_SIDE * aspect) // WIDTH_STEP)
    return int(width), round(width / aspect)


def resized_size(aspect: Fraction) -> tuple[int, int]:
    """(width, height) of the whole picture once its shorter side is `FRAME_SIDE`; the crop is its centre."""
    if aspect >= 1:
        return round(FRAME_SIDE * aspect), FRAME_SIDE
    return FRAME_SIDE, round(FRAME_SIDE / aspect)
