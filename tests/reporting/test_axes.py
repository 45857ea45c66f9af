from __future__ import annotations

import pytest

from orchestrator.reporting.aggregate import Spread
from orchestrator.reporting.axes import compare_along, find_axes, published_along
from orchestrator.reporting.inputs import ComparedRow, PublishedResult
from orchestrator.specs import ConvSpec, GRUSpec, TransformerSpec


def test_lines_join_configs_that_differ_in_nothing_else(grid, config) -> None:
    rows = grid([config(b, fps=f) for b in ("swin_2d", "swin_3d") for f in (24, 4, 12)]).rows()
    axis = compare_along(rows, "frame_rate")
    assert axis.numeric and axis.paired and axis.values == (4, 12, 24)
    assert [line.label for line in axis.lines] == ["swin_2d", "swin_3d"]
    assert [r.settings["frame_rate"] for r in axis.lines[0].rows.values()] == [4, 12, 24]


def test_a_study_that_varies_one_thing_at_a_time_compares_only_like_with_like(grid, config) -> None:
    """Other backbones at the default length must not enter the mean at that length."""
    lengths = [config("swin_3d", length=n) for n in (5, 30, 60)]
    others = [config(b) for b in ("resnet_2d", "swin_2d")]
    axis = compare_along(grid([*lengths, *others]).rows(), "clips_per_snippet")
    assert len(axis.lines) == 1 and axis.unpaired == 2
    assert {r.settings["backbone"] for r in axis.lines[0].rows.values()} == {"swin_3d"}
    assert axis.fixed == "swin_3d"


def test_names_keep_the_order_of_the_sweep(grid, config) -> None:
    rows = grid([config(clips=c) for c in ("shot-32", "seq-24", "shot-24")]).rows()
    assert compare_along(rows, "clip_strategy").values == ("shot-32", "seq-24", "shot-24")


def test_random_weights_go_with_their_backbone(grid, config) -> None:
    backbones = [("efficientnet_lite0_2d", "pretrained"), ("x3d_s_3d", "random")]
    rows = grid([config(b, clips=c, weights=w) for b, w in backbones for c in ("seq-24", "shot-24")]).rows()
    assert [a.name for a in find_axes(rows)] == ["backbone", "clip_strategy"]
    assert find_axes(rows)[0].paired


def test_weights_of_one_backbone_are_an_axis(grid, config) -> None:
    rows = grid([config(weights=w) for w in ("pretrained", "random")]).rows()
    assert [a.name for a in find_axes(rows)] == ["weights"]


def test_versions_of_one_aggregator_are_told_apart(grid, config) -> None:
    heads = [GRUSpec(), TransformerSpec(heads=2), TransformerSpec(heads=4)]
    rows = grid([config(aggregator=a, length=n) for a in heads for n in (10, 30)]).rows()
    axes = {a.name: a for a in find_axes(rows)}
    assert axes["aggregator"].values == ("gru", "transformer (heads=2)", "transformer (heads=4)")
    assert axes["aggregator.heads"].values == (2, 4)
    assert [line.label for line in axes["aggregator.heads"].lines] == ["10 clips", "30 clips"]


def test_configs_that_always_differ_in_two_things_are_not_paired(grid, config) -> None:
    rows = grid([config(clips="seq-24", length=10), config(clips="shot-24", length=30)]).rows()
    axes = find_axes(rows)
    assert [a.name for a in axes] == ["clip_strategy", "clips_per_snippet"]
    assert not any(a.paired for a in axes)


def test_incomplete_configs_are_left_out(grid, config) -> None:
    made = grid([config(fps=f) for f in (4, 12, 24)])
    made.records.pop()
    assert compare_along(made.rows(), "frame_rate").values == (4, 12)


def test_the_mean_covers_the_same_settings_at_every_value(grid, config) -> None:
    full = [config(b, aggregator=a) for b in ("x", "y") for a in (GRUSpec(), ConvSpec())]
    lone = [config("z", aggregator=GRUSpec()), config("z"), config("x")]
    axis = compare_along(grid([*full, *lone]).rows(), "aggregator")
    values, means, count = axis.mean_line("uAP")
    assert values == ["gru", "conv"] and count == 2
    by_name = {line.rows["gru"].settings["backbone"]: line for line in axis.lines}
    expected = [by_name[b].rows["conv"].metrics["uAP"].mean for b in ("x", "y")]
    assert means[1] == pytest.approx(sum(expected) / 2)


def published(backbone: str, fps: int, uap: float) -> ComparedRow:
    settings = {"backbone": backbone, "clip_strategy": "shot-24", "frame_rate": fps, "aggregator": ""}
    result = PublishedResult("paper", "7", f"{fps} fps", settings, {"uAP": Spread(uap, 0.5, 3)})
    return ComparedRow(result.label, None, result, None)


def test_published_values_stand_along_the_axis_whether_or_not_we_have_the_config() -> None:
    (line,) = published_along([published("swin_3d", 24, 75.6), published("swin_3d", 4, 72.6)], "frame_rate")
    assert list(line.values) == [4, 24] and line.values[4].mean == 72.6 and line.label == ""


def test_published_values_of_other_settings_are_lines_of_their_own() -> None:
    lines = published_along([published(b, f, 70.0) for b in ("swin_2d", "swin_3d") for f in (4, 24)], "frame_rate")
    assert [line.label for line in lines] == ["swin_2d", "swin_3d"]


def test_a_setting_that_was_not_published_has_no_line() -> None:
    rows = [published("swin_3d", 24, 75.6), ComparedRow("ours", None, None, None)]
    assert published_along(rows, "aggregator") == [] and published_along(rows, "clips_per_snippet") == []
