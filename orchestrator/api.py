"""The Python API: what the command line calls, usable in a notebook.

```python
from orchestrator import plan_sweep, run_sweep

print(plan_sweep("demo", "trailers/manifest.csv").to_json())
outcome = run_sweep("demo", "trailers/manifest.csv", workspace="workspace")
print(outcome.results.rows[0].metrics["uAP"].mean)
```

Functions take plain values, return records and raise the errors of `orchestrator.errors`. `space` is the path of a YAML
file or the bare name of one that ships with the package; `workspace` and `manifest` are paths or URIs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.driver import run as driver
from orchestrator.driver.options import RunOptions
from orchestrator.driver.prepare import estimate_cost
from orchestrator.progress import Progress
from orchestrator.results import SweepResults, read_results, weights_used
from orchestrator.store.workspace import Workspace
from orchestrator.study import StrPath, Study
from orchestrator.sweep.cost import Estimate
from orchestrator.sweep.plan import Plan

if TYPE_CHECKING:
    from orchestrator.engine.extraction import ExtractionCounts
    from orchestrator.reporting.write import ReportFiles


@dataclass(frozen=True)
class SweepOutcome:
    """What `run_sweep` did, what the sweep now holds, and where its report lies."""

    results: SweepResults
    report: ReportFiles | None
    trained: int
    """Trials that this call ended, done or pruned; those that were in the ledger are not among them."""
    extraction: ExtractionCounts | None
    """None where no embedding was missing."""
    tracking_uri: str | None
    """None where the sweep is one of `extract_sweep`, which trains nothing."""
    tracked: bool
    """False where MLflow could not be reached; the next run catches up."""


def plan_sweep(
    space: StrPath,
    manifest: StrPath,
    *,
    workspace: StrPath = "workspace",
    overrides: Mapping[str, Any] | None = None,
) -> Plan:
    """What the sweep needs and what of it is there; runs nothing. `overrides` replace fields of the YAML."""
    return Study.open(space, manifest, workspace, overrides).plan()


def estimate_sweep(plan: Plan, workspace: StrPath = "workspace") -> Estimate:
    """What the plan's missing work costs on this machine, by the rates that earlier runs measured."""
    return estimate_cost(plan, Workspace(workspace))


def extract_sweep(
    space: StrPath,
    manifest: StrPath,
    *,
    workspace: StrPath = "workspace",
    overrides: Mapping[str, Any] | None = None,
    options: RunOptions | None = None,
    progress: Progress | None = None,
) -> ExtractionCounts:
    """Computes the embeddings that the sweep lacks, each trailer decoded once. The manifest needs no splits."""
    study = Study.open(space, manifest, workspace, overrides, splits=False)
    return driver.extract_sweep(study, options or RunOptions(), progress or Progress())


def run_sweep(
    space: StrPath,
    manifest: StrPath,
    *,
    workspace: StrPath = "workspace",
    overrides: Mapping[str, Any] | None = None,
    options: RunOptions | None = None,
    progress: Progress | None = None,
) -> SweepOutcome:
    """Extracts what is missing, trains what is missing, brings MLflow up to date and writes the report."""
    study = Study.open(space, manifest, workspace, overrides)
    return _run(study, options or RunOptions(), progress or Progress())


def resume_sweep(
    name: str,
    *,
    workspace: StrPath = "workspace",
    options: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> SweepOutcome:
    """Goes on with a sweep as it was started, from its own YAML, manifest and options; `options` replace some of these.

    Raises InputError where no sweep of that name was started in the workspace.
    """
    opened, progress = Workspace(workspace), progress or Progress()
    record = opened.sweeps.load(name)
    study = Study.reopen(record, opened)
    again = RunOptions.kept({**record.options, **(options or {})})
    if record.options["command"] == driver.EXTRACT:
        counts = driver.extract_sweep(study, again, progress)
        return SweepOutcome(read_results(name, opened), None, 0, counts, None, tracked=True)
    return _run(study, again, progress)


def _run(study: Study, options: RunOptions, progress: Progress) -> SweepOutcome:
    counts = driver.run_sweep(study, options, progress)
    results = read_results(study.space.name, study.workspace)
    report = None
    if options.results is not None:
        report = _write_report(results, study.workspace, options.results, again=False)
    uri = options.tracking_uri or study.workspace.mlflow_uri
    return SweepOutcome(results, report, counts.trained, counts.extraction, uri, counts.tracked)


def sweep_results(name: str, *, workspace: StrPath = "workspace") -> SweepResults:
    """What a sweep holds by now, from files alone: done, failed with reasons, missing."""
    return read_results(name, Workspace(workspace))


def report_sweep(
    name: str, *, workspace: StrPath = "workspace", results: StrPath = "results", curves: str | None = None
) -> ReportFiles:
    """Writes tables and plots of a sweep into `results`/<name>/.

    `curves` is the label or key of the config whose precision-recall curves are drawn, by default the best one by
    validation. Raises InputError with the labels where there is no such config.
    """
    opened = Workspace(workspace)
    return _write_report(read_results(name, opened), opened, results, curves=curves)


def _write_report(
    results: SweepResults, workspace: Workspace, directory: StrPath, *, again: bool = True, curves: str | None = None
) -> ReportFiles:
    """Writes the report; without `again` only where the one that is there was made from other results."""
    from orchestrator.reporting.choose import find_config
    from orchestrator.reporting.inputs import Report, SearchResult
    from orchestrator.reporting.write import find_report, write_report

    record = results.record
    failed = f", {len({f.mid for f in record.failures})} failed" if record.failures else ""
    report = Report(
        sweep=record.name,
        rows=tuple(results.rows),
        tables=record.tables,
        searches=tuple(SearchResult(s.table, s.spec, s.observations) for s in results.searches),
        chance=results.chance,
        genres=record.genres,
        curves=find_config(results.rows, curves).key if curves else None,
        predictions=workspace.ledger.predictions,
        facts={
            "Search space": Path(record.source).name,
            "Manifest": Path(record.manifest).name,
            "Trailers": f"{record.trailers} of {record.manifest_trailers}{failed}",
            "Labels and splits": f"digest {record.labels}",
            "Weights": "; ".join(f"{name}: {said}" for name, said in weights_used(results, workspace).items()),
        },
    )
    there = None if again else find_report(report, Path(directory))
    return there or write_report(report, Path(directory))
