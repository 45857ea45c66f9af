"""Made-up sweeps whose numbers are known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from orchestrator.reporting.aggregate import Row, Spread, SweepConfig, aggregate
from orchestrator.reporting.comparison import compare
from orchestrator.reporting.inputs import ComparedTable, Report
from orchestrator.specs import (
    AggregatorSpec,
    BackboneSpec,
    ClipSpec,
    Config,
    EmbeddingSpec,
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
        self.configs.append(SweepConfig.of(config, key_of(config), trials, tables))
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
