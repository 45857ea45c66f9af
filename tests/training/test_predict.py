from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from orchestrator.training.predict import predict
from orchestrator.training.trainer import SplitTrainer


def test_validation_averages_losses_over_snippets_and_probabilities_over_a_trailers_snippets(make_config, make_data):
    data = make_data()[0]
    trainer = SplitTrainer(make_config(), data, 0)
    record = trainer.run_epoch()
    head, (stream,) = trainer.head.eval(), data.streams
    losses, probabilities = [], []
    with torch.no_grad():
        for row in data.val:
            clips = np.zeros((-(-len(stream[row]) // 3) * 3, 6), np.float32)
            clips[: len(stream[row])] = stream[row]
            logits = head([torch.from_numpy(clips.reshape(-1, 3, 6))])
            target = torch.from_numpy(data.labels[row]).float().expand_as(logits)
            losses += F.binary_cross_entropy_with_logits(logits, target, reduction="none").mean(1).tolist()
            probabilities.append(torch.sigmoid(logits).mean(0).numpy())
    assert record.val_loss == pytest.approx(np.mean(losses), rel=1e-5)
    predicted, _ = predict(head, trainer.source, trainer.labels, data.val, 3)
    np.testing.assert_allclose(predicted, probabilities, rtol=1e-5)


def test_evaluation_in_many_batches_equals_evaluation_trailer_by_trailer(make_config, make_data):
    data = make_data(trailers=200)[0]
    trainer = SplitTrainer(make_config(clips=1), data, 0)
    trainer.run_epoch()
    together, loss = predict(trainer.head, trainer.source, trainer.labels, data.train, 1)  # 600 snippets, 10 batches
    alone = [predict(trainer.head, trainer.source, trainer.labels, row[None], 1) for row in data.train]
    np.testing.assert_allclose(together, np.concatenate([probabilities for probabilities, _ in alone]), rtol=1e-5)
    snippets = trainer.source.counts[data.train]
    assert loss == pytest.approx(np.average([each for _, each in alone], weights=snippets), rel=1e-5)
