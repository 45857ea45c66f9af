"""Networks of three libraries and of our own, each as frames in, one vector a clip out: (B, D) <- (B, 3, [T,] H, W).

A builder takes a row of the table and, if there is one, a checkpoint. Without one the network keeps the initial weights
that torch's global generator gave it, so callers seed that first (`random_weights.seeded`).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from orchestrator.backbones.checkpoint import fit, read_checkpoint
from orchestrator.backbones.records import BackboneEntry
from orchestrator.backbones.shufflenet3d import ShuffleNet3D

OWN: dict[str, Callable[..., nn.Module]] = {"shufflenet3d": ShuffleNet3D}
"""Networks written here."""


def build_torchvision(row: BackboneEntry, checkpoint: Path | None) -> nn.Module:
    """Any image or video model of torchvision."""
    from torchvision.models import get_model

    return _headless(get_model(row.model, weights=None, **row.options), row, checkpoint)


def build_pytorchvideo(row: BackboneEntry, checkpoint: Path | None) -> nn.Module:
    """A hub function of pytorchvideo whose network ends in its ResNetBasicHead (X3D, Slow, C2D, I3D, CSN), or MViT."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its imports use what torch has since deprecated
        from pytorchvideo.models import hub

    network: nn.Module = getattr(hub, row.model)(pretrained=False, **row.options)
    head: nn.Module = getattr(network, "head", None) or network.get_submodule("blocks")[-1]  # type: ignore[index]
    if hasattr(head, "pool"):
        # It is made for one clip size; average over whatever comes instead. X3D pools between two convolutions.
        owner = head.pool if hasattr(head.pool, "pool") else head
        owner.pool = nn.AdaptiveAvgPool3d(1)
    # Stop before dropout and softmax.
    head.dropout = head.activation = None
    return _headless(network, row, checkpoint)


def build_own(row: BackboneEntry, checkpoint: Path | None) -> nn.Module:
    """A network of OWN."""
    return _headless(OWN[row.model](**row.options), row, checkpoint)


def _build_timm(row: BackboneEntry, checkpoint: Path | None) -> nn.Module:
    from orchestrator.backbones.timm_models import build_timm  # timm takes two seconds to load

    return build_timm(row, checkpoint)


BUILDERS: dict[str, Callable[[BackboneEntry, Path | None], nn.Module]] = {
    "torchvision": build_torchvision,
    "pytorchvideo": build_pytorchvideo,
    "timm": _build_timm,
    "own": build_own,
}


def build_without_memory(row: BackboneEntry) -> nn.Module:
    """The network on torch's meta device: shapes and nothing else, to count or to look at."""
    try:
        with torch.device("meta"):
            return BUILDERS[row.builder](row, None)
    except RuntimeError:  # pytorchvideo's MViT asks tensors for their values while it is built
        return BUILDERS[row.builder](row, None).to("meta")


def _headless(network: nn.Module, row: BackboneEntry, checkpoint: Path | None) -> nn.Module:
    """The network with its classifier taken off and the checkpoint in it. Raises InputError where that does not fit."""
    parent, _, child = row.classifier.rpartition(".")
    owner = network.get_submodule(parent)
    owner.get_submodule(child)  # AttributeError for a row whose classifier is misspelt
    setattr(owner, child, nn.Identity())
    if checkpoint is not None:
        fit(network, read_checkpoint(checkpoint), row.classifier, checkpoint)
    return network
