from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.errors import InputError
from orchestrator.search.records import Dimension
from orchestrator.sweep.space import load_space, parse_overrides

HEAD = "search:\n  configs: 3\n  ranges:\n    "


def read(tmp_path: Path, ranges: str, fixed: str = "{}", overrides: tuple[str, ...] = ()) -> dict[str, Dimension]:
    """The dimensions by field; `ranges` has its first field on line 5 of the file."""
    path = tmp_path / "a.yaml"
    path.write_text(f"fixed: {fixed}\n{HEAD}{ranges}\n")
    (search,) = load_space(path, parse_overrides(overrides)).searches
    return {d.field: d for d in search.spec.dimensions}


@pytest.mark.parametrize(
    ("ranges", "message"),
    [
        ("backbon: [swin_2d]", "a.yaml:5: search: ranges: backbon: unknown field; did you mean backbone?"),
        ("aggregator.gru.unit: [1]", "aggregator.gru.unit: unknown setting; did you mean units?"),
        ("aggregator.lstm.units: [1]", "aggregator.lstm.units: 'lstm' is not one of transformer, gru"),
        ("backbone: swin_2d", "'swin_2d' is not a list of values, nor a mapping with one of choice, uniform"),
        ("training.learning_rate: {range: [1, 2]}", "nor a mapping with one of choice, uniform, log_uniform, integer"),
        ("training.learning_rate: {uniform: [1, 2], integer: [1, 2]}", "nor a mapping with one of choice, uniform"),
        ("training.learning_rate: {uniform: [1e-1, 1e-2]}", "low must be at most high, but got [0.1, 0.01]"),
        ("training.learning_rate: {log_uniform: [0, 1]}", "low must be above 0 to draw its logarithm, but got 0.0"),
        ("training.learning_rate: {uniform: [1e-3, 1], log: true}", "log: unknown key; write log_uniform: [low, high]"),
        ("training.learning_rate: {uniform: [a, 1]}", "training.learning_rate: 'a' is not a number"),
        ("training.learning_rate: {uniform: [1]}", "training.learning_rate: uniform: [1] is not [low, high]"),
        ("clips_per_snippet: {uniform: [1, 2]}", "it is a whole number; draw it by integer or choice"),
        ("frame_rate: {integer: [4, 24]}", "it is no number of a range; list its values as a choice"),
        ("clips_per_snippet: {integer: [1, 10], step: 4}", "steps of 4 from 1 don't reach 10; write [1, 9]"),
        ("clips_per_snippet: {integer: [1, 9], step: 0}", "step: 0 is not a whole number of at least 1"),
        ("clips_per_snippet: {integer: [1, 9], step: 4, log: true}", "steps and log: true exclude each other"),
        ("clips_per_snippet: {integer: [0, 9], log: true}", "low must be above 0 to draw its logarithm, but got 0"),
        ("clips_per_snippet: {integer: [1, 9.5]}", "9.5 is not a whole number"),
        ("clips_per_snippet: {integer: [1, 9], log: 3}", "log: 3 is not true or false"),
        ("backbone: []", "backbone: [] is not a list of values to choose from"),
        ("backbone: [swin_2d, swin_2d]", "backbone: 'swin_2d' is given twice"),
        ("training.learning_rate: [1e-4, 0.0001]", "training.learning_rate: 0.0001 is given twice"),
        ("aggregator: [gru, {name: gru}]", "aggregator: {'name': 'gru'} is given twice"),
        ("training.learning_rate: [quick]", "training.learning_rate: 'quick' is not a number"),
        ("training.seed: [true]", "training.seed: True is not a whole number"),
        (
            "aggregator: [{name: gru, units: 3}]\n    aggregator.gru.units: [4]",
            "a.yaml:6: search: ranges: aggregator.gru.units: given twice, here and as a setting of a value of",
        ),
        ("frame_rate: {choice: [4], when: {backbone: swin_3d}}", "when: backbone is neither drawn nor under fixed"),
        ("frame_rate: {choice: [4], when: {frame_rate: 4}}", "when: frame_rate: a field can't wait for itself"),
        ("frame_rate: {choice: [4], when: 4}", "when: 4 is not a mapping of fields to values"),
        (
            "backbone: [swin_2d]\n    frame_rate: {choice: [4], when: {backbone: swin_3d}}",
            "a.yaml:6: search: ranges: frame_rate: when: backbone: 'swin_3d' is not one of swin_2d",
        ),
        (
            "frame_rate: {choice: [4], when: {backbone: swin_2d}}\n"
            "    backbone: {choice: [swin_2d], when: {frame_rate: 4}}",
            "frame_rate, backbone: their conditions wait for each other",
        ),
        (
            "training.learning_rate: {uniform: [0.1, 1]}\n"
            "    frame_rate: {choice: [4], when: {training.learning_rate: 1}}",
            "when: training.learning_rate is drawn from a range; only choices can be conditions",
        ),
        ("aggregator.conv.filters: [4]", "drawn only where aggregator is conv, but it is always transformer"),
        (
            "aggregator: [gru, conv]\n    aggregator.gru.units: {choice: [4], when: {aggregator: conv}}",
            "aggregator.gru.units: when: no aggregator meets it, so it would never be drawn",
        ),
    ],
)
def test_a_mistake_in_a_range_is_named_with_its_line_and_what_is_allowed(
    tmp_path: Path, ranges: str, message: str
) -> None:
    with pytest.raises(InputError) as error:
        read(tmp_path, ranges)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("fixed", "ranges", "message"),
    [
        ("{frame_rate: 4}", "frame_rate: [4, 8]", "a.yaml:5: search: ranges: frame_rate: given twice, here and under"),
        ("{training: {seed: 1}}", "training.seed: [1]", "training.seed: given twice, here and under fixed"),
        ("{aggregator: {name: gru, units: 3}}", "aggregator.gru.units: [4]", "given twice, here and as a setting"),
        (
            "{backbone: swin_2d}",
            "frame_rate: {choice: [4], when: {backbone: swin_3d}}",
            "frame_rate: drawn only where backbone is swin_3d, but it is always swin_2d",
        ),
    ],
)
def test_what_is_fixed_can_not_be_drawn_too(tmp_path: Path, fixed: str, ranges: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        read(tmp_path, ranges, fixed)
    assert message in str(error.value)


def test_a_condition_on_a_fixed_field_that_always_holds_is_none(tmp_path: Path) -> None:
    ranges = "aggregator.gru.units: [4, 8]\n    frame_rate: {choice: [4], when: {backbone: [swin_3d, swin_2d]}}"
    found = read(tmp_path, ranges, "{aggregator: gru, backbone: swin_3d}")
    assert all(d.when == () for d in found.values()) and len(found) == 2


RANGES = """aggregator: [gru, conv]
    aggregator.gru.units: {integer: [4, 8]}
    training.batch_size: {choice: [16, 32], when: {aggregator: conv}}
    training.seed: {choice: [1, 2], when: {training.batch_size: 32}}"""


@pytest.mark.parametrize(
    ("overrides", "left"),
    [
        ((), ["aggregator", "aggregator.gru.units", "training.batch_size", "training.seed"]),
        (("aggregator.gru.units=5",), ["aggregator", "training.batch_size", "training.seed"]),
        (("aggregator=gru",), ["aggregator.gru.units"]),
        (("aggregator={name: gru, units: 7}",), []),
        (("aggregator=conv",), ["training.batch_size", "training.seed"]),
        (("aggregator=mean",), []),
        (("training.batch_size=32",), ["aggregator", "aggregator.gru.units", "training.seed"]),
        (("training.batch_size=16",), ["aggregator", "aggregator.gru.units"]),
    ],
)
def test_an_override_takes_the_place_of_a_drawn_field_and_settles_the_conditions_on_it(
    tmp_path: Path, overrides: tuple[str, ...], left: list[str]
) -> None:
    assert list(read(tmp_path, RANGES, overrides=overrides)) == left


def test_an_aggregator_in_a_condition_goes_by_its_name(tmp_path: Path) -> None:
    ranges = "aggregator: [gru, {name: conv, kernel: 5}]\n    training.seed: {choice: [1, 2], when: {aggregator: conv}}"
    assert read(tmp_path, ranges)["training.seed"].when == (("aggregator", ({"name": "conv", "kernel": 5},)),)
