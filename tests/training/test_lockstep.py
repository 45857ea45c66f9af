from __future__ import annotations

import io
from dataclasses import replace
from statistics import fmean

import numpy as np
import pytest
import torch

from orchestrator.specs import TimeSformerSpec
from orchestrator.store.embeddings import ClipVectors
from orchestrator.training.lockstep import LockstepTrainer
from orchestrator.training.trainer import SplitTrainer


def finish(trainer):
    while not trainer.done:
        trainer.step()
    return trainer


def outcomes(lockstep: LockstepTrainer) -> dict:
    return {
        split: (r.test, r.per_genre, r.best_epoch, r.test_probabilities.tobytes(), [h["val_loss"] for h in r.history])
        for split, r in lockstep.results().items()
    }


def poison(data, row):
    """The data with one trailer's vectors not numbers."""
    vectors = data.streams[0].vectors.copy()
    vectors[data.streams[0].offsets[row] : data.streams[0].offsets[row + 1]] = np.nan
    return (ClipVectors(vectors, data.streams[0].offsets),)


def test_splits_in_lockstep_end_as_each_does_by_itself(make_config, make_data):
    data, config = make_data(signal=0.3), make_config(epochs=12, stop_patience=3)
    lockstep = finish(LockstepTrainer(config, data))
    lengths = set()
    for split, result in lockstep.results().items():
        alone = SplitTrainer(config, data[split], split)
        while not alone.done:
            alone.run_epoch()
        expected = alone.result()
        lengths.add(len(expected.history))
        assert result.test == expected.test
        assert result.test_probabilities.tobytes() == expected.test_probabilities.tobytes()
        assert [h["val_loss"] for h in result.history] == [h["val_loss"] for h in expected.history]
    assert len(lengths) > 1  # they do stop at different epochs


def test_frames_train_in_lockstep_on_one_copy(make_config, make_frames):
    data = make_frames(splits=2)
    config = make_config(TimeSformerSpec(layers=1, width=8, heads=2, patch=112), epochs=2)
    lockstep = finish(LockstepTrainer(config, data))
    alone = SplitTrainer(config, data[1], 1)
    while not alone.done:
        alone.run_epoch()
    assert lockstep.results()[1].test_probabilities.tobytes() == alone.result().test_probabilities.tobytes()


def test_a_step_reports_the_means_over_splits_those_that_stopped_early_with_their_last_epoch(make_config, make_data):
    lockstep = LockstepTrainer(make_config(epochs=12, stop_patience=3), make_data(signal=0.3))
    latest = {}
    partial = 0
    while not lockstep.done:
        record = lockstep.step()
        latest |= record.records
        partial += len(record.records) < 3
        assert record.epoch == max(r.epoch for r in latest.values())
        assert record.means["val_loss"] == pytest.approx(fmean(r.val_loss for r in latest.values()))
        assert record.means["val_uAP"] == pytest.approx(fmean(r.val_metrics["uAP"] for r in latest.values()))
        assert set(record.means) == {"val_loss", "val_uAP", "val_mAP", "val_wAP", "val_sAP"}
    assert partial
    with pytest.raises(RuntimeError, match="every split is done"):
        lockstep.step()


@pytest.mark.parametrize("stop", [1, 6])
def test_a_lockstep_stopped_and_loaded_ends_as_one_that_never_stopped(make_config, make_data, stop):
    data, config = make_data(signal=0.3), make_config(epochs=12, stop_patience=3)
    whole = finish(LockstepTrainer(config, data))
    stopped = LockstepTrainer(config, data)
    for _ in range(stop):
        stopped.step()
    file = io.BytesIO()
    torch.save(stopped.state_dict(), file)
    file.seek(0)
    resumed = LockstepTrainer(config, data)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    assert resumed.epoch == stop
    assert outcomes(finish(resumed)) == outcomes(whole)
    assert resumed.epoch == whole.epoch


def test_a_split_that_diverges_fails_alone_and_stays_failed(make_config, make_data):
    config, good = make_config(epochs=3), make_data(trailers=200)
    # a trailer that split 1 validates on and the others test on
    row = next(r for r in good[1].val if r in good[0].test and r in good[2].test)
    streams = poison(good[0], row)
    lockstep = LockstepTrainer(config, {i: replace(d, streams=streams) for i, d in good.items()})
    first = lockstep.step()
    assert first.failures == {1: "split 1, epoch 1: the validation loss is nan"}
    assert set(first.records) == {0, 2}
    assert first.means["val_loss"] == pytest.approx(fmean(r.val_loss for r in first.records.values()))
    resumed = LockstepTrainer(config, {i: replace(d, streams=streams) for i, d in good.items()})
    resumed.load_state_dict(lockstep.state_dict())
    assert resumed.failures == first.failures
    for trainer in (lockstep, resumed):
        finish(trainer)
        assert trainer.epoch == 3
        # The others train to their end, where the trailer they can't predict fails them too, each by name.
        assert trainer.results() == {}
        assert "epoch 1: the validation loss is nan" in trainer.failures[1]
        assert f"1 test trailers are not finite, the first is row {row}" in trainer.failures[0]


def test_the_results_of_the_other_splits_are_those_of_a_lockstep_without_failure(make_config, make_data):
    config, data = make_config(epochs=3), make_data()
    row = data[1].train[0]
    # leave the trailer out of the other splits altogether
    parts = {i: {p: np.setdiff1d(getattr(d, p), [row]) for p in ("train", "val", "test")} for i, d in data.items()}
    clean = {i: replace(d, **parts[i]) for i, d in data.items()}
    streams = poison(data[0], row)
    dirty = {i: replace(data[i] if i == 1 else clean[i], streams=streams) for i in data}
    lockstep = finish(LockstepTrainer(config, dirty))
    assert list(lockstep.failures) == [1]
    expected = outcomes(finish(LockstepTrainer(config, clean)))
    assert outcomes(lockstep) == {i: expected[i] for i in (0, 2)}


def test_when_every_split_fails_there_is_nothing_to_average(make_config, make_data):
    data = make_data(splits=1)
    streams = poison(data[0], data[0].train[0])
    lockstep = LockstepTrainer(make_config(), {0: replace(data[0], streams=streams)})
    record = lockstep.step()
    assert (record.epoch, record.means, list(record.failures)) == (1, {}, [0])
    assert lockstep.done


def test_splits_share_one_copy_of_the_vectors(make_config, make_data):
    data = make_data()
    lockstep = LockstepTrainer(make_config(), data)
    assert len({id(t.source) for t in lockstep.trainers.values()}) == 1
    with pytest.raises(ValueError, match="must share their clip vectors"):
        LockstepTrainer(make_config(), {0: data[0], 1: make_data()[1]})


def test_a_state_that_lacks_a_split_or_is_of_another_config_is_refused(make_config, make_data):
    data = make_data()
    state = LockstepTrainer(make_config(), {0: data[0]}).state_dict()
    with pytest.raises(ValueError, match=r"other splits; it lacks \[1, 2\]"):
        LockstepTrainer(make_config(), data).load_state_dict(state)
    with pytest.raises(ValueError, match="another config"):
        LockstepTrainer(make_config(clips=2), {0: data[0]}).load_state_dict(state)


def test_splits_that_are_done_elsewhere_are_left_out_of_a_state(make_config, make_data):
    data, config = make_data(signal=0.3), make_config(epochs=12, stop_patience=3)
    whole = LockstepTrainer(config, data)
    for _ in range(4):
        whole.step()
    fewer = LockstepTrainer(config, {1: data[1]})
    fewer.load_state_dict(whole.state_dict())
    assert fewer.epoch == 4
    assert outcomes(finish(fewer)) == {1: outcomes(finish(whole))[1]}


def test_the_failure_of_a_split_that_is_left_out_is_left_out_too(make_config, make_data):
    data = make_data(splits=2)
    dirty = {0: data[0], 1: replace(data[1], streams=poison(data[1], data[1].train[0]))}
    dirty[0] = replace(data[0], streams=dirty[1].streams)
    lockstep = LockstepTrainer(make_config(), dirty)
    state = lockstep.state_dict() | {"failures": {1: "why"}}
    fewer = LockstepTrainer(make_config(), {0: dirty[0]})
    fewer.load_state_dict(state)
    assert fewer.failures == {}
