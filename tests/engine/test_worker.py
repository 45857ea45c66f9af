"""What becomes of a config that is interrupted, can't be trained or can't be stored, each by a real failure."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import numpy as np
import psutil
import pytest
import torch

from orchestrator import Workspace
from orchestrator.engine.session import Resources
from orchestrator.engine.tuning import train
from orchestrator.engine.worker import is_memory_error
from orchestrator.errors import StoreError
from orchestrator.specs import GRUSpec
from orchestrator.store.checkpoints import Checkpoint


def run(prepared: Any, resources: Resources, jobs: Any, training: Callable[[list[str]], None] | None = None) -> None:
    train(
        jobs, prepared.data, prepared.workspace, resources, prepared, lambda job: None, training or (lambda keys: None)
    )


def workers() -> list[psutil.Process]:
    """Processes that train, children of this Ray alone."""
    mine = psutil.Process().children(recursive=True)
    return [p for p in mine if "Trainable.train" in " ".join(p.cmdline())]


def undisturbed(prepared: Any, resources: Resources, jobs: Any) -> dict[str, Any]:
    """The scores of the jobs trained without a checkpoint, which then are forgotten."""
    run(prepared, resources, jobs)
    expected = prepared.scores(jobs)
    assert len(expected) == sum(len(job.trials) for job in jobs)
    for path in prepared.workspace.local.joinpath("ledger").iterdir():
        path.unlink()
    return expected


def test_a_killed_worker_goes_on_from_its_checkpoint_to_the_same_bits(prepared: Any, resources: Resources) -> None:
    jobs = [prepared.job(GRUSpec(units=8), epochs=60)]
    expected = undisturbed(prepared, resources, jobs)
    killed: list[int] = []
    epochs: list[int] = []

    def kill_in_the_middle(keys: list[str]) -> None:
        found = prepared.workspace.checkpoints.epochs(keys)
        epochs.extend(found.values())
        if not killed and any(epoch >= 5 for epoch in found.values()):
            (worker,) = workers()
            os.kill(worker.pid, signal.SIGKILL)
            worker.wait(10)
            # Nothing writes now: this is what the next worker finds.
            killed.extend(prepared.workspace.checkpoints.epochs(keys).values())

    run(prepared, resources, jobs, kill_in_the_middle)
    assert len(killed) == 1, "a worker was killed in the middle of training"
    assert prepared.scores(jobs) == expected
    assert prepared.notes == []
    assert epochs == sorted(epochs), "no epoch was trained twice but the one that was running"
    assert prepared.workspace.checkpoints.epochs([jobs[0].key]) == {}, "a finished config keeps no checkpoint"
    # Epochs before the kill were not repeated: the record has their seconds from the first worker.
    assert all(len(record.history) > killed[0] for record in prepared.records(jobs[0]).values())


def checkpoint_after(prepared: Any, resources: Resources, job: Any, epoch: int) -> Checkpoint:
    """The checkpoint that a driver leaves which dies when `epoch` is trained."""
    kept: list[Checkpoint] = []

    class Killed(Exception):
        pass

    def stop(keys: list[str]) -> None:
        if prepared.workspace.checkpoints.epochs(keys).get(job.key, 0) >= epoch:
            raise Killed

    with pytest.raises(Killed):
        run(prepared, resources, [job], stop)
    found = prepared.workspace.checkpoints.read(job.key)
    assert found is not None
    kept.append(found)
    return kept[0]


def test_a_later_run_goes_on_where_the_last_one_ended_also_with_fewer_splits(
    prepared: Any, resources: Resources
) -> None:
    whole = prepared.job(GRUSpec(units=8), epochs=60)
    expected = undisturbed(prepared, resources, [whole])
    kept = checkpoint_after(prepared, resources, whole, 3)
    assert kept.trials == {split: key for split, (key, _) in whole.trials.items()}
    before = torch_state(kept)
    rest = prepared.job(GRUSpec(units=8), epochs=60, splits=(1, 2))  # as if killed after the first record
    run(prepared, resources, [rest])
    assert prepared.scores([rest]) == {k: v for k, v in expected.items() if k != whole.trials[0][0]}
    for split, record in prepared.records(rest).items():
        seconds = [epoch["seconds"] for epoch in before["splits"][split]["history"]]
        assert [epoch["seconds"] for epoch in record.history][: len(seconds)] == seconds, "no epoch ran again"
    assert prepared.workspace.checkpoints.read(whole.key) is None


def torch_state(kept: Checkpoint) -> dict[str, Any]:
    import io

    state: dict[str, Any] = torch.load(io.BytesIO(kept.state), weights_only=True)
    return state


def test_a_checkpoint_of_other_trials_or_that_does_not_load_is_not_used(prepared: Any, resources: Resources) -> None:
    first, second = prepared.job(clips=2), prepared.job(clips=4)
    expected = undisturbed(prepared, resources, [first, second])
    store = prepared.workspace.checkpoints
    store.write(first.key, Checkpoint(2, dict.fromkeys(range(3), "another"), b""))
    store.write(second.key, Checkpoint(2, {s: key for s, (key, _) in second.trials.items()}, b"no state at all"))
    run(prepared, resources, [first, second])
    assert prepared.scores([first, second]) == expected
    (note,) = prepared.notes
    assert second.config.label in note and "training begins anew" in note


def test_a_config_too_large_for_memory_fails_with_advice_and_the_others_go_on(
    prepared: Any, resources: Resources
) -> None:
    large, small = prepared.job(GRUSpec(units=2_000_000)), prepared.job()
    run(prepared, resources, [large, small])
    assert len(prepared.scores([small])) == 3
    failed = prepared.workspace.ledger.failed()
    assert sorted(failed) == sorted(key for key, _ in large.trials.values())
    for record in failed.values():
        assert record.reason is not None
        assert record.reason.startswith("out of memory; lower training.batch_size, clips_per_snippet or the width")
        assert "\n" not in record.reason
    assert f"failed: {large.config.label}: 3 of 3 trials (`divita status` says why)" in prepared.notes


def test_memory_errors_are_told_from_others() -> None:
    with pytest.raises(RuntimeError) as cpu:
        torch.empty(1 << 50)
    assert is_memory_error(cpu.value)
    assert is_memory_error(torch.OutOfMemoryError("CUDA out of memory")) and is_memory_error(MemoryError())
    with pytest.raises(RuntimeError) as other:
        torch.zeros(2) @ torch.zeros(3)
    assert not is_memory_error(other.value)


def test_a_loss_that_is_no_number_fails_the_trial_and_leaves_no_checkpoint(prepared: Any, resources: Resources) -> None:
    job = prepared.job(learning_rate=1e30, epochs=30)
    run(prepared, resources, [job])
    reasons = {record.reason for record in prepared.workspace.ledger.failed().values()}
    assert len(reasons) == 3 and all("loss is" in str(reason) for reason in reasons)
    assert prepared.workspace.checkpoints.read(job.key) is None


def test_vectors_that_are_missing_fail_the_config_and_not_the_sweep(prepared: Any, resources: Resources) -> None:
    from dataclasses import replace

    rows = prepared.data.rows | {"torn": prepared.data.rows["set"] | {"tr07": "another video"}}
    part = prepared.workspace.embeddings.load("set", prepared.data.mids, prepared.data.rows["set"])
    assert len(part) == len(prepared.data.mids)
    lacking = replace(prepared.job(clips=2), embedding_keys=("torn",))
    good = prepared.job(clips=4)
    changed = type(prepared)(prepared.workspace, replace(prepared.data, rows=rows))
    run(changed, resources, [lacking, good])
    assert len(prepared.scores([good])) == 3
    reasons = {record.reason for record in prepared.workspace.ledger.failed().values()}
    (reason,) = reasons
    assert reason is not None and "no vectors of 40 trailers" in reason and "`divita run` again" in reason


@pytest.mark.parametrize("refused", ["checkpoints", "ledger"])
def test_a_workspace_that_refuses_stops_the_sweep_with_its_error_and_no_trial_is_blamed(
    prepared: Any, resources: Resources, refused: str
) -> None:
    first = prepared.job(clips=2)
    run(prepared, resources, [first])
    folder = prepared.workspace.local / refused
    for path in folder.glob("*") if refused == "checkpoints" else ():
        path.unlink()
    if refused == "checkpoints":
        folder.rmdir()
        folder.write_text("a file stands in the way")
    else:
        second = prepared.job(clips=4)
        for key, _ in second.trials.values():
            (folder / f"{key}.npz").mkdir()  # no file can replace it
    ended: list[str] = []
    jobs = [prepared.job(clips=clips) for clips in (4, 5, 6, 7, 8)]
    with pytest.raises(StoreError, match=rf"{refused}.*: can't (read|write): a file"):
        train(
            jobs, prepared.data, prepared.workspace, resources, prepared, lambda j: ended.append(j.key), lambda k: None
        )
    assert len(prepared.scores([first])) == 3
    assert Workspace(prepared.workspace.local).ledger.failed() == {}
    assert len(ended) < 5


def test_predictions_and_scores_are_those_of_the_record(prepared: Any, resources: Resources) -> None:
    job = prepared.job(splits=(0,))
    run(prepared, resources, [job])
    (record,) = prepared.records(job).values()
    predictions = prepared.workspace.ledger.predictions(record.key)
    assert predictions["probabilities"].shape == (record.n_test, 3)
    assert np.isfinite(predictions["probabilities"]).all()
