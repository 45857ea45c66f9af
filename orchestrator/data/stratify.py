"""Stratified 70/10/20 splits by second-order iterative stratification, as Trailers12k was split.

Szymański & Kajdanowicz (2017) as implemented by scikit-multilearn. Here it is made reproducible, and held to what
training and its metrics need: no empty part, and positives of every genre in the train and in the test part.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from orchestrator.data.manifest import PARTS, TEST, TRAIN, VALIDATION
from orchestrator.errors import InputError

SHARES = np.array([0.7, 0.1, 0.2])
"""Of the trailers in the train, validation and test part."""

FEWEST = 5
"""Trailers below which a fifth rounds to none."""

ENOUGH = 100
"""Trailers that are tried for a move or a swap, lest large sets take long."""

Labels = npt.NDArray[np.uint8]
Parts = npt.NDArray[np.int8]


def stratify(labels: Labels, splits: int = 3, seed: int = 0, genres: Sequence[str] | None = None) -> Parts:
    """(trailers, genres) of 0/1 -> (trailers, splits) of part codes; no two splits are the same.

    Of several draws a split, the one that keeps sizes and genres' shares best is taken; large sets, where a draw
    takes a second, get one. InputError names the genres (`genres`, in errors only) for which there is no split.
    """
    names = genres or [f"genre {g}" for g in range(labels.shape[1])]
    if len(labels) < FEWEST:
        raise InputError(f"{len(labels)} trailers can't be split into 70/10/20: at least {FEWEST} are needed")
    positives = labels.sum(axis=0, dtype=np.int64)
    if rare := np.flatnonzero(positives < 2).tolist():
        needed = "at least 2 are needed, one for train and one for test; add some or remove the column"
        raise InputError([f"{names[g]}: {positives[g]} trailer(s) have this genre: {needed}" for g in rare])
    draws = max(1, min(20, 10_000 // len(labels)))
    chosen: list[Parts] = []
    for split in range(splits):
        drawn = [_mend(labels, _draw(labels, np.random.default_rng([seed, split, d]))) for d in range(draws)]
        fresh = [parts for parts in drawn if not any((parts == other).all() for other in chosen)]
        if not fresh:
            raise InputError(f"{len(labels)} trailers are too few for {splits} different splits")
        best = min(fresh, key=lambda parts: _faults(labels, parts))
        if bare := _bare_genres(labels, best):
            needed = "could not be spread over train and test together with those of the other genres; add some"
            raise InputError([f"{names[g]}: its {positives[g]} positives {needed}" for g in bare])
        chosen.append(best)
    return np.stack(chosen, axis=1)


def _draw(labels: Labels, rng: np.random.Generator) -> Parts:
    """One split by the library. It breaks ties by row order and numpy's global generator: both come from `rng`."""
    from skmultilearn.model_selection import IterativeStratification

    def cut(rows: npt.NDArray[np.intp], share: float) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        folds = IterativeStratification(n_splits=2, order=2, sample_distribution_per_fold=[share, 1 - share])
        rest, first = next(folds.split(np.zeros((len(rows), 1)), labels[rows].astype(np.int64)))
        return rows[rest], rows[first]

    parts = np.full(len(labels), TRAIN, np.int8)
    state = np.random.get_state()
    try:
        np.random.seed(int(rng.integers(2**32)))  # the library's own random_state raises
        rest, test = cut(rng.permutation(len(labels)), float(SHARES[TEST]))
        _, validation = cut(rest, float(SHARES[VALIDATION] / (1 - SHARES[TEST])))
    finally:
        np.random.set_state(state)
    parts[test], parts[validation] = TEST, VALIDATION
    return parts


def deviations(labels: Labels, parts: Parts) -> npt.NDArray[np.float64]:
    """(3, genres) share of the part's trailers minus share of all, in percentage points; no part may be empty."""
    shares = np.stack([labels[parts == part].mean(axis=0) for part in range(len(PARTS))])
    return np.asarray(100 * (shares - labels.mean(axis=0)))


def _bare_genres(labels: Labels, parts: Parts) -> list[int]:
    """Genres without positives in the train or in the test part."""
    found = [labels[parts == part].any(axis=0) for part in (TRAIN, TEST)]
    return np.flatnonzero(~(found[0] & found[1])).tolist()


def _faults(labels: Labels, parts: Parts) -> tuple[int, int, float, float]:
    """What a split should have little of, in this order: empty parts, bare genres, trailers too many or too few in
    a part (1, or 1% of all, is near enough), and the largest deviation of a genre's share."""
    sizes = np.bincount(parts, minlength=len(PARTS))
    empty = int((sizes == 0).sum())
    off = float(np.abs(sizes - len(parts) * SHARES).max())
    worst = 100.0 if empty else float(np.abs(deviations(labels, parts)).max())
    return empty, len(_bare_genres(labels, parts)), max(0.0, off - max(1.0, len(parts) / 100)), worst


def _mend(labels: Labels, parts: Parts) -> Parts:
    """Moves or swaps trailers as long as that leaves fewer empty parts or bare genres: small sets need it."""
    while True:
        before = _faults(labels, parts)[:2]
        if before == (0, 0):
            return parts
        better = min(_neighbours(labels, parts), key=lambda trial: _faults(labels, trial), default=parts)
        if _faults(labels, better)[:2] >= before:
            return parts
        parts = better


def _neighbours(labels: Labels, parts: Parts) -> Iterator[Parts]:
    """Splits one move or swap away that fill an empty part or bring a bare genre where it is missing."""
    wanted = [(part, np.flatnonzero(parts == TRAIN)) for part in (VALIDATION, TEST) if not (parts == part).any()]
    for g in _bare_genres(labels, parts):
        for part in (TRAIN, TEST):
            if not labels[parts == part, g].any():
                wanted.append((part, np.flatnonzero((labels[:, g] == 1) & (parts != part))))
    for part, rows in wanted:
        for row in rows[:ENOUGH]:
            for back in (None, *np.flatnonzero(parts == part)[:ENOUGH]):
                trial = parts.copy()
                if back is not None:
                    trial[back] = parts[row]
                trial[row] = part
                yield trial
