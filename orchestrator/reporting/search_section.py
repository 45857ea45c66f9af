"""The part of a report that a search has: summary, the best configs, what they are, as Markdown and for the page.

Pure: text in the caller's hands, no files.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from orchestrator.reporting.aggregate import METRICS, Row
from orchestrator.reporting.fronts import draw_fronts
from orchestrator.reporting.importances import FEWEST, draw_importances, find_importances
from orchestrator.reporting.inputs import Plot
from orchestrator.reporting.parallel import draw_parallel
from orchestrator.reporting.search_history import draw_history, draw_learning_curves
from orchestrator.reporting.searches import BEST, QUANTITIES, Drawn, SearchView, say_value, summarise
from orchestrator.reporting.slices import draw_slices
from orchestrator.reporting.tables import Cell, draw_markdown, escape, format_spread
from orchestrator.search.records import COSTS

JOURNAL = "optuna.log"
"""The searches as Optuna opens them: a file of the report."""

OPEN = f"optuna-dashboard {JOURNAL}"
"""The command that shows it."""

DRAW: tuple[tuple[str, Callable[[SearchView], list[Plot]]], ...] = (
    ("front", draw_fronts),
    ("history", draw_history),
    ("importances", draw_importances),
    ("parallel coordinates", draw_parallel),
    ("slices", draw_slices),
    ("learning curves", draw_learning_curves),
)
"""Its figures in reading order, by name."""


@dataclass(frozen=True)
class SearchSection:
    """What is said of a search in every form; `numeric` are the columns that are aligned right."""

    table: str
    title: str
    summary: tuple[tuple[str, str, str], ...]
    heading: str
    columns: tuple[str, ...]
    lines: tuple[tuple[Cell, ...], ...]
    numeric: tuple[int, ...]
    notes: tuple[str, ...]


def describe_search(view: SearchView) -> SearchSection:
    """The best configs by validation, or with several objectives the front, their test scores beside."""
    shown = view.best if len(view.spec.objectives) > 1 else view.best[:BEST]
    fields = [f for f in view.fields if any(f in d.observation.values for d in shown)]
    costs = [c for c in ("parameters", "multiply_adds") if c not in view.spec.objectives and _varies(shown, c)]
    quantities = [QUANTITIES[name] for name in view.spec.objectives]
    tests = [f"test {m}" for m in METRICS]
    columns = ["config", *(view.fields[f] for f in fields), *(q.heading for q in quantities), *tests]
    columns += [QUANTITIES[c].heading for c in costs]
    marked = any(d.row and d.row.marks for d in shown)
    lines = []
    for drawn in shown:
        values = drawn.observation.values
        cells = [Cell(drawn.name), *(Cell(say_value(values[f]) if f in values else "–") for f in fields)]
        cells += [Cell(q.say(v)) for q, v in zip(quantities, drawn.observation.objectives, strict=True)]
        cells += [_test(drawn.row, m) for m in METRICS]
        cells += [_cost(drawn.row, c) for c in costs]
        lines.append((*cells, Cell(" ".join(drawn.row.marks) if drawn.row else "")) if marked else tuple(cells))
    numeric = tuple(range(1 + len(fields), len(columns)))
    heading = "Pareto front" if len(quantities) > 1 else f"Best {len(shown)} of {len(view.done)} done configs"
    return SearchSection(
        view.result.table,
        view.title,
        tuple(summarise(view)),
        heading,
        (*columns, *(["marks"] if marked else [])),
        tuple(lines),
        numeric,
        tuple(_explain(view)),
    )


def to_markdown(section: SearchSection) -> list[str]:
    """Its lines without heading and figures."""
    lines = [
        f"- {escape(name)}: {escape(value)}{f' ({escape(aside)})' if aside else ''}"
        for name, value, aside in section.summary
    ]
    if section.lines:
        lines += [
            "",
            f"**{escape(section.heading)}**",
            "",
            *draw_markdown(section.columns, section.lines, section.numeric),
        ]
    opened = f"All of it for Optuna: [{JOURNAL}]({JOURNAL}), opened by `{OPEN}` (study {escape(section.table)})."
    return [*lines, "", *(f"- {escape(note)}" for note in section.notes), "", opened, ""]


def _explain(view: SearchView) -> list[str]:
    splits = sorted({len(d.row.splits) for d in view.done if d.row})
    chosen = "The front is" if len(view.spec.objectives) > 1 else "Configs are ranked"
    trained = [n for n in view.spec.objectives if n not in COSTS]
    by = "by validation" if len(trained) == len(view.spec.objectives) else "by validation and counted costs"
    notes = [
        f"{chosen} {by} alone: means over {' or '.join(map(str, splits)) or 'the'} splits at the evaluated epochs. "
        "Test scores stand beside; none was used to draw, prune or choose a config.",
        "The validation figure of the best of many configs is optimistic: it was chosen for being the best.",
    ]
    if not view.done:
        notes = ["No config is done yet, so there is no best one and no figure."]
    elif not find_importances(view).shares:
        notes.append(f"No importances of settings: they need {FEWEST} configs that differ in at least two settings.")
    return notes


def _varies(drawn: Sequence[Drawn], cost: str) -> bool:
    return len({getattr(d.row, cost) for d in drawn if d.row}) > 1


def _test(row: Row | None, metric: str) -> Cell:
    return Cell(format_spread(row.metrics[metric]) if row and row.complete else "–")


def _cost(row: Row | None, name: str) -> Cell:
    value = getattr(row, name) if row else None
    return Cell("–" if value is None else QUANTITIES[name].say(value))
