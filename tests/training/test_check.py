from __future__ import annotations

import pytest

from orchestrator.specs import CTTSpec, FastVideoSpec, MeanSpec, TimeSformerSpec, TransformerSpec
from orchestrator.training.check import config_problems


def test_the_default_settings_are_sound(make_config):
    assert config_problems(make_config()) == []


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("epochs", 0, "training.epochs: must be at least 1, but got 0"),
        ("batch_size", 0, "training.batch_size: must be at least 1, but got 0"),
        ("learning_rate", 0.0, "training.learning_rate: must be above 0, but got 0.0"),
        ("learning_rate", float("nan"), "training.learning_rate: must be above 0, but got nan"),
        ("weight_decay", -0.1, "training.weight_decay: must be at least 0, but got -0.1"),
        ("plateau_patience", -1, "training.plateau_patience: must be at least 0, but got -1"),
        ("plateau_factor", 1.0, "training.plateau_factor: must be between 0 and 1, but got 1.0"),
        ("stop_patience", 0, "training.stop_patience: must be at least 1, but got 0"),
        ("seed", -1, "training.seed: must be at least 0, but got -1"),
    ],
)
def test_each_fault_names_its_field(make_config, field, value, message):
    assert config_problems(make_config(**{field: value})) == [message]


def test_all_faults_are_found_at_once(make_config):
    problems = config_problems(make_config(TransformerSpec(heads=3), clips=0, epochs=0))
    assert [p.split(":")[0] for p in problems] == ["aggregator.heads", "clips_per_snippet", "training.epochs"]


def test_batches_of_one_snippet_of_one_clip_are_refused(make_config):
    assert config_problems(make_config(clips=2, batch_size=1)) == []
    assert config_problems(make_config(clips=1, batch_size=1)) == [
        "training.batch_size: must be at least 2 when clips_per_snippet is 1, for BatchNorm"
    ]


def test_batches_of_one_row_are_refused_only_where_there_is_a_batchnorm(make_config):
    single = {"clips": 1, "batch_size": 1}
    assert config_problems(make_config(FastVideoSpec(), **single)) == []
    assert config_problems(make_config(TimeSformerSpec(), **single)) == []
    assert config_problems(make_config(CTTSpec(), clips=4, batch_size=1)) == []
    assert config_problems(make_config(CTTSpec(), clips=3, batch_size=1)) == [
        "training.batch_size: must be at least 2 when clips_per_snippet is 3, for BatchNorm"
    ]


def test_the_baselines_of_the_study_are_sound(make_config):
    for spec, backbone, clips in (
        (CTTSpec(), "resnet_2d", 240),
        (FastVideoSpec(), "vgg16_2d", 240),
        (TimeSformerSpec(), "frames", 8),
    ):
        config = make_config(spec, clips=clips, backbones=(backbone,), strategy=f"even-{clips}")
        assert config_problems(config) == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"aggregator": TimeSformerSpec(), "backbones": ("swin_2d",)},
            "aggregator: timesformer trains on frames and needs backbone frames, but got swin_2d",
        ),
        (
            {"aggregator": MeanSpec(), "backbones": ("frames",), "strategy": "even-8"},
            "aggregator: backbone frames is bare pixels and needs timesformer, but got mean",
        ),
        (
            {"aggregator": TimeSformerSpec(), "backbones": ("frames", "swin_2d")},
            "backbone: frames can't be fused with another, but got frames+swin_2d",
        ),
        (
            {"aggregator": TimeSformerSpec(), "strategy": "shot-24"},
            "clip_strategy: backbone frames needs single frames, even-<count> such as even-8, but got shot-24",
        ),
        (
            {"strategy": "even-8", "clips": 30},
            "clips_per_snippet: must be at most the 8 frames of even-8, but got 30",
        ),
        (
            {"aggregator": CTTSpec(kernel=5), "clips": 4},
            "aggregator.kernel: 5 must be at most clips_per_snippet, but that is 4",
        ),
    ],
)
def test_what_does_not_go_together_is_refused_by_field(make_config, settings, message):
    assert config_problems(make_config(**settings)) == [message]
