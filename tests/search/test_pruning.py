from __future__ import annotations

import math
import random
from dataclasses import replace

import optuna
import pytest

from orchestrator.search.pruning import judge
from orchestrator.search.records import Choice, Dimension, Observation, Pruner, SearchSpec

SPACE = (Dimension("aggregator", Choice(("gru", "conv"))),)
ASHA = SearchSpec(SPACE, 30, pruner=Pruner("asha", grace_epochs=3, reduction_factor=3))
MEDIAN = SearchSpec(SPACE, 30, pruner=Pruner("median", grace_epochs=5, interval=2))


def config(number: int, state: str, **reports: float) -> Observation:
    """`config(1, "done", at3=40.0)` reported 40 after 3 epochs."""
    by_epoch = {int(name.removeprefix("at")): value for name, value in reports.items()}
    return Observation(number, {"aggregator": "gru"}, state, (50.0,) if state == "done" else (), by_epoch)


def test_asha_keeps_the_best_third_of_all_that_reported_whatever_became_of_them() -> None:
    others = [
        config(0, "done", at3=50.0),
        config(1, "pruned", at3=42.0),
        config(2, "running", at3=49.0),
        config(3, "failed", at3=10.0),
        config(4, "running", at3=20.0),
        config(5, "running"),
    ]
    reason = judge(ASHA, config(9, "running", at3=48.9), others)
    assert reason == "uAP 48.90 after 3 epochs is not among the best third of 6 configs"
    assert judge(ASHA, config(9, "running", at3=49.0), others) is None


def test_asha_keeps_only_the_best_while_there_are_few() -> None:
    assert judge(ASHA, config(0, "running", at3=10.0), []) is None
    assert judge(ASHA, config(1, "running", at3=11.0), [config(0, "done", at3=10.0)]) is None
    assert "best third of 2 configs" in str(judge(ASHA, config(1, "running", at3=9.0), [config(0, "done", at3=10.0)]))


def test_asha_judges_every_rung_among_those_that_reached_it() -> None:
    others = [config(n, "pruned", at3=60.0) for n in range(9)] + [config(9, "done", at3=70.0, at9=50.0)]
    # What it was worth on a rung that it passed is over, and those who never came here are no rivals.
    assert judge(ASHA, config(20, "running", at3=1.0, at9=51.0), others) is None
    assert "after 9 epochs is not among the best third of 2 configs" in str(
        judge(ASHA, config(20, "running", at3=90.0, at9=49.0), others)
    )


def test_less_is_better_where_the_loss_is_compared() -> None:
    spec = replace(ASHA, objectives=("val_loss",))
    others = [config(n, "done", at3=0.5) for n in range(3)]
    assert judge(spec, config(9, "running", at3=0.4), others) is None
    assert judge(spec, config(9, "running", at3=0.6), others) == (
        "val_loss 0.6000 after 3 epochs is not among the best third of 4 configs"
    )


def test_asha_agrees_with_optuna_running_the_same_configs_live() -> None:
    rng = random.Random(3)
    live = optuna.create_study(
        direction="maximize", pruner=optuna.pruners.SuccessiveHalvingPruner(min_resource=3, reduction_factor=3)
    )
    known: list[Observation] = []
    verdicts = []
    for number in range(40):
        trial, reports, skill = live.ask(), {}, rng.uniform(30, 60)
        state = "done"
        for epoch in (3, 9, 27):
            reports[epoch] = skill + rng.gauss(0, 3)
            trial.report(reports[epoch], epoch)
            theirs = trial.should_prune()
            ours = judge(ASHA, Observation(number, {}, "running", (), dict(reports)), known)
            assert (ours is not None) == theirs, (number, epoch)
            if theirs:
                state = "pruned"
                break
        live.tell(trial, 1.0 if state == "done" else None, None if state == "done" else optuna.trial.TrialState.PRUNED)
        known.append(Observation(number, {}, state, (1.0,) if state == "done" else (), reports))
        verdicts.append(state)
    assert {"done", "pruned"} == set(verdicts)


def test_the_median_counts_done_configs_only_and_waits_for_five() -> None:
    done = [config(n, "done", at5=40.0 + n, at7=45.0) for n in range(5)]
    rest = [config(10 + n, "pruned", at5=90.0) for n in range(9)] + [config(30, "running", at5=90.0)]
    assert judge(MEDIAN, config(50, "running", at5=42.0), done + rest) is None
    assert judge(MEDIAN, config(50, "running", at5=41.9), done + rest) == (
        "uAP 41.90, the best of 5 epochs, is below the median 42.00 of 5 done configs"
    )
    assert judge(MEDIAN, config(50, "running", at5=1.0), done[:4] + rest) is None


def test_the_median_looks_at_the_best_report_so_far() -> None:
    done = [config(n, "done", at5=40.0, at7=45.0) for n in range(5)]
    assert judge(MEDIAN, config(50, "running", at5=46.0, at7=20.0), done) is None


def test_nothing_is_judged_between_milestones_or_without_a_pruner() -> None:
    done = [config(n, "done", at3=40.0, at4=40.0, at5=40.0, at6=40.0) for n in range(6)]
    assert judge(ASHA, config(50, "running", at4=1.0), done) is None
    assert judge(MEDIAN, config(50, "running", at3=1.0), done) is None
    assert judge(MEDIAN, config(50, "running", at6=1.0), done) is None
    assert judge(replace(ASHA, pruner=None), config(50, "running", at3=1.0), done) is None
    assert judge(ASHA, config(50, "running"), done) is None


@pytest.mark.parametrize("spec", [ASHA, MEDIAN])
def test_reports_that_are_no_numbers_count_nowhere(spec: SearchSpec) -> None:
    torn = [config(n, "done", at3=math.nan, at5=math.nan) for n in range(6)]
    assert judge(spec, config(50, "running", at3=1.0), torn) is None
    assert judge(spec, config(50, "running", at5=1.0), torn) is None
    assert judge(spec, config(50, "running", at3=math.nan), []) is None


def test_what_is_known_of_the_config_itself_does_not_count_against_it() -> None:
    others = [config(0, "done", at3=50.0), config(9, "running", at3=90.0)]
    assert judge(ASHA, config(9, "running", at3=60.0), others) is None
    assert "best third of 2 configs" in str(judge(ASHA, config(9, "running", at3=40.0), others))
