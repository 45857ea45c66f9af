"""What a report is made from, and what passes between its parts: records only, no drawing and no files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from matplotlib.figure import Figure

from orchestrator.reporting.aggregate import Row, Spread
from orchestrator.search.records import Observation, SearchSpec
from orchestrator.store.sweeps import SweepTable


@dataclass(frozen=True, eq=False)
class SearchResult:
    """A search of the sweep and what it has drawn by now, in any order; `table` is the name of its table, and the
    `key` of an observation is that of its row."""

    table: str
    spec: SearchSpec
    observations: tuple[Observation, ...]


@dataclass(frozen=True)
class Report:
    """A sweep as it is reported.

    `tables` are the YAML files of the sweep in their order; a row stands in those that `row.tables` names. `chance` is
    the label prevalence on the test parts. `curves` is the key of the config whose precision-recall curves are drawn,
    None for the one that validation ranks first. `predictions` reads, by trial key, `mids` (n,), `probabilities`
    (n, genres) and `labels` (n, genres) of a test part; it raises StoreError where they are torn or gone. `facts` are
    lines of provenance, such as `Manifest` or `Failed trailers`, beyond what the rows say. `searches` are those whose
    configs are among the rows.
    """

    sweep: str
    rows: tuple[Row, ...]
    tables: tuple[SweepTable, ...] = ()
    chance: Mapping[str, Spread] | None = None
    genres: tuple[str, ...] = ()
    predictions: Callable[[str], Mapping[str, np.ndarray]] | None = None
    facts: Mapping[str, str] = field(default_factory=dict)
    curves: str | None = None
    searches: tuple[SearchResult, ...] = ()

    def rows_of(self, table: SweepTable) -> tuple[Row, ...]:
        """The rows that stand in a table, in the order of the sweep."""
        return tuple(row for row in self.rows if table.name in row.tables)

    @property
    def marks(self) -> tuple[str, ...]:
        """Letters of MARKS that some row carries, in the order of rows' marks."""
        return tuple(dict.fromkeys(mark for row in self.rows for mark in row.marks))


@dataclass(frozen=True)
class PublishedResult:
    """A row of a published table: `source` is `paper` or `authors-code`, metrics in percent over three test sets."""

    source: str
    table: str
    label: str
    settings: Mapping[str, str | int]
    metrics: Mapping[str, Spread]
    parameters: float | None = None
    """In millions, as printed."""
    multiply_adds: float | None = None
    """In billions for a snippet of 30 clips of 24 frames; the paper calls them FLOPs."""


@dataclass(frozen=True)
class ComparedRow:
    """Our row beside the published ones of the same table and settings; `row` None where the sweep has no such config,
    `paper` or `code` None where nothing was published for it."""

    label: str
    row: Row | None
    paper: PublishedResult | None
    code: PublishedResult | None

    def difference(self, metric: str) -> float | None:
        """Our mean minus the paper's, in points; None where either is lacking."""
        if self.row is None or not self.row.complete or self.paper is None:
            return None
        return self.row.metrics[metric].mean - self.paper.metrics[metric].mean

    def deviations(self, metric: str) -> float | None:
        """The difference in the paper's standard deviations."""
        gap = self.difference(metric)
        spread = self.paper.metrics[metric].std if self.paper else None
        return None if gap is None or not spread else gap / spread


@dataclass(frozen=True)
class ComparedTable:
    """One table of the sweep beside the published table of its number; `notes` say where the two can't be compared
    (other counting rules, other data) and what each mark means."""

    table: SweepTable
    rows: tuple[ComparedRow, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Plot:
    """One figure of the report: file name without suffix, heading (also its text for those who can't see it), caption
    (what is to be seen and what the numbers are), and the table or the search (by its table's name) that it belongs to,
    if one."""

    name: str
    title: str
    caption: str
    figure: Figure
    table: str | None = None
    search: str | None = None


@dataclass(frozen=True)
class RenderedPlot:
    """A plot as the files of a report have it: `name`.png and `name`.svg."""

    name: str
    title: str
    caption: str
    table: str | None
    png: bytes
    svg: bytes
    search: str | None = None
