from __future__ import annotations

import json
import math
import random
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import optuna
import pytest

from orchestrator.errors import InputError
from orchestrator.search.dimensions import contains
from orchestrator.search.records import Choice, Dimension, Integer, Observation, SearchSpec, Uniform
from orchestrator.search.sampling import draw

MAPPING = {"name": "transformer", "heads": 2}
SPACE = (
    Dimension("aggregator", Choice(("gru", "conv", MAPPING))),
    Dimension("aggregator.gru.units", Integer(16, 512, log=True), (("aggregator", ("gru",)),)),
    Dimension("aggregator.conv.filters", Integer(16, 512, log=True), (("aggregator", ("conv",)),)),
    Dimension("training.learning_rate", Uniform(1e-5, 1e-1, log=True)),
    Dimension("training.weight_decay", Uniform(0, 0.1)),
)
SPEC = SearchSpec(SPACE, 60)
FINITE = SearchSpec((Dimension("frame_rate", Choice((4, 12))), Dimension("clips_per_snippet", Integer(1, 3))), 10)


def score(values: dict[str, Any]) -> float:
    """Best, 70, for a gru of 128 units at a learning rate of 1e-3 and a weight decay of 0.03."""
    found = {"gru": 70.0, "conv": 66.0}.get(str(values["aggregator"]), 64.0)
    found -= 4 * (math.log10(values["training.learning_rate"]) + 3) ** 2
    found -= 2000 * (values["training.weight_decay"] - 0.03) ** 2
    for setting in ("aggregator.gru.units", "aggregator.conv.filters"):
        found -= 2 * math.log(values.get(setting, 128) / 128) ** 2
    return found


def anything(_: dict[str, Any]) -> bool:
    return True


def search(spec: SearchSpec, accept: Callable[[dict[str, Any]], bool] = anything) -> list[Observation]:
    known: list[Observation] = []
    for number in range(spec.configs):
        values = draw(spec, number, known, accept)
        assert values is not None
        known.append(Observation(number, values, "done", (score(values),)))
    return known


def best(spec: SearchSpec) -> float:
    return max(o.objectives[0] for o in search(spec))


def test_tpe_comes_nearer_to_a_known_optimum_than_random_draws() -> None:
    seeds = range(5)
    by_tpe = [70 - best(replace(SPEC, seed=seed)) for seed in seeds]
    by_chance = [70 - best(replace(SPEC, seed=seed, sampler="random")) for seed in seeds]
    assert sum(by_tpe) < sum(by_chance) / 3
    assert sum(a < b for a, b in zip(by_tpe, by_chance, strict=True)) >= 4


def test_every_draw_has_exactly_the_fields_whose_conditions_hold() -> None:
    drawn = [o.values for o in search(replace(SPEC, configs=30))]
    assert all(contains(SPACE, values) for values in drawn)
    assert MAPPING in [values["aggregator"] for values in drawn]
    assert all(json.loads(json.dumps(values)) == values for values in drawn)


def test_a_draw_is_made_by_its_number_and_what_is_known_in_every_process() -> None:
    known = search(replace(SPEC, configs=14))
    code = (
        "import json, sys; from orchestrator.search.records import Observation; "
        "from orchestrator.search.sampling import draw; from tests_sampling import SPEC; "
        "known = [Observation(o['n'], o['values'], 'done', tuple(o['by'])) for o in json.load(sys.stdin)]; "
        "print(json.dumps([draw(SPEC, 14, known[:k], lambda _: True) for k in (0, 9, 14)]))"
    )
    loader = (
        "import importlib.util, sys; "
        f"s = importlib.util.spec_from_file_location('tests_sampling', {__file__!r}); "
        "m = importlib.util.module_from_spec(s); sys.modules['tests_sampling'] = m; s.loader.exec_module(m); "
    )
    given = json.dumps([{"n": o.number, "values": o.values, "by": o.objectives} for o in known])
    answers = [
        subprocess.run(
            [sys.executable, "-c", loader + code],
            input=given,
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    ]
    here = [draw(SPEC, 14, known[:k], anything) for k in (0, 9, 14)]
    assert [json.loads(answer) for answer in answers] == [here, here]


def test_numbers_and_seeds_draw_different_configs() -> None:
    drawn = [draw(replace(SPEC, seed=seed), number, [], anything) for seed in (0, 1) for number in range(5)]
    assert len({json.dumps(values) for values in drawn}) == 10


def test_what_is_refused_is_drawn_anew() -> None:
    first = draw(SPEC, 3, [], anything)
    second = draw(SPEC, 3, [], lambda values: values != first)
    assert second is not None and second != first


def test_a_finite_space_is_drawn_to_its_last_combination_and_then_ends() -> None:
    known: list[Observation] = []
    for number in range(6):
        values = draw(FINITE, number, known, lambda v: v not in [o.values for o in known], attempts=2)
        assert values is not None
        known.append(Observation(number, values, "done", (1.0,)))
    assert len({tuple(o.values.values()) for o in known}) == 6
    assert draw(FINITE, 6, known, lambda v: v not in [o.values for o in known]) is None


def test_the_last_of_a_finite_space_comes_in_an_order_of_its_seed() -> None:
    every = [draw(replace(FINITE, seed=seed), 0, [], anything, attempts=0) for seed in range(6)]
    again = [draw(replace(FINITE, seed=seed), 0, [], anything, attempts=0) for seed in range(6)]
    assert every == again and len({str(values) for values in every}) > 1


@pytest.mark.parametrize("spec", [SPEC, FINITE])
def test_limits_that_nothing_meets_are_named(spec: SearchSpec) -> None:
    limited = replace(spec, limits=(("head_parameters", 3e5, 4e5),))
    with pytest.raises(InputError, match=r"limits: none of .* lies within head_parameters 300,000 to 400,000"):
        draw(limited, 0, [], lambda _: False, attempts=3)
    if spec is SPEC:
        with pytest.raises(InputError, match=r"ranges: none of 1,003 draws is new"):
            draw(spec, 0, [], lambda _: False, attempts=3)


def test_configs_in_training_keep_concurrent_draws_apart() -> None:
    done = search(replace(SPEC, configs=20))
    near = max(done, key=lambda o: o.objectives[0]).values
    running = [Observation(20 + i, near, "running") for i in range(8)]

    def distance(known: list[Observation]) -> float:
        drawn = [draw(replace(SPEC, seed=seed), 40, known, anything) for seed in range(20)]
        gaps = [abs(math.log10(d["training.learning_rate"] / near["training.learning_rate"])) for d in drawn if d]
        return sum(gaps)

    assert distance([*done, *running]) > distance(done)


def test_pruned_failed_and_torn_results_and_those_of_other_ranges_do_no_harm() -> None:
    odd = [
        Observation(100, {"aggregator": "lstm"}, "done", (99.0,)),
        Observation(101, {"aggregator": "conv"}, "running"),
    ]
    good = search(replace(SPEC, configs=12))
    values = good[0].values
    states = [
        Observation(50, values, "pruned", (), {3: 41.0, 9: math.nan}),
        Observation(51, values, "failed"),
        Observation(52, values, "done", (math.nan,)),
        Observation(53, values, "done"),
    ]
    assert draw(SPEC, 12, [*good, *states, *odd], anything)
    # Whatever lies outside the present ranges plays no part.
    assert draw(SPEC, 12, [*good, *odd], anything) == draw(SPEC, 12, good, anything)


def test_a_grown_choice_is_drawn_with_what_was_known_before_it() -> None:
    known = search(replace(SPEC, configs=15))
    wider = (Dimension("aggregator", Choice(("gru", "conv", MAPPING, "mean"))), *SPACE[1:])
    drawn = [draw(SearchSpec(wider, 60, seed=seed), 15, known, anything) for seed in range(40)]
    assert "mean" in [values["aggregator"] for values in drawn if values]


def test_several_objectives_steer_together() -> None:
    spec = SearchSpec(FINITE.dimensions, 30, objectives=("uAP", "multiply_adds"))
    known = [Observation(n, {"frame_rate": 4, "clips_per_snippet": 1 + n % 3}, "done", (50.0, 9.0)) for n in range(12)]
    assert draw(spec, 12, known, anything) is not None


def test_drawing_prints_nothing_and_leaves_global_state_alone(capfd: pytest.CaptureFixture[str]) -> None:
    known = search(replace(SPEC, configs=12))
    optuna.logging.set_verbosity(optuna.logging.INFO)
    random.seed(1)
    np.random.seed(1)
    expected = (random.random(), np.random.random())
    random.seed(1)
    np.random.seed(1)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        draw(SPEC, 12, known, anything)
        draw(replace(SPEC, objectives=("uAP", "parameters")), 0, [], anything)
    assert (random.random(), np.random.random()) == expected
    assert optuna.logging.get_verbosity() == optuna.logging.INFO
    assert not warned
    assert capfd.readouterr() == ("", "")
