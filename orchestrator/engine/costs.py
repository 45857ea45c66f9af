"""What a config costs as a network: its backbones and its head, counted together. Knows no Ray."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.backbones.cost import backbone_cost
from orchestrator.heads.cost import head_multiply_adds
from orchestrator.specs import Config


@dataclass(frozen=True)
class ConfigCost:
    """`parameters` of the backbones without their classifiers, `multiply_adds` of one snippet from frames to logits."""

    parameters: int
    multiply_adds: int


def config_cost(config: Config, widths: tuple[int, ...], genres: int) -> ConfigCost:
    """Counted on the networks themselves; `widths` are those of the streams' vectors."""
    backbones = [backbone_cost(stream.backbone.name, config.clip.kept) for stream in config.streams]
    clips = config.clips_per_snippet * sum(cost.multiply_adds for cost in backbones)
    return ConfigCost(sum(cost.parameters for cost in backbones), clips + head_multiply_adds(config, widths, genres))
