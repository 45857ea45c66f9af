"""A table of a report for a paper: LaTeX with booktabs, below each config ours, the published and the difference."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from orchestrator.reporting.aggregate import METRICS, Row, Spread, best_means, pruned_last
from orchestrator.reporting.comparison import is_published, size_differences
from orchestrator.reporting.inputs import ComparedRow, ComparedTable, PublishedResult
from orchestrator.reporting.notes import NOT_COMPARABLE
from orchestrator.reporting.side_by_side import format_gap, rows_of
from orchestrator.reporting.tables import CHANCE_LABEL, format_progress, format_spread, lay_out

SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "#": r"\#", "$": r"\$", "%": r"\%", "&": r"\&", "_": r"\_",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': "''", "±": r"$\pm$", "×": r"$\times$", "–": "--", "…": r"\ldots{}",
    "²": r"\textsuperscript{2}", "Δ": r"$\Delta$", "\n": " ",
}  # fmt: skip


def to_latex(table: ComparedTable, label: str, chance: Mapping[str, Spread] | None = None) -> str:
    """A `table` environment for a document with `\\usepackage{booktabs}`; `label` is what `\\ref` calls it.

    The best of ours is bold, marks are superscripts of the config's name, and their meaning stands below the table.
    """
    published = is_published(table)
    columns, heading, lines = _compared_lines(table, chance) if published else _own_lines(table, chance)
    title = table.table.title + (f", beside Table {table.table.number} of the paper" if published else "")
    words = [escape(" ".join([f"{title}.", table.table.question]).strip())]
    if any(note.startswith(NOT_COMPARABLE) for note in table.notes):
        words.append(rf"\textbf{{{escape(NOT_COMPARABLE)}.}}")
    return "\n".join(
        [
            r"% needs \usepackage{booktabs}",
            r"\begin{table}",
            r"  \centering",
            rf"  \caption{{{' '.join(words)}}}",
            rf"  \label{{{label}}}",
            # So that the table fits the text of an article.
            *((r"  \scriptsize", r"  \setlength{\tabcolsep}{2pt}") if _is_sized(table) else (r"  \footnotesize",)),
            rf"  \begin{{tabular}}{{@{{}}{columns}@{{}}}}",
            r"    \toprule",
            f"    {heading}",
            r"    \midrule",
            *(f"    {line}" for line in lines),
            r"    \bottomrule",
            r"  \end{tabular}",
            r"  \par\medskip",
            r"  \begin{minipage}{\linewidth}",
            r"    \raggedright",
            *(f"    {_note(note)}" for note in table.notes),
            r"  \end{minipage}",
            r"\end{table}",
            "",
        ]
    )


def escape(text: str) -> str:
    """Text as LaTeX prints it: special characters escaped, ± and a minus before a digit in math."""
    escaped = "".join(SPECIAL.get(c, c) for c in text)
    return re.sub(r"(?<![\w-])-(?=\d)", "$-$", escaped)


def _compared_lines(table: ComparedTable, chance: Mapping[str, Spread] | None) -> tuple[str, str, list[str]]:
    sized = _is_sized(table)
    sizes = ["params (M)", "MACs (G)"] if sized else []
    width = 1 + len(METRICS) + len(sizes)
    best = best_means(rows_of(table))
    lines: list[str] = []
    for c in table.rows:
        lines += [r"\addlinespace"] if lines else []
        lines.append(rf"\multicolumn{{{width}}}{{l}}{{{_marked(c.label, c.row)}}} \\")
        lines += [_join(rf"\quad {escape(name)}", cells) for name, cells in _config_lines(c, best, sized)]
    if chance:
        lines.append(r"\midrule")
        level = [escape(format_spread(chance[m])) for m in METRICS]
        lines.append(_join(CHANCE_LABEL, [*level, *[""] * len(sizes)]))
    return "l" + "r" * (width - 1), _join("config", [*METRICS, *sizes]), lines


def _is_sized(table: ComparedTable) -> bool:
    return any(c.paper and (c.paper.parameters or c.paper.multiply_adds) for c in table.rows)


def _config_lines(c: ComparedRow, best: Mapping[str, float], sized: bool) -> list[tuple[str, list[str]]]:
    """(whose numbers, cells) for each line of a config."""
    lines: list[tuple[str, list[str]]] = []
    if c.row is not None:
        if c.row.complete:
            cells = [_bold(c.row.metrics[m], best[m]) for m in METRICS]
        else:
            cells = [rf"\multicolumn{{{len(METRICS)}}}{{c}}{{{escape(format_progress(c.row))}}}"]
        if sized:
            cells += [_size(c.row.parameters, 1e6), _size(c.row.multiply_adds, 1e9)]
        lines.append(("ours", cells))
    for name, result in (("paper", c.paper), ("authors' code", c.code)):
        if result is not None:
            lines.append((name, _published_cells(result, sized)))
    if c.row is not None and c.row.complete and c.paper is not None:
        cells = [escape(format_gap(c, m)) for m in METRICS]
        if sized:
            cells += ["" if g is None else escape(f"{round(100 * g, 1) + 0.0:+.1f}%") for g in size_differences(c)]
        lines.append(("difference (sd)", cells))
    return lines


def _published_cells(result: PublishedResult, sized: bool) -> list[str]:
    cells = [escape(format_spread(result.metrics[m])) for m in METRICS]
    sizes = (result.parameters, result.multiply_adds) if sized else ()
    return [*cells, *("" if size is None else f"{size:.1f}" for size in sizes)]


def _own_lines(table: ComparedTable, chance: Mapping[str, Spread] | None) -> tuple[str, str, list[str]]:
    """The columns of `tables.lay_out`, with the marks at the first."""
    rows = pruned_last(rows_of(table))
    shown = lay_out(rows, chance)
    kept = [i for i, name in enumerate(shown.columns) if name != "marks"]
    lines = []
    for place, cells in enumerate(shown.lines):
        row = rows[place] if place < len(rows) else None
        if row is None:
            lines.append(r"\midrule")
        texts = [_bold_text(cells[i].text) if cells[i].best else escape(cells[i].text) for i in kept]
        lines.append(_join(_marked(cells[0].text, row), texts[1:]))
    columns = "".join("r" if i in shown.metric_columns else "l" for i in kept)
    heading = [escape(shown.columns[i]) for i in kept]
    return columns, _join(heading[0], heading[1:]), lines


def _join(name: str, cells: Sequence[str]) -> str:
    return " & ".join([name, *cells]) + r" \\"


def _marked(label: str, row: Row | None) -> str:
    marks = rf"\textsuperscript{{{','.join(row.marks)}}}" if row is not None and row.marks else ""
    return escape(label) + marks


def _bold(spread: Spread, best: float) -> str:
    text = format_spread(spread)
    return _bold_text(text) if spread.mean == best else escape(text)


def _bold_text(text: str) -> str:
    """The mean in bold, its deviation as in the other cells."""
    mean, *deviation = text.split(" ")
    return " ".join([rf"\textbf{{{escape(mean)}}}", *map(escape, deviation)])


def _size(number: int | None, unit: float) -> str:
    return "" if number is None else f"{number / unit:.1f}"


def _note(note: str) -> str:
    """A mark at the start of a note looks as it does in the table."""
    if note.startswith(NOT_COMPARABLE):
        return rf"\textbf{{{escape(NOT_COMPARABLE)}}}{escape(note.removeprefix(NOT_COMPARABLE))}"
    found = re.fullmatch(r"([A-Z])(?=[ ,])(,? )(.*)", note, re.DOTALL)
    return rf"\textsuperscript{{{found[1]}}}~{escape(found[3])}" if found else escape(note)
