"""A search as an Optuna study: for its samplers, its plots and optuna-dashboard. The ledger is the record, this a view.

Optuna and its libraries are imported only where they are used, so that planning stays light.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.search.dimensions import contains
from orchestrator.search.records import OBJECTIVES, Choice, Dimension, Integer, Observation, SearchSpec
from orchestrator.specs import plain

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution
    from optuna.study import StudyDirection
    from optuna.trial import FrozenTrial


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Without Optuna's log lines and its warnings of experimental settings; what was set before comes back."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(before)


def build_study(spec: SearchSpec, observations: Sequence[Observation]) -> optuna.Study:
    """An in-memory study of the observations, in their order, one trial each, under the spec's present ranges.

    done -> COMPLETE with the objectives, pruned -> PRUNED and running -> RUNNING with the validation means reported,
    failed -> FAIL. A done config without a finite value of every objective counts as failed; one whose values lie
    outside the ranges is left out. User attributes: `number`, `config` (its key), `values` as YAML spells them.
    """
    import optuna

    with quiet_optuna():
        study = optuna.create_study(directions=[direction_of(name) for name in spec.objectives])
        _fill(study, spec, observations)
    return study


def write_journal(path: str | Path, searches: Mapping[str, tuple[SearchSpec, Sequence[Observation]]]) -> None:
    """Writes an Optuna journal with one study a search, by name; what was there is replaced at once or not at all.

    `optuna-dashboard FILE` opens it, or `optuna.load_study(study_name=NAME,
    storage=JournalStorage(JournalFileBackend(FILE)))`.
    """
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    path = Path(path)
    # A folder of its own beside it: Optuna puts a lock file next to the journal.
    with tempfile.TemporaryDirectory(prefix=f".{path.name}-", dir=path.parent) as folder, quiet_optuna():
        aside = os.path.join(folder, path.name)
        storage = JournalStorage(JournalFileBackend(aside))
        for name, (spec, observations) in searches.items():
            directions = [direction_of(objective) for objective in spec.objectives]
            _fill(optuna.create_study(storage=storage, study_name=name, directions=directions), spec, observations)
        if searches:
            os.replace(aside, path)


def direction_of(objective: str) -> StudyDirection:
    """Whether more of it is better."""
    from optuna.study import StudyDirection

    return StudyDirection.MAXIMIZE if OBJECTIVES[objective] == "maximize" else StudyDirection.MINIMIZE


def _distribution(dimension: Dimension) -> BaseDistribution:
    """The dimension's range in Optuna's terms; choices go by their labels."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    match dimension.domain:
        case Choice(values):
            return CategoricalDistribution([label_of(value) for value in values])
        case Integer(low, high, step, log):
            return IntDistribution(low, high, log=log, step=step)
        case uniform:
            return FloatDistribution(uniform.low, uniform.high, log=uniform.log)


def label_of(value: Any) -> str | int | float | bool:
    """A choice as Optuna can hold it: plain values as they are, mappings as text."""
    if isinstance(value, str | int | float | bool):
        return value
    return json.dumps(plain(value), sort_keys=True)


def finite_reports(observation: Observation) -> dict[int, float]:
    """Its reports by epoch, without those that are no number."""
    return {epoch: value for epoch, value in sorted(observation.reports.items()) if math.isfinite(value)}


def _fill(study: optuna.Study, spec: SearchSpec, observations: Sequence[Observation]) -> None:
    study.set_metric_names(list(spec.objectives))
    study.set_user_attr("search", plain(spec))
    study.add_trials([_trial(spec, o) for o in observations if contains(spec.dimensions, o.values)])


def _trial(spec: SearchSpec, observation: Observation) -> FrozenTrial:
    from optuna.trial import TrialState, create_trial

    active = [d for d in spec.dimensions if d.field in observation.values]
    states = {"pruned": TrialState.PRUNED, "running": TrialState.RUNNING}
    state, objectives = states.get(observation.state, TrialState.FAIL), None
    if observation.state == "done" and _are_whole(spec, observation.objectives):
        state, objectives = TrialState.COMPLETE, list(observation.objectives)
    return create_trial(
        state=state,
        values=objectives,
        params={d.field: _as_drawn(d, observation.values[d.field]) for d in active},
        distributions={d.field: _distribution(d) for d in active},
        intermediate_values=finite_reports(observation) if len(spec.objectives) == 1 else {},
        user_attrs={"number": observation.number, "config": observation.key, "values": plain(observation.values)},
    )


def _are_whole(spec: SearchSpec, objectives: Sequence[float]) -> bool:
    return len(objectives) == len(spec.objectives) and all(math.isfinite(value) for value in objectives)


def _as_drawn(dimension: Dimension, value: Any) -> Any:
    return label_of(value) if isinstance(dimension.domain, Choice) else value
