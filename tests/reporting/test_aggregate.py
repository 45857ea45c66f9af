from __future__ import annotations

import statistics
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.reporting.aggregate import (
    METRICS,
    Spread,
    distinct_labels,
    short_weights,
    sort_by_score,
    spread_over_splits,
    varied_axes,
)
from orchestrator.specs import GRUSpec, TransformerSpec
from orchestrator.training import metrics


def test_metrics_are_those_of_training() -> None:
    assert METRICS == metrics.METRICS


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(0, 100), min_size=2, max_size=8))
def test_spread_is_the_mean_and_the_sample_deviation(values: list[float]) -> None:
    spread = Spread.of(values)
    assert spread.mean == pytest.approx(statistics.mean(values))
    assert spread.std == pytest.approx(statistics.stdev(values), abs=1e-9)
    assert spread.n == len(values)


def test_one_split_has_a_mean_and_no_deviation() -> None:
    assert Spread.of([61.5]) == Spread(61.5, None, 1)


@pytest.mark.parametrize("values", [[], [1.0, float("nan")], [float("inf")]])
def test_gaps_are_never_averaged_away(values: list[float]) -> None:
    with pytest.raises(ValueError, match="finite"):
        Spread.of(values)


def test_a_row_has_mean_and_deviation_over_its_splits(sweep, config) -> None:
    (row,) = sweep.add(config(), [60.0, 62.0, 67.0], tables=["6"]).rows()
    assert row.complete and row.marks == () and row.tables == ("6",)
    assert row.metrics["uAP"].mean == pytest.approx(63.0)
    assert row.metrics["uAP"].std == pytest.approx(statistics.stdev([60, 62, 67]))
    assert row.metrics["sAP"].mean == pytest.approx(68.0)
    assert row.per_genre["sci-fi"].mean == pytest.approx(65.0)
    assert row.scores[2]["mAP"] == 64.0
    assert row.seconds == 30.0


def test_a_mean_over_fewer_splits_is_refused(sweep, config) -> None:
    sweep.add(config(), [60.0, 62.0])
    (row,) = sweep.rows()
    assert not row.complete and row.metrics == {} and row.per_genre == {}
    assert "I" in row.marks
    assert row.states == {2: "missing"}
    assert row.progress == "2 of 3 splits: split 2 missing"
    assert row.scores[1]["uAP"] == 62.0


def test_a_failed_split_is_named_with_its_reason(sweep, config) -> None:
    sweep.add(config(), [60.0, 62.0, 64.0])
    sweep.records[1] = replace(sweep.records[1], status="failed", reason="loss is NaN at epoch 3", test={})
    (row,) = sweep.rows()
    assert row.progress == "2 of 3 splits: split 1 failed: loss is NaN at epoch 3"
    assert row.metrics == {}


def test_a_config_without_any_trial_is_a_row_without_numbers(sweep, config) -> None:
    (row,) = sweep.add(config(), []).rows(trailers=100)
    assert row.progress.startswith("0 of 3 splits") and row.marks == ("I",)


def test_a_failed_record_does_not_hide_the_done_one_of_the_same_trial(sweep, config) -> None:
    sweep.add(config(), [60.0, 62.0, 64.0])
    failed = replace(sweep.records[0], status="failed", reason="killed", test={})
    for records in ([failed, *sweep.records], [*sweep.records, failed]):
        sweep.records = records
        assert sweep.rows()[0].complete


def test_a_result_that_is_not_a_number_leaves_its_row_without_a_mean(sweep, config) -> None:
    sweep.add(config(), [60.0, float("nan"), 64.0])
    (row,) = sweep.rows()
    assert row.metrics == {} and "no finite test uAP" in row.states[1]


def test_records_of_other_trials_do_not_count(sweep, config) -> None:
    sweep.add(config(), [60.0, 62.0, 64.0])
    sweep.records.append(replace(sweep.records[0], key="f" * 20, test=dict.fromkeys(METRICS, 1.0)))
    assert sweep.rows()[0].metrics["uAP"].mean == 62.0


def test_marks_say_what_the_numbers_stand_on(sweep, config) -> None:
    sweep.add(config("swin_2d", weights="random"), [60.0] * 3)
    sweep.add(config("swin_3d"), [60.0] * 3, synthetic=True)
    sweep.add(config("resnet_2d"), [60.0] * 3, trailers=90)
    sweep.add(config("r2plus1d_3d"), [60.0] * 3)
    assert [row.marks for row in sweep.rows(trailers=100)] == [("R",), ("S",), ("F",), ()]


def test_random_weights_are_marked_before_any_trial_is_done(sweep, config) -> None:
    assert sweep.add(config(weights="random"), []).rows()[0].marks == ("R", "I")


def test_chance_is_averaged_over_the_test_parts() -> None:
    level = spread_over_splits({0: dict.fromkeys(METRICS, 20.0), 1: dict.fromkeys(METRICS, 22.0)})
    assert level["wAP"].mean == 21.0 and level["wAP"].std == pytest.approx(2**0.5)


def test_axes_are_the_settings_that_differ(sweep, config) -> None:
    for clips in ("seq-24", "shot-24"):
        for length in (10, 30):
            sweep.add(config(clips=clips, length=length), [60.0] * 3)
    assert varied_axes(sweep.rows()) == ["clip_strategy", "clips_per_snippet"]


def test_settings_of_another_aggregator_are_no_axis(sweep, config) -> None:
    sweep.add(config(aggregator=GRUSpec()), [60.0] * 3).add(config(), [60.0] * 3)
    assert varied_axes(sweep.rows()) == ["aggregator"]
    sweep.add(config(aggregator=TransformerSpec(heads=2), learning_rate=0.1), [60.0] * 3)
    assert varied_axes(sweep.rows()) == ["aggregator", "aggregator.heads", "training.learning_rate"]


def test_labels_tell_configs_apart(sweep, config) -> None:
    sweep.add(config(weights="/far/a.pth"), []).add(config(weights="random"), []).add(config("swin_2d"), [])
    assert distinct_labels(sweep.configs) == [
        "swin_3d shot-24 24fps 30clips transformer a.pth",
        "swin_3d shot-24 24fps 30clips transformer random",
        "swin_2d shot-24 24fps 30clips transformer",
    ]


def test_checkpoint_paths_are_cut_for_reading() -> None:
    assert short_weights("/very/long/x.pth") == "x.pth"
    assert short_weights("pretrained+/b/y.pth") == "pretrained+y.pth"
    assert short_weights("random") == "random"


def test_rows_sort_by_score_with_incomplete_ones_last(sweep, config) -> None:
    sweep.add(config("a"), [50.0]).add(config("b"), [60.0] * 3).add(config("c"), [70.0] * 3)
    assert [row.settings["backbone"] for row in sort_by_score(sweep.rows())] == ["c", "b", "a"]


PRUNED = {"status": "pruned", "reason": "uAP 41.20 is too low", "search": "s" * 20, "test": {}, "per_genre": {}}
NINE = tuple({"epoch": e, "val_uAP": 41.2} for e in range(1, 10))


def test_a_pruned_config_is_told_from_failed_and_missing_ones(sweep, config) -> None:
    sweep.add(config("a"), [0.0] * 3, history=NINE, **PRUNED)
    sweep.add(config("b"), [0.0] * 2, history=NINE, **PRUNED)
    pruned, half = sweep.rows()
    assert pruned.pruned and pruned.marks == ("C",) and not pruned.complete and pruned.metrics == {}
    assert pruned.states[0] == "pruned: uAP 41.20 is too low"
    assert pruned.progress == "pruned after 9 epochs: uAP 41.20 is too low"
    assert pruned.parameters == 1000 and pruned.seconds == 30.0 and pruned.epochs == 27
    assert not half.pruned and half.marks == ("I",), "a split that is missing may still come"


def test_a_done_record_counts_before_a_pruned_and_that_before_a_failed_one(sweep, config) -> None:
    sweep.add(config(), [60.0, 62.0, 64.0])
    sweep.configs[0] = replace(sweep.configs[0], search=PRUNED["search"])
    done = sweep.records
    pruned = [replace(r, **PRUNED) for r in done]
    failed = [replace(r, status="failed", reason="NaN", test={}) for r in done]
    for records in ([*done, *pruned, *failed], [*failed, *pruned, *done]):
        sweep.records = records
        assert sweep.rows()[0].complete
    for records in ([*pruned, *failed], [*failed, *pruned]):
        sweep.records = records
        assert sweep.rows()[0].pruned


@pytest.mark.parametrize("search", [None, "another"])
def test_what_a_search_pruned_is_missing_or_failed_for_all_else(sweep, config, search) -> None:
    sweep.add(config(), [0.0] * 3, history=NINE, **PRUNED)
    failed = replace(sweep.records[0], status="failed", reason="NaN", search=None)
    sweep.configs[0] = replace(sweep.configs[0], search=search)
    for records in ([*sweep.records, failed], [failed, *sweep.records]):
        sweep.records = records
        (row,) = sweep.rows()
        assert row.states == {0: "failed: NaN", 1: "missing", 2: "missing"}
        assert not row.pruned and row.marks == ("I",) and row.epochs == 0


def test_pruned_configs_rank_last(sweep, config) -> None:
    sweep.add(config("a"), [0.0] * 3, **PRUNED).add(config("b"), [60.0]).add(config("c"), [70.0] * 3)
    assert [row.settings["backbone"] for row in sort_by_score(sweep.rows())] == ["c", "b", "a"]


def test_a_drawn_config_goes_by_its_number_unless_two_searches_share_it(sweep, config) -> None:
    for rate in (0.1, 0.2):
        sweep.add(config(learning_rate=rate), [])
    first, second = sweep.configs
    label = "swin_3d shot-24 24fps 30clips transformer"
    assert distinct_labels([replace(first, number=0), replace(second, number=1)]) == [f"{label} #0", f"{label} #1"]
    shared = distinct_labels([replace(first, number=1), replace(second, number=1)])
    assert shared == [f"{label} learning_rate=0.1", f"{label} learning_rate=0.2"]
    assert distinct_labels([replace(first, number=0), second]) == [f"{label} #0", label]
