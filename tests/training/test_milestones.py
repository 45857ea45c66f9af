from __future__ import annotations

import pytest

from orchestrator.training.lockstep import LockstepTrainer
from orchestrator.training.milestones import milestone_means


@pytest.mark.parametrize("metric", ["val_loss", "uAP", "sAP"])
def test_the_mean_at_every_epoch_is_that_of_the_lockstep_record(make_config, make_data, metric):
    lockstep = LockstepTrainer(make_config(epochs=12, stop_patience=3), make_data(signal=0.3))
    name = metric if metric == "val_loss" else f"val_{metric}"
    told, partial = {}, 0
    while not lockstep.done:
        record = lockstep.step()
        told[record.epoch] = record.means[name]
        partial += len(record.records) < 3
    histories = [[r.flat() for r in trainer.history] for trainer in lockstep.trainers.values()]
    assert partial, "some split stopped early"
    assert milestone_means(histories, metric, range(1, lockstep.epoch + 1)) == told


def test_milestones_that_no_split_has_reached_are_left_out():
    history = [{"val_uAP": 1.0}, {"val_uAP": 2.0}]
    assert milestone_means([history, history[:1]], "uAP", (1, 2, 3, 9)) == {1: 1.0, 2: 1.5}
    assert milestone_means([], "uAP", (1,)) == {}
