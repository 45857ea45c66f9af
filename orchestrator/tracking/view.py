"""The ledger shown in MLflow: an experiment a sweep, a parent run a config, a child run a trial.

MLflow is never the record: runs are found by the keys in their tags, so that writing again changes nothing, what a
crash left half written is replaced, and a view that was away or lost is rebuilt from the ledger.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from orchestrator.errors import StoreError
from orchestrator.reporting.aggregate import Row, SweepConfig, aggregate, choose_records
from orchestrator.store.ledger import TrialRecord
from orchestrator.tracking import artifacts
from orchestrator.tracking.client import (
    TrackingUnavailable,
    artifact_folder,
    faults,
    open_client,
    search_runs,
    unavailable,
)
from orchestrator.tracking.entries import (
    CONFIG_KEY,
    LEFT_OUT,
    STATUS,
    TRIAL_KEY,
    TRIAL_KEYS,
    WRITTEN,
    RunContent,
    describe_config,
    describe_trial,
    name_configs,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

log = logging.getLogger(__name__)

Predictions = Callable[[str], Mapping[str, np.ndarray]]

PARENT, RUN_NAME = "mlflow.parentRunId", "mlflow.runName"
MAX_METRICS, MAX_PAIRS = 800, 90
"""Entries a request: MLflow takes 1000 metrics, 100 params, 100 tags and 1000 in all."""


@dataclass(frozen=True)
class SyncReport:
    """Runs that a sync wrote and left as they were; `skipped` names trials whose predictions can't be read."""

    written: int = 0
    unchanged: int = 0
    skipped: tuple[str, ...] = ()


class MlflowView:
    """The view of one sweep; opens the store at the first `sync`.

    `artifacts` is where files lie in a store that does not keep them itself; beside the file for SQLite.
    """

    def __init__(self, tracking_uri: str, experiment: str, artifacts: str | None = None) -> None:
        self.tracking_uri, self.experiment = tracking_uri, experiment
        self._artifacts = artifacts
        self._client: MlflowClient | None = None
        self._experiment_id = ""
        self._trials: dict[str, Run] = {}
        self._configs: dict[str, list[Run]] = {}

    def sync(
        self,
        configs: Sequence[SweepConfig],
        records: Iterable[TrialRecord],
        predictions: Predictions | None = None,
        *,
        names: Mapping[str, str] | None = None,
        trailers: int | None = None,
        whole: bool = False,
    ) -> SyncReport:
        """Make MLflow show these configs; writes only what differs.

        `records` are all that the ledger has of them. `names` says by config key what each is called beside all others
        of the sweep (`distinct_labels`); None where `configs` are all. `predictions` is `Ledger.predictions`,
        `trailers` the number in the manifest. `whole` says that this is all of the sweep: runs of other configs and
        trials stay, but are tagged as left out.

        Raises TrackingUnavailable when the store is away; calling again later with all records catches up.
        """
        given = list(records)
        try:
            self._open()
            called = names if names is not None else name_configs(configs)
            report = self._write_all(configs, called, given, predictions, trailers)
            if whole:
                self._tag_left_out(configs)
            return report
        except TrackingUnavailable:
            self._client = None
            raise
        except faults() as error:
            self._client = None
            raise unavailable(self.tracking_uri, error) from error

    def _open(self) -> None:
        """Connect and read all runs of the experiment once; after that the view knows them."""
        if self._client is not None:
            return
        client = open_client(self.tracking_uri)
        self._experiment_id = self._find_experiment(client)
        self._trials, self._configs = {}, {}
        for run in search_runs(client, self._experiment_id):
            if TRIAL_KEY in run.data.tags:
                self._keep_one(client, run)
            elif CONFIG_KEY in run.data.tags:
                self._configs.setdefault(run.data.tags[CONFIG_KEY], []).append(run)
        self._client = client

    def _find_experiment(self, client: MlflowClient) -> str:
        found = client.get_experiment_by_name(self.experiment)
        if found is not None:
            if found.lifecycle_stage == "deleted":
                client.restore_experiment(found.experiment_id)
            return str(found.experiment_id)
        folder = artifact_folder(self.tracking_uri)
        location = self._artifacts or (folder.as_uri() if folder is not None else None)
        # Otherwise the UI asks whether these are runs of a language model.
        tags = {"mlflow.experimentKind": "custom_model_development"}
        return str(client.create_experiment(self.experiment, artifact_location=location, tags=tags))

    def _keep_one(self, client: MlflowClient, run: Run) -> None:
        """Of several runs of a trial, as two drivers at once leave them, the one that was written whole stays."""
        key = run.data.tags[TRIAL_KEY]
        other = self._trials.setdefault(key, run)
        if other is not run:
            better = max((other, run), key=lambda r: (WRITTEN in r.data.tags, r.info.status == "FINISHED"))
            client.delete_run((run if better is other else other).info.run_id)
            self._trials[key] = better

    def _write_all(
        self,
        configs: Sequence[SweepConfig],
        names: Mapping[str, str],
        records: Sequence[TrialRecord],
        predictions: Predictions | None,
        trailers: int | None,
    ) -> SyncReport:
        rows = aggregate(configs, records, trailers=trailers)
        by_key = choose_records(configs, records)
        report = SyncReport()
        for config, row in zip(configs, rows, strict=True):
            self._take_back(config, by_key)
            present = [by_key[k] for _, k in sorted(config.trials.items()) if k in by_key]
            if present:
                named = replace(row, label=names[config.key])
                report = self._write_config(config, named, present, predictions, report)
        return report

    def _take_back(self, config: SweepConfig, records: Mapping[str, TrialRecord]) -> None:
        """Removes what shows trials as pruned that are not: a grid asks for them now, and has yet to run them."""
        revoked = {k for k in config.trials.values() if k not in records and _was_pruned(self._trials.get(k))}
        for key in revoked:
            self._mlflow.delete_run(self._trials.pop(key).info.run_id)
        if revoked and records.keys().isdisjoint(config.trials.values()):
            for run in list(self._configs.get(config.key, [])):
                if not revoked.isdisjoint(run.data.tags.get(TRIAL_KEYS, "").split(",")):
                    self._mlflow.delete_run(run.info.run_id)
                    self._configs[config.key].remove(run)

    def _write_config(
        self,
        config: SweepConfig,
        row: Row,
        records: Sequence[TrialRecord],
        predictions: Predictions | None,
        report: SyncReport,
    ) -> SyncReport:
        content = describe_config(row, records, row.label, config.trials.values(), config.number)
        parent = self._parent(config, content)
        for record in records:
            report = self._write_trial(record, row, parent.info.run_id, predictions, report)
        if _holds(parent, content):
            return replace(report, unchanged=report.unchanged + 1)
        with tempfile.TemporaryDirectory() as folder:
            artifacts.write_config(records[0], Path(folder))
            self._fill(parent, content, Path(folder))
        others = [r for r in self._configs[config.key] if r.info.run_id != parent.info.run_id]
        self._configs[config.key] = [*others, self._reread(parent)]
        return replace(report, written=report.written + 1)

    def _parent(self, config: SweepConfig, content: RunContent) -> Run:
        """The config's run, made where there is none.

        One whose trials are all others (labels or videos have changed since) stays for itself. One that shows
        means over fewer splits than are expected now is replaced: MLflow can't take a metric back.
        """
        known = self._configs.setdefault(config.key, [])
        wanted, shows = set(filter(None, config.trials.values())), {p.name for p in content.metrics}
        found: Run | None = None
        for run in list(known):
            if not wanted & set(run.data.tags.get(TRIAL_KEYS, "").split(",")):
                continue
            means = {name for name in run.data.metrics if name.endswith((".mean", ".std"))}
            if found is None and means <= shows:
                found = run
            else:
                self._mlflow.delete_run(run.info.run_id)
                known.remove(run)
        if found is None:
            found = self._create(content)
            known.append(found)
        return found

    def _write_trial(
        self, record: TrialRecord, row: Row, parent: str, predictions: Predictions | None, report: SyncReport
    ) -> SyncReport:
        content = describe_trial(record, row)
        run = self._trials.get(record.key)
        if run is not None and _holds(run, content):
            if run.data.tags.get(PARENT) != parent:
                self._mlflow.set_tag(run.info.run_id, PARENT, parent)
            return replace(report, unchanged=report.unchanged + 1)
        with tempfile.TemporaryDirectory() as folder:
            artifacts.write_config(record, Path(folder))
            try:
                if predictions is not None and record.status == "done":
                    artifacts.write_predictions(record, row, predictions(record.key), Path(folder))
            except StoreError as error:
                log.warning("MLflow: %s, split %d is left out: %s", row.label, record.split, error)
                return replace(report, skipped=(*report.skipped, record.key))
            if run is not None:
                self._mlflow.delete_run(run.info.run_id)
                del self._trials[record.key]
            run = self._create(content, {PARENT: parent})
            self._fill(run, content, Path(folder))
        self._trials[record.key] = self._reread(run)
        return replace(report, written=report.written + 1)

    def _tag_left_out(self, configs: Sequence[SweepConfig]) -> None:
        """Says of every run whether the sweep still asks for it; writes only what differs.

        A config whose trials have no keys yet, since its embeddings are incomplete, keeps all of its runs.
        """
        wanted = {key for config in configs for key in config.trials.values() if key}
        open_ended = {config.key for config in configs if not all(config.trials.values())}
        parents = [run for runs in self._configs.values() for run in runs]
        for run in (*parents, *self._trials.values()):
            tags = run.data.tags
            trials = (tags.get(TRIAL_KEYS) or tags.get(TRIAL_KEY) or "").split(",")
            left = "no" if tags.get(CONFIG_KEY) in open_ended or not wanted.isdisjoint(trials) else "yes"
            if tags.get(LEFT_OUT) != left:
                self._mlflow.set_tag(run.info.run_id, LEFT_OUT, left)
                tags[LEFT_OUT] = left

    def _create(self, content: RunContent, tags: Mapping[str, str] | None = None) -> Run:
        """A run with its tags, so that a crash right after leaves one that is found again."""
        every = {**content.tags, **(tags or {})}
        return self._mlflow.create_run(self._experiment_id, content.start, every, content.name)

    def _fill(self, run: Run, content: RunContent, folder: Path) -> None:
        """Write the files and all that the run lacks, then the mark that it is whole, then its end."""
        from mlflow.entities import Metric, Param, RunTag

        run_id, had = run.info.run_id, run.data
        self._mlflow.log_artifacts(run_id, str(folder))
        points = [p for p in content.metrics if p.step or had.metrics.get(p.name) != p.value]
        metrics = [Metric(p.name, p.value, p.time, p.step) for p in points]
        # A param can't change: one that does without another key (the path of the same weights) keeps its first value.
        params = [Param(n, v) for n, v in content.params.items() if n not in had.params]
        wanted = {**content.tags, RUN_NAME: content.name}
        tags = [RunTag(n, v) for n, v in wanted.items() if had.tags.get(n) != v]
        for some, pairs in zip_longest(_chunks(metrics, MAX_METRICS), _chunks(params, MAX_PAIRS), fillvalue=()):
            self._mlflow.log_batch(run_id, metrics=some, params=pairs)
        for some in _chunks([*tags, RunTag(WRITTEN, content.fingerprint)], MAX_PAIRS):
            self._mlflow.log_batch(run_id, tags=some)
        self._mlflow.set_terminated(run_id, content.status, content.end)

    def _reread(self, run: Run) -> Run:
        return self._mlflow.get_run(run.info.run_id)

    @property
    def _mlflow(self) -> MlflowClient:
        assert self._client is not None
        return self._client


def _was_pruned(run: Run | None) -> bool:
    return run is not None and run.info.status == STATUS["pruned"]


def _holds(run: Run, content: RunContent) -> bool:
    return run.data.tags.get(WRITTEN) == content.fingerprint and run.info.status == content.status


def _chunks(values: Sequence[Any], size: int) -> list[Sequence[Any]]:
    return [values[start : start + size] for start in range(0, len(values), size)]
