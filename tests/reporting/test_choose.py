from __future__ import annotations

import pytest

from orchestrator.errors import InputError
from orchestrator.reporting.choose import (
    BY_TEST,
    BY_VALIDATION,
    best_each,
    find_config,
    rank,
    short_labels,
    validation_score,
)
from orchestrator.specs import GRUSpec, MeanSpec


def history(*scores: float) -> tuple[dict[str, float], ...]:
    return tuple({"epoch": i, "val_loss": 1 / i, "val_uAP": s} for i, s in enumerate(scores, 1))


def test_the_validation_score_is_that_of_the_evaluated_epochs(sweep, config) -> None:
    (row,) = sweep.add(config(), [60.0] * 3, history=history(40.0, 50.0, 70.0), best_epoch=2).rows()
    assert validation_score(row) == pytest.approx(50.0)


@pytest.mark.parametrize("epochs", [(), history(float("nan"), 50.0)])
def test_there_is_no_validation_score_over_fewer_splits(sweep, config, epochs) -> None:
    (row,) = sweep.add(config(), [60.0] * 3, history=epochs, best_epoch=1).rows()
    assert validation_score(row) is None


def test_configs_are_ranked_by_validation_and_not_by_test(sweep, config) -> None:
    sweep.add(config("lucky"), [90.0] * 3, history=history(50.0), best_epoch=1)
    sweep.add(config("sound"), [80.0] * 3, history=history(60.0), best_epoch=1)
    ranked, how = rank(sweep.rows())
    assert [r.settings["backbone"] for r in ranked] == ["sound", "lucky"] and how == BY_VALIDATION


def test_without_histories_the_words_say_that_test_parts_chose(sweep, config) -> None:
    sweep.add(config("a"), [80.0] * 3).add(config("b"), [90.0] * 3).add(config("c"), [99.0])
    ranked, how = rank(sweep.rows())
    assert [r.settings["backbone"] for r in ranked] == ["b", "a"] and how == BY_TEST


def test_a_config_is_found_by_its_label_or_its_key_and_not_by_half_a_name(sweep, config) -> None:
    rows = sweep.add(config("a"), [80.0] * 3).add(config("b"), [90.0] * 3).add(config("c"), [99.0]).rows()
    assert find_config(rows, rows[1].label) is rows[1]
    assert find_config(rows, rows[0].key[:8]) is rows[0]
    for wanted in ("b", rows[2].label, "nonsense"):
        with pytest.raises(InputError, match=r"--curves: .* is not the label .*; there are a shot-24"):
            find_config(rows, wanted)


def test_the_best_of_each_backbone_or_the_best_of_the_only_one(sweep, config) -> None:
    for name, length, score in (("a", 5, 60.0), ("a", 10, 62.0), ("b", 5, 61.0)):
        sweep.add(config(name, length=length), [score] * 3)
    chosen, _ = best_each(sweep.rows(), "backbone")
    assert [(r.settings["backbone"], r.settings["clips_per_snippet"]) for r in chosen] == [("a", 10), ("b", 5)]
    chosen, _ = best_each(sweep.rows()[:2], "backbone", 1)
    assert [r.settings["clips_per_snippet"] for r in chosen] == [10]


def test_short_labels_leave_out_what_most_configs_share(sweep, config) -> None:
    for c in (config(), config(fps=4), config("swin_2d"), config("resnet_2d"), config(aggregator=GRUSpec())):
        sweep.add(c, [60.0] * 3)
    labels, usual = short_labels(sweep.rows())
    assert list(labels.values()) == ["swin_3d", "swin_3d, 4 fps", "swin_2d", "resnet_2d", "swin_3d, gru"]
    assert usual == "24 fps, transformer"


def test_short_labels_name_both_where_neither_is_usual(sweep, config) -> None:
    sweep.add(config(), [60.0] * 3).add(config(aggregator=MeanSpec()), [60.0] * 3)
    labels, usual = short_labels(sweep.rows())
    assert list(labels.values()) == ["swin_3d, transformer", "swin_3d, mean"] and usual == ""


def test_weights_of_one_backbone_are_named(sweep, config) -> None:
    sweep.add(config(), [60.0] * 3).add(config(weights="random"), [60.0] * 3)
    assert list(short_labels(sweep.rows())[0].values()) == ["swin_3d, pretrained", "swin_3d, random"]


def test_labels_of_no_rows() -> None:
    assert short_labels([]) == ({}, "")
