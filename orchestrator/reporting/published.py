"""The published results as records: `published_results.csv`, read strictly."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping
from pathlib import Path

from orchestrator.errors import InputError
from orchestrator.reporting.aggregate import METRICS, Spread
from orchestrator.reporting.inputs import PublishedResult
from orchestrator.specs import AGGREGATORS, ClipSpec

FILE = "published_results.csv"
SOURCES = ("paper", "authors-code")
TEXT_SETTINGS = ("backbone", "clip_strategy", "aggregator")
NUMBER_SETTINGS = ("frame_rate", "clips_per_snippet")
SETTINGS = ("backbone", "clip_strategy", "frame_rate", "clips_per_snippet", "aggregator")
COLUMNS = (
    *("source", "table", "label", *SETTINGS),
    *(f"{metric.lower()}{part}" for metric in METRICS for part in ("", "_sd")),
    *("params_m", "gflops"),
)
TEST_SETS = 3
"""Every published mean and deviation is over this many test sets."""


def load_published(path: str | Path | None = None) -> tuple[PublishedResult, ...]:
    """Every published row in the order of the file, by default the one that ships with the package.

    Raises InputError with all faults of the file, each with its line and field.
    """
    path = Path(path) if path is not None else locate_published()
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: can't be read: {error}") from error
    return _parse(text.splitlines(), str(path))


def locate_published() -> Path:
    """Inside the wheel, or beside the package in a checkout."""
    package = Path(__file__).resolve().parents[1]
    places = [package / "published" / FILE, package.parent / "results" / "published" / FILE]
    for place in places:
        if place.is_file():
            return place
    raise InputError(f"{FILE}: not in {' nor in '.join(str(p.parent) for p in places)}; install the package anew")


def _parse(lines: Iterable[str], source: str) -> tuple[PublishedResult, ...]:
    reader = csv.reader(lines)
    header = next(reader, [])
    if tuple(header) != COLUMNS:
        raise InputError(f"{source}:1: columns: must be {','.join(COLUMNS)}, but got {','.join(header)}")
    problems: list[str] = []
    results: list[PublishedResult] = []
    seen: dict[tuple[str, str, str], int] = {}
    for values in reader:
        line = _Line(f"{source}:{reader.line_num}", dict(zip(COLUMNS, values, strict=False)), problems)
        if len(values) != len(COLUMNS):
            problems.append(f"{line.place}: has {len(values)} fields instead of {len(COLUMNS)}")
            continue
        found = len(problems)
        result = line.parse()
        earlier = seen.setdefault((result.source, result.table, result.label), reader.line_num)
        if earlier != reader.line_num:
            line.complain("label", f"{result.label!r} of this table stands in line {earlier} already")
        if len(problems) == found:
            results.append(result)
    if problems:
        raise InputError(problems)
    return tuple(results)


class _Line:
    """One line of the file; faults are collected, so that all are told at once."""

    def __init__(self, place: str, values: Mapping[str, str], problems: list[str]) -> None:
        self.place, self._values, self._problems = place, values, problems

    def complain(self, field: str, what: str) -> None:
        self._problems.append(f"{self.place}: {field}: {what}")

    def parse(self) -> PublishedResult:
        source = self._one_of("source", SOURCES)
        return PublishedResult(
            source=source,
            table=self._text("table"),
            label=self._text("label"),
            settings=self._settings(),
            metrics={m: self._spread(m.lower()) for m in METRICS},
            parameters=self._number("params_m", optional=True),
            multiply_adds=self._number("gflops", optional=True),
        )

    def _settings(self) -> dict[str, str | int]:
        """Those that are given: an empty one was not published and fits any."""
        settings: dict[str, str | int] = {}
        for name in SETTINGS:
            text = self._values[name]
            if not text:
                continue
            if name in NUMBER_SETTINGS:
                if not text.isdecimal() or int(text) < 1:
                    self.complain(name, f"{text!r} is not a whole number above 0")
                    continue
                settings[name] = int(text)
            else:
                settings[name] = text
        if "aggregator" not in settings:
            self.complain("aggregator", "is empty, but every published row has one")
        else:
            self._one_of("aggregator", tuple(AGGREGATORS))
        if "clip_strategy" in settings:
            try:
                ClipSpec.parse(str(settings["clip_strategy"]))
            except InputError as error:
                self._problems += [f"{self.place}: {problem}" for problem in error.problems]
        return settings

    def _text(self, field: str) -> str:
        if not self._values[field].strip():
            self.complain(field, "is empty")
        return self._values[field].strip()

    def _one_of(self, field: str, allowed: tuple[str, ...]) -> str:
        if self._values[field] not in allowed:
            self.complain(field, f"{self._values[field]!r} is not one of {', '.join(allowed)}")
        return self._values[field]

    def _spread(self, field: str) -> Spread:
        mean, deviation = self._number(field, most=100.0), self._number(f"{field}_sd", most=100.0)
        return Spread(mean or 0.0, deviation, TEST_SETS)

    def _number(self, field: str, *, optional: bool = False, most: float = math.inf) -> float | None:
        text = self._values[field]
        if not text and optional:
            return None
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and 0 <= value <= most):
            self.complain(field, f"{text!r} is not a number" + (f" from 0 to {most:g}" if most < math.inf else " >= 0"))
            return None
        return value
