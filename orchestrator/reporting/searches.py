"""A search as it is reported: its draws beside their rows, the best, the front, and what it took. Pure, no drawing.

What is best is chosen by the objectives, which are of the validation parts or costs; test scores only stand beside.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from orchestrator.reporting.aggregate import Row, short_weights
from orchestrator.reporting.inputs import Report, SearchResult
from orchestrator.search.records import OBJECTIVES, Dimension, Observation, SearchSpec

BEST = 10
"""Configs in the table of the best ones."""


@dataclass(frozen=True)
class Quantity:
    """How an objective is written: its name, its unit, what one of the unit is, and the format of a number."""

    name: str
    unit: str
    one: float
    form: str

    def say(self, value: float) -> str:
        """`41.20`, `1,760`: without the unit, and never as a power of ten."""
        shown = value / self.one
        return f"{shown:,.0f}" if "g" in self.form and abs(shown) >= 100 else format(shown, self.form)

    @property
    def heading(self) -> str:
        return f"{self.name} ({self.unit})" if self.unit else self.name

    @property
    def sentence(self) -> str:
        """The name as it starts a sentence."""
        return self.name[0].upper() + self.name[1:]

    @property
    def axis(self) -> str:
        """As the title of an axis."""
        return self.heading[0].upper() + self.heading[1:]


QUANTITIES = {
    **{m: Quantity(f"validation {m}", "%", 1.0, ".2f") for m in ("uAP", "mAP", "wAP", "sAP")},
    "val_loss": Quantity("validation loss", "", 1.0, ".4f"),
    "multiply_adds": Quantity("multiply-adds", "G", 1e9, ".3g"),
    "parameters": Quantity("parameters", "M", 1e6, ",.2f"),
    "head_parameters": Quantity("head parameters", "M", 1e6, ",.3f"),
}
"""Every objective of `search.records.OBJECTIVES`."""


@dataclass(frozen=True)
class Drawn:
    """A config that the search drew, and its row of the sweep; None where the sweep has none yet."""

    observation: Observation
    row: Row | None

    @property
    def name(self) -> str:
        """`#17`, as in every figure and table of the search."""
        return f"#{self.observation.number}"

    @property
    def last_report(self) -> tuple[int, float] | None:
        """The epoch after which it was judged last, and its mean there."""
        reports = self.observation.reports
        return max(reports.items()) if reports else None


@dataclass(frozen=True)
class SearchView:
    """A search of a report; `drawn` by number, `title` is that of its table, `rows` are all of the sweep."""

    result: SearchResult
    title: str
    drawn: tuple[Drawn, ...]
    rows: tuple[Row, ...]

    @property
    def spec(self) -> SearchSpec:
        return self.result.spec

    @cached_property
    def done(self) -> tuple[Drawn, ...]:
        return self.of("done")

    def of(self, state: str) -> tuple[Drawn, ...]:
        """Those in a state of `Observation`."""
        return tuple(d for d in self.drawn if d.observation.state == state)

    @cached_property
    def shown_rows(self) -> tuple[Row, ...]:
        """Rows of the configs that it drew, for what must be said of their data."""
        return tuple(d.row for d in self.drawn if d.row)

    def values_of(self, objective: int) -> list[float]:
        """That objective of every done config."""
        return [d.observation.objectives[objective] for d in self.done]

    @cached_property
    def front(self) -> tuple[Drawn, ...]:
        """The done configs that no other one beats in all objectives, best in the first one first."""
        signs = [-1.0 if OBJECTIVES[name] == "maximize" else 1.0 for name in self.spec.objectives]
        points = [tuple(s * v for s, v in zip(signs, d.observation.objectives, strict=True)) for d in self.done]
        kept = [d for d, p in zip(self.done, points, strict=True) if not any(_beats(q, p) for q in points)]
        return tuple(sorted(kept, key=lambda d: (signs[0] * d.observation.objectives[0], d.observation.number)))

    @cached_property
    def best(self) -> tuple[Drawn, ...]:
        """The done configs, best first: with several objectives those of the front."""
        if len(self.spec.objectives) > 1:
            return self.front
        sign = -1.0 if OBJECTIVES[self.spec.objectives[0]] == "maximize" else 1.0
        return tuple(sorted(self.done, key=lambda d: (sign * d.observation.objectives[0], d.observation.number)))

    @property
    def epochs(self) -> int:
        """Epochs that its configs were trained for, those of all splits together."""
        return sum(row.epochs for row in self.shown_rows)

    @property
    def most_epochs(self) -> int:
        """What they would have taken had none been pruned or ended early."""
        return sum(len(row.splits) * int(row.settings.get("training.epochs", 0)) for row in self.shown_rows)

    @property
    def fields(self) -> dict[str, str]:
        """Field that some config drew -> its short name, distinct."""
        drawn = [d for d in self.spec.dimensions if any(d.field in x.observation.values for x in self.drawn)]
        short = {d.field: short_field(d.field) for d in drawn}
        names = list(short.values())
        return {field: name if names.count(name) == 1 else field for field, name in short.items()}

    def drawn_fields(self) -> list[str]:
        """Fields that some done or pruned config drew."""
        known = [d.observation.values for d in (*self.done, *self.of("pruned"))]
        return [f for f in self.fields if any(f in values for values in known)]

    def dimension(self, field: str) -> Dimension:
        return next(d for d in self.spec.dimensions if d.field == field)


def view_searches(report: Report) -> list[SearchView]:
    """The searches of a report in its order, each with its rows."""
    rows = {row.key: row for row in report.rows}
    titles = {table.name: table.title or table.name for table in report.tables}
    views = []
    for result in report.searches:
        ordered = sorted(result.observations, key=lambda o: (o.number, o.key))
        drawn = tuple(Drawn(o, rows.get(o.key)) for o in ordered)
        views.append(SearchView(result, titles.get(result.table, result.table), drawn, report.rows))
    return views


def summarise(view: SearchView) -> list[tuple[str, str, str]]:
    """Name, value and an aside: how much was drawn, what it took, how it was steered, what came out."""
    spec = view.spec
    counts = [f"{len(view.of(s))} {s}" for s in ("done", "pruned", "failed", "running") if view.of(s)]
    facts = [("Configs drawn", f"{len(view.drawn)} of {spec.configs}", ", ".join(counts))]
    if view.most_epochs:
        share = f"{100 * view.epochs / view.most_epochs:.0f}% of the {view.most_epochs:,} that all of them could take"
        facts.append(("Epochs trained", f"{view.epochs:,}", f"{share}, over all splits"))
    objectives = [f"{OBJECTIVES[n].removesuffix('imize')}. {QUANTITIES[n].name}" for n in spec.objectives]
    facts.append(("Objective" + ("s" if len(objectives) > 1 else ""), ", ".join(objectives), ""))
    limits = [
        f"{QUANTITIES[n].name} {QUANTITIES[n].say(low)} to {QUANTITIES[n].say(high)} {QUANTITIES[n].unit}"
        for n, low, high in spec.limits
    ]
    facts.append(("Sampler", f"{spec.sampler}, seed {spec.seed}", "; ".join(limits)))
    facts.append(("Pruner", _say_pruner(view), ""))
    if len(spec.objectives) > 1 and view.front:
        facts.append(("Pareto front", f"{len(view.front)} configs", f"of {len(view.done)} done"))
    elif view.best:
        first = view.best[0]
        aside = f"by validation; test uAP {_test(first.row)}"
        facts.append(("Best config", f"{first.name}, {say_objectives(view, first)}", aside))
    return facts


def say_objectives(view: SearchView, drawn: Drawn) -> str:
    """`validation uAP 61.20 %`."""
    return ", ".join(
        f"{QUANTITIES[n].name} {QUANTITIES[n].say(v)}{f' {QUANTITIES[n].unit}' if QUANTITIES[n].unit else ''}"
        for n, v in zip(view.spec.objectives, drawn.observation.objectives, strict=True)
    )


def say_value(value: Any) -> str:
    """A drawn value in a few characters: `0.00123`, `gru units=64`."""
    if isinstance(value, bool) or value is None:
        return str(value)
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, Mapping):
        name = [str(value["name"])] if "name" in value else []
        return " ".join([*name, *(f"{k}={say_value(v)}" for k, v in value.items() if k != "name")])
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "+".join(map(say_value, value))
    return short_weights(value) if isinstance(value, str) and "/" in value else str(value)


def say_condition(dimension: Dimension) -> str:
    """`aggregator gru`, `aggregator gru or conv`; empty where it is always drawn."""
    return ", ".join(f"{short_field(f)} {' or '.join(map(say_value, allowed))}" for f, allowed in dimension.when)


def short_field(field: str) -> str:
    """`training.learning_rate` -> `learning rate`, `aggregator.gru.units` -> `gru units`."""
    return re.sub(r"[._]", " ", re.sub(r"^(training|aggregator)\.", "", field))


def _say_pruner(view: SearchView) -> str:
    pruner = view.spec.pruner
    if pruner is None:
        return "none"
    if pruner.name == "asha":
        return f"asha: the best 1 in {pruner.reduction_factor} go on, first judged after {pruner.grace_epochs} epochs"
    return f"{pruner.name}: from epoch {pruner.grace_epochs} on, every {pruner.interval}"


def _test(row: Row | None) -> str:
    spread = row.metrics.get("uAP") if row else None
    if spread is None:
        return "not known"
    return f"{spread.mean:.2f}" if spread.std is None else f"{spread.mean:.2f} ± {spread.std:.2f}"


def _beats(one: Sequence[float], other: Sequence[float]) -> bool:
    """As good in everything and better in something; the less the better."""
    return all(a <= b for a, b in zip(one, other, strict=True)) and tuple(one) != tuple(other)
