from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.errors import InputError
from orchestrator.search.records import Choice, Dimension, Integer, Pruner, SearchSpec, Uniform
from orchestrator.sweep.space import load_space

FULL = """
fixed: {backbone: swin_3d, training: {epochs: 50}}
search:
  configs: 60
  sampler: random
  seed: 7
  objective: val_loss
  pruner: {name: asha, grace_epochs: 2, reduction_factor: 4}
  limits: {head_parameters: [3e5, 420000]}
  ranges:
    aggregator.gru.units: {integer: [32, 512], log: true}
    aggregator: [gru, {name: conv, kernel: 5}, transformer]
    training.learning_rate: {log_uniform: [1e-5, 1e-2]}
    training.weight_decay: {uniform: [0, 0.1]}
    clips_per_snippet: {integer: [10, 60], step: 10}
    frame_rate: {choice: [4, 12, 24]}
    training.batch_size: {choice: [16, 32], when: {aggregator: [gru, conv], frame_rate: 4}}
"""

SWIN = "ranges: {backbone: [swin_2d, swin_3d]}"


def read(tmp_path: Path, text: str) -> SearchSpec:
    path = tmp_path / "a.yaml"
    path.write_text(text)
    (search,) = load_space(path).searches
    return search.spec


def test_a_search_is_read_with_all_its_settings(tmp_path: Path) -> None:
    conv = {"name": "conv", "kernel": 5}
    assert read(tmp_path, FULL) == SearchSpec(
        dimensions=(
            Dimension("aggregator", Choice(("gru", conv, "transformer"))),
            Dimension("aggregator.gru.units", Integer(32, 512, log=True), (("aggregator", ("gru",)),)),
            Dimension("training.learning_rate", Uniform(1e-5, 1e-2, log=True)),
            Dimension("training.weight_decay", Uniform(0.0, 0.1)),
            Dimension("clips_per_snippet", Integer(10, 60, step=10)),
            Dimension("frame_rate", Choice((4, 12, 24))),
            Dimension("training.batch_size", Choice((16, 32)), (("aggregator", ("gru", conv)), ("frame_rate", (4,)))),
        ),
        configs=60,
        sampler="random",
        seed=7,
        objectives=("val_loss",),
        pruner=Pruner("asha", grace_epochs=2, reduction_factor=4),
        limits=(("head_parameters", 300000.0, 420000.0),),
    )


def test_what_is_left_out_is_tpe_for_uap_without_pruning(tmp_path: Path) -> None:
    spec = read(tmp_path, f"search: {{configs: 3, {SWIN}}}\n")
    assert (spec.sampler, spec.seed, spec.objectives, spec.pruner, spec.limits) == ("tpe", 0, ("uAP",), None, ())


@pytest.mark.parametrize(
    ("text", "pruner"),
    [
        ("none", None),
        ("asha", Pruner("asha")),
        ("median", Pruner("median")),
        ("{name: median, grace_epochs: 5, interval: 2}", Pruner("median", grace_epochs=5, interval=2)),
    ],
)
def test_a_pruner_goes_by_its_name_or_with_settings(tmp_path: Path, text: str, pruner: Pruner | None) -> None:
    assert read(tmp_path, f"search: {{configs: 3, pruner: {text}, {SWIN}}}\n").pruner == pruner


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ("3", "a.yaml:1: search: 3 is not a mapping of configs, sampler"),
        (f"{{config: 3, {SWIN}}}", "search: config: unknown key; did you mean configs?"),
        (f"{{{SWIN}}}", "search: configs: is missing; give a whole number of at least 1"),
        (f"{{configs: 0, {SWIN}}}", "search: configs: 0 is not a whole number of at least 1"),
        (f"{{configs: true, {SWIN}}}", "search: configs: True is not a whole number"),
        (f"{{configs: 3, seed: -1, {SWIN}}}", "search: seed: -1 is not a whole number of at least 0"),
        (f"{{configs: 3, sampler: gp, {SWIN}}}", "search: sampler: 'gp' is not one of tpe, random"),
        (f"{{configs: 3, objective: test_uAP, {SWIN}}}", "search: objective: 'test_uAP' is not one of uAP, mAP"),
        (f"{{configs: 3, objective: [uAP, uAP], {SWIN}}}", "is not one objective or a list of different ones"),
        (f"{{configs: 3, objective: [], {SWIN}}}", "is not one objective or a list of different ones"),
        (f"{{configs: 3, pruner: hyperband, {SWIN}}}", "search: pruner: 'hyperband' is not one of none, asha, median"),
        (
            f"{{configs: 3, pruner: {{name: asha, interval: 2}}, {SWIN}}}",
            "asha: interval: unknown setting; allowed are",
        ),
        (
            f"{{configs: 3, pruner: {{name: asha, reduction_factor: 1}}, {SWIN}}}",
            "1 is not a whole number of at least 2",
        ),
        (
            f"{{configs: 3, pruner: asha, objective: [uAP, parameters], {SWIN}}}",
            "search: pruner: with several objectives only none, since asha compares by one",
        ),
        (
            f"{{configs: 3, pruner: median, objective: parameters, {SWIN}}}",
            "parameters does not change with the epochs",
        ),
        (
            "{configs: 3, pruner: asha, ranges: {training.epochs: [3, 9]}}",
            "training.epochs: must be the same for all configs",
        ),
        (f"{{configs: 3, limits: {{uAP: [1, 2]}}, {SWIN}}}", "limits: 'uAP' is not one of multiply_adds, parameters"),
        (f"{{configs: 3, limits: {{parameters: [3, 2]}}, {SWIN}}}", "0 <= least <= most must hold, but got [3, 2]"),
        (f"{{configs: 3, limits: {{parameters: 3}}, {SWIN}}}", "limits: parameters: 3 is not [least, most]"),
        (f"{{configs: 3, limits: {{parameters: [a, 2]}}, {SWIN}}}", "search: limits: parameters: 'a' is not a number"),
        (f"{{configs: 3, limits: [1, 2], {SWIN}}}", "limits: [1, 2] is not a mapping of costs to [least, most]"),
        ("{configs: 3}", "search: ranges: None is not a mapping of fields to what may be drawn for them"),
    ],
)
def test_a_mistake_in_a_search_is_named_with_what_is_allowed(tmp_path: Path, block: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        read(tmp_path, f"search: {block}\n")
    assert message in str(error.value)
    assert "a.yaml:1: " in str(error.value)
