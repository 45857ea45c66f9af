"""What a report was made from: data, weights, code, versions and time, as far as facts and records name them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from orchestrator.reporting.aggregate import Row, short_weights
from orchestrator.reporting.inputs import Report
from orchestrator.specs import FRAMES


def describe_origin(report: Report) -> dict[str, str]:
    """Heading -> what is to be said under it, in plain text; `Report.facts` come first and win over what rows say."""
    rows = report.rows
    counts = sorted({r.trailers for r in rows if r.trailers is not None})
    names = dict.fromkeys(n for r in rows for n in r.versions)
    versions = [f"{n} {' / '.join(dict.fromkeys(v for r in rows for v in r.versions.get(n, ())))}" for n in names]
    commits = dict.fromkeys(c for r in rows for c in r.commits)
    found = {
        "Trailers": ", ".join(f"{n:,}" for n in counts),
        "Genres": ", ".join(report.genres),
        "Weights": "; ".join(f"{b}: {w}" for b, w in _weights(rows).items()),
        "Commit": ", ".join(c.replace("+", " with uncommitted changes") for c in commits) or "not known",
        "Versions": ", ".join(versions),
        "Training": f"{_duration(sum(r.seconds for r in rows))} in {sum(map(_count_trained, rows))} trials",
    }
    more = {name: value for name, value in found.items() if name not in report.facts}
    return {name: value for name, value in (dict(report.facts) | more).items() if value}


def _weights(rows: Sequence[Row]) -> dict[str, str]:
    """Backbone -> what it started from, paths cut to file names; a head on frames goes by its own name."""
    found: dict[str, dict[str, None]] = {}
    for row in rows:
        backbones = str(row.settings.get("backbone", "?")).split("+")
        parts = re.split(r"\+(?=/|pretrained|random)", str(row.settings.get("weights", "?")))
        if len(parts) == 1:
            parts *= len(backbones)
        elif len(parts) != len(backbones):
            backbones, parts = ["+".join(backbones)], ["+".join(parts)]
        for backbone, part in zip(backbones, parts, strict=True):
            name = str(row.settings.get("aggregator")) if backbone == FRAMES else backbone
            found.setdefault(name, {})[short_weights(part)] = None
    return {backbone: ", ".join(weights) for backbone, weights in found.items()}


def _count_trained(row: Row) -> int:
    """Trials with a result, and those that a search cut short."""
    return len(row.scores) + len(row.cut_short)


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
