"""What a search learns from the ledger: validation figures and costs, on all splits or not at all."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from orchestrator.search.observe import observe
from orchestrator.search.records import Choice, Dimension, Pruner, SearchSpec, search_from_plain
from orchestrator.specs import plain
from orchestrator.store.ledger import TrialRecord

SPEC = SearchSpec(
    (Dimension("aggregator", Choice(("mean", "gru"))),), 5, pruner=Pruner(grace_epochs=2, reduction_factor=2)
)


def record(split: int, epochs: int, status: str = "done", **fields: Any) -> TrialRecord:
    history = tuple(
        {"epoch": e, "val_loss": 10.0 - e, "val_uAP": 10.0 * split + e, "val_mAP": 1.0} for e in range(1, epochs + 1)
    )
    usual: dict[str, Any] = {
        "config": {"training": {"epochs": 10}},
        "history": history,
        "best_epoch": max(1, epochs - 1),
        "test": {"uAP": 99.0},
        "multiply_adds": 7,
        "reason": None if status == "done" else "why",
        "search": "it" if status == "pruned" else None,
    }
    return TrialRecord(
        key=f"trial{split}", config_key="c", split=split, embedding_keys=(), data_digest="d", status=status,
        **usual | fields,
    )  # fmt: skip


def seen(spec: SearchSpec, *records: TrialRecord | None) -> Any:
    return observe(spec, 3, {"aggregator": "mean"}, "c", records)


def test_a_done_config_counts_with_its_validation_figures_at_the_evaluated_epoch() -> None:
    found = seen(SPEC, record(0, 10), record(1, 6))
    assert (found.state, found.objectives) == ("done", ((9 + 15) / 2,))
    assert (found.number, found.key, found.values) == (3, "c", {"aggregator": "mean"})


def test_costs_and_losses_are_objectives_as_they_stand() -> None:
    found = seen(replace(SPEC, objectives=("val_loss", "multiply_adds")), record(0, 4), record(1, 4))
    assert found.objectives == (7.0, 7.0)


def test_reports_are_the_means_at_milestones_that_were_judged() -> None:
    assert seen(SPEC, record(0, 8), record(1, 5)).reports == {2: 7.0, 4: 9.0}, "after epoch 8 it had ended by itself"
    pruned = seen(SPEC, record(0, 4, "pruned"), record(1, 4, "pruned"))
    assert (pruned.state, pruned.objectives, pruned.reports) == ("pruned", (), {2: 7.0, 4: 9.0})


@pytest.mark.parametrize(
    ("records", "state"),
    [
        ((record(0, 4), None), "running"),
        ((record(0, 4), record(1, 1, "failed")), "failed"),
        ((record(0, 4, multiply_adds=None), record(1, 4, multiply_adds=None)), "failed"),
    ],
)
def test_no_mean_is_formed_over_fewer_splits_or_without_a_figure(records: Any, state: str) -> None:
    found = seen(replace(SPEC, objectives=("uAP", "multiply_adds")), *records)
    assert (found.state, found.objectives) == (state, ())


def test_a_spec_survives_the_way_through_json() -> None:
    assert search_from_plain(plain(SPEC)) == SPEC
