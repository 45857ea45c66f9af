"""A search from draw to draw, without Ray: what it keeps, what it knows after a kill, what it prunes and refuses.

Training is stood in for by records whose figures follow from the draw; everything else is real.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orchestrator.driver.searching import SearchRun, check_drawable
from orchestrator.driver.train import Trainer
from orchestrator.engine.jobs import ConfigJob, TrainingData, make_record
from orchestrator.errors import InputError
from orchestrator.progress import Progress
from orchestrator.specs import GRUSpec, plain
from orchestrator.store.embeddings import EmbeddingRow
from orchestrator.store.workspace import Workspace
from orchestrator.study import Study
from orchestrator.sweep.identity import embedding_key

SPACE = """
fixed: {backbone: resnet_2d, clips_per_snippet: 4, training: {epochs: 12}}
search:
  configs: 12
  pruner: {name: asha, grace_epochs: 2, reduction_factor: 2}
  ranges:
    aggregator: [mean, gru]
    aggregator.gru.units: {integer: [4, 64], log: true}
    training.learning_rate: {log_uniform: [1e-5, 1e-1]}
"""


@dataclass(frozen=True)
class Bench:
    """Opens the same search again and again, as commands do that follow one another."""

    folder: Path
    manifest: Path

    def study(self, text: str = SPACE) -> Study:
        (self.folder / "space.yaml").write_text(text)
        return Study.open(self.folder / "space.yaml", self.manifest, self.folder / "workspace")

    def search(self, text: str = SPACE) -> SearchRun:
        study = self.study(text)
        plan = study.plan()
        study.save(plan, {"command": "run"})
        trainer = Trainer(study, plan, None, _Deaf(), None, Progress())  # type: ignore[arg-type]
        (search,) = plan.searches
        return trainer.open_search(search)

    @property
    def workspace(self) -> Workspace:
        return Workspace(self.folder / "workspace")


class _Deaf:
    def expect(self, config: object) -> None:
        return


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    manifest = tmp_path / "manifest.csv"
    rows = [f"tr{i},{i % 2},{(i // 2) % 2},{0 if i < 8 else i % 2 + 1},{0 if i > 3 else i % 2 + 1}" for i in range(12)]
    manifest.write_text("\n".join(["mid,action,drama,split0,split1", *rows]) + "\n")
    made = Bench(tmp_path, manifest)
    study = made.study()
    for spec in study.space.searches[0].embedding_specs():
        vectors = np.ones((5, 4), np.float32)
        made.workspace.embeddings.write_part(
            embedding_key(spec), [EmbeddingRow(mid, f"digest-{mid}", vectors) for mid in study.manifest.mids]
        )
    return made


def score(job: ConfigJob, split: int, epoch: int) -> float:
    """Best at a learning rate of 1e-3 and 20 units; rises with epochs."""
    config = job.config
    far = abs(math.log10(config.training.learning_rate) + 3)
    if isinstance(config.aggregator, GRUSpec):
        far += 0.2 * abs(math.log2(config.aggregator.units / 20))
    return (90 - 12 * far) * (1 - 0.5**epoch) + split


def train(
    bench: Bench,
    source: SearchRun | None,
    job: ConfigJob,
    value: Callable[[ConfigJob, int, int], float] = score,
) -> str:
    """Trains as the engine does: reports at milestones, writes the records, tells the source. Returns what became."""
    data = _data(job)
    epochs = job.config.training.epochs
    histories = {s: [_epoch(job, s, e, value) for e in range(1, epochs + 1)] for s in job.trials}
    ledger = bench.workspace.ledger
    for milestone in job.milestones:
        reports = {
            m: sum(histories[s][m - 1][f"val_{job.metric}"] for s in histories) / len(histories)
            for m in job.milestones
            if m <= milestone
        }
        if source and (reason := source.judge(job, reports)):
            for split in job.trials:
                ledger.write(
                    make_record(
                        job, split, data, status="pruned", reason=reason, search=job.search,
                        history=tuple(histories[split][:milestone]), best_epoch=milestone,
                    )
                )  # fmt: skip
            source.finished(job)
            return "pruned"
    for split in job.trials:
        test = {name: 99.0 - value(job, split, epochs) for name in ("uAP", "mAP", "wAP", "sAP")}
        record = make_record(
            job, split, data, status="done", history=tuple(histories[split]), best_epoch=epochs, test=test,
            per_genre={}, parameters=1000, head_parameters=10, multiply_adds=7, n_train=8, n_val=2, n_test=2,
        )  # fmt: skip
        ledger.write(record, {"probabilities": np.zeros((2, 2), np.float32)})
    if source:
        source.finished(job)
    return "done"


def _epoch(job: ConfigJob, split: int, epoch: int, value: Callable[[ConfigJob, int, int], float]) -> dict[str, Any]:
    at = value(job, split, epoch)
    return {"epoch": epoch, "train_loss": 1.0, "val_loss": 100 - at, "val_uAP": at, "val_mAP": at / 2, "seconds": 0.1}


def _data(job: ConfigJob) -> TrainingData:
    rows: Mapping[str, Mapping[str, str]] = {key: {"tr0": "digest"} for key in job.embedding_keys}
    empty = np.zeros((0, 0))
    return TrainingData((), (), empty, empty, rows, False, {}, None)


def results_of(bench: Bench) -> dict[str, Any]:
    """What a search has left behind, without times."""
    (identity,) = {s.identity for s in bench.workspace.sweeps.load("space").searches}
    draws = [(s.number, s.values, s.entry.key) for s in bench.workspace.sweeps.suggestions("space", "space", identity)]
    ledger = bench.workspace.ledger
    records = ledger.pruned(identity) | ledger.read_many(ledger.keys())
    return {
        "draws": draws,
        "records": {k: plain({**r.to_json(), "created": "", "versions": {}}) for k, r in sorted(records.items())},
    }


def run(bench: Bench, text: str = SPACE) -> list[str]:
    source, states = bench.search(text), []
    while job := source.next():
        states.append(train(bench, source, job))
    return states


def test_a_search_trains_its_number_of_configs_and_prunes_some(bench: Bench) -> None:
    states = run(bench)
    assert len(states) == 12 and {"done", "pruned"} == set(states)
    found = results_of(bench)["draws"]
    assert [number for number, _, _ in found] == list(range(12))
    assert len({key for _, _, key in found}) == 12, "no config is drawn twice"
    assert all(("aggregator.gru.units" in values) is (values["aggregator"] == "gru") for _, values, _ in found)
    assert bench.search().next() is None, "a finished search draws no more"


@pytest.mark.parametrize("after", ["the draw", "half of the records", "the judgement", "each config"])
def test_a_search_killed_again_and_again_ends_as_if_it_never_was(bench: Bench, tmp_path: Path, after: str) -> None:
    run(bench)
    expected = results_of(bench)
    for name in ("ledger", "sweeps"):
        (bench.folder / "workspace" / name).rename(tmp_path / name)
    for _ in range(100):
        source = bench.search()  # what a new driver knows
        job = source.next()
        if job is None:
            break
        if after == "the draw" or (after == "half of the records" and len(job.trials) > 1):
            source = bench.search()
            again = source.next()
            assert again is not None and again.key == job.key, "the draw is not drawn anew"
            job = again
        if after == "half of the records" and len(job.trials) > 1:
            some = replace(job, trials=dict(list(job.trials.items())[:1]))
            train(bench, source, some)
            source = bench.search()
            job = source.next()
            if job is None:
                break
        if after == "the judgement" and job.milestones:
            source.judge(job, {job.milestones[0]: score(job, 0, job.milestones[0])})
            source = bench.search()
            job = source.next()
            assert job is not None
        train(bench, source, job)
    assert results_of(bench) == expected


def test_a_draw_whose_file_was_torn_is_drawn_again_as_it_was(bench: Bench) -> None:
    run(bench)
    before = results_of(bench)
    torn = next((bench.folder / "workspace" / "sweeps").rglob("000005-*.json"))
    torn.write_bytes(b"torn")
    assert run(bench) == [], "its trials are there"
    assert results_of(bench) == before


def test_a_search_judged_in_another_way_leaves_the_draws_of_the_first_alone(bench: Bench) -> None:
    run(bench)
    before = results_of(bench)["draws"]
    assert "done" in run(bench, SPACE.replace("{name: asha, grace_epochs: 2, reduction_factor: 2}", "median"))
    assert run(bench) == [] and results_of(bench)["draws"] == before


def test_a_config_that_fails_is_tried_again_and_counts_as_one_of_the_search(bench: Bench) -> None:
    source = bench.search()
    first = source.next()
    assert first is not None
    for split in first.trials:
        bench.workspace.ledger.write(make_record(first, split, _data(first), status="failed", reason="NaN loss"))
    source.finished(first)
    second = source.next()
    assert second is not None and second.key != first.key
    train(bench, source, second)
    again = bench.search().next()
    assert again is not None and again.key == first.key, "a failed trial runs again at the next run"


def test_more_configs_go_on_where_the_search_ended_and_fewer_ask_for_nothing(bench: Bench) -> None:
    run(bench)
    before = results_of(bench)["draws"]
    assert len(run(bench, SPACE.replace("configs: 12", "configs: 15"))) == 3
    assert results_of(bench)["draws"][:12] == before
    assert run(bench, SPACE.replace("configs: 12", "configs: 9")) == []


def test_configs_beyond_the_limits_are_not_drawn(bench: Bench) -> None:
    assert run(bench, SPACE.replace("  pruner:", "  limits: {head_parameters: [0, 80000]}\n  pruner:"))
    drawn = [values for _, values, _ in results_of(bench)["draws"]]
    units = [values["aggregator.gru.units"] for values in drawn if values["aggregator"] == "gru"]
    assert len(drawn) == 12 and units and max(units) <= 12, "13 units on vectors 2048 wide have 80,500 parameters"


def test_a_space_smaller_than_the_search_is_exhausted(bench: Bench) -> None:
    text = SPACE[: SPACE.index("    aggregator.gru")].replace("configs: 12", "configs: 5")
    assert len(run(bench, text)) == 2
    plan = bench.study(text).plan()
    assert plan.to_draw == 0 and plan.finished, "there is nothing left to do"
    assert len(run(bench, text.replace("[mean, gru]", "[mean, gru, conv]"))) == 1, "a wider space has more"


def test_test_scores_never_reach_a_sampler(bench: Bench) -> None:
    """Test scores here are best where validation is worst: a search that saw them would go the other way."""
    run(
        bench,
        SPACE.replace("configs: 12", "configs: 25").replace(
            "{name: asha, grace_epochs: 2, reduction_factor: 2}", "none"
        ),
    )
    rates = [values["training.learning_rate"] for _, values, _ in results_of(bench)["draws"]]
    far = [abs(math.log10(rate) + 3) for rate in rates]
    assert sum(far[15:]) / 10 < sum(far[:10]) / 10


def test_a_config_that_a_grid_has_trained_is_not_trained_again(bench: Bench) -> None:
    text = "grid: {aggregator: [mean]}\n" + SPACE[: SPACE.index("    aggregator.gru")].lstrip()
    study = bench.study(text)
    plan = study.plan()
    (mean,) = plan.configs
    job = Trainer(study, plan, None, _Deaf(), None, Progress())._make_job(mean, None)  # type: ignore[arg-type]
    train(bench, None, job)
    assert len(run(bench, text.replace("configs: 12", "configs: 2"))) == 1, "only the gru is left"


def test_a_search_whose_vectors_can_not_be_made_is_refused(bench: Bench) -> None:
    study = bench.study(SPACE.replace("resnet_2d", "swin_2d"))
    plan = study.plan()
    with pytest.raises(InputError, match="manifest names no videos"):
        check_drawable(plan, "space")
