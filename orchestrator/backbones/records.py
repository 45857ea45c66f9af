"""What a row of the table of backbones holds. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import Any

from orchestrator.backbones.sources import HubFile, ManualFile, NoFile, PackagedFile, UrlFile

KINDS = ("image", "video", "frames")
"""image: one frame a clip in; video: all of a clip's frames in; frames: no network, a clip's pixels are the vector."""


@dataclass(frozen=True)
class Preprocessing:
    """Frames of `side` × `side` pixels; (pixel / 255 - mean) / std per RGB channel, padding being black pixels.

    `frames` is for video networks that take one number of frames only: clips of any length are resampled to it, by
    `preprocess.resample`. None takes clips as they are.
    """

    side: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    resize: str = "bilinear"
    frames: int | None = None

    def plain(self) -> dict[str, Any]:
        """As plain JSON for keys, without `frames` where it is None."""
        values = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}
        return {k: v for k, v in values.items() if v is not None}


@dataclass(frozen=True)
class BackboneEntry:
    """One row of the table; the docstring of `table.py` says what each field holds."""

    name: str
    kind: str
    network: str
    classifier: str
    width: int
    preprocessing: Preprocessing
    weights: UrlFile | PackagedFile | HubFile | ManualFile | NoFile
    pretraining: str
    source: str
    licence: str
    version: int = 1
    in_order: bool = False
    options: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"{self.name}: kind {self.kind!r} is not one of {', '.join(KINDS)}")

    @property
    def builder(self) -> str:
        return self.network.partition(":")[0]

    @property
    def model(self) -> str:
        return self.network.partition(":")[2]
