"""Comparisons along one varied setting: which configs differ in nothing else. Pure, no drawing.

A grid mixes axes, and a study varies one at a time around a default: a plain mean at each value would then
compare different backbones with one another. So configs are joined to lines, each holding all other settings fixed.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from orchestrator.reporting.aggregate import Row, Spread, constant_settings, short_weights, varied_axes
from orchestrator.reporting.inputs import ComparedRow

UNITS = {"frame_rate": "{} fps", "clips_per_snippet": "{} clips"}
"""How a value reads on its own, where its name is not beside it."""

SPELT_OUT = ("backbone", "clip_strategy", "aggregator")
"""Settings whose value explains itself: `shot-24`, not `clip_strategy=shot-24`."""


@dataclass(frozen=True)
class Line:
    """Configs that differ in the axis alone; `rows` maps the axis value to the config, `label` has the rest."""

    label: str
    rows: Mapping[Any, Row]


@dataclass(frozen=True)
class Axis:
    """A varied setting and the lines along it; a line has at least two values unless the axis is not `paired`.

    `fixed` names what varies in the sweep but not between these lines; `unpaired` counts configs without a line.
    """

    name: str
    numeric: bool
    values: tuple[Any, ...]
    lines: tuple[Line, ...]
    paired: bool
    unpaired: int = 0
    fixed: str = ""

    def mean_line(self, metric: str) -> tuple[list[Any], list[float], int]:
        """Values, means and how many lines they cover: the most lines that share the most values, at least two.

        Averages the same settings at every value, so the difference along it is the axis's own.
        """
        sets = {frozenset(line.rows) for line in self.lines}
        covering = {s: [line for line in self.lines if s <= set(line.rows)] for s in sets}
        usable = [s for s, lines in covering.items() if len(s) > 1 and len(lines) > 1]
        if not usable:
            return [], [], 0
        first = {v: -i for i, v in enumerate(self.values)}
        shared = max(usable, key=lambda s: (len(s) * len(covering[s]), sorted((first[v] for v in s), reverse=True)))
        values = [v for v in self.values if v in shared]
        lines = covering[shared]
        return values, [float(np.mean([x.rows[v].metrics[metric].mean for x in lines])) for v in values], len(lines)


def find_axes(rows: Sequence[Row]) -> list[Axis]:
    """The axes along which the complete rows can be compared, in the order of the settings."""
    rows = [r for r in rows if r.complete]
    axes = [compare_along(rows, name) for name in varied_axes(rows)]
    # Pretrained and random weights usually come with other backbones: then they are no axis of their own.
    return [a for a in axes if a.paired or a.name not in ("weights",)]


def compare_along(rows: Sequence[Row], name: str) -> Axis:
    """Join the rows that have the setting to lines along it."""
    having = [r for r in rows if r.complete and name in r.settings]
    words = _name_values(having, name)
    groups: dict[Hashable, dict[Any, Row]] = {}
    for row in having:
        groups.setdefault(_others(row, name), {})[words[row.key]] = row
    joined = [g for g in groups.values() if len(g) > 1]
    kept = joined or list(groups.values())
    values = list(dict.fromkeys(v for g in kept for v in g))
    numeric = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
    order = sorted(values) if numeric else [v for v in dict.fromkeys(words.values()) if v in values]
    shown = [next(iter(g.values())) for g in kept]
    labels = _label_lines(shown, name)
    lines = tuple(Line(label, {v: g[v] for v in order if v in g}) for label, g in zip(labels, kept, strict=True))
    count = len(having) - sum(len(g) for g in kept)
    return Axis(name, numeric, tuple(order), lines, bool(joined), count, _describe_fixed(shown, rows, name))


@dataclass(frozen=True)
class PublishedLine:
    """Published values along an axis whose other settings agree; `label` says which, where there are several lines."""

    label: str
    values: Mapping[Any, Spread]


def published_along(rows: Sequence[ComparedRow], name: str, metric: str = "uAP") -> list[PublishedLine]:
    """The paper's numbers beside an axis, whether or not we have a complete row there; lines of one value, too."""
    groups: dict[tuple[tuple[str, Any], ...], dict[Any, Spread]] = {}
    for result in (r.paper for r in rows):
        if result and result.settings.get(name, "") != "" and metric in result.metrics:
            others = tuple((n, v) for n, v in result.settings.items() if n != name and v != "")
            groups.setdefault(others, {})[result.settings[name]] = result.metrics[metric]
    lines: list[PublishedLine] = []
    for others, values in groups.items():
        varied = [describe(n, v) for n, v in others if any((n, v) not in other for other in groups)]
        numeric = all(isinstance(v, int | float) for v in values)
        lines.append(PublishedLine(", ".join(varied), {v: values[v] for v in (sorted(values) if numeric else values)}))
    return lines


def describe(name: str, value: Any) -> str:
    """A setting in a few words: `shot-24`, `12 fps`, `learning_rate=0.001`."""
    if name in SPELT_OUT:
        return str(value)
    if name == "weights":
        return short_weights(value)
    shown = f"{value:g}" if isinstance(value, float) else str(value)
    return UNITS[name].format(shown) if name in UNITS else f"{name.rsplit('.', 1)[-1]}={shown}"


def _follows(name: str, other: str) -> bool:
    """Settings that belong to another one's value: weights to a backbone, heads and width to a transformer."""
    return (name == "backbone" and other == "weights") or (name == "aggregator" and other.startswith("aggregator."))


def _others(row: Row, name: str) -> Hashable:
    return tuple((n, v) for n, v in row.settings.items() if n != name and not _follows(name, n))


def _name_values(rows: Sequence[Row], name: str) -> dict[str, Any]:
    """Config key -> place on the axis; a backbone or aggregator in several versions is named with its version."""
    versions: dict[Any, dict[str, set[Any]]] = {}
    for row in rows:
        owned = versions.setdefault(row.settings[name], {})
        for other, value in row.settings.items():
            if _follows(name, other):
                owned.setdefault(other, set()).add(value)
    places: dict[str, Any] = {}
    for row in rows:
        value = row.settings[name]
        varied = [describe(n, row.settings[n]) for n, values in versions[value].items() if len(values) > 1]
        places[row.key] = f"{value} ({', '.join(varied)})" if varied else value
    return places


def _label_lines(rows: Sequence[Row], name: str) -> list[str]:
    varied = [n for n in varied_axes(rows) if n != name and not _follows(name, n)]
    return [", ".join(describe(n, r.settings[n]) for n in varied if n in r.settings) for r in rows]


def _describe_fixed(shown: Sequence[Row], rows: Sequence[Row], name: str) -> str:
    """What all lines share although the sweep varies it."""
    constant = constant_settings(shown)
    varied = [n for n in varied_axes(rows) if n != name and not _follows(name, n)]
    return ", ".join(describe(n, constant[n]) for n in varied if n in constant)
