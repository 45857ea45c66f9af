"""What an aggregator's settings may be, without torch, so that a plan can refuse them before anything runs."""

from __future__ import annotations

from orchestrator.specs import (
    FRAMES,
    AggregatorSpec,
    Config,
    ConvSpec,
    CTTSpec,
    FastVideoSpec,
    GRUSpec,
    TimeSformerSpec,
    TransformerSpec,
)
from orchestrator.video.geometry import FRAME_SIDE


def aggregator_problems(spec: AggregatorSpec) -> list[str]:
    """Every fault of the settings, each naming its field; empty when a head can be built from them."""
    problems = []
    match spec:
        case TransformerSpec():
            problems += _below_one(width=spec.width, heads=spec.heads, feedforward=spec.feedforward)
            if not problems:
                problems += _heads(spec.heads, spec.width)
            problems += _dropout(spec.dropout)
        case GRUSpec():
            problems += _below_one(units=spec.units)
        case ConvSpec():
            problems += _below_one(filters=spec.filters)
            if spec.kernel < 1 or spec.kernel % 2 == 0:
                # An odd kernel with padding keeps as many positions as there are clips.
                problems.append(f"aggregator.kernel: must be odd and at least 1, but got {spec.kernel}")
        case CTTSpec():
            problems += _below_one(filters=spec.filters, kernel=spec.kernel)
            problems += _dropout(spec.dropout)
        case FastVideoSpec():
            problems += _below_one(units=spec.units)
        case TimeSformerSpec():
            problems += _below_one(layers=spec.layers, width=spec.width, heads=spec.heads, patch=spec.patch)
            if not problems:
                problems += _heads(spec.heads, spec.width)
                if FRAME_SIDE % spec.patch:
                    problems.append(f"aggregator.patch: {spec.patch} does not divide a frame's side of {FRAME_SIDE}")
    return problems


def head_problems(config: Config) -> list[str]:
    """Faults of the settings and of what the head would be given; empty when it can be built and run."""
    spec, clips = config.aggregator, config.clips_per_snippet
    problems = aggregator_problems(spec)
    if isinstance(spec, CTTSpec) and clips < spec.kernel:
        problems.append(f"aggregator.kernel: {spec.kernel} must be at most clips_per_snippet, but that is {clips}")
    on_frames = config.start is not None
    if isinstance(spec, TimeSformerSpec) and not on_frames:
        problems.append(
            f"aggregator: {spec.name} trains on frames and needs backbone {FRAMES}, but got {config.backbone}"
        )
    if on_frames and not isinstance(spec, TimeSformerSpec):
        problems.append(
            f"aggregator: backbone {FRAMES} is bare pixels and needs {TimeSformerSpec.name}, but got {spec.name}"
        )
    if on_frames and len(config.streams) > 1:
        problems.append(f"backbone: {FRAMES} can't be fused with another, but got {config.backbone}")
    if on_frames and config.clip.strategy != "even":
        problems.append(
            f"clip_strategy: backbone {FRAMES} needs single frames, even-<count> such as even-8, "
            f"but got {config.clip.name}"
        )
    if config.clip.strategy == "even" and clips > config.clip.frames:
        # A trailer has no more clips than that, so what goes beyond would be padding in every snippet.
        problems.append(
            f"clips_per_snippet: must be at most the {config.clip.frames} frames of {config.clip.name}, but got {clips}"
        )
    return problems


def batchnorm_rows(config: Config) -> int | None:
    """Rows that one snippet brings to the head's BatchNorm, which needs two a batch; None where it has no BatchNorm."""
    match config.aggregator:
        case FastVideoSpec() | TimeSformerSpec():
            return None
        case CTTSpec(kernel=kernel):
            return config.clips_per_snippet - kernel + 1
    return config.clips_per_snippet


def _below_one(**values: int) -> list[str]:
    return [f"aggregator.{name}: must be at least 1, but got {value}" for name, value in values.items() if value < 1]


def _heads(heads: int, width: int) -> list[str]:
    return [f"aggregator.heads: {heads} does not divide aggregator.width {width}"] if width % heads else []


def _dropout(dropout: float) -> list[str]:
    return [] if 0 <= dropout < 1 else [f"aggregator.dropout: must be at least 0 and below 1, but got {dropout}"]
