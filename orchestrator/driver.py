"""What the driver of a sweep does with a plan: extracts and trains what is missing; starts Ray only if it must."""

from __future__ import annotations

import math
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.backbones.registry import ensure_weights
from orchestrator.errors import InputError, MissingWeights, some
from orchestrator.progress import Progress
from orchestrator.specs import BackboneSpec, aggregator_label, config_from_plain
from orchestrator.store.activity import Activity
from orchestrator.store.failures import check_failures
from orchestrator.store.rates import Work
from orchestrator.store.workspace import Workspace
from orchestrator.study import StrPath, Study
from orchestrator.sweep.identity import detector_key, embedding_identity, shot_identity
from orchestrator.sweep.plan import Plan

if TYPE_CHECKING:
    from orchestrator.engine.extraction import ExtractionCounts
    from orchestrator.engine.session import Resources
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


def plan_again(study: Study, options: RunOptions) -> Plan:
    if options.retry_failed:
        study.workspace.failures.forget(study.manifest.mids)
    plan = study.plan()
    check_failures(plan.failed, _failure_limit(study, options))
    return plan


def _failure_limit(study: Study, options: RunOptions) -> int:
    return options.max_failed if options.max_failed is not None else max(10, math.ceil(len(study.manifest) / 100))


@contextmanager
def active(study: Study) -> Iterator[Activity]:
    """Lets `divita status` see that the sweep runs."""
    activity = study.workspace.activity(study.space.name)
    activity.tell("planning")
    try:
        yield activity
    finally:
        activity.end()


class Cluster:
    """Starts Ray when it is first needed: a sweep that lacks nothing never does."""

    def __init__(self, options: RunOptions, progress: Progress) -> None:
        self._options, self._progress, self._stack = options, progress, ExitStack()
        self._resources: Resources | None = None

    def __enter__(self) -> Cluster:
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


def extract_missing(
    study: Study, plan: Plan, cluster: Cluster, options: RunOptions, progress: Progress
) -> ExtractionCounts:
    from orchestrator.engine.extraction import ExtractionCounts, ExtractionOptions, extract
    from orchestrator.engine.pipeline import TrailerTask

    workspace, todo = study.workspace, plan.to_decode
    reused = _vectors_cached(workspace, plan)
    if not todo:
        return ExtractionCounts(vectors_reused=reused, failures=list(plan.failed))
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


def tell_what_is_lacking(study: Study, plan: Plan, progress: Progress) -> None:
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
            problems.append(
                f"{study.manifest.source}: path: the store lacks {s.spec.name} of {len(mids)} trailers ({some(mids)}) "
                "and the manifest names no video to compute it from; add a path column"
            )
    if problems and not plan.to_decode and all(lost.keys() & set(c.embedding_keys) for c in plan.configs):
        raise InputError(problems)
    for problem in problems:
        progress.say(problem)
    if problems:
        waiting = sum(bool(lost.keys() & set(c.embedding_keys)) for c in plan.configs)
        progress.say(f"{waiting} of {len(plan.configs)} configs can't run without these; the others do")


def check_weights(specs: Iterable[BackboneSpec]) -> None:
    """Fetches what may be fetched; all weights that can't be had are told before the first trailer is decoded."""
    problems: list[str] = []
    for spec in dict.fromkeys(specs):
        try:
            ensure_weights(spec)
        except InputError as error:
            problems += error.problems
    if problems:
        raise MissingWeights(problems)


def train_missing(
    study: Study, plan: Plan, cluster: Cluster, follower: Follower, activity: Activity, progress: Progress
) -> int:
    from orchestrator.engine.costs import config_costs
    from orchestrator.engine.jobs import ConfigJob, TrainingData
    from orchestrator.engine.tuning import train

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
