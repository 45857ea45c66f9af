"""A search as it runs: draws configs, judges and learns from them, each time from what the workspace holds.

Knows no Ray; `engine.search` asks it. Every draw is kept before it is trained, and what is known of a config comes
from the ledger. So a search that was killed knows what it knew, and one that runs a config at a time repeats itself.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import count
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
        self._taken, self._exhausted = set(search.taken), search.exhausted
        self._earlier = max(search.taken, default=-1)
        self._grid = frozenset(c.key for c in plan.grid)
        self._learn(search.drawn)
        # What a grid asks for as well is the grid's to train.
        self._waiting = [d for d in search.drawn if not d.shared and not self._is_over(d) and d.plan.trainable]

    @property
    def left(self) -> int:
        """Configs that are to be trained: those drawn before that have no result, and those to draw."""
        return len(self._waiting) + (0 if self._exhausted else max(0, self._spec.configs - len(self._known)))

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
        while not self._exhausted and len(self._known) < self._spec.configs:
            drawn = self._draw()
            if drawn is None:
                self._end_early()
                return None
            self._learn([drawn])
            if not drawn.shared and not self._is_over(drawn):
                return self._job(drawn)
            # A grid, or an earlier search, has trained this very config.
        return None

    def judge(self, job: ConfigJob, reports: Mapping[int, float]) -> str | None:
        """Why the config is to be pruned after the last of the epochs in `reports`; None where it goes on."""
        from orchestrator.search.pruning import judge

        mine = replace(self._known[job.key], state="running", reports=dict(reports))
        self._known[job.key] = mine
        others = [other for key, other in self._known.items() if key != job.key]
        if mine.number <= self._earlier:
            # Drawn by an earlier run: it is judged as it was then, not against what was drawn since.
            others = [other for other in others if other.number < mine.number]
        return judge(self._spec, mine, others)

    def finished(self, job: ConfigJob) -> None:
        """The config has its records, or its worker died without: what they say is known from now on."""
        self._learn([self._drawn[job.key]])

    def _draw(self) -> Drawn | None:
        """The next config, kept; None where there is no other. Raises InputError where there is none at all."""
        from orchestrator.search.sampling import draw

        # The lowest number without a draw: one whose file was torn is drawn again from what was known before it.
        number = next(n for n in count() if n not in self._taken)
        known = sorted((o for o in self._known.values() if o.number < number), key=lambda o: o.number)
        try:
            values = draw(self._spec, number, known, self._accept)
        except InputError:  # nothing within the limits; where some were found, these are all
            if not self._known:
                raise
            values = None
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
        suggestion = Suggestion(search.table, self._search.identity, self._search.space, number, dict(values), entry)
        self._workspace.sweeps.suggest(self._plan.space.name, suggestion)
        self._taken.add(number)
        shared = placed.key in self._grid
        if not shared:
            self._started(suggestion)
        return Drawn(suggestion.number, suggestion.values, placed, shared)

    def _end_early(self) -> None:
        """The ranges hold fewer configs than asked for; kept, unless it is for want of vectors."""
        self._exhausted = True
        found, wanted = len(self._known), self._spec.configs
        self._progress.say(f"{self._space.table}: the ranges hold {found} configs, not {wanted}; all are drawn")
        if not self._lost:
            self._workspace.sweeps.mark_exhausted(
                self._plan.space.name, self._space.table, self._search.identity, self._search.space
            )

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

    def _learn(self, drawn: Sequence[Drawn]) -> None:
        # What this search pruned counts as pruned, what another did, or a grid asks for as well, not at all.
        asked = {t.key: None if d.shared else self._search.identity for d in drawn for t in d.plan.trials if t.key}
        records = self._workspace.ledger.states(asked)
        for d in drawn:
            self._drawn[d.plan.key] = d
            mine = [records.get(t.key or "") for t in d.plan.trials]
            self._known[d.plan.key] = observe(self._spec, d.number, d.values, d.plan.key, mine)


def check_drawable(plan: Plan, table: str) -> None:
    """Raises InputError where every config that the search could draw needs a set that can't be completed."""
    needed = [s for s in plan.sets if table in s.searches]
    if needed and all(s.missing for s in needed):
        raise InputError(
            f"{plan.space.source}: search: every config of {table} needs vectors that the store lacks, and the "
            "manifest names no videos to make them from; add a path column"
        )
