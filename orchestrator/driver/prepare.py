"""Before anything is spent: the lock, what changed since the last run, what is torn, whether it fits."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from orchestrator.backbones.registry import ensure_weights
from orchestrator.data.trailers12k import size_text
from orchestrator.driver.options import RunOptions
from orchestrator.errors import InputError, MissingWeights, StoreError, some
from orchestrator.progress import Progress
from orchestrator.specs import GRID_FPS, BackboneSpec
from orchestrator.store.failures import check_failures
from orchestrator.store.lock import SweepLock
from orchestrator.store.workspace import Workspace
from orchestrator.study import Study
from orchestrator.sweep.cost import Estimate, estimate, sample
from orchestrator.sweep.identity import detector_key
from orchestrator.sweep.plan import Plan


@contextmanager
def hold(study: Study, progress: Progress, phase: str = "planning") -> Iterator[SweepLock]:
    """Holds the sweep's lock. Raises SweepBusy that names the driver which has it."""
    lock = study.workspace.lock(study.space.name)
    if dead := lock.acquire(phase, watching=progress.say):
        progress.say(f"{study.space.name}: {dead} ended without a word; this run goes on where it was")
    try:
        yield lock
    finally:
        lock.release()


def plan_again(study: Study, options: RunOptions, progress: Progress) -> Plan:
    """The plan by what the workspace holds and is whole, with what changed since the sweep ran last told."""
    if options.retry_failed:
        study.workspace.failures.forget(study.manifest.mids)
    plan = plan_whole(study, progress)
    if plan.changed:
        progress.say(f"videos that changed and are embedded again: {some(plan.changed)}")
    check_failures(plan.failed, failure_limit(study, options))
    return plan


def plan_whole(study: Study, progress: Progress) -> Plan:
    """The plan, once every trial that it counts as done is known to be whole; torn ones are missing."""
    plan = study.plan()
    torn = study.workspace.ledger.verify([t.key for t in plan.trials if t.done and t.key])
    if not torn:
        return plan
    progress.say(f"torn records of trials, which are trained again: {some(torn)}")
    return study.plan()


def describe_lost(study: Study, plan: Plan) -> str:
    """Which vectors went missing while the sweep ran: parts were found torn, or videos changed."""
    lost = [s for s in plan.sets if plan.computable(s)]
    told = [f"{s.spec.name} of {len(s.missing)} trailers ({study.workspace.embeddings.where(s.key)})" for s in lost]
    return f"vectors were lost or belong to other videos by now: {some(told, 3, '; ')}"


def tell_changes(study: Study, progress: Progress) -> None:
    """Says how the manifest differs from the one of the last run, since other labels make other trials."""
    if changes := study.changes():
        progress.say(
            f"{study.manifest.source} changed since {study.space.name} ran last: {'; '.join(changes)}. Its trials are "
            "others now; the earlier ones are kept and left out"
        )


def check_space(study: Study, plan: Plan) -> None:
    """Raises StoreError where the vectors that are to be made don't fit on the disk."""
    free = study.workspace.root.free_bytes()
    if free is None or not plan.to_decode:
        return
    needed = estimate_cost(plan, study.workspace).stored
    if needed > free:
        raise StoreError(
            f"{study.workspace.uri}: the embeddings that are missing take about {size_text(needed)}, but "
            f"{size_text(free)} are free; free some space or choose another --workspace"
        )


def failure_limit(study: Study, options: RunOptions) -> int:
    return options.max_failed if options.max_failed is not None else max(10, math.ceil(len(study.manifest) / 100))


def estimate_cost(plan: Plan, workspace: Workspace) -> Estimate:
    """What the plan's missing work costs on this machine, by the rates that earlier runs measured."""
    from orchestrator.video.duration import declared_seconds

    mids, frames = set(plan.trailers), {}
    for (mid, _), row in workspace.shots.read(detector_key()).items():
        if mid in mids:
            frames[mid] = row.n_frames
    detected = frozenset(frames)
    for mid in sample([mid for mid in plan.to_decode if mid not in frames and plan.paths[mid]]):
        if seconds := declared_seconds(str(plan.paths[mid])):
            frames[mid] = round(seconds * GRID_FPS)
    return estimate(plan, workspace.rates.load(), frames, detected)


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
    drawable = any(s.searches and s.key not in lost for s in plan.sets)
    if (
        problems
        and not plan.to_decode
        and not drawable
        and all(lost.keys() & {*c.embedding_keys} for c in plan.configs)
    ):
        raise InputError(problems)
    for problem in problems:
        progress.say(problem)
    if problems:
        waiting = sum(bool(lost.keys() & set(c.embedding_keys)) for c in plan.configs)
        progress.say(f"{waiting} of {len(plan.configs)} configs can't run without these; the others do")
        if any(s.searches for s in plan.sets if s.key in lost):
            progress.say("searches draw no config that needs them")


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
