"""Our rows beside the published ones: which belongs to which, and what has to be said about it. Pure, no text forms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestrator.reporting.aggregate import Row, distinct_labels, pruned_last
from orchestrator.reporting.axes import describe
from orchestrator.reporting.inputs import ComparedRow, ComparedTable, PublishedResult, Report
from orchestrator.reporting.notes import explain_data, explain_rows, explain_settings
from orchestrator.reporting.published import SETTINGS, load_published
from orchestrator.specs import GRID_FPS
from orchestrator.store.sweeps import SweepTable

COUNTED = {"frame_rate": GRID_FPS, "clips_per_snippet": 30}
"""What the published multiply-adds are of, beside clips of 24 frames; others can't be compared with them."""

CLOSE = 0.05
"""Relative difference in parameters or multiply-adds that needs no explanation."""

DIFFERENCE = "difference = ours - paper, in points; sd = that in the paper's standard deviations over its test sets."


@dataclass(frozen=True)
class _Slot:
    """A published row, as the paper has it, the authors' code, or both."""

    paper: PublishedResult | None
    code: PublishedResult | None

    @property
    def known(self) -> PublishedResult:
        known = self.paper or self.code
        assert known is not None
        return known

    def fits(self, row: Row) -> bool:
        """Settings that were not published fit any."""
        return all(row.settings.get(name) == value for name, value in self.known.settings.items())


def compare(
    report: Report,
    published: Sequence[PublishedResult] | None = None,
    counting: Mapping[str, str] | None = None,
) -> tuple[ComparedTable, ...]:
    """Every table of the sweep, beside the published one of its number where there is one.

    The published rows come first and in their order, those that the sweep lacks without a row of ours; then our other
    rows, those that a search pruned last. A row of ours stands once in a table, and rows that stand in no table of the
    sweep make one of their own, so that none is lost. `published` is the shipped file's by default, `counting`
    `backbones.cost`'s notes on how the multiply-adds of a backbone were counted.
    """
    tables = [(table, tuple(pruned_last(report.rows_of(table)))) for table in report.tables]
    placed = {row.key for _, rows in tables for row in rows}
    loose = tuple(pruned_last([row for row in report.rows if row.key not in placed]))
    if loose or not tables:
        title = "Other configs" if tables else report.sweep
        tables.append((SweepTable("other" if tables else report.sweep, title, "", None, ()), loose))
    if published is None and any(table.number for table, _ in tables):
        published = load_published()
    made = []
    for table, rows in tables:
        slots = _slots([p for p in published or () if table.number and p.table == table.number])
        made.append(_beside(report, table, rows, slots, counting) if slots else _alone(table, rows, report))
    return tuple(made)


def is_published(table: ComparedTable) -> bool:
    """Whether a published table answers this one."""
    return any(row.paper or row.code for row in table.rows)


def size_differences(row: ComparedRow) -> tuple[float | None, float | None]:
    """(ours - paper) / paper in parameters and in multiply-adds; None where either is lacking or of other snippets."""
    if row.row is None or row.paper is None:
        return None, None
    counted = all(row.row.settings.get(name) == value for name, value in COUNTED.items())
    return (
        _relative(row.row.parameters, row.paper.parameters, 1e6),
        _relative(row.row.multiply_adds, row.paper.multiply_adds, 1e9) if counted else None,
    )


def _slots(published: Sequence[PublishedResult]) -> list[_Slot]:
    """The published rows in the paper's order; what only the authors' code has comes last."""
    found: dict[tuple[tuple[str, str | int], ...], dict[str, PublishedResult]] = {}
    for result in sorted(published, key=lambda p: p.source != "paper"):
        found.setdefault(tuple(sorted(result.settings.items())), {})[result.source] = result
    return [_Slot(sources.get("paper"), sources.get("authors-code")) for sources in found.values()]


def _alone(table: SweepTable, rows: Sequence[Row], report: Report) -> ComparedTable:
    labels = distinct_labels(rows)
    compared = tuple(ComparedRow(label, row, None, None) for label, row in zip(labels, rows, strict=True))
    return ComparedTable(table, compared, tuple(explain_rows(rows, labels, report.chance)))


def _beside(
    report: Report,
    table: SweepTable,
    rows: Sequence[Row],
    slots: Sequence[_Slot],
    counting: Mapping[str, str] | None,
) -> ComparedTable:
    compared: list[ComparedRow] = []
    left = list(rows)
    for slot in slots:
        ours = [row for row in left if slot.fits(row)]
        left = [row for row in left if not slot.fits(row)]
        labels = _labels(slot.known.label, ours)
        compared += [ComparedRow(t, row, slot.paper, slot.code) for t, row in zip(labels, ours, strict=True)]
        if not ours:
            compared.append(ComparedRow(slot.known.label, None, slot.paper, slot.code))
    matched = [c for c in compared if c.row is not None]
    more = _own_labels(left, rows, slots)
    compared += [ComparedRow(t, row, None, None) for t, row in zip(more, left, strict=True)]
    return ComparedTable(table, tuple(compared), tuple(_notes(report, table, compared, matched, slots, counting)))


def _labels(published: str, rows: Sequence[Row]) -> list[str]:
    """The published row's name; where several rows of ours are it, with what tells them apart."""
    if len(rows) < 2:
        return [published] * len(rows)
    if len({row.label for row in rows}) > 1:
        return [f"{published}: {label}" for label in distinct_labels(rows)]
    return [published + label.removeprefix(row.label) for label, row in zip(distinct_labels(rows), rows, strict=True)]


def _own_labels(left: Sequence[Row], rows: Sequence[Row], slots: Sequence[_Slot]) -> list[str]:
    """Rows that were not published, named as the published ones are: by what the table varies, where that is enough."""
    settings = [row.settings for row in rows] + [slot.known.settings for slot in slots if len(slot.known.settings) > 1]
    varied = [n for n in SETTINGS if len({s.get(n) for s in settings}) > 1]
    labels = [" ".join(describe(n, row.settings[n]) for n in varied if n in row.settings) for row in left]
    taken = [*labels, *(slot.known.label for slot in slots)]
    return labels if all(labels) and len(set(taken)) == len(taken) else distinct_labels(left)


def _notes(
    report: Report,
    table: SweepTable,
    compared: Sequence[ComparedRow],
    matched: Sequence[ComparedRow],
    slots: Sequence[_Slot],
    counting: Mapping[str, str] | None,
) -> list[str]:
    ours = [(c.row, c.label) for c in compared if c.row is not None]
    rows, labels = [row for row, _ in ours], [label for _, label in ours]
    about = explain_data(report, rows)
    notes = [about] if about else []
    notes += explain_rows(rows, labels, report.chance)
    notes.append(DIFFERENCE)
    if any("R" in c.row.marks for c in matched if c.row):
        notes.append("Differences of rows marked R say nothing about the backbone: the paper's is pretrained.")
    lacking = sum(c.row is None for c in compared)
    if lacking:
        notes.append(f"Published rows that are not in this sweep: {lacking} of {len(slots)}.")
    if more := len(compared) - len(matched) - lacking:
        notes.append(f"Rows of ours that are not in the published table: {more} of {len(rows)}.")
    for c in matched:
        known = c.paper or c.code
        if c.row and known and any(name not in known.settings for name in SETTINGS):
            notes.append(f"{c.label}: ours is {c.row.label}; not all of that was published.")
    notes += explain_settings([c.row for c in matched if c.row], [c.label for c in matched])
    notes += _size_notes(matched, counting)
    papers = f"Table {table.number} of the paper (doi:10.1016/j.ipm.2023.103343)"
    code = " and the table in the authors' public code" if any(slot.code for slot in slots) else ""
    return [*notes, f"Published: {papers}{code}."]


def _size_notes(matched: Sequence[ComparedRow], counting: Mapping[str, str] | None) -> list[str]:
    """Where parameters or multiply-adds are further off than CLOSE: how far, and how they were counted."""
    notes = []
    if any(c.paper and c.paper.multiply_adds for c in matched):
        notes.append("The paper's FLOPs are multiply-adds of a snippet of 30 clips of 24 frames; so are ours.")
    explained: dict[str, None] = {}
    for c in matched:
        parts = zip(("parameters", "multiply-adds"), size_differences(c), strict=True)
        far = [f"{100 * gap:+.1f}% {what}" for what, gap in parts if gap is not None and abs(gap) > CLOSE]
        if far and c.row is not None:
            if counting is None:
                from orchestrator.backbones.counting import COUNTING_NOTES

                counting = COUNTING_NOTES
            known = dict.fromkeys(b for b in str(c.row.settings["backbone"]).split("+") if b in counting)
            new = " ".join(counting[b] for b in known if b not in explained)
            explained |= known
            why = new or ("as said above." if known else "the reason is not known.")
            notes.append(f"{c.label}, {' and '.join(far)}; {why}")
    return notes


def _relative(ours: int | None, paper: float | None, unit: float) -> float | None:
    return None if ours is None or not paper else ours / unit / paper - 1
