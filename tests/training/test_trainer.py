from __future__ import annotations

import copy
import io
import pickle
import warnings
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from orchestrator.errors import InputError
from orchestrator.specs import ConvSpec, CTTSpec, FastVideoSpec, GRUSpec, MeanSpec, TimeSformerSpec, TransformerSpec
from orchestrator.store.embeddings import ClipVectors
from orchestrator.training.metrics import METRICS, chance, evaluate
from orchestrator.training.predict import predict
from orchestrator.training.snippets import SnippetSource
from orchestrator.training.trainer import SplitTrainer, TrainingDiverged, batch_bounds

SPECS = [
    TransformerSpec(width=8, heads=2, feedforward=16),
    GRUSpec(5),
    ConvSpec(6),
    MeanSpec(),
    CTTSpec(16, kernel=2),
    FastVideoSpec(8, attention=True),
]
TINY = TimeSformerSpec(layers=1, width=8, heads=2, patch=56)


def finish(trainer: SplitTrainer) -> SplitTrainer:
    while not trainer.done:
        trainer.run_epoch()
    return trainer


def outcome(trainer: SplitTrainer) -> dict:
    """All of a result but the seconds, in comparable form: equal means equal bit for bit."""
    values = asdict(trainer.result())
    values["history"] = [{k: v for k, v in row.items() if k != "seconds"} for row in values["history"]]
    values["test_probabilities"] = values["test_probabilities"].tobytes()
    values["test_rows"] = values["test_rows"].tolist()
    del values["seconds"]
    return values


def through_a_file(state: dict) -> dict:
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.mark.parametrize("spec", SPECS, ids=lambda s: s.name)
def test_training_learns_what_the_vectors_carry(make_config, make_data, spec):
    data = make_data(trailers=120)[0]
    result = finish(SplitTrainer(make_config(spec, epochs=12), data, 0)).result()
    assert result.test["uAP"] > chance(data.labels[data.test], data.genres)["uAP"] + 15
    assert result.history[-1]["train_loss"] < result.history[0]["train_loss"]


def test_a_result_holds_what_the_ledger_records(make_config, make_data):
    data = make_data()[1]
    result = finish(SplitTrainer(make_config(), data, 1)).result()
    assert result.split == 1
    assert [row["epoch"] for row in result.history] == [1, 2, 3, 4, 5]
    assert set(result.history[0]) == {"epoch", "train_loss", "val_loss", "learning_rate", "seconds"} | {
        f"val_{m}" for m in METRICS
    }
    assert (result.n_train, result.n_val, result.n_test) == (25, 5, 10)
    assert result.test_rows.tolist() == data.test.tolist()
    assert result.test_probabilities.dtype == np.float32 and result.test_probabilities.shape == (10, 3)
    scores = evaluate(data.labels[data.test], result.test_probabilities, data.genres)
    assert result.per_genre == scores["AP"]
    assert result.test == {m: scores[m] for m in METRICS}
    assert result.parameters == sum(p.numel() for p in SplitTrainer(make_config(), data, 1).head.parameters())
    assert result.seconds >= sum(row["seconds"] for row in result.history) > 0


def test_the_best_validation_loss_is_evaluated_not_the_last_epoch(make_config, make_data):
    data = make_data(signal=0.0)[0]  # nothing to learn: the validation loss soon rises
    trainer = SplitTrainer(make_config(epochs=15), data, 0)
    after = []
    while not trainer.done:
        trainer.run_epoch()
        after.append(predict(trainer.head, trainer.source, trainer.labels, data.test, 3)[0])
    losses = [row.val_loss for row in trainer.history]
    result = trainer.result()
    assert result.best_epoch == 1 + int(np.argmin(losses)) < len(losses)
    assert np.array_equal(result.test_probabilities, after[result.best_epoch - 1])
    assert not np.array_equal(result.test_probabilities, after[-1])
    best_row = result.history[result.best_epoch - 1]
    assert result.validation == {m: best_row[f"val_{m}"] for m in METRICS}


def test_a_plateau_cuts_the_learning_rate_and_then_stops_early(make_config, make_data):
    config = make_config(
        epochs=60, learning_rate=0.03, plateau_patience=2, plateau_factor=0.5, stop_patience=7, weight_decay=0.0
    )
    trainer = finish(SplitTrainer(config, make_data(signal=0.0)[0], 0))
    history = trainer.history
    assert len(history) == trainer.best.epoch + 7 < 60
    rate, best, bad = 0.03, float("inf"), 0
    for record in history:
        assert record.learning_rate == pytest.approx(rate)
        bad = 0 if record.val_loss < best * (1 - 1e-4) else bad + 1
        best = min(best, record.val_loss) if bad == 0 else best
        if bad > 2:
            rate, bad = rate / 2, 0
    assert rate < 0.03
    with pytest.raises(RuntimeError, match="trained to its end"):
        trainer.run_epoch()


@pytest.mark.parametrize("spec", SPECS, ids=lambda s: s.name)
def test_the_same_seed_gives_the_same_result_whatever_ran_before(make_config, make_data, spec):
    data = make_data(widths=(6, 4))
    config = make_config(spec, streams=2)
    first = outcome(finish(SplitTrainer(config, data[0], 0)))
    torch.manual_seed(99)
    np.random.seed(99)
    finish(SplitTrainer(make_config(GRUSpec(3), seed=5), make_data(seed=3)[1], 1))
    torch.rand(7)
    assert outcome(finish(SplitTrainer(config, data[0], 0))) == first
    other_seed = make_config(spec, streams=2, seed=1)
    assert outcome(finish(SplitTrainer(other_seed, data[0], 0)))["test"] != first["test"]


def test_another_split_number_draws_other_numbers_for_the_same_data(make_config, make_data):
    data = make_data()[0]
    losses = [SplitTrainer(make_config(), data, split).run_epoch().train_loss for split in (0, 1)]
    assert losses[0] != losses[1]


def test_split_trainers_run_in_turns_as_they_run_one_after_the_other(make_config, make_data):
    data, config = make_data(), make_config()
    in_order = [outcome(finish(SplitTrainer(config, data[i], i))) for i in range(3)]
    trainers = [SplitTrainer(config, data[i], i) for i in range(3)]
    for _ in range(config.training.epochs):
        for trainer in trainers:
            trainer.run_epoch()
    assert [outcome(trainer) for trainer in trainers] == in_order


@pytest.mark.parametrize("spec", [*SPECS, TINY], ids=lambda s: s.name)
def test_every_aggregator_goes_on_from_a_file_as_if_it_had_never_stopped(make_config, make_data, make_frames, spec):
    config = make_config(spec, epochs=4)
    data = (make_frames() if spec is TINY else make_data())[0]
    whole, stopped = (SplitTrainer(config, data, 0) for _ in range(2))
    stopped.run_epoch()
    stopped.run_epoch()
    resumed = SplitTrainer(config, data, 0)
    resumed.load_state_dict(through_a_file(stopped.state_dict()))
    assert outcome(finish(resumed)) == outcome(finish(whole))
    assert_equal_state(resumed.state_dict(), whole.state_dict())


def test_timesformer_learns_from_pixels(make_config, make_frames):
    data = make_frames(trailers=40)[0]
    trainer = finish(SplitTrainer(make_config(TINY, epochs=8), data, 0))
    result = trainer.result()
    assert result.test["uAP"] > chance(data.labels[data.test], data.genres)["uAP"] + 15
    assert result.parameters == sum(p.numel() for p in trainer.head.parameters())
    temporal = trainer.head.streams[0].aggregator.network.encoder.layer[0].temporal_dense
    assert temporal.weight.any()  # it started from zero


@pytest.mark.parametrize("stop", [0, 1, 3, 9])
def test_a_trainer_stopped_after_any_epoch_ends_as_one_that_never_stopped(make_config, make_data, stop):
    """Signal-free data, so that the best epoch lies before some of the stops and the learning rate falls."""
    data = make_data(signal=0.0)[2]
    config = make_config(epochs=12, plateau_patience=1)
    whole = finish(SplitTrainer(config, data, 2))
    assert whole.best.epoch < 9 and whole.history[-1].learning_rate < whole.history[0].learning_rate

    stopped = SplitTrainer(config, data, 2)
    for _ in range(stop):
        stopped.run_epoch()
    state = through_a_file(stopped.state_dict())
    torch.rand(5)
    resumed = SplitTrainer(config, data, 2)
    resumed.load_state_dict(state)
    assert resumed.history == stopped.history
    finish(resumed)
    assert outcome(resumed) == outcome(whole)
    assert_equal_state(resumed.state_dict(), whole.state_dict())


def assert_equal_state(a, b, path="state"):
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b), path
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), path
        for key in a:
            if key != "seconds":
                assert_equal_state(a[key], b[key], f"{path}.{key}")
    elif isinstance(a, list):
        assert len(a) == len(b), path
        for i, pair in enumerate(zip(a, b, strict=True)):
            assert_equal_state(*pair, f"{path}[{i}]")
    else:
        assert a == b, path


def test_a_state_is_a_copy_that_later_epochs_leave_alone(make_config, make_data):
    config, data = make_config(), make_data()[0]
    trainer = SplitTrainer(config, data, 0)
    trainer.run_epoch()
    state = trainer.state_dict()
    on_disk = through_a_file(state)
    finish(trainer)
    loaded = [SplitTrainer(config, data, 0) for _ in range(2)]
    for other in loaded:
        other.load_state_dict(state)
        finish(other)
    assert_equal_state(state, on_disk)
    assert outcome(loaded[0]) == outcome(loaded[1]) == outcome(trainer)


def test_a_state_of_another_config_or_split_is_refused(make_config, make_data):
    data = make_data()
    state = SplitTrainer(make_config(), data[0], 0).state_dict()
    for other in (SplitTrainer(make_config(), data[0], 1), SplitTrainer(make_config(epochs=9), data[0], 0)):
        with pytest.raises(ValueError, match="another config or split"):
            other.load_state_dict(state)


def test_torchs_global_generator_is_left_as_it_was(make_config, make_data):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    finish(SplitTrainer(make_config(), make_data()[0], 0)).result()
    assert torch.equal(torch.get_rng_state(), before)


def test_a_result_taken_before_the_end_does_not_change_the_end(make_config, make_data):
    config, data = make_config(epochs=12), make_data(signal=0.0)[0]
    trainer = SplitTrainer(config, data, 0)
    with pytest.raises(RuntimeError, match="no epoch"):
        trainer.result()
    while not trainer.done:
        assert trainer.run_epoch().epoch >= trainer.result().best_epoch
    assert trainer.best.epoch < 12
    assert outcome(trainer) == outcome(finish(SplitTrainer(config, data, 0)))


class Recording(SnippetSource):
    """A source that keeps what it was asked for."""

    def __init__(self, data):
        super().__init__(data.streams)
        self.asked: list[tuple[np.ndarray, np.ndarray]] = []

    def gather(self, trailers, starts, clips):
        self.asked.append((trailers, starts))
        return super().gather(trailers, starts, clips)


def test_each_epoch_sees_every_training_trailer_once_and_other_snippets(make_config, make_data):
    data = make_data()[0]
    source = Recording(data)
    trainer = SplitTrainer(make_config(), data, 0, source=source)
    epochs = []
    for _ in range(2):
        source.asked.clear()
        trainer.run_epoch()
        batches = [(t, s) for t, s in source.asked if np.isin(t, data.train).all()]
        assert [len(trailers) for trailers, _ in batches] == [8, 8, 8, 1]
        epochs.append({t: s for trailers, starts in batches for t, s in zip(trailers, starts, strict=True)})
        assert sorted(epochs[-1]) == data.train.tolist()
    assert list(epochs[0]) != list(epochs[1])
    assert any(epochs[0][t] != epochs[1][t] for t in epochs[0])


def test_a_step_is_adamw_with_amsgrad_on_the_bce_of_a_batch(make_config, make_data):
    data = make_data(widths=(6, 4))[0]
    source = Recording(data)
    spec = TransformerSpec(width=8, heads=2, feedforward=16, dropout=0.0)
    trainer = SplitTrainer(make_config(spec, streams=2, learning_rate=0.05, weight_decay=0.2), data, 0, source=source)
    head = copy.deepcopy(trainer.head).train()
    optimizer = torch.optim.AdamW(head.parameters(), lr=0.05, weight_decay=0.2, amsgrad=True, foreach=False)
    for _ in range(3):
        source.asked.clear()
        record = trainer.run_epoch()
        losses = []
        for trailers, starts in source.asked:
            if np.isin(trailers, data.train).all():
                logits = head(SnippetSource(data.streams).gather(trailers, starts, 3))
                loss = F.binary_cross_entropy_with_logits(logits, torch.tensor(data.labels[trailers]).float())
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                losses += [loss.item()] * len(trailers)
        assert record.train_loss == pytest.approx(np.mean(losses), rel=1e-4)
    torch.testing.assert_close(trainer.head.state_dict(), head.state_dict(), rtol=1e-3, atol=1e-4)


def test_only_a_last_batch_of_one_row_joins_the_one_before():
    assert batch_bounds(9, 4, rows=2) == [(0, 4), (4, 8), (8, 9)]
    assert batch_bounds(9, 4, rows=1) == [(0, 4), (4, 9)]
    assert batch_bounds(10, 4, rows=1) == [(0, 4), (4, 8), (8, 10)]
    assert batch_bounds(3, 4, rows=1) == [(0, 3)]


def test_snippets_of_one_clip_train_with_any_number_of_trailers(make_config, make_data):
    data = make_data()[0]  # 25 training trailers in batches of 8
    finish(SplitTrainer(make_config(clips=1, epochs=1), data, 0)).result()
    lonely = replace(data, train=data.train[:1])
    finish(SplitTrainer(make_config(clips=2, epochs=1), lonely, 0)).result()
    with pytest.raises(ValueError, match="too little for BatchNorm"):
        SplitTrainer(make_config(clips=1), lonely, 0)


def test_a_loss_that_is_not_a_number_ends_the_training_naming_split_and_epoch(make_config, make_data):
    data = make_data()[0]
    vectors = data.streams[0].vectors.copy()
    trainer = SplitTrainer(make_config(), data, 7)
    trainer.run_epoch()
    row = data.streams[0].offsets[data.train[0]]
    vectors[row : row + 9] = np.nan
    poisoned = replace(data, streams=(ClipVectors(vectors, data.streams[0].offsets),))
    resumed = SplitTrainer(make_config(), poisoned, 7)
    resumed.load_state_dict(trainer.state_dict())
    with pytest.raises(TrainingDiverged, match="split 7, epoch 2: the training loss is nan") as error:
        resumed.run_epoch()
    assert (error.value.split, error.value.epoch) == (7, 2)
    assert str(pickle.loads(pickle.dumps(error.value))) == str(error.value)


@pytest.mark.parametrize(("part", "message"), [("val", "validation loss is nan"), ("test", "1 test trailers")])
def test_vectors_that_are_not_numbers_never_become_a_metric(make_config, make_data, part, message):
    data = make_data()[0]
    vectors = data.streams[0].vectors.copy()
    vectors[data.streams[0].offsets[getattr(data, part)[0]]] = np.inf
    poisoned = replace(data, streams=(ClipVectors(vectors, data.streams[0].offsets),))
    with pytest.raises(TrainingDiverged, match=message):
        finish(SplitTrainer(make_config(), poisoned, 0)).result()


def test_settings_that_cannot_be_trained_are_refused_all_at_once(make_config, make_data):
    with pytest.raises(InputError) as error:
        SplitTrainer(make_config(TransformerSpec(heads=3), epochs=0), make_data()[0], 0)
    assert [p.split(":")[0] for p in error.value.problems] == ["aggregator.heads", "training.epochs"]
    with pytest.raises(ValueError, match="the config has 2 streams, the data 1"):
        SplitTrainer(make_config(streams=2), make_data()[0], 0)


def test_read_only_data_trains_without_a_warning(make_config, make_data):
    data = make_data()[0]
    expected = outcome(finish(SplitTrainer(make_config(), data, 0)))
    for array in (data.streams[0].vectors, data.streams[0].offsets, data.labels, data.train, data.val, data.test):
        array.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert outcome(finish(SplitTrainer(make_config(), data, 0))) == expected
