from __future__ import annotations

import json
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.video.geometry import FRAME_SIDE, GEOMETRY, decoded_size, resized_size


@pytest.mark.parametrize(
    ("picture", "decoded", "resized"),
    [
        ((1920, 1080), (416, 234), (398, 224)),
        ((1080, 1920), (224, 398), (224, 398)),
        ((854, 480), (416, 234), (399, 224)),
        ((1920, 804), (544, 228), (535, 224)),
        ((480, 480), (224, 224), (224, 224)),
    ],
)
def test_sizes_of_usual_trailers(picture: tuple[int, int], decoded: tuple[int, int], resized: tuple[int, int]) -> None:
    aspect = Fraction(*picture)
    assert (decoded_size(aspect), resized_size(aspect)) == (decoded, resized)


@given(st.integers(16, 4096), st.integers(16, 4096))
def test_decoded_width_is_the_least_multiple_of_32_with_both_sides_long_enough(width: int, height: int) -> None:
    aspect = Fraction(width, height)
    wide, high = decoded_size(aspect)
    assert wide % 32 == 0 and min(wide, high) >= FRAME_SIDE
    assert wide - 32 < FRAME_SIDE or (wide - 32) / aspect < FRAME_SIDE
    assert min(resized_size(aspect)) == FRAME_SIDE


def test_geometry_is_plain_json() -> None:
    assert json.loads(json.dumps(GEOMETRY)) == GEOMETRY
