"""Training of one head on one split, epoch by epoch, stoppable after each (paper §6 and Table 5, authors' code)."""

from __future__ import annotations

import copy
import math
import time
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from orchestrator.errors import InputError
from orchestrator.heads.check import batchnorm_rows
from orchestrator.heads.registry import build_head, count_parameters
from orchestrator.specs import Config, key_of
from orchestrator.training.check import config_problems
from orchestrator.training.metrics import METRICS, Scores, evaluate
from orchestrator.training.predict import predict
from orchestrator.training.records import EpochRecord, SplitData, TrialResult
from orchestrator.training.seeding import seeded
from orchestrator.training.snippets import SnippetSource, draw_starts


class TrainingDiverged(Exception):
    """A loss or a prediction is not a finite number; the trial of this split has failed."""

    def __init__(self, split: int, epoch: int, what: str) -> None:
        super().__init__(split, epoch, what)  # all three, so that it survives pickling between processes
        self.split, self.epoch, self.what = split, epoch, what

    def __str__(self) -> str:
        return f"split {self.split}, epoch {self.epoch}: {self.what}"


class SplitTrainer:
    """Trains a config's head on one split.

    Each epoch visits the training trailers once, shuffled, one random snippet each, in batches of `batch_size`; the
    last batch may be smaller. Then the validation loss (mean BCE over all snippets of the validation part, each with
    its trailer's labels, as the authors' code) decides: a strictly lower one is the new best checkpoint, the learning
    rate falls after `plateau_patience` epochs without a better one, training ends after `stop_patience`.

    Everything random in epoch e comes from (seed, split, e) alone, epoch 0 being the initialisation, and torch's global
    generator is left as it was. So results do not depend on what else the process runs, and a trainer that is saved
    after any epoch and loaded into a fresh one ends as if it had never stopped, on the CPU bit for bit. (The number of
    torch's threads does change the last bits; whoever sets it keeps it constant.)
    """

    def __init__(
        self,
        config: Config,
        data: SplitData,
        split: int,
        device: str | torch.device = "cpu",
        source: SnippetSource | None = None,
    ) -> None:
        """`source` shares one copy of the vectors on the device between the splits of a config.

        Raises InputError naming every setting that can't be trained.
        """
        if problems := config_problems(config):
            raise InputError(problems)
        if len(config.streams) != len(data.streams):
            raise ValueError(f"the config has {len(config.streams)} streams, the data {len(data.streams)}")
        if len(data.train) == batchnorm_rows(config) == 1:
            raise ValueError(f"one trailer with a snippet of {config.clips_per_snippet} is too little for BatchNorm")
        self.config, self.data, self.split = config, data, split
        self.source = source or SnippetSource(data.streams, device)
        self.device = self.source.device
        self.history: list[EpochRecord] = []
        self.labels = torch.tensor(data.labels, dtype=torch.float32, device=self.device)
        with seeded(torch.device("cpu"), config.training.seed, split, 0):
            head = build_head(config, self.source.widths, len(data.genres))
        self.head = head.to(self.device)
        training = config.training
        self._optimizer = torch.optim.AdamW(
            self.head.parameters(),
            lr=training.learning_rate,
            weight_decay=training.weight_decay,
            amsgrad=True,
            fused=True,
        )
        self._scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
            self._optimizer, factor=training.plateau_factor, patience=training.plateau_patience
        )
        self._best: dict[str, Tensor] | None = None

    @property
    def best(self) -> EpochRecord | None:
        """The epoch of the lowest validation loss, the first of equals; None before the first epoch."""
        return min(self.history, key=lambda record: record.val_loss, default=None)

    @property
    def done(self) -> bool:
        """True after the last epoch, or `stop_patience` epochs after the best one."""
        epoch, training = len(self.history), self.config.training
        return self.best is not None and (epoch >= training.epochs or epoch - self.best.epoch >= training.stop_patience)

    def run_epoch(self) -> EpochRecord:
        """Trains one epoch and validates. Raises TrainingDiverged when a loss is not finite."""
        if self.done:
            raise RuntimeError(f"split {self.split} is trained to its end")
        began = time.perf_counter()
        epoch = len(self.history) + 1
        with seeded(self.device, self.config.training.seed, self.split, epoch) as rng:
            train_loss = self._train(rng)
        if not math.isfinite(train_loss):
            raise TrainingDiverged(self.split, epoch, f"the training loss is {train_loss}")
        probabilities, val_loss = predict(self.head, self.source, self.labels, self.data.val, self._clips)
        if not math.isfinite(val_loss):
            raise TrainingDiverged(self.split, epoch, f"the validation loss is {val_loss}")
        scores = evaluate(self.data.labels[self.data.val], probabilities, self.data.genres)
        rate = self._optimizer.param_groups[0]["lr"]
        if self.best is None or val_loss < self.best.val_loss:
            self._best = _snapshot(self.head.state_dict())
        self._scheduler.step(val_loss)
        record = EpochRecord(epoch, train_loss, val_loss, _four(scores), rate, time.perf_counter() - began)
        self.history.append(record)
        return record

    def result(self) -> TrialResult:
        """Evaluates the best checkpoint on the test part; the training itself is left as it is and may go on.

        Raises TrainingDiverged when a prediction is not a number (a test trailer's vectors are not).
        """
        best = self.best
        if best is None or self._best is None:
            raise RuntimeError(f"split {self.split} has no epoch to evaluate")
        began = time.perf_counter()
        head = copy.deepcopy(self.head)
        head.load_state_dict(self._best)
        data = self.data
        probabilities, _ = predict(head, self.source, self.labels, data.test, self._clips)
        if len(bad := np.flatnonzero(~np.isfinite(probabilities).all(1))):
            what = f"the predictions of {len(bad)} test trailers are not finite, the first is row {data.test[bad[0]]}"
            raise TrainingDiverged(self.split, best.epoch, what)
        scores = evaluate(data.labels[data.test], probabilities, data.genres)
        return TrialResult(
            split=self.split,
            history=[record.flat() for record in self.history],
            best_epoch=best.epoch,
            validation=dict(best.val_metrics),
            test=_four(scores),
            per_genre=scores["AP"],
            test_probabilities=probabilities,
            test_rows=np.array(data.test),
            seconds=sum(record.seconds for record in self.history) + time.perf_counter() - began,
            parameters=count_parameters(head),
            n_train=len(data.train),
            n_val=len(data.val),
            n_test=len(data.test),
        )

    def state_dict(self) -> dict[str, Any]:
        """All that a fresh trainer of the same config, data and split needs to go on; tensors (CPU) and plain values.

        A copy: later epochs don't change it. It survives `torch.save` and `torch.load(weights_only=True)`.
        """
        return {
            "trial": self._identity,
            "head": _snapshot(self.head.state_dict()),
            "optimizer": _snapshot(self._optimizer.state_dict()),
            "scheduler": _snapshot(self._scheduler.state_dict()),
            "best": _snapshot(self._best),
            "history": [{**vars(record), "val_metrics": dict(record.val_metrics)} for record in self.history],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on where `state` was taken. Raises ValueError when that was another config or split."""
        if state["trial"] != self._identity:
            raise ValueError("this state was saved by a trainer of another config or split")
        self.head.load_state_dict(state["head"])
        # A copy, for the optimizer would go on to write into the caller's tensors.
        self._optimizer.load_state_dict(_snapshot(state["optimizer"]))
        self._scheduler.load_state_dict(state["scheduler"])
        self._best = _snapshot(state["best"])
        self.history = [EpochRecord(**record) for record in state["history"]]

    @property
    def _identity(self) -> str:
        return key_of({"config": self.config, "split": self.split})

    @property
    def _clips(self) -> int:
        return self.config.clips_per_snippet

    def _train(self, rng: np.random.Generator) -> float:
        """One pass over the training part; the mean loss of its trailers."""
        order = rng.permutation(self.data.train)
        starts = draw_starts(self.source.counts[order], self._clips, rng)
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        self.head.train()
        for begin, end in batch_bounds(len(order), self.config.training.batch_size, batchnorm_rows(self.config)):
            trailers = order[begin:end]
            x = self.source.gather(trailers, starts[begin:end], self._clips)
            # () <- (B, g) <- streams × (B, c, D)
            loss = F.binary_cross_entropy_with_logits(self.head(x), self.labels[trailers])
            self._optimizer.zero_grad()
            loss.backward()
            self._optimizer.step()
            total += loss.detach() * len(trailers)
        return total.item() / len(order)


def batch_bounds(n: int, size: int, rows: int | None) -> list[tuple[int, int]]:
    """[begin, end) of batches of `size` over n trailers; the last is what remains, however small.

    Only where that would be one snippet that is one row to BatchNorm, which can't take its variance, it joins the one
    before (`rows` as from `batchnorm_rows`).
    """
    begins = list(range(0, n, size))
    if rows == 1 and len(begins) > 1 and n - begins[-1] == 1:
        begins.pop()
    return list(zip(begins, [*begins[1:], n], strict=True))


def _four(scores: Scores) -> dict[str, float]:
    return {name: scores[name] for name in METRICS}  # type: ignore[literal-required]


def _snapshot(value: Any) -> Any:
    """A copy on the CPU of tensors nested in plain containers."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {key: _snapshot(v) for key, v in value.items()}
    if isinstance(value, list):
        return [_snapshot(v) for v in value]
    return value
