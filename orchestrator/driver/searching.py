"""A search as it runs: draws configs, judges and learns from them, each time from what the workspace holds.

Knows no Ray; `engine.search` asks it. Every draw is kept before it is trained, and what is known of a config comes
from the ledger. So a search that was killed knows what it knew, and one that runs a config at a time repeats itself.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from orchestrator.errors import InputError
from orchestrator.progress import Progress
from orchestrator.search.observe import observe
from orchestrator.search.records import Observation
from orchestrator.specs import FRAMES, plain
from orchestrator.store.sweeps import Suggestion, SweepEntry
from orchestrator.store.workspace import Workspace
from orchestrator.sweep.plan import ConfigPlan, Drawn, Plan, SearchPlan

if TYPE_CHECKING:
    from orchestrator.engine.costs import ConfigCost
    from orchestrator.engine.jobs import ConfigJob

log = logging.getLogger(__name__)

MakeJob = Callable[[ConfigPlan, "ConfigCost | None"], "ConfigJob"]


class SearchRun:
    """The source of configs of one search. Not for threads."""

    def __init__(
        self,
        plan: Plan,
        search: SearchPlan,
        workspace: Workspace,
        genres: int,
        make_job: MakeJob,
        started: Callable[[Suggestion], None],
        progress: Progress,
    ) -> None:
        """`started` is told of each new config when its draw is kept, before it is trained."""
        self._plan, self._search, self._workspace, self._genres = plan, search, workspace, genres
        self._make_job, self._started, self._progress = make_job, started, progress
        self._spec, self._space = search.search.spec, search.search
        self._lost = frozenset(s.key for s in plan.sets if s.missing)
        self._costs: dict[str, ConfigCost | None] = {}
        self._drawn: dict[str, Drawn] = {}
        self._known: dict[str, Observation] = {}
        for drawn in search.drawn:
            self._learn(drawn)
        self._waiting = [d for d in search.drawn if not self._is_over(d) and d.plan.trainable]
        self._number = max((d.number for d in search.drawn), default=-1) + 1

    @property
    def left(self) -> int:
        """Configs that are to be trained: those drawn before that have no result, and those to draw."""
        return len(self._waiting) + max(0, self._spec.configs - len(self._known))

    @property
    def end_to_end(self) -> bool:
        """Whether heads that train on pixels may be drawn."""
        return any(spec.backbone.name == FRAMES for spec in self._space.embedding_specs())

    def next(self) -> ConfigJob | None:
        """The next config to train, kept in the workspace; None where the search has all of its configs.

        Raises StoreError, or InputError where no config is within the limits.
        """
        if self._waiting:
            return self._job(self._waiting.pop(0))
        while len(self._known) < self._spec.configs:
            drawn = self._draw()
            if drawn is None:
                found, wanted = len(self._known), self._spec.configs
                self._progress.say(f"{self._space.table}: the ranges hold {found} configs, not {wanted}; all are drawn")
                return None
            self._learn(drawn)
            if not self._is_over(drawn):
                return self._job(drawn)
            # A grid, or an earlier search, has trained this very config.
        return None

    def judge(self, job: ConfigJob, reports: Mapping[int, float]) -> str | None:
        """Why the config is to be pruned after the last of the epochs in `reports`; None where it goes on."""
        from orchestrator.search.pruning import judge

        mine = replace(self._known[job.key], state="running", reports=dict(reports))
        self._known[job.key] = mine
        return judge(self._spec, mine, [other for key, other in self._known.items() if key != job.key])

    def finished(self, job: ConfigJob) -> None:
        """The config has its records, or its worker died without: what they say is known from now on."""
        self._learn(self._drawn[job.key])

    def _draw(self) -> Drawn | None:
        from orchestrator.search.sampling import draw

        known = sorted(self._known.values(), key=lambda o: o.number)
        values = draw(self._spec, self._number, known, self._accept)
        if values is None:
            return None
        placed = self._place(values)
        entry = SweepEntry(
            plain(placed.config),
            placed.key,
            placed.embedding_keys,
            placed.tables,
            {str(t.split): t.key for t in placed.trials},
        )
        search = self._space
        suggestion = Suggestion(search.table, self._search.identity, search.space, self._number, dict(values), entry)
        self._workspace.sweeps.suggest(self._plan.space.name, suggestion)
        self._started(suggestion)
        self._number += 1
        return Drawn(suggestion.number, suggestion.values, placed)

    def _accept(self, values: Mapping[str, Any]) -> bool:
        """Whether a draw is new, can be trained, and lies within the limits."""
        placed = self._place(values)
        if placed.key in self._known or self._lost & set(placed.embedding_keys):
            return False
        if not self._spec.limits:
            return True
        cost = self._cost(placed)
        return cost is not None and all(low <= getattr(cost, name) <= high for name, low, high in self._spec.limits)

    def _place(self, values: Mapping[str, Any]) -> ConfigPlan:
        return self._plan.place(self._space.build(values), (self._space.table,), self._search.identity)

    def _cost(self, placed: ConfigPlan) -> ConfigCost | None:
        from orchestrator.engine.costs import config_costs

        if placed.key not in self._costs:
            self._costs[placed.key] = config_costs([placed.config], self._genres)[placed.config]
        return self._costs[placed.key]

    def _job(self, drawn: Drawn) -> ConfigJob:
        spec = self._spec
        job = self._make_job(drawn.plan, self._cost(drawn.plan))
        # Where a split is done already, the config has been judged; the others are owed their results.
        if spec.pruner is None or spec.metric is None or len(job.trials) < len(drawn.plan.trials):
            return job
        milestones = spec.pruner.milestones(drawn.plan.config.training.epochs)
        return replace(job, milestones=milestones, metric=spec.metric, search=self._search.identity)

    def _is_over(self, drawn: Drawn) -> bool:
        return self._known[drawn.plan.key].state in ("done", "pruned")

    def _learn(self, drawn: Drawn) -> None:
        self._drawn[drawn.plan.key] = drawn
        records = self._records([t.key for t in drawn.plan.trials])
        self._known[drawn.plan.key] = observe(self._spec, drawn.number, drawn.values, drawn.plan.key, records)

    def _records(self, keys: list[str | None]) -> list[Any]:
        """By split; a trial that this search pruned counts as pruned, one that another did not at all."""
        ledger, wanted = self._workspace.ledger, [key for key in keys if key]
        done = ledger.read_many(wanted)
        pruned = {k: r for k, r in ledger.pruned(wanted).items() if r.search == self._search.identity}
        failed = ledger.failed([key for key in wanted if key not in done])
        found = failed | pruned | done
        return [found.get(key or "") for key in keys]


def check_drawable(plan: Plan, table: str) -> None:
    """Raises InputError where every config that the search could draw needs a set that can't be completed."""
    needed = [s for s in plan.sets if table in s.searches]
    if needed and all(s.missing for s in needed):
        raise InputError(
            f"{plan.space.source}: search: every config of {table} needs vectors that the store lacks, and the "
            "manifest names no videos to make them from; add a path column"
        )
