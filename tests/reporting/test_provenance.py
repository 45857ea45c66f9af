from __future__ import annotations

from dataclasses import replace

from orchestrator.reporting.provenance import describe_origin
from orchestrator.specs import MeanSpec


def test_origin_names_data_weights_code_versions_and_time(sweep, config, report) -> None:
    sweep.add(config("swin_2d"), [60.0] * 3).add(config("x3d_s_3d", weights="random"), [60.0] * 3, commit="def456")
    origin = describe_origin(report(sweep.rows(), genres=("action", "drama"), facts={"Manifest": "m.csv"}))
    assert list(origin) == ["Manifest", "Trailers", "Genres", "Weights", "Commit", "Versions", "Training"]
    assert origin["Trailers"] == "100" and origin["Genres"] == "action, drama"
    assert origin["Weights"] == "swin_2d: pretrained; x3d_s_3d: random"
    assert origin["Commit"] == "abc123, def456" and origin["Versions"] == "torch 2.14.1"
    assert origin["Training"] == "60 s in 6 trials"


def test_facts_win_over_what_the_rows_say(sweep, config, report) -> None:
    sweep.add(config(), [60.0] * 3)
    origin = describe_origin(report(sweep.rows(), facts={"Trailers": "97 of 100", "Failed trailers": ""}))
    assert origin["Trailers"] == "97 of 100" and "Failed trailers" not in origin


def test_weights_are_told_for_each_backbone_with_short_paths(sweep, config, report) -> None:
    sweep.add(config("swin_2d+swin_3d", weights="/far/away/a.pth"), [60.0] * 3)
    sweep.add(config("swin_2d"), [60.0] * 3)
    rows = sweep.rows()
    assert describe_origin(report(rows))["Weights"] == "swin_2d: a.pth, pretrained; swin_3d: a.pth"


def test_streams_with_weights_of_their_own_keep_them(sweep, config, report) -> None:
    made = config("swin_2d+swin_3d", weights="random")
    first, second = made.streams
    mixed = replace(made, streams=(replace(first, backbone=replace(first.backbone, weights="/b/x+y.pth")), second))
    sweep.add(mixed, [60.0] * 3)
    assert describe_origin(report(sweep.rows()))["Weights"] == "swin_2d: x+y.pth; swin_3d: random"


def test_a_sweep_without_a_trial_has_an_origin(sweep, config, report) -> None:
    origin = describe_origin(report(sweep.add(config(aggregator=MeanSpec()), []).rows()))
    assert origin == {"Weights": "swin_3d: pretrained", "Commit": "not known", "Training": "0 s in 0 trials"}
