from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.errors import InputError
from orchestrator.search.records import Choice, Dimension, Integer, Uniform
from orchestrator.sweep.drawable import MOST, check_drawable, samples
from orchestrator.sweep.space import load_space

HEAD = "search:\n  configs: 3\n  ranges:\n    "


@pytest.mark.parametrize(
    ("ranges", "messages"),
    [
        (
            "backbone: [swin_2d, swin_3d]\n    clip_strategy: [shot-24, even-240]",
            (
                "a.yaml:4: backbone: swin_3d sees moving clips",
                "a.yaml:5: search: ranges: backbone swin_3d with clip_strategy even-240 would be drawn",
                "clip_strategy: {…, when: {backbone: [swin_2d]}}",
            ),
        ),
        (
            "frame_rate: [24, 4]\n    backbone: [swin_2d]\n    clip_strategy: [shot-24, even-240]",
            ("frame_rate 4 with clip_strategy even-240 would be drawn", "when: {frame_rate: [24]}"),
        ),
        ("backbone: [swin_2d, swin_9d]", ("a.yaml:4: backbone: 'swin_9d' is not one of",)),
        ("training.learning_rate: {uniform: [-1, 1]}", ("training.learning_rate: must be above 0, but got -1.0",)),
        ("aggregator.transformer.dropout: {uniform: [0, 1]}", ("aggregator.dropout: must be at least 0 and below 1",)),
        # Both ends divide, what lies between them does not.
        (
            "aggregator.transformer.heads: [2, 4]\n    aggregator.transformer.width: {integer: [32, 512]}",
            ("aggregator.heads: 2 does not divide aggregator.width 33",),
        ),
        (
            "aggregator: [conv]\n    aggregator.conv.kernel: {integer: [1, 99]}",
            ("must be odd and at least 1, but got 2",),
        ),
        (
            "aggregator.transformer.width: {integer: [32, 512], step: 32}\n"
            "    aggregator.transformer.heads: {integer: [1, 4]}",
            ("heads: 3 does not divide", "make one of them a choice, or narrow their ranges"),
        ),
    ],
)
def test_a_search_that_could_draw_what_is_no_config_is_refused(
    tmp_path: Path, ranges: str, messages: tuple[str, ...]
) -> None:
    (tmp_path / "a.yaml").write_text(f"{HEAD}{ranges}\n")
    with pytest.raises(InputError) as error:
        load_space(tmp_path / "a.yaml")
    assert all(message in str(error.value) for message in messages), str(error.value)
    assert ("would be drawn" in str(error.value)) == any("drawn" in m or "narrow" in m for m in messages)


def test_the_condition_that_is_proposed_mends_the_search(tmp_path: Path) -> None:
    text = (
        f"{HEAD}backbone: [swin_2d, swin_3d]\n"
        "    clip_strategy: {choice: [shot-24, even-240], when: {backbone: [swin_2d]}}\n"
    )
    (tmp_path / "a.yaml").write_text(text)
    assert len(load_space(tmp_path / "a.yaml").searches) == 1


def test_of_too_many_combinations_all_pairs_are_tried() -> None:
    """The one pair that is refused is found, and every other pair is in some combination that was tried."""
    fields = [f"field{i}" for i in range(8)]
    dimensions = tuple(Dimension(field, Choice((0, 1, 2, 3))) for field in fields)
    assert MOST < 4**8
    tried: list[dict[str, int]] = []

    def build(values: dict[str, int]) -> None:
        tried.append(values)
        if values["field2"] == 3 and values["field6"] == 1:
            raise InputError("field2: 3 and field6: 1 exclude each other")

    with pytest.raises(InputError, match=r"field2 3 with field6 1 would be drawn"):
        check_drawable(dimensions, build, lambda field: "a.yaml:1")
    tried.clear()
    check_drawable(dimensions, tried.append, lambda field: "a.yaml:1")
    pairs = {(a, b, v[a], v[b]) for v in tried for a in fields for b in fields if a < b}
    assert len(pairs) == 28 * 16
    assert len(tried) < MOST


def test_pairs_are_tried_only_where_their_conditions_hold() -> None:
    conditions = tuple((f"field{i}", (3,)) for i in range(5))
    dimensions = (
        *(Dimension(f"field{i}", Choice((0, 1, 2, 3))) for i in range(8)),
        Dimension("rare", Choice((0, 1)), conditions),
        Dimension("rarer", Choice((0, 1)), (("rare", (1,)),)),
    )
    tried: list[dict[str, int]] = []
    check_drawable(dimensions, tried.append, lambda field: "a.yaml:1")
    assert {(v["rarer"], v["field7"]) for v in tried if "rarer" in v} == {(r, f) for r in (0, 1) for f in range(4)}
    assert all(("rare" in v) == all(v[f] == 3 for f, _ in conditions) for v in tried)
    assert all(("rarer" in v) == (v.get("rare") == 1) for v in tried)


def test_of_a_range_both_ends_are_tried_and_of_a_short_one_all() -> None:
    assert list(samples(Dimension("a", Uniform(0.0, 1.0)))) == [0.0, 1.0]
    assert list(samples(Dimension("a", Integer(1, 16)))) == list(range(1, 17))
    assert list(samples(Dimension("a", Integer(32, 512, step=2)))) == [32, 34, 512]
