from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.reporting.inputs import SearchResult
from orchestrator.reporting.searches import (
    QUANTITIES,
    Drawn,
    SearchView,
    say_condition,
    say_value,
    short_field,
    summarise,
    view_searches,
)
from orchestrator.search.records import OBJECTIVES, Choice, Dimension, Observation, SearchSpec


def summary(view) -> dict[str, tuple[str, str]]:
    return {name: (value, aside) for name, value, aside in summarise(view)}


def test_every_objective_can_be_named() -> None:
    assert set(QUANTITIES) == set(OBJECTIVES)


def test_the_summary_says_what_was_drawn_and_what_it_took(pruned) -> None:
    said = summary(pruned.view())
    assert said["Configs drawn"] == ("24 of 60", "8 done, 15 pruned, 1 failed")
    epochs = 3 * (8 * 30 + 8 * 3 + 7 * 9)
    assert said["Epochs trained"][0] == f"{epochs:,}"
    assert said["Epochs trained"][1].startswith(f"{100 * epochs / (24 * 3 * 30):.0f}% of the 2,160 ")
    assert said["Sampler"][0] == "tpe, seed 0" and said["Pruner"][0].startswith("asha: the best 1 in 3")
    assert said["Best config"] == ("#21, validation uAP 61.00 %", "by validation; test uAP 57.00 ± 1.00")


def test_the_best_are_those_of_the_validation_not_of_the_test(search) -> None:
    search.add(50.0, test=dict.fromkeys(("uAP", "mAP", "wAP", "sAP"), 90.0))
    search.add(60.0)
    search.add(70.0, "pruned", after=9)
    assert [d.name for d in search.view().best] == ["#1", "#0"]


def test_a_loss_is_best_where_it_is_low() -> None:
    found = tuple(Observation(n, {}, "done", (loss,)) for n, loss in enumerate((0.5, 0.3, 0.4)))
    spec = SearchSpec((), 3, objectives=("val_loss",))
    view = SearchView(SearchResult("t", spec, found), "t", tuple(Drawn(o, None) for o in found), ())
    assert [d.name for d in view.best] == ["#1", "#2", "#0"]


def test_the_front_is_beaten_by_none(costly) -> None:
    view = costly.view()
    assert [d.name for d in view.front] == ["#1", "#3", "#5"] and view.best == view.front
    assert summary(view)["Pareto front"] == ("3 configs", "of 8 done")


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=12))
def test_what_is_not_on_the_front_is_beaten_by_something_on_it(points: list[tuple[int, int]]) -> None:
    found = tuple(Observation(n, {}, "done", (float(a), float(b))) for n, (a, b) in enumerate(points))
    spec = SearchSpec((), 12, objectives=("uAP", "parameters"))
    view = SearchView(SearchResult("t", spec, found), "t", tuple(Drawn(o, None) for o in found), ())
    front = [d.observation.objectives for d in view.front]
    for a, b in points:
        beaten = any(up >= a and cost <= b and (up, cost) != (a, b) for up, cost in front)
        assert beaten != ((a, b) in front)


def test_configs_are_in_the_order_of_drawing_whatever_order_they_come_in(pruned) -> None:
    mixed = SearchResult("heads", pruned.spec, tuple(reversed(pruned.observations)))
    (view,) = view_searches(replace(pruned.report(), searches=(mixed,)))
    assert [d.observation.number for d in view.drawn] == list(range(24))
    assert all(d.row and d.row.key == d.observation.key for d in view.drawn)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.000123456, "0.000123"),
        (32, "32"),
        (True, "True"),
        ({"name": "gru", "units": 64}, "gru units=64"),
        ("/far/away/x.pth", "x.pth"),
        (["a", "b"], "a+b"),
    ],
)
def test_values_are_said_in_few_characters(value, said: str) -> None:
    assert say_value(value) == said


def test_fields_are_short_and_stay_distinct(search) -> None:
    assert short_field("training.learning_rate") == "learning rate"
    assert short_field("aggregator.gru.units") == "gru units"
    search.add(50.0)
    assert list(search.view().fields.values()) == ["aggregator", "gru units", "learning rate"]
    both = Dimension("a", Choice((1, 2)), (("aggregator", ("gru", "conv")),))
    assert say_condition(both) == "aggregator gru or conv"


def test_numbers_are_never_powers_of_ten() -> None:
    assert QUANTITIES["multiply_adds"].say(1.758e12) == "1,758"
    assert QUANTITIES["multiply_adds"].say(0.75e9) == "0.75"
    assert QUANTITIES["uAP"].say(61.0) == "61.00"
