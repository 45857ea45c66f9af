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

import math
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.backbones.registry import ensure_weights
from orchestrator.errors import InputError, MissingWeights
from orchestrator.progress import Progress
from orchestrator.specs import FRAMES, GRID_FPS, BackboneSpec, aggregator_label, config_from_plain
from orchestrator.store.activity import Activity
from orchestrator.store.failures import check_failures
from orchestrator.store.rates import Work
from orchestrator.store.workspace import Workspace
from orchestrator.study import StrPath, Study, SweepResults, read_results, sweep_configs, weights_used
from orchestrator.sweep.cost import Estimate, estimate, sample
from orchestrator.sweep.identity import detector_key, embedding_identity, shot_identity
from orchestrator.sweep.plan import Plan

if TYPE_CHECKING:
    from orchestrator.engine.extraction import ExtractionCounts
    from orchestrator.engine.session import Resources
    from orchestrator.reporting.write import ReportFiles
    from orchestrator.store.ledger import TrialRecord
    from orchestrator.tracking.follow import Follower


@dataclass(frozen=True)
class RunOptions:
    """How a sweep runs; nothing here changes a result.

    address: of a Ray cluster, None for a local one of `cpus` cores (default all). max_failed: trailers that may fail
    before the pass stops, default 1% of them and at least 10. retry_failed: try trailers again that failed before.
    layout: `auto`, `fused` or `split`, see `engine.extraction`. stall_s: seconds without a frame after which a decoder
    is taken for hung. tracking_uri: MLflow's, default an SQLite file in the workspace. results: where the report goes,
    None for no report.
    """

    address: str | None = None
    cpus: int | None = None
    max_failed: int | None = None
    retry_failed: bool = False
    layout: str = "auto"
    stall_s: float = 60.0
    tracking_uri: str | None = None
    results: StrPath | None = "results"


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
    plan = _plan_again(study, options)
    _tell_what_is_lacking(study, plan, progress)
    with _Cluster(options, progress) as cluster:
        return _extract(study, plan, cluster, options, progress)


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
    plan = _plan_again(study, options)
    record = study.save(plan)
    _tell_what_is_lacking(study, plan, progress)
    # Pixels need no weights, but the heads that train on them start from some.
    starts = [c.config.start for c in plan.configs if c.config.start and not all(t.done for t in c.trials)]
    _check_weights([*_backbones_to_run(plan), *starts])
    counts, trained = None, 0
    with _active(study) as activity, _Cluster(options, progress) as cluster:
        if plan.to_decode:
            activity.tell(f"extracting {len(plan.to_decode)} trailers")
            try:
                counts = _extract(study, plan, cluster, options, progress)
            finally:
                plan = study.plan()
                record = study.save(plan)
        study.check_trainable(plan)
        view, configs = MlflowView(tracking_uri, name), sweep_configs(record)
        with Follower(view, configs, study.workspace.ledger, record.manifest_trailers, warn=progress.say) as follower:
            if any(not t.done for t in plan.trials):
                trained = _train(study, plan, cluster, follower, activity, progress)
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


def _plan_again(study: Study, options: RunOptions) -> Plan:
    if options.retry_failed:
        study.workspace.failures.forget(study.manifest.mids)
    plan = study.plan()
    check_failures(plan.failed, _failure_limit(study, options))
    return plan


def _failure_limit(study: Study, options: RunOptions) -> int:
    return options.max_failed if options.max_failed is not None else max(10, math.ceil(len(study.manifest) / 100))


@contextmanager
def _active(study: Study) -> Iterator[Activity]:
    """Lets `divita status` see that the sweep runs."""
    activity = study.workspace.activity(study.space.name)
    activity.tell("planning")
    try:
        yield activity
    finally:
        activity.end()


class _Cluster:
    """Starts Ray when it is first needed: a sweep that lacks nothing never does."""

    def __init__(self, options: RunOptions, progress: Progress) -> None:
        self._options, self._progress, self._stack = options, progress, ExitStack()
        self._resources: Resources | None = None

    def __enter__(self) -> _Cluster:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    @property
    def resources(self) -> Resources:
        if self._resources is None:
            from orchestrator.engine.session import ray_session

            self._resources = self._stack.enter_context(ray_session(self._options.address, self._options.cpus))
            self._progress.say(f"Ray: {self._resources.cpus} CPUs, {self._resources.gpus} GPUs")
        return self._resources


def _extract(study: Study, plan: Plan, cluster: _Cluster, options: RunOptions, progress: Progress) -> ExtractionCounts:
    from orchestrator.engine.extraction import ExtractionCounts, ExtractionOptions, extract
    from orchestrator.engine.pipeline import TrailerTask

    workspace, todo = study.workspace, plan.to_decode
    reused = _vectors_cached(workspace, plan)
    if not todo:
        return ExtractionCounts(vectors_reused=reused, failures=list(plan.failed))
    _check_weights(_backbones_to_run(plan))
    wanted = [s for s in plan.sets if plan.computable(s)]
    for s in wanted:
        workspace.embeddings.write_spec(s.key, embedding_identity(s.spec))
    workspace.shots.write_spec(detector_key(), shot_identity())
    lacking: dict[str, list[str]] = {}
    for s in wanted:
        for mid in plan.computable(s):
            lacking.setdefault(mid, []).append(s.key)
    shots: dict[str, dict[str, Any]] = {}
    for (mid, digest), row in workspace.shots.read(detector_key()).items():
        shots.setdefault(mid, {})[digest] = row.shots
    failed = {failure.mid for failure in workspace.failures.load()}
    tasks = [
        TrailerTask(mid, str(plan.paths[mid]), tuple(lacking[mid]), shots.get(mid, {}), mid in failed) for mid in todo
    ]
    with progress.step("extracting", len(tasks), "trailers") as step:
        counts = extract(
            tasks,
            {s.key: s.spec for s in wanted},
            workspace,
            detector_key(),
            cluster.resources,
            ExtractionOptions(
                layout=options.layout, stall_s=options.stall_s, max_failed=_failure_limit(study, options)
            ),
            step,
            plan.failed,
        )
    counts.vectors_reused += reused
    return counts


def _vectors_cached(workspace: Workspace, plan: Plan) -> int:
    """Vectors that are there for the trailers of the sweep, over all its sets."""
    total = 0
    for s in plan.sets:
        clips = workspace.embeddings.clips(s.key) if s.cached else {}
        total += sum(clips[row] for row in s.cached.items())
    return total


def _tell_what_is_lacking(study: Study, plan: Plan, progress: Progress) -> None:
    """Without a path an embedding can only come from the store: what lacks both is named, the rest goes on.

    Raises InputError where nothing would be left to do.
    """
    for s in plan.sets:
        if s.imported:
            progress.say(
                f"{s.spec.name}: {s.imported} trailers have imported vectors that don't count, because "
                f"{study.manifest.source} names their videos; leave its path column out to use them"
            )
    lost, problems = plan.without_video, []
    for s in plan.sets:
        if mids := lost.get(s.key):
            some = ", ".join(mids[:5]) + (f" and {len(mids) - 5} more" if len(mids) > 5 else "")
            problems.append(
                f"{study.manifest.source}: path: the store lacks {s.spec.name} of {len(mids)} trailers ({some}) "
                "and the manifest names no video to compute it from; add a path column"
            )
    if problems and not plan.to_decode and all(lost.keys() & set(c.embedding_keys) for c in plan.configs):
        raise InputError(problems)
    for problem in problems:
        progress.say(problem)
    if problems:
        waiting = sum(bool(lost.keys() & set(c.embedding_keys)) for c in plan.configs)
        progress.say(f"{waiting} of {len(plan.configs)} configs can't run without these; the others do")


def _backbones_to_run(plan: Plan) -> list[BackboneSpec]:
    return [s.spec.backbone for s in plan.sets if plan.computable(s) and s.spec.backbone.name != FRAMES]


def _check_weights(specs: Iterable[BackboneSpec]) -> None:
    """Fetches what may be fetched; all weights that can't be had are told before the first trailer is decoded."""
    problems: list[str] = []
    for spec in dict.fromkeys(specs):
        try:
            ensure_weights(spec)
        except InputError as error:
            problems += error.problems
    if problems:
        raise MissingWeights(problems)


def _train(
    study: Study, plan: Plan, cluster: _Cluster, follower: Follower, activity: Activity, progress: Progress
) -> int:
    from orchestrator.engine.costs import config_costs
    from orchestrator.engine.tuning import ConfigJob, TrainingData, train

    # By name, as in the keys: the order of rows and columns in the file must not change a result.
    used, jobs = study.manifest.subset(plan.trailers).sorted(), []
    able = [c for c in plan.configs if any(not t.done and t.key for t in c.trials)]
    costs = config_costs([c.config for c in able], len(used.genres))
    for c in able:
        todo = {t.split: (t.key, t.data) for t in c.trials if not t.done and t.key and t.data}
        weights = tuple(s.backbone.weights for s in c.config.streams)
        jobs.append(ConfigJob(c.config, c.key, c.embedding_keys, weights, todo, costs[c.config]))
    data = TrainingData(
        mids=used.mids,
        genres=used.genres,
        labels=used.labels,
        splits=used.splits,
        rows={s.key: s.cached for s in plan.sets},
        synthetic=used.synthetic,
        versions=_versions(),
        commit=_commit(),
    )
    with progress.step("training", len(jobs), "configs") as step:
        train(
            jobs,
            data,
            study.workspace,
            cluster.resources,
            step,
            finished=lambda job: follower.add(job.key),
            training=lambda keys: activity.tell("training", keys),
        )
    keys = [key for job in jobs for key, _ in job.trials.values()]
    records = list(study.workspace.ledger.read_many(keys).values())
    study.workspace.rates.record(_training_work(records))
    return len(records)


def _training_work(records: Iterable[TrialRecord]) -> dict[str, Work]:
    """What training took, by head: a clip through one costs as much whatever else varies."""
    spent: dict[str, Work] = {}
    for record in records:
        config = config_from_plain(record.config)
        trailers = record.n_train + record.n_val + record.n_test
        if clips := len(record.history) * trailers * config.clips_per_snippet:
            kind = f"train {aggregator_label(config.aggregator)}"
            known = spent.get(kind)
            spent[kind] = Work(record.seconds + (known.seconds if known else 0), clips + (known.units if known else 0))
    return spent


def _versions() -> dict[str, str]:
    names = ("divita-orchestrator", "torch", "torchvision", "timm", "ray", "numpy")
    return {name: version(name) for name in names}


def _commit() -> str | None:
    """The commit of the code that runs, with `+` where files were changed since; None outside a checkout."""
    here = Path(__file__).resolve().parents[1]
    if not (here / ".git").exists():
        return None

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", "-C", str(here), *arguments], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


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
