"""What is said below a table: what the numbers are, what the marks mean, and what can't be compared and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.reporting.aggregate import MARKS, Row, Spread, setting_names
from orchestrator.reporting.axes import describe
from orchestrator.reporting.inputs import Report
from orchestrator.specs import AGGREGATORS, TrainSpec, plain

NOT_COMPARABLE = "Not comparable with the published numbers"
"""How the note begins that says so; forms of a table set it off."""

TRAILERS = 12_000
SPLITS = 3
GENRES = ("action", "adventure", "comedy", "crime", "drama", "fantasy", "horror", "romance", "sci-fi", "thriller")
"""Trailers12k (FIDELITY, Data)."""

NEARLY_ALL = 0.99
"""Share of the trailers from which on a result is still one on Trailers12k, with those that failed left out."""


def explain_rows(rows: Sequence[Row], labels: Sequence[str], chance: Mapping[str, Spread] | None) -> list[str]:
    """What the numbers are, what each mark means, and why each incomplete row is; pruned ones say it themselves."""
    counts = sorted({len(r.splits) for r in rows})
    notes = []
    if rows:
        several = f"Mean ± sample standard deviation over {' or '.join(map(str, counts))} test sets"
        single = "One test set, so no deviation"
        notes.append(f"{single if counts == [1] else several}, in percent; best of each metric in bold.")
    if chance:
        notes.append("chance: the label prevalence, about what a predictor that knows nothing reaches.")
    for mark, meaning in MARKS.items():
        count = sum(mark in r.marks for r in rows)
        share = "every row" if count == len(rows) else f"{count} of {len(rows)} rows"
        if count:
            notes.append(f"{mark} ({share}): {meaning}.")
    return notes + [f"I, {t}: {r.progress}." for r, t in zip(rows, labels, strict=True) if "I" in r.marks]


def data_differs(report: Report, rows: Sequence[Row]) -> list[str]:
    """Why rows can't be compared with results on Trailers12k: what their data is instead. Empty where they can.

    Who is in which split isn't known here; only that there are three.
    """
    counts = sorted({r.trailers for r in rows if r.trailers is not None})
    synthetic = any("S" in r.marks for r in rows)
    number = _range(counts)
    reasons = []
    if synthetic:
        reasons.append(f"{number} synthetic trailers, not Trailers12k".strip())
    elif counts and not _nearly_all(counts):
        reasons.append(f"{number} trailers, not Trailers12k's {TRAILERS:,}")
    genres = _genres(report, rows)
    if genres and {g.lower() for g in genres} != set(GENRES):
        reasons.append(f"{len(genres)} genres ({', '.join(genres)}), not Trailers12k's ten")
    splits = sorted({len(r.splits) for r in rows})
    if splits and splits != [SPLITS]:
        reasons.append(f"{_range(splits)} {'split' if splits == [1] else 'splits'}, not three")
    return reasons


def explain_data(report: Report, rows: Sequence[Row]) -> str | None:
    """The note on whether rows and published numbers are of the same data; None where that isn't known yet."""
    reasons = data_differs(report, rows)
    if reasons:
        return f"{NOT_COMPARABLE}: {'; '.join(reasons)}. The differences say nothing about how well the study is met."
    counts = sorted({r.trailers for r in rows if r.trailers is not None})
    if not counts or not _genres(report, rows):
        return None
    some = "" if counts == [TRAILERS] else f" on {_range(counts)} of them"
    return (
        f"Taken for Trailers12k: its {TRAILERS:,} trailers{some}, ten genres, three splits. "
        "Which trailers are in which split isn't checked."
    )


def explain_settings(rows: Sequence[Row], labels: Sequence[str]) -> list[str]:
    """Where a row beside a published one was trained or built otherwise than the study's."""
    found: dict[str, list[str]] = {}
    for row, label in zip(rows, labels, strict=True):
        usual = study_settings(row)
        other = [n for n in setting_names([row]) if n in usual and row.settings[n] != usual[n]]
        if other:
            found.setdefault(", ".join(describe(n, row.settings[n]) for n in other), []).append(label)
    return [
        f"Not the study's settings: {what} ({'every row' if len(names) == len(rows) else '; '.join(names)})."
        for what, names in found.items()
    ]


def study_settings(row: Row) -> dict[str, Any]:
    """The study's settings of a row's head and training; the seed is nobody's."""
    spec = AGGREGATORS.get(str(row.settings.get("aggregator")))
    head = {f"aggregator.{k}": v for k, v in plain(spec()).items() if k != "name"} if spec else {}
    return head | {f"training.{k}": v for k, v in plain(TrainSpec()).items() if k != "seed"}


def _genres(report: Report, rows: Sequence[Row]) -> tuple[str, ...]:
    return report.genres or tuple(dict.fromkeys(g for r in rows for g in r.per_genre))


def _nearly_all(counts: Sequence[int]) -> bool:
    return all(NEARLY_ALL * TRAILERS <= n <= TRAILERS for n in counts)


def _range(counts: Sequence[int]) -> str:
    if not counts:
        return ""
    return f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}"
