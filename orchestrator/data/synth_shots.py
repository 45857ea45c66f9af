"""One synthetic shot: a painted background seen by a moving camera, with shapes that move as their genre does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from orchestrator.data.synth_looks import LOOKS, cut_out, paint

Frame = npt.NDArray[np.uint8]
Curve = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Motion:
    """x, y: camera offset in frame heights. scale: how much it sees (1 = its frame). gain: brightness, at most 1.
    things: (frames, n, 2) positions of the shapes as x, y in 0..1 of the frame."""

    x: Curve
    y: Curve
    scale: Curve
    gain: Curve
    things: Curve


def _wander(t: Curve, rng: np.random.Generator, rate: float) -> Curve:
    """A path in -1..1 with `rate` changes of direction a second."""
    knots = rng.uniform(-1, 1, int(t[-1] * rate) + 3)
    return np.interp(t * rate, np.arange(len(knots)), knots)


def _scatter(rng: np.random.Generator, n: int) -> Curve:
    return rng.uniform(0.08, 0.92, (1, n, 2))


def _explode(t: Curve, rng: np.random.Generator) -> Motion:
    angle, speed, phase = rng.uniform(0, 6.28, 9), rng.uniform(0.8, 1.6, 9), rng.random(9)
    far = (t[:, None] * speed + phase) % 1
    things = 0.5 + 0.75 * far[..., None] * np.stack([np.cos(angle), np.sin(angle)], -1)
    return Motion(0.05 * _wander(t, rng, 9), 0.05 * _wander(t, rng, 9), 1 + 0 * t, 1 + 0 * t, things)


def _travel(t: Curve, rng: np.random.Generator) -> Motion:
    things = _scatter(rng, 5) * (1, 0.5) + t[:, None, None] * rng.uniform(0.05, 0.15, (1, 5, 1)) * (1, -0.2)
    return Motion(t * rng.uniform(0.35, 0.6), 0.01 * _wander(t, rng, 2), 1 + 0 * t, 1 + 0 * t, things % 1)


def _bounce(t: Curve, rng: np.random.Generator) -> Motion:
    phase, x = rng.uniform(0, 3.14, 6), rng.uniform(0.05, 0.95, 6) + t[:, None] * rng.uniform(-0.2, 0.2, 6)
    y = 0.85 - 0.6 * np.abs(np.sin(t[:, None] * rng.uniform(3, 5, 6) + phase))
    return Motion(0 * t, 0 * t, 1 + 0 * t, 1 + 0 * t, np.stack([x % 1, y], -1))


def _pass_by(t: Curve, rng: np.random.Generator) -> Motion:
    x = rng.random(6) + t[:, None] * rng.uniform(0.7, 1.2, 6) * np.where(np.arange(6) % 2, 1, -1)
    y = np.broadcast_to(rng.uniform(0.7, 0.95, 6), x.shape)
    return Motion(-0.06 * t, 0 * t, 1 + 0 * t, 1 + 0 * t, np.stack([x % 1, y], -1))


def _dwell(t: Curve, rng: np.random.Generator) -> Motion:
    things = _scatter(rng, 2) * (1, 0.2) + (0, 0.6) + 0.004 * np.sin(t * 2)[:, None, None]
    return Motion(0 * t, 0 * t, 1.14 - 0.06 * t, 1 + 0 * t, things)


def _circle(t: Curve, rng: np.random.Generator) -> Motion:
    angle = rng.uniform(0, 6.28, 10) + t[:, None] * rng.uniform(1.5, 2.5)
    things = 0.5 + rng.uniform(0.12, 0.45, (1, 10, 1)) * np.stack([np.cos(angle), np.sin(angle)], -1)
    return Motion(0.15 * np.cos(t * 2), 0.15 * np.sin(t * 2), 1 + 0 * t, 0.92 + 0.08 * np.sin(t * 5), things)


def _lurk(t: Curve, rng: np.random.Generator) -> Motion:
    tremble = 0.008 * np.stack([_wander(t, rng, 14), _wander(t, rng, 14)], -1)[:, None]
    gain = 0.85 + 0.15 * _wander(t, rng, 10)
    return Motion(0 * t, 0.02 * t, 1.2 - 0.08 * t, gain, _scatter(rng, 2) * (1, 0.3) + (0, 0.5) + tremble)


def _rise(t: Curve, rng: np.random.Generator) -> Motion:
    things = _scatter(rng, 8) - t[:, None, None] * rng.uniform(0.12, 0.25, (1, 8, 1)) * (0, 1)
    sway = 0.03 * np.sin(t * 2.5)[:, None, None] * (1, 0)
    return Motion(0.02 * np.sin(t), -0.1 * t, 1 + 0 * t, 1 + 0 * t, (things + sway) % 1)


def _fly_in(t: Curve, rng: np.random.Generator) -> Motion:
    angle, phase = rng.uniform(0, 6.28, 12), rng.random(12)
    far = ((t[:, None] * 0.7 + phase) % 1) ** 2
    things = 0.5 + 0.7 * far[..., None] * np.stack([np.cos(angle), np.sin(angle)], -1)
    return Motion(0 * t, 0 * t, 1 + 0.8 * np.exp(-1.1 * t), 1 + 0 * t, things)


def _stalk(t: Curve, rng: np.random.Generator) -> Motion:
    period = rng.uniform(0.4, 0.6)
    step = np.floor(t / period) + np.clip((t / period) % 1 * 4 - 3, 0, 1)  # stands for ¾ of it, then darts
    knots = rng.uniform(-1, 1, (int(step[-1]) + 3, 2))
    path = np.stack([np.interp(step, np.arange(len(knots)), knots[:, k]) for k in (0, 1)], -1)
    things = 0.5 + 0.3 * path[:, None] * (1, 0.4) + (0, 0.15)
    return Motion(0.12 * path[:, 0], 0.03 * path[:, 1], 1 + 0 * t, 1 + 0 * t, things)


MOTIONS: dict[str, Callable[[Curve, np.random.Generator], Motion]] = {
    "action": _explode,
    "adventure": _travel,
    "comedy": _bounce,
    "crime": _pass_by,
    "drama": _dwell,
    "fantasy": _circle,
    "horror": _lurk,
    "romance": _rise,
    "sci-fi": _fly_in,
    "thriller": _stalk,
}


class Shot:
    """`look` and `motion` are genres; they may differ. Frame k of `length` is `shot.frame(k)`, (height, width, 3)."""

    def __init__(
        self, look: str, motion: str, length: int, fps: int, size: tuple[int, int], rng: np.random.Generator
    ) -> None:
        self._width, self._height = size
        self._motion = MOTIONS[motion](np.arange(length) / fps, rng)
        unit, m = float(self._height), self._motion
        left, right = _extent(m.x * unit, m.scale * self._width / 2)
        top, bottom = _extent(m.y * unit, m.scale * self._height / 2)
        self._origin = (left, top)
        style = LOOKS[look]
        self._canvas = paint(style, bottom - top + 2, right - left + 2, unit, rng)
        radii = np.asarray(rng.uniform(0.05, 0.11, m.things.shape[1])) * unit
        if style.shape == "person":
            radii = radii * 3
        self._shapes = [cut_out(style.shape, max(3, int(radius))) for radius in radii]
        self._accent = np.array(style.accent, np.int32)
        y, x = np.linspace(-1, 1, self._height)[:, None], np.linspace(-1, 1, self._width)
        self._shade = (256 - 70 * np.clip(x * x + y * y - 0.4, 0, 1)).astype(np.uint16)[..., None]

    def frame(self, k: int) -> Frame:
        m, (w, h) = self._motion, (self._width, self._height)
        xs = (m.x[k] * h + (np.arange(w) - w / 2) * m.scale[k] - self._origin[0]).astype(np.intp)
        ys = (m.y[k] * h + (np.arange(h) - h / 2) * m.scale[k] - self._origin[1]).astype(np.intp)
        if m.scale[k] == 1:
            image = self._canvas[ys[0] : ys[0] + h, xs[0] : xs[0] + w].copy()
        else:
            image = self._canvas[ys].take(xs, axis=1)
        for (x, y), shape in zip(m.things[k].tolist(), self._shapes, strict=True):
            _stamp(image, int(x * w), int(y * h), shape, self._accent)
        shade = self._shade if m.gain[k] == 1 else (self._shade * m.gain[k]).astype(np.uint16)
        return np.asarray((image * shade) >> 8, np.uint8)


def _extent(centre: Curve, half: Curve) -> tuple[int, int]:
    return int(np.floor((centre - half).min())), int(np.ceil((centre + half).max()))


def _stamp(image: Frame, x: int, y: int, shape: npt.NDArray[np.int32], colour: npt.NDArray[np.int32]) -> None:
    """Lays a shape with its middle at x, y on the image, as far as it lies inside."""
    radius = len(shape) // 2
    top, left = max(0, y - radius), max(0, x - radius)
    bottom, right = min(image.shape[0], y + radius + 1), min(image.shape[1], x + radius + 1)
    if top >= bottom or left >= right:
        return
    under = image[top:bottom, left:right].astype(np.int32)
    cover = shape[top - y + radius : bottom - y + radius, left - x + radius : right - x + radius, None]
    image[top:bottom, left:right] = under + ((colour - under) * cover >> 8)
