from __future__ import annotations

import re
from pathlib import Path

import pytest

from orchestrator.errors import InputError
from orchestrator.search.sampling import draw
from orchestrator.specs import AGGREGATORS, GRUSpec
from orchestrator.sweep.search import Search
from orchestrator.sweep.space import Space, load_space, parse_overrides

TEXT = """
fixed: {training: {epochs: 7}}
grid: {aggregator: [mean]}
search:
  configs: 4
  ranges:
    aggregator: [gru, conv]
    aggregator.gru.units: {integer: [32, 64]}
    backbone: [swin_2d, swin_3d]
    frame_rate: {choice: [4, 12], when: {backbone: swin_3d}}
    training.learning_rate: {log_uniform: [1e-5, 1e-2]}
"""
GRU = {
    "aggregator": "gru",
    "aggregator.gru.units": 40,
    "backbone": "swin_3d",
    "frame_rate": 4,
    "training.learning_rate": 1e-3,
}


def load(tmp_path: Path, text: str = TEXT, *overrides: str) -> Space:
    path = tmp_path / "a.yaml"
    path.write_text(text)
    return load_space(path, parse_overrides(overrides))


def search_of(tmp_path: Path, text: str = TEXT, *overrides: str) -> Search:
    (search,) = load(tmp_path, text, *overrides).searches
    return search


def test_grid_and_search_of_a_file_are_one_table_that_varies_the_fields_of_both(tmp_path: Path) -> None:
    (table,) = load(tmp_path).tables
    assert [c.aggregator.name for c in table.configs] == ["mean"]
    assert table.search is not None and table.search.table == "a"
    assert table.axes == ("aggregator", "aggregator.gru.units", "backbone", "frame_rate", "training.learning_rate")
    (table,) = load(tmp_path, TEXT, "aggregator.gru.units=33", "backbone=swin_2d").tables
    assert table.axes == ("aggregator", "training.learning_rate")


def test_a_file_with_only_a_search_has_no_configs_of_its_own(tmp_path: Path) -> None:
    space = load(tmp_path, TEXT.replace("grid: {aggregator: [mean]}", ""))
    assert space.configs == () and len(space.searches) == 1


def test_what_is_drawn_becomes_a_config(tmp_path: Path) -> None:
    config = search_of(tmp_path).build(GRU)
    assert (config.aggregator, config.backbone, config.clip.fps) == (GRUSpec(40), "swin_3d", 4)
    assert (config.training.epochs, config.training.learning_rate) == (7, 1e-3)
    overridden = search_of(tmp_path, TEXT, "aggregator.gru.units=50", "training.epochs=2")
    values = {field: value for field, value in GRU.items() if field != "aggregator.gru.units"}
    assert overridden.build(values).aggregator == GRUSpec(50)
    assert overridden.build(values).training.epochs == 2


def test_a_fault_of_what_is_drawn_is_told_with_the_line_of_its_range(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.yaml:8: aggregator\.units: must be at least 1, but got 0"):
        search_of(tmp_path).build(GRU | {"aggregator.gru.units": 0})


def test_only_what_may_be_drawn_now_belongs(tmp_path: Path) -> None:
    search = search_of(tmp_path)
    assert search.contains(GRU)
    assert not search.contains(GRU | {"aggregator.gru.units": 65})
    assert not search.contains(GRU | {"backbone": "swin_2d"}), "frame_rate is not drawn there"
    narrowed = search_of(tmp_path, TEXT.replace("[4, 12]", "[12, 24]"))
    assert not narrowed.contains(GRU) and narrowed.contains(GRU | {"frame_rate": 12})


def test_every_embedding_set_that_may_be_needed_is_named_once(tmp_path: Path) -> None:
    specs = search_of(tmp_path).embedding_specs()
    assert [(s.backbone.name, s.clip.fps) for s in specs] == [("swin_2d", 24), ("swin_3d", 4), ("swin_3d", 12)]


def test_embedding_sets_heed_conditions_on_other_fields(tmp_path: Path) -> None:
    text = """
search:
  configs: 4
  ranges:
    aggregator: [gru, ctt_mmc_a, timesformer]
    backbone: {choice: [swin_2d, swin_3d, swin_2d+swin_3d], when: {aggregator: gru}}
    training.seed: {choice: [1, 2], when: {aggregator: gru}}
    weights: {choice: [random], when: {training.seed: 2}}
"""
    with pytest.raises(InputError, match="timesformer trains on frames and needs backbone frames"):
        load(tmp_path, text)
    specs = search_of(tmp_path, text.replace(", timesformer", "")).embedding_specs()
    assert {(s.backbone.name, s.backbone.weights) for s in specs} == {
        (name, weights) for name in ("swin_2d", "swin_3d") for weights in ("pretrained", "random")
    }
    assert len(specs) == 4


def test_the_key_of_a_search_is_that_of_all_its_configs_are_made_from(tmp_path: Path) -> None:
    key = search_of(tmp_path).space
    assert search_of(tmp_path, TEXT.replace("configs: 4", "configs: 400")).space == key
    others = [
        search_of(tmp_path, TEXT.replace("epochs: 7", "epochs: 8")),
        search_of(tmp_path, TEXT, "training.epochs=8"),
        search_of(tmp_path, TEXT.replace("[gru, conv]", "[gru, conv, mean]")),
        search_of(tmp_path, TEXT.replace("[32, 64]", "[32, 65]")),
        search_of(tmp_path, TEXT.replace("log_uniform", "uniform")),
        search_of(tmp_path, TEXT.replace(", when: {backbone: swin_3d}", "")),
    ]
    keys = [other.space for other in others]
    assert key not in keys
    assert keys[0] == keys[1] and len(set(keys)) == 5


def test_a_search_that_two_files_include_is_one(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(TEXT)
    (tmp_path / "b.yaml").write_text("include: [a.yaml]\n")
    (tmp_path / "all.yaml").write_text("include: [a.yaml, b.yaml]\n")
    assert len(load_space(tmp_path / "all.yaml").searches) == 1


def test_an_override_of_an_aggregator_that_no_search_draws_is_refused(tmp_path: Path) -> None:
    assert search_of(tmp_path, TEXT, "aggregator.conv.kernel=5")
    with pytest.raises(InputError, match=re.escape("no config has that aggregator; there are conv, gru, mean")):
        load(tmp_path, TEXT, "aggregator.transformer.width=64")


def test_the_thesis_searches_aggregators_of_about_equal_size() -> None:
    import torch

    from orchestrator.heads.registry import assemble

    (search,) = load_space("aggregator_search").searches
    ((cost, least, most),) = search.spec.limits
    assert cost == "head_parameters"

    def count(values: dict[str, object]) -> int:
        with torch.device("meta"):
            head = assemble(search.build(values), (768,), 10)
        return sum(parameter.numel() for parameter in head.parameters())

    default = count({"aggregator": "transformer"})
    assert (least / default, most / default) == pytest.approx((0.9, 1.1), abs=0.005)
    drawn = [draw(search.spec, number, [], lambda v: least <= count(v) <= most) for number in range(24)]
    assert {values["aggregator"] for values in drawn if values} == {"gru", "conv", "transformer"}
    assert search.aggregators() == ("gru", "conv", "transformer") and set(search.aggregators()) < set(AGGREGATORS)


def test_the_thesis_search_for_minimal_resources_draws_frame_rates_only_where_clips_move() -> None:
    (search,) = load_space("minimal_resources").searches
    assert search.spec.objectives == ("uAP", "multiply_adds")
    specs = search.embedding_specs()
    still = {s for s in specs if s.backbone.name.endswith("_2d") and s.clip.fps != 24}
    # Fused image streams share the clips of the video stream.
    assert {s.backbone.name for s in still} == {"shufflenet_2d", "resnet_2d"}
    assert {s.clip.fps for s in specs if s.backbone.name == "swin_3d"} == {4, 6, 8, 12, 24}
    assert not search.contains({"backbone": "swin_2d", "frame_rate": 4, "clips_per_snippet": 5})
    assert search.contains({"backbone": "swin_3d", "frame_rate": 4, "clips_per_snippet": 5})
