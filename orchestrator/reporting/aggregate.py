"""From trial records to the rows of a results table: one row a config, mean and spread over its splits.

A mean over fewer splits than the sweep has is never formed: such a row carries its states instead of numbers.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from orchestrator.data.origin import PUBLISHED

if TYPE_CHECKING:
    from orchestrator.specs import Config
    from orchestrator.store.ledger import TrialRecord

METRICS = ("uAP", "mAP", "wAP", "sAP")
"""Areas under the precision-recall curve, in percent: pooled, genre mean, genre weighted, trailer mean."""

MARKS = {
    "R": "random weights: a backbone was not pretrained, so the numbers say nothing about it",
    "S": "synthetic trailers: made by a program, not films",
    "P": "published representations: vectors that Trailers12k's authors made, not computed here",
    "M": "mixed vectors: those of some trailers were computed here, those of others imported",
    "I": "incomplete: not every split has a result, so no mean is shown",
    "C": "cut short: pruned by the search, so it has no test result",
    "F": "fewer trailers than the manifest lists: the others failed, see divita status",
}
"""Letter of a mark -> what it means; the footnotes of every table."""

COUNTS_MORE = {"failed": 0, "pruned": 1, "done": 2}
"""Of several records of a trial the one with the highest counts: what was trained to its end stays true."""


@dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation (ddof=1) of `n` values; one value has no deviation (`std` None)."""

    mean: float
    std: float | None
    n: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Raises ValueError when there is no value or one that is not finite: a gap is never averaged away."""
        numbers = np.asarray(values, dtype=np.float64)
        if numbers.size == 0 or not np.isfinite(numbers).all():
            raise ValueError(f"mean of finite values needs at least one and no NaN, but got {list(values)}")
        return cls(float(numbers.mean()), float(numbers.std(ddof=1)) if numbers.size > 1 else None, int(numbers.size))


@dataclass(frozen=True)
class SweepConfig:
    """A config as its sweep expects it: `trials` maps each split to its trial key, empty where it has none yet.

    `search` is the identity of the search that drew it and alone asks for it, `number` says as which; None for those
    of a grid, whether or not a search drew them as well.
    """

    key: str
    label: str
    settings: Mapping[str, Any]
    trials: Mapping[int, str]
    tables: tuple[str, ...] = ()
    number: int | None = None
    search: str | None = None

    @classmethod
    def of(
        cls,
        config: Config,
        key: str,
        trials: Mapping[int, str],
        tables: Sequence[str] = (),
        number: int | None = None,
        search: str | None = None,
    ) -> SweepConfig:
        return cls(key, config.label, config.flat(), dict(trials), tuple(tables), number, search)


@dataclass(frozen=True)
class Row:
    """One config of a results table. `metrics` and `per_genre` are empty unless every split is done.

    `scores` has the test metrics of the splits that are done; `states` says why the others are not
    (`failed: NaN loss`, `pruned: …` or `missing`). `marks` are letters of MARKS. `parameters` counts backbones and
    head, `multiply_adds` those of one snippet. `trials` has the trial keys of the splits that are done, `histories`
    their epochs (`epoch`, `train_loss`, `val_loss`, `val_uAP`, …) and `best_epochs` the evaluated ones; `cut_short` has
    the epochs of the splits that a search pruned, `number` says as which one drew it.
    """

    key: str
    label: str
    settings: Mapping[str, Any]
    tables: tuple[str, ...]
    splits: tuple[int, ...]
    scores: Mapping[int, Mapping[str, float]]
    states: Mapping[int, str]
    metrics: Mapping[str, Spread]
    per_genre: Mapping[str, Spread]
    marks: tuple[str, ...]
    trailers: int | None = None
    parameters: int | None = None
    head_parameters: int | None = None
    multiply_adds: int | None = None
    trials: Mapping[int, str] = field(default_factory=dict)
    histories: Mapping[int, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    best_epochs: Mapping[int, int] = field(default_factory=dict)
    cut_short: Mapping[int, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    number: int | None = None
    seconds: float = 0.0
    commits: tuple[str, ...] = ()
    versions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        return not self.states

    @property
    def pruned(self) -> bool:
        """Whether a search cut it short; not so where a split failed or is missing."""
        return bool(self.states) and set(self.states) == set(self.cut_short)

    @property
    def epochs(self) -> int:
        """Epochs that its splits were trained for, all together."""
        return sum(len(h) for h in (*self.histories.values(), *self.cut_short.values()))

    @property
    def progress(self) -> str:
        """`3 of 3 splits`, or `2 of 3 splits: split 2 failed: NaN loss`, or `pruned after 9 epochs: …`."""
        if self.pruned:
            reasons = dict.fromkeys(why.partition(": ")[2] for why in self.states.values())
            return ": ".join(filter(None, (self.say_pruned(), "; ".join(reasons))))
        text = f"{len(self.scores)} of {len(self.splits)} splits"
        return text if self.complete else f"{text}: " + "; ".join(f"split {s} {why}" for s, why in self.states.items())

    def say_pruned(self) -> str:
        """`pruned after 9 epochs`: by how many its longest split was trained."""
        longest = max((len(h) for h in self.cut_short.values()), default=0)
        return f"pruned after {longest} epoch{'s' if longest != 1 else ''}"


def aggregate(
    configs: Sequence[SweepConfig], records: Iterable[TrialRecord], *, trailers: int | None = None
) -> list[Row]:
    """One row a config, in the order of `configs`; `trailers` is how many the manifest lists.

    Records are matched by trial key, so those of other sweeps, labels or settings may be among them. Of several
    records of a trial `choose_records` takes one.
    """
    found = choose_records(configs, records)
    return [_row(config, {s: found.get(k) for s, k in sorted(config.trials.items())}, trailers) for config in configs]


def choose_records(configs: Iterable[SweepConfig], records: Iterable[TrialRecord]) -> dict[str, TrialRecord]:
    """Trial key -> the record that counts for its config: a done one before a pruned one before a failed one.

    A pruned one counts only where the search that pruned it is the config's: for all else its trial has yet to run.
    """
    searches = {key: config.search for config in configs for key in config.trials.values()}
    found: dict[str, TrialRecord] = {}
    for record in records:
        if record.key not in searches or (record.status == "pruned" and record.search != searches[record.key]):
            continue
        other = found.get(record.key)
        if other is None or COUNTS_MORE[record.status] > COUNTS_MORE[other.status]:
            found[record.key] = record
    return found


def _row(config: SweepConfig, trials: Mapping[int, TrialRecord | None], trailers: int | None) -> Row:
    present = [r for r in trials.values() if r is not None]
    states = {split: why for split, r in trials.items() if (why := _state(r))}
    done = {split: r for split, r in trials.items() if r is not None and split not in states}
    pruned = {split: r for split, r in trials.items() if r is not None and r.status == "pruned"}
    trained = [*done.values(), *pruned.values()]
    used = {r.n_train + r.n_val + r.n_test for r in done.values()}
    genres = dict.fromkeys(g for r in done.values() for g in r.per_genre)
    shared = [g for g in genres if all(np.isfinite(r.per_genre.get(g, np.nan)) for r in done.values())]
    complete = bool(done) and not states
    return Row(
        key=config.key,
        label=config.label,
        settings=config.settings,
        tables=config.tables,
        splits=tuple(trials),
        scores={split: {m: float(r.test[m]) for m in METRICS} for split, r in done.items()},
        states=states,
        metrics={m: Spread.of([r.test[m] for r in done.values()]) for m in METRICS} if complete else {},
        per_genre={g: Spread.of([r.per_genre[g] for r in done.values()]) for g in shared} if complete else {},
        marks=_marks(config, present, states, used, trailers, cut=bool(states) and set(states) == set(pruned)),
        trailers=min(used, default=None),
        parameters=next((r.parameters for r in trained), None),
        head_parameters=next((r.head_parameters for r in trained), None),
        multiply_adds=next((r.multiply_adds for r in trained), None),
        trials={split: r.key for split, r in done.items()},
        histories={split: r.history for split, r in done.items()},
        best_epochs={split: r.best_epoch for split, r in done.items() if r.best_epoch is not None},
        cut_short={split: r.history for split, r in pruned.items()},
        number=config.number,
        seconds=float(sum(r.seconds for r in trained)),
        commits=tuple(dict.fromkeys(r.commit for r in present if r.commit)),
        versions=_versions(present),
    )


def _state(record: TrialRecord | None) -> str:
    """Why a trial has no result to average; empty when it has one."""
    if record is None:
        return "missing"
    if record.status != "done":
        return f"{record.status}: {record.reason}" if record.reason else record.status
    bad = [m for m in METRICS if not np.isfinite(record.test.get(m, np.nan))]
    return f"has no finite test {', '.join(bad)}" if bad else ""


def _marks(
    config: SweepConfig,
    records: Sequence[TrialRecord],
    states: Mapping[int, str],
    used: set[int],
    trailers: int | None,
    *,
    cut: bool,
) -> tuple[str, ...]:
    weights = {w for r in records for w in r.weights} | set(str(config.settings.get("weights", "")).split("+"))
    holds = {
        "R": "random" in weights,
        "S": any(r.synthetic for r in records),
        "P": any(PUBLISHED in r.origins for r in records),
        "M": any(len(r.origins) > 1 for r in records),
        "I": bool(states) and not cut,
        "C": cut,
        "F": len(used) > 1 or (trailers is not None and any(n < trailers for n in used)),
    }
    return tuple(mark for mark in MARKS if holds[mark])


def _versions(records: Sequence[TrialRecord]) -> dict[str, tuple[str, ...]]:
    names = dict.fromkeys(name for r in records for name in r.versions)
    return {n: tuple(dict.fromkeys(str(r.versions[n]) for r in records if n in r.versions)) for n in names}


def spread_over_splits(values: Mapping[int, Mapping[str, float]] | Sequence[Mapping[str, float]]) -> dict[str, Spread]:
    """Metrics of each split (as the chance level has them) -> mean and deviation of each of METRICS."""
    splits = list(values.values()) if isinstance(values, Mapping) else list(values)
    return {m: Spread.of([s[m] for s in splits]) for m in METRICS}


def setting_names(rows: Sequence[Row]) -> list[str]:
    """All settings that some row has, dotted ones (`aggregator.heads`) behind the one they belong to."""
    names = list(dict.fromkeys(name for row in rows for name in row.settings))
    first: dict[str, int] = {}
    for place, name in enumerate(names):
        first.setdefault(name.split(".")[0], place)
    return sorted(names, key=lambda name: first[name.split(".")[0]])


def varied_axes(rows: Sequence[Row]) -> list[str]:
    """Settings that differ between rows that have them, in the order of the settings.

    `aggregator.<setting>` counts only between rows of one aggregator: a gru without heads does not vary heads.
    """
    return [n for n in setting_names(rows) if any(len(values) > 1 for values in _values_by_owner(rows, n).values())]


def constant_settings(rows: Sequence[Row]) -> dict[str, Any]:
    """Settings that every row has with one and the same value."""
    return {
        name: value
        for name, value in (rows[0].settings.items() if rows else ())
        if all(name in r.settings and r.settings[name] == value for r in rows)
    }


def best_means(rows: Sequence[Row]) -> dict[str, float]:
    """The highest mean of each metric over the complete rows; no entry where there is none."""
    return {m: max(r.metrics[m].mean for r in rows if r.complete) for m in METRICS if any(r.complete for r in rows)}


def sort_by_score(rows: Sequence[Row], metric: str = "uAP") -> list[Row]:
    """Best mean first, incomplete rows behind them, pruned ones last; ties keep their order."""
    return pruned_last(sorted(rows, key=lambda r: -r.metrics[metric].mean if r.complete else np.inf))


def pruned_last(rows: Sequence[Row]) -> list[Row]:
    """The rows in their order, but those that a search pruned behind the others."""
    return sorted(rows, key=lambda r: r.pruned)


def distinct_labels(configs: Sequence[SweepConfig] | Sequence[Row]) -> list[str]:
    """Labels that tell the configs apart: what varies and is not in a label is appended (`heads=2`, `random`).

    A config that a search drew differs from the others in everything and goes by its number (`#17`), as long as no
    other search of the sweep has drawn such a config as the same.
    """
    every: list[SweepConfig | Row] = list(configs)
    numbered = [None if c.number is None else f"{c.label} #{c.number}" for c in every]
    taken = Counter(numbered)
    spelt = _spell_out([c for c, label in zip(every, numbered, strict=True) if label is None or taken[label] > 1])
    return [label if label and taken[label] == 1 else next(spelt) for label in numbered]


def _spell_out(configs: Sequence[SweepConfig | Row]) -> Iterator[str]:
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for config in configs:
        groups.setdefault(config.label, []).append(config.settings)
    varied = {
        label: [n for n in dict.fromkeys(n for g in group for n in g) if len({g.get(n) for g in group}) > 1]
        for label, group in groups.items()
    }
    for c in configs:
        yield " ".join([c.label, *(_named(n, c.settings[n]) for n in varied[c.label] if n in c.settings)])


def _named(name: str, value: Any) -> str:
    shown = f"{value:.6g}" if isinstance(value, float) else value
    return short_weights(value) if name == "weights" else f"{name.rsplit('.', 1)[-1]}={shown}"


def short_weights(weights: str, components: int = 1) -> str:
    """Checkpoint paths cut to their last `components` names, for reading: `/long/way/x.pth` -> `x.pth`."""
    paths = re.split(r"\+(?=/|pretrained|random)", str(weights))
    return "+".join("/".join(p.rstrip("/").split("/")[-components:]) for p in paths)


def _values_by_owner(rows: Sequence[Row], name: str) -> dict[Hashable, set[Any]]:
    values: dict[Hashable, set[Any]] = {}
    for row in rows:
        if name in row.settings:
            owner = row.settings.get("aggregator") if name.startswith("aggregator.") else None
            values.setdefault(owner, set()).add(row.settings[name])
    return values
