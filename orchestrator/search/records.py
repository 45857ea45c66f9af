"""What a search may draw and how it is steered: frozen records, no Optuna, no torch.

The fields of a config carry the names that a search-space YAML gives them; `aggregator.gru.units` is the setting of one
aggregator and is drawn only where that aggregator is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator.specs import key_of, plain

SAMPLERS = ("tpe", "random")
PRUNERS = ("asha", "median")

OBJECTIVES: dict[str, str] = {
    "uAP": "maximize",
    "mAP": "maximize",
    "wAP": "maximize",
    "sAP": "maximize",
    "val_loss": "minimize",
    "multiply_adds": "minimize",
    "parameters": "minimize",
    "head_parameters": "minimize",
}
"""What a search may aim at. Metrics and loss are those of the validation parts; test scores never enter a search."""

COSTS = ("multiply_adds", "parameters", "head_parameters")
"""Objectives that are counted, not trained; also what `limits` may bound."""


@dataclass(frozen=True)
class Choice:
    """One of `values`, plain YAML values (an aggregator may be a mapping such as {name: gru, units: 64})."""

    values: tuple[Any, ...]


@dataclass(frozen=True)
class Uniform:
    """A real number from `low` to `high`; `log` draws its logarithm evenly."""

    low: float
    high: float
    log: bool = False


@dataclass(frozen=True)
class Integer:
    """A whole number from `low` to `high`, both included, in steps of `step`; `log` draws its logarithm evenly."""

    low: int
    high: int
    step: int = 1
    log: bool = False


Domain = Choice | Uniform | Integer


@dataclass(frozen=True)
class Dimension:
    """A field that a search draws, and the values of other fields under which it does (all must hold)."""

    field: str
    domain: Domain
    when: tuple[tuple[str, tuple[Any, ...]], ...] = ()


@dataclass(frozen=True)
class Pruner:
    """`asha`: after grace_epochs * reduction_factor^k epochs only the best 1 / reduction_factor go on.

    `median`: from grace_epochs on, every `interval` epochs, whoever is worse than the median there ends.
    """

    name: str = "asha"
    grace_epochs: int = 3
    reduction_factor: int = 3
    interval: int = 1

    def milestones(self, epochs: int) -> tuple[int, ...]:
        """Epochs, ascending and below `epochs`, after which a config is judged."""
        if self.name == "asha":
            found, at = [], self.grace_epochs
            while at < epochs:
                found.append(at)
                at *= self.reduction_factor
            return tuple(found)
        return tuple(range(self.grace_epochs, epochs, self.interval))


@dataclass(frozen=True)
class SearchSpec:
    """A search: `configs` of them are drawn by `sampler` from `dimensions`, steered by `objectives`.

    `limits` maps a cost to the least and most that a config may have; what lies outside is drawn anew.
    """

    dimensions: tuple[Dimension, ...]
    configs: int
    sampler: str = "tpe"
    seed: int = 0
    objectives: tuple[str, ...] = ("uAP",)
    pruner: Pruner | None = None
    limits: tuple[tuple[str, float, float], ...] = ()

    def identity(self, sweep: str, table: str) -> str:
        """The key of how configs are drawn and judged; those of another are no part of this search.

        Not in it: ranges and the number of configs, so that a search can be widened, narrowed and extended.
        """
        steering = [self.sampler, self.seed, self.objectives, self.pruner, self.limits]
        return key_of({"sweep": sweep, "table": table, "steering": plain(steering)})

    @property
    def metric(self) -> str | None:
        """The first objective that is trained: what pruning compares; None where there are only costs."""
        return next((name for name in self.objectives if name not in COSTS), None)


@dataclass(frozen=True)
class Observation:
    """A config that a search has drawn, and what is known of it by now.

    `state` is `done`, `pruned`, `failed` or `running`; `objectives` are those of a done config, in the order of the
    spec. `reports` maps the epochs after which it was judged to the cross-split mean of the spec's metric.
    """

    number: int
    values: Mapping[str, Any]
    state: str
    objectives: tuple[float, ...] = ()
    reports: Mapping[int, float] = field(default_factory=dict)
    key: str = ""
    """The config's key."""


def search_from_plain(values: Mapping[str, Any]) -> SearchSpec:
    """The inverse of `plain(spec)`, for searches read back from a sweep's record."""
    dimensions = tuple(
        Dimension(d["field"], _domain(d["domain"]), tuple((name, tuple(allowed)) for name, allowed in d["when"]))
        for d in values["dimensions"]
    )
    return SearchSpec(
        dimensions,
        values["configs"],
        values["sampler"],
        values["seed"],
        tuple(values["objectives"]),
        Pruner(**values["pruner"]) if values["pruner"] else None,
        tuple((name, low, high) for name, low, high in values["limits"]),
    )


def _domain(values: Mapping[str, Any]) -> Domain:
    if "values" in values:
        return Choice(tuple(values["values"]))
    return Integer(**values) if "step" in values else Uniform(**values)
