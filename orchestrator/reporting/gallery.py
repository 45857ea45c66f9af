"""Every figure that makes sense for a sweep, in reading order: of each search, each table, then across the tables."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np

from orchestrator.errors import StoreError
from orchestrator.reporting.aggregate import Row
from orchestrator.reporting.axes import Axis, find_axes, published_along
from orchestrator.reporting.bars import MAX_SERIES, caption_groups, draw_groups
from orchestrator.reporting.bubbles import draw_bubbles
from orchestrator.reporting.choose import best_each, rank, short_labels
from orchestrator.reporting.curves import plot_mean_precision_recall
from orchestrator.reporting.dots import Dot, draw_dots
from orchestrator.reporting.epochs import draw_validation_curves
from orchestrator.reporting.genres import draw_genre_areas
from orchestrator.reporting.heatmap import draw_heat_map
from orchestrator.reporting.inputs import ComparedTable, Plot, Report
from orchestrator.reporting.notes import NOT_COMPARABLE
from orchestrator.reporting.plots import MAX_COLOURED, plain_name, plot_axis
from orchestrator.reporting.search_section import DRAW
from orchestrator.reporting.searches import view_searches
from orchestrator.reporting.style import as_sentences, count_notes, data_notes

GROUPED = ("clip_strategy", "aggregator")
"""Named settings that are drawn as groups of bars, a bar a backbone."""

MOST = 0.7
"""Share of a published table's rows from which on a figure of one setting is one of the table."""

FEW = 6
"""Configs in a figure that has room for a few."""

METRIC = "uAP"


def list_parts(report: Report, tables: Sequence[ComparedTable]) -> Iterator[tuple[str, Callable[[], list[Plot]]]]:
    """The figures of a sweep in parts, each with its name and how it is drawn, so that a fault in one costs no other.

    There is none of a table without a complete row, and no incomplete row in any of them. `tables` are those of
    `comparison.compare`. Configs that only a search asks for are in its figures, not in those of its table: they differ
    in everything at once, so that a figure of one setting would compare nothing. Draw and render them under
    `style.literal_text`: names may hold what is a formula otherwise.
    """
    for view in view_searches(report):
        for what, draw in DRAW:
            yield f"{what} of the search {view.result.table}", partial(draw, view)
    for table in tables:
        kept = tuple(r for r in table.rows if r.row is None or r.row.number is None)
        yield f"those of {table.table.name}", partial(_draw_table, report, replace(table, rows=kept))
    across = _Across(report, tables)
    yield "those of costs", across.draw_costs
    yield "those of genres", across.draw_genres
    yield "precision and recall", across.draw_precision_recall
    yield "validation curves", across.draw_epochs


def _draw_table(report: Report, table: ComparedTable) -> list[Plot]:
    """Figures of the settings that a table varies; where those leave out a row of it, all its rows one by one."""
    rows = [r.row for r in table.rows if r.row]
    complete = [r for r in rows if r.complete]
    if not complete:
        return []
    published = any(r.paper or r.code for r in table.rows)
    if any(note.startswith(NOT_COMPARABLE) for note in table.notes):
        # They stay in the table, which says why; beside each other on one scale they would be compared all the same.
        table = replace(table, rows=tuple(replace(r, paper=None, code=None) for r in table.rows if r.row))
    plots: list[Plot] = []
    covered: set[str] = set()
    axes = find_axes(complete)
    for axis in _order(axes, rows):
        held = {r.key for line in axis.lines for r in line.rows.values()}
        grouped = axis.name in GROUPED and axis.paired and len(axis.lines) <= MAX_SERIES
        repeats = not axis.numeric and held <= covered and len(axes) > 1
        few_of_them = published and (not axis.paired or len(held) < MOST * len(complete))
        if few_of_them or (repeats and not grouped):
            continue
        if grouped:
            plots.append(_bars(report, table, axis, rows))
            covered |= held
        elif not axis.numeric and len(axis.lines) == 1 and axis.paired and axis.unpaired == 0:
            plots.append(_dots(report, table, rows, axis))
        else:
            plots.append(_lines(report, table, axis, rows))
    if (published or len(table.rows) > 1) and not plots:
        plots.append(_dots(report, table, rows, None))
    return plots


@dataclass(frozen=True)
class _Across:
    """Figures of the whole sweep, whatever its tables vary; none without a complete config."""

    report: Report
    tables: Sequence[ComparedTable]

    def draw_costs(self) -> list[Plot]:
        chosen, how = _choose_costs(self._complete, self.tables) if self._complete else ([], "")
        return draw_bubbles(chosen, self.report.rows, self._labels[0], sweep=self.report.sweep, how=how)

    def draw_genres(self) -> list[Plot]:
        (labels, usual), (few, how), (sweep, genres) = self._labels, self._few, (self.report.sweep, self.report.genres)
        prevalence = find_prevalence(self.report, self._complete)
        return [
            *draw_genre_areas(few, self.report.rows, labels, genres, prevalence, sweep=sweep, how=how),
            *draw_heat_map(self.report.rows, labels, genres, prevalence, sweep=sweep, usual=usual),
        ]

    def draw_precision_recall(self) -> list[Plot]:
        return _precision_recall(self.report, self._complete, self._labels[0]) if self._complete else []

    def draw_epochs(self) -> list[Plot]:
        few, how = self._few
        return draw_validation_curves(few, self.report.rows, self._labels[0], sweep=self.report.sweep, how=how)

    @cached_property
    def _complete(self) -> list[Row]:
        return [r for r in self.report.rows if r.complete]

    @cached_property
    def _labels(self) -> tuple[dict[str, str], str]:
        return short_labels(self.report.rows)

    @cached_property
    def _few(self) -> tuple[list[Row], str]:
        """Configs for figures with room for a few, and how they were chosen."""
        few, how = best_each(self._complete, "backbone", FEW)
        several = len({r.settings.get("backbone") for r in self._complete}) > 1
        return few, f"{'the best of each backbone, ' if several else ''}{how}"


def find_prevalence(report: Report, rows: Sequence[Row]) -> dict[str, float] | None:
    """Share of positives of each genre in percent, averaged over the test parts; None where labels can't be read."""
    for row in rows:
        parts = _read_predictions(report, row)
        if parts:
            means = np.mean([labels.mean(axis=0) for labels, _ in parts], axis=0)
            return dict(zip(report.genres, (100 * means).tolist(), strict=True))
    return None


def _read_predictions(report: Report, row: Row) -> list[tuple[np.ndarray, np.ndarray]]:
    """Labels and probabilities of every split's test part; empty where any of them is torn, gone or of other genres."""
    if report.predictions is None or not row.trials or not report.genres:
        return []
    parts = []
    for split in row.splits:
        try:
            arrays = report.predictions(row.trials[split])
            labels, probabilities = np.asarray(arrays["labels"]), np.asarray(arrays["probabilities"])
        except (StoreError, KeyError):
            return []
        if labels.shape != probabilities.shape or labels.shape[1:] != (len(report.genres),):
            return []
        parts.append((labels, probabilities))
    return parts


def _precision_recall(report: Report, complete: Sequence[Row], labels: Mapping[str, str]) -> list[Plot]:
    """Of the config that was asked for, else of the one that validation ranks first."""
    ranked, how = rank(complete)
    row = ranked[0]
    if report.curves:
        row, how = next(r for r in complete if r.key == report.curves), "chosen by hand"
    parts = _read_predictions(report, row)
    if not parts:
        return []
    name = labels.get(row.key, row.label)
    title = f"Precision and recall of {name} · {report.sweep}"
    notes = data_notes([row], report.rows)
    lines = "thick: means over the splits at each recall; thin black: all labels of each split"
    figure = plot_mean_precision_recall(parts, report.genres, title=title, notes=[" · ".join(notes), lines])
    caption = f"Precision at each recall of {row.label} ({how}), averaged over {len(parts)} test parts: every genre and"
    caption += " all labels pooled (black). Areas are means over the splits, as in the tables."
    return [Plot("precision_recall", title, caption + as_sentences(notes), figure)]


def _choose_costs(complete: Sequence[Row], tables: Sequence[ComparedTable]) -> tuple[list[Row], str]:
    """Rows for the bubbles: those of the table that varies the most backbones, one a backbone."""
    costed = [r for r in complete if r.parameters and r.multiply_adds]
    keys = {r.key for r in costed}
    candidates = [
        [r.row for r in table.rows if r.row and r.row.key in keys] for table in tables if "backbone" in table.table.axes
    ]
    backbones = [len({r.settings.get("backbone") for r in rows}) for rows in candidates]
    alone = [rows for rows, count in zip(candidates, backbones, strict=True) if 2 < count == len(rows)]
    widest = max(alone, key=len, default=[])
    if len(widest) > 4 or len(widest) == len({r.settings.get("backbone") for r in costed}):
        return widest, "the table of backbones"
    if len({r.settings.get("backbone") for r in costed}) > 1:
        chosen, how = best_each(costed, "backbone")
        return chosen, f"the best of each backbone, {how}"
    ranked, how = rank(costed)
    best = {(r.parameters, r.multiply_adds): r for r in reversed(ranked)}
    return [r for r in ranked if best[r.parameters, r.multiply_adds] is r], f"the best of each cost, {how}"


def _lines(report: Report, table: ComparedTable, axis: Axis, rows: Sequence[Row]) -> Plot:
    published = published_along(table.rows, axis.name, METRIC)
    heading = _heading(report, table)
    figure = plot_axis(axis, rows, report.chance, sweep=heading, metric=METRIC, published=published)
    shown = [r for line in axis.lines for r in line.rows.values()]
    best = max(shown, key=lambda r: r.metrics[METRIC].mean)
    many = len(axis.lines) > MAX_COLOURED
    what = "grey: each config's mean over the splits" if many else "mean and sample standard deviation over the splits"
    caption = f"{METRIC} by {plain_name(axis.name)}; {what}."
    if axis.paired:
        caption += " Lines join configs that differ in nothing else."
    else:
        caption += " The configs differ in other settings, too: not a comparison of this one alone."
    caption += " Grey band and hollow marks: the published mean and deviation." if published else ""
    caption += f" Highest test mean: {best.label}, {best.metrics[METRIC].mean:.2f}."
    caption += as_sentences([*data_notes(shown, rows), *count_notes(shown, rows)[1:]])
    return Plot(_name(table, axis.name), _title(axis.name, heading), caption, figure, table.table.name)


def _bars(report: Report, table: ComparedTable, axis: Axis, rows: Sequence[Row]) -> Plot:
    heading = _heading(report, table)
    title = _title(axis.name, heading)
    published = {r.row.key: r.paper.metrics[METRIC] for r in table.rows if r.row and r.paper}
    figure = draw_groups(axis, rows, published, report.chance, title=title, metric=METRIC)
    caption = caption_groups(axis, rows, metric=METRIC, chance=report.chance, published=bool(published))
    return Plot(_name(table, axis.name), title, caption, figure, table.table.name)


def _dots(report: Report, table: ComparedTable, rows: Sequence[Row], axis: Axis | None) -> Plot:
    names = {r.key: str(v) for line in axis.lines for v, r in line.rows.items()} if axis else {}
    labels = short_labels(rows)[0] if not axis else names
    dots = []
    for compared in table.rows:
        row = compared.row if compared.row and compared.row.complete else None
        if row is None and not (compared.paper or compared.code):
            continue
        paper, code = (p.metrics.get(METRIC) if p else None for p in (compared.paper, compared.code))
        published = bool(compared.paper or compared.code)
        label = compared.label if row is None or (published and not axis) else labels.get(row.key, compared.label)
        dots.append(Dot(label, row, paper, code))
    heading = _heading(report, table)
    title = _title(axis.name if axis else "config", heading)
    figure = draw_dots(dots, rows, report.chance, title=title, metric=METRIC)
    shown = [d.row for d in dots if d.row]
    best = max(shown, key=lambda r: r.metrics[METRIC].mean)
    caption = f"{METRIC} of each config, mean and sample standard deviation over the splits"
    caption += "; grey hollow marks are the published numbers." if any(d.paper or d.code for d in dots) else "."
    caption += f" Highest test mean: {best.label}, {best.metrics[METRIC].mean:.2f}."
    caption += as_sentences([*data_notes(shown, rows), *count_notes(shown, rows)[1:]])
    name = _name(table, axis.name if axis else "config")
    return Plot(name, title, caption, figure, table.table.name)


def _order(axes: Sequence[Axis], rows: Sequence[Row]) -> list[Axis]:
    """Bars first, since they show the backbones, too."""
    return sorted(axes, key=lambda a: a.name not in GROUPED)


def _heading(report: Report, table: ComparedTable) -> str:
    return table.table.title or table.table.name or report.sweep


def _title(name: str, heading: str) -> str:
    return f"{METRIC} by {plain_name(name)} · {heading}"


def _name(table: ComparedTable, axis: str) -> str:
    """A file name: letters, digits, `.`, `_`, `-`."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", f"{table.table.name}_{METRIC}_by_{axis}").lstrip(".")
