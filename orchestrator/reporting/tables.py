"""The rows of a sweep as Markdown, CSV and a console table. Pure: text in the caller's hands, no files."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from orchestrator.reporting.aggregate import (
    METRICS,
    Row,
    Spread,
    best_means,
    constant_settings,
    distinct_labels,
    pruned_last,
    setting_names,
    short_weights,
    varied_axes,
)
from orchestrator.reporting.notes import explain_rows

CHANCE_LABEL = "chance"


@dataclass(frozen=True)
class Cell:
    """One cell of a results table; `best` cells are printed in bold."""

    text: str
    best: bool = False


@dataclass(frozen=True)
class ResultsTable:
    """What every form of a table shows: the varied settings and the metrics as columns, the rest said once."""

    columns: tuple[str, ...]
    lines: tuple[tuple[Cell, ...], ...]
    constants: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]

    @property
    def metric_columns(self) -> tuple[int, ...]:
        return tuple(i for i, name in enumerate(self.columns) if name in METRICS)


def lay_out(rows: Sequence[Row], chance: Mapping[str, Spread] | None = None) -> ResultsTable:
    """Choose the columns, mark the best of each metric, put pruned rows behind the others and the chance row last.

    Where a search drew some of the rows, the first column has their numbers.
    """
    rows = pruned_last(rows)
    axes = varied_axes(rows) or (["backbone"] if rows else [])
    first = ["config"] if any(r.number is not None for r in rows) else []
    names = _short_names(rows)
    marked = any(r.marks for r in rows)
    best = best_means(rows)
    lines = []
    for row in rows:
        cells = [Cell("-" if row.number is None else f"#{row.number}")] * len(first)
        cells += [Cell(_shown(row.settings.get(a), names)) for a in axes]
        cells += [_metric_cell(row, m, best) for m in METRICS]
        lines.append((*cells, Cell(" ".join(row.marks))) if marked else tuple(cells))
    if chance:
        label = [Cell(CHANCE_LABEL), *[Cell("")] * (len(first) + len(axes) - 1)] if axes else []
        cells = [*label, *(Cell(format_spread(chance[m])) for m in METRICS)]
        lines.append((*cells, Cell("")) if marked else tuple(cells))
    constants = [(n, _shown(v, names)) for n, v in constant_settings(rows).items() if n not in axes]
    columns = (*first, *axes, *METRICS, *(["marks"] if marked else []))
    notes = explain_rows(rows, distinct_labels(rows), chance)
    return ResultsTable(columns, tuple(lines), tuple(constants), tuple(notes))


def format_spread(spread: Spread) -> str:
    """`57.20 ± 0.55`; without a deviation, that of a single split, `57.20`."""
    return f"{spread.mean:.2f}" if spread.std is None else f"{spread.mean:.2f} ± {spread.std:.2f}"


def format_progress(row: Row | None) -> str:
    """What stands in the place of a mean that there is none of."""
    if row is None:
        return "-"
    return row.say_pruned() if row.pruned else f"{len(row.scores)} of {len(row.splits)} splits"


def to_markdown(rows: Sequence[Row], chance: Mapping[str, Spread] | None = None) -> str:
    """Constant settings, the table with the best of each metric in bold, and its footnotes."""
    table = lay_out(rows, chance)
    head = [say_constants(table.constants), ""] if table.constants else []
    lines = draw_markdown(table.columns, table.lines, table.metric_columns)
    return "\n".join([*head, *lines, "", *(f"- {escape(note)}" for note in table.notes)]) + "\n"


def draw_markdown(columns: Sequence[str], lines: Sequence[Sequence[Cell]], numeric: Sequence[int]) -> list[str]:
    """The lines of a Markdown table, the columns of numbers aligned right."""
    aligned = [":--" if i not in numeric else "--:" for i in range(len(columns))]
    drawn = ["| " + " | ".join(map(escape, columns)) + " |", "|" + "|".join(aligned) + "|"]
    for cells in lines:
        texts = [f"**{escape(c.text)}**" if c.best else escape(c.text) for c in cells]
        drawn.append("| " + " | ".join(texts) + " |")
    return drawn


def say_constants(constants: Sequence[tuple[str, str]], whose: str = "All rows") -> str:
    """The settings that all rows share, in one line of Markdown."""
    return f"{whose}: " + ", ".join(f"{escape(n)} {_code(v)}" for n, v in constants) + "."


def to_csv(rows: Sequence[Row], chance: Mapping[str, Spread] | None = None) -> str:
    """Full-precision numbers, one line a config: every setting, mean and deviation, each split, marks.

    An incomplete config has empty means; the splits it does have stand in their own columns. `epochs` counts those of
    all splits together. The chance level is the last line, told apart by the first column.
    """
    settings = setting_names(rows)
    splits = sorted({s for r in rows for s in r.splits})
    genres = list(dict.fromkeys(g for r in rows for g in r.per_genre))
    columns = ["row", "config_key", "label", "tables", *settings]
    columns += [f"{m}.{part}" for m in METRICS for part in ("mean", "std")]
    columns += ["splits_done", "splits_expected", "splits_lacking", *(name for _, name in MARK_COLUMNS)]
    columns += [f"{m}.split{s}" for m in METRICS for s in splits]
    columns += [f"AP.{g}.{part}" for g in genres for part in ("mean", "std")]
    columns += ["trailers", "parameters", "epochs", "seconds"]
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, restval="", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow(_csv_values(row))
    if chance:
        writer.writerow({"row": "chance", "label": CHANCE_LABEL, **spread_values("", chance)})
    return out.getvalue()


def to_console(
    rows: Sequence[Row], chance: Mapping[str, Spread] | None = None, title: str | None = None, width: int | None = None
) -> Group:
    """The same table for a terminal: `console.print(to_console(rows, width=console.width))`.

    Where the lines are longer than `width` characters, deviations go below their means.
    """
    table = lay_out(rows, chance)
    said = [", ".join(f"{n} {v}" for n, v in table.constants)] if table.constants else []
    shown = Table(
        title=Text(title, style="bold") if title else None,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    # A word a line, so that a long heading takes no width from the values.
    headings = [re.sub(r"[_.]", "\n", c.removeprefix("training.")) for c in table.columns]
    texts = [headings, *([c.text for c in cells] for cells in table.lines)]
    natural = sum(max(len(part) for t in column for part in t.split("\n")) + 2 for column in zip(*texts, strict=True))
    narrow = width is not None and natural + 1 > width
    for i, heading in enumerate(headings):
        metric = i in table.metric_columns
        shown.add_column(heading, justify="right" if metric else "left", overflow="fold", no_wrap=metric)
    for number, cells in enumerate(table.lines, 1):
        last = number == len(table.lines) - 1 if chance else False
        lines = [c.text.replace(" ± ", "\n±") if narrow else c.text for c in cells]
        styles = ["bold" if c.best else "" for c in cells]
        shown.add_row(*(Text(t, style=s) for t, s in zip(lines, styles, strict=True)), end_section=last)
    return Group(shown, Text("\n".join([*said, *table.notes]), style="dim"))


MARK_COLUMNS = (
    ("R", "random_weights"),
    ("S", "synthetic"),
    ("P", "published_representations"),
    ("M", "mixed_vectors"),
    ("I", "incomplete"),
    ("C", "pruned"),
    ("F", "fewer_trailers"),
)


def _metric_cell(row: Row, metric: str, best: Mapping[str, float]) -> Cell:
    if not row.complete:
        return Cell(format_progress(row) if metric == METRICS[0] else "-")
    return Cell(format_spread(row.metrics[metric]), best=row.metrics[metric].mean == best[metric])


def _csv_values(row: Row) -> dict[str, Any]:
    values: dict[str, Any] = {"row": "config", "config_key": row.key, "label": row.label, **row.settings}
    values |= {"tables": ";".join(row.tables), "splits_done": len(row.scores), "splits_expected": len(row.splits)}
    values["splits_lacking"] = "; ".join(f"{split}: {why}" for split, why in row.states.items())
    values |= {name: int(mark in row.marks) for mark, name in MARK_COLUMNS}
    values |= spread_values("", row.metrics) | spread_values("AP.", row.per_genre)
    values |= {f"{m}.split{s}": score[m] for s, score in row.scores.items() for m in METRICS}
    values |= {"trailers": row.trailers, "parameters": row.parameters, "epochs": row.epochs or None}
    return values | {"seconds": row.seconds}


def spread_values(prefix: str, spreads: Mapping[str, Spread]) -> dict[str, Any]:
    """`<prefix>uAP.mean` and `<prefix>uAP.std` of each metric, for a CSV line."""
    pairs = {f"{prefix}{name}": s for name, s in spreads.items()}
    return {f"{n}.mean": s.mean for n, s in pairs.items()} | {f"{n}.std": s.std for n, s in pairs.items()}


def _short_names(rows: Sequence[Row]) -> dict[str, str]:
    """Checkpoint path(s) -> the shortest ends that still tell them apart."""
    paths = {w for r in rows if "/" in (w := str(r.settings.get("weights", "")))}
    deepest = max((p.count("/") for p in paths), default=0) + 1
    for components in range(1, deepest + 1):
        names = {p: short_weights(p, components) for p in paths}
        if len(set(names.values())) == len(paths):
            return names
    return {}


def _shown(value: Any, names: Mapping[str, str]) -> str:
    if value is None:
        return "-"
    return names.get(str(value), f"{value:g}" if isinstance(value, float) else str(value))


def escape(text: str) -> str:
    """Text as GitHub's Markdown shows it literally, in a paragraph, a list or a cell; `snake_case` stays as it is."""
    text = re.sub(r"\s+", " ", text)
    text = re.sub(r"([\\`*\[\]|~])", r"\\\1", text)
    text = re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", text)
    text = re.sub(r"&(?=#?\w+;)", "&amp;", text).replace("<", "&lt;")
    return re.sub(r"\$", "<span>$</span>", text)  # GitHub takes two of them for a formula, escaped or not


def _code(text: str) -> str:
    """A code span; its fence is longer than any run of backticks inside."""
    text = re.sub(r"\s+", " ", text)
    fence = "`" * (max(map(len, re.findall("`+", text)), default=0) + 1)
    room = " " if not text.strip() or "`" in (text[0], text[-1]) else ""
    return f"{fence}{room}{text}{room}{fence}"
