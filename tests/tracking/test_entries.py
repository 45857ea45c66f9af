from __future__ import annotations

import math
import re
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.reporting.aggregate import aggregate
from orchestrator.tracking.entries import RunContent, clean_names, describe_config, describe_trial


def describe(made, **changes) -> tuple[RunContent, RunContent]:
    """Content of the parent and of the first child."""
    records = [replace(r, **changes) for r in made.records()]
    (row,) = aggregate(made.configs, records)
    trials = made.configs[0].trials.values()
    return describe_config(row, records, "name", trials), describe_trial(records[0], row)


@settings(deadline=None)
@given(st.lists(st.text(min_size=1), unique=True))
def test_genres_become_legal_names_never_two_the_same(genres: list[str]) -> None:
    cleaned = clean_names(genres)
    assert list(cleaned) == sorted(genres) and len(set(cleaned.values())) == len(genres)
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+", name) for name in cleaned.values())


def test_plain_genres_keep_their_names() -> None:
    assert clean_names(["sci-fi", "drama"]) == {"drama": "drama", "sci-fi": "sci-fi"}
    assert clean_names(["Comédie", "Science Fiction"]) == {"Comédie": "Comedie", "Science Fiction": "Science_Fiction"}


def test_numbers_that_are_not_finite_are_left_out(made) -> None:
    made.add()
    history = [{"epoch": 1, "train_loss": math.nan, "val_loss": math.inf, "val_uAP": None, "seconds": 1.0}]
    _, child = describe(made, history=history)
    assert not any(p.name.startswith(("train.", "val.")) for p in child.metrics)
    assert all(math.isfinite(p.value) for p in child.metrics)


def test_times_are_those_of_the_trial(made) -> None:
    made.add()
    parent, child = describe(made)
    assert child.end == parent.end == 1795384800000 and child.end - child.start == 60_000
    epochs = [(p.step, p.time - child.start) for p in child.metrics if p.name == "train.loss"]
    assert epochs == [(1, 1500), (2, 3000), (3, 4500)]


def test_a_trial_looks_the_same_whether_its_config_is_complete_or_not(made) -> None:
    """Otherwise each further split would write the earlier ones anew."""
    made.add()
    records = made.records()
    (whole,), (part,) = (aggregate(made.configs, r) for r in (records, records[:1]))
    assert describe_trial(records[0], whole) == describe_trial(records[0], part)


def test_what_a_config_costs_and_where_its_vectors_come_from_is_logged_with_both_runs(made) -> None:
    made.add()
    for run in describe(made, head_parameters=34, multiply_adds=5_000_000_000, origins=("published",)):
        costs = {p.name: p.value for p in run.metrics}
        assert (costs["parameters"], costs["head_parameters"], costs["multiply_adds"]) == (1234, 34, 5e9)
        assert run.tags["divita.vectors"] == "published"


def test_only_the_result_is_in_the_fingerprint(made) -> None:
    made.add()
    parent, child = describe(made)
    again = describe(made, created="2027-01-01T00:00:00+00:00", seconds=61.0, commit="other", versions={})
    assert [again[0].fingerprint, again[1].fingerprint] == [parent.fingerprint, child.fingerprint]
    other = describe(made, test=dict.fromkeys(["uAP", "mAP", "wAP", "sAP"], 1.0))
    assert other[0].fingerprint != parent.fingerprint and other[1].fingerprint != child.fingerprint
