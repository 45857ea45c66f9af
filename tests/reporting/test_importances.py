from __future__ import annotations

import warnings

import pytest

from orchestrator.reporting.importances import FEWEST, draw_importances, find_importances


@pytest.fixture
def by_aggregator(search):
    """A gru is always better; the learning rate tells nothing."""
    for number in range(40):
        search.add((60.0 if number % 2 == 0 else 40.0) + (number * 7 % 5) / 10)
    return search


def test_what_decides_comes_first_and_the_shares_make_one(by_aggregator) -> None:
    found = find_importances(by_aggregator.view())
    assert (found.judged, found.best, found.after) == (40, 5, None)
    assert next(iter(found.shares)) == "aggregator" and sum(found.shares.values()) == pytest.approx(1)


def test_the_same_observations_give_the_same_shares_in_silence(by_aggregator) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first, second = (find_importances(by_aggregator.view()) for _ in range(2))
    assert list(first.shares.items()) == list(second.shares.items())


def test_where_pruning_left_few_those_judged_at_the_latest_epoch_with_enough_are_compared(search) -> None:
    for number in range(30):
        search.add(40.0 + number, *(() if number % 6 == 0 else ("pruned",)), after=[30, 3, 9, 9, 9, 3][number % 6])
    view = search.view()
    found = find_importances(view)
    assert len(view.done) == 5 and found.after == 9 and found.judged == 20
    (plot,) = draw_importances(view)
    assert "by their means after 9 epochs" in plot.caption and "Only 5 configs are done" in plot.caption


def test_too_few_configs_have_no_importances(search) -> None:
    for number in range(FEWEST - 1):
        search.add(40.0 + number)
    assert find_importances(search.view()).shares == {} and draw_importances(search.view()) == []


def test_a_conditional_setting_is_named_with_its_condition(by_aggregator) -> None:
    (plot,) = draw_importances(by_aggregator.view())
    names = [t.get_text() for t in plot.figure.axes[0].get_yticklabels()]
    assert "gru units (aggregator gru)" in names and "learning rate" in names
    assert "judged only within it" in plot.caption


def test_of_several_objectives_reaching_the_front_counts(costly) -> None:
    for number in range(20):
        costly.add(40.0 + number, multiply_adds=(50 + number) * 10**9)
    assert find_importances(costly.view()).shares
