"""Searches on a real Tune: the order of draws and verdicts, what pruning leaves, errors that reach the caller."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import psutil
import pytest

from orchestrator.engine.jobs import ConfigJob
from orchestrator.engine.search import search, slots
from orchestrator.engine.session import Resources
from orchestrator.errors import InputError, VectorsMissing
from orchestrator.training.milestones import milestone_means


@dataclass
class Listed:
    """A source that writes down what it is asked. `bad` says at which milestone it prunes a config."""

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
    settings = {"epochs": 6, "stop_patience": 6, "milestones": (2, 4), "metric": "uAP", "search": "a-search"}
    return [prepared.job(clips=n, **(settings | more)) for n in clips]


def test_one_at_a_time_each_is_drawn_judged_and_known_before_the_next(prepared: Any, resources: Resources) -> None:
    first, low, last = draws(prepared, (2, 3, 4))
    (wild,) = draws(prepared, (3,), learning_rate=1e30)
    jobs = [first, low, wild, last]
    ledger = prepared.workspace.ledger
    known: list[int] = []

    class Asks(Listed):
        def finished(self, job: ConfigJob) -> None:
            super().finished(job)
            keys = [key for key, _ in job.trials.values()]
            known.append(len(ledger.states(dict.fromkeys(keys, "a-search"))))

    source = Asks(list(jobs), bad={low.key: 2})
    assert run(prepared, resources, source) == [job.key for job in jobs]
    assert source.events == [(what, job.key) for job in jobs for what in ("drawn", "finished")]
    assert known == [3] * 4, "the records were there before the source was told"

    told = {
        job.key: milestone_means([r.history for r in prepared.records(job).values()], "uAP", (2, 4))
        for job in (first, last)
    }
    pruned = ledger.pruned("a-search", [key for key, _ in low.trials.values()])
    assert source.reports == [
        (first.key, {2: told[first.key][2]}),
        (first.key, told[first.key]),
        (low.key, milestone_means([record.history for record in pruned.values()], "uAP", (2, 4))),
        (last.key, {2: told[last.key][2]}),
        (last.key, told[last.key]),
    ], "at each milestone, by what the records say; one whose split failed is not judged"

    assert len(pruned) == 3
    for record in pruned.values():
        assert (record.status, record.reason, record.search) == ("pruned", "too low", "a-search")
        assert [epoch["epoch"] for epoch in record.history] == [1, 2] and record.test == {}
        assert record.n_train + record.n_val + record.n_test == 40 and record.head_parameters
    assert prepared.workspace.checkpoints.epochs([job.key for job in jobs]) == {}
    assert prepared.scores([first, last]) == prepared.expected([first, last])


def test_a_verdict_that_was_lost_is_asked_for_again_before_training_goes_on(
    prepared: Any, resources: Resources
) -> None:
    (job,) = draws(prepared, (3,))
    error = InputError("refused")

    class Dies(Listed):
        def judge(self, job: ConfigJob, reports: Mapping[int, float]) -> str | None:
            super().judge(job, reports)
            raise error

    first = Dies([job])
    with pytest.raises(InputError) as raised:
        run(prepared, resources, first)
    assert raised.value is error, "what a source raises reaches the caller as it is"
    kept = prepared.workspace.checkpoints.read(job.key)
    assert kept.epoch == 2, "without a verdict it trained no further"
    second = Listed([job], bad={job.key: 2})
    run(prepared, resources, second)
    assert second.reports == first.reports
    pruned = prepared.workspace.ledger.pruned("a-search", [key for key, _ in job.trials.values()])
    assert {len(record.history) for record in pruned.values()} == {2}


@pytest.mark.parametrize("where", ["next", "finished"])
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
    jobs = draws(prepared, range(2, 9), splits=(0,))
    source = Listed(list(jobs), bad={jobs[2].key: 2, jobs[5].key: 4})
    ended = run(prepared, resources, source, concurrent=None)
    assert sorted(ended) == sorted(job.key for job in jobs)
    out = most = 0
    for what, _ in source.events:
        out += 1 if what == "drawn" else -1
        most = max(most, out)
    assert most == 2, "as many as there are cores, and nothing is drawn before it can start"
    rest = [job for job in jobs if job.key not in source.bad]
    assert prepared.scores(jobs) == prepared.expected(rest)


def kill_idle_worker() -> None:
    """Kills the worker that has ended its config and waits for another; Ray names a worker after what it does."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        for process in psutil.Process().children(recursive=True):
            line = " ".join(process.cmdline())
            if line.startswith("ray::") and "Trainable" in line and ".train" not in line:
                process.kill()
                process.wait(10)
                return
        time.sleep(0.05)
    raise AssertionError("no worker waits")


def test_a_worker_killed_between_two_configs_costs_neither(prepared: Any, resources: Resources) -> None:
    jobs = draws(prepared, (2, 3, 4), splits=(0,))

    class Kills(Listed):
        def next(self) -> ConfigJob | None:
            if len(self.jobs) == 2:
                kill_idle_worker()
            return super().next()

    source = Kills(list(jobs))
    assert run(prepared, resources, source) == [job.key for job in jobs]
    assert source.events == [(what, job.key) for job in jobs for what in ("drawn", "finished")]
    assert prepared.notes == [] and prepared.scores(jobs) == prepared.expected(jobs)


def test_a_config_whose_worker_was_dead_is_trained_though_nothing_is_left_to_draw(
    prepared: Any, resources: Resources
) -> None:
    jobs = draws(prepared, (2, 3, 4, 5), splits=(0,))

    class Kills(Listed):
        killed = False

        def finished(self, job: ConfigJob) -> None:
            super().finished(job)
            if not self.killed:
                kill_idle_worker()
                self.killed = True

    source = Kills(list(jobs))
    run(prepared, resources, source, concurrent=len(jobs))
    assert sorted(source.events) == sorted((what, job.key) for job in jobs for what in ("drawn", "finished"))
    assert prepared.notes == [] and prepared.scores(jobs) == prepared.expected(jobs)


def test_vectors_that_are_found_torn_end_a_search_and_no_config_is_to_blame(
    prepared: Any, resources: Resources
) -> None:
    (part,) = (prepared.workspace.local / "embeddings" / "set").glob("part-*.parquet")
    content = bytearray(part.read_bytes())
    content[len(content) // 2] ^= 1
    part.write_bytes(bytes(content))
    source = Listed(draws(prepared, range(2, 9)))
    with pytest.raises(VectorsMissing, match=r"no vectors of 40 trailers: tr00, tr01"):
        run(prepared, resources, source, concurrent=2)
    assert len(source.events) <= 2, "nothing else was drawn"
    assert prepared.workspace.ledger.failed() == {} and prepared.notes == []


def test_slots_are_cores_or_shares_of_gpus() -> None:
    assert slots(Resources(8, 0, 0), 0.25) == 8
    assert slots(Resources(8, 1, 0), 0.25) == 4 and slots(Resources(2, 4, 0), 0.25) == 2
    assert slots(Resources(16, 2, 0), 1.0) == 2 and slots(Resources(0, 0, 0), 1.0) == 1
