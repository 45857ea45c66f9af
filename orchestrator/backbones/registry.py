"""Backbones by name, and what of a backbone enters the key of an embedding set. Imports no torch.

The rows are in `table.py`, which also says how to add one.
"""

from __future__ import annotations

import difflib
from functools import lru_cache
from pathlib import Path
from typing import Any

from orchestrator.backbones.records import BackboneEntry
from orchestrator.backbones.table import ROWS
from orchestrator.backbones.weights import checkpoint_digest, checkpoint_path, status_of, weights_file
from orchestrator.errors import InputError, MissingWeights
from orchestrator.specs import BackboneSpec

RANDOM_SEED = 0
RANDOM_VERSION = 2
"""Raised by hand when the way changes in which random weights are made (`random_weights.py`)."""


BACKBONES: dict[str, BackboneEntry] = {row.name: row for row in ROWS}


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
    """What decides a backbone's vectors, as plain JSON for keys; its weights as `initial_weights` names them.

    The pixels of `frames` are the same whatever weights a head starts from. Versions of torch and timm are left out:
    they move last bits, not results. Raises as `initial_weights` does.
    """
    row = entry(spec.name)
    if row.kind == "frames":
        side = row.preprocessing.side
        return {"backbone": row.name, "side": side, "dtype": "uint8", "layout": "HWC RGB", "version": row.version}
    return {
        "backbone": row.name,
        "network": row.network,
        "options": dict(row.options),
        "feature": f"input of {row.classifier}" if row.classifier else "pooled features",
        "width": row.width,
        "weights": initial_weights(spec),
        "preprocessing": row.preprocessing.plain(),
        "version": row.version,
    }


def initial_weights(spec: BackboneSpec) -> dict[str, Any]:
    """What decides a backbone's weights, as plain JSON for keys.

    Published weights are named by their file, whose name carries the digest where the publisher puts it there, so that
    no file is needed to make a plan; a checkpoint path by the SHA-256 of its bytes; random weights by their seed.
    Raises InputError (unknown backbone) and MissingWeights (no such checkpoint).
    """
    row = entry(spec.name)
    if spec.weights == "pretrained":
        return dict(row.weights.identity())
    if is_random(spec):
        return {"random": RANDOM_SEED, "version": RANDOM_VERSION}
    return {"sha256": checkpoint_digest(spec.weights)}


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
