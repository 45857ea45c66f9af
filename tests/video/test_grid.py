from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.video.grid import lay_grid

MS = Fraction(1, 1000)


@pytest.mark.parametrize(
    ("fps", "expected"),
    [
        (Fraction(24), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]),
        (Fraction(25), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]),
        (Fraction(30), [0, 1, 2, 3, 5, 6, 7, 8, 10, 11]),
        (Fraction(50), [0, 2, 4, 6, 8, 10]),
        (Fraction(60), [0, 2, 5, 7, 10]),
        (Fraction(12), [i // 2 for i in range(24)]),
        (Fraction(24000, 1001), [0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]),
    ],
)
def test_twelve_frames_at_a_steady_rate_fall_where_they_are_on_screen(fps: Fraction, expected: list[int]) -> None:
    tick = 1 / fps / 1001
    assert lay_grid([1001 * i for i in range(12)], 12 * 1001, tick).tolist() == expected


def test_a_frame_that_stays_fills_the_grid_until_the_next() -> None:
    # 0 ms, 50 ms (after 1/24 s = 41.7 ms), 300 ms, end 400 ms; the grid at 0, 41.7, 83.3, ... 375 ms
    assert lay_grid([0, 50, 300], 400, MS).tolist() == [0, 0, 1, 1, 1, 1, 1, 1, 2, 2]


def test_frames_between_two_grid_points_are_passed_over() -> None:
    assert lay_grid([0, 10, 20, 30, 40, 50, 60, 70, 80, 90], 100, MS).tolist() == [0, 4, 8]


def test_time_counts_from_the_first_frame_whatever_its_timestamp() -> None:
    times = [0, 50, 300]
    assert lay_grid([t + 1234 for t in times], 1634, MS).tolist() == lay_grid(times, 400, MS).tolist()


def test_timestamps_rounded_to_milliseconds_still_give_every_frame_once() -> None:
    times = [round(Fraction(1000 * i, 24)) for i in range(5000)]
    for end in (round(Fraction(5000 * 1000, 24)), times[-1] + 41, times[-1] + 42):
        assert lay_grid(times, end, MS).tolist() == list(range(5000))


def test_a_coarse_clock_is_not_taken_for_a_late_frame() -> None:
    assert lay_grid([0, 1, 2], 3, Fraction(1, 24)).tolist() == [0, 1, 2]
    assert lay_grid([0, 1, 2], 3, Fraction(1, 25)).tolist() == [0, 1, 2]


def test_a_single_frame_gives_at_least_one_grid_frame() -> None:
    assert lay_grid([7], 7, MS).tolist() == [0]
    assert lay_grid([7], 132, MS).tolist() == [0, 0, 0]


@settings(deadline=None)
@given(
    gaps=st.lists(st.integers(0, 400), max_size=40),
    last=st.integers(1, 400),
    tick=st.sampled_from([MS, Fraction(1, 90000), Fraction(1, 600), Fraction(1, 24)]),
    start=st.integers(-500, 500),
)
def test_each_grid_frame_shows_the_latest_source_frame_that_is_not_late(
    gaps: list[int], last: int, tick: Fraction, start: int
) -> None:
    times = [start, *(start + np.cumsum(gaps, dtype=int)).tolist()]
    grid = lay_grid(times, times[-1] + last, tick).tolist()
    slack = min(tick, MS)
    for k, source in enumerate(grid):
        on_time = [i for i, t in enumerate(times) if (t - start) * tick - slack < Fraction(k, 24)]
        assert source == on_time[-1]
    length = (times[-1] + last - start) * tick - slack
    assert len(grid) == 1 or Fraction(len(grid) - 1, 24) < length <= Fraction(len(grid), 24)
