from __future__ import annotations

import pytest

from orchestrator.search.dimensions import combine, contains, every_value, fits, is_finite, sort_dimensions
from orchestrator.search.records import Choice, Dimension, Integer, Uniform

AGGREGATOR = Dimension("aggregator", Choice(("gru", "conv")))
UNITS = Dimension("aggregator.gru.units", Integer(32, 64, step=32), (("aggregator", ("gru",)),))
BATCH = Dimension("training.batch_size", Choice((16, 32)), (("aggregator.gru.units", (64,)),))
RATE = Dimension("training.learning_rate", Uniform(1e-4, 1e-2, log=True))


@pytest.mark.parametrize(
    ("domain", "value", "good"),
    [
        (Choice(("a", 2)), 2, True),
        (Choice(({"name": "gru", "units": 3},)), {"units": 3, "name": "gru"}, True),
        (Choice((1, 2)), True, False),
        (Choice((True, False)), 1, False),
        (Integer(1, 9, step=4), 5, True),
        (Integer(1, 9, step=4), 6, False),
        (Integer(1, 9), 10, False),
        (Integer(1, 9), 2.0, False),
        (Integer(0, 1), True, False),
        (Uniform(0, 1), 1, True),
        (Uniform(0, 1), 1.01, False),
        (Uniform(0, 1), "1", False),
    ],
)
def test_a_value_fits_its_range_by_kind_bounds_and_step(domain: Choice | Integer | Uniform, value: object, good: bool):
    assert fits(domain, value) is good


def test_values_belong_only_with_exactly_the_fields_whose_conditions_hold() -> None:
    space = (AGGREGATOR, UNITS, BATCH)
    assert contains(space, {"aggregator": "gru", "aggregator.gru.units": 32})
    assert contains(space, {"aggregator": "gru", "aggregator.gru.units": 64, "training.batch_size": 16})
    assert contains(space, {"aggregator": "conv"})
    assert not contains(space, {"aggregator": "gru"})
    assert not contains(space, {"aggregator": "conv", "aggregator.gru.units": 32})
    assert not contains(space, {"aggregator": "gru", "aggregator.gru.units": 32, "training.batch_size": 16})
    assert not contains(space, {"aggregator": "conv", "training.seed": 1})
    assert not contains(space, {"aggregator.gru.units": 32})


def test_combinations_are_those_that_conditions_allow() -> None:
    found = list(combine((AGGREGATOR, UNITS, BATCH), every_value))
    assert found == [
        {"aggregator": "gru", "aggregator.gru.units": 32},
        {"aggregator": "gru", "aggregator.gru.units": 64, "training.batch_size": 16},
        {"aggregator": "gru", "aggregator.gru.units": 64, "training.batch_size": 32},
        {"aggregator": "conv"},
    ]
    assert list(combine((), every_value)) == [{}]


def test_a_space_is_finite_without_a_range_of_real_numbers() -> None:
    assert is_finite((AGGREGATOR, UNITS))
    assert not is_finite((AGGREGATOR, RATE))
    fixed = Dimension("training.weight_decay", Uniform(0.1, 0.1))
    assert is_finite((fixed,)) and list(every_value(fixed)) == [0.1]


def test_dimensions_stand_behind_those_that_they_wait_for() -> None:
    assert sort_dimensions((BATCH, RATE, UNITS, AGGREGATOR)) == (RATE, AGGREGATOR, UNITS, BATCH)
    circle = Dimension("aggregator", Choice(("gru",)), (("training.batch_size", (16,)),))
    with pytest.raises(ValueError, match=r"aggregator, aggregator\.gru\.units, training\.batch_size"):
        sort_dimensions((RATE, circle, UNITS, BATCH))
