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

from orchestrator.driver import (
    Cluster,
    RunOptions,
    active,
    check_weights,
    extract_missing,
    plan_again,
    tell_what_is_lacking,
    train_missing,
)
from orchestrator.progress import Progress
from orchestrator.specs import GRID_FPS
from orchestrator.store.workspace import Workspace
from orchestrator.study import StrPath, Study, SweepResults, read_results, sweep_configs, weights_used
from orchestrator.sweep.cost import Estimate, estimate, sample
from orchestrator.sweep.identity import detector_key
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
    """Trials that this call trained; those that were in the ledger are not among them."""
    extraction: ExtractionCounts | None
    """None where no embedding was missing."""
    tracking_uri: str
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


def estimate_cost(plan: Plan, workspace: StrPath = "workspace") -> Estimate:
    """What the plan's missing work costs on this machine, by the rates that earlier runs measured."""
    from orchestrator.video.duration import declared_seconds

    opened = Workspace(workspace)
    mids, frames = set(plan.trailers), {}
    for (mid, _), row in opened.shots.read(detector_key()).items():
        if mid in mids:
            frames[mid] = row.n_frames
    detected = frozenset(frames)
    for mid in sample([mid for mid in plan.to_decode if mid not in frames and plan.paths[mid]]):
        if seconds := declared_seconds(str(plan.paths[mid])):
            frames[mid] = round(seconds * GRID_FPS)
    return estimate(plan, opened.rates.load(), frames, detected)


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
    options, progress = options or RunOptions(), progress or Progress()
    study = Study.open(space, manifest, workspace, overrides, splits=False)
    study.workspace.check_writable()
    plan = plan_again(study, options)
    tell_what_is_lacking(study, plan, progress)
    check_weights(plan.backbones_to_run)
    with Cluster(options, progress) as cluster:
        return extract_missing(study, plan, cluster, options, progress)


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
    from orchestrator.tracking.follow import Follower
    from orchestrator.tracking.view import MlflowView

    options, progress = options or RunOptions(), progress or Progress()
    study = Study.open(space, manifest, workspace, overrides)
    study.workspace.check_writable()
    name, tracking_uri = study.space.name, options.tracking_uri or study.workspace.mlflow_uri
    plan = plan_again(study, options)
    record = study.save(plan)
    tell_what_is_lacking(study, plan, progress)
    check_weights([*plan.backbones_to_run, *plan.weights_to_train])
    counts, trained = None, 0
    with active(study) as activity, Cluster(options, progress) as cluster:
        if plan.to_decode:
            activity.tell(f"extracting {len(plan.to_decode)} trailers")
            try:
                counts = extract_missing(study, plan, cluster, options, progress)
            finally:
                plan = study.plan()
                record = study.save(plan)
        study.check_trainable(plan)
        view, configs = MlflowView(tracking_uri, name), sweep_configs(record)
        with Follower(view, configs, study.workspace.ledger, record.manifest_trailers, warn=progress.say) as follower:
            if any(not t.done and t.key for t in plan.trials):
                trained = train_missing(study, plan, cluster, follower, activity, progress)
    results = read_results(name, study.workspace)
    report = None
    if options.results is not None:
        report = _write_report(results, study.workspace, options.results, again=False)
    return SweepOutcome(results, report, trained, counts, tracking_uri, tracked=follower.finish())


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
    from orchestrator.reporting.inputs import Report
    from orchestrator.reporting.write import find_report, write_report

    record = results.record
    failed = f", {len({f.mid for f in record.failures})} failed" if record.failures else ""
    report = Report(
        sweep=record.name,
        rows=tuple(results.rows),
        tables=record.tables,
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
