"""Where labels of points go so that they cover neither one another nor the points. Plain geometry, in points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Box:
    """A rectangle that grows to the right and upwards."""

    left: float
    bottom: float
    right: float
    top: float

    @classmethod
    def around(cls, start: tuple[float, float], end: tuple[float, float], margin: float = 1.0) -> Box:
        """A line, upright or level, as a thin box."""
        (x, y), (u, v) = start, end
        return cls(min(x, u) - margin, min(y, v) - margin, max(x, u) + margin, max(y, v) + margin)

    def overlap(self, other: Box) -> float:
        """Shared area; 0 where they only touch."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.top, other.top) - max(self.bottom, other.bottom)
        return max(0.0, width) * max(0.0, height)

    @property
    def area(self) -> float:
        return (self.right - self.left) * (self.top - self.bottom)


def place_labels(
    centres: Sequence[tuple[float, float]],
    radii: Sequence[float],
    widths: Sequence[float],
    size: float,
    bounds: Box,
    lines: Sequence[Box] = (),
) -> list[Box]:
    """A box for each label, in the order of the points: near its own, inside the bounds, and as free as can be.

    `lines` are thin boxes that labels had better not cross.

    One after the other, the most crowded point first, each taking the best of the places around its bubble.
    """
    height = 1.25 * size
    bubbles = [Box(x - r, y - r, x + r, y + r) for (x, y), r in zip(centres, radii, strict=True)]
    crowd = [sum(float(np.hypot(x - u, y - v)) < 80 for u, v in centres) for x, y in centres]
    placed: dict[int, Box] = {}
    for i in sorted(range(len(centres)), key=lambda i: (-crowd[i], centres[i])):
        taken = [*bubbles, *lines, *placed.values()]
        placed[i] = min(
            _candidates(centres[i], radii[i], widths[i], height),
            key=lambda c: c[0] + _cost(c[1], taken, bounds),
        )[1]
    return [placed[i] for i in range(len(centres))]


def _candidates(centre: tuple[float, float], radius: float, width: float, height: float) -> list[tuple[float, Box]]:
    """Places around a bubble, each with how far off it is; right and above are the ones to be preferred."""
    found = []
    for ring, gap in enumerate((2.0, 8.0, 16.0, 26.0, 38.0)):
        for turn in range(16):
            angle = 2 * np.pi * turn / 16
            across, up = float(np.cos(angle)), float(np.sin(angle))
            x = centre[0] + across * (radius + gap + width / 2)
            y = centre[1] + up * (radius + gap + height / 2)
            box = Box(x - width / 2, y - height / 2, x + width / 2, y + height / 2)
            liking = 0.0 if turn == 0 else 1.0 if turn in (4, 8, 12) else 2.0
            found.append((8.0 * ring + liking, box))
    return found


def _cost(box: Box, taken: Sequence[Box], bounds: Box) -> float:
    outside = box.area - box.overlap(bounds)
    return sum(box.overlap(other) for other in taken) + 20.0 * outside
