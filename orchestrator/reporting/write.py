"""Write a sweep's report: the table in two forms, the plots, and what they were made of."""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import StoreError
from orchestrator.reporting.aggregate import Row, Spread
from orchestrator.reporting.axes import Axis, find_axes
from orchestrator.reporting.plots import plot_axis, render
from orchestrator.reporting.tables import to_csv, to_markdown

LISTING = "report_files.json"
"""Names of the files that a report wrote, so that the next one removes those that it no longer makes."""


@dataclass(frozen=True)
class ReportFiles:
    """Where a report lies; `plots` has a PNG and an SVG an axis."""

    directory: Path
    markdown: Path
    csv: Path
    plots: tuple[Path, ...]


def write_report(
    sweep: str,
    rows: Sequence[Row],
    directory: str | Path,
    *,
    chance: Mapping[str, Spread] | None = None,
    question: str | None = None,
) -> ReportFiles:
    """Write `report.md`, `table.csv` and a plot a varied axis into `directory`/<sweep>/.

    Each file is replaced whole. Plots of an earlier report of this sweep whose axis is gone are removed; other
    files in the folder stay. Raises StoreError when the folder can't be written.
    """
    folder = Path(directory) / folder_name(sweep)
    axes = find_axes(rows)
    files: dict[str, bytes] = {"table.csv": to_csv(rows, chance).encode()}
    plots: dict[str, bytes] = {}
    for axis in axes:
        figure = plot_axis(axis, rows, chance, sweep=sweep)
        plots |= {f"{_plot_name(axis)}.{kind}": render(figure, kind) for kind in ("png", "svg")}
    files["report.md"] = _compose(sweep, rows, axes, chance, question).encode()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        earlier = _read_listing(folder)
        # The listing first names old and new files, so that a report cut short leaves nothing unaccounted for.
        _replace(folder / LISTING, _listing([*earlier, *files, *plots]))
        for name, content in (plots | files).items():
            _replace(folder / name, content)
        for name in set(earlier) - set(files) - set(plots):
            (folder / name).unlink(missing_ok=True)
        _replace(folder / LISTING, _listing([*files, *plots]))
    except OSError as error:
        raise StoreError(f"{folder}: the report can't be written: {error.strerror or error}") from error
    return ReportFiles(folder, folder / "report.md", folder / "table.csv", tuple(folder / name for name in plots))


def folder_name(sweep: str) -> str:
    """The sweep's name as one folder: letters, digits, `.`, `_`, `-`, never a way out of the results."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", sweep).strip(".") or "sweep"


def _compose(
    sweep: str, rows: Sequence[Row], axes: Sequence[Axis], chance: Mapping[str, Spread] | None, question: str | None
) -> str:
    done = sum(len(r.scores) for r in rows)
    parts = [f"# {sweep}", ""]
    if question:
        parts += [question.strip(), ""]
    trials = sum(len(r.splits) for r in rows)
    parts += [
        f"{len(rows)} configs, {done} of {trials} trials done. Full-precision numbers: [table.csv](table.csv).",
        "",
    ]
    parts += [to_markdown(rows, chance)]
    if axes:
        parts += ["## Plots", ""]
    for axis in axes:
        name = _plot_name(axis)
        parts += [f"![uAP by {axis.name}]({name}.png)", "", f"[{name}.svg]({name}.svg)", ""]
    return "\n".join([*parts, *_provenance(rows)])


def _provenance(rows: Sequence[Row]) -> list[str]:
    """Trailers, weights, code and versions behind the numbers, as far as the records name them."""
    weights = dict.fromkeys(str(r.settings.get("weights", "?")) for r in rows)
    counts = sorted({r.trailers for r in rows if r.trailers is not None})
    commits = dict.fromkeys(c for r in rows for c in r.commits)
    names = dict.fromkeys(n for r in rows for n in r.versions)
    versions = [f"{n} {' / '.join(dict.fromkeys(v for r in rows for v in r.versions.get(n, ())))}" for n in names]
    seconds = sum(r.seconds for r in rows)
    facts = {
        "Trailers": ", ".join(map(str, counts)),
        "Weights": ", ".join(f"`{w}`" for w in weights),
        "Commit": ", ".join(f"`{c}`" for c in commits) or "not known",
        "Versions": ", ".join(versions),
        "Training": f"{seconds:.0f} s in all trials",
    }
    return ["## Made from", "", *(f"- {name}: {value}" for name, value in facts.items() if value), ""]


def _plot_name(axis: Axis) -> str:
    return f"uAP_by_{folder_name(axis.name)}"


def _listing(names: Sequence[str]) -> bytes:
    return (json.dumps({"files": sorted(set(names))}, indent=1) + "\n").encode()


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
