"""Frozen records that name work, and the keys made from them.

A key is the hash of a canonical JSON of everything that changes a result and of nothing else: worker counts,
devices, batch sizes and paths never enter it. The records hold only plain values, so this module needs no
torch, ray or file.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, ClassVar

from orchestrator.errors import InputError

GRID_FPS = 24
"""Frames a second of the time grid on which shots and clips are counted (Trailers12k is normalised to it)."""

FRAME_RATES = (24, 12, 8, 6, 4)
"""Frame rates a clip may have; each keeps the first of every 24 / fps grid frames (FIDELITY, Table 7)."""

CLIP_STRATEGIES = ("seq", "shot", "even")

TRAINING_VERSION = 1
"""Raised by hand when the trainer's arithmetic changes, so that old trials are not taken for new ones."""


@dataclass(frozen=True)
class ClipSpec:
    """How a trailer is cut: `strategy` seq or shot, `frames` grid frames a clip, `fps` frames a second kept.

    Strategy even is no cut: `frames` clips of one frame each, evenly spaced over the trailer, as the baselines take
    them; `fps` means nothing there and stays at 24.
    """

    strategy: str
    frames: int
    fps: int = GRID_FPS

    def __post_init__(self) -> None:
        if self.strategy not in CLIP_STRATEGIES:
            raise InputError(f"clip_strategy: {self.strategy!r} is not one of {', '.join(CLIP_STRATEGIES)}")
        if self.frames < 1:
            raise InputError(f"clip_strategy: frames a clip must be at least 1, but got {self.frames}")
        if type(self.fps) is not int or self.fps not in FRAME_RATES:
            raise InputError(f"frame_rate: {self.fps!r} is not one of {', '.join(map(str, FRAME_RATES))}")
        if self.strategy == "even" and self.fps != GRID_FPS:
            raise InputError(f"frame_rate: {self.fps} has no meaning for {self.name}, whose clips are single frames")

    @classmethod
    def parse(cls, name: str, fps: int = GRID_FPS) -> ClipSpec:
        """`shot-24` -> ClipSpec("shot", 24, fps)."""
        match = re.fullmatch(r"(seq|shot|even)-([1-9][0-9]*)", str(name))
        if not match:
            raise InputError(
                f"clip_strategy: {name!r} is not seq-<frames>, shot-<frames> or even-<count>, such as shot-24"
            )
        return cls(match[1], int(match[2]), fps)

    @property
    def name(self) -> str:
        return f"{self.strategy}-{self.frames}"

    @property
    def label(self) -> str:
        """`shot-24 12fps`; where the rate means nothing just `even-8`."""
        return self.name if self.strategy == "even" else f"{self.name} {self.fps}fps"

    @property
    def step(self) -> int:
        """Grid frames from one kept frame to the next."""
        return GRID_FPS // self.fps

    @property
    def kept(self) -> int:
        """Frames a clip has after the frame rate is reduced."""
        return 1 if self.strategy == "even" else -(-self.frames // self.step)


FRAMES = "frames"
"""In the place of a backbone's name: no backbone but the pixels, for a head that trains on them end to end."""


@dataclass(frozen=True)
class BackboneSpec:
    """A frozen backbone by its registry name; `weights` is `pretrained`, `random` or a checkpoint path.

    For `frames`, which has none, the weights are those that the head starts from.
    """

    name: str
    weights: str = "pretrained"


@dataclass(frozen=True)
class EmbeddingSpec:
    """One vector per clip of every trailer. Its key also needs the identity of the weights: `embedding_key`."""

    clip: ClipSpec
    backbone: BackboneSpec

    @property
    def name(self) -> str:
        return f"{self.backbone.name} {self.clip.label}"


@dataclass(frozen=True)
class TransformerSpec:
    """DIViTA's Clip Aggregation Transformer (paper §5): one block over projected clips, mean over clips."""

    name: ClassVar[str] = "transformer"
    width: int = 128
    heads: int = 4
    feedforward: int = 768
    dropout: float = 0.25


@dataclass(frozen=True)
class GRUSpec:
    """One recurrent layer, ReLU on its outputs, mean over clips (Table 9)."""

    name: ClassVar[str] = "gru"
    units: int = 115


@dataclass(frozen=True)
class ConvSpec:
    """One Conv1d through the clips, ReLU, mean over clips (Table 9)."""

    name: ClassVar[str] = "conv"
    filters: int = 128
    kernel: int = 3


@dataclass(frozen=True)
class MeanSpec:
    """Average of the clips, ReLU; nothing is learnt but the linear classifier."""

    name: ClassVar[str] = "mean"


@dataclass(frozen=True)
class CTTSpec:
    """CTT-MMC-A's convolution through time over frame features (Wehrmann & Barros 2017; Table 11)."""

    name: ClassVar[str] = "ctt_mmc_a"
    filters: int = 384
    kernel: int = 3
    dropout: float = 0.5


@dataclass(frozen=True)
class FastVideoSpec:
    """fastVideo's fastText over frame features (Cascante-Bonilla et al. 2019; Table 11).

    A linear projection to `units`, the average over frames, or with `attention` a learnt weighting of them.
    """

    name: ClassVar[str] = "fastvideo"
    units: int = 300
    attention: bool = False


@dataclass(frozen=True)
class TimeSformerSpec:
    """TimeSformer with divided space-time attention (Bertasius et al. 2021; Table 11), trained on frames end to end."""

    name: ClassVar[str] = "timesformer"
    layers: int = 12
    width: int = 768
    heads: int = 12
    patch: int = 16


AggregatorSpec = TransformerSpec | GRUSpec | ConvSpec | MeanSpec | CTTSpec | FastVideoSpec | TimeSformerSpec

AGGREGATORS: dict[str, type[AggregatorSpec]] = {
    s.name: s for s in (TransformerSpec, GRUSpec, ConvSpec, MeanSpec, CTTSpec, FastVideoSpec, TimeSformerSpec)
}


def aggregator_label(spec: AggregatorSpec) -> str:
    """Its name and the settings that are not its usual ones: `gru (units=64)`."""
    changed = [f"{f.name}={getattr(spec, f.name)}" for f in fields(spec) if getattr(spec, f.name) != f.default]
    return f"{spec.name} ({', '.join(changed)})" if changed else spec.name


@dataclass(frozen=True)
class TrainSpec:
    """Training settings (FIDELITY, Head and training); patience counts epochs of the validation loss."""

    epochs: int = 100
    batch_size: int = 32
    learning_rate: float = 1e-4
    weight_decay: float = 0.01
    plateau_patience: int = 10
    plateau_factor: float = 0.1
    stop_patience: int = 20
    seed: int = 0


@dataclass(frozen=True)
class Config:
    """What one row of a results table is: embedding set(s), aggregator, snippet length, training settings."""

    streams: tuple[EmbeddingSpec, ...]
    aggregator: AggregatorSpec = field(default_factory=TransformerSpec)
    clips_per_snippet: int = 30
    training: TrainSpec = field(default_factory=TrainSpec)

    def __post_init__(self) -> None:
        if not self.streams:
            raise InputError("backbone: a config needs at least one")
        if len({s.clip for s in self.streams}) > 1:
            names = " and ".join(f"{s.clip.name} at {s.clip.fps} fps" for s in self.streams)
            raise InputError(f"backbone: streams fuse clip by clip and must share their clips, but got {names}")

    @property
    def clip(self) -> ClipSpec:
        return self.streams[0].clip

    @property
    def backbone(self) -> str:
        """Registry name(s), fused streams joined by `+`."""
        return "+".join(s.backbone.name for s in self.streams)

    @property
    def start(self) -> BackboneSpec | None:
        """What a head that trains end to end starts from; None for heads on frozen features, which start at random."""
        return next((s.backbone for s in self.streams if s.backbone.name == FRAMES), None)

    @property
    def weights(self) -> str:
        """`pretrained`, `random` or a path; where the streams differ, theirs joined by `+`."""
        return "+".join(dict.fromkeys(s.backbone.weights for s in self.streams))

    @property
    def label(self) -> str:
        """One line that tells configs apart in tables: backbone, clips, rate, snippet length, aggregator."""
        return " ".join(
            (
                self.backbone,
                self.clip.label,
                f"{self.clips_per_snippet}clips",
                self.aggregator.name,
            )
        )

    def flat(self) -> dict[str, Any]:
        """The config under the names that YAML, MLflow and reports use, nested settings as dotted names."""
        values: dict[str, Any] = {
            "backbone": self.backbone,
            "weights": self.weights,
            "clip_strategy": self.clip.name,
            "frame_rate": self.clip.fps,
            "clips_per_snippet": self.clips_per_snippet,
            "aggregator": self.aggregator.name,
        }
        values |= {f"aggregator.{k}": v for k, v in plain(self.aggregator).items() if k != "name"}
        values |= {f"training.{k}": v for k, v in plain(self.training).items()}
        return values


def plain(value: Any) -> Any:
    """Records, tuples and mappings as plain JSON values; a record with a class-level `name` keeps it."""
    if is_dataclass(value) and not isinstance(value, type):
        name = getattr(type(value), "name", None)
        named = {"name": name} if isinstance(name, str) else {}
        return named | {f.name: plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return value


def config_from_plain(values: Mapping[str, Any]) -> Config:
    """The inverse of `plain(config)`, for configs read back from the ledger."""
    streams = tuple(EmbeddingSpec(ClipSpec(**s["clip"]), BackboneSpec(**s["backbone"])) for s in values["streams"])
    options = dict(values["aggregator"])
    aggregator = AGGREGATORS[options.pop("name")](**options)
    return Config(streams, aggregator, values["clips_per_snippet"], TrainSpec(**values["training"]))


def key_of(value: Any) -> str:
    """The first 20 hex digits of the SHA-256 of the value's canonical JSON."""
    text = json.dumps(plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def config_key(config: Config, embedding_keys: Sequence[str], start: Mapping[str, Any] | None = None) -> str:
    """The key of a config; the embedding-set keys stand in for its streams, since they name the weights' digests.

    `start` is the identity of the weights that a head on frames starts from.
    """
    return key_of(_settings(config, embedding_keys, start))


def trial_key(
    config: Config,
    embedding_keys: Sequence[str],
    split: int,
    data_digest: str,
    start: Mapping[str, Any] | None = None,
) -> str:
    """The key of a config on one split; `data_digest` covers trailers, labels and the parts of that split."""
    return key_of(_settings(config, embedding_keys, start) | {"split": split, "data": data_digest})


def _settings(config: Config, embedding_keys: Sequence[str], start: Mapping[str, Any] | None) -> dict[str, Any]:
    if len(embedding_keys) != len(config.streams):
        raise ValueError(f"one embedding key a stream: got {len(embedding_keys)} for {len(config.streams)}")
    values = {f.name: plain(getattr(config, f.name)) for f in dataclasses.fields(config) if f.name != "streams"}
    if (start is None) != (config.start is None):
        raise ValueError("a head on frames, and no other, has weights that it starts from")
    values |= {} if start is None else {"start": plain(start)}
    return values | {"embeddings": list(embedding_keys), "version": TRAINING_VERSION}
