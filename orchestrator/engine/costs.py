"""What configs cost as networks: their backbones and heads, counted together. Knows no Ray."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass

from orchestrator.backbones.cost import backbone_cost
from orchestrator.backbones.registry import entry
from orchestrator.heads.cost import head_multiply_adds, head_parameters
from orchestrator.specs import Config

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ConfigCost:
    """`parameters` of the backbones without their classifiers and of the head, `head_parameters` of the head alone,
    `multiply_adds` of one snippet from frames to logits."""

    parameters: int
    head_parameters: int
    multiply_adds: int


def config_cost(config: Config, genres: int) -> ConfigCost:
    """Counted on the networks themselves, which are built without memory; kept for the process."""
    backbones = [backbone_cost(stream.backbone.name, config.clip.kept) for stream in config.streams]
    widths = tuple(entry(stream.backbone.name).width for stream in config.streams)
    clips = config.clips_per_snippet * sum(cost.multiply_adds for cost in backbones)
    head = head_parameters(config, widths, genres)
    return ConfigCost(
        parameters=sum(cost.parameters for cost in backbones) + head,
        head_parameters=head,
        multiply_adds=clips + head_multiply_adds(config, widths, genres),
    )


def config_costs(configs: Iterable[Config], genres: int) -> dict[Config, ConfigCost | None]:
    """The cost of each config; None, with a warning, where a network can't be counted: a trial must not fail of it."""
    costs: dict[Config, ConfigCost | None] = {}
    for config in configs:
        try:
            costs[config] = config_cost(config, genres)
        except Exception as error:  # libraries refuse in all kinds of ways
            _logger.warning("%s: parameters and multiply-adds can't be counted: %s", config.label, error)
            costs[config] = None
    return costs
