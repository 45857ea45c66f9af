"""A table beside the published one, as Markdown and CSV. Pure: text in the caller's hands, no files.

All of it in one table would be 20 columns wide. So each form is in blocks that a page holds: uAP in full, the means of
the other metrics, what the authors' code gave, and size and work where they were published.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.reporting.aggregate import METRICS, Row, Spread, best_means, setting_names
from orchestrator.reporting.comparison import is_published, size_differences
from orchestrator.reporting.inputs import ComparedRow, ComparedTable, PublishedResult
from orchestrator.reporting.notes import NOT_COMPARABLE, study_settings
from orchestrator.reporting.tables import (
    CHANCE_LABEL,
    MARK_COLUMNS,
    Cell,
    draw_markdown,
    escape,
    format_progress,
    format_spread,
    lay_out,
    say_constants,
    spread_values,
)
from orchestrator.reporting.tables import to_csv as rows_to_csv
from orchestrator.reporting.tables import to_markdown as rows_to_markdown

MAIN, *OTHERS = METRICS
NONE = Cell("-")


@dataclass(frozen=True)
class Block:
    """A part of a compared table, narrow enough to read; the first column has the configs, the last may be marks."""

    title: str
    columns: tuple[str, ...]
    lines: tuple[tuple[Cell, ...], ...]

    @property
    def numeric(self) -> tuple[int, ...]:
        return tuple(i for i, name in enumerate(self.columns) if i and name != "marks")


def lay_out_blocks(table: ComparedTable, chance: Mapping[str, Spread] | None = None) -> tuple[Block, ...]:
    """The blocks of a table that has a published counterpart; those without any published number are left out."""
    blocks = [_main_block(table, chance), _other_block(table, chance)]
    if any(c.code for c in table.rows):
        blocks.append(_code_block(table))
    if any(c.paper and (c.paper.parameters or c.paper.multiply_adds) for c in table.rows):
        blocks.append(_size_block(table))
    return tuple(blocks)


def to_markdown(table: ComparedTable, chance: Mapping[str, Spread] | None = None) -> str:
    """What can't be compared first, then constant settings, the blocks and the notes.

    A table without a published counterpart has the form of `tables.to_markdown`.
    """
    rows = rows_of(table)
    if not is_published(table):
        return rows_to_markdown(rows, chance)
    parts = [f"> **{escape(note)}**\n" for note in table.notes if note.startswith(NOT_COMPARABLE)]
    if rows:
        parts += [_say_shared(rows), ""]
    for block in lay_out_blocks(table, chance):
        parts += [f"**{escape(block.title)}**", "", *draw_markdown(block.columns, block.lines, block.numeric), ""]
    parts += [f"- {escape(note)}" for note in table.notes if not note.startswith(NOT_COMPARABLE)]
    return "\n".join(parts) + "\n"


def to_csv(table: ComparedTable, chance: Mapping[str, Spread] | None = None) -> str:
    """Full-precision numbers, one line a row of the table; what there is none of is empty.

    `ours.*` are of this sweep, `paper.*` and `code.*` published, differences ours minus the paper's in points and in
    its standard deviations. `comparable` is 0 where ours are not on Trailers12k. A table without a published
    counterpart has the form of `tables.to_csv`.
    """
    rows = rows_of(table)
    if not is_published(table):
        return rows_to_csv(rows, chance)
    spreads = [f"{metric}.{part}" for metric in METRICS for part in ("mean", "std")]
    columns = ["row", "label", "config_key", *_settings(table)]
    for metric in METRICS:
        columns += [f"{source}.{metric}.{part}" for source in ("ours", "paper") for part in ("mean", "std")]
        columns += [f"{metric}.difference", f"{metric}.deviations"]
    columns += [f"code.{name}" for name in spreads]
    for size in ("parameters", "multiply_adds"):
        columns += [f"ours.{size}", f"paper.{size}", f"{size}.relative_difference"]
    columns += ["comparable", "splits_done", "splits_expected", "splits_lacking", *(name for _, name in MARK_COLUMNS)]
    columns += ["trailers"]
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, restval="", lineterminator="\n")
    writer.writeheader()
    comparable = not any(note.startswith(NOT_COMPARABLE) for note in table.notes)
    for compared in table.rows:
        values = _csv_values(compared)
        if compared.row is not None:
            values["comparable"] = int(comparable)
        writer.writerow(values)
    if chance and rows:
        writer.writerow({"row": "chance", "label": CHANCE_LABEL, **spread_values("ours.", chance)})
    return out.getvalue()


def rows_of(table: ComparedTable) -> list[Row]:
    """Our rows of a table."""
    return [c.row for c in table.rows if c.row is not None]


def format_difference(value: float | None) -> str:
    """`+0.12`, never `-0.00`; `-` where there is none."""
    return "-" if value is None else f"{round(value, 2) + 0.0:+.2f}"


def format_deviations(value: float | None) -> str:
    """`+0.2`, in standard deviations of the paper; `-` where there is none."""
    return "-" if value is None else f"{round(value, 1) + 0.0:+.1f}"


def format_gap(row: ComparedRow, metric: str) -> str:
    """`+0.12 (+0.2)`: the difference in points and in the paper's deviations."""
    gap = row.difference(metric)
    return "-" if gap is None else f"{format_difference(gap)} ({format_deviations(row.deviations(metric))})"


def _say_shared(rows: list[Row]) -> str:
    """What all our rows share; a head and training that are the study's are not spelt out."""
    constants = lay_out(rows).constants
    usual = [study_settings(row) for row in rows]
    spelt = [(n, v) for n, v in constants if n != "training.seed" and any(n not in u for u in usual)]
    spelt += [(n, v) for n, v in constants if all(n in u and rows[0].settings[n] != u[n] for u in usual)]
    same = all(row.settings[n] == u[n] for row, u in zip(rows, usual, strict=True) for n in u if n in row.settings)
    end = "; head and training as in the study." if same else "."
    return say_constants(spelt, "Ours, all rows").removesuffix(".") + end


def _main_block(table: ComparedTable, chance: Mapping[str, Spread] | None) -> Block:
    rows = rows_of(table)
    best, marked = best_means(rows), any(r.marks for r in rows)
    lines = []
    for c in table.rows:
        paper = Cell(format_spread(c.paper.metrics[MAIN])) if c.paper else NONE
        gap, deviations = format_difference(c.difference(MAIN)), format_deviations(c.deviations(MAIN))
        cells = [Cell(c.label), _ours(c.row, MAIN, best), paper, Cell(gap), Cell(deviations)]
        lines.append((*cells, Cell(" ".join(c.row.marks) if c.row else "")) if marked else tuple(cells))
    if chance:
        cells = [Cell(CHANCE_LABEL), Cell(format_spread(chance[MAIN])), NONE, NONE, NONE]
        lines.append((*cells, Cell("")) if marked else tuple(cells))
    columns = ("config", "ours", "paper", "difference", "in sd", *(["marks"] if marked else []))
    return Block(MAIN, columns, tuple(lines))


def _other_block(table: ComparedTable, chance: Mapping[str, Spread] | None) -> Block:
    best = best_means(rows_of(table))
    columns, lines = ["config"], []
    for metric in OTHERS:
        columns += [f"{metric} ours", "paper", "difference (sd)"]
    for c in table.rows:
        cells = [Cell(c.label)]
        for metric in OTHERS:
            ours = _ours(c.row, metric, best, means=True) if c.row and c.row.complete else NONE
            paper = Cell(f"{c.paper.metrics[metric].mean:.2f}") if c.paper else NONE
            cells += [ours, paper, Cell(format_gap(c, metric))]
        lines.append(tuple(cells))
    if chance:
        level = [(Cell(f"{chance[metric].mean:.2f}"), NONE, NONE) for metric in OTHERS]
        lines.append((Cell(CHANCE_LABEL), *(cell for cells in level for cell in cells)))
    return Block(f"{', '.join(OTHERS)}: means", tuple(columns), tuple(lines))


def _code_block(table: ComparedTable) -> Block:
    columns, lines = ["config"], []
    for metric in METRICS:
        columns += [f"{metric} code", "ours - code"]
    for c in table.rows:
        if c.code is not None:
            cells = [Cell(c.label)]
            for metric in METRICS:
                cells += [Cell(format_spread(c.code.metrics[metric])), Cell(format_difference(_from_code(c, metric)))]
            lines.append(tuple(cells))
    return Block("The table in the authors' code", tuple(columns), tuple(lines))


def _size_block(table: ComparedTable) -> Block:
    columns = ["config"]
    for size in ("parameters (M)", "multiply-adds (G)"):
        columns += [f"{size} ours", "paper", "difference"]
    lines = []
    for c in table.rows:
        cells = [Cell(c.label)]
        ours = (c.row.parameters, c.row.multiply_adds) if c.row else (None, None)
        paper = (c.paper.parameters, c.paper.multiply_adds) if c.paper else (None, None)
        for number, published, gap, unit in zip(ours, paper, size_differences(c), (1e6, 1e9), strict=True):
            cells.append(NONE if number is None else Cell(f"{number / unit:,.1f}"))
            cells.append(NONE if published is None else Cell(f"{published:,.1f}"))
            cells.append(NONE if gap is None else Cell(f"{round(100 * gap, 1) + 0.0:+.1f}%"))
        lines.append(tuple(cells))
    return Block("Size and work", tuple(columns), tuple(lines))


def _ours(row: Row | None, metric: str, best: Mapping[str, float], *, means: bool = False) -> Cell:
    if row is None or not row.complete:
        return Cell(format_progress(row))
    spread = row.metrics[metric]
    return Cell(f"{spread.mean:.2f}" if means else format_spread(spread), best=spread.mean == best[metric])


def _from_code(row: ComparedRow, metric: str) -> float | None:
    if row.row is None or not row.row.complete or row.code is None:
        return None
    return row.row.metrics[metric].mean - row.code.metrics[metric].mean


def _settings(table: ComparedTable) -> list[str]:
    """Settings of our rows, and those that only published rows have."""
    published = [name for c in table.rows for p in (c.paper, c.code) if p for name in p.settings]
    return list(dict.fromkeys([*setting_names(rows_of(table)), *published]))


def _csv_values(c: ComparedRow) -> dict[str, Any]:
    known = c.paper or c.code
    values: dict[str, Any] = {"row": "config", "label": c.label, **(known.settings if known else {})}
    values |= {f"{m}.difference": c.difference(m) for m in METRICS}
    values |= {f"{m}.deviations": c.deviations(m) for m in METRICS}
    for name, result in (("paper", c.paper), ("code", c.code)):
        values |= spread_values(f"{name}.", result.metrics) if result else {}
    values |= _published_sizes(c.paper) if c.paper else {}
    gaps = zip(("parameters", "multiply_adds"), size_differences(c), strict=True)
    values |= {f"{size}.relative_difference": gap for size, gap in gaps}
    if c.row is None:
        return values | {"row": "published"}
    row = c.row
    values |= {"config_key": row.key, **row.settings, **spread_values("ours.", row.metrics)}
    values |= {"ours.parameters": row.parameters, "ours.multiply_adds": row.multiply_adds, "trailers": row.trailers}
    values |= {"splits_done": len(row.scores), "splits_expected": len(row.splits)}
    values["splits_lacking"] = "; ".join(f"{split}: {why}" for split, why in row.states.items())
    return values | {name: int(mark in row.marks) for mark, name in MARK_COLUMNS}


def _published_sizes(paper: PublishedResult) -> dict[str, Any]:
    """In ones, as ours are."""
    return {
        "paper.parameters": None if paper.parameters is None else round(paper.parameters * 1e6),
        "paper.multiply_adds": None if paper.multiply_adds is None else round(paper.multiply_adds * 1e9),
    }
