"""What a search draws next: Optuna's samplers, seeded by the config's number and fed with what is known by then."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from orchestrator.errors import InputError
from orchestrator.search.dimensions import combine, every_value, is_active, is_finite
from orchestrator.search.optuna_study import build_study, label_of, quiet_optuna
from orchestrator.search.records import Choice, Dimension, Integer, Observation, SearchSpec
from orchestrator.specs import key_of

if TYPE_CHECKING:
    import optuna
    from optuna.samplers import BaseSampler

STARTUP = 10
"""Configs with a result before TPE has anything to go by; until then draws are random."""

RANDOM_ATTEMPTS = 1000
ENUMERABLE = 20_000
"""Combinations up to which what is left of a finite space is looked for one by one."""

Accept = Callable[[dict[str, Any]], bool]


def draw(
    spec: SearchSpec, number: int, known: Sequence[Observation], accept: Accept, attempts: int = 100
) -> dict[str, Any] | None:
    """Values of the active dimensions for config `number`; the same for the same arguments in every process.

    `known` are the configs drawn before, in the order of their numbers: those done, pruned and running steer the
    sampler, running ones by being kept away from. `accept` refuses a draw (drawn before, outside the limits); then the
    next attempt has another seed. After `attempts` of the sampler a small finite space is searched one by one, another
    at random. None when a finite space has nothing left. Raises InputError where nothing is ever accepted.
    """
    with quiet_optuna():
        study = build_study(spec, known)
        for attempt in range(attempts):
            values = _ask(study, spec, _sampler(spec, _seed(spec, number, attempt)))
            if accept(values):
                return values
        if is_finite(spec.dimensions):
            every = list(islice(combine(spec.dimensions, every_value), ENUMERABLE + 1))
            if len(every) <= ENUMERABLE:
                random.Random(_seed(spec, number, attempts)).shuffle(every)
                left = next((values for values in every if accept(values)), None)
                if left is None and not known:
                    raise InputError(_refusal(spec, f"none of the {len(every):,} combinations"))
                return left
        for attempt in range(attempts, attempts + RANDOM_ATTEMPTS):
            values = _ask(study, spec, _random(_seed(spec, number, attempt)))
            if accept(values):
                return values
    raise InputError(_refusal(spec, f"none of {attempts + RANDOM_ATTEMPTS:,} draws"))


def _ask(study: optuna.Study, spec: SearchSpec, sampler: BaseSampler) -> dict[str, Any]:
    from optuna.trial import TrialState

    study.sampler = sampler
    trial = study.ask()
    values: dict[str, Any] = {}
    for dimension in spec.dimensions:
        if is_active(dimension, values):
            values[dimension.field] = _suggest(trial, dimension)
    # Failed ones don't steer: a draw that is refused must not count as one that runs.
    study.tell(trial, state=TrialState.FAIL)
    return values


def _suggest(trial: optuna.Trial, dimension: Dimension) -> Any:
    match dimension.domain:
        case Choice(values):
            drawn = trial.suggest_categorical(dimension.field, [label_of(value) for value in values])
            return next(value for value in values if label_of(value) == drawn)
        case Integer(low, high, step, log):
            return trial.suggest_int(dimension.field, low, high, step=step, log=log)
        case uniform:
            return trial.suggest_float(dimension.field, uniform.low, uniform.high, log=uniform.log)


def _sampler(spec: SearchSpec, seed: int) -> BaseSampler:
    from optuna.samplers import TPESampler

    if spec.sampler == "random":
        return _random(seed)
    # Fields that are drawn together are modelled together (multivariate), those under a condition among the configs
    # that have them (group): without it they would be drawn as if independent of all others.
    return TPESampler(seed=seed, n_startup_trials=STARTUP, multivariate=True, group=True, constant_liar=True)


def _random(seed: int) -> BaseSampler:
    from optuna.samplers import RandomSampler

    return RandomSampler(seed=seed)


def _seed(spec: SearchSpec, number: int, attempt: int) -> int:
    return int(key_of([spec.seed, number, attempt])[:8], 16)


def _refusal(spec: SearchSpec, what: str) -> str:
    limits = " and ".join(f"{name} {low:,.0f} to {high:,.0f}" for name, low, high in spec.limits)
    if limits:
        return f"search: limits: {what} lies within {limits} and is new; widen the limits or the ranges"
    return f"search: ranges: {what} is new; widen the ranges or lower `configs`"
