"""The figures by which a search judges a config while it trains; no torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

LOSS = "val_loss"


def milestone_means(
    histories: Iterable[Sequence[Mapping[str, Any]]], metric: str, milestones: Iterable[int]
) -> dict[int, float]:
    """By milestone (an epoch, from 1): the mean over splits of `metric` (`val_loss`, or `uAP` for `val_uAP`).

    `histories` are those of all splits, as in their records; none of them may have failed. A split that stopped early
    counts with its last epoch, as in `LockstepRecord.means`. Milestones that no split has reached are left out.
    """
    rows = [list(history) for history in histories]
    name = metric if metric == LOSS else f"val_{metric}"
    reached = max(map(len, rows), default=0)
    # (history[:m])[-1] is the epoch m, or the last one before it.
    return {m: fmean(history[:m][-1][name] for history in rows) for m in sorted(milestones) if m <= reached}
