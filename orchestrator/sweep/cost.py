"""What a plan will cost on this machine, from the rates that earlier runs of the workspace measured. Pure.

A kind of work that was never measured here has no estimate: it is named instead of guessed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from orchestrator.backbones.registry import entry
from orchestrator.specs import FRAMES, GRID_FPS, AggregatorSpec, ClipSpec, Config, aggregator_label
from orchestrator.sweep.plan import Plan, SearchPlan

MEAN_SECONDS = 122
"""Mean length of a trailer of Trailers12k (paper §3), for trailers whose length is not known yet."""

CLIPS = "clips at most"
"""Unit of training: early stopping and pruning take less."""

EXAMPLES = 40
"""Configs that stand for those that a search has yet to draw."""

SAMPLE = 40
"""Trailers whose headers are opened for an estimate; opening all twelve thousand would take a minute."""


@dataclass(frozen=True)
class WorkItem:
    """Work of one kind: how many units, of what, and core-seconds where the rate is known."""

    kind: str
    units: float
    unit: str
    seconds: float | None


@dataclass(frozen=True)
class Estimate:
    """The work that a plan lacks. Seconds are of one core (or of one GPU actor where the rates come from a GPU).

    `stored` is what the missing vectors will take in the workspace, `largest` the whole of the largest set, which a
    node holds in memory while it is trained on; both in bytes.
    """

    items: tuple[WorkItem, ...]
    stored: int = 0
    largest: int = 0

    @property
    def seconds(self) -> float:
        return sum(item.seconds or 0.0 for item in self.items)

    @property
    def unknown(self) -> tuple[str, ...]:
        """Kinds of work never measured in this workspace."""
        return tuple(item.kind for item in self.items if item.seconds is None)

    def to_json(self) -> dict[str, Any]:
        rows = [
            {"kind": i.kind, "units": round(i.units), "unit": i.unit, "core_seconds": i.seconds} for i in self.items
        ]
        sizes = {"stored_bytes": self.stored, "largest_set_bytes": self.largest}
        return {"core_seconds": self.seconds, "not_measured_yet": list(self.unknown), **sizes, "work": rows}


def sample(mids: Sequence[str], most: int = SAMPLE) -> list[str]:
    """At most `most` of the trailers, evenly spread."""
    return [mids[i * len(mids) // most] for i in range(most)] if len(mids) > most else list(mids)


def estimate(plan: Plan, rates: Mapping[str, float], frames: Mapping[str, int], detected: frozenset[str]) -> Estimate:
    """The cost of what is missing.

    rates: seconds a unit (store.rates). frames: grid frames of the trailers whose length is known; the others count as
    their mean. detected: trailers whose shots are known.
    """
    usual = fmean(frames.values()) if frames else MEAN_SECONDS * GRID_FPS
    work: dict[tuple[str, str], float] = {}

    def add(kind: str, unit: str, units: float) -> None:
        if units:
            work[kind, unit] = work.get((kind, unit), 0.0) + units

    add("decode", "frames", sum(frames.get(mid, usual) for mid in plan.to_decode))
    by_shot = {mid for s in plan.sets if s.spec.clip.strategy == "shot" for mid in plan.computable(s)}
    add("shots", "frames", sum(frames.get(mid, usual) for mid in by_shot - detected))
    stored = largest = 0
    for s in plan.sets:
        clip, backbone = s.spec.clip, s.spec.backbone.name
        missing = plan.computable(s)
        clips = _clips(clip, missing, frames, usual)
        size = entry(backbone).width * (1 if backbone == FRAMES else 4)
        stored += int(clips * size)
        largest = max(largest, int(_clips(clip, plan.trailers, frames, usual) * size))
        if entry(backbone).kind == "video":
            add(f"embed {backbone}", "frames", clips * clip.kept)
        elif entry(backbone).kind == "image":
            add(f"embed {backbone}", "clips", clips)
    lost = plan.without_video.keys()
    able = [c for c in plan.configs if not lost & set(c.embedding_keys)]
    passes = len(plan.trailers)
    for c in able:
        epochs = c.config.training.epochs * sum(not t.finished for t in c.trials)
        add(f"train {aggregator_label(c.config.aggregator)}", CLIPS, epochs * passes * c.config.clips_per_snippet)
    for search in plan.searches:
        for config, times in _examples(search):
            most = config.training.epochs * len(plan.splits) * times
            add(drawn_kind(config.aggregator), CLIPS, most * passes * config.clips_per_snippet)
    items = []
    for (kind, unit), units in work.items():
        rate = rates.get(kind)
        items.append(WorkItem(kind, units, unit, None if rate is None else rate * units))
    return Estimate(tuple(items), stored, largest)


def drawn_kind(aggregator: AggregatorSpec) -> str:
    """The kind of work of training a head that a search drew: by name, for its settings are ever others."""
    return f"train {aggregator.name} drawn by a search"


def _examples(plan: SearchPlan) -> Iterator[tuple[Config, float]]:
    """Configs drawn at random in the place of those that are to come, and how many each stands for."""
    from orchestrator.search.sampling import draw

    spec = replace(plan.search.spec, sampler="random")
    for number in range(count := min(plan.to_draw, EXAMPLES)):
        if values := draw(spec, number, [], lambda _: True):
            yield plan.search.build(values), plan.to_draw / count


def _clips(clip: ClipSpec, mids: Sequence[str], frames: Mapping[str, int], usual: float) -> float:
    if clip.strategy == "even":
        return len(mids) * clip.frames
    return sum(frames.get(mid, usual) for mid in mids) / clip.frames
