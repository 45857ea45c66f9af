"""Whether everything that a search may draw is a config, found out before anything is spent.

Tried are all choices and, of a range, both ends and the value beside the lower one, which tells whether a rule such as
"divides the width" holds all along. All combinations where they are not too many, else all pairs of values: no rule
that configs must meet takes more than a pair of fields, but for one-row batches.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations, islice, product
from typing import Any

from orchestrator.errors import InputError
from orchestrator.search.dimensions import combine, is_active
from orchestrator.search.records import Choice, Dimension, Integer
from orchestrator.sweep.fields import Place

Build = Callable[[Mapping[str, Any]], object]
"""What makes a config of the fields drawn, or raises InputError."""

MOST = 20_000
"""Combinations that are tried one by one, which takes half a second."""

LISTED = 16
"""Whole numbers of a range up to which each of them is tried."""


def check_drawable(dimensions: Sequence[Dimension], build: Build, place: Place) -> None:
    """Raises InputError with the first combination that is no config, and the condition that would exclude it."""
    every = list(islice(combine(dimensions, samples), MOST + 1))
    for values in every if len(every) <= MOST else _pairs(dimensions):
        try:
            build(values)
        except InputError as error:
            raise _explain(dimensions, build, place, values, error) from error


def samples(dimension: Dimension) -> Sequence[Any]:
    """The values of a dimension that are tried."""
    match dimension.domain:
        case Choice(values):
            return values
        case Integer(low, high, step):
            every = range(low, high + 1, step)
            return every if len(every) <= LISTED else (low, low + step, high)
    return tuple(dict.fromkeys((dimension.domain.low, dimension.domain.high)))


def _pairs(dimensions: Sequence[Dimension]) -> Iterator[dict[str, Any]]:
    """For every two values of different dimensions that go together a combination with both, the rest at random."""
    chance = random.Random(0)
    for one, other in combinations(dimensions, 2):
        for pair in product(samples(one), samples(other)):
            wanted = {one.field: (pair[0],), other.field: (pair[1],)}
            for dimension in reversed(dimensions):  # conditions look back only
                if dimension.field in wanted:
                    for field, allowed in dimension.when:
                        wanted[field] = tuple(v for v in wanted.get(field, allowed) if v in allowed)
            if all(wanted.values()):
                yield _complete(dimensions, wanted, chance)


def _complete(
    dimensions: Sequence[Dimension], wanted: Mapping[str, Sequence[Any]], chance: random.Random
) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for dimension in dimensions:
        if is_active(dimension, values):
            values[dimension.field] = chance.choice(wanted.get(dimension.field) or samples(dimension))
    return values


def _explain(
    dimensions: Sequence[Dimension], build: Build, place: Place, values: dict[str, Any], error: InputError
) -> InputError:
    """The fault, with the fields that it takes: those of which another value would mend it."""
    mended = {d.field: _mending(dimensions, build, values, d) for d in dimensions if d.field in values}
    involved = [field for field, others in mended.items() if others]
    if len(involved) < 2:
        return error
    last = involved[-1]
    named = " with ".join(f"{field} {values[field]}" for field in involved)
    choices = {d.field for d in dimensions if isinstance(d.domain, Choice)}
    way = "make one of them a choice, or narrow their ranges"
    if condition := next((field for field in involved[:-1] if field in choices), None):
        good = ", ".join(map(str, mended[condition]))
        way = f"keep them apart by a condition, such as {last}: {{…, when: {{{condition}: [{good}]}}}}"
    return InputError(f"{error}\n{place(last)}: search: ranges: {named} would be drawn; {way}")


def _mending(dimensions: Sequence[Dimension], build: Build, values: dict[str, Any], dimension: Dimension) -> list[Any]:
    """The other values of the dimension with which the combination would be a config, the rest as it is."""
    good = []
    for value in samples(dimension):
        if value != values[dimension.field]:
            wanted = {field: (v,) for field, v in values.items()} | {dimension.field: (value,)}
            try:
                build(_complete(dimensions, wanted, random.Random(0)))
            except InputError:
                continue
            good.append(value)
    return good
