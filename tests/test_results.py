"""A sweep read back from files alone: what is done, pruned, failed, running and missing, and why."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from orchestrator.errors import InputError
from orchestrator.results import SweepResults, read_results
from orchestrator.store.checkpoints import Checkpoint, checkpoint_name
from orchestrator.store.embeddings import EmbeddingRow
from orchestrator.store.ledger import TrialRecord
from orchestrator.store.workspace import Workspace
from orchestrator.study import Study
from orchestrator.sweep.identity import embedding_key
from orchestrator.sweep.plan import Plan

SPACE = """
fixed: {backbone: resnet_2d, training: {epochs: 9}}
grid: {aggregator: [mean, gru, conv, transformer]}
"""
SEARCH = "search: {configs: 5, ranges: {clips_per_snippet: {integer: [1, 20]}}}\n"


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return open_study(tmp_path, SPACE)


def open_study(folder: Path, text: str, vectors: bool = True) -> Study:
    (folder / "space.yaml").write_text(text)
    rows = [f"tr{i},{i % 2},{(i // 2) % 2},{0 if i < 8 else i % 2 + 1},{0 if i > 3 else i % 2 + 1}" for i in range(12)]
    (folder / "manifest.csv").write_text("\n".join(["mid,action,drama,split0,split1", *rows]) + "\n")
    made = Study.open(folder / "space.yaml", folder / "manifest.csv", folder / "workspace")
    for spec in {s for c in made.space.configs for s in c.streams} if vectors else ():
        made.workspace.embeddings.write_part(
            embedding_key(spec),
            [EmbeddingRow(mid, f"d-{mid}", np.ones((5, 4), np.float32)) for mid in made.manifest.mids],
        )
    return made


def save(study: Study) -> Plan:
    plan = study.plan()
    study.save(plan, {"command": "run"})
    return plan


def record(plan: Plan, config: int, split: int, status: str = "done", **fields: object) -> TrialRecord:
    placed = plan.configs[config]
    trial = placed.trials[split]
    assert trial.key and trial.data
    scores = dict.fromkeys(("uAP", "mAP", "wAP", "sAP"), 50.0) if status == "done" else {}
    usual = {"config": {}, "config_key": placed.key, "split": split, "embedding_keys": placed.embedding_keys}
    return TrialRecord(key=trial.key, data_digest=trial.data, status=status, test=scores, **usual | fields)  # type: ignore[arg-type]


def states(found: SweepResults) -> tuple[int, int, int, int, int, int]:
    return found.trials, found.done, found.running, found.pruned_trials, len(found.failed), found.missing


def test_every_trial_is_in_one_state_and_the_counts_add_up(study: Study) -> None:
    plan, ledger = save(study), study.workspace.ledger
    for split in (0, 1):
        ledger.write(record(plan, 0, split), {})
    ledger.write(record(plan, 1, 0), {})
    ledger.write(record(plan, 1, 1, "failed", reason="NaN loss"))
    labels = study.manifest.labels_digest()
    trials = {t.split: t.key for t in plan.configs[2].trials if t.key}
    study.workspace.checkpoints.write(checkpoint_name(plan.configs[2].key, labels), Checkpoint(7, trials, b"state"))
    found = read_results("space", study.workspace)
    assert states(found) == (8, 3, 0, 0, 1, 4)
    assert list(found.failed.values()) == ["failed: NaN loss"]
    assert found.missing_why == {"stopped after epoch 7 of 9: resnet_2d shot-24 24fps 30clips conv": 2, "not begun": 2}
    assert not found.ok


def test_what_a_living_driver_trains_is_running_and_a_dead_ones_is_missing(study: Study) -> None:
    plan, lock = save(study), study.workspace.lock("space")
    lock.acquire("training")
    try:
        lock.tell("training now", [plan.configs[3].key])
        found = read_results("space", study.workspace)
        assert states(found) == (8, 0, 2, 0, 0, 6)
        assert found.activity and found.activity["process"] == os.getpid()
    finally:
        lock.release()
    found = read_results("space", study.workspace)
    assert found.activity is None and states(found) == (8, 0, 0, 0, 0, 8)


def test_trials_whose_embeddings_are_not_complete_say_so(tmp_path: Path) -> None:
    save(study := open_study(tmp_path, SPACE, vectors=False))
    assert read_results("space", study.workspace).missing_why == {"its embeddings are not complete": 8}


def test_configs_that_a_search_has_still_to_draw_are_missing(tmp_path: Path) -> None:
    study = open_study(tmp_path, SPACE + SEARCH)
    save(study)
    found = read_results("space", study.workspace)
    assert (found.trials, found.missing) == (8 + 10, 18)
    assert found.missing_why["the search space has not drawn its config yet"] == 10


def test_a_record_of_another_search_that_pruned_a_trial_is_none_of_this_sweep(study: Study) -> None:
    plan = save(study)
    study.workspace.ledger.write(record(plan, 0, 0, "pruned", reason="uAP", search="another"))
    assert states(read_results("space", study.workspace)) == (8, 0, 0, 0, 0, 8)


def test_an_unknown_sweep_is_refused_with_the_names_there_are(study: Study) -> None:
    save(study)
    with pytest.raises(InputError, match="'spice' is not one of space"):
        read_results("spice", Workspace(study.workspace.uri))
