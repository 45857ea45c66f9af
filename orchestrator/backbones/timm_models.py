"""Any image model of timm as a backbone: its settings as a row of the table, and the network itself.

Input size: what the weights were trained at, but at most the 224 pixels that the decoder's frames have, since enlarging
them costs compute and shows nothing new. Networks with a fixed grid (ViT, Swin) are created at 224 and timm resamples
their position embeddings; one that refuses gets its own size and enlarged frames.
"""

from __future__ import annotations

import difflib
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import timm
import torch
from timm.models import PretrainedCfg
from torch import nn

from orchestrator.backbones.checkpoint import State, misfit, read_checkpoint, rename_in_order
from orchestrator.backbones.random_weights import seeded
from orchestrator.backbones.records import BackboneEntry, Preprocessing
from orchestrator.backbones.sources import HubFile, NoFile, UrlFile
from orchestrator.errors import InputError

FRAME_SIDE = 224


def timm_entry(model: str) -> BackboneEntry:
    """The row `timm:<model>` from timm's own settings; a bare architecture gets its default pretraining's tag.

    Raises InputError: no such model or tag, or one that isn't for RGB images.
    """
    architecture, _, tag = model.partition(".")
    if not timm.is_model(architecture):
        near = difflib.get_close_matches(architecture, timm.list_models(), n=3, cutoff=0.5)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise InputError(f"backbone: 'timm:{model}': timm has no image model {architecture!r}{hint}")
    tags = [name.partition(".")[2] for name in timm.list_models(f"{architecture}.*", pretrained=True)]
    if tag and tag not in tags:
        raise InputError(f"backbone: 'timm:{model}': {tag!r} is not one of {', '.join(tags) or '(it has no weights)'}")
    settings = timm.get_pretrained_cfg(model) or PretrainedCfg()
    full = f"{architecture}.{settings.tag}" if settings.tag else architecture
    side, width, options = _geometry(full, settings)
    resize = settings.interpolation if settings.interpolation in ("bilinear", "bicubic") else "bilinear"
    return BackboneEntry(
        name=f"timm:{full}",
        kind="image",
        network=f"timm:{full}",
        classifier="",
        width=width,
        preprocessing=Preprocessing(side, _triple(settings.mean), _triple(settings.std), resize),
        weights=_published(full, settings),
        pretraining=settings.tag or "unknown",
        source=settings.origin_url or f"timm {full}",
        licence=settings.license or "not stated by timm",
        options=MappingProxyType(options),
    )


def build_timm(row: BackboneEntry, checkpoint: Path | None) -> nn.Module:
    """timm's network without classifier: (B, width) pooled features <- (B, 3, side, side).

    timm converts what others published in another layout and resamples position embeddings; beyond that the checkpoint
    must match to the last tensor, else InputError. (Asked for a network without classes timm would load loosely, so
    the classifier comes off afterwards.)
    """
    if checkpoint is None:
        return _without_classifier(timm.create_model(row.model, pretrained=False, **row.options))
    state = read_checkpoint(checkpoint)
    if row.in_order:
        state = rename_in_order(state, timm.create_model(row.model, pretrained=False, **row.options).state_dict())
    settings = timm.get_pretrained_cfg(row.model)
    refusals = []
    for classes in _possible_classes(state, settings):
        overlay = {"state_dict": dict(state), "num_classes": classes, "label_offset": 0, "custom_load": False}
        try:
            network = timm.create_model(
                row.model, pretrained=True, pretrained_cfg_overlay=overlay, num_classes=classes, **row.options
            )
        except (RuntimeError, KeyError) as error:  # KeyError: a converter looks for a tensor that isn't there
            refusals.append(error)
            continue
        vars(network).update(pretrained_cfg={}, default_cfg={})  # they would keep the whole state_dict alive
        return _without_classifier(network)
    raise misfit(checkpoint, textwrap.shorten(str(refusals[0]), 400)) from refusals[0]


def _possible_classes(state: State, settings: Any) -> list[int]:
    """Numbers of classes that the checkpoint may be for: by its classifier's rows, else as published, else none."""
    names = (settings.classifier,) if isinstance(settings.classifier, str) else (settings.classifier or ())
    for name in names:
        if f"{name}.weight" in state:
            return [state[f"{name}.weight"].shape[0]]
    return sorted({settings.num_classes, 0}, reverse=True)


def _geometry(model: str, settings: Any) -> tuple[int, int, dict[str, Any]]:
    """Input side, width of the pooled features and constructor options, found on the meta device without memory."""
    if settings.input_size[0] != 3:
        raise InputError(f"backbone: 'timm:{model}': takes {settings.input_size[0]} channels, frames have 3")
    own = min(settings.input_size[1:])
    side = min(own, FRAME_SIDE)
    attempts: list[tuple[int, dict[str, Any]]] = [(own, {})]
    if settings.fixed_input_size and side != own:
        attempts.insert(0, (side, {"img_size": side}))
    elif side != own:
        attempts.insert(0, (side, {}))
    for at, options in attempts:
        try:
            return at, _width(model, at, options), options
        except InputError:
            raise
        except Exception as error:  # refusals are of every kind: TypeError, AssertionError, RuntimeError
            refusal = error
    raise InputError(f"backbone: 'timm:{model}': can't be run on one image: {refusal}") from refusal


def _width(model: str, side: int, options: Mapping[str, Any]) -> int:
    with seeded(0), torch.device("meta"), torch.inference_mode():
        network = _without_classifier(timm.create_model(model, pretrained=False, **options)).eval()
        features = network(torch.empty(1, 3, side, side))
    if not isinstance(features, torch.Tensor) or features.ndim != 2:
        raise InputError(f"backbone: 'timm:{model}': gives no pooled features, but {type(features).__name__}")
    return int(features.shape[1])


def _without_classifier(network: nn.Module) -> nn.Module:
    network.reset_classifier(0)  # type: ignore[operator]
    return network


def _triple(values: Sequence[float]) -> tuple[float, float, float]:
    red, green, blue = map(float, values)
    return red, green, blue


def _published(model: str, settings: Any) -> HubFile | UrlFile | NoFile:
    if settings.hf_hub_id:
        repository, _, revision = settings.hf_hub_id.partition("@")
        files = (settings.hf_hub_filename,) if settings.hf_hub_filename else HubFile.files
        return HubFile(repository, files, revision or "main")
    if isinstance(settings.url, str) and settings.url.endswith((".pth", ".pt", ".bin", ".safetensors")):
        return UrlFile(settings.url)
    return NoFile(f"timm:{model}")
