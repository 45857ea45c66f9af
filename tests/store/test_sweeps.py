from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from orchestrator.errors import InputError
from orchestrator.specs import BackboneSpec, ClipSpec, Config, EmbeddingSpec, GRUSpec, plain
from orchestrator.store.failures import Failure
from orchestrator.store.files import FileTree
from orchestrator.store.sweeps import (
    Suggestion,
    SweepEntry,
    SweepRecord,
    SweepSearch,
    SweepStore,
    SweepTable,
)

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
    searches=(SweepSearch("heads", "i0", "s0", {"configs": 3, "objectives": ["uAP"]}, {"c0": 0}, ("c0",)),),
    options={"cpus": 2, "tracking_uri": None},
    kept_manifest="manifest-0123456789ab.csv",
    lacking={"e0": 2},
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
def test_a_torn_sweep_is_set_aside_with_a_warning(
    tree: FileTree, torn: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    store = SweepStore(tree)
    tree.write_bytes("clip_generation/sweep.json", torn)
    with pytest.raises(InputError):
        store.load("clip_generation")
    assert "sweep.json: torn" in caplog.text
    assert store.names() == []
    store.save(SWEEP)
    assert store.load("clip_generation") == SWEEP


def test_a_sweep_with_other_fields_says_what_to_do(tree: FileTree) -> None:
    tree.write_bytes("clip_generation/sweep.json", b'{"name": "clip_generation"}')
    with pytest.raises(InputError, match=r"sweep\.json: torn, and set aside; .* `divita run SPACE\.yaml -d MANIFEST`"):
        SweepStore(tree).load("clip_generation")


def drawn(number: int, key: str = "c0", **changes: object) -> Suggestion:
    entry = SweepEntry(plain(CONFIG), key, ("e0",), ("heads",), {"0": None})
    suggestion = Suggestion("heads", "i0", "s0", number, {"aggregator": "gru", "dropout": 0.1 + 0.2}, entry)
    return replace(suggestion, **changes)  # type: ignore[arg-type]


def test_what_a_search_drew_comes_back_by_number(tree: FileTree) -> None:
    store = SweepStore(tree)
    assert store.suggestions("demo", "heads", "i0") == []
    wanted = [drawn(0), drawn(2, "a"), drawn(2, "b"), drawn(10), drawn(1_000_000)]
    for suggestion in reversed(wanted):
        store.suggest("demo", suggestion)
    store.suggest("demo", drawn(0, table="tails"))
    assert SweepStore(tree).suggestions("demo", "heads", "i0") == wanted
    assert [s.number for s in store.suggestions("demo", "tails", "i0")] == [0]
    assert wanted[0].entry.restore() == CONFIG


def test_two_searches_that_draw_the_same_config_keep_both_draws(tree: FileTree) -> None:
    store, draws = SweepStore(tree), [drawn(3), drawn(3, identity="i1", values={"aggregator": "gru"})]
    for suggestion in draws:
        store.suggest("demo", suggestion)
    assert store.suggestions("demo", "heads", "i0") == draws[:1]
    assert store.suggestions("demo", "heads", "i1") == draws[1:]
    assert store.suggestions("demo", "heads", "i2") == []


def test_a_search_is_exhausted_for_its_space_alone(tree: FileTree) -> None:
    store = SweepStore(tree)
    store.suggest("demo", drawn(0))
    assert not store.is_exhausted("demo", "heads", "i0", "s0")
    store.mark_exhausted("demo", "heads", "i0", "s0")
    assert SweepStore(tree).is_exhausted("demo", "heads", "i0", "s0")
    for table, identity, space in [("heads", "i0", "s1"), ("heads", "i1", "s0"), ("tails", "i0", "s0")]:
        assert not store.is_exhausted("demo", table, identity, space)
    assert store.suggestions("demo", "heads", "i0") == [drawn(0)], "the marker is no draw"


@pytest.mark.parametrize("torn", [b"", b'{"space": ', b"[]"])
def test_a_torn_marker_means_that_there_may_be_more_to_draw(tree: FileTree, torn: bytes) -> None:
    store = SweepStore(tree)
    tree.write_bytes("demo/searches/heads/i0/exhausted.json", torn)
    assert not store.is_exhausted("demo", "heads", "i0", "s0")


def test_a_sweep_is_not_named_by_its_searches_alone(tree: FileTree) -> None:
    store = SweepStore(tree)
    store.suggest("demo", drawn(0))
    assert store.names() == []
    store.save(replace(SWEEP, name="demo"))
    assert store.names() == ["demo"]


@pytest.mark.parametrize("damage", [lambda d: d[:-9], lambda d: d.replace(b"gru", b"lru"), lambda d: b""])
def test_a_torn_suggestion_is_set_aside_with_a_warning(
    tree: FileTree, caplog: pytest.LogCaptureFixture, damage: Callable[[bytes], bytes]
) -> None:
    store = SweepStore(tree)
    store.suggest("demo", drawn(0))
    store.suggest("demo", drawn(1))
    path = "demo/searches/heads/i0/000001-c0.json"
    tree.write_bytes(path, damage(tree.read_bytes(path)))
    assert store.suggestions("demo", "heads", "i0") == [drawn(0)]
    assert tree.where(path) in caplog.text
    store.suggest("demo", drawn(1))
    assert store.suggestions("demo", "heads", "i0") == [drawn(0), drawn(1)]


def test_a_suggestion_under_another_name_is_not_taken(tree: FileTree) -> None:
    store = SweepStore(tree)
    store.suggest("demo", drawn(0))
    folder = "demo/searches/heads/i0"
    tree.write_bytes(f"{folder}/000007-c0.json", tree.read_bytes(f"{folder}/000000-c0.json"))
    assert store.suggestions("demo", "heads", "i0") == [drawn(0)]


def test_a_sweep_keeps_the_manifest_that_its_record_names(tree: FileTree) -> None:
    store, manifests = SweepStore(tree), [b"mid\nt1\n", b"mid\nt2\n"]
    first, second = (replace(SWEEP, kept_manifest=store.keep_manifest(SWEEP.name, data)) for data in manifests)
    assert first.kept_manifest != second.kept_manifest, "the older record still finds its own"
    for record, data in zip((first, second), manifests, strict=True):
        path = f"{SWEEP.name}/{record.kept_manifest}"
        assert store.manifest(record) == tree.where(path)
        assert tree.read_bytes(path) == data
    store.save(second)
    store.drop_manifests(SWEEP.name, second.kept_manifest)
    assert tree.names(SWEEP.name) == [second.kept_manifest, "sweep.json"]


def test_a_manifest_that_is_gone_says_what_to_do(tree: FileTree) -> None:
    store = SweepStore(tree)
    for record in (SWEEP, replace(SWEEP, kept_manifest="")):
        with pytest.raises(
            InputError, match=r"clip_generation.*: manifest: .* is gone; run `divita run SPACE\.yaml -d"
        ):
            store.manifest(record)


def test_a_manifest_that_did_not_change_is_not_written_again(disk: FileTree) -> None:
    store = SweepStore(disk)
    name = store.keep_manifest("demo", b"mid\n")
    assert disk.local
    before = (disk.local / "demo" / name).stat()
    assert store.keep_manifest("demo", b"mid\n") == name
    assert (disk.local / "demo" / name).stat().st_ino == before.st_ino
