"""Made-up sweeps whose numbers are known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from orchestrator.reporting.aggregate import Row, Spread, SweepConfig, aggregate
from orchestrator.reporting.comparison import compare
from orchestrator.reporting.inputs import ComparedTable, Report, SearchResult
from orchestrator.reporting.searches import SearchView, view_searches
from orchestrator.search.observe import observe
from orchestrator.search.records import Choice, Dimension, Integer, Observation, Pruner, SearchSpec, Uniform
from orchestrator.specs import (
    AggregatorSpec,
    BackboneSpec,
    ClipSpec,
    Config,
    EmbeddingSpec,
    GRUSpec,
    TrainSpec,
    TransformerSpec,
    key_of,
    plain,
)
from orchestrator.store.ledger import TrialRecord
from orchestrator.store.sweeps import SweepTable

GENRES = ("action", "comedy", "sci-fi")


def make_config(
    backbone: str = "swin_3d",
    clips: str = "shot-24",
    fps: int = 24,
    length: int = 30,
    aggregator: AggregatorSpec | None = None,
    weights: str = "pretrained",
    **training: object,
) -> Config:
    streams = tuple(EmbeddingSpec(ClipSpec.parse(clips, fps), BackboneSpec(b, weights)) for b in backbone.split("+"))
    return Config(streams, aggregator or TransformerSpec(), length, TrainSpec(**training))  # type: ignore[arg-type]


def make_record(config: Config, split: int, uap: float, trailers: int = 100, **changes: object) -> TrialRecord:
    """A finished trial with uAP as given, the other metrics at fixed distances from it."""
    key = key_of(config)
    n_test = trailers // 5
    record = TrialRecord(
        key=key_of([key, split]),
        config=plain(config),
        config_key=key,
        split=split,
        embedding_keys=(key_of(config.streams),),
        data_digest=key_of(split),
        status="done",
        test={"uAP": uap, "mAP": uap - 3, "wAP": uap - 1, "sAP": uap + 5},
        per_genre={g: uap + i for i, g in enumerate(GENRES)},
        seconds=10.0,
        parameters=1000,
        n_train=trailers - 2 * n_test,
        n_val=n_test,
        n_test=n_test,
        weights=tuple(s.backbone.weights for s in config.streams),
        versions={"torch": "2.14.1"},
        commit="abc123",
        created="2026-11-22T22:00:00+00:00",
    )
    return replace(record, **changes)  # type: ignore[arg-type]


@dataclass
class MadeSweep:
    """Configs, their records (three splits each, alterable) and the rows made of both."""

    configs: list[SweepConfig] = field(default_factory=list)
    records: list[TrialRecord] = field(default_factory=list)

    def add(self, config: Config, uaps: Sequence[float], tables: Sequence[str] = (), **changes: object) -> MadeSweep:
        self.records += [make_record(config, s, uap, **changes) for s, uap in enumerate(uaps)]  # type: ignore[arg-type]
        trials = {s: key_of([key_of(config), s]) for s in range(3)}
        searched = str(changes["search"]) if "search" in changes else None
        self.configs.append(SweepConfig.of(config, key_of(config), trials, tables, search=searched))
        return self

    def rows(self, trailers: int | None = None) -> list[Row]:
        return aggregate(self.configs, self.records, trailers=trailers)


@pytest.fixture
def sweep() -> MadeSweep:
    return MadeSweep()


@pytest.fixture
def grid() -> Callable[..., MadeSweep]:
    """A sweep over the given configs, each with numbers of its own."""

    def make(configs: Sequence[Config], **changes: object) -> MadeSweep:
        made, rng = MadeSweep(), np.random.default_rng(0)
        for i, config in enumerate(configs):
            made.add(config, 60 + i + rng.normal(0, 0.5, 3), **changes)
        return made

    return make


@pytest.fixture
def config() -> Callable[..., Config]:
    return make_config


def make_report(rows: Sequence[Row], *tables: SweepTable, **fields: object) -> Report:
    return Report(str(fields.pop("sweep", "study")), tuple(rows), tables, **fields)  # type: ignore[arg-type]


@pytest.fixture
def report() -> Callable[..., Report]:
    return make_report


@pytest.fixture
def table() -> Callable[..., SweepTable]:
    """`table("clips", "6")`: a YAML file of the sweep that answers Table 6."""

    def make(name: str, number: str | None = None, title: str = "", question: str = "") -> SweepTable:
        return SweepTable(name, title or name.capitalize(), question, number, ())

    return make


@pytest.fixture
def beside(sweep: MadeSweep) -> Callable[..., ComparedTable]:
    """The rows of `sweep`, all in one table of that number, beside the published ones of the shipped file."""

    def make(number: str | None, title: str = "Made up", **fields: object) -> ComparedTable:
        counting = fields.pop("counting", {})
        made = SweepTable("made", title, "", number, ())
        rows = [replace(row, tables=("made",)) for row in sweep.rows(fields.pop("trailers", None))]  # type: ignore[arg-type]
        return compare(make_report(rows, made, **fields), counting=counting)[0]  # type: ignore[arg-type]

    return make


@pytest.fixture
def chance() -> dict[str, Spread]:
    return {m: Spread(v, 0.2, 3) for m, v in {"uAP": 25.2, "mAP": 25.2, "wAP": 29.1, "sAP": 25.2}.items()}


HEADS = (
    Dimension("aggregator", Choice(("gru", "transformer"))),
    Dimension("aggregator.gru.units", Integer(32, 512, log=True), (("aggregator", ("gru",)),)),
    Dimension("training.learning_rate", Uniform(1e-5, 1e-2, log=True)),
)
EPOCHS = 30
SEARCH = "s" * 20
"""The identity of the search."""


@dataclass
class MadeSearch:
    """A search whose configs and records are real, and observed as the driver does."""

    spec: SearchSpec
    sweep: MadeSweep = field(default_factory=MadeSweep)
    observations: list[Observation] = field(default_factory=list)

    def add(self, uap: float, state: str = "done", *, after: int = EPOCHS, **changes: object) -> Observation:
        """The next config, of that validation uAP at each of `after` epochs; test uAP is 5 less."""
        number = len(self.observations)
        gru = number % 2 == 0
        rate = 1e-5 * 1000 ** (number * 0.618 % 1)
        values = {"aggregator": "gru" if gru else "transformer", "training.learning_rate": rate}
        values |= {"aggregator.gru.units": 32 + number} if gru else {}
        head = GRUSpec(units=32 + number) if gru else TransformerSpec()
        config = make_config(aggregator=head, learning_rate=rate, epochs=EPOCHS)
        history = tuple({"epoch": e, "val_loss": 1 / e, "val_uAP": uap} for e in range(1, after + 1))
        done = state == "done"
        told = {"status": state, "history": history, "best_epoch": after if done else None, **changes}
        told |= {} if done else {"reason": "too low", "search": SEARCH, "test": {}, "per_genre": {}}
        records = [make_record(config, split, uap - 5 + split, **told) for split in range(3)]
        key = key_of(config)
        self.sweep.records += records
        trials = {r.split: r.key for r in records}
        self.sweep.configs.append(SweepConfig.of(config, key, trials, ("heads",), number, SEARCH))
        self.observations.append(observe(self.spec, number, values, key, records))
        return self.observations[-1]

    def report(self, **fields: object) -> Report:
        table = SweepTable("heads", "Which head?", "", None, ("aggregator",))
        result = SearchResult("heads", self.spec, tuple(self.observations))
        return make_report(self.sweep.rows(), table, searches=(result,), **fields)

    def view(self) -> SearchView:
        return view_searches(self.report())[0]


@pytest.fixture
def search() -> MadeSearch:
    """An asha search that judges after 3 and 9 of 30 epochs; nothing drawn yet."""
    return MadeSearch(SearchSpec(HEADS, 60, pruner=Pruner()))


@pytest.fixture
def costly() -> MadeSearch:
    """A search for high uAP at few multiply-adds, eight configs of which three are the front: #1, #3 and #5."""
    made = MadeSearch(SearchSpec(HEADS, 8, objectives=("uAP", "multiply_adds")))
    pairs = [(60, 90), (70, 80), (50, 40), (60, 30), (40, 35), (45, 10), (45, 20), (30, 15)]
    for uap, giga in pairs:
        made.add(float(uap), multiply_adds=giga * 10**9)
    return made


@pytest.fixture
def pruned(search: MadeSearch) -> MadeSearch:
    """24 configs: every third done, the others pruned after 3 or 9 epochs, the last one failed."""
    for number in range(23):
        if number % 3 == 0:
            search.add(40.0 + number)
        else:
            search.add(20.0 + number, "pruned", after=3 if number % 3 == 1 else 9)
    search.add(0.0, "failed", after=2)
    return search
