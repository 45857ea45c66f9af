"""`ranges:` of a search -> dimensions: what may be drawn for each field, and under which conditions.

Conditions are worked out here once: those on a drawn field keep the choices that they mean, those on a field that the
file fixes or an option replaces are decided, so that a field which can never be drawn is no dimension.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from orchestrator.errors import InputError
from orchestrator.search.dimensions import sort_dimensions
from orchestrator.search.records import Choice, Dimension, Domain, Integer, Uniform
from orchestrator.sweep.fields import (
    DEFAULTS,
    aggregator_name,
    build_aggregator,
    default_of,
    is_numeric,
    read_number,
    suggest,
    tuned_settings,
    tuning_problem,
)
from orchestrator.sweep.yaml_file import YamlFile

KINDS = ("choice", "uniform", "log_uniform", "integer")

WHERE = ("search", "ranges")


@dataclass(frozen=True)
class _Reader:
    file: YamlFile
    fixed: Mapping[str, Any]
    overrides: Mapping[str, Any]

    def error(self, text: str, *keys: str | int) -> InputError:
        """Names the line of the keys below `ranges`; the text names the field."""
        return InputError(f"{self.file.at(*WHERE, *keys)}: search: ranges: {text}")


def read_ranges(file: YamlFile, fixed: Mapping[str, Any], overrides: Mapping[str, Any]) -> tuple[Dimension, ...]:
    """The dimensions of the file's search, each behind those that its condition names.

    fixed: the fields under `fixed:`. overrides: fields of the command, which take the place of drawn ones.
    """
    reader = _Reader(file, fixed, tuned_settings(overrides.get("aggregator")) | dict(overrides))
    ranges = file.data["search"].get("ranges")
    if not isinstance(ranges, Mapping) or not ranges:
        raise reader.error(f"{ranges!r} is not a mapping of fields to what may be drawn for them")
    dimensions = [_read_dimension(reader, field, value) for field, value in ranges.items()]
    _check_given_once(reader, dimensions)
    dimensions = [_with_own_aggregator(d) for d in dimensions]
    drawn = {d.field: d for d in dimensions if d.field not in reader.overrides}
    try:
        ordered = sort_dimensions([d for d in dimensions if d.field in drawn])
    except ValueError as circle:
        first = str(circle).split(",")[0]
        raise reader.error(f"{circle}: their conditions wait for each other", first) from circle
    kept: dict[str, Dimension] = {}
    for dimension in ordered:
        conditions = _decide(reader, dimension, drawn, kept)
        if conditions is not None:
            kept[dimension.field] = replace(dimension, when=conditions)
    return tuple(kept.values())


def _read_dimension(reader: _Reader, field: Any, value: Any) -> Dimension:
    if isinstance(field, str) and field.startswith("aggregator.") and field.count(".") == 2:
        if problem := tuning_problem(field):
            raise reader.error(f"{field}: {problem}", field)
    elif field not in DEFAULTS:
        known = [*DEFAULTS, "aggregator.<name>.<setting>"]
        raise reader.error(f"{field}: unknown field{suggest(field, known)}", field)
    if isinstance(value, list):
        return Dimension(field, _choice(reader, field, value, (field,)))
    kinds = [kind for kind in KINDS if kind in value] if isinstance(value, Mapping) else []
    if len(kinds) != 1:
        raise reader.error(
            f"{field}: {value!r} is not a list of values, nor a mapping with one of {', '.join(KINDS)}", field
        )
    kind = kinds[0]
    allowed = (kind, "when") + (("step", "log") if kind == "integer" else ())
    for key in value:
        if key not in allowed:
            hint = "; write log_uniform: [low, high]" if (kind, key) == ("uniform", "log") else suggest(key, allowed)
            raise reader.error(f"{field}: {key}: unknown key{hint}", field, key)
    domain: Domain
    if kind == "choice":
        domain = _choice(reader, field, value[kind], (field, kind))
    else:
        domain = _interval(reader, field, kind, value)
    return Dimension(field, domain, _conditions(reader, field, value.get("when")))


def _choice(reader: _Reader, field: str, values: Any, keys: tuple[str, ...]) -> Choice:
    if not isinstance(values, list) or not values:
        raise reader.error(f"{field}: {values!r} is not a list of values to choose from", *keys)
    read, told_apart = [], set()
    for i, value in enumerate(values):
        place = partial(_at, reader, (*keys, i))
        read.append(read_number(field, value, default_of(field), place) if _is_number(field) else value)
        same = repr(build_aggregator(value, place) if field == "aggregator" else read[i])
        told_apart.add(same)
        if len(told_apart) < len(read):
            raise reader.error(f"{field}: {value!r} is given twice", *keys, i)
    return Choice(tuple(read))


def _interval(reader: _Reader, field: str, kind: str, options: Mapping[str, Any]) -> Domain:
    if not is_numeric(field):
        raise reader.error(f"{field}: {kind}: it is no number of a range; list its values as a choice", field, kind)
    whole = isinstance(default_of(field), int)
    if whole and kind != "integer":
        raise reader.error(f"{field}: {kind}: it is a whole number; draw it by integer or choice", field, kind)
    bounds = options[kind]
    if not isinstance(bounds, list) or len(bounds) != 2:
        raise reader.error(f"{field}: {kind}: {bounds!r} is not [low, high]", field, kind)
    number: int | float = 0 if kind == "integer" else 0.0
    low, high = (read_number(field, b, number, partial(_at, reader, (field, kind, i))) for i, b in enumerate(bounds))
    if low > high:
        raise reader.error(f"{field}: {kind}: low must be at most high, but got [{low}, {high}]", field, kind)
    log = options.get("log", False) if kind == "integer" else kind == "log_uniform"
    if not isinstance(log, bool):
        raise reader.error(f"{field}: log: {log!r} is not true or false", field, "log")
    if log and low <= 0:
        raise reader.error(f"{field}: {kind}: low must be above 0 to draw its logarithm, but got {low}", field, kind)
    if kind != "integer":
        return Uniform(float(low), float(high), log)
    step = options.get("step", 1)
    if type(step) is not int or step < 1:
        raise reader.error(f"{field}: step: {step!r} is not a whole number of at least 1", field, "step")
    if log and step > 1:
        raise reader.error(f"{field}: step: steps and log: true exclude each other", field, "step")
    if (high - low) % step:
        last = int(high - (high - low) % step)
        raise reader.error(
            f"{field}: step: steps of {step} from {low} don't reach {high}; write [{low}, {last}]", field, "step"
        )
    return Integer(int(low), int(high), step, log)


def _conditions(reader: _Reader, field: str, when: Any) -> tuple[tuple[str, tuple[Any, ...]], ...]:
    if when is None:
        return ()
    if not isinstance(when, Mapping) or not when:
        raise reader.error(f"{field}: when: {when!r} is not a mapping of fields to values", field, "when")
    conditions = []
    for other, values in when.items():
        values = values if isinstance(values, list) else [values]
        if other == field or not values:
            what = "a field can't wait for itself" if other == field else "names no value"
            raise reader.error(f"{field}: when: {other}: {what}", field, "when", other)
        if other in DEFAULTS and _is_number(other):
            place = partial(_at, reader, (field, "when", other))
            values = [read_number(other, value, default_of(other), place) for value in values]
        conditions.append((other, tuple(values)))
    return tuple(conditions)


def _with_own_aggregator(dimension: Dimension) -> Dimension:
    """A setting of an aggregator is drawn only where that aggregator is."""
    if not dimension.field.startswith("aggregator."):
        return dimension
    return replace(dimension, when=(("aggregator", (dimension.field.split(".")[1],)), *dimension.when))


def _check_given_once(reader: _Reader, dimensions: list[Dimension]) -> None:
    values = [
        v for d in dimensions if d.field == "aggregator" and isinstance(d.domain, Choice) for v in d.domain.values
    ]
    nested = {name for v in (*values, reader.fixed.get("aggregator")) for name in tuned_settings(v)}
    for dimension in dimensions:
        field = dimension.field
        if field in reader.fixed:
            raise reader.error(f"{field}: given twice, here and under fixed", field)
        if field in nested:
            raise reader.error(f"{field}: given twice, here and as a setting of a value of aggregator", field)


def _decide(
    reader: _Reader, dimension: Dimension, drawn: Mapping[str, Dimension], kept: Mapping[str, Dimension]
) -> tuple[tuple[str, tuple[Any, ...]], ...] | None:
    """The conditions on drawn fields, with the choices that they mean; None where they can never hold."""
    field = dimension.field
    conditions: dict[str, tuple[Any, ...]] = {}
    for other, allowed in dimension.when:
        if other in drawn:
            domain = drawn[other].domain
            if not isinstance(domain, Choice):
                raise reader.error(
                    f"{field}: when: {other} is drawn from a range; only choices can be conditions", field
                )
            for value in allowed:
                if not any(_means(other, value, choice) for choice in domain.values):
                    choices = ", ".join(map(str, domain.values))
                    raise reader.error(f"{field}: when: {other}: {value!r} is not one of {choices}", field, "when")
            among = conditions.get(other, domain.values)
            conditions[other] = tuple(c for c in among if any(_means(other, value, c) for value in allowed))
            if not conditions[other]:
                raise reader.error(f"{field}: when: no {other} meets it, so it would never be drawn", field, "when")
            if other not in kept:
                return None
        elif other in reader.overrides:
            if not any(_means(other, value, reader.overrides[other]) for value in allowed):
                return None
        elif other in reader.fixed or field.startswith(f"{other}."):
            value = reader.fixed.get(other, DEFAULTS[other])
            if not any(_means(other, a, value) for a in allowed):
                listed = ", ".join(map(str, allowed))
                raise reader.error(
                    f"{field}: drawn only where {other} is {listed}, but it is always {aggregator_name(value)}", field
                )
        else:
            raise reader.error(f"{field}: when: {other} is neither drawn nor under fixed", field, "when", other)
    return tuple(conditions.items())


def _means(field: str, condition: Any, value: Any) -> bool:
    """Whether a value in a condition is that value; an aggregator may go by its name whatever its settings."""
    if field == "aggregator" and isinstance(condition, str):
        return bool(aggregator_name(value) == condition)
    if _is_number(field):
        value = read_number(field, value, default_of(field), lambda _: "--set")
    return bool(condition == value)


def _is_number(field: str) -> bool:
    """Whether its values are numbers, or true and false, which are read as the field wants them."""
    return field != "frame_rate" and isinstance(default_of(field), bool | int | float)


def _at(reader: _Reader, keys: tuple[str | int, ...], _: str) -> str:
    return f"{reader.file.at(*WHERE, *keys)}: search: ranges"
