"""The trials that a plan lacks: those of its grids, then its searches."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.driver.cluster import Cluster
from orchestrator.driver.searching import SearchRun, check_drawable
from orchestrator.errors import VectorsMissing
from orchestrator.progress import Progress
from orchestrator.results import sweep_config
from orchestrator.specs import AggregatorSpec, aggregator_label, config_from_plain
from orchestrator.store.checkpoints import checkpoint_name
from orchestrator.store.lock import SweepLock
from orchestrator.store.rates import Work
from orchestrator.study import Study
from orchestrator.sweep.cost import drawn_kind
from orchestrator.sweep.plan import ConfigPlan, Plan, SearchPlan

if TYPE_CHECKING:
    from orchestrator.engine.costs import ConfigCost
    from orchestrator.engine.jobs import ConfigJob, TrainingData
    from orchestrator.tracking.follow import Follower


class Trainer:
    """Trains what a plan lacks: the configs of its grids first, then its searches, one after the other."""

    def __init__(
        self, study: Study, plan: Plan, cluster: Cluster, follower: Follower, lock: SweepLock, progress: Progress
    ) -> None:
        self._study, self._plan, self._cluster, self._progress = study, plan, cluster, progress
        self._follower, self._lock = follower, lock
        # By name, as in the keys: the order of rows and columns in the file must not change a result.
        self._used = study.manifest.subset(plan.trailers).sorted()
        self._labels = study.manifest.labels_digest()
        self.trained = 0
        """Trials that ended, done or pruned."""

    def run(self, concurrent: int | None) -> None:
        """`concurrent`: configs of a search in training at once, None for as many as the cluster holds."""
        if any(c.trainable for c in self._plan.grid):
            self._train_grid()
        for search in self._plan.searches:
            self._train_search(self.open_search(search), search.search.table, concurrent)

    def open_search(self, search: SearchPlan) -> SearchRun:
        """The source of the search's configs, as far as it has come."""
        return SearchRun(
            self._plan,
            search,
            self._study.workspace,
            len(self._used.genres),
            self._make_job,
            lambda drawn: self._follower.expect(sweep_config(drawn.entry, drawn.number, drawn.identity)),
            self._progress,
        )

    def _train_grid(self) -> None:
        from orchestrator.engine.costs import config_costs
        from orchestrator.engine.tuning import train

        able = [c for c in self._plan.grid if c.trainable]
        costs = config_costs([c.config for c in able], len(self._used.genres))
        jobs = [self._make_job(c, costs[c.config]) for c in able]
        with self._measuring(jobs, _trained_kind), self._progress.step("training", len(jobs), "configs") as step:
            train(
                jobs,
                self._data(),
                self._study.workspace,
                self._cluster.resources,
                step,
                finished=self._follow,
                training=lambda keys: self._lock.tell("training", keys),
            )

    def _train_search(self, source: SearchRun, table: str, concurrent: int | None) -> None:
        from orchestrator.engine.search import search
        from orchestrator.engine.tuning import GPU_SHARE

        if not source.left:
            return
        check_drawable(self._plan, table)
        jobs: list[ConfigJob] = []

        def finished(job: ConfigJob) -> None:
            jobs.append(job)
            self._follow(job)

        step_name = f"searching {table}"
        with self._measuring(jobs, drawn_kind), self._progress.step(step_name, source.left, "configs") as step:
            search(
                source,
                self._data(),
                self._study.workspace,
                self._cluster.resources,
                step,
                finished=finished,
                training=lambda keys: self._lock.tell("searching", keys),
                concurrent=concurrent,
                gpus=1.0 if source.end_to_end else GPU_SHARE,
            )

    def _follow(self, job: ConfigJob) -> None:
        self._follower.add(job.key)

    def _make_job(self, config: ConfigPlan, cost: ConfigCost | None) -> ConfigJob:
        from orchestrator.engine.jobs import ConfigJob

        todo = {t.split: (t.key, t.data) for t in config.trials if not t.finished and t.key and t.data}
        weights = tuple(s.backbone.weights for s in config.config.streams)
        name = checkpoint_name(config.key, self._labels)
        return ConfigJob(config.config, config.key, config.embedding_keys, weights, todo, cost, checkpoint=name)

    def _data(self) -> TrainingData:
        from orchestrator.engine.jobs import TrainingData

        used = self._used
        return TrainingData(
            mids=used.mids,
            genres=used.genres,
            labels=used.labels,
            splits=used.splits,
            rows={s.key: s.cached for s in self._plan.sets},
            synthetic=used.synthetic,
            versions=_versions(),
            commit=_commit(),
        )

    @contextmanager
    def _measuring(self, jobs: Sequence[ConfigJob], kind_of: Callable[[AggregatorSpec], str]) -> Iterator[None]:
        """Counts and measures what the block trains, also where lost vectors end it: the run then plans anew."""
        try:
            yield
        except VectorsMissing:
            self._measure(jobs, kind_of)
            raise
        self._measure(jobs, kind_of)

    def _measure(self, jobs: Sequence[ConfigJob], kind_of: Callable[[AggregatorSpec], str]) -> None:
        """Adds what training took to the rates, by head: a clip through one costs as much whatever else varies."""
        searched = {key: job.search for job in jobs for key, _ in job.trials.values()}
        records = self._study.workspace.ledger.states(searched).values()
        self.trained += sum(record.status != "failed" for record in records)
        spent: dict[str, Work] = {}
        for record in (r for r in records if r.status == "done"):
            config = config_from_plain(record.config)
            trailers = record.n_train + record.n_val + record.n_test
            if clips := len(record.history) * trailers * config.clips_per_snippet:
                kind = kind_of(config.aggregator)
                known = spent.get(kind)
                seconds, units = (known.seconds, known.units) if known else (0.0, 0.0)
                spent[kind] = Work(record.seconds + seconds, clips + units)
        self._study.workspace.rates.record(spent)


def _trained_kind(aggregator: AggregatorSpec) -> str:
    return f"train {aggregator_label(aggregator)}"


def _versions() -> dict[str, str]:
    names = ("divita-orchestrator", "torch", "torchvision", "timm", "ray", "numpy")
    return {name: version(name) for name in names}


def _commit() -> str | None:
    """The commit of the code that runs, with `+` where files were changed since; None outside a checkout."""
    here = Path(__file__).resolve().parents[2]
    if not (here / ".git").exists():
        return None

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", "-C", str(here), *arguments], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return None
