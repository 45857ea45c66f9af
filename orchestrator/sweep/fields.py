"""The fields of a config as a search space spells them: what each may be, and how they become a Config."""

from __future__ import annotations

import difflib
import math
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from typing import Any

from orchestrator.backbones.registry import entry
from orchestrator.errors import InputError
from orchestrator.specs import (
    AGGREGATORS,
    AggregatorSpec,
    BackboneSpec,
    ClipSpec,
    Config,
    EmbeddingSpec,
    TrainSpec,
)
from orchestrator.training.check import config_problems

DEFAULTS: dict[str, Any] = {
    "backbone": "swin_3d",
    "weights": "pretrained",
    "clip_strategy": "shot-24",
    "frame_rate": 24,
    "clips_per_snippet": 30,
    "aggregator": "transformer",
} | {f"training.{f.name}": f.default for f in fields(TrainSpec)}
"""Every field with the study's default config D (FIDELITY, The experiments)."""

RESERVED = ("published", "screenshots")
"""Folders of results/ that no sweep's report may be written into."""

Place = Callable[[str], str]
"""Field -> `file.yaml:line`, for messages."""


def build_streams(cell: Mapping[str, Any], place: Place) -> tuple[EmbeddingSpec, ...]:
    """The embedding sets that a config of these fields needs."""
    values = DEFAULTS | dict(cell)
    names = [part.strip() for part in _text(values, "backbone", place).split("+")]
    for name in names:
        _located("backbone", place, lambda name=name: entry(name))  # type: ignore[misc]
    rate = values["frame_rate"]
    clip = _located("clip_strategy", place, lambda: ClipSpec.parse(values["clip_strategy"], rate))
    streams = tuple(EmbeddingSpec(clip, BackboneSpec(n, _weights(n, values["weights"], names, place))) for n in names)
    if still := [n for n in names if clip.strategy == "even" and entry(n).kind == "video"]:
        raise InputError(
            f"{place('backbone')}: backbone: {still[0]} sees moving clips, but those of clip_strategy {clip.name} "
            "are single frames"
        )
    if len(set(streams)) < len(streams):
        raise InputError(f"{place('backbone')}: backbone: {values['backbone']!r} fuses a backbone with itself")
    return streams


def build_config(cell: Mapping[str, Any], place: Place) -> Config:
    """A Config from fields under their YAML names; a field left out takes its default."""
    values = DEFAULTS | dict(cell)
    streams = build_streams(values, place)
    settings: dict[str, Any] = {
        f.name: read_number(f"training.{f.name}", values[f"training.{f.name}"], f.default, place)
        for f in fields(TrainSpec)
    }
    snippet = read_number("clips_per_snippet", values["clips_per_snippet"], DEFAULTS["clips_per_snippet"], place)
    aggregator = _aggregator(_tuned(values), place, values)
    config = Config(streams, aggregator, int(snippet), TrainSpec(**settings))
    if problems := config_problems(config):
        fields_at_fault = [p.split(":")[0] for p in problems]
        places = [_place_of(f, config.aggregator.name, values, place) for f in fields_at_fault]
        raise InputError([f"{at}: {problem}" for at, problem in zip(places, problems, strict=True)])
    return config


def _place_of(field: str, aggregator: str, values: Mapping[str, Any], place: Place) -> str:
    """Where a field at fault stands; a fault among an aggregator's settings is that of one that was replaced."""
    if not field.startswith("aggregator."):
        return place(field)
    replaced = [key for key in values if key.startswith(f"aggregator.{aggregator}.")]
    return place(replaced[0] if replaced else "aggregator")


def _located(field: str, place: Place, build: Callable[[], Any]) -> Any:
    """Runs `build` and puts the place in front of what it complains of."""
    try:
        return build()
    except InputError as error:
        named = str(error).split(":")[0]
        if named in DEFAULTS:
            raise InputError(f"{place(named)}: {error}") from error
        raise InputError(f"{place(field)}: {field}: {error}") from error


def _text(values: Mapping[str, Any], field: str, place: Place) -> str:
    if not isinstance(values[field], str) or not values[field].strip():
        raise InputError(f"{place(field)}: {field}: {values[field]!r} is not a name")
    return str(values[field])


def _weights(backbone: str, weights: Any, names: list[str], place: Place) -> str:
    """`weights` is one value for every backbone, or a mapping of backbone to value."""
    if isinstance(weights, Mapping):
        for name in weights:
            try:
                entry(str(name))
            except InputError as error:
                raise InputError(f"{place('weights')}: weights: {str(error).removeprefix('backbone: ')}") from error
        weights = weights.get(backbone, DEFAULTS["weights"])
    if not isinstance(weights, str) or not weights:
        raise InputError(
            f"{place('weights')}: weights: {weights!r} is not pretrained, random, a checkpoint path, "
            f"or a mapping of backbones ({', '.join(names)}) to one of these"
        )
    return str(absolute_weights(weights))


def absolute_weights(value: Any) -> Any:
    """`weights` with checkpoint paths made absolute: workers, and who resumes a sweep, have folders of their own."""
    if isinstance(value, Mapping):
        return {name: absolute_weights(path) for name, path in value.items()}
    named = not isinstance(value, str) or value in ("", "pretrained", "random")
    return value if named else os.path.abspath(value)


def tuning_problem(key: str) -> str | None:
    """What is wrong with a key `aggregator.<name>.<setting>`, which replaces a setting of that aggregator; or None."""
    _, name, setting = key.split(".", 2)
    if name not in AGGREGATORS:
        return f"{name!r} is not one of {', '.join(AGGREGATORS)}"
    known = [f.name for f in fields(AGGREGATORS[name])]
    return None if setting in known else f"unknown setting{suggest(setting, known)}"


def tuned_settings(value: Any) -> dict[str, Any]:
    """What a value of `aggregator` sets itself: {name: gru, units: 64} -> {aggregator.gru.units: 64}."""
    if not isinstance(value, Mapping):
        return {}
    return {f"aggregator.{value.get('name')}.{key}": setting for key, setting in value.items() if key != "name"}


def aggregator_name(value: Any) -> Any:
    """`gru` of both `gru` and {name: gru, units: 64}."""
    return value.get("name") if isinstance(value, Mapping) else value


def default_of(field: str) -> Any:
    """The default of a field of a config or of a setting `aggregator.<name>.<setting>`. Raises KeyError."""
    if field in DEFAULTS:
        return DEFAULTS[field]
    _, name, setting = field.split(".", 2)
    return {f.name: f.default for f in fields(AGGREGATORS[name])}[setting]


def is_numeric(field: str) -> bool:
    """Whether the field may be any number of a range, not only one of some names."""
    default = default_of(field)
    return field != "frame_rate" and isinstance(default, int | float) and not isinstance(default, bool)


def _tuned(values: Mapping[str, Any]) -> Any:
    """The aggregator with the settings that fields `aggregator.<name>.<setting>` replace."""
    value = values["aggregator"]
    options = dict(value) if isinstance(value, Mapping) else {"name": value}
    prefix = f"aggregator.{options.get('name')}."
    return options | {key.removeprefix(prefix): v for key, v in values.items() if key.startswith(prefix)}


def build_aggregator(value: Any, place: Place) -> AggregatorSpec:
    """From a value of `aggregator`: `gru` or {name: gru, units: 64}."""
    return _aggregator(_tuned({"aggregator": value}), place, {})


def _aggregator(value: Mapping[str, Any], place: Place, values: Mapping[str, Any]) -> AggregatorSpec:
    """From `{name: gru, units: 64}`."""
    where = place("aggregator")
    options = dict(value)
    name = options.pop("name", None)
    if not isinstance(name, str) or name not in AGGREGATORS:
        raise InputError(f"{where}: aggregator: {name!r} is not one of {', '.join(AGGREGATORS)}")
    spec = AGGREGATORS[name]
    known = {f.name: f.default for f in fields(spec)}
    for key in options:
        if key not in known:
            raise InputError(f"{where}: aggregator: {name}: {key}: unknown setting{suggest(key, known)}")
    settings: dict[str, Any] = {}
    for key, setting in options.items():
        replaced = f"aggregator.{name}.{key}"
        at = place(replaced) if replaced in values else where
        settings[key] = read_number(key, setting, known[key], lambda _, at=at: f"{at}: aggregator: {name}")  # type: ignore[misc]
    return spec(**settings)


def read_number(field: str, value: Any, default: Any, place: Place) -> int | float:
    """As the default: true or false, whole, else real; PyYAML reads `1e-4` as text, so number-like text is a real."""
    if isinstance(default, bool):
        if type(value) is not bool:
            raise InputError(f"{place(field)}: {field}: {value!r} is not true or false")
        return value
    if isinstance(default, int):
        if type(value) is not int:
            raise InputError(f"{place(field)}: {field}: {value!r} is not a whole number")
        return value
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]+(\.[0-9]*)?[eE][+-]?[0-9]+", value):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InputError(f"{place(field)}: {field}: {value!r} is not a number")
    return float(value)


def check_name(name: Any, where: str) -> None:
    """Names become folders, MLflow experiments and file names."""
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
        raise InputError(
            f"{where}: name: {name!r} may hold only letters, digits, '.', '_' and '-', such as clip_generation"
        )
    if name in RESERVED:
        raise InputError(f"{where}: name: {name!r} is a folder of results/ already; choose another")


def suggest(word: Any, known: Iterable[str]) -> str:
    """`; did you mean …?`, or what is allowed."""
    known = list(known)
    close = difflib.get_close_matches(str(word), known, 1)
    return f"; did you mean {close[0]}?" if close else f"; allowed are {', '.join(known)}"
