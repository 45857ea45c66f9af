from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orchestrator.data.manifest import Manifest
from orchestrator.errors import InputError
from orchestrator.specs import plain, trial_key
from orchestrator.store.failures import Failure
from orchestrator.store.sweeps import Suggestion, SweepEntry
from orchestrator.sweep.cost import estimate, sample
from orchestrator.sweep.identity import embedding_key
from orchestrator.sweep.plan import Inventory, Plan
from orchestrator.sweep.planning import make_plan
from orchestrator.sweep.space import Space, load_space

MIDS = tuple(f"tr{i}" for i in range(10))
MANIFEST = Manifest(
    source="manifest.csv",
    mids=MIDS,
    paths=tuple(f"/videos/{mid}.mp4" for mid in MIDS),
    genres=("action", "drama"),
    labels=np.array([[i % 2, (i // 2) % 2] for i in range(10)], np.uint8),
    splits=np.array([[0, 0]] * 6 + [[1, 1]] * 2 + [[2, 2]] * 2, np.int8),
)
DIGESTS = {mid: f"digest-{mid}" for mid in MIDS}
EMPTY = Inventory({}, {}, (), frozenset())


def space_of(tmp_path: Path, text: str) -> Space:
    path = tmp_path / "space.yaml"
    path.write_text(text)
    return load_space(path)


@pytest.fixture
def space(tmp_path: Path) -> Space:
    """Four configs over two embedding sets."""
    return space_of(
        tmp_path,
        "fixed: {backbone: resnet_2d}\ngrid: {clip_strategy: [seq-24, shot-24], clips_per_snippet: [5, 10]}\n",
    )


def rows_for(space: Space, digests: dict[str, str] = DIGESTS) -> dict[str, dict[str, frozenset[str]]]:
    keys = {embedding_key(s) for c in space.configs for s in c.streams}
    return {key: {mid: frozenset([digest]) for mid, digest in digests.items()} for key in keys}


def full(space: Space) -> Inventory:
    return Inventory(DIGESTS, rows_for(space), (), frozenset())


def keys_of(plan: Plan) -> set[str | None]:
    return {t.key for t in plan.trials}


def test_an_empty_workspace_lacks_everything_and_counts_a_shared_set_once(space: Space) -> None:
    facts = make_plan(space, MANIFEST, EMPTY).to_json()
    assert (facts["configs"], facts["trials"], facts["embedding_sets"], facts["decode_passes"]) == (4, 8, 2, 1)
    assert facts["missing"] == {"rows": 20, "embedding_sets": 2, "trials": 8}
    assert facts["cached"] == {"rows": 0, "embedding_sets": 0, "trials": 0, "pruned_trials": 0}
    assert [s["configs"] for s in facts["sets"]] == [2, 2]
    assert facts["without_sharing"] == {"decode_passes": 4, "backbone_passes": 4}


def test_a_trial_has_a_key_once_its_sets_are_complete(space: Space) -> None:
    assert keys_of(make_plan(space, MANIFEST, EMPTY)) == {None}
    plan = make_plan(space, MANIFEST, full(space))
    assert len(keys_of(plan)) == 8 and None not in keys_of(plan)
    assert plan.to_decode == ()
    first = plan.configs[0]
    digest = MANIFEST.data_digest(DIGESTS, 0)
    assert first.trials[0].key == trial_key(first.config, first.embedding_keys, 0, digest)


def test_trials_of_the_ledger_are_done(space: Space) -> None:
    inventory = full(space)
    some = {t.key for t in make_plan(space, MANIFEST, inventory).configs[1].trials}
    plan = make_plan(space, MANIFEST, replace(inventory, trials=frozenset(some)))
    assert [all(t.done for t in c.trials) for c in plan.configs] == [False, True, False, False]
    assert plan.to_json()["cached"]["trials"] == 2


def test_a_changed_video_is_a_missing_row_of_its_trailer_only(space: Space) -> None:
    changed = replace(full(space), current=DIGESTS | {"tr3": "another"})
    plan = make_plan(space, MANIFEST, changed)
    assert plan.to_decode == ("tr3",)
    assert all(s.missing == ("tr3",) for s in plan.sets)
    assert keys_of(plan) == {None}


def test_changed_labels_or_parts_change_the_keys_of_the_splits_that_they_touch(space: Space) -> None:
    before = make_plan(space, MANIFEST, full(space))
    splits = MANIFEST.splits.copy()
    splits[[0, 6], 1] = splits[[6, 0], 1]
    after = make_plan(space, replace(MANIFEST, splits=splits), full(space))
    same = [a.key == b.key for a, b in zip(before.trials, after.trials, strict=True)]
    assert same == [True, False] * 4
    relabelled = make_plan(space, replace(MANIFEST, labels=1 - MANIFEST.labels), full(space))
    assert not keys_of(before) & keys_of(relabelled)


def test_the_order_of_rows_changes_no_key(space: Space) -> None:
    order = list(range(9, -1, -1))
    turned = replace(
        MANIFEST,
        mids=tuple(MANIFEST.mids[i] for i in order),
        paths=tuple(MANIFEST.paths[i] for i in order),
        labels=MANIFEST.labels[order],
        splits=MANIFEST.splits[order],
    )
    assert keys_of(make_plan(space, turned, full(space))) == keys_of(make_plan(space, MANIFEST, full(space)))


def test_a_failed_trailer_is_left_out_of_every_trial_of_the_sweep(space: Space) -> None:
    shot = make_plan(space, MANIFEST, EMPTY).sets[1]
    failure = Failure("tr0", "digest-tr0", "clips", "no shot", (shot.key,))
    rows = rows_for(space)
    del rows[shot.key]["tr0"]
    plan = make_plan(space, MANIFEST, Inventory(DIGESTS, rows, (failure,), frozenset()))
    assert plan.failed == (failure,)
    assert "tr0" not in plan.trailers and plan.to_decode == ()
    assert all("tr0" not in s.cached for s in plan.sets)
    assert not keys_of(plan) & keys_of(make_plan(space, MANIFEST, full(space)))


def test_a_failure_of_an_earlier_file_or_another_set_does_not_count(space: Space) -> None:
    key = make_plan(space, MANIFEST, EMPTY).sets[0].key
    old = Failure("tr0", "earlier bytes", "decode", "cut short", (key,))
    other = Failure("tr1", "digest-tr1", "embed", "no", ("another-set",))
    plan = make_plan(space, MANIFEST, replace(full(space), failures=(old, other)))
    assert plan.failed == () and len(plan.trailers) == 10


def test_without_paths_any_stored_row_serves(space: Space) -> None:
    pathless = replace(MANIFEST, paths=(None,) * 10)
    plan = make_plan(space, pathless, Inventory({}, rows_for(space), (), frozenset()))
    assert plan.to_decode == () and None not in keys_of(plan)


def test_rows_that_others_made_and_rows_computed_here_are_not_mixed_in_one_set(space: Space) -> None:
    pathless = replace(MANIFEST, paths=(None,) * 10)
    both = {
        mid: frozenset([f"trailers12k-{mid}", f"0-{mid}"]) if mid < "tr3" else frozenset([f"trailers12k-{mid}"])
        for mid in MIDS
    }
    keys = rows_for(space)
    plan = make_plan(space, pathless, Inventory({}, dict.fromkeys(keys, both), (), frozenset()))
    assert all(set(s.cached.values()) == {f"trailers12k-{mid}" for mid in MIDS} for s in plan.sets)
    # Where none covers all trailers, the one that covers most counts and the others are missing.
    parts = {mid: frozenset([f"0-{mid}" if mid < "tr6" else f"imported-{mid}"]) for mid in MIDS}
    plan = make_plan(space, pathless, Inventory({}, dict.fromkeys(keys, parts), (), frozenset()))
    assert all(s.missing == ("tr6", "tr7", "tr8", "tr9") for s in plan.sets)
    assert plan.to_json()["without_video"] == {s.spec.name: 4 for s in plan.sets} and plan.to_decode == ()


def test_imported_rows_of_trailers_whose_videos_are_named_are_told_and_not_used(space: Space) -> None:
    imported = {mid: frozenset([f"trailers12k-{mid}"]) for mid in MIDS[:4]}
    plan = make_plan(space, MANIFEST, Inventory(DIGESTS, dict.fromkeys(rows_for(space), imported), (), frozenset()))
    assert [s.imported for s in plan.sets] == [4, 4] and len(plan.to_decode) == 10
    assert set(plan.to_json()["imported_but_unused"].values()) == {4}


def test_an_estimate_says_what_the_missing_vectors_take(tmp_path: Path) -> None:
    text = """
grid:
  - {backbone: [resnet_2d], clip_strategy: [seq-24]}
  - {backbone: [frames], clip_strategy: [even-8], clips_per_snippet: [8], aggregator: [timesformer]}
"""
    plan = make_plan(space_of(tmp_path, text), MANIFEST, EMPTY)
    cost = estimate(plan, {}, dict.fromkeys(MIDS, 240), frozenset())
    pixels = 10 * 8 * 224 * 224 * 3
    assert (cost.stored, cost.largest) == (10 * 10 * 2048 * 4 + pixels, pixels)


def test_splits_of_the_space_must_be_in_the_manifest(tmp_path: Path) -> None:
    one = space_of(tmp_path, "splits: [1]\nfixed: {backbone: resnet_2d}\n")
    assert [t.split for t in make_plan(one, MANIFEST, EMPTY).trials] == [1]
    other = space_of(tmp_path, "splits: [2]\nfixed: {backbone: resnet_2d}\n")
    with pytest.raises(InputError, match=r"splits: 2 is not one of the manifest's splits 0, 1"):
        make_plan(other, MANIFEST, EMPTY)


def test_snippet_length_seed_and_head_do_not_touch_the_embedding_sets(tmp_path: Path) -> None:
    grid = "{clips_per_snippet: [5, 9], aggregator: [gru, mean], training.seed: [0, 1]}"
    text = f"fixed: {{backbone: resnet_2d}}\ngrid: {grid}\n"
    plan = make_plan(space_of(tmp_path, text), MANIFEST, EMPTY)
    assert (len(plan.configs), len(plan.sets)) == (8, 1)


@pytest.mark.parametrize(
    "axis",
    ["clip_strategy: [seq-24, seq-32, shot-24]", "frame_rate: [24, 12]", "weights: [pretrained, random]"],
)
def test_what_changes_vectors_changes_the_set(tmp_path: Path, axis: str) -> None:
    plan = make_plan(space_of(tmp_path, f"fixed: {{backbone: resnet_2d}}\ngrid: {{{axis}}}\n"), MANIFEST, EMPTY)
    assert len({s.key for s in plan.sets}) == len(plan.configs) >= 2


def test_the_studys_tables_share_sixteen_sets_and_one_decoding_pass() -> None:
    three = replace(MANIFEST, splits=np.repeat(MANIFEST.splits[:, :1], 3, axis=1))
    facts = make_plan(load_space("study", {"weights": "random"}), three, EMPTY).to_json()
    assert facts["tables"]["backbone"]["with_earlier"] == {"configs": 29, "trials": 87, "embedding_sets": 16}
    assert facts["tables"]["baselines"]["with_earlier"] == {"configs": 32, "trials": 96, "embedding_sets": 19}
    assert (facts["configs"], facts["trials"], facts["embedding_sets"]) == (32, 96, 19)
    assert (facts["decode_passes"], facts["trailers_to_decode"], facts["backbone_passes"]) == (1, 10, 18)
    assert facts["without_sharing"] == {"decode_passes": 32, "backbone_passes": 33}
    (shared,) = [s for s in facts["sets"] if s["name"] == "swin_3d shot-24 24fps"]
    assert shared["tables"] == {
        "clip_generation": 1, "frame_rate": 1, "snippet_length": 8, "aggregator": 3, "backbone": 1, "baselines": 1
    }  # fmt: skip


def test_heads_on_pixels_share_one_frame_cache_whatever_they_start_from(tmp_path: Path) -> None:
    text = """
fixed: {backbone: frames, clip_strategy: even-8, clips_per_snippet: 8, aggregator: timesformer}
grid: {weights: [pretrained, random]}
"""
    space = space_of(tmp_path, text)
    plan = make_plan(space, MANIFEST, full(space))
    assert len(plan.sets) == 1 and plan.sets[0].configs == 2
    assert len({c.key for c in plan.configs}) == 2 and len(keys_of(plan)) == 4


def test_an_estimate_names_what_was_never_measured_instead_of_guessing(space: Space) -> None:
    plan = make_plan(space, MANIFEST, EMPTY)
    cost = estimate(plan, {"decode": 0.001}, {"tr0": 240, "tr1": 480}, frozenset())
    decode, shots, embed, train = cost.items
    assert (decode.kind, decode.units, decode.seconds) == ("decode", 240 + 480 + 8 * 360, pytest.approx(3.6))
    assert (shots.kind, shots.units, shots.seconds) == ("shots", decode.units, None)
    assert embed.units == pytest.approx(2 * decode.units / 24)
    assert (train.kind, train.units) == ("train transformer", 2 * 100 * 10 * (5 + 10) * 2)
    assert cost.unknown == ("shots", "embed resnet_2d", "train transformer") and cost.seconds == decode.seconds


def test_an_estimate_counts_only_what_is_missing(space: Space) -> None:
    plan = make_plan(space, MANIFEST, full(space))
    assert [item.kind for item in estimate(plan, {}, {}, frozenset()).items] == ["train transformer"]
    done = replace(full(space), trials=frozenset(k for k in keys_of(plan) if k))
    assert estimate(make_plan(space, MANIFEST, done), {}, {}, frozenset()).items == ()


def test_shots_that_are_known_cost_nothing(space: Space) -> None:
    plan = make_plan(space, MANIFEST, EMPTY)
    frames = dict.fromkeys(MIDS, 100)
    kinds = [item.kind for item in estimate(plan, {}, frames, frozenset(MIDS)).items]
    assert kinds == ["decode", "embed resnet_2d", "train transformer"]


def test_a_sample_is_spread_evenly() -> None:
    assert sample([str(i) for i in range(100)], 4) == ["0", "25", "50", "75"]
    assert sample(["a", "b"], 4) == ["a", "b"]


SEARCH = """
fixed: {{backbone: resnet_2d, training: {{epochs: 20}}}}
grid: {{clips_per_snippet: [5]}}
search:
  configs: {configs}
  seed: {seed}
  pruner: asha
  ranges:
    clips_per_snippet: {{integer: [1, {most}]}}
    aggregator: [{aggregators}]
"""


def search_of(tmp_path: Path, configs: int = 4, seed: int = 0, most: int = 40, aggregators: str = "mean, gru") -> Space:
    text = SEARCH.format(configs=configs, seed=seed, most=most, aggregators=aggregators)
    return space_of(tmp_path, text)


def drawn_in(space: Space, values: list[dict[str, Any]], first: int = 0) -> dict[str, tuple[Suggestion, ...]]:
    """What the search of `space` would have kept of these draws."""
    (search,), plan = space.searches, make_plan(space, MANIFEST, full(space))
    identity = search.spec.identity(space.name, search.table)
    found = []
    for number, drawn in enumerate(values, first):
        placed = plan.place(search.build(drawn), (search.table,), identity)
        entry = SweepEntry(plain(placed.config), placed.key, placed.embedding_keys, placed.tables, {})
        found.append(Suggestion(search.table, identity, search.space, number, drawn, entry))
    return {search.table: tuple(found)}


VALUES = [{"clips_per_snippet": n, "aggregator": a} for n, a in ((5, "transformer"), (7, "gru"), (30, "mean"))]


def test_a_search_asks_for_its_sets_and_counts_what_it_has_still_to_draw(tmp_path: Path) -> None:
    plan = make_plan(search_of(tmp_path), MANIFEST, EMPTY)
    facts = plan.to_json()
    assert (facts["configs"], facts["trials"], facts["embedding_sets"]) == (5, 10, 1)
    assert facts["missing"]["trials"] == 10 and plan.to_draw == 4 and not plan.finished
    assert facts["searches"][0]["to_draw"] == 4
    assert plan.to_decode == MIDS
    assert plan.table_counts()["space"]["configs"] == 5


def test_what_a_search_drew_is_planned_like_a_grid_and_pruned_counts_for_it_alone(tmp_path: Path) -> None:
    space = search_of(tmp_path, aggregators="mean, gru, transformer")
    inventory = replace(full(space), suggestions=drawn_in(space, VALUES))
    plan = make_plan(space, MANIFEST, inventory)
    assert [d.number for d in plan.searches[0].drawn] == [0, 1, 2] and plan.to_draw == 1
    assert len(plan.configs) == 3, "the grid's config is the first that was drawn"
    shared, second = plan.searches[0].drawn[0].plan, plan.searches[0].drawn[1].plan
    assert shared.key in {c.key for c in plan.grid} and second.key not in {c.key for c in plan.grid}
    identity = plan.searches[0].identity
    pruned = {identity: frozenset(t.key for t in (*shared.trials, *second.trials) if t.key)}
    again = make_plan(space, MANIFEST, replace(inventory, pruned=pruned))
    states = {c.key: c.finished for c in again.configs}
    assert states[second.key] and not states[shared.key], "a grid wants its configs trained to the end"
    other = make_plan(space, MANIFEST, replace(inventory, pruned={"another search": pruned[identity]}))
    assert not any(c.finished for c in other.configs)


def test_a_config_that_was_pruned_on_some_splits_only_is_not_pruned(tmp_path: Path) -> None:
    space = search_of(tmp_path)
    inventory = replace(full(space), suggestions=drawn_in(space, VALUES[1:]))
    plan = make_plan(space, MANIFEST, inventory)
    first = plan.searches[0].drawn[0].plan.trials[0].key
    assert first is not None
    again = make_plan(space, MANIFEST, replace(inventory, pruned={plan.searches[0].identity: frozenset({first})}))
    assert [t.finished for t in again.searches[0].drawn[0].plan.trials] == [False, False]


@pytest.mark.parametrize(
    ("edit", "kept"),
    [
        ({"configs": 9}, [0, 1, 2]),
        ({"configs": 2}, [0, 1]),
        ({"most": 10}, [0, 1]),
        ({"aggregators": "gru, transformer"}, [0, 1]),
        ({"aggregators": "gru, transformer, mean, conv"}, [0, 1, 2]),
    ],
)
def test_an_edited_search_keeps_what_still_belongs_to_it(tmp_path: Path, edit: dict[str, Any], kept: list[int]) -> None:
    usual = {"aggregators": "mean, gru, transformer"}
    before = drawn_in(search_of(tmp_path, **usual), VALUES)
    space = search_of(tmp_path, **usual | edit)
    (search,) = make_plan(space, MANIFEST, replace(full(space), suggestions=before)).searches
    assert [d.number for d in search.drawn] == kept
    assert search.left_out == 3 - len(kept)
    assert search.to_draw == search.search.spec.configs - len(kept)


def test_a_config_that_two_searches_drew_is_pruned_for_each_by_its_own_verdict(tmp_path: Path) -> None:
    space = search_of(tmp_path)
    second = tmp_path / "second.yaml"
    second.write_text((tmp_path / "space.yaml").read_text().replace("seed: 0", "seed: 1"))
    (tmp_path / "both.yaml").write_text("include: [space.yaml, second.yaml]\n")
    both, values = load_space(tmp_path / "both.yaml"), VALUES[2:]
    found, identities = {}, []
    for search in both.searches:
        plan = make_plan(both, MANIFEST, full(space))
        identities.append(search.spec.identity(both.name, search.table))
        placed = plan.place(search.build(values[0]), (search.table,), identities[-1])
        entry = SweepEntry(plain(placed.config), placed.key, placed.embedding_keys, placed.tables, {})
        found[search.table] = (Suggestion(search.table, identities[-1], search.space, 0, values[0], entry),)
    keys = frozenset(t.key for t in placed.trials if t.key)
    for pruned, finished in (
        ({}, [False, False]),
        ({identities[0]: keys}, [True, False]),
        (dict.fromkeys(identities, keys), [True, True]),
    ):
        plan = make_plan(both, MANIFEST, replace(full(space), suggestions=found, pruned=pruned))
        assert [d.plan.finished for d in plan.drawn] == finished
        assert len({d.plan.key for d in plan.drawn}) == 1 and not {d.plan.key for d in plan.drawn} & {
            c.key for c in plan.grid
        }


def test_other_training_settings_are_another_search_of_other_configs(tmp_path: Path) -> None:
    before = drawn_in(search_of(tmp_path), VALUES[1:])
    text = SEARCH.format(configs=4, seed=0, most=40, aggregators="mean, gru").replace("epochs: 20", "epochs: 21")
    space = space_of(tmp_path, text)
    (search,) = make_plan(space, MANIFEST, replace(full(space), suggestions=before)).searches
    assert not search.drawn and search.left_out == 2


def test_videos_that_changed_since_they_were_embedded_are_named(space: Space) -> None:
    assert make_plan(space, MANIFEST, full(space)).changed == ()
    plan = make_plan(space, MANIFEST, replace(full(space), current=DIGESTS | {"tr3": "another"}))
    assert plan.changed == ("tr3",)


def test_what_a_search_has_to_draw_is_in_the_estimate(tmp_path: Path) -> None:
    space = search_of(tmp_path, aggregators="gru")
    work = {i.kind: i.units for i in estimate(make_plan(space, MANIFEST, full(space)), {}, {}, frozenset()).items}
    drawn = work["train gru drawn by a search"]
    assert 4 * 2 * 20 * 10 * 1 <= drawn <= 4 * 2 * 20 * 10 * 40
