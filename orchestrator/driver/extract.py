"""The embeddings that a plan lacks, in one pass over the trailers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator.driver.cluster import Cluster
from orchestrator.driver.options import RunOptions
from orchestrator.driver.prepare import check_space, failure_limit
from orchestrator.progress import Progress
from orchestrator.store.lock import SweepLock
from orchestrator.store.workspace import Workspace
from orchestrator.study import Study
from orchestrator.sweep.identity import detector_key, embedding_identity, shot_identity
from orchestrator.sweep.plan import Plan

if TYPE_CHECKING:
    from orchestrator.engine.extraction import ExtractionCounts


def extract_missing(
    study: Study, plan: Plan, cluster: Cluster, options: RunOptions, lock: SweepLock, progress: Progress
) -> ExtractionCounts:
    from orchestrator.engine.extraction import ExtractionCounts, ExtractionOptions, extract
    from orchestrator.engine.pipeline import TrailerTask

    workspace, todo = study.workspace, plan.to_decode
    reused = _vectors_cached(workspace, plan)
    if not todo:
        return ExtractionCounts(vectors_reused=reused, failures=list(plan.failed))
    check_space(study, plan)
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
            ExtractionOptions(layout=options.layout, stall_s=options.stall_s, max_failed=failure_limit(study, options)),
            step,
            plan.failed,
            alive=lock.check,
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
