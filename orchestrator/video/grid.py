"""The 24 fps time grid, laid over the timestamps of a file."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from orchestrator.specs import GRID_FPS

TIMING_SLACK = Fraction(1, 1000)
"""The most, in seconds, by which a frame may be late and still count as on time. See `lay_grid`."""


def lay_grid(times: Sequence[int], end: int, time_base: Fraction) -> np.ndarray:
    """(N,) int64: for grid frame k, the index of the source frame on screen k/24 s after the first one.

    `times` are the n >= 1 ascending timestamps of the source frames and `end` is when the last one leaves the
    screen, all in ticks of `time_base` seconds. A frame is on screen from its timestamp to the next one's.
    Containers round timestamps to their tick (24 fps in Matroska: 0, 42, 83, 125 ms), so a frame that is less than
    a tick late, and less than `TIMING_SLACK`, is on time. The arithmetic is exact.
    """
    slack = min(time_base, TIMING_SLACK)
    # Frame i is on screen at grid frame k when t[i] - slack < k/24: from k = floor(24 (t[i] - slack)) + 1 on.
    first = [max(0, (GRID_FPS * ((t - times[0]) * time_base - slack)) // 1 + 1) for t in times]
    length = max(1, -((-GRID_FPS * ((end - times[0]) * time_base - slack)) // 1))
    return np.searchsorted(np.array(first, np.int64), np.arange(int(length)), side="right") - 1
