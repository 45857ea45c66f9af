"""`report.html`: tables, figures and provenance in one file that needs no network and prints well."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from orchestrator.reporting.aggregate import (
    MARKS,
    METRICS,
    Row,
    best_means,
    distinct_labels,
    short_weights,
    sort_by_score,
    varied_axes,
)
from orchestrator.reporting.choose import BY_TEST, rank
from orchestrator.reporting.inputs import ComparedRow, ComparedTable, PublishedResult, RenderedPlot, Report
from orchestrator.reporting.notes import NOT_COMPARABLE
from orchestrator.reporting.provenance import describe_origin
from orchestrator.reporting.search_section import JOURNAL, OPEN, SearchSection, describe_search
from orchestrator.reporting.searches import view_searches
from orchestrator.reporting.side_by_side import format_deviations, format_difference
from orchestrator.reporting.style import say_incomplete
from orchestrator.reporting.tables import format_spread

ASSETS = Path(__file__).parent / "assets"
BANNER = ("S", "R", "P", "F", "I", "C")
"""Marks in the order of how much they matter to a reader."""


def compose_page(report: Report, tables: Sequence[ComparedTable], plots: Sequence[RenderedPlot]) -> str:
    """The whole page. Nothing in it is fetched: styles, script and figures are inside, and its policy allows no more.

    Searches come first. Plots of a search or a table stand below it, the others across the tables, in their order;
    names and labels are escaped.
    """
    style, script = ((ASSETS / f"page.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    figures = [_figure(plot, number) for number, plot in enumerate(_reading_order(tables, plots), 1)]
    names = [table.table.name for table in tables]
    environment = Environment(
        loader=FileSystemLoader(ASSETS), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template("page.html.j2").render(
        title=f"Sweep {report.sweep}",
        lead=_lead(report),
        banner=_banner(report.rows),
        summary=_summary(report),
        metrics=METRICS,
        meanings=MARKS,
        chance={m: format_spread(s) for m, s in report.chance.items()} if report.chance else None,
        sections=[
            _section(table, number, [f for f in figures if f["table"] == table.table.name])
            for number, table in enumerate(tables, 1)
        ],
        searches=[
            _search(section, number, [f for f in figures if f["search"] == section.table])
            for number, section in enumerate(map(describe_search, view_searches(report)), 1)
        ],
        across=[f for f in figures if f["table"] not in names and f["search"] is None],
        configs=_configs(report),
        facts=list(describe_origin(report).items()),
        style=Markup(style),
        script=Markup(script),
        style_hash=_digest(style),
        script_hash=_digest(script),
    )


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _reading_order(tables: Sequence[ComparedTable], plots: Sequence[RenderedPlot]) -> list[RenderedPlot]:
    place = {table.table.name: i for i, table in enumerate(tables)}
    return sorted(plots, key=lambda plot: -1 if plot.search else place.get(plot.table or "", len(place)))


def _figure(plot: RenderedPlot, number: int) -> dict[str, Any]:
    """As an image of its own, not as elements of the page: the names inside one SVG would clash with another's."""
    size = re.search(rb'<svg[^>]*?\swidth="([\d.]+)pt"[^>]*?\sheight="([\d.]+)pt"', plot.svg[:4000])
    width, height = (round(float(v) * 4 / 3) for v in size.groups()) if size else (691, 480)
    return {
        "anchor": f"figure-{number}",
        "number": number,
        "title": plot.title,
        "caption": plot.caption,
        "table": plot.table,
        "search": plot.search,
        "width": width,
        "height": height,
        "source": "data:image/svg+xml;base64," + base64.b64encode(plot.svg).decode(),
    }


def _lead(report: Report) -> str:
    rows, tables = len(report.rows), len(report.tables)
    compared = f"{tables} comparison{'s' if tables != 1 else ''} of" if tables else "A comparison of"
    return (
        f"{compared} {rows} config{'s' if rows != 1 else ''} of frozen representations of movie trailers for "
        "multi-label genre classification, by the areas under their precision-recall curves."
    )


def _banner(rows: Sequence[Row]) -> list[dict[str, str]]:
    lines = []
    for mark in BANNER:
        count = sum(mark in row.marks for row in rows)
        if count:
            share = "Every config" if count == len(rows) else f"{count} of {len(rows)} configs"
            lines.append({"mark": mark, "share": share, "meaning": MARKS[mark]})
    return lines


def _summary(report: Report) -> list[dict[str, str]]:
    done, expected = sum(len(r.scores) for r in report.rows), sum(len(r.splits) for r in report.rows)
    complete = sort_by_score([r for r in report.rows if r.complete])
    parts = [*([f"{len(complete)} complete"] if len(complete) < len(report.rows) else []), *say_incomplete(report.rows)]
    facts = [
        ("Configs", f"{len(report.rows)}", ", ".join(parts)),
        ("Trials done", f"{done} of {expected}", ""),
    ]
    if complete:
        ranked, how = rank(complete)
        best = ranked[0]
        label = dict(zip((r.key for r in report.rows), distinct_labels(report.rows), strict=True))[best.key]
        by_test = how == BY_TEST
        name = "Best by test mean, uAP %" if by_test else "Best by validation, test uAP %"
        aside = "; chosen on the test parts, so optimistic" if by_test else ""
        facts.append((name, format_spread(best.metrics["uAP"]), _with_marks(label, best) + aside))
    if report.chance:
        facts.append(("Chance, uAP %", format_spread(report.chance["uAP"]), "the label prevalence"))
    return [{"name": name, "value": value, "detail": detail} for name, value, detail in facts]


def _with_marks(label: str, row: Row) -> str:
    return f"{label} (marks: {' '.join(row.marks)})" if row.marks else label


def _search(section: SearchSection, number: int, figures: Sequence[dict[str, Any]]) -> dict[str, Any]:
    lines = [
        [{"text": cell.text, "numeric": i in section.numeric} for i, cell in enumerate(cells)]
        for cells in section.lines
    ]
    return {
        "anchor": f"search-{number}",
        "heading": f"Search: {section.title}",
        "summary": [{"name": name, "value": value, "detail": aside} for name, value, aside in section.summary],
        "best": section.heading,
        "file": JOURNAL,
        "open": OPEN,
        "study": section.table,
        "columns": [{"name": name, "numeric": i in section.numeric} for i, name in enumerate(section.columns)],
        "lines": lines,
        "notes": section.notes,
        "plots": figures,
    }


def _section(table: ComparedTable, number: int, figures: Sequence[dict[str, Any]]) -> dict[str, Any]:
    rows = [compared.row for compared in table.rows if compared.row]
    best = best_means(rows)
    published = any(compared.paper or compared.code for compared in table.rows)
    heading = table.table.title or table.table.name
    numbered = table.table.number and str(table.table.number) not in heading
    against = f" Below them the published numbers (Table {table.table.number} of the paper" if published else ""
    if published:
        code = any(compared.code for compared in table.rows)
        against += f"{', and the authors’ code where it differs' if code else ''}). Δ: ours minus the paper's, "
        against += "in points and in the paper's deviations."
    return {
        "anchor": f"table-{number}",
        "heading": f"Table {table.table.number}: {heading}" if numbered else heading,
        "question": table.table.question,
        "caption": f"Areas in percent, mean ± sample standard deviation over the test sets.{against}",
        "published": published,
        "rows": [_compared(c, best) for c in table.rows if published or not (c.row and c.row.pruned)],
        "pruned": 0 if published else sum(row.pruned for row in rows),
        "warnings": [note for note in table.notes if note.startswith(NOT_COMPARABLE)],
        "notes": [note for note in table.notes if not note.startswith(NOT_COMPARABLE)],
        "plots": figures,
    }


def _compared(compared: ComparedRow, best: dict[str, float]) -> dict[str, Any]:
    row, paper, code = compared.row, compared.paper, compared.code
    cells = []
    for metric in METRICS:
        ours = row.metrics[metric] if row and row.complete else None
        gap, deviations = compared.difference(metric), compared.deviations(metric)
        other = _published(code, metric)
        cells.append(
            {
                "ours": format_spread(ours) if ours else "",
                "best": ours is not None and ours.mean == best.get(metric),
                "paper": _published(paper, metric),
                "code": other if other != _published(paper, metric) else "",
                "difference": "" if gap is None else format_difference(gap),
                "deviations": "" if deviations is None else format_deviations(deviations),
            }
        )
    lacking = "not in this sweep" if row is None else "" if row.complete or row.pruned else row.progress
    return {
        "label": compared.label,
        "cells": cells,
        "marks": row.marks if row else (),
        "incomplete": lacking,
        "pruned": row.say_pruned() if row and row.pruned else "",
    }


def _published(result: PublishedResult | None, metric: str) -> str:
    spread = result.metrics.get(metric) if result else None
    return format_spread(spread) if spread else ""


def _configs(report: Report) -> dict[str, Any]:
    """Every config of the sweep, best first: what varies, the metrics, costs and marks."""
    axes = varied_axes(report.rows) or (["backbone"] if report.rows else [])
    numeric = {a for a in axes if all(_is_number(r.settings.get(a)) for r in report.rows)}
    costs = [c for c in ("parameters", "multiply_adds") if any(getattr(r, c) is not None for r in report.rows)]
    units = {"parameters": ("Params, M", 1e6), "multiply_adds": ("Mult-adds, G", 1e9)}
    columns = [{"name": a.removeprefix("training.").replace("_", " "), "numeric": a in numeric} for a in axes]
    columns += [{"name": m, "numeric": True} for m in METRICS]
    columns += [{"name": units[c][0], "numeric": True} for c in costs]
    columns += [{"name": "Training, s", "numeric": True}, {"name": "Splits", "numeric": True}]
    columns += [{"name": "Marks", "numeric": False}]
    best = best_means(report.rows)
    rows = []
    for row in sort_by_score(report.rows):
        cells = [_setting(row.settings.get(a), a, a in numeric) for a in axes]
        whys = [] if row.pruned else [f"split {s} {why}" for s, why in row.states.items()]
        cells[0]["detail"] = "; ".join(whys)
        for metric in METRICS:
            spread = row.metrics.get(metric) if row.complete else None
            cells.append(_cell(format_spread(spread) if spread else "–", spread.mean if spread else "", numeric=True,
                               best=spread is not None and spread.mean == best.get(metric)))  # fmt: skip
        for cost in costs:
            value = getattr(row, cost)
            shown = "–" if value is None else f"{value / units[cost][1]:,.2f}"
            cells.append(_cell(shown, "" if value is None else value, numeric=True))
        cells.append(_cell(f"{row.seconds:,.0f}", row.seconds, numeric=True))
        splits = row.say_pruned() if row.pruned else f"{len(row.scores)} of {len(row.splits)}"
        cells.append(_cell(splits, len(row.scores), numeric=True))
        cells.append(_cell("", " ".join(row.marks), marks=row.marks))
        rows.append({"cells": cells, "incomplete": not (row.complete or row.pruned), "pruned": row.pruned})
    about = f"{len(rows)} configs, highest test mean of uAP first, incomplete ones last; best of each metric in bold."
    return {"columns": columns, "rows": rows, "about": f"{about} {_constants(report.rows, axes)}".strip()}


def _constants(rows: Sequence[Row], axes: Iterable[str]) -> str:
    """Settings that all configs share, said once."""
    if not rows:
        return ""
    shared = {n: v for n, v in rows[0].settings.items() if n not in axes and all(r.settings.get(n) == v for r in rows)}
    named = ", ".join(f"{n.removeprefix('training.').replace('_', ' ')} {_shown(v, n)}" for n, v in shared.items())
    return f"All of them: {named}." if named else ""


def _setting(value: Any, name: str, numeric: bool) -> dict[str, Any]:
    return _cell("–" if value is None else _shown(value, name), "" if value is None else value, numeric=numeric)


def _shown(value: Any, name: str) -> str:
    if name == "weights":
        return short_weights(str(value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _cell(text: str, value: Any = None, *, numeric: bool = False, best: bool = False, detail: str = "",
          marks: Sequence[str] | None = None) -> dict[str, Any]:  # fmt: skip
    return {"text": text, "value": value, "numeric": numeric, "best": best, "detail": detail, "marks": marks}
