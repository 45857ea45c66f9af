"""What the training settings of a config may be, without torch, so that a plan can refuse them before anything runs."""

from __future__ import annotations

from math import isfinite

from orchestrator.heads.check import batchnorm_rows, head_problems
from orchestrator.specs import Config


def config_problems(config: Config) -> list[str]:
    """Every fault of the head's and the training settings, each naming its field; empty when a trainer can run them."""
    training = config.training
    problems = head_problems(config)
    for name, value, least in (
        ("clips_per_snippet", config.clips_per_snippet, 1),
        ("training.epochs", training.epochs, 1),
        ("training.batch_size", training.batch_size, 1),
        ("training.plateau_patience", training.plateau_patience, 0),
        ("training.stop_patience", training.stop_patience, 1),
        ("training.seed", training.seed, 0),
    ):
        if value < least:
            problems.append(f"{name}: must be at least {least}, but got {value}")
    if training.batch_size == batchnorm_rows(config) == 1:
        clips = config.clips_per_snippet
        problems.append(f"training.batch_size: must be at least 2 when clips_per_snippet is {clips}, for BatchNorm")
    if not (training.learning_rate > 0 and isfinite(training.learning_rate)):
        problems.append(f"training.learning_rate: must be above 0, but got {training.learning_rate}")
    if not (training.weight_decay >= 0 and isfinite(training.weight_decay)):
        problems.append(f"training.weight_decay: must be at least 0, but got {training.weight_decay}")
    if not 0 < training.plateau_factor < 1:
        problems.append(f"training.plateau_factor: must be between 0 and 1, but got {training.plateau_factor}")
    return problems
