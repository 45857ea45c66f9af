"""Keys name what changes a result, and nothing else."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from orchestrator.errors import InputError
from orchestrator.specs import (
    BackboneSpec,
    ClipSpec,
    Config,
    ConvSpec,
    CTTSpec,
    EmbeddingSpec,
    FastVideoSpec,
    GRUSpec,
    MeanSpec,
    TimeSformerSpec,
    TrainSpec,
    TransformerSpec,
    config_from_plain,
    config_key,
    key_of,
    plain,
    trial_key,
)

CLIP = ClipSpec("shot", 24)
SWIN = EmbeddingSpec(CLIP, BackboneSpec("swin_3d"))
CONFIG = Config((SWIN,))


@pytest.mark.parametrize(
    ("name", "fps", "kept"),
    [("shot-24", 24, 24), ("shot-24", 6, 6), ("seq-32", 12, 16), ("seq-32", 8, 11), ("seq-5", 4, 1)],
)
def test_a_clip_keeps_the_first_of_every_step_frames(name: str, fps: int, kept: int) -> None:
    clip = ClipSpec.parse(name, fps)
    assert (clip.name, clip.kept) == (name, kept) == (name, len(range(0, clip.frames, clip.step)))


@pytest.mark.parametrize("name", ["shot", "shot-", "shot-0", "scene-24", "shot-24.0", 24])
def test_a_clip_strategy_of_another_form_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=r"clip_strategy: .* is not seq-<frames>, shot-<frames> or even-<count>"):
        ClipSpec.parse(name)


def test_streams_that_do_not_share_their_clips_are_refused() -> None:
    other = EmbeddingSpec(replace(CLIP, fps=12), BackboneSpec("resnet_2d"))
    with pytest.raises(InputError, match="must share their clips, but got shot-24 at 24 fps and shot-24 at 12 fps"):
        Config((SWIN, other))


@pytest.mark.parametrize(
    "aggregator",
    [
        TransformerSpec(heads=2),
        GRUSpec(7),
        ConvSpec(kernel=5),
        MeanSpec(),
        CTTSpec(8),
        FastVideoSpec(attention=True),
        TimeSformerSpec(2),
    ],
)
def test_a_config_comes_back_from_plain_values(aggregator: object) -> None:
    config = Config((SWIN,), aggregator, 7, TrainSpec(seed=3))  # type: ignore[arg-type]
    assert config_from_plain(plain(config)) == config


def variants() -> list[Config]:
    """Configs that differ from CONFIG in one setting each."""
    changed = []
    for f in fields(TrainSpec):
        value = getattr(CONFIG.training, f.name)
        changed.append(replace(CONFIG, training=replace(CONFIG.training, **{f.name: value * 2 + 1})))
    for f in fields(TransformerSpec):
        value = getattr(TransformerSpec(), f.name)
        changed.append(replace(CONFIG, aggregator=replace(TransformerSpec(), **{f.name: value * 2})))
    return [*changed, replace(CONFIG, clips_per_snippet=31), replace(CONFIG, aggregator=MeanSpec())]


def test_every_setting_of_a_config_changes_its_key() -> None:
    keys = {config_key(config, ["e"]) for config in [CONFIG, *variants()]}
    assert len(keys) == 1 + len(variants())


def test_aggregators_without_settings_of_their_own_still_differ_by_name() -> None:
    assert key_of(MeanSpec()) != key_of(GRUSpec()) and plain(MeanSpec()) == {"name": "mean"}


def test_split_data_and_embeddings_change_a_trial_s_key() -> None:
    keys = {
        trial_key(CONFIG, ["e"], 0, "d"),
        trial_key(CONFIG, ["e"], 1, "d"),
        trial_key(CONFIG, ["e"], 0, "other"),
        trial_key(CONFIG, ["other"], 0, "d"),
    }
    assert len(keys) == 4


def test_the_weights_that_a_head_on_frames_starts_from_change_its_key_and_not_its_frame_cache_s() -> None:
    frames = EmbeddingSpec(ClipSpec("even", 8), BackboneSpec("frames", "random"))
    config = Config((frames,), TimeSformerSpec(), 8)
    assert config.start == frames.backbone and CONFIG.start is None
    keys = {config_key(config, ["e"], start) for start in ({"file": "vit.pth"}, {"random": 0})}
    assert len(keys) == 2
    with pytest.raises(ValueError, match="a head on frames, and no other"):
        config_key(config, ["e"])
    with pytest.raises(ValueError, match="a head on frames, and no other"):
        config_key(CONFIG, ["e"], {"random": 0})


def test_evenly_spaced_frames_have_no_frame_rate() -> None:
    assert ClipSpec.parse("even-240") == ClipSpec("even", 240) and ClipSpec("even", 240).kept == 1
    with pytest.raises(InputError, match="frame_rate: 12 has no meaning for even-8"):
        ClipSpec.parse("even-8", 12)


def test_a_key_does_not_depend_on_the_order_of_a_mapping() -> None:
    assert key_of({"a": 1, "b": [2, 3]}) == key_of({"b": [2, 3], "a": 1}) != key_of({"a": 1, "b": [3, 2]})


def test_keys_of_today_are_those_of_yesterday() -> None:
    """A change here orphans every stored trial: raise TRAINING_VERSION on purpose, not by accident."""
    assert config_key(CONFIG, ["e"]) == "b9922795690b9f4f45b1"
