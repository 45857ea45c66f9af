"""A search of a search space: what it draws becomes configs here, as the cells of a grid do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from orchestrator.search.dimensions import combine, contains
from orchestrator.search.records import Choice, Dimension, SearchSpec
from orchestrator.specs import Config, EmbeddingSpec, key_of, plain
from orchestrator.sweep.fields import DEFAULTS, Place, absolute_weights, aggregator_name, build_config, build_streams

EMBEDDING_FIELDS = ("backbone", "weights", "clip_strategy", "frame_rate")
"""Fields that decide which embedding sets a config needs."""


@dataclass(frozen=True)
class Search:
    """The search of one YAML file. Two are equal if they draw the same configs under the same name in the same way."""

    table: str
    """The name of the table that its configs stand in."""
    space: str
    """The key of everything that its configs are made from; an edited YAML has another."""
    spec: SearchSpec = field(hash=False)
    cell: Mapping[str, Any] = field(compare=False, repr=False)
    """The fields that every config has, by their YAML names."""
    place: Place = field(compare=False, repr=False)

    @classmethod
    def of(cls, table: str, spec: SearchSpec, cell: Mapping[str, Any], place: Place) -> Search:
        """A search whose key is that of the fields fixed and of what is drawn."""
        cell = {k: absolute_weights(v) if k == "weights" else v for k, v in cell.items()}
        spec = replace(spec, dimensions=tuple(_with_absolute_weights(d) for d in spec.dimensions))
        made_from = {"fixed": DEFAULTS | dict(cell), "drawn": [[d.field, _plain_domain(d)] for d in spec.dimensions]}
        return cls(table, key_of(made_from), spec, dict(cell), place)

    def build(self, values: Mapping[str, Any]) -> Config:
        """The config of the fields drawn. Raises InputError with file, line and field."""
        return build_config({**self.cell, **values}, self.place)

    def contains(self, values: Mapping[str, Any]) -> bool:
        """Whether these fields may be drawn now: exactly those whose conditions hold, each within its range."""
        return contains(self.spec.dimensions, values)

    def embedding_specs(self) -> tuple[EmbeddingSpec, ...]:
        """Every embedding set that a config of this search may need."""
        cells = combine(self._deciding(), _choices)
        streams = (stream for cell in cells for stream in build_streams({**self.cell, **cell}, self.place))
        return tuple(dict.fromkeys(streams))

    def aggregators(self) -> tuple[str, ...]:
        """Names of the aggregators that its configs may have."""
        drawn = [_choices(d) for d in self.spec.dimensions if d.field == "aggregator"]
        values = drawn[0] if drawn else (self.cell.get("aggregator", DEFAULTS["aggregator"]),)
        return tuple(dict.fromkeys(str(aggregator_name(value)) for value in values))

    def _deciding(self) -> tuple[Dimension, ...]:
        """The dimensions that decide on embedding sets, with those that their conditions name."""
        fields = set(EMBEDDING_FIELDS)
        for dimension in reversed(self.spec.dimensions):
            if dimension.field in fields:
                fields |= {other for other, _ in dimension.when}
        return tuple(d for d in self.spec.dimensions if d.field in fields)


def _with_absolute_weights(dimension: Dimension) -> Dimension:
    if dimension.field != "weights" or not isinstance(dimension.domain, Choice):
        return dimension
    return replace(dimension, domain=Choice(tuple(absolute_weights(value) for value in dimension.domain.values)))


def _choices(dimension: Dimension) -> tuple[Any, ...]:
    if not isinstance(dimension.domain, Choice):
        raise TypeError(f"{dimension.field}: is no choice")  # the reader of ranges lets no other pass
    return dimension.domain.values


def _plain_domain(dimension: Dimension) -> Any:
    """Kind, bounds and conditions; the records of different kinds may hold the same numbers."""
    return [type(dimension.domain).__name__, plain(dimension.domain), plain(dimension.when)]
