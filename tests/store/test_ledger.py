from __future__ import annotations

import hashlib
import json
import logging
import os
import resource
import signal
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.errors import StoreError
from orchestrator.store import ledger as ledger_module
from orchestrator.store.documents import seal
from orchestrator.store.files import FileTree
from orchestrator.store.ledger import Ledger, TrialRecord

PREDICTIONS = {
    "mids": np.array(["t1", "t2"]),
    "probabilities": np.array([[0.1, 0.9], [0.5, 0.25]], np.float32),
    "labels": np.array([[0, 1], [1, 0]], np.uint8),
}


def key_of(name: object) -> str:
    return hashlib.sha256(str(name).encode()).hexdigest()[:20]


def record(name: object = 0, **changes: Any) -> TrialRecord:
    values: dict[str, Any] = {
        "key": key_of(name),
        "config": {"aggregator": {"name": "gru", "units": 115}, "clips_per_snippet": 30},
        "config_key": "c0",
        "split": 1,
        "embedding_keys": ("e0", "e1"),
        "data_digest": "d0",
        "status": "done",
        "history": ({"epoch": 0, "val.loss": 0.1 + 0.2}, {"epoch": 1, "val.loss": 1e-300}),
        "best_epoch": 1,
        "test": {"uAP": 61.234567890123456},
        "per_genre": {"drama": 77.7, "sci-fi": None},
        "seconds": 12.5,
        "parameters": 123,
        "weights": ("pretrained", "random"),
        "versions": {"torch": "2"},
        "created": "2025-01-01T00:00:00+00:00",
    }
    return TrialRecord(**(values | changes))


def test_a_trial_comes_back_as_it_was(tree: FileTree) -> None:
    ledger = Ledger(tree)
    assert ledger.keys() == frozenset()
    assert ledger.write(record(), PREDICTIONS)
    again = Ledger(tree)
    assert again.keys() == {key_of(0)}
    assert again.read(key_of(0)) == record()
    found = again.predictions(key_of(0))
    assert set(found) == set(PREDICTIONS)
    for name, array in PREDICTIONS.items():
        assert found[name].dtype == array.dtype and np.array_equal(found[name], array)


finite = st.floats(allow_nan=False, allow_infinity=False)


@settings(deadline=None, max_examples=50)
@given(st.dictionaries(st.text(max_size=5), finite, max_size=5), st.lists(st.dictionaries(st.text(max_size=3), finite)))
def test_numbers_come_back_bit_for_bit(test: dict[str, float], history: list[dict[str, float]]) -> None:
    before = record(test=test, history=history)
    assert TrialRecord.from_json(json.loads(json.dumps(before.to_json()))) == before


def test_a_metric_that_is_no_number_is_refused_by_name(tree: FileTree) -> None:
    with pytest.raises(ValueError, match=r"test\.uAP: nan: only finite numbers can be kept"):
        Ledger(tree).write(record(test={"uAP": float("nan")}), PREDICTIONS)
    assert Ledger(tree).keys() == frozenset()


def test_a_record_never_changes(tree: FileTree) -> None:
    ledger = Ledger(tree)
    ledger.write(record(), PREDICTIONS)
    assert not ledger.write(record(test={"uAP": 1.0}), {"probabilities": np.zeros(3)})
    assert not ledger.write(record(status="failed", reason="out of memory"))
    assert ledger.read(key_of(0)) == record()
    assert set(ledger.predictions(key_of(0))) == set(PREDICTIONS)
    assert ledger.failed() == {}


def test_a_failed_trial_says_why_and_counts_as_missing_until_it_succeeds(tree: FileTree) -> None:
    ledger = Ledger(tree)
    assert ledger.write(failed(reason="the loss was NaN in epoch 3"))
    assert ledger.write(failed())
    ledger.write(failed("other"))
    assert ledger.keys() == frozenset()
    assert ledger.failed([key_of(0)]) == {key_of(0): failed()}
    assert set(ledger.failed()) == {key_of(0), key_of("other")}
    ledger.write(record(), PREDICTIONS)
    assert set(ledger.failed()) == {key_of("other")}
    assert ledger.keys() == {key_of(0)}
    assert tree.names("failed") == [f"{key_of('other')}.json"]


def test_a_trial_that_succeeded_is_not_failed_even_if_the_writer_died_before_tidying(tree: FileTree) -> None:
    ledger = Ledger(tree)
    ledger.write(record(status="failed", reason="x"))
    stale = tree.read_bytes(f"failed/{key_of(0)}.json")
    ledger.write(record(), PREDICTIONS)
    tree.write_bytes(f"failed/{key_of(0)}.json", stale)
    assert ledger.failed() == ledger.failed([key_of(0)]) == {}
    assert ledger.states({key_of(0): None}) == {key_of(0): record()}


def failed(name: object = 0, **changes: Any) -> TrialRecord:
    values = {"status": "failed", "reason": "out of memory", "history": (), "best_epoch": None, "test": {}}
    return record(name, **(values | changes))


def pruned(name: object = 0, **changes: Any) -> TrialRecord:
    values = {"status": "pruned", "reason": "worse than 6 of 9 after epoch 3", "search": "s0", "test": {}}
    return record(name, **(values | changes))


def test_a_pruned_trial_lies_apart_from_done_ones(tree: FileTree) -> None:
    ledger = Ledger(tree)
    assert (ledger.pruned("s0"), ledger.pruned_keys("s0"), ledger.searches()) == ({}, frozenset(), [])
    assert ledger.write(pruned()) and ledger.write(pruned("other"))
    assert ledger.keys() == frozenset()
    assert ledger.read_many([key_of(0)]) == {}
    assert ledger.pruned("s0") == {key_of(0): pruned(), key_of("other"): pruned("other")}
    assert ledger.pruned_keys("s0") == {key_of(0), key_of("other")}
    assert Ledger(tree).pruned("s0", [key_of(0), key_of("never-ran")]) == {key_of(0): pruned()}


def test_each_search_keeps_its_own_verdict_on_a_trial(tree: FileTree) -> None:
    ledger, verdicts = Ledger(tree), [pruned(), pruned(search="s1", reason="worse than 3 of 5 after epoch 1")]
    for verdict in verdicts:
        assert ledger.write(verdict)
    ledger.write(pruned("other", search="s1"))
    assert ledger.searches() == ["s0", "s1"]
    assert ledger.pruned("s0") == {key_of(0): verdicts[0]}
    assert ledger.pruned("s1", [key_of(0)]) == {key_of(0): verdicts[1]}
    assert ledger.pruned_keys("s1") == {key_of(0), key_of("other")}
    assert ledger.states({key_of(0): "s0"}) == {key_of(0): verdicts[0]}
    assert ledger.states({key_of(0): "s1"}) == {key_of(0): verdicts[1]}
    assert ledger.states({key_of(0): "s2"}) == ledger.states({key_of(0): None}) == {}


def test_a_done_trial_cannot_be_pruned_but_earlier_verdicts_stay(tree: FileTree) -> None:
    ledger = Ledger(tree)
    ledger.write(pruned())
    assert ledger.write(record(), PREDICTIONS)
    assert ledger.pruned("s0") == {key_of(0): pruned()}
    assert not ledger.write(pruned(search="s1"))
    assert ledger.pruned("s1") == {}


def test_a_torn_pruned_record_is_missing(tree: FileTree, caplog: pytest.LogCaptureFixture) -> None:
    ledger = Ledger(tree)
    ledger.write(pruned())
    path = f"pruned/s0/{key_of(0)}.json"
    tree.write_bytes(path, shorten(tree.read_bytes(path)))
    assert ledger.states({key_of(0): "s0"}) == {}
    assert tree.where(path) in caplog.text
    assert ledger.pruned_keys("s0") == frozenset()


@pytest.fixture(params=["by name", "by listing"])
def either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Records are found by name and by listing, whatever their number."""
    monkeypatch.setattr(ledger_module, "FEW", 1_000 if request.param == "by name" else 0)


@pytest.mark.usefixtures("either_way")
def test_a_state_is_done_before_pruned_before_failed(tree: FileTree) -> None:
    ledger = Ledger(tree)
    wanted = {}
    for name, kinds in {
        "all": ("failed", "pruned", "done"),
        "done again": ("failed", "done"),
        "pruned later": ("failed", "pruned"),
        "pruned": ("pruned",),
        "failed": ("failed",),
    }.items():
        for kind in kinds:
            last = {"done": record(name), "pruned": pruned(name), "failed": failed(name)}[kind]
            assert ledger.write(last, PREDICTIONS if kind == "done" else None)
        wanted[key_of(name)] = last
    asked = {**dict.fromkeys([*wanted, key_of("never ran")], "s0")}
    assert ledger.states(asked) == wanted
    alone = ledger.states(dict.fromkeys(asked))
    assert {key: r.status for key, r in alone.items()} == {
        key_of("all"): "done",
        key_of("done again"): "done",
        key_of("pruned later"): "failed",
        key_of("failed"): "failed",
    }
    assert set(ledger.failed(asked)) == set(ledger.failed()) == {key_of("pruned later"), key_of("failed")}
    assert ledger.states({}) == ledger.failed([]) == {}


@pytest.mark.usefixtures("either_way")
def test_a_record_that_is_torn_or_lacks_its_predictions_is_no_state(
    tree: FileTree, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = Ledger(tree)
    for name in ("whole", "torn", "bare"):
        ledger.write(pruned(name))
        ledger.write(record(name), PREDICTIONS)
    tree.write_bytes(f"{key_of('torn')}.json", b"torn")
    tree.remove(f"{key_of('bare')}.npz")
    states = ledger.states(dict.fromkeys(map(key_of, ("whole", "torn", "bare")), "s0"))
    assert {key: r.status for key, r in states.items()} == {
        key_of("whole"): "done",
        key_of("torn"): "pruned",
        key_of("bare"): "pruned",
    }
    assert tree.where(f"{key_of('torn')}.json") in caplog.text
    assert key_of("bare") not in caplog.text


def test_the_states_of_few_trials_cost_no_listing(disk: FileTree, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger(disk)
    ledger.write(record(), PREDICTIONS)
    ledger.write(pruned("pruned"))
    ledger.write(failed("failed"))
    asked = dict.fromkeys(map(key_of, (0, "pruned", "failed", "never ran")), "s0")
    monkeypatch.setattr(FileTree, "names", lambda *_: pytest.fail("listed a folder"))
    assert [r.status for r in ledger.states(asked).values()] == ["done", "pruned", "failed"]
    assert set(ledger.pruned("s0", [*asked])) == {key_of("pruned")}
    assert set(ledger.failed([*asked])) == {key_of("failed")}


@pytest.mark.parametrize("search", ["../x", "a/b", ".hidden"])
def test_a_search_cannot_leave_its_folder(tree: FileTree, search: str) -> None:
    with pytest.raises(ValueError, match="key: "):
        Ledger(tree).write(pruned(search=search))
    with pytest.raises(ValueError, match="key: "):
        Ledger(tree).states({key_of(0): search})


def edit(data: bytes) -> bytes:
    assert b"61.23" in data
    return data.replace(b"61.23", b"99.99")


def shorten(data: bytes) -> bytes:
    return data[: len(data) // 2]


@pytest.mark.parametrize("damage", [edit, shorten, lambda data: b"", lambda data: b"\0" * len(data)])
def test_a_torn_or_edited_record_is_missing_and_runs_again(
    tree: FileTree, caplog: pytest.LogCaptureFixture, damage: Any
) -> None:
    ledger = Ledger(tree)
    ledger.write(record(), PREDICTIONS)
    ledger.write(record("other"), PREDICTIONS)
    path = f"{key_of(0)}.json"
    tree.write_bytes(path, damage(tree.read_bytes(path)))
    with caplog.at_level(logging.WARNING):
        assert set(ledger.read_many([key_of(0), key_of("other"), "never-ran"])) == {key_of("other")}
    assert tree.where(path) in caplog.text
    assert ledger.keys() == {key_of("other")}
    with pytest.raises(StoreError, match="no such trial"):
        ledger.read(key_of(0))
    assert ledger.write(record(), PREDICTIONS)
    assert ledger.read(key_of(0)) == record()


def test_a_torn_record_is_replaced_even_if_nobody_noticed(tree: FileTree) -> None:
    ledger = Ledger(tree)
    ledger.write(record(), PREDICTIONS)
    tree.write_bytes(f"{key_of(0)}.json", b"torn")
    assert ledger.write(record(), PREDICTIONS)
    assert ledger.read(key_of(0)) == record()


def test_a_record_under_another_key_is_not_taken(tree: FileTree) -> None:
    ledger = Ledger(tree)
    ledger.write(record(), PREDICTIONS)
    for end in ("json", "npz"):
        tree.write_bytes(f"{key_of(1)}.{end}", tree.read_bytes(f"{key_of(0)}.{end}"))
    assert ledger.read_many([key_of(1)]) == {}


@pytest.mark.parametrize("torn", [True, False])
def test_a_trial_whose_predictions_are_lost_runs_again(
    tree: FileTree, caplog: pytest.LogCaptureFixture, torn: bool
) -> None:
    ledger = Ledger(tree)
    ledger.write(record(), PREDICTIONS)
    path = f"{key_of(0)}.npz"
    if torn:
        tree.write_bytes(path, tree.read_bytes(path)[:-30])
    else:
        tree.remove(path)
    with caplog.at_level(logging.WARNING), pytest.raises(StoreError, match=rf"{path}: missing or torn"):
        ledger.predictions(key_of(0))
    assert f"{key_of(0)}.json" in caplog.text
    assert ledger.keys() == frozenset()
    assert ledger.write(record(), PREDICTIONS)
    assert np.array_equal(ledger.predictions(key_of(0))["labels"], PREDICTIONS["labels"])


def test_a_record_without_its_predictions_does_not_count(tree: FileTree) -> None:
    ledger = Ledger(tree)
    ledger.write(record(), PREDICTIONS)
    tree.remove(f"{key_of(0)}.npz")
    assert ledger.keys() == frozenset()
    assert ledger.write(record(), PREDICTIONS)
    assert ledger.keys() == {key_of(0)}


def test_predictions_without_a_record_do_not_count(tree: FileTree) -> None:
    """What a writer leaves that dies between the two files."""
    ledger = Ledger(tree)
    ledger.write(record(), PREDICTIONS)
    tree.remove(f"{key_of(0)}.json")
    assert ledger.keys() == frozenset()
    assert ledger.write(record(), PREDICTIONS)


def test_verify_finds_what_is_torn_so_that_it_runs_again(disk: FileTree, caplog: pytest.LogCaptureFixture) -> None:
    tree, ledger = disk, Ledger(disk)
    names = ["whole", "torn record", "torn predictions", "swapped predictions"]
    for i, name in enumerate(names):
        ledger.write(record(name), {"probabilities": np.full(100, i, np.float32)})
    whole, *torn = map(key_of, names)
    tree.write_bytes(f"{torn[0]}.json", edit(tree.read_bytes(f"{torn[0]}.json")))
    tree.write_bytes(f"{torn[1]}.npz", shorten(tree.read_bytes(f"{torn[1]}.npz")))
    tree.write_bytes(f"{torn[2]}.npz", tree.read_bytes(f"{whole}.npz"))
    ledger.write(pruned("pruned"))
    asked = [*torn, whole, whole, key_of("pruned"), key_of("never ran")]
    with caplog.at_level(logging.WARNING):
        assert ledger.verify(asked) == torn
    assert all(key in caplog.text for key in torn) and whole not in caplog.text
    assert ledger.keys() == {whole}
    assert ledger.verify(asked) == []
    assert ledger.write(record("torn predictions"), PREDICTIONS)
    assert ledger.keys() == {whole, torn[1]}


@pytest.mark.parametrize("uri", ["memory"], indirect=True)
def test_verify_fetches_no_predictions_from_afar(tree: FileTree, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger, fetched = Ledger(tree), []
    for name in ("whole", "torn"):
        ledger.write(record(name), PREDICTIONS)
    tree.write_bytes(f"{key_of('torn')}.json", edit(tree.read_bytes(f"{key_of('torn')}.json")))
    read = FileTree.read_bytes

    def watched(self: FileTree, path: str, size: int | None = None) -> bytes:
        fetched.append(path)
        return read(self, path, size)

    monkeypatch.setattr(FileTree, "read_bytes", watched)
    assert ledger.verify(map(key_of, ("whole", "torn"))) == [key_of("torn")]
    assert sorted(fetched) == sorted(f"{key_of(name)}.json" for name in ("whole", "torn"))
    assert ledger.keys() == {key_of("whole")}


def test_python_objects_are_never_pickled(tree: FileTree) -> None:
    with pytest.raises(ValueError, match="predictions: mids: must be plain numbers or text"):
        Ledger(tree).write(record(), {"mids": np.array(["t1", None], object)})
    assert tree.names() == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"status": "perhaps"}, "status: 'perhaps' is not one of done, pruned, failed"),
        ({"status": "failed"}, "reason: a failed trial must say why"),
        ({"status": "pruned", "search": "s0"}, "reason: a pruned trial must say why"),
        ({"status": "pruned", "reason": "x"}, "search: a pruned trial must name the search"),
        ({"key": "../x"}, "key: "),
    ],
)
def test_a_record_that_cannot_be_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        record(**changes)


@pytest.mark.parametrize(
    ("name", "value"), [("split", "1"), ("split", True), ("test", []), ("best_epoch", 1.5), ("synthetic", None)]
)
def test_a_field_of_the_wrong_type_is_refused(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=rf"{name}: "):
        TrialRecord.from_json(record().to_json() | {name: value})


def test_fields_that_are_missing_or_unknown_are_refused() -> None:
    values = record().to_json()
    with pytest.raises(ValueError, match="unknown fields \\['colour'\\]"):
        TrialRecord.from_json(values | {"colour": "red"})
    del values["split"]
    with pytest.raises(ValueError, match="lacks the fields \\['split'\\]"):
        TrialRecord.from_json(values)


def test_nothing_says_done_when_the_predictions_could_not_be_written(disk: FileTree) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(StoreError, match=rf"{key_of(0)}\.npz: can't write"):
            Ledger(disk).write(record(), {"probabilities": np.ones(100_000, np.float32)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert disk.names() == []


def test_a_thousand_records_are_read_in_two_seconds(disk: FileTree) -> None:
    history = [{f"val.{name}": 61.234567890123456 for name in ("loss", "uAP", "mAP", "wAP", "sAP")}] * 100
    values = record(history=history).to_json()
    disk.write_bytes("x", b"")
    assert disk.local
    keys = [key_of(i) for i in range(1_000)]
    for key in keys:  # not by `Ledger.write`, whose flushes to the disk are not what is measured
        (disk.local / f"{key}.json").write_bytes(seal({"record": values | {"key": key}, "predictions": ""}))
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        assert len(Ledger(disk).read_many(keys)) == 1_000
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 2.0


def test_a_thousand_trials_are_verified_in_two_seconds(disk: FileTree) -> None:
    history = [{f"val.{name}": 61.234567890123456 for name in ("loss", "uAP", "mAP", "wAP", "sAP")}] * 100
    values, predictions = record(history=history).to_json(), bytes(100_000)
    disk.write_bytes("x", b"")
    assert disk.local
    keys = [key_of(i) for i in range(1_000)]
    for key in keys:
        body = {"record": values | {"key": key}, "predictions": hashlib.sha256(predictions).hexdigest()}
        (disk.local / f"{key}.json").write_bytes(seal(body))
        (disk.local / f"{key}.npz").write_bytes(predictions)
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        assert Ledger(disk).verify(keys) == []
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 2.0


def test_ten_thousand_trials_are_listed_in_a_moment(disk: FileTree) -> None:
    disk.write_bytes("x", b"")
    assert disk.local
    for i in range(10_000):
        for end in ("json", "npz"):
            os.close(os.open(disk.local / f"{i:020d}.{end}", os.O_CREAT | os.O_WRONLY))
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        assert len(Ledger(disk).keys()) == 10_000
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.5
