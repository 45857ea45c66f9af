"""What an embedding set is made of, as JSON, and the key of it.

Everything that changes a vector is in the identity: the time grid and frame geometry, the clips, the shot detector
(only where shots matter), the choice of the representative frame (only where one frame stands for a clip), the
backbone with its weights and preprocessing. What can't change a vector (batch size, device, worker count) is not.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from orchestrator.backbones.registry import entry, identity
from orchestrator.specs import EmbeddingSpec, key_of, plain
from orchestrator.video.clips import REPRESENTATIVE
from orchestrator.video.geometry import GEOMETRY
from orchestrator.video.shots import detector_identity

EXTRACTION_VERSION = 1
"""Raised by hand when extraction computes other vectors from the same identity."""


def embedding_identity(spec: EmbeddingSpec) -> dict[str, Any]:
    """Everything that names the set's vectors, readable: it is written as `spec.json` beside them."""
    return {
        "version": EXTRACTION_VERSION,
        "geometry": GEOMETRY,
        "clip": plain(spec.clip),
        "shots": detector_identity() if spec.clip.strategy == "shot" else None,
        "representative": REPRESENTATIVE if _chooses_frame(spec) else None,
        "backbone": identity(spec.backbone),
    }


def _chooses_frame(spec: EmbeddingSpec) -> bool:
    return entry(spec.backbone.name).kind == "image" and spec.clip.kept > 1


def embedding_key(spec: EmbeddingSpec) -> str:
    """The key of the set. Not cached: a checkpoint may be overwritten between two calls of a notebook."""
    return key_of(embedding_identity(spec))


def shot_identity() -> dict[str, Any]:
    """What shots are made of: detector, weights, threshold, and the grid and thumbnails that it saw."""
    return {"detector": detector_identity(), "geometry": GEOMETRY}


@cache
def detector_key() -> str:
    """The key under which shots are kept."""
    return key_of(shot_identity())
