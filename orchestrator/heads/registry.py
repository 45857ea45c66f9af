"""Heads by the record that names their aggregator."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from torch import nn

from orchestrator.errors import InputError
from orchestrator.heads.check import aggregator_problems
from orchestrator.heads.modules import GRU, Conv, FusedHead, Mean, StreamHead, Transformer
from orchestrator.specs import AggregatorSpec, ConvSpec, GRUSpec, MeanSpec, TransformerSpec

HEADS: dict[type, Callable[..., nn.Module]] = {
    TransformerSpec: Transformer,
    GRUSpec: GRU,
    ConvSpec: Conv,
    MeanSpec: Mean,
}
"""Aggregator record -> module built from (width of a clip's vector, record), with the attribute `out_features`."""


def build_head(aggregator: AggregatorSpec, widths: Sequence[int], genres: int) -> FusedHead:
    """A head for streams of the given widths: list of (B, c, widths[i]) -> logits (B, genres).

    Its parameters are drawn from torch's global generator, which the caller seeds (see `initialise`).
    Raises InputError naming every setting that can't be built.
    """
    problems = aggregator_problems(aggregator)
    if not widths or min(widths) < 1:
        problems.append(f"widths: each stream needs at least 1 feature a clip, but got {list(widths)}")
    if genres < 1:
        problems.append(f"genres: must be at least 1, but got {genres}")
    if problems:
        raise InputError(problems)
    build = HEADS[type(aggregator)]
    head = FusedHead([StreamHead(width, build(width, aggregator), genres) for width in widths])
    head.apply(initialise)
    return head


def initialise(module: nn.Module) -> None:
    """Draw the parameters of one layer; "Kaiming uniform" in the paper's Table 5.

    Linear and Conv1d: weights Kaiming-uniform with a = √5, hence U(±1/√fan_in), and biases U(±1/√fan_in): what the
    authors' code gets from PyTorch's defaults, written out so that no release of PyTorch changes it. GRU: all
    parameters U(±1/√units), likewise. BatchNorm and LayerNorm start as the identity (weights 1, biases 0).
    """
    if isinstance(module, nn.Linear | nn.Conv1d):
        nn.init.kaiming_uniform_(module.weight, a=math.sqrt(5))
        if module.bias is not None:
            nn.init.uniform_(module.bias, -(bound := module.weight[0].numel() ** -0.5), bound)
    elif isinstance(module, nn.GRU):
        for parameter in module.parameters():
            nn.init.uniform_(parameter, -(bound := module.hidden_size**-0.5), bound)


def count_parameters(module: nn.Module) -> int:
    """Trainable parameters; a BatchNorm's running statistics are none."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)
