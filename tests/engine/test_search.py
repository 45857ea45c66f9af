"""Searches on a real Tune: the order of draws and verdicts, what pruning leaves, errors that reach the caller."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from orchestrator.engine.jobs import ConfigJob
from orchestrator.engine.search import search, slots
from orchestrator.engine.session import Resources
from orchestrator.errors import InputError
from orchestrator.specs import GRUSpec
from orchestrator.training.milestones import milestone_means

MILESTONES = {"milestones": (2, 4), "metric": "uAP", "search": "a-search"}


@dataclass
class Listed:
    """A source that writes down what it is asked; `bad` are the configs that it prunes, by the milestone."""

    jobs: list[ConfigJob]
    bad: Mapping[str, int] = field(default_factory=dict)
    events: list[tuple[str, str]] = field(default_factory=list)
    reports: list[tuple[str, dict[int, float]]] = field(default_factory=list)

    def next(self) -> ConfigJob | None:
        if not self.jobs:
            return None
        job = self.jobs.pop(0)
        self.events.append(("drawn", job.key))
        return job

    def judge(self, job: ConfigJob, reports: Mapping[int, float]) -> str | None:
        self.reports.append((job.key, dict(reports)))
        return "too low" if max(reports) == self.bad.get(job.key) else None

    def finished(self, job: ConfigJob) -> None:
        self.events.append(("finished", job.key))


def run(prepared: Any, resources: Resources, source: Any, concurrent: int | None = 1) -> list[str]:
    """The keys of the configs that ended."""
    ended: list[str] = []
    search(
        source,
        prepared.data,
        prepared.workspace,
        resources,
        prepared,
        lambda job: ended.append(job.key),
        lambda keys: None,
        concurrent=concurrent,
        gpus=0.25,
    )
    return ended


def draws(prepared: Any, clips: Iterable[int], **more: Any) -> list[ConfigJob]:
    return [prepared.job(clips=n, epochs=6, stop_patience=6, **(MILESTONES | more)) for n in clips]


def test_one_at_a_time_each_config_is_drawn_when_the_one_before_is_known(prepared: Any, resources: Resources) -> None:
    jobs = draws(prepared, (2, 3, 4))
    source = Listed(list(jobs))
    known: list[bool] = []
    inner = source.finished

    def finished(job: ConfigJob) -> None:
        known.append(len(prepared.records(job)) == 3)
        inner(job)

    source.finished = finished  # type: ignore[method-assign]
    assert run(prepared, resources, source) == [job.key for job in jobs]
    assert source.events == [(what, job.key) for job in jobs for what in ("drawn", "finished")]
    assert known == [True] * 3, "the records were there before the source was told"


def test_a_config_is_judged_at_its_milestones_by_what_its_records_say(prepared: Any, resources: Resources) -> None:
    (job,) = draws(prepared, (3,))
    source = Listed([job])
    run(prepared, resources, source)
    histories = [record.history for record in prepared.records(job).values()]
    told = milestone_means(histories, "uAP", (2, 4))
    assert source.reports == [(job.key, {2: told[2]}), (job.key, told)]


def test_a_pruned_config_leaves_records_of_its_own_kind_and_the_next_one_runs(
    prepared: Any, resources: Resources
) -> None:
    jobs = draws(prepared, (2, 3, 4))
    source = Listed(list(jobs), bad={jobs[1].key: 2})
    assert run(prepared, resources, source) == [job.key for job in jobs]
    assert source.events == [(what, job.key) for job in jobs for what in ("drawn", "finished")]
    ledger = prepared.workspace.ledger
    done = {key for job in (jobs[0], jobs[2]) for key, _ in job.trials.values()}
    assert done <= ledger.keys()
    pruned = ledger.pruned([key for key, _ in jobs[1].trials.values()])
    assert len(pruned) == 3
    for record in pruned.values():
        assert (record.status, record.reason, record.search) == ("pruned", "too low", "a-search")
        assert [epoch["epoch"] for epoch in record.history] == [1, 2] and record.test == {}
        assert record.n_train + record.n_val + record.n_test == 40 and record.head_parameters
    assert prepared.workspace.checkpoints.read(jobs[1].key) is None
    assert prepared.notes == []


def test_a_verdict_that_was_lost_is_asked_for_again_before_training_goes_on(
    prepared: Any, resources: Resources
) -> None:
    (job,) = draws(prepared, (3,))

    class Killed(Exception):
        pass

    class Dies(Listed):
        def judge(self, job: ConfigJob, reports: Mapping[int, float]) -> str | None:
            super().judge(job, reports)
            raise Killed

    first = Dies([job])
    with pytest.raises(Killed):
        run(prepared, resources, first)
    kept = prepared.workspace.checkpoints.read(job.key)
    assert kept is not None and kept.epoch == 2
    second = Listed([job], bad={job.key: 2})
    run(prepared, resources, second)
    assert second.reports == first.reports
    pruned = prepared.workspace.ledger.pruned([key for key, _ in job.trials.values()])
    assert {len(record.history) for record in pruned.values()} == {2}


def test_splits_that_are_done_already_count_in_the_means(prepared: Any, resources: Resources) -> None:
    (whole,) = draws(prepared, (3,))
    first = Listed([whole])
    run(prepared, resources, first)
    history = prepared.records(whole)[0].history
    for split in (1, 2):
        for path in prepared.workspace.local.joinpath("ledger").glob(f"{whole.trials[split][0]}*"):
            path.unlink()
    (rest,) = draws(prepared, (3,), splits=(1, 2), histories={0: history})
    second = Listed([rest])
    run(prepared, resources, second)
    assert second.reports == first.reports


def test_a_config_whose_split_failed_is_not_judged(prepared: Any, resources: Resources) -> None:
    (job,) = draws(prepared, (3,), learning_rate=1e30)
    source = Listed([job])
    run(prepared, resources, source)
    assert source.reports == [] and source.events[-1] == ("finished", job.key)
    assert len(prepared.workspace.ledger.failed()) == 3


@pytest.mark.parametrize("where", ["next", "judge", "finished"])
def test_what_a_source_raises_ends_the_search_and_reaches_the_caller(
    prepared: Any, resources: Resources, where: str
) -> None:
    error = InputError(f"{where}: refused")

    def refuse(*arguments: Any) -> Any:
        raise error

    source = Listed(draws(prepared, (2, 3, 4)))
    setattr(source, where, refuse)
    with pytest.raises(InputError) as raised:
        run(prepared, resources, source)
    assert raised.value is error
    assert len(source.events) <= 1, "nothing else was drawn"


def test_several_at_a_time_every_config_runs_once(prepared: Any, resources: Resources) -> None:
    jobs = [prepared.job(GRUSpec(units=4), clips=n, epochs=6, splits=(0,), **MILESTONES) for n in range(2, 9)]
    source = Listed(list(jobs), bad={jobs[2].key: 2, jobs[5].key: 4})
    ended = run(prepared, resources, source, concurrent=None)
    assert sorted(ended) == sorted(job.key for job in jobs)
    out = most = 0
    for what, _ in source.events:
        out += 1 if what == "drawn" else -1
        most = max(most, out)
    assert most == 2, "as many as there are cores, and nothing is drawn before it can start"
    assert len(prepared.scores(jobs)) == 5


def test_slots_are_cores_or_shares_of_gpus() -> None:
    assert slots(Resources(8, 0, 0), 0.25) == 8
    assert slots(Resources(8, 1, 0), 0.25) == 4 and slots(Resources(2, 4, 0), 0.25) == 2
    assert slots(Resources(16, 2, 0), 1.0) == 2 and slots(Resources(0, 0, 0), 1.0) == 1
