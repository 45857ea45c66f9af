from __future__ import annotations

import math
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from orchestrator.search.optuna_study import build_study, write_journal
from orchestrator.search.records import Choice, Dimension, Integer, Observation, SearchSpec, Uniform

GRU = {"name": "gru", "units": 64}
SPEC = SearchSpec(
    (
        Dimension("aggregator", Choice(("conv", GRU))),
        Dimension("aggregator.conv.kernel", Integer(1, 9, step=2), (("aggregator", ("conv",)),)),
        Dimension("training.learning_rate", Uniform(1e-5, 1e-2, log=True)),
    ),
    10,
)
OBSERVATIONS = (
    Observation(
        0,
        {"aggregator": "conv", "aggregator.conv.kernel": 3, "training.learning_rate": 1e-4},
        "done",
        (61.0,),
        {3: 40.0, 9: 55.0},
        "k0",
    ),
    Observation(1, {"aggregator": GRU, "training.learning_rate": 1e-3}, "pruned", (), {3: 20.0}, "k1"),
    Observation(2, {"aggregator": GRU, "training.learning_rate": 1e-2}, "failed", key="k2"),
    Observation(4, {"aggregator": GRU, "training.learning_rate": 2e-3}, "running", (), {3: 30.0}, "k4"),
    Observation(5, {"aggregator": "mean", "training.learning_rate": 2e-3}, "done", (70.0,), {}, "k5"),
    Observation(6, {"aggregator": GRU, "training.learning_rate": 3e-3}, "done", (math.inf,), {}, "k6"),
)


def check(study: optuna.Study) -> None:
    trials = study.get_trials()
    assert [t.state.name for t in trials] == ["COMPLETE", "PRUNED", "FAIL", "RUNNING", "FAIL"]
    assert [t.user_attrs["number"] for t in trials] == [0, 1, 2, 4, 6]
    assert [t.user_attrs["config"] for t in trials] == ["k0", "k1", "k2", "k4", "k6"]
    assert (study.best_value, study.direction.name, study.metric_names) == (61.0, "MAXIMIZE", ["uAP"])
    assert trials[0].params["aggregator.conv.kernel"] == 3
    assert "aggregator.conv.kernel" not in trials[1].params
    assert trials[1].user_attrs["values"]["aggregator"] == GRU
    assert trials[0].intermediate_values == {3: 40.0, 9: 55.0}


def test_a_study_holds_every_config_that_belongs_with_its_state_and_key() -> None:
    check(build_study(SPEC, OBSERVATIONS))


def test_several_objectives_have_directions_of_their_own() -> None:
    spec = SearchSpec(SPEC.dimensions[2:], 10, objectives=("uAP", "multiply_adds"))
    known = [Observation(n, {"training.learning_rate": 1e-3}, "done", (50.0 + n, 9.0 + n)) for n in range(3)]
    study = build_study(spec, [*known, Observation(9, {"training.learning_rate": 1e-3}, "done", (60.0,))])
    assert [d.name for d in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    assert len(study.best_trials) == 3
    assert study.get_trials()[-1].state.name == "FAIL"


def test_a_journal_opens_as_optuna_opens_its_own(tmp_path: Path) -> None:
    path = tmp_path / "optuna.log"
    path.write_text("an older one\n")
    two = SearchSpec(SPEC.dimensions, 10, objectives=("val_loss",))
    write_journal(path, {"aggregator_search": (SPEC, OBSERVATIONS), "by_loss": (two, OBSERVATIONS[:1])})
    storage = JournalStorage(JournalFileBackend(str(path)))
    check(optuna.load_study(study_name="aggregator_search", storage=storage))
    assert optuna.load_study(study_name="by_loss", storage=storage).direction.name == "MINIMIZE"
    assert [p.name for p in tmp_path.iterdir()] == ["optuna.log"]


def test_a_journal_that_can_not_be_written_leaves_the_older_one(tmp_path: Path) -> None:
    path = tmp_path / "optuna.log"
    path.write_text("an older one\n")
    with pytest.raises(KeyError):
        write_journal(path, {"a": (SearchSpec(SPEC.dimensions, 1, objectives=("speed",)), ())})
    assert path.read_text() == "an older one\n"
    assert [p.name for p in tmp_path.iterdir()] == ["optuna.log"]
