"""Write a sweep's report: a table in three forms for each of its tables, the plots, one page that holds them all.

A sweep with searches has a section a search, and all of them as an Optuna journal.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path

from orchestrator.errors import StoreError
from orchestrator.reporting.comparison import compare, is_published
from orchestrator.reporting.inputs import ComparedTable, Plot, RenderedPlot, Report
from orchestrator.reporting.latex import to_latex
from orchestrator.reporting.provenance import describe_origin
from orchestrator.reporting.search_section import JOURNAL, describe_search
from orchestrator.reporting.search_section import to_markdown as section_to_markdown
from orchestrator.reporting.searches import view_searches
from orchestrator.reporting.side_by_side import to_csv, to_markdown
from orchestrator.reporting.style import literal_text
from orchestrator.reporting.tables import escape
from orchestrator.reporting.tables import to_csv as rows_to_csv
from orchestrator.specs import key_of, plain

LISTING = "report_files.json"
"""Names of the files that a report wrote, so that the next one removes those that it no longer makes."""

REPORT_VERSION = 3
"""Raised by hand when the same results are to be reported in another way."""

NOT_DRAWN = "Plots that could not be drawn"

Draw = Callable[[Report, Sequence[ComparedTable]], Iterable[Plot]]
Compose = Callable[[Report, Sequence[ComparedTable], Sequence[RenderedPlot]], str]


@dataclass(frozen=True)
class ReportFiles:
    """Where a report lies. `csv` has every config, `tables` each table as Markdown, LaTeX and CSV, `plots` each figure
    as PNG and SVG, `journal` its searches for Optuna; `problems` says which plots could not be drawn and why."""

    directory: Path
    markdown: Path
    html: Path
    csv: Path
    tables: tuple[Path, ...]
    plots: tuple[Path, ...]
    problems: tuple[str, ...] = ()
    journal: Path | None = None


def write_report(
    report: Report, directory: str | Path, *, draw: Draw | None = None, compose: Compose | None = None
) -> ReportFiles:
    """Write `report.md`, `report.html`, `table.csv`, `table_<number or name>.md/.tex/.csv`, the plots, and `optuna.log`
    where there are searches into `directory`/<sweep>/.

    Each file is replaced whole. Files of an earlier report of this sweep that this one no longer makes are removed;
    other files in the folder stay. A plot that can't be drawn is named in the report instead. Without `draw` the plots
    are those of `gallery.list_parts`, without `compose` the page is `page.compose_page`. Raises StoreError when the
    folder can't be written.
    """
    folder = Path(directory) / folder_name(report.sweep)
    tables = compare(report)
    plots, problems = _draw(report, tables, draw)
    if problems:
        report = replace(report, facts={**report.facts, NOT_DRAWN: "; ".join(problems)})
    figures = {f"{p.name}.{kind}": content for p in plots for kind, content in (("png", p.png), ("svg", p.svg))}
    forms = dict(_write_tables(report, tables))
    texts = {
        "table.csv": rows_to_csv(report.rows, report.chance),
        "report.html": (compose or _page())(report, tables, plots),
        "report.md": _compose_markdown(report, tables, plots),
    }
    files = figures | {name: text.encode() for name, text in (forms | texts).items()}
    if report.searches:
        files[JOURNAL] = _make_journal(report)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        earlier = _read_listing(folder)
        # The listing first names old and new files, so that a report cut short leaves nothing unaccounted for.
        _replace(folder / LISTING, _listing([*earlier, *files]))
        for name, content in files.items():
            _replace(folder / name, content)
        for name in set(earlier) - set(files):
            (folder / name).unlink(missing_ok=True)
        _replace(folder / LISTING, _listing(list(files), "" if problems else _fingerprint(report)))
    except OSError as error:
        raise StoreError(f"{folder}: the report can't be written: {error.strerror or error}") from error
    return _found(folder, list(files), problems)


def find_report(report: Report, directory: str | Path) -> ReportFiles | None:
    """The files of an earlier report of the very same results, all there; None where it must be written.

    Drawing takes seconds, and a sweep that lacks nothing is often run again.
    """
    folder = Path(directory) / folder_name(report.sweep)
    names = _read_listing(folder)
    try:
        made_from = json.loads((folder / LISTING).read_text())["made_from"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if made_from != _fingerprint(report) or not all((folder / name).is_file() for name in names):
        return None
    return _found(folder, names)


def _found(folder: Path, names: Sequence[str], problems: Sequence[str] = ()) -> ReportFiles:
    return ReportFiles(
        folder,
        folder / "report.md",
        folder / "report.html",
        folder / "table.csv",
        tuple(folder / name for name in names if re.fullmatch(r"table_.+\.(md|tex|csv)", name)),
        tuple(folder / name for name in names if name.endswith((".png", ".svg"))),
        tuple(problems),
        folder / JOURNAL if JOURNAL in names else None,
    )


def _fingerprint(report: Report) -> str:
    """What a report is made from; a trial's record never changes, so that its key stands for all that is in it."""
    rows = [
        [r.key, r.label, r.tables, sorted(r.trials.items()), sorted(r.states.items()), r.marks, r.trailers]
        for r in report.rows
    ]
    chance = {name: [s.mean, s.std] for name, s in (report.chance or {}).items()}
    searches = [[s.table, plain(s.spec), plain(s.observations)] for s in report.searches]
    asked = [rows, plain(report.tables), chance, report.genres, report.curves, dict(report.facts), searches]
    return key_of([REPORT_VERSION, version("divita-orchestrator"), report.sweep, asked])


def folder_name(sweep: str) -> str:
    """A sweep's name as one folder: letters, digits, `.`, `_`, `-`, never a way out of the results.

    A name that had to be changed ends in digits of its own, so that no two sweeps share a folder.
    """
    cleaned = re.sub(r"[^A-Za-z0-9._-]+", "_", sweep).strip(".") or "sweep"
    return cleaned if cleaned == sweep else f"{cleaned}-{key_of(sweep)[:6]}"


def table_stems(tables: Sequence[ComparedTable]) -> list[str]:
    """File names of the tables without suffix: `table_6`, `table_demo`; two of one number have their names, too."""
    plain = [folder_name(t.table.number or t.table.name) for t in tables]
    full = [
        p if plain.count(p) == 1 else f"{p}_{folder_name(t.table.name)}" for p, t in zip(plain, tables, strict=True)
    ]
    return [f"table_{name}" for name in _distinct(full)]


@literal_text
def _draw(report: Report, tables: Sequence[ComparedTable], draw: Draw | None) -> tuple[list[RenderedPlot], list[str]]:
    """The plots as bytes, and what could not be drawn: a figure's fault must not cost the tables."""
    from orchestrator.reporting.gallery import list_parts
    from orchestrator.reporting.plots import render

    problems: list[str] = []
    rendered: list[RenderedPlot] = []
    for what, start in list_parts(report, tables) if draw is None else [("all", partial(draw, report, tables))]:
        for plot in _until_fault(what, start, problems):
            try:
                png, svg = render(plot.figure, "png"), render(plot.figure, "svg")
            except Exception as error:
                problems.append(f"{plot.name}: {_say(error)}")
            else:
                name = folder_name(plot.name)
                rendered.append(RenderedPlot(name, plot.title, plot.caption, plot.table, png, svg, plot.search))
    names = _distinct([p.name for p in rendered])
    return [replace(p, name=name) for p, name in zip(rendered, names, strict=True)], problems


def _page() -> Compose:
    from orchestrator.reporting.page import compose_page

    return compose_page


def _until_fault(what: str, start: Callable[[], Iterable[Plot]], problems: list[str]) -> Iterator[Plot]:
    """The plots of a part up to the first that fails in the drawing; those after it are lost with it."""
    try:
        for plot in start():
            yield plot
            what = f"those after {plot.name}"
    except Exception as error:
        problems.append(f"{what}: {_say(error)}")


def _say(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _make_journal(report: Report) -> bytes:
    from orchestrator.search.optuna_study import write_journal

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / JOURNAL
        ordered = {s.table: (s.spec, sorted(s.observations, key=lambda o: (o.number, o.key))) for s in report.searches}
        write_journal(path, ordered)
        return path.read_bytes()


def _write_tables(report: Report, tables: Sequence[ComparedTable]) -> Iterator[tuple[str, str]]:
    """(file name, text) of every form of every table."""
    sweep = re.sub(r"[^A-Za-z0-9-]+", "-", report.sweep)
    for stem, table in zip(table_stems(tables), tables, strict=True):
        label = f"tab:{sweep}-{re.sub('[^A-Za-z0-9-]+', '-', stem.removeprefix('table_'))}"
        yield f"{stem}.md", f"# {escape(_heading(table))}\n\n{_question(table)}{to_markdown(table, report.chance)}"
        yield f"{stem}.tex", to_latex(table, label, report.chance)
        yield f"{stem}.csv", to_csv(table, report.chance)


def _heading(table: ComparedTable) -> str:
    return f"Table {table.table.number}: {table.table.title}" if is_published(table) else table.table.title


def _question(table: ComparedTable) -> str:
    return f"{escape(table.table.question.strip())}\n\n" if table.table.question.strip() else ""


def _compose_markdown(report: Report, tables: Sequence[ComparedTable], plots: Sequence[RenderedPlot]) -> str:
    done, trials = sum(len(r.scores) for r in report.rows), sum(len(r.splits) for r in report.rows)
    cut = sum(len(r.cut_short) for r in report.rows)
    pruned = f", {cut} pruned" if cut else ""
    parts = [
        f"# {escape(report.sweep)}",
        "",
        f"{len(report.rows)} configs, {done} of {trials} trials done{pruned}. All of it on one page: "
        "[report.html](report.html); full-precision numbers of every config: [table.csv](table.csv).",
        "",
    ]
    placed = []
    for section in map(describe_search, view_searches(report)):
        mine = [p for p in plots if p.search == section.table]
        placed += mine
        parts += [f"## Search: {escape(section.title)}", "", *section_to_markdown(section)]
        parts += [line for plot in mine for line in _show_plot(plot, "###")]
    for stem, table in zip(table_stems(tables), tables, strict=True):
        mine = [p for p in plots if p.table == table.table.name and p not in placed]
        placed += mine
        parts += [f"## {escape(_heading(table))}", "", _question(table) + to_markdown(table, report.chance)]
        parts += [f"Files: [{stem}.md]({stem}.md), [{stem}.tex]({stem}.tex), [{stem}.csv]({stem}.csv).", ""]
        parts += [line for plot in mine for line in _show_plot(plot, "###")]
    rest = [p for p in plots if p not in placed]
    if rest:
        parts += ["## Plots over all tables", "", *(line for plot in rest for line in _show_plot(plot, "###"))]
    origin = [f"- {escape(name)}: {escape(value)}" for name, value in describe_origin(report).items()]
    return "\n".join([*parts, "## Made from", "", *origin, ""])


def _show_plot(plot: RenderedPlot, level: str) -> list[str]:
    title = escape(plot.title)
    caption = f"{escape(plot.caption)} [As SVG]({plot.name}.svg).".lstrip()
    return [f"{level} {title}", "", f"![{title}]({plot.name}.png)", "", caption, ""]


def _distinct(names: Sequence[str]) -> list[str]:
    """The names, a later one of the same name with a number."""
    taken: list[str] = []
    for name in names:
        number = 2
        unique = name
        while unique in taken:
            unique, number = f"{name}_{number}", number + 1
        taken.append(unique)
    return taken


def _listing(names: Sequence[str], made_from: str = "") -> bytes:
    return (json.dumps({"made_from": made_from, "files": list(dict.fromkeys(names))}, indent=1) + "\n").encode()


def _read_listing(folder: Path) -> list[str]:
    """Files of the earlier report; plain names only, so that a damaged listing removes nothing elsewhere."""
    try:
        names = json.loads((folder / LISTING).read_text())["files"]
        return [n for n in names if isinstance(n, str) and n == Path(n).name and n != LISTING]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _replace(path: Path, content: bytes) -> None:
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(content)
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise
