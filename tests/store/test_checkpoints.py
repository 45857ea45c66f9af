from __future__ import annotations

import logging
import os
from collections.abc import Callable

import pytest

from orchestrator.store.checkpoints import Checkpoint, Checkpoints
from orchestrator.store.files import FileTree

STATE = bytes(range(256)) * 40 + b"\n\n"


def checkpoint(epoch: int = 3, state: bytes = STATE) -> Checkpoint:
    return Checkpoint(epoch, {0: "k0", 2: "k2"}, state)


def test_a_checkpoint_comes_back_as_it_was_and_the_next_replaces_it(tree: FileTree) -> None:
    store = Checkpoints(tree)
    assert store.read("c0") is None
    store.write("c0", checkpoint())
    assert Checkpoints(tree).read("c0") == checkpoint()
    store.write("c0", checkpoint(4, b""))
    assert Checkpoints(tree).read("c0") == checkpoint(4, b"")
    store.remove("c0")
    store.remove("c0")
    assert store.read("c0") is None


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda data: data[:-1], id="last byte gone"),
        pytest.param(lambda data: data[:20], id="half a header"),
        pytest.param(lambda data: b"", id="empty"),
        pytest.param(lambda data: b"\0" * len(data), id="zeros"),
        pytest.param(lambda data: data[:-1] + b"\1", id="another byte"),
        pytest.param(lambda data: data.replace(b'"epoch": 3', b'"epoch": 4'), id="another epoch"),
        pytest.param(lambda data: data.replace(b'"2": "k2"', b'"1": "k2"'), id="another split"),
        pytest.param(lambda data: b"[]\n" + data.partition(b"\n")[2], id="another header"),
        pytest.param(lambda data: data.replace(b'{"0": "k0", "2": "k2"}', b"[]"), id="no trials"),
    ],
)
def test_a_torn_checkpoint_is_none_and_set_aside_with_a_warning(
    tree: FileTree, caplog: pytest.LogCaptureFixture, damage: Callable[[bytes], bytes]
) -> None:
    store = Checkpoints(tree)
    store.write("c0", checkpoint())
    whole = tree.read_bytes("c0.ckpt")
    assert damage(whole) != whole
    tree.write_bytes("c0.ckpt", damage(whole))
    with caplog.at_level(logging.WARNING):
        assert store.read("c0") is None
    assert tree.where("c0.ckpt") in caplog.text
    assert tree.names() == ["c0.ckpt.torn"]
    store.write("c0", checkpoint())
    store.clean()
    assert tree.names() == ["c0.ckpt"], "nothing can be learnt from a torn checkpoint"


def test_a_checkpoint_does_not_wait_for_the_disk(disk: FileTree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda handle: pytest.fail("flushed"))
    Checkpoints(disk).write("c0", checkpoint())
    assert Checkpoints(disk).read("c0") == checkpoint()


def test_epochs_are_told_by_the_first_lines(tree: FileTree, caplog: pytest.LogCaptureFixture) -> None:
    store = Checkpoints(tree)
    assert store.epochs(["c0"]) == {}
    store.write("c0", checkpoint(3))
    store.write("c1", checkpoint(5, b"\0" * 200_000))
    store.write("torn", checkpoint(7))
    tree.write_bytes("torn.ckpt", tree.read_bytes("torn.ckpt")[:15])
    tree.write_bytes("empty.ckpt", b"")
    assert store.epochs(["c1", "c0", "torn", "empty", "none", "c0"]) == {"c0": 3, "c1": 5}
    assert not caplog.records
    assert "torn.ckpt" in tree.names()


def test_checkpoints_of_finished_trials_are_dropped(tree: FileTree, caplog: pytest.LogCaptureFixture) -> None:
    store = Checkpoints(tree)
    assert store.drop_finished(["k0", "k2"]) == 0
    for name, trials in {"over": ("k0", "k2"), "half": ("k0", "k1"), "running": ("k7",), "torn": ("k0",)}.items():
        store.write(name, Checkpoint(3, dict(enumerate(trials)), b"\0" * 200_000))
    tree.write_bytes("torn.ckpt", tree.read_bytes("torn.ckpt")[:15])
    tree.write_bytes("notes.txt", b"")
    tree.write_bytes("odd.ckpt", b'{"checksum": "", "epoch": 3, "trials": {}}\n')
    assert store.drop_finished(frozenset()) == 0
    assert store.drop_finished(frozenset({"k0", "k2", "k9"})) == 1
    assert tree.names() == ["half.ckpt", "notes.txt", "odd.ckpt", "running.ckpt", "torn.ckpt"]
    assert store.drop_finished(["k0", "k1", "k7"]) == 2
    assert not caplog.records


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden"])
def test_a_name_cannot_leave_the_folder(tree: FileTree, name: str) -> None:
    with pytest.raises(ValueError, match="key: "):
        Checkpoints(tree).write(name, checkpoint())
    with pytest.raises(ValueError, match="key: "):
        Checkpoints(tree).read(name)
