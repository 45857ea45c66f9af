from __future__ import annotations

import csv
import json
import time
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote, urlparse

import numpy as np
import pytest

from orchestrator.reporting.aggregate import aggregate
from orchestrator.specs import config_from_plain
from orchestrator.tracking import client as client_module
from orchestrator.tracking.client import TrackingUnavailable, artifact_folder, hide_secrets, open_client
from orchestrator.tracking.view import MlflowView


def folder_of(run) -> Path:
    return Path(unquote(urlparse(run.info.artifact_uri).path))


def test_a_config_is_a_parent_run_and_its_splits_are_child_runs(shown, made) -> None:
    made.add("swin_3d")
    made.add("swin_2d", weights="random", synthetic=True)
    report = shown.sync(made)
    assert (report.written, report.unchanged) == (8, 0)
    parents = {r.info.run_name: r for r in shown.parents()}
    assert set(parents) == {f"{b} shot-24 24fps 30clips transformer" for b in ("swin_3d", "swin_2d")}
    parent = parents["swin_3d shot-24 24fps 30clips transformer"]
    (row, _) = aggregate(made.configs, made.records())
    assert parent.data.metrics["test.uAP.mean"] == row.metrics["uAP"].mean
    assert parent.data.metrics["test.sAP.std"] == row.metrics["sAP"].std
    assert parent.data.metrics["test.AP.sci-fi.mean"] == row.per_genre["sci-fi"].mean
    assert parent.data.params == {k: str(v) for k, v in made.configs[0].settings.items()}
    tags = parent.data.tags
    assert tags["divita.config_key"] == made.configs[0].key
    assert tags["divita.tables"] == "6" and tags["divita.embedding_keys"] == "e" * 20
    assert tags["divita.commit"] == "abc123" and tags["divita.weights"] == "pretrained"
    assert (tags["divita.synthetic"], tags["divita.random_weights"]) == ("no", "no")
    random = parents["swin_2d shot-24 24fps 30clips transformer"].data.tags
    assert (random["divita.synthetic"], random["divita.random_weights"]) == ("yes", "yes")
    assert "random weights" in random["mlflow.note.content"]
    assert parent.info.status == "FINISHED" and parent.info.end_time == 1795384800000
    mine = [r for r in shown.children() if r.data.tags["mlflow.parentRunId"] == parent.info.run_id]
    assert [r.info.run_name for r in mine] == ["split 0", "split 1", "split 2"]
    assert [r.data.tags["divita.trial_key"] for r in mine] == list(made.configs[0].trials.values())


def test_a_trial_has_its_curves_scores_and_files(shown, made) -> None:
    made.add()
    shown.sync(made)
    record, child = made.records()[0], shown.children()[0]
    client = open_client(shown.uri)
    for name, values in (("train.loss", [1, 1 / 2, 1 / 3]), ("val.loss", [2, 1, 2 / 3]), ("val.uAP", [10, 20, 30])):
        points = client.get_metric_history(child.info.run_id, name)
        assert [(p.step, p.value) for p in points] == list(zip([1, 2, 3], values, strict=True))
    for metric in ("uAP", "mAP", "wAP", "sAP"):
        assert child.data.metrics[f"test.{metric}"] == record.test[metric]
    assert child.data.metrics["test.AP.sci-fi"] == record.per_genre["sci-fi"]
    assert child.info.status == "FINISHED" and child.info.end_time - child.info.start_time == 60_000
    folder = folder_of(child)
    assert folder.is_relative_to(artifact_folder(shown.uri)), "artifacts lie beside the database"
    assert json.loads((folder / "config.json").read_text())["config"] == record.config
    assert (folder / "precision_recall.png").read_bytes().startswith(b"\x89PNG")
    lines = list(csv.DictReader((folder / "predictions.csv").open()))
    arrays = made.workspace.ledger.predictions(record.key)
    assert [line["mid"] for line in lines] == list(arrays["mids"])
    read = np.array([[line[f"probability.{g}"] for g in record.per_genre] for line in lines], np.float32)
    assert np.array_equal(read, arrays["probabilities"])
    assert [int(line["label.sci-fi"]) for line in lines] == arrays["labels"][:, 2].tolist()


def test_a_second_sync_writes_nothing(shown, made, monkeypatch) -> None:
    monkeypatch.setattr(client_module, "PAGE", 3)  # so that the runs come in several pages
    made.add("swin_3d")
    made.add("swin_2d")
    view = shown.view()
    shown.sync(made, view)
    before = [(r.info, r.data.tags, r.data.metrics) for r in shown.runs()]
    for again in (view, shown.view()):
        report = shown.sync(made, again)
        assert (report.written, report.unchanged) == (0, 8)
    assert [(r.info, r.data.tags, r.data.metrics) for r in shown.runs()] == before


def test_one_config_after_the_other_shows_the_same_as_all_at_once(shown, made) -> None:
    for backbone in ("swin_3d", "swin_2d"):
        made.add(backbone, splits=2)
    view = shown.view()
    for record in made.records():
        upto = [r for r in made.records() if r.config_key == record.config_key and r.split <= record.split]
        view.sync(made.configs, upto, made.workspace.ledger.predictions)
    once = replace(shown, experiment=f"{shown.experiment}-once")
    once.sync(made)
    assert shown.content() == once.content()
    assert len(shown.runs()) == 6


def test_a_mean_over_fewer_splits_is_not_shown(shown, made) -> None:
    made.add()
    records = made.records()
    view = shown.view()
    view.sync(made.configs, records[:2], made.workspace.ledger.predictions)
    (parent,) = shown.parents()
    assert not any(name.endswith((".mean", ".std")) for name in parent.data.metrics)
    assert parent.info.status == "KILLED" and parent.data.tags["divita.splits"] == "2 of 3"
    view.sync(made.configs, records, made.workspace.ledger.predictions)
    (parent,) = shown.parents()
    assert parent.info.status == "FINISHED" and "test.uAP.mean" in parent.data.metrics


def test_a_failed_trial_is_a_failed_run_until_it_succeeds(shown, made) -> None:
    made.add()
    made.configs[0] = replace(made.configs[0], trials={**made.configs[0].trials, 3: "f" * 20})
    config = config_from_plain(made.records()[0].config)
    made.write(config, "f" * 20, 3, status="failed", reason="loss is NaN at epoch 2", test={}, per_genre={})
    view = shown.view()
    shown.sync(made, view)
    (failed,) = [r for r in shown.children() if r.info.status == "FAILED"]
    assert failed.data.tags["divita.reason"] == "loss is NaN at epoch 2"
    assert "test.uAP" not in failed.data.metrics
    assert shown.parents()[0].info.status == "FAILED"
    made.write(config, "f" * 20, 3)
    shown.sync(made, view)
    assert [r.info.status for r in shown.runs()] == ["FINISHED"] * 5
    assert len(shown.children()) == 4 and "test.uAP.mean" in shown.parents()[0].data.metrics


PRUNED = {"status": "pruned", "reason": "uAP 41.20 is not among the best third", "search": "s" * 20, "test": {}}


def test_a_pruned_trial_is_a_killed_run_that_says_why_and_keeps_its_curves(shown, made) -> None:
    made.add(**PRUNED, per_genre={}, best_epoch=None)
    view = shown.view()
    shown.sync(made, view)
    (parent,) = shown.parents()
    assert parent.info.status == "KILLED" and not any("test." in name for name in parent.data.metrics)
    assert "pruned after 3 epochs: uAP 41.20" in parent.data.tags["mlflow.note.content"]
    for child in shown.children():
        assert child.info.status == "KILLED" and child.data.tags["divita.reason"].startswith("uAP 41.20")
        assert child.data.metrics["val.uAP"] == 30.0 and "test.uAP" not in child.data.metrics
    config = config_from_plain(made.records()[0].config)
    for split, key in made.configs[0].trials.items():
        made.write(config, key, split)  # a grid trains it to its end
    shown.sync(made, view)
    assert [r.info.status for r in shown.runs()] == ["FINISHED"] * 4


def test_a_config_that_a_search_drew_has_its_number(shown, made) -> None:
    made.add()
    made.configs[0] = replace(made.configs[0], number=0)
    shown.sync(made)
    assert shown.parents()[0].data.tags["divita.search"] == "0"


def left_out(shown) -> dict[str, set[str]]:
    """Config key -> values of the tag on its runs."""
    found: dict[str, set[str]] = {}
    for run in shown.runs():
        found.setdefault(run.data.tags["divita.config_key"], set()).add(run.data.tags["divita.left_out"])
    return found


def test_what_no_longer_belongs_to_the_sweep_is_tagged_until_it_comes_back(shown, made) -> None:
    first, second = made.add("swin_3d"), made.add("swin_2d")
    shown.sync(made)
    assert left_out(shown) == {first.key: {"no"}, second.key: {"no"}}
    records, read = made.records(), made.workspace.ledger.predictions
    view = shown.view()
    view.sync([second], records, read)
    assert left_out(shown) == {first.key: {"no"}, second.key: {"no"}}, "some configs of a sweep are not all of it"
    for again in (view, shown.view()):
        again.sync([second], records, read, whole=True)
        assert left_out(shown) == {first.key: {"yes"}, second.key: {"no"}}
    view.sync(made.configs, records, read, whole=True)
    assert left_out(shown) == {first.key: {"no"}, second.key: {"no"}}
    assert len(shown.runs()) == 8
    assert view.sync(made.configs, records, read, whole=True).written == 0


def test_results_on_other_labels_are_left_out_and_those_that_wait_for_embeddings_are_not(shown, made) -> None:
    config = made.add()
    shown.sync(made)
    waiting = replace(config, trials=dict.fromkeys(config.trials, ""))
    shown.view().sync([waiting], made.records(), whole=True)
    assert left_out(shown) == {config.key: {"no"}}
    relabelled = replace(config, trials={s: f"{s}" * 20 for s in config.trials})
    shown.view().sync([relabelled], made.records(), whole=True)
    assert left_out(shown) == {config.key: {"yes"}}


def test_what_crashes_left_half_written_is_completed(shown, made, interrupted) -> None:
    made.add("swin_3d", splits=2)
    made.add("swin_2d", splits=2)
    for at in (0, 1, 1):
        with pytest.raises(KeyboardInterrupt):
            shown.view().sync(made.configs, made.records(), interrupted(made, at))
    assert len(shown.runs()) < 6
    shown.sync(made)
    undisturbed = replace(shown, experiment=f"{shown.experiment}-undisturbed")
    undisturbed.sync(made)
    assert shown.content() == undisturbed.content()


def test_a_run_that_a_crash_left_running_is_replaced(shown, made) -> None:
    made.add()
    shown.sync(made)
    client, victim = open_client(shown.uri), shown.children()[1]
    client.update_run(victim.info.run_id, status="RUNNING")
    client.delete_tag(victim.info.run_id, "divita.written")
    report = shown.sync(made)
    assert (report.written, report.unchanged) == (1, 3)
    assert len(shown.children()) == 3 and {r.info.status for r in shown.runs()} == {"FINISHED"}


def test_duplicates_of_two_drivers_are_reduced_to_one(shown, made) -> None:
    made.add()
    first, second = shown.view(), shown.view()
    first.sync(made.configs, [])
    second.sync(made.configs, [])
    shown.sync(made, first)
    shown.sync(made, second)
    assert len(shown.runs()) == 8
    shown.sync(made)
    assert len(shown.parents()) == 1 and len(shown.children()) == 3
    assert {r.data.tags["mlflow.parentRunId"] for r in shown.children()} == {shown.parents()[0].info.run_id}


def test_runs_and_experiments_deleted_in_the_ui_come_back(shown, made) -> None:
    made.add()
    shown.sync(made)
    client = open_client(shown.uri)
    client.delete_run(shown.children()[0].info.run_id)
    shown.sync(made)
    assert len(shown.children()) == 3
    client.delete_experiment(client.get_experiment_by_name(shown.experiment).experiment_id)
    shown.sync(made)
    assert len(shown.children()) == 3 and len(shown.parents()) == 1


def test_changed_labels_make_runs_of_their_own(shown, made) -> None:
    made.add()
    shown.sync(made)
    config = config_from_plain(made.records()[0].config)
    new = {s: f"{s}" * 20 for s in range(3)}
    for split, key in new.items():
        made.write(config, key, split)
    made.configs = [replace(made.configs[0], trials=new)]
    shown.sync(made)
    assert len(shown.parents()) == 2 and len(shown.children()) == 6
    assert shown.sync(made).written == 0


def test_a_trial_without_a_key_yet_joins_no_runs(shown, made) -> None:
    """A trial has no key while its embeddings are missing; that must not make two configs' runs one."""
    config = made.add(splits=2)
    part = {0: config.trials[0], 1: ""}
    other = {0: config.trials[1], 1: ""}
    for trials in (part, other, part):
        made.configs = [replace(config, trials=trials)]
        shown.sync(made)
    assert len(shown.parents()) == 2 and len(shown.children()) == 2
    assert {r.info.status for r in shown.parents()} == {"KILLED"}


def test_a_sweep_that_gains_a_split_shows_no_old_mean(shown, made) -> None:
    made.add(splits=2)
    shown.sync(made)
    (old,) = shown.parents()
    config = config_from_plain(made.records()[0].config)
    made.configs[0] = replace(made.configs[0], trials={**made.configs[0].trials, 2: "2" * 20})
    shown.sync(made)
    (parent,) = shown.parents()
    assert "test.uAP.mean" not in parent.data.metrics and parent.info.run_id != old.info.run_id
    assert {r.data.tags["mlflow.parentRunId"] for r in shown.children()} == {parent.info.run_id}
    made.write(config, "2" * 20, 2)
    shown.sync(made)
    (parent,) = shown.parents()
    row = aggregate(made.configs, made.records())[0]
    assert parent.data.metrics["test.uAP.mean"] == row.metrics["uAP"].mean and row.metrics["uAP"].n == 3


def test_weights_that_moved_keep_their_runs(shown, made) -> None:
    """The key names the digest of the weights, so a new path is no new config, and MLflow's params can't change."""
    made.add(weights="/old/x.pth")
    shown.sync(made)
    settings = {**made.configs[0].settings, "weights": "/new/x.pth"}
    made.configs[0] = replace(made.configs[0], settings=settings, tables=("6", "9"))
    shown.sync(made)
    (parent,) = shown.parents()
    assert parent.data.tags["divita.tables"] == "6,9" and parent.data.params["weights"] == "/old/x.pth"


def test_long_histories_are_written_whole(shown, made) -> None:
    made.epochs = 450
    made.add(splits=1)
    shown.sync(made)
    points = open_client(shown.uri).get_metric_history(shown.children()[0].info.run_id, "val.uAP")
    assert sorted(p.step for p in points) == list(range(1, 451))


def test_a_trial_whose_predictions_are_torn_is_left_out_and_caught_up(shown, made) -> None:
    made.add()
    record = made.records()[1]
    records = made.records()
    file = made.workspace.local / "ledger" / f"{record.key}.npz"
    file.write_bytes(file.read_bytes()[:100])
    report = shown.view().sync(made.configs, records, made.workspace.ledger.predictions)
    assert report.skipped == (record.key,) and len(shown.children()) == 2
    made.write(config_from_plain(record.config), record.key, record.split)
    assert shown.sync(made).skipped == () and len(shown.children()) == 3


def test_writing_a_trial_takes_a_fraction_of_a_second_and_looking_again_next_to_nothing(shown, made) -> None:
    """Processor time, for a quarter of the 60 trials that may take 15 s to write and 2 s to look at again."""
    made.epochs = 100
    for number in range(5):
        made.add(f"backbone{number}")
    records = made.records()
    started = time.process_time()
    assert shown.view().sync(made.configs, records, made.workspace.ledger.predictions).written == 20
    assert time.process_time() - started < 15 / 4
    started = time.process_time()
    assert shown.view().sync(made.configs, records, made.workspace.ledger.predictions).unchanged == 20
    assert time.process_time() - started < 2 / 4


def test_a_server_that_is_away_is_given_up_soon(made) -> None:
    made.add()
    started = time.monotonic()
    with pytest.raises(TrackingUnavailable, match=r"MLflow at http://127\.0\.0\.1:9: "):
        MlflowView("http://127.0.0.1:9", "x").sync(made.configs, made.records())
    assert time.monotonic() - started < 20


@pytest.mark.parametrize(
    "uri", ["file:///tmp/x", "postgresql+nodriver://me:secret@h/db", "sqlite:////proc/no/mlflow.db"]
)
def test_stores_that_cannot_be_opened_are_named_without_their_password(made, uri: str) -> None:
    with pytest.raises(TrackingUnavailable) as caught:
        MlflowView(uri, "x").sync(made.configs, [])
    assert hide_secrets(uri) in str(caught.value) and "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_database_is_named(made, tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("not a database" * 100)
    with pytest.raises(TrackingUnavailable, match="not a database"):
        MlflowView(f"sqlite:///{tmp_path}/mlflow.db", "x").sync(made.configs, [])


def test_a_new_store_is_made_in_silence_and_calls_nobody(new_store) -> None:
    assert new_store.stdout == "SyncReport(written=0, unchanged=0, skipped=())\n"
    assert new_store.stderr == ""
