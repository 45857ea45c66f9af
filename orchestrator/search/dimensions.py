"""Which values of a search's dimensions go together: conditions, ranges, and counting through finite ones. Pure.

Dimensions stand in an order in which a condition only looks at fields before it (`sort_dimensions`). A condition on a
field that is itself not drawn does not hold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from orchestrator.search.records import Choice, Dimension, Domain, Integer
from orchestrator.specs import plain


def is_active(dimension: Dimension, values: Mapping[str, Any]) -> bool:
    """Whether the field is drawn where the fields before it have these values."""
    return all(field in values and _among(values[field], allowed) for field, allowed in dimension.when)


def fits(domain: Domain, value: Any) -> bool:
    """Whether the value can be drawn from the domain; a whole number passes for a real one, true and false don't."""
    if isinstance(domain, Choice):
        return _among(value, domain.values)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    if isinstance(domain, Integer) and (type(value) is not int or (value - domain.low) % domain.step):
        return False
    return domain.low <= value <= domain.high


def contains(dimensions: Sequence[Dimension], values: Mapping[str, Any]) -> bool:
    """Whether the values are those of exactly the dimensions that are active among them, each within its range."""
    active = [d for d in dimensions if is_active(d, values)]
    return {d.field for d in active} == set(values) and all(fits(d.domain, values[d.field]) for d in active)


def combine(
    dimensions: Sequence[Dimension], candidates: Callable[[Dimension], Sequence[Any]]
) -> Iterator[dict[str, Any]]:
    """Every combination of candidates of the active dimensions, the last field varying fastest. Lazy."""
    if not dimensions:
        yield {}
        return
    yield from _combine(dimensions, candidates, {})


def _combine(
    left: Sequence[Dimension], candidates: Callable[[Dimension], Sequence[Any]], values: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    if not left:
        yield values
        return
    first, *rest = left
    if not is_active(first, values):
        yield from _combine(rest, candidates, values)
        return
    for value in candidates(first):
        yield from _combine(rest, candidates, values | {first.field: value})


def is_finite(dimensions: Sequence[Dimension]) -> bool:
    """Whether there are only so many combinations, whole numbers and choices; `every_value` gives those of a field."""
    return all(isinstance(d.domain, Choice | Integer) or d.domain.low == d.domain.high for d in dimensions)


def every_value(dimension: Dimension) -> Sequence[Any]:
    """All values of a dimension of a finite space."""
    match dimension.domain:
        case Choice(values):
            return values
        case Integer(low, high, step):
            return range(low, high + 1, step)
    return (dimension.domain.low,)


def sort_dimensions(dimensions: Sequence[Dimension]) -> tuple[Dimension, ...]:
    """In an order in which every field stands behind those that its condition names, else as given.

    Raises ValueError with the fields whose conditions go round in a circle.
    """
    names = {d.field for d in dimensions}
    left, placed = list(dimensions), dict[str, Dimension]()
    while left:
        ready = next((d for d in left if all(f in placed or f not in names for f, _ in d.when)), None)
        if ready is None:
            raise ValueError(", ".join(d.field for d in left))
        left.remove(ready)
        placed[ready.field] = ready
    return tuple(placed.values())


def _among(value: Any, values: Sequence[Any]) -> bool:
    # Values read back from a file are lists and plain mappings; 1 and true are different choices.
    value = plain(value)
    return any(plain(v) == value and isinstance(v, bool) == isinstance(value, bool) for v in values)
