"""Which configs a figure with room for a few shows, and what they are called there. Pure, no drawing.

Configs are chosen by their validation parts, never by the test parts that the figure then shows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from orchestrator.errors import InputError
from orchestrator.reporting.aggregate import Row, distinct_labels, varied_axes
from orchestrator.reporting.axes import SPELT_OUT, describe

BY_VALIDATION = "chosen by mean validation uAP at the evaluated epoch, not by the test parts"
BY_TEST = "chosen by mean test uAP, since some configs have no validation history: read it as optimistic"


def validation_score(row: Row) -> float | None:
    """Mean validation uAP of the evaluated epochs over all splits; None where a split has none."""
    scores = [_evaluated(row.histories.get(s, ()), row.best_epochs.get(s)).get("val_uAP") for s in row.splits]
    known = [float(s) for s in scores if isinstance(s, int | float) and np.isfinite(s)]
    return float(np.mean(known)) if known and len(known) == len(row.splits) else None


def rank(rows: Sequence[Row]) -> tuple[list[Row], str]:
    """The complete rows, best first, and the words that say how they were ranked; ties keep their order."""
    complete = [r for r in rows if r.complete]
    scores = {r.key: validation_score(r) for r in complete}
    if any(s is None for s in scores.values()):
        return sorted(complete, key=lambda r: -r.metrics["uAP"].mean), BY_TEST
    return sorted(complete, key=lambda r: -(scores[r.key] or 0.0)), BY_VALIDATION


def find_config(rows: Sequence[Row], wanted: str) -> Row:
    """The complete row that a label or the first digits of a config key name. Raises InputError with what there is."""
    complete = [r for r in rows if r.complete]
    labels = dict(zip((r.key for r in rows), distinct_labels(rows), strict=True))
    found = [r for r in complete if labels[r.key] == wanted or (len(wanted) >= 4 and r.key.startswith(wanted))]
    if len(found) != 1:
        known = "; ".join(labels[r.key] for r in complete) or "none is complete"
        raise InputError(
            f"--curves: {wanted!r} is not the label or the first digits of the key of one config; there are {known}"
        )
    return found[0]


def best_each(rows: Sequence[Row], name: str, count: int | None = None) -> tuple[list[Row], str]:
    """The best config of each value of a setting, best first; where all share one value, the best configs."""
    ranked, how = rank(rows)
    first: dict[Hashable, Row] = {}
    for row in ranked:
        first.setdefault(row.settings.get(name), row)
    chosen = list(first.values()) if len(first) > 1 else ranked
    return chosen[:count], how


def short_labels(rows: Sequence[Row]) -> tuple[dict[str, str], str]:
    """Config key -> backbone and what is unlike most of the rows (`swin_3d, 4 fps`); and what most of them have.

    Labels stay distinct: where two would not be, they are those of the tables. What a search drew goes by its number.
    """
    listed = [r for r in rows if r.number is None]
    varied = [n for n in varied_axes(listed) if n != "backbone"]
    if "weights" in varied and not _varies_within(listed, "backbone", "weights"):
        varied.remove("weights")
    usual = {n: value for n in varied if (value := _majority(listed, n)) is not None}
    spelt = [n for n in varied_axes(rows) if n in SPELT_OUT and n != "backbone"]
    labels = {r.key: _label(r, varied, usual) if r.number is None else _label_drawn(r, spelt) for r in rows}
    shared = {label for label, count in Counter(labels.values()).items() if count > 1}
    long = dict(zip((r.key for r in rows), distinct_labels(rows), strict=True))
    distinct = {key: long[key] if label in shared else label for key, label in labels.items()}
    return distinct, ", ".join(describe(n, value) for n, value in usual.items())


def _label(row: Row, varied: Sequence[str], usual: Mapping[str, Any]) -> str:
    named = [n for n in varied if n in row.settings and (n not in usual or row.settings[n] != usual[n])]
    return ", ".join([str(row.settings.get("backbone", row.label)), *(describe(n, row.settings[n]) for n in named)])


def _label_drawn(row: Row, named: Sequence[str]) -> str:
    """`#17 swin_3d, gru`: the settings that explain themselves; the others are in the tables."""
    backbone = str(row.settings.get("backbone", row.label))
    return ", ".join([f"#{row.number} {backbone}", *(str(row.settings[n]) for n in named if n in row.settings)])


def _majority(rows: Sequence[Row], name: str) -> Any:
    values = Counter(r.settings[name] for r in rows if name in r.settings)
    (value, count), *_ = values.most_common(1)
    return value if 2 * count > values.total() else None


def _varies_within(rows: Sequence[Row], owner: str, name: str) -> bool:
    pairs = {(r.settings.get(owner), r.settings.get(name)) for r in rows}
    return len(pairs) > len({value for value, _ in pairs})


def _evaluated(history: Sequence[Mapping[str, Any]], epoch: int | None) -> Mapping[str, Any]:
    return next((e for e in history if e.get("epoch") == epoch), {})
