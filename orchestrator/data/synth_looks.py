"""What a synthetic genre looks like: a palette, a texture for the background, a shape for the things that move.

Textures are fields (height, width) float64 in 0..1 that a palette colours. Everything is arithmetic on the
generator that comes in, in double precision, so that the same seed gives the same pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Field = npt.NDArray[np.float64]
Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Look:
    """palette: colours of the field's 0, ½ and 1. accent: colour of the shapes."""

    palette: tuple[Colour, Colour, Colour]
    accent: Colour
    texture: str
    shape: str


LOOKS: dict[str, Look] = {
    "action": Look(((20, 18, 24), (196, 88, 20), (255, 190, 70)), (255, 240, 190), "streaks", "burst"),
    "adventure": Look(((44, 84, 40), (150, 140, 80), (140, 195, 225)), (250, 225, 150), "hills", "bird"),
    "comedy": Look(((250, 130, 160), (255, 215, 80), (90, 205, 220)), (255, 255, 255), "dots", "disc"),
    "crime": Look(((8, 12, 30), (30, 44, 90), (230, 170, 60)), (255, 220, 120), "windows", "box"),
    "drama": Look(((60, 48, 42), (130, 108, 92), (200, 182, 160)), (40, 32, 30), "clouds", "person"),
    "fantasy": Look(((40, 12, 70), (140, 50, 170), (80, 220, 200)), (255, 240, 255), "swirl", "star"),
    "horror": Look(((6, 6, 10), (58, 46, 52), (150, 18, 18)), (190, 20, 20), "scratches", "person"),
    "romance": Look(((110, 24, 52), (226, 96, 120), (255, 200, 190)), (255, 120, 150), "bokeh", "heart"),
    "sci-fi": Look(((2, 6, 20), (6, 60, 110), (60, 230, 255)), (200, 250, 255), "grid", "ring"),
    "thriller": Look(((14, 22, 24), (60, 84, 80), (150, 170, 150)), (10, 12, 12), "blinds", "person"),
}


def paint(look: Look, height: int, width: int, unit: float, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """(height, width, 3) background. `unit` is the size in pixels that details scale with (the frame's height)."""
    y, x = np.mgrid[0:height, 0:width] / (unit * rng.uniform(0.7, 1.4))
    field = TEXTURES[look.texture](x, y, rng)
    if rng.random() < 0.5:
        field = field[:, ::-1]
    ramp = np.stack(
        [np.interp(np.arange(256), (0, 128, 255), channel) for channel in zip(*look.palette, strict=True)], 1
    )
    ramp = ramp * rng.uniform(0.55, 1.25) * rng.uniform(0.85, 1.15, 3) + rng.uniform(0, 14)
    table = np.clip(ramp, 0, 255).astype(np.uint8)
    return table[np.clip(field * 255, 0, 255).astype(np.uint8)]


def _noise(x: Field, y: Field, rng: np.random.Generator, scale: float) -> Field:
    """Smooth value noise in 0..1, about `scale` humps a unit."""
    rows, columns = int(y[-1, 0] * scale) + 3, int(x[0, -1] * scale) + 3
    knots = rng.random((rows, columns))
    v, u = y[:, 0] * scale, x[0] * scale
    i, j = v.astype(int), u.astype(int)
    a, b = (v - i)[:, None], (u - j)[None]
    a, b = a * a * (3 - 2 * a), b * b * (3 - 2 * b)
    top = knots[np.ix_(i, j)] * (1 - b) + knots[np.ix_(i, j + 1)] * b
    low = knots[np.ix_(i + 1, j)] * (1 - b) + knots[np.ix_(i + 1, j + 1)] * b
    return np.asarray(top * (1 - a) + low * a)


def _streaks(x: Field, y: Field, rng: np.random.Generator) -> Field:
    across = x * 1.0 + y * rng.uniform(0.6, 1.2)
    lines = 0.5 + 0.5 * np.sin(across * rng.uniform(18, 30) + 4 * _noise(x, y, rng, 2))
    return np.asarray(0.15 + 0.55 * lines**3 + 0.4 * _noise(x, y, rng, 1.2) ** 2)


def _hills(x: Field, y: Field, rng: np.random.Generator) -> Field:
    field = 0.8 + 0.2 * _noise(x, y, rng, 1.5)
    tall = y[-1, 0]
    for depth in range(4):
        ridge = tall * (0.35 + 0.16 * depth) + 0.09 * np.sin(x[0] * rng.uniform(2, 6) + rng.uniform(0, 6))
        ridge = ridge + 0.03 * np.sin(x[0] * rng.uniform(12, 20) + rng.uniform(0, 6))
        field = np.where(y > ridge[None], 0.55 - 0.16 * depth + 0.06 * _noise(x, y, rng, 9), field)
    return np.asarray(field)


def _dots(x: Field, y: Field, rng: np.random.Generator) -> Field:
    pitch, shift = rng.uniform(0.16, 0.3), rng.uniform(0, 1)
    u, v = (x / pitch + shift) % 1 - 0.5, (y / pitch) % 1 - 0.5
    ground = 0.5 if rng.random() < 0.5 else 0.0
    return np.asarray(np.where(u * u + v * v < 0.09, 1.0, ground + 0.12 * _noise(x, y, rng, 1)))


def _windows(x: Field, y: Field, rng: np.random.Generator) -> Field:
    tall, block = y[-1, 0], (x[0] / rng.uniform(0.2, 0.35)).astype(int)
    roofs = tall * rng.uniform(0.1, 0.6, block[-1] + 1)[block]
    u, v = (x * 14) % 1, (y * 11) % 1
    lit = rng.random((int(y[-1, 0] * 11) + 1, int(x[0, -1] * 14) + 1)) < 0.35
    pane = (
        (u > 0.25)
        & (u < 0.8)
        & (v > 0.3)
        & (v < 0.8)
        & lit[np.ix_((y[:, 0] * 11).astype(int), (x[0] * 14).astype(int))]
    )
    house = 0.1 + 0.12 * (block % 3)[None] / 2 + 0.75 * pane
    return np.asarray(np.where(y > roofs[None], house, 0.45 * (y / tall) + 0.1))


def _clouds(x: Field, y: Field, rng: np.random.Generator) -> Field:
    soft = 0.6 * _noise(x, y, rng, 1.5) + 0.25 * _noise(x, y, rng, 4)
    return np.asarray(soft + 0.25 * (1 - y / y[-1, 0]) - 0.2 * (y > y[-1, 0] * rng.uniform(0.6, 0.8)))


def _swirl(x: Field, y: Field, rng: np.random.Generator) -> Field:
    u, v = x - x[0, -1] * rng.uniform(0.3, 0.7), y - y[-1, 0] * rng.uniform(0.3, 0.7)
    angle, radius = np.arctan2(v, u), np.hypot(u, v)
    return np.asarray(
        0.45 + 0.35 * np.sin(rng.integers(2, 5) * angle + radius * 14) + 0.3 * (_noise(x, y, rng, 6) - 0.4)
    )


def _scratches(x: Field, y: Field, rng: np.random.Generator) -> Field:
    fog = 0.55 * _noise(x, y, rng, 2) ** 2 + 0.15 * _noise(x, y, rng, 8)
    cuts = np.interp(x[0] * 40 % 400, np.arange(400), (rng.random(400) < 0.05) * rng.random(400))
    return np.asarray(fog + 0.8 * cuts[None] * (_noise(x, y, rng, 3) > 0.45))


def _bokeh(x: Field, y: Field, rng: np.random.Generator) -> Field:
    field = 0.2 + 0.3 * _noise(x, y, rng, 1)
    for _ in range(22):
        u, v, r = rng.uniform(0, x[0, -1]), rng.uniform(0, y[-1, 0]), rng.uniform(0.05, 0.16)
        field = field + 0.28 * np.clip((r - np.hypot(x - u, y - v)) * 30, 0, 1)
    return np.asarray(field)


def _grid(x: Field, y: Field, rng: np.random.Generator) -> Field:
    horizon, middle = y[-1, 0] * rng.uniform(0.35, 0.55), x[0, -1] / 2
    depth = 1 / np.maximum(y - horizon, 0.02)
    lines = (np.abs((x - middle) * depth * 2 % 1 - 0.5) > 0.45) | (np.abs(depth * 1.5 % 1 - 0.5) > 0.43)
    stars = (_noise(x, y, rng, 40) > 0.93) * 0.8
    ground = 0.12 + 0.75 * lines * np.clip((y - horizon) * 5, 0, 1)
    return np.asarray(np.where(y > horizon, ground, 0.3 * y / horizon + stars))


def _blinds(x: Field, y: Field, rng: np.random.Generator) -> Field:
    slats = ((y + x * rng.uniform(-0.35, 0.35) + 9) * rng.uniform(7, 11)) % 1
    return np.asarray(0.12 + 0.6 * (slats > 0.5) * (0.4 + 0.6 * _noise(x, y, rng, 1)) + 0.12 * _noise(x, y, rng, 5))


TEXTURES: dict[str, Callable[[Field, Field, np.random.Generator], Field]] = {
    "streaks": _streaks,
    "hills": _hills,
    "dots": _dots,
    "windows": _windows,
    "clouds": _clouds,
    "swirl": _swirl,
    "scratches": _scratches,
    "bokeh": _bokeh,
    "grid": _grid,
    "blinds": _blinds,
}


def cut_out(shape: str, radius: int) -> npt.NDArray[np.int32]:
    """(2 radius + 1)² coverage 0..256 of a shape, soft at its edge."""
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1] / radius
    r, angle = np.hypot(x, y), np.arctan2(y, x)
    inside = {
        "disc": lambda: 0.95 - r,
        "ring": lambda: 0.2 - np.abs(r - 0.72),
        "burst": lambda: 0.62 + 0.3 * np.sin(9 * angle) - r,
        "star": lambda: 0.16 - np.abs(x * y) * 4 - 0.15 * r,
        "heart": lambda: (0.9 - (x * 1.25) ** 2 - (-y * 1.15 + 0.25 - np.sqrt(np.abs(x)) * 0.7) ** 2) * 0.6,
        "box": lambda: np.minimum(0.95 - np.abs(x), 0.35 - np.abs(y)),
        "bird": lambda: 0.13 - np.abs(y + 0.3 - 0.7 * np.abs(np.sin(2.6 * x))) - 0.5 * np.maximum(np.abs(x) - 0.8, 0),
        "person": lambda: np.maximum(0.3 - np.hypot(x * 1.15, y + 0.6), 0.7 - np.hypot(x * 1.3, (y - 0.45) * 0.95)),
    }[shape]()
    return np.asarray(np.clip(inside * radius * 0.8 + 0.5, 0, 1) * 256).astype(np.int32)
