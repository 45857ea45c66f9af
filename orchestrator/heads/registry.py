"""Heads by the record that names their aggregator."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from torch import nn

from orchestrator.backbones.registry import ensure_weights
from orchestrator.errors import InputError
from orchestrator.heads.baselines import CTT, FastVideo
from orchestrator.heads.check import head_problems
from orchestrator.heads.modules import GRU, Conv, FusedHead, Mean, StreamHead, Transformer
from orchestrator.heads.timesformer import TimeSformer
from orchestrator.specs import (
    Config,
    ConvSpec,
    CTTSpec,
    FastVideoSpec,
    GRUSpec,
    MeanSpec,
    TimeSformerSpec,
    TransformerSpec,
)

HEADS: dict[type, Callable[..., nn.Module]] = {
    TransformerSpec: Transformer,
    GRUSpec: GRU,
    ConvSpec: Conv,
    MeanSpec: Mean,
    CTTSpec: CTT,
    FastVideoSpec: FastVideo,
    TimeSformerSpec: TimeSformer,
}
"""Aggregator record -> module built from (width of a clip's vector, record, clips a snippet)."""

BASELINES = (CTTSpec, FastVideoSpec, TimeSformerSpec)
"""Architectures of other authors, which have no BatchNorm over what they are given."""


def build_head(config: Config, widths: Sequence[int], genres: int) -> FusedHead:
    """A head for streams of the given widths, ready to train: list of (B, c, widths[i]) -> logits (B, genres).

    Its parameters are drawn from torch's global generator, which the caller seeds (see `initialise`), but for those
    that a TimeSformer takes from `config.start`. Raises InputError naming every setting that can't be built, or saying
    why that file does not fit, MissingWeights where it is not to be had.
    """
    head = assemble(config, widths, genres)
    for stream in head.streams:
        for part in stream.children():
            if not isinstance(part, TimeSformer):  # whose own rule it was built by
                part.apply(initialise)
            elif config.start is not None and (path := ensure_weights(config.start)) is not None:
                part.load_vit(path)
    return head


def assemble(config: Config, widths: Sequence[int], genres: int) -> FusedHead:
    """The network of `build_head` before its parameters get the values that training starts from."""
    problems = head_problems(config)
    if len(widths) != len(config.streams) or min(widths) < 1:
        problems.append(f"widths: each stream needs at least 1 feature a clip, but got {list(widths)}")
    if genres < 1:
        problems.append(f"genres: must be at least 1, but got {genres}")
    if problems:
        raise InputError(problems)
    spec, clips = config.aggregator, config.clips_per_snippet
    build, batchnorm = HEADS[type(spec)], not isinstance(spec, BASELINES)
    return FusedHead([StreamHead(w, build(w, spec, clips), genres, batchnorm=batchnorm) for w in widths])


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
