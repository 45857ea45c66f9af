from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.errors import InputError
from orchestrator.specs import BackboneSpec, ClipSpec, Config, EmbeddingSpec, GRUSpec, plain
from orchestrator.store.failures import Failure
from orchestrator.store.files import FileTree
from orchestrator.store.sweeps import SweepEntry, SweepRecord, SweepStore, SweepTable

CONFIG = Config((EmbeddingSpec(ClipSpec("shot", 24), BackboneSpec("swin_3d")),), GRUSpec())

SWEEP = SweepRecord(
    name="clip_generation",
    source="search_spaces/clip_generation.yaml",
    space={"clip_generation.yaml": "grid:\n  aggregator: [gru]\n"},
    overrides={"training.epochs": 2},
    manifest="/data/manifest.csv",
    manifest_trailers=40,
    trailers=39,
    failures=(Failure("tr1", None, "read", "the file is empty (0 bytes)", ("e0",), "/data/tr1.mp4"),),
    synthetic=False,
    genres=("comedy", "drama"),
    labels="l0",
    chance={"0": {"uAP": 20.0}, "1": {"uAP": 21.0}},
    tables=(SweepTable("clip_generation", "Clips", "", "6", ("aggregator",)),),
    entries=(SweepEntry(plain(CONFIG), "c0", ("e0",), ("clip_generation",), {"0": "k0", "1": None}),),
    updated="2025-01-01T00:00:00+00:00",
)


def test_a_sweep_comes_back_as_it_was(tree: FileTree) -> None:
    store = SweepStore(tree)
    assert store.names() == []
    store.save(SWEEP)
    assert store.names() == ["clip_generation"]
    assert store.load("clip_generation") == SWEEP
    assert store.load("clip_generation").entries[0].restore() == CONFIG


def test_a_config_record_is_kept_as_plain_values() -> None:
    assert SweepEntry(CONFIG, "c0", (), (), {}).config == plain(CONFIG)  # type: ignore[arg-type]


def test_an_edited_sweep_replaces_the_one_of_its_name(tree: FileTree) -> None:
    store = SweepStore(tree)
    store.save(SWEEP)
    store.save(replace(SWEEP, entries=()))
    assert store.load("clip_generation").entries == ()


def test_an_unknown_sweep_is_told_from_those_there_are(tree: FileTree) -> None:
    store = SweepStore(tree)
    with pytest.raises(InputError, match=r"sweep: 'x' is not one of \(none has run yet\)"):
        store.load("x")
    store.save(SWEEP)
    with pytest.raises(InputError, match="sweep: 'x' is not one of clip_generation"):
        store.load("x")


@pytest.mark.parametrize("name", ["", "a/b", "../x", ".hidden", "a b", "a@b", "x" * 101])
def test_a_name_that_cannot_be_a_folder_is_refused(tree: FileTree, name: str) -> None:
    with pytest.raises(InputError, match="sweep: name: "):
        replace(SWEEP, name=name)
    with pytest.raises(InputError, match="sweep: name: "):
        SweepStore(tree).load(name)


@pytest.mark.parametrize("torn", [b'{"name": ', b'{"name": "clip_generation"}', b"[]"])
def test_a_torn_sweep_is_missing_with_a_warning(tree: FileTree, torn: bytes, caplog: pytest.LogCaptureFixture) -> None:
    store = SweepStore(tree)
    tree.write_bytes("clip_generation/sweep.json", torn)
    with pytest.raises(InputError, match="is not one of"):
        store.load("clip_generation")
    assert "sweep.json" in caplog.text
    assert store.names() == []
