from __future__ import annotations

import itertools

from orchestrator.reporting.placing import Box, place_labels

PAGE = Box(0, 0, 500, 300)


def test_labels_cover_neither_one_another_nor_the_points() -> None:
    centres = [(100.0, 100.0), (110.0, 104.0), (118.0, 98.0), (400.0, 200.0), (408.0, 206.0)]
    radii = [5.0, 5.0, 5.0, 14.0, 5.0]
    boxes = place_labels(centres, radii, [60.0, 80.0, 50.0, 90.0, 70.0], 8, PAGE)
    bubbles = [Box(x - r, y - r, x + r, y + r) for (x, y), r in zip(centres, radii, strict=True)]
    assert all(a.overlap(b) == 0 for a, b in itertools.combinations(boxes, 2))
    assert all(a.overlap(b) == 0 for a in boxes for b in bubbles)


def test_labels_stay_inside_the_frame() -> None:
    corners = [(2.0, 2.0), (498.0, 298.0), (498.0, 2.0)]
    for box in place_labels(corners, [3.0] * 3, [80.0] * 3, 8, PAGE):
        assert box.overlap(PAGE) == box.area


def test_a_lone_label_stands_to_the_right_of_its_point() -> None:
    (box,) = place_labels([(100.0, 100.0)], [4.0], [50.0], 8, PAGE)
    assert box.left == 106.0 and box.bottom < 100 < box.top


def test_labels_avoid_lines() -> None:
    line = Box.around((0.0, 100.0), (500.0, 100.0))
    (box,) = place_labels([(100.0, 100.0)], [4.0], [50.0], 8, PAGE, [line])
    assert box.overlap(line) == 0


def test_no_points_have_no_labels() -> None:
    assert place_labels([], [], [], 8, PAGE) == []
