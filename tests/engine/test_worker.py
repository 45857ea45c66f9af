"""What becomes of a config that is interrupted, can't be trained or can't be stored, each by a real failure."""

from __future__ import annotations

import io
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import psutil
import pytest
import torch

from orchestrator.engine.session import Resources
from orchestrator.engine.tuning import train
from orchestrator.engine.worker import is_memory_error
from orchestrator.errors import StoreError, VectorsMissing
from orchestrator.specs import GRUSpec
from orchestrator.store.checkpoints import Checkpoint
from orchestrator.store.embeddings import EmbeddingRow


def run(prepared: Any, resources: Resources, jobs: Any, training: Callable[[list[str]], None] | None = None) -> Any:
    """The keys of the configs that ended."""
    ended: list[str] = []
    train(
        jobs,
        prepared.data,
        prepared.workspace,
        resources,
        prepared,
        lambda job: ended.append(job.key),
        training or (lambda keys: None),
    )
    return ended


def test_a_killed_worker_goes_on_from_its_checkpoint_to_the_same_bits(prepared: Any, resources: Resources) -> None:
    job = prepared.job(GRUSpec(units=8), epochs=60)
    epochs: list[int] = []
    killed: list[Checkpoint] = []

    def kill_in_the_middle(keys: list[str]) -> None:
        found = prepared.workspace.checkpoints.epochs(keys)
        epochs.extend(found.values())
        if not killed and found.get(job.key, 0) >= 5:
            children = psutil.Process().children(recursive=True)
            (worker,) = [p for p in children if "Trainable.train" in " ".join(p.cmdline())]
            os.kill(worker.pid, signal.SIGKILL)
            worker.wait(10)
            killed.append(prepared.workspace.checkpoints.read(job.key))  # nothing writes now

    run(prepared, resources, [job], kill_in_the_middle)
    assert prepared.scores([job]) == prepared.expected([job])
    assert prepared.notes == []
    (kept,) = killed
    assert epochs == sorted(epochs), "training never went back"
    assert_no_epoch_ran_again(prepared, job, kept)
    assert prepared.workspace.checkpoints.read(job.key) is None, "a finished config keeps no checkpoint"


def kill_trainer() -> bool:
    """Kills a worker that trains; Ray names a worker after what it does."""
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if "Trainable.train" in " ".join(process.cmdline()):
                process.kill()
                process.wait(10)
                return True
    return False


def test_a_config_outlives_any_number_of_workers_as_long_as_it_gets_on(prepared: Any, resources: Resources) -> None:
    job = prepared.job(GRUSpec(units=8), epochs=400, stop_patience=400, splits=(0,))
    killed = [0]

    def kill_now_and_then(keys: list[str]) -> None:
        epoch = prepared.workspace.checkpoints.epochs(keys).get(job.key, 0)
        if len(killed) < 5 and epoch > killed[-1] and kill_trainer():
            killed.append(prepared.workspace.checkpoints.read(job.key).epoch)

    assert run(prepared, resources, [job], kill_now_and_then) == [job.key]
    assert len(killed) == 5 and prepared.notes == []
    assert prepared.scores([job]) == prepared.expected([job])


def test_a_config_whose_worker_dies_at_the_same_epoch_three_times_fails_and_the_others_are_trained(
    prepared: Any, resources: Resources
) -> None:
    fatal = prepared.job(GRUSpec(units=8), epochs=100_000, stop_patience=100_000, splits=(0,), checkpoint=None)
    other = prepared.job(clips=4)
    deaths: list[int] = []

    def kill(keys: list[str]) -> None:
        if keys == [fatal.key] and kill_trainer():
            deaths.append(1)

    assert sorted(run(prepared, resources, [fatal, other], kill)) == sorted([other.key, fatal.key])
    assert len(deaths) == 3
    (record,) = prepared.workspace.ledger.failed().values()
    assert record.reason == "its worker died 3 times at the same epoch: it was killed, crashed, or its node went"
    assert prepared.notes == [f"failed: {fatal.config.label}: {record.reason}"]
    assert prepared.scores([other]) == prepared.expected([other])


def test_vectors_that_are_found_torn_end_the_grid_and_what_was_trained_stays(
    prepared: Any, resources: Resources
) -> None:
    rows = prepared.data.rows["set"]
    vectors = prepared.workspace.embeddings.load("set", prepared.data.mids, rows)
    pairs = zip(rows.items(), vectors.offsets, vectors.offsets[1:], strict=False)
    torn = [EmbeddingRow(mid, digest, vectors.vectors[a:b]) for (mid, digest), a, b in pairs]
    prepared.workspace.embeddings.write_part("torn", torn)
    (part,) = (prepared.workspace.local / "embeddings" / "torn").glob("part-*.parquet")
    content = bytearray(part.read_bytes())
    content[len(content) // 2] ^= 1
    part.write_bytes(bytes(content))
    prepared = type(prepared)(prepared.workspace, replace(prepared.data, rows={"set": rows, "torn": rows}))
    good = prepared.job(clips=4, splits=(0,))
    bad = [replace(prepared.job(clips=n, splits=(0,)), embedding_keys=("torn",)) for n in (2, 3, 5, 6)]
    with pytest.raises(VectorsMissing, match=r"no vectors of 40 trailers: tr00, tr01"):
        run(prepared, resources, [good, *bad])
    assert prepared.workspace.ledger.failed() == {} and prepared.notes == []
    assert prepared.scores(bad) == {} and prepared.scores([good]).items() <= prepared.expected([good]).items()


def assert_no_epoch_ran_again(prepared: Any, job: Any, kept: Checkpoint) -> None:
    """The epochs of the checkpoint are in the records with the very seconds that they took."""
    state = torch.load(io.BytesIO(kept.state), weights_only=True)
    for split, record in prepared.records(job).items():
        before = [epoch["seconds"] for epoch in state["splits"][split]["history"]]
        assert len(before) >= 3 and [epoch["seconds"] for epoch in record.history][: len(before)] == before


def test_a_later_run_goes_on_where_the_last_one_ended_also_with_fewer_splits(
    prepared: Any, resources: Resources
) -> None:
    whole = prepared.job(GRUSpec(units=8), epochs=60)

    class Killed(Exception):
        pass

    def die(keys: list[str]) -> None:
        if prepared.workspace.checkpoints.epochs(keys).get(whole.key, 0) >= 3:
            raise Killed

    with pytest.raises(Killed):
        run(prepared, resources, [whole], die)
    kept = prepared.workspace.checkpoints.read(whole.key)
    assert kept.trials == {split: key for split, (key, _) in whole.trials.items()}
    rest = prepared.job(GRUSpec(units=8), epochs=60, splits=(1, 2))  # as if killed after the first record
    run(prepared, resources, [rest])
    assert prepared.scores([whole]) == prepared.expected([rest])
    assert_no_epoch_ran_again(prepared, rest, kept)
    assert prepared.workspace.checkpoints.read(whole.key) is None


def test_a_checkpoint_of_other_trials_or_that_does_not_load_is_not_used(prepared: Any, resources: Resources) -> None:
    first, second = prepared.job(clips=2), prepared.job(clips=4)
    store = prepared.workspace.checkpoints
    store.write(first.key, Checkpoint(2, dict.fromkeys(range(3), "another"), b""))
    store.write(second.key, Checkpoint(2, {s: key for s, (key, _) in second.trials.items()}, b"no state at all"))
    run(prepared, resources, [first, second])
    assert prepared.scores([first, second]) == prepared.expected([first, second])
    (note,) = prepared.notes
    assert second.config.label in note and "training begins anew" in note


def test_configs_that_cannot_be_trained_fail_alone_each_with_its_reason(prepared: Any, resources: Resources) -> None:
    large = prepared.job(GRUSpec(units=2_000_000))
    wild = prepared.job(learning_rate=1e30, epochs=30)
    good = [prepared.job(clips=clips) for clips in (4, 5)]
    jobs = [large, wild, *good]
    prepared.workspace.checkpoints.write(large.key, Checkpoint(2, {0: "another"}, b""))
    assert sorted(run(prepared, resources, jobs)) == sorted(job.key for job in jobs)
    assert prepared.scores(good) == prepared.expected(good)
    failed = prepared.workspace.ledger.failed()

    def reasons(job: Any) -> set[str]:
        return {str(failed[key].reason) for key, _ in job.trials.values()}

    (memory,) = reasons(large)
    assert memory.startswith("out of memory; lower training.batch_size, clips_per_snippet or the width of the head")
    assert "\n" not in memory
    assert len(reasons(wild)) == 3 and all("loss is" in reason for reason in reasons(wild))
    assert f"failed: {large.config.label}: 3 of 3 trials (`divita status` says why)" in prepared.notes
    kept = prepared.workspace.checkpoints.epochs([job.key for job in jobs])
    assert kept == {large.key: 2}, "with more memory it could go on; a loss that is no number would come again"


def test_memory_errors_are_told_from_others() -> None:
    with pytest.raises(RuntimeError) as cpu:
        torch.empty(1 << 50)
    assert is_memory_error(cpu.value)
    assert is_memory_error(torch.OutOfMemoryError("CUDA out of memory")) and is_memory_error(MemoryError())
    with pytest.raises(RuntimeError) as other:
        torch.zeros(2) @ torch.zeros(3)
    assert not is_memory_error(other.value)


@pytest.mark.parametrize("refused", ["checkpoints", "ledger"])
def test_a_workspace_that_refuses_stops_the_sweep_with_its_error_and_blames_no_trial(
    prepared: Any, resources: Resources, refused: str
) -> None:
    jobs = [prepared.job(clips=clips) for clips in (2, 3, 4, 5, 6, 7)]
    folder = prepared.workspace.local / refused
    if refused == "checkpoints":
        folder.write_text("a file stands in the way")
    else:
        for key, _ in jobs[2].trials.values():  # where no file can replace it
            (folder / f"{key}.npz").mkdir(parents=True)
    with pytest.raises(StoreError, match=rf"/{refused}.*: can't (read|write): "):
        run(prepared, resources, jobs)
    assert prepared.workspace.ledger.failed() == {}
    done = prepared.scores(jobs)
    assert len(done) < 18 and done.items() <= prepared.expected(jobs).items(), "what was written stays"
