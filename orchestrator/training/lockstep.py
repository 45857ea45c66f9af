"""All splits of a config trained epoch by epoch side by side, so that pruning compares like with like."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import torch

from orchestrator.specs import Config
from orchestrator.training.records import EpochRecord, SplitData, TrialResult
from orchestrator.training.snippets import SnippetSource
from orchestrator.training.trainer import SplitTrainer, TrainingDiverged


@dataclass(frozen=True)
class LockstepRecord:
    """One step: the epochs that ran by split, and the cross-split means of `val_loss`, `val_uAP`, `val_mAP`, ….

    A split that stopped early counts in the means with its last epoch. A split that failed counts in none: where
    `failures` has entries the means cover fewer splits than the config has, and when all failed they are empty.
    """

    epoch: int
    records: dict[int, EpochRecord]
    means: dict[str, float]
    failures: dict[int, str]


class LockstepTrainer:
    """One `SplitTrainer` a split, on one copy of the vectors; a split that diverges fails alone.

    Each split trains exactly as it would by itself.
    """

    def __init__(self, config: Config, data: Mapping[int, SplitData], device: str | torch.device = "cpu") -> None:
        """`data` by split number, all with the very same clip vectors. Raises as `SplitTrainer` does."""
        streams = next(iter(data.values())).streams
        if any(a is not b for d in data.values() for a, b in zip(d.streams, streams, strict=True)):
            raise ValueError("the splits of a config must share their clip vectors")
        source = SnippetSource(streams, device)
        self.trainers = {split: SplitTrainer(config, d, split, source=source) for split, d in sorted(data.items())}
        self.failures: dict[int, str] = {}
        self.epoch = 0
        """Steps taken so far."""

    @property
    def done(self) -> bool:
        """True when every split is trained to its end or has failed."""
        return not self._running

    def step(self) -> LockstepRecord:
        """One epoch of every split that is not done."""
        if self.done:
            raise RuntimeError("every split is done")
        self.epoch += 1
        records = {}
        for split, trainer in self._running.items():
            try:
                records[split] = trainer.run_epoch()
            except TrainingDiverged as error:
                self.failures[split] = str(error)
        latest = [trainer.history[-1].flat() for trainer in self._healthy.values()]
        names = [name for name in latest[0] if name.startswith("val_")] if latest else []
        means = {name: fmean(row[name] for row in latest) for name in names}
        return LockstepRecord(self.epoch, records, means, dict(self.failures))

    def results(self) -> dict[int, TrialResult]:
        """The result of every split that has not failed; one whose test part can't be predicted joins `failures`."""
        results = {}
        for split, trainer in self._healthy.items():
            try:
                results[split] = trainer.result()
            except TrainingDiverged as error:
                self.failures[split] = str(error)
        return results

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values, as `SplitTrainer.state_dict`; a failed split stays failed."""
        splits = {split: trainer.state_dict() for split, trainer in self._healthy.items()}
        return {"epoch": self.epoch, "splits": splits, "failures": dict(self.failures)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on where `state` was taken; splits of it that this trainer does not have are left out.

        Raises ValueError when it was taken of another config or lacks a split.
        """
        if lacking := {*self.trainers} - {*state["splits"], *state["failures"]}:
            raise ValueError(f"this state was saved with other splits; it lacks {sorted(lacking)}")
        for split, trainer in self.trainers.items():
            if split in state["splits"]:
                trainer.load_state_dict(state["splits"][split])
        self.epoch = state["epoch"]
        self.failures = {split: why for split, why in state["failures"].items() if split in self.trainers}

    @property
    def _healthy(self) -> dict[int, SplitTrainer]:
        return {split: trainer for split, trainer in self.trainers.items() if split not in self.failures}

    @property
    def _running(self) -> dict[int, SplitTrainer]:
        return {split: trainer for split, trainer in self._healthy.items() if not trainer.done}
