from __future__ import annotations

import re
from pathlib import Path

import pytest

from orchestrator.errors import InputError
from orchestrator.specs import ConvSpec, GRUSpec, TransformerSpec
from orchestrator.sweep.space import load_space, parse_overrides, shipped_spaces


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_what_is_left_out_is_the_studys_default_config(tmp_path: Path) -> None:
    space = load_space(write(tmp_path / "one.yaml", "fixed: {}\n"))
    (config,) = space.configs
    assert config.label == "swin_3d shot-24 24fps 30clips transformer"
    assert config.weights == "pretrained"
    assert config.training.epochs == 100 and config.training.learning_rate == 1e-4
    assert space.name == "one"


def test_grid_is_every_combination_and_names_its_axes(tmp_path: Path) -> None:
    text = "grid:\n  clip_strategy: [seq-24, shot-32]\n  frame_rate: [24, 12, 4]\n"
    space = load_space(write(tmp_path / "a.yaml", text))
    assert len(space.configs) == 6
    assert space.tables[0].axes == ("clip_strategy", "frame_rate")
    assert {(c.clip.name, c.clip.fps) for c in space.configs} == {
        (s, r) for s in ("seq-24", "shot-32") for r in (24, 12, 4)
    }


def test_a_list_of_grids_is_their_union(tmp_path: Path) -> None:
    text = """
grid:
  - {backbone: [resnet_2d], aggregator: [gru, conv]}
  - {backbone: [resnet_2d, swin_2d], aggregator: [gru]}
"""
    assert len(load_space(write(tmp_path / "a.yaml", text)).configs) == 3


def test_included_tables_share_the_configs_they_have_in_common(tmp_path: Path) -> None:
    write(tmp_path / "rate.yaml", "grid:\n  frame_rate: [4, 24]\n")
    write(tmp_path / "length.yaml", "grid:\n  clips_per_snippet: [5, 30]\n")
    space = load_space(write(tmp_path / "all.yaml", "include: [rate.yaml, length.yaml]\n"))
    assert [t.name for t in space.tables] == ["rate", "length"]
    assert len(space.configs) == 3
    both = [names for names in space.tables_of().values() if len(names) == 2]
    assert both == [("rate", "length")]


def test_aggregators_take_settings_of_their_own(tmp_path: Path) -> None:
    text = "grid:\n  aggregator: [transformer, {name: gru, units: 64}, {name: conv, kernel: 5}]\n"
    configs = load_space(write(tmp_path / "a.yaml", text)).configs
    assert [c.aggregator for c in configs] == [TransformerSpec(), GRUSpec(64), ConvSpec(128, 5)]


def test_weights_may_differ_by_backbone(tmp_path: Path) -> None:
    text = "fixed:\n  weights: {shufflenet_2d: random}\ngrid:\n  backbone: [shufflenet_2d, resnet_2d]\n"
    configs = load_space(write(tmp_path / "a.yaml", text)).configs
    assert [c.weights for c in configs] == ["random", "pretrained"]


def test_a_learning_rate_in_scientific_notation_is_a_number(tmp_path: Path) -> None:
    space = load_space(write(tmp_path / "a.yaml", "fixed: {training: {learning_rate: 1e-3}}\n"))
    assert space.configs[0].training.learning_rate == 1e-3


def test_overrides_win_over_the_file_and_merge_what_becomes_equal(tmp_path: Path) -> None:
    path = write(tmp_path / "a.yaml", "fixed: {training: {epochs: 50}}\ngrid: {aggregator: [gru, conv]}\n")
    space = load_space(path, parse_overrides(["training.epochs=2", "aggregator=mean", "weights=random"]))
    (config,) = space.configs
    assert (config.training.epochs, config.aggregator.name, config.weights) == (2, "mean", "random")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("grids: {}\n", "a.yaml:1: grids: unknown key; did you mean grid?"),
        ("\nfixed:\n  backbon: swin_2d\n", "a.yaml:3: backbon: unknown field; did you mean backbone?"),
        ("grid:\n  aggregator: [lstmx]\n", "a.yaml:2: aggregator: 'lstmx' is not one of transformer, gru, conv, mean"),
        ("grid:\n  frame_rate: 24\n", "a.yaml:2: grid: frame_rate: 24 is not a list of values"),
        ("grid:\n  frame_rate: [25]\n", "a.yaml:2: frame_rate: 25 is not one of 24, 12, 8, 6, 4"),
        ("fixed: {frame_rate: '24'}\n", "frame_rate: '24' is not one of"),
        ("fixed: {clip_strategy: shots-24}\n", "clip_strategy: 'shots-24' is not seq-<frames>, shot-<frames> or even"),
        ("fixed: {clips_per_snippet: 0}\n", "clips_per_snippet: must be at least 1, but got 0"),
        ("fixed: {clips_per_snippet: 1.5}\n", "clips_per_snippet: 1.5 is not a whole number"),
        (
            "fixed:\n  training:\n    learning_rate: -1\n",
            "a.yaml:3: training.learning_rate: must be above 0, but got -1.0",
        ),
        ("fixed: {training: {epoch: 3}}\n", "training.epoch: unknown field; did you mean training.epochs?"),
        ("fixed: {backbone: swin2d}\n", "backbone"),
        ("fixed: {backbone: swin_2d+swin_2d}\n", "fuses a backbone with itself"),
        ("grid: {aggregator: [{name: gru, unit: 3}]}\n", "unit: unknown setting; did you mean units?"),
        (
            "grid: {aggregator: [{name: transformer, heads: 3}]}\n",
            "a.yaml:1: aggregator.heads: 3 does not divide aggregator.width",
        ),
        ("grid: {frame_rate: [24]}\ngrid: {frame_rate: [12]}\n", "a.yaml:2: grid: given twice, first on line 1"),
        ("include: [nowhere.yaml]\n", "a.yaml:1: include: 'nowhere.yaml' is not a file beside a.yaml"),
        ("include: [a.yaml]\n", "the files include each other"),
        ("name: ../x\nfixed: {}\n", "name: '../x' may hold only letters"),
        ("name: published\nfixed: {}\n", "a.yaml:1: name: 'published' is a folder of results/ already"),
        ("splits: [0, 0]\nfixed: {}\n", "splits: [0, 0] is not a list of different split numbers"),
        ("fixed: {training: {epochs: [}\n", "a.yaml:1: is not YAML"),
        ("- a\n", "holds a list, but a search space is a mapping"),
        ("fixed: !!python/object/apply:os.system ['true']\n", "is not YAML"),
    ],
)
def test_a_mistake_is_named_with_its_place_and_what_is_allowed(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        load_space(write(tmp_path / "a.yaml", text))
    assert message in str(error.value)


def test_an_unknown_space_lists_those_that_ship() -> None:
    with pytest.raises(InputError, match=r"nonsense: no such file, and not one of the shipped search spaces: .*demo"):
        load_space("nonsense")


@pytest.mark.parametrize("name", sorted(shipped_spaces()))
def test_every_shipped_space_loads_by_bare_name(name: str) -> None:
    space = load_space(name)
    assert space.configs or space.searches


def test_unknown_override_is_an_error_with_a_suggestion() -> None:
    with pytest.raises(InputError, match=r"training\.epoch: not a field of a config; did you mean training\.epochs\?"):
        load_space("demo", {"training.epoch": 2})


def test_a_setting_of_one_aggregator_can_be_replaced_wherever_it_stands(tmp_path: Path) -> None:
    text = "grid: {aggregator: [gru, {name: transformer, heads: 2}, conv]}\n"
    overrides = parse_overrides(["aggregator.gru.units=7", "aggregator.transformer.width=64"])
    configs = load_space(write(tmp_path / "a.yaml", text), overrides).configs
    assert [c.aggregator for c in configs] == [GRUSpec(7), TransformerSpec(64, heads=2), ConvSpec()]


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("aggregator.lstm.units", "--set: aggregator.lstm.units: 'lstm' is not one of transformer, gru"),
        ("aggregator.gru.unit", "--set: aggregator.gru.unit: unknown setting; did you mean units?"),
        ("aggregator.gru.units", "--set: aggregator.gru.units: no config has that aggregator; there are mean"),
    ],
)
def test_a_replaced_setting_must_exist(key: str, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        load_space("demo", {key: 1})


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        ("aggregator.timesformer.width=7", "--set: aggregator.heads: 12 does not divide aggregator.width 7"),
        ("aggregator.timesformer.width=abc", "--set: aggregator: timesformer: width: 'abc' is not a whole number"),
        ("weights={swin_3x: random}", "--set: weights: 'swin_3x' is not one of"),
    ],
)
def test_a_fault_of_a_replaced_setting_is_told_of_the_option_and_not_of_the_file(pair: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        load_space("baselines", parse_overrides([pair]))
    assert message in str(error.value)
    assert "yaml" not in str(error.value)


STUDY = {"clip_generation": 8, "frame_rate": 5, "snippet_length": 8, "aggregator": 6, "backbone": 8, "baselines": 5}


def test_the_study_is_every_table_and_counts_shared_configs_once() -> None:
    space = load_space("study")
    assert {t.name: len(t.configs) for t in space.tables} == STUDY
    assert [t.number for t in space.tables] == ["6", "7", "8", "9", "10", "11"]
    transfer = {c for t in space.tables[:5] for c in t.configs}
    assert (len(transfer), len(space.configs)) == (29, 32)
    assert all(t.question for t in space.tables)


def test_streams_fuse_only_where_they_share_their_clips_and_a_head_on_pixels_fuses_with_nothing(tmp_path: Path) -> None:
    fused = load_space(write(tmp_path / "a.yaml", "fixed: {backbone: shufflenet_2d+shufflenet_3d}\n")).configs[0]
    assert len(fused.streams) == 2 and len({s.clip for s in fused.streams}) == 1
    text = "fixed: {backbone: frames+swin_2d, clip_strategy: even-8, clips_per_snippet: 8, aggregator: timesformer}\n"
    with pytest.raises(InputError, match=r"backbone"):
        load_space(write(tmp_path / "b.yaml", text))


def test_a_video_backbone_is_refused_on_single_frames(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.yaml:1: backbone: swin_3d sees moving clips, but those of .* even-8"):
        load_space(write(tmp_path / "a.yaml", "fixed: {backbone: swin_3d, clip_strategy: even-8}\n"))
