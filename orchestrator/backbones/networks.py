"""Networks of three libraries and of our own, each as frames in, one vector a clip out: (B, D) <- (B, 3, [T,] H, W).

A builder takes a row of the table and, if there is one, a checkpoint. Without one the network keeps the initial weights
that torch's global generator gave it, so callers seed that first (`random_weights.seeded`).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

from torch import nn

from orchestrator.backbones.checkpoint import fit, read_checkpoint
from orchestrator.backbones.records import BackboneEntry
from orchestrator.backbones.shufflenet3d import ShuffleNet3D
from orchestrator.backbones.timm_models import build_timm

OWN: dict[str, Callable[..., nn.Module]] = {"shufflenet3d": ShuffleNet3D}
"""Networks written here."""


def build_torchvision(row: BackboneEntry, checkpoint: Path | None) -> nn.Module:
    """Any image or video model of torchvision."""
    from torchvision.models import get_model

    return _headless(get_model(row.model, weights=None, **row.options), row, checkpoint)


def build_pytorchvideo(row: BackboneEntry, checkpoint: Path | None) -> nn.Module:
    """A hub function of pytorchvideo whose network ends in its ResNetBasicHead (X3D, Slow, C2D, I3D, CSN)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its imports use what torch has since deprecated
        from pytorchvideo.models import hub

    network: nn.Module = getattr(hub, row.model)(pretrained=False, **row.options)
    head = network.get_submodule("blocks")[-1]  # type: ignore[index]
    # Its pooling is made for one clip size; average over whatever comes instead. X3D pools between two convolutions.
    owner = head.pool if hasattr(head.pool, "pool") else head
    owner.pool = nn.AdaptiveAvgPool3d(1)
    # Stop before dropout and softmax.
    head.dropout = head.activation = None
    return _headless(network, row, checkpoint)


def build_own(row: BackboneEntry, checkpoint: Path | None) -> nn.Module:
    """A network of OWN."""
    return _headless(OWN[row.model](**row.options), row, checkpoint)


BUILDERS: dict[str, Callable[[BackboneEntry, Path | None], nn.Module]] = {
    "torchvision": build_torchvision,
    "pytorchvideo": build_pytorchvideo,
    "timm": build_timm,
    "own": build_own,
}


def _headless(network: nn.Module, row: BackboneEntry, checkpoint: Path | None) -> nn.Module:
    """The network with its classifier taken off and the checkpoint in it. Raises InputError where that does not fit."""
    parent, _, child = row.classifier.rpartition(".")
    owner = network.get_submodule(parent)
    owner.get_submodule(child)  # AttributeError for a row whose classifier is misspelt
    setattr(owner, child, nn.Identity())
    if checkpoint is not None:
        fit(network, read_checkpoint(checkpoint), row.classifier, checkpoint)
    return network
