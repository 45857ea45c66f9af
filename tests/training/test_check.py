from __future__ import annotations

import pytest

from orchestrator.specs import TransformerSpec
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
